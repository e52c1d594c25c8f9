"""Optuna's database: its settings, the two writes that each trial makes to it, and how its rows are made again."""

from __future__ import annotations

import json
import logging
import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from studies.records.addresses import sqlite_url
from studies.records.databases import DamagedError, check_database, create_database
from studies.records.failures import database_problem
from studies.running.rows import is_unfinished, row_differences

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

ATTEMPT_SECONDS = 0.5  # how long SQLite itself waits for a lock; Python handles Ctrl-C only between two attempts
LOCKED_SECONDS = 60.0  # how long to wait for a lock by default
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)  # what Optuna raises about values it cannot read

T = TypeVar("T")


def wait_for_a_minute(seconds: float) -> None:
    """Give up when a database has been locked for `LOCKED_SECONDS`, the default of `open_storage`."""
    if seconds > LOCKED_SECONDS:
        raise sqlite3.OperationalError("database is locked")


def open_storage(url: str, *, on_locked: Callable[[float], None] = wait_for_a_minute) -> RDBStorage:
    """Return Optuna's storage at an SQLite database, which is created if necessary.

    Readers never block the writer, and a killed process loses nothing that it has committed.

    Args:
        url: the address of the database.
        on_locked: called again and again while another process keeps the database locked, with the seconds since the
            first attempt. What it raises ends the wait.

    Raises:
        DamagedError: if the file is not a database, or is damaged.
    """
    import optuna
    from sqlalchemy import event
    from sqlalchemy.engine import make_url

    logging.getLogger("alembic").setLevel(logging.WARNING)
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def open_once() -> RDBStorage:
        if file := make_url(url).database:
            create_database(Path(file), _fill)
            check_database(Path(file), ATTEMPT_SECONDS)
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": ATTEMPT_SECONDS}})
        except (RuntimeError, AssertionError, *UNREADABLE) as error:  # the tables with the version of the schema
            raise DamagedError(str(error) or "its version cannot be read") from error

    def on_connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy begins transactions itself, in `on_begin`
        _patiently(lambda: connection.execute("PRAGMA journal_mode=WAL"), on_locked)
        connection.execute("PRAGMA synchronous=NORMAL")

    def on_begin(connection: Any) -> None:
        # A transaction that reads first and takes the write lock later would fail at once if another one wrote
        # meanwhile.
        own = connection.connection.dbapi_connection
        _patiently(lambda: own.execute("BEGIN IMMEDIATE"), on_locked)

    storage = _patiently(open_once, on_locked)
    event.listen(storage.engine, "connect", on_connect)
    event.listen(storage.engine, "begin", on_begin)
    storage.engine.dispose()  # its first connection was opened without these settings
    return storage


def _patiently(action: Callable[[], T], on_locked: Callable[[float], None]) -> T:
    """Return what an action returns; repeat it as long as the database is locked and `on_locked` does not raise."""
    started = time.monotonic()
    while True:
        try:
            return action()
        except Exception as error:
            if "locked" not in (database_problem(error) or ""):
                raise
        on_locked(time.monotonic() - started)


def _fill(file: Path) -> None:
    """Have Optuna create its tables in a new database."""
    import optuna

    optuna.storages.RDBStorage(sqlite_url(file)).engine.dispose()


