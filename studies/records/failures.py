"""One line for a disk that is full, read-only or gone, and for a database that is locked or damaged."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studies.errors import DamagedDatabaseError, StorageError
from studies.records.databases import DamagedError

ROOM = 20  # MB; a study of 50 trials of the digits takes 3 MB, and each trial in flight one to three times its weights
LOCKED = "another process has kept it locked for too long"
DAMAGES = ("malformed", "not a database", "no such table", "no such column")  # as SQLite says it


@contextmanager
def failures_explained(database: Path, repair: str = "studies check NAME --repair") -> Iterator[None]:
    """Turn a failure of the disk or of Optuna's database into a `StorageError`.

    Args:
        database: the file of Optuna's database, which its errors do not name.
        repair: the command that repairs a damaged database.

    Raises:
        StorageError: if a file, or the database, could not be used.
        DamagedDatabaseError: if the database is damaged.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:  # not a file: for example a pipe that nobody reads
            raise
        raise _explained(error.filename, error.strerror or str(error), error.errno) from None
    except Exception as error:
        problem = database_problem(error)
        if problem is None:
            raise
        if _is_damage(error, problem, database):
            raise DamagedDatabaseError(database, problem, repair) from None
        if "locked" in problem:
            raise StorageError(database, LOCKED, "End that process, or wait for it.") from None
        raise _explained(database, problem, errno.ENOSPC if "full" in problem else None) from None


def _explained(file: object, problem: str, number: int | None) -> StorageError:
    """Return the error for a file, with advice that fits the number of the system's error."""
    folder = next((place for place in Path(str(file)).absolute().parents if place.exists()), Path("/"))
    if number in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(folder).free / 1e6
        return StorageError(file, problem, f"There is {free:.1f} MB of room left; make room for {ROOM} MB or more.")
    if not Path(str(file)).parent.exists():
        return StorageError(file, problem, "Its folder is gone.")
    return StorageError(file, problem, "Make sure that it can be written.")


def _is_damage(error: Exception, problem: str, database: Path) -> bool:
    """Return whether an error says that the database is damaged. If its whole folder is gone, it is not."""
    damaged = isinstance(error, DamagedError) or any(text in problem for text in DAMAGES)
    return damaged and database.parent.exists()


def database_problem(error: BaseException) -> str | None:
    """Return what SQLite said, if an error was caused by it and not by a mistake of this program."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, sqlite3.OperationalError | DamagedError) or type(cause) is sqlite3.DatabaseError:
            return str(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None
