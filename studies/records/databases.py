"""SQLite databases of the home: created once, however many processes need one at the same moment."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path


class DamagedError(sqlite3.DatabaseError):
    """A database is damaged, or something else has its name."""


def check_database(file: Path, timeout: float) -> None:
    """Check that a file is an SQLite database whose structure is not damaged.

    Args:
        file: the database, which exists.
        timeout: seconds to wait if it is locked.

    Raises:
        DamagedError: if it is not.
        sqlite3.OperationalError: if it is locked, or cannot be opened.
    """
    if not file.is_file():
        raise DamagedError("it is a folder" if file.is_dir() else "it is not a regular file")
    try:
        with closing(sqlite3.connect(file, timeout=timeout)) as database:
            answer = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise DamagedError(str(error)) from error
    if answer != ("ok",):
        raise DamagedError(" ".join(str(answer and answer[0]).split()))


def create_database(file: Path, fill: Callable[[Path], None]) -> None:
    """Create a database, unless it exists.

    Creating the tables fails when two processes do it at once, and leaves half of them when the process is killed. So
    it is done on a draft, by the process that comes first, while the others wait; the database gets its name last.

    Args:
        file: the database. A file without content counts as missing.
        fill: creates the tables in another file.
    """
    from filelock import FileLock

    if _exists(file):
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        if _exists(file):
            return
        draft = file.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        try:
            draft.mkdir()
            fill(draft / "filled.db")
            # A copy, because the library that filled it may keep a connection to it.
            with closing(sqlite3.connect(draft / "filled.db")) as database:
                database.execute("VACUUM INTO ?", (str(draft / file.name),))
            with closing(sqlite3.connect(draft / file.name)) as database:
                database.execute("PRAGMA journal_mode=WAL")
            (draft / file.name).replace(file)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _exists(file: Path) -> bool:
    return file.exists() and (not file.is_file() or file.stat().st_size > 0)
