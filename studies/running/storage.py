"""Optuna's database: its settings, and the two writes that each trial makes to it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.records.addresses import sqlite_url
from studies.records.databases import create_database

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial, TrialState


def open_storage(url: str) -> RDBStorage:
    """Return Optuna's storage at an SQLite database, which is created if necessary.

    Readers never block the writer, and a killed process loses nothing that it has committed.
    """
    import optuna
    from sqlalchemy import event
    from sqlalchemy.engine import make_url

    logging.getLogger("alembic").setLevel(logging.WARNING)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if file := make_url(url).database:
        create_database(Path(file), _fill)
    storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
    event.listen(storage.engine, "connect", _on_connect)
    event.listen(storage.engine, "begin", _on_begin)
    storage.engine.dispose()  # its first connection was opened without these settings
    return storage


def _fill(file: Path) -> None:
    """Have Optuna create its tables in a new database."""
    import optuna

    optuna.storages.RDBStorage(sqlite_url(file)).engine.dispose()


def _on_connect(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy begins transactions itself, in `_on_begin`
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _on_begin(connection: Any) -> None:
    # A transaction that reads first and takes the write lock later would fail at once if another one wrote meanwhile.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


class StudyTable:
    """The rows of one study in Optuna's database.

    A row is written in full when its trial is asked, and again when the trial ends, its state last of all. A kill at
    any moment leaves a row that is either still RUNNING or complete.

    Args:
        storage: the database.
        name: the study's name.
        direction: `minimize` or `maximize`.
    """

    def __init__(self, storage: RDBStorage, name: str, direction: str) -> None:
        import optuna

        self._storage = storage
        self._study = optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)

    def rows(self) -> list[FrozenTrial]:
        """Return all rows by trial number."""
        return sorted(self._study.get_trials(deepcopy=False), key=lambda row: row.number)

    def add(self, trial: FrozenTrial, user_attributes: Mapping[str, Any]) -> None:
        """Write the row of the next trial, with the state RUNNING.

        Args:
            trial: the trial as it was asked: its parameters, their distributions and its system attributes.
            user_attributes: more to write, by key.
        """
        from optuna.trial import TrialState, create_trial

        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=trial.params,
                distributions=trial.distributions,
                system_attrs=trial.system_attrs,
                user_attrs=dict(user_attributes),
            )
        )

    def finish(
        self,
        number: int,
        intermediate: Mapping[int, float],
        user_attributes: Mapping[str, Any],
        state: TrialState,
        value: float | None,
    ) -> None:
        """Complete the row of a trial.

        Args:
            number: the trial's number.
            intermediate: the metric of each epoch.
            user_attributes: more to write, by key.
            state: COMPLETE, PRUNED or FAIL.
            value: the trial's value, if it has one.
        """
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
        for epoch, reported in intermediate.items():
            self._storage.set_trial_intermediate_value(trial_id, epoch, reported)
        for key, content in user_attributes.items():
            self._storage.set_trial_user_attr(trial_id, key, content)
        self._storage.set_trial_state_values(trial_id, state, None if value is None else [value])


def delete_rows(url: str, name: str) -> None:
    """Remove a study from Optuna's database, if it is there."""
    import optuna

    storage = open_storage(url)
    if name in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=name, storage=storage)
