"""Optuna's database: its settings, and rows that are RUNNING or complete whenever the process is killed."""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event

from studies.records.databases import DamagedError
from studies.running.storage import StudyTable, delete_rows, open_storage
from tests.study_data import empty_database

PARAMS = {"optimizer": "sgd(momentum=0.9)", "optimizer.learning_rate": 0.1}
DISTRIBUTIONS = {
    "optimizer": CategoricalDistribution(["adam", "sgd(momentum=0.9)"]),
    "optimizer.learning_rate": FloatDistribution(1e-4, 0.3, log=True),
}
STARTED = datetime(2026, 1, 2, 3, 4, 5, 678)
INTERMEDIATE = {1: 0.25, 2: 0.5, 3: 0.75}


@pytest.fixture(name="url")
def database(tmp_path: Path) -> str:
    file = tmp_path / "optuna.db"
    file.write_bytes(empty_database())
    return f"sqlite:///{file}"


@pytest.fixture
def storage(url: str) -> Iterator[optuna.storages.RDBStorage]:
    storage = open_storage(url)
    yield storage
    storage.engine.dispose()


@pytest.fixture
def table(storage: optuna.storages.RDBStorage) -> StudyTable:
    return StudyTable(storage, "digits", ["maximize"])


def row(
    number: int = 0, state: TrialState = TrialState.RUNNING, value: float | None = None, **attrs: Any
) -> FrozenTrial:
    """Return a row as the ledger writes it: without values as long as it is RUNNING."""
    ending = {} if state == TrialState.RUNNING else {"reason": "why", "virtual_end": 9}
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=value,
        datetime_start=STARTED,
        datetime_complete=None if state == TrialState.RUNNING else STARTED,
        params=PARAMS,
        distributions=DISTRIBUTIONS,
        user_attrs={"virtual_start": 7, **ending, **attrs},
        system_attrs={"fixed_params": {"optimizer": "adam"}},
        intermediate_values=INTERMEDIATE if ending else {},
    )


def add(table: StudyTable) -> None:
    table.add(row())


def finish(table: StudyTable, number: int = 0, **attrs: Any) -> None:
    table.finish(row(number, TrialState.COMPLETE, 0.75, **attrs))