class StudyTable:
    """The rows of one study in Optuna's database.

    A row is written in full when its trial is asked, and again when the trial ends, its state last of all. A kill at
    any moment leaves a row that is either still RUNNING or complete.

    Args:
        storage: the database.
        name: the study's name.
        directions: `minimize` or `maximize`, for each objective.
    """

    def __init__(self, storage: RDBStorage, name: str, directions: Sequence[str]) -> None:
        self._storage = storage
        self._name = name
        self._directions = list(directions)
        self._study = self._open()

    def _open(self) -> Any:
        import optuna

        if not has_study(self._storage, self._name):
            self._remove_orphans()
        try:
            return optuna.create_study(
                storage=self._storage, study_name=self._name, directions=self._directions, load_if_exists=True
            )
        except UNREADABLE as error:
            raise DamagedError(f"the entry of the study cannot be read: {error}") from error

    def rows(self) -> list[FrozenTrial]:
        """Return all rows by trial number."""
        rows = sorted(self._study.get_trials(deepcopy=False), key=lambda row: row.number)
        for row in rows:
            # An undefined value is NaN, which equals itself in a comparison of rows only if it is the same object.
            values = row.intermediate_values
            row.intermediate_values = {at: math.nan if math.isnan(of) else of for at, of in values.items()}
        return rows

    def add(self, row: FrozenTrial) -> None:
        """Write the row of the next trial, in one transaction."""
        self._storage.create_new_trial(self._study._study_id, template_trial=row)

    def finish(self, row: FrozenTrial) -> None:
        """Complete a row that is RUNNING: intermediate values, attributes, and the state last.

        Args:
            row: the complete row of the trial.
        """
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, row.number)
        self._write(trial_id, row)
        self._storage.set_trial_state_values(trial_id, row.state, row.values)

    def _write(self, trial_id: int, row: FrozenTrial) -> None:
        """Write the intermediate values and attributes of a running trial in one transaction.

        With Optuna's methods, each of them is a transaction of about 2 ms of processor time.
        """
        from optuna.storages._rdb import models
        from sqlalchemy import insert

        value = models.TrialIntermediateValueModel
        columns = ("intermediate_value", "intermediate_value_type")
        values = [
            {"trial_id": trial_id, "step": epoch}
            | dict(zip(columns, value.intermediate_value_to_stored_repr(reported), strict=True))
            for epoch, reported in row.intermediate_values.items()
        ]
        attributes = [
            {"trial_id": trial_id, "key": key, "value_json": json.dumps(content)}
            for key, content in row.user_attrs.items()
        ]
        with self._storage.engine.begin() as connection:
            for model, rows in ((value, values), (models.TrialUserAttributeModel, attributes)):
                if rows:
                    connection.execute(insert(model.__table__).prefix_with("OR REPLACE"), rows)

    def differences(self, expected: Sequence[FrozenTrial]) -> list[str]:
        """Return how the rows differ from those that follow from the logs, one line each; change nothing."""
        try:
            found = self.rows()
            is_other = [direction.name.lower() for direction in self._study.directions] != self._directions
        except UNREADABLE as error:
            return [f"Optuna's rows cannot be read: {error}"]
        lines = ["Optuna's database has the other direction"] if is_other else []
        return lines + [f"trial {number}: {problem}" for number, problem in row_differences(found, expected)]

    def reconcile(self, expected: Sequence[FrozenTrial]) -> str:
        """Make the rows equal to those that follow from the logs.

        What a kill can leave is completed: the row of the last trial that was asked may be missing, or the row of the
        last one that ended may be unfinished. Rows that differ in any other way are made again, all of them.

        Returns:
            What was wrong with the rows, or an empty string if it was no more than what a kill leaves.
        """
        differences = self.differences(expected)
        if not differences:
            return ""
        self._remove_orphans()
        found: list[FrozenTrial] = []
        with suppress(*UNREADABLE):
            found = self.rows()
        unfinished = [row for one, row in zip(found, expected, strict=False) if is_unfinished(one, row)]
        n_explained = len(unfinished) + max(0, len(expected) - len(found))
        if not found or n_explained < len(differences):
            self._delete()
            self._study = self._open()
            found, unfinished = [], []
        for row in unfinished:
            self.finish(row)
        for row in expected[len(found) :]:
            self.add(row)
        if len(differences) == n_explained == 1:
            return ""
        return differences[0] + (f", and {len(differences) - 1} more" if len(differences) > 1 else "")

    def _delete(self) -> None:
        """Remove the study and its rows in one transaction, whatever they contain."""
        from sqlalchemy import text

        with self._storage.engine.begin() as connection:
            connection.execute(text("DELETE FROM studies WHERE study_name = :name"), {"name": self._name})
        self._remove_orphans()

    def _remove_orphans(self) -> None:
        """Remove what belongs to a study or a trial that does not exist: new ones would inherit it with the number."""
        import sqlalchemy

        tables = sqlalchemy.inspect(self._storage.engine)
        columns = {name: {column["name"] for column in tables.get_columns(name)} for name in tables.get_table_names()}
        with self._storage.engine.begin() as connection:
            for parent, key in (("studies", "study_id"), ("trials", "trial_id")):
                for child in (name for name, keys in columns.items() if name != parent and key in keys):
                    connection.exec_driver_sql(f"DELETE FROM {child} WHERE {key} NOT IN (SELECT {key} FROM {parent})")


def has_study(storage: RDBStorage, name: str) -> bool:
    """Return whether a database has a study with this name."""
    import optuna

    return name in optuna.get_all_study_names(storage)


def delete_rows(url: str, name: str) -> None:
    """Remove a study from Optuna's database, if it is there."""
    import optuna

    storage = open_storage(url)
    if name in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=name, storage=storage)
