"""Optuna's database compared with the logs of a study, and made equal to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from studies.records.home import Home, StudyFolder
from studies.running.rows import first_rows, read_trials
from studies.running.storage import StudyTable, has_study, open_storage, wait_for_a_minute

if TYPE_CHECKING:
    from studies.search.spec import StudySpec


@contextmanager
def opened_table(
    home: Home, spec: StudySpec, on_locked: Callable[[float], None] = wait_for_a_minute
) -> Iterator[StudyTable]:
    """Yield the rows of a study in Optuna's database, which is closed afterwards.

    Args:
        home: the home of the study.
        spec: the study.
        on_locked: as in `open_storage`.

    Raises:
        DamagedError: if the database is damaged.
    """
    storage = open_storage(home.optuna_url, on_locked=on_locked)
    try:
        yield StudyTable(storage, spec.study.name, spec.directions)
    finally:
        storage.engine.dispose()


@contextmanager
def existing_table(home: Home, spec: StudySpec) -> Iterator[StudyTable | None]:
    """Yield the rows of a study, or None if Optuna's database, which exists, does not have the study.

    Raises:
        DamagedError: if the database is damaged.
    """
    storage = open_storage(home.optuna_url)
    try:
        name = spec.study.name
        yield StudyTable(storage, name, spec.directions) if has_study(storage, name) else None
    finally:
        storage.engine.dispose()


def reconcile_rows(
    home: Home,
    folder: StudyFolder,
    spec: StudySpec,
    identity: str,
    on_locked: Callable[[float], None] = wait_for_a_minute,
) -> str:
    """Make the rows of a study equal to its logs; return what was wrong, as `StudyTable.reconcile` does.

    Args:
        home: the home of the study.
        folder: the folder of its logs.
        spec: the study.
        identity: the identity of the study, with which its logs begin.
        on_locked: as in `open_storage`.

    Raises:
        RecordError: if a log is damaged.
        DamagedError: if the database is damaged.
    """
    expected = first_rows(read_trials(folder, identity), spec)
    with opened_table(home, spec, on_locked) as table:
        return table.reconcile(expected)


def notice_of_damage(damage: str) -> str:
    """Return what a person should read after the rows of a study were made again."""
    return f"Optuna's rows did not fit the logs, so they were made again from the logs: {damage}."