@pytest.mark.parametrize(("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 1), ("busy_timeout", 500)])
def test_every_connection_has_the_settings(storage: optuna.storages.RDBStorage, pragma: str, value: object) -> None:
    one, two = storage.engine.raw_connection(), storage.engine.raw_connection()
    for connection in (one, two):
        assert connection.cursor().execute(f"PRAGMA {pragma}").fetchone() == (value,)
        connection.close()


def test_a_transaction_takes_the_write_lock_when_it_begins(storage: optuna.storages.RDBStorage, url: str) -> None:
    with storage.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        other = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


def test_writers_wait_for_each_other_and_readers_never_wait(table: StudyTable, url: str) -> None:
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    reader = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=0)
    assert reader.execute("SELECT count(*) FROM studies").fetchone() == (1,)
    threading.Timer(0.3, other.execute, ["ROLLBACK"]).start()
    started = time.monotonic()
    add(table)
    assert time.monotonic() - started > 0.2
    assert len(table.rows()) == 1
    reader.close()
    other.close()


def test_a_row_is_written_in_full_when_a_trial_is_asked(table: StudyTable) -> None:
    add(table)
    (found,) = table.rows()
    assert (found.number, found.state, found.datetime_start) == (0, TrialState.RUNNING, STARTED)
    assert (found.params, found.distributions) == (PARAMS, DISTRIBUTIONS)
    assert found.system_attrs == {"fixed_params": {"optimizer": "adam"}}
    assert found.user_attrs == {"virtual_start": 7}
    assert found.intermediate_values == {}


@pytest.mark.parametrize(
    ("state", "value"), [(TrialState.COMPLETE, 0.75), (TrialState.PRUNED, 0.5), (TrialState.FAIL, None)]
)
def test_a_row_is_completed_when_its_trial_ends(table: StudyTable, state: TrialState, value: float | None) -> None:
    add(table)
    table.finish(row(0, state, value))
    (found,) = table.rows()
    assert (found.state, found.value) == (state, value)
    assert found.intermediate_values == INTERMEDIATE
    assert found.user_attrs == {"virtual_start": 7, "reason": "why", "virtual_end": 9}
    assert found.params == PARAMS


def test_values_that_are_not_finite_are_read_back_by_optuna(table: StudyTable) -> None:
    add(table)
    ended = row(0, TrialState.FAIL, None)
    ended.intermediate_values = {1: math.inf, 2: -math.inf, 3: math.nan}
    table.finish(ended)
    assert str(table.rows()[0].intermediate_values) == str(ended.intermediate_values)


def test_a_trial_that_ends_without_epochs_has_no_value(table: StudyTable) -> None:
    add(table)
    table.finish(row(0, TrialState.PRUNED, None))
    assert table.rows()[0].value is None


def test_rows_are_numbered_in_the_order_in_which_they_are_asked(table: StudyTable) -> None:
    for _ in range(3):
        add(table)
    finish(table, 2)
    finish(table, 0)
    states = [(row.number, row.state.name) for row in table.rows()]
    assert states == [(0, "COMPLETE"), (1, "RUNNING"), (2, "COMPLETE")]


def test_the_state_is_written_last(storage: optuna.storages.RDBStorage, table: StudyTable) -> None:
    add(table)
    transactions: list[list[str]] = [[]]
    event.listen(storage.engine, "commit", lambda _: transactions.append([]))

    @event.listens_for(storage.engine, "before_cursor_execute")
    def _(_: Any, __: Any, statement: str, *___: Any) -> None:
        transactions[-1].append(" ".join(statement.split()[:5]))

    finish(table)
    *before, last, after = transactions
    assert after == []
    assert any(statement.startswith("UPDATE trials SET") for statement in last)
    assert not any(statement.startswith("UPDATE") for statements in before for statement in statements)
    tables = ("trial_intermediate_values", "trial_user_attributes")
    assert [f"INSERT OR REPLACE INTO {table}" for table in tables] in before


def test_a_row_whose_last_write_was_interrupted_is_running_and_can_be_completed(
    table: StudyTable, storage: optuna.storages.RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(table)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "set_trial_state_values", None)
        with pytest.raises(TypeError):
            finish(table)
    (found,) = table.rows()
    assert found.state == TrialState.RUNNING
    assert found.intermediate_values == INTERMEDIATE
    finish(table, weight_digest="f")
    (found,) = table.rows()
    assert (found.state, found.user_attrs["weight_digest"]) == (TrialState.COMPLETE, "f")


def test_a_missing_database_is_created(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'new.db'}")
    assert StudyTable(storage, "digits", ["maximize"]).rows() == []
    storage.engine.dispose()


def test_rows_can_be_read_by_the_next_launch_and_by_optuna(table: StudyTable, url: str) -> None:
    add(table)
    finish(table)
    again = open_storage(url)
    assert StudyTable(again, "digits", ["maximize"]).rows()[0].value == 0.75
    study = optuna.load_study(study_name="digits", storage=again)
    assert (study.best_value, study.direction.name) == (0.75, "MAXIMIZE")
    again.engine.dispose()


def test_studies_in_one_database_have_separate_rows(storage: optuna.storages.RDBStorage, table: StudyTable) -> None:
    other = StudyTable(storage, "mnist", ["minimize"])
    add(other)
    assert len(table.rows()) == 0
    add(table)
    finish(table)
    assert [row.state.name for row in other.rows()] == ["RUNNING"]


def test_the_rows_of_one_study_can_be_removed(storage: optuna.storages.RDBStorage, table: StudyTable, url: str) -> None:
    add(table)
    other = StudyTable(storage, "mnist", ["minimize"])
    add(other)
    delete_rows(url, "digits")
    delete_rows(url, "digits")
    assert optuna.get_all_study_names(storage) == ["mnist"]
    assert len(other.rows()) == 1


@pytest.mark.parametrize("left", [[], [row()], [row(0, TrialState.COMPLETE, 0.5)]], ids=["no row", "unfinished", "one"])
def test_a_row_that_a_kill_left_missing_or_unfinished_is_completed_in_silence(
    table: StudyTable, left: list[FrozenTrial]
) -> None:
    expected = [row(0, TrialState.COMPLETE, 0.5), row(1)]
    expected = expected if left and left[0].state == TrialState.COMPLETE else expected[:1]
    for one in left:
        table.add(one)
    assert len(table.differences(expected)) == 1
    assert table.reconcile(expected) == ""
    assert table.differences(expected) == []


def test_rows_that_differ_are_made_again_and_what_was_wrong_is_said(table: StudyTable) -> None:
    for number in range(3):
        table.add(row(number, TrialState.COMPLETE, 0.5))
    expected = [row(number, TrialState.COMPLETE, 0.5) for number in range(2)] + [row(2, TrialState.COMPLETE, 0.75)]
    wrong = ["trial 2: Optuna's row differs from the log in values: [0.5] instead of [0.75]"]
    assert table.differences(expected) == wrong
    assert table.reconcile(expected) == wrong[0]
    assert table.reconcile(expected) == ""
    assert [one.value for one in table.rows()] == [0.5, 0.5, 0.75]
    assert table.reconcile(expected[:1]) == (
        "trial 1: Optuna's database has a row, but there is no log before it or for it, and 1 more"
    )
    assert len(table.rows()) == 1


def garbage(file: Path) -> None:
    file.write_bytes(b"garbage" * 1000)


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def overwritten(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:4096] + bytes(4096 * 4) + data[4096 * 5 :])


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("damage", [garbage, truncated, overwritten, folder, pipe])
def test_a_damaged_database_is_refused(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    file = tmp_path / "optuna.db"
    file.write_bytes(empty_database())
    damage(file)
    with pytest.raises(DamagedError):
        open_storage(f"sqlite:///{file}")


def test_an_empty_file_is_a_database_that_was_not_created_yet(tmp_path: Path) -> None:
    (tmp_path / "optuna.db").touch()
    storage = open_storage(f"sqlite:///{tmp_path / 'optuna.db'}")
    assert optuna.get_all_study_names(storage) == []
    storage.engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_whoever_waits_for_a_locked_database_can_be_stopped(url: str, statement: str) -> None:
    waits: list[float] = []

    def give_up(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise InterruptedError

    patient = open_storage(url, on_locked=give_up)
    own = StudyTable(patient, "digits", ["maximize"])
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute(statement)
    with pytest.raises(InterruptedError):
        own.add(row())
    assert 0.4 < waits[0] < waits[1] < 5
    other.execute("ROLLBACK")
    own.add(row())
    assert len(own.rows()) == 1
    other.close()
    patient.engine.dispose()
