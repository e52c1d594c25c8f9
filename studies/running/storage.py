"""Optuna's database, hardened, and the two writes that each trial makes to it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial, TrialState


def open_storage(url: str) -> RDBStorage:
    """Return Optuna's storage at a database, made if need be.

    SQLite is set so that readers never block the writer and a kill loses nothing that was committed.
    """
    import optuna
    from sqlalchemy import event

    logging.getLogger("alembic").setLevel(logging.WARNING)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    is_sqlite = url.startswith("sqlite")
    options = {"connect_args": {"timeout": 60}} if is_sqlite else {"pool_pre_ping": True}
    storage = optuna.storages.RDBStorage(url, engine_kwargs=options)
    if is_sqlite:
        event.listen(storage.engine, "connect", _on_connect)
        event.listen(storage.engine, "begin", _on_begin)
        storage.engine.dispose()
    return storage


def _on_connect(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy begins transactions itself, with BEGIN IMMEDIATE
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _on_begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


class StudyTable:
    """The rows of one study in Optuna's database.

    A row is written whole when a trial is asked, and again when it ends, its state last of all: whatever moment a
    kill strikes, a row is either still RUNNING or complete.
    """

    def __init__(self, storage: RDBStorage, name: str, direction: str) -> None:
        import optuna

        self._storage = storage
        self._study = optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)

    def rows(self) -> list[FrozenTrial]:
        """Return all rows by trial number."""
        return sorted(self._study.get_trials(deepcopy=False), key=lambda row: row.number)

    def add(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, optuna.distributions.BaseDistribution],
        system_attrs: Mapping[str, Any],
        user_attrs: Mapping[str, Any],
    ) -> None:
        """Write the row of the next trial, RUNNING."""
        from optuna.trial import TrialState, create_trial

        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=dict(params),
                distributions=dict(distributions),
                system_attrs=dict(system_attrs),
                user_attrs=dict(user_attrs),
            )
        )

    def finish(
        self,
        number: int,
        intermediate: Mapping[int, float],
        user_attrs: Mapping[str, Any],
        state: TrialState,
        value: float | None,
    ) -> None:
        """Complete the row of a trial."""
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
        for step, reported in intermediate.items():
            self._storage.set_trial_intermediate_value(trial_id, step, reported)
        for key, content in user_attrs.items():
            self._storage.set_trial_user_attr(trial_id, key, content)
        self._storage.set_trial_state_values(trial_id, state, None if value is None else [value])


def delete_rows(url: str, name: str) -> None:
    """Remove a study from Optuna's database, if it is there."""
    import optuna

    storage = open_storage(url)
    if name in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=name, storage=storage)
