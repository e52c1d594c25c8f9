"""Databases are created once and completely, whoever comes first and whatever interrupts it."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from studies.records.databases import create_database


def fill(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE trials (number INTEGER)")
        database.execute("CREATE TABLE studies (name TEXT)")
        database.commit()


def tables(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master")}


@pytest.mark.parametrize("is_empty_file", [False, True])
def test_a_missing_or_empty_database_is_created_and_the_draft_removed(tmp_path: Path, is_empty_file: bool) -> None:
    file = tmp_path / "new" / "optuna.db"
    if is_empty_file:
        file.parent.mkdir()
        file.touch()
    create_database(file, fill)
    assert tables(file) == {"trials", "studies"}
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert {path.name for path in file.parent.iterdir()} <= {"optuna.db", "optuna.lock"}


def test_an_existing_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "optuna.db"
    file.write_bytes(b"anything")
    create_database(file, fill)
    assert file.read_bytes() == b"anything"
    assert list(tmp_path.iterdir()) == [file]


def test_a_failure_leaves_neither_a_database_nor_a_draft(tmp_path: Path) -> None:
    def fail(file: Path) -> None:
        fill(file)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        create_database(tmp_path / "optuna.db", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["optuna.lock"]
    create_database(tmp_path / "optuna.db", fill)
    assert tables(tmp_path / "optuna.db") == {"trials", "studies"}


def test_the_draft_of_a_killed_process_is_replaced(tmp_path: Path) -> None:
    draft = tmp_path / "optuna.draft"
    draft.mkdir()
    (draft / "filled.db").write_bytes(b"half a database")
    create_database(tmp_path / "optuna.db", fill)
    assert tables(tmp_path / "optuna.db") == {"trials", "studies"}
    assert not draft.exists()


def test_those_who_come_later_wait_for_the_first(tmp_path: Path) -> None:
    fills: list[Path] = []

    def fill_slowly(file: Path) -> None:
        fills.append(file)
        time.sleep(0.2)
        fill(file)

    threads = [threading.Thread(target=create_database, args=(tmp_path / "optuna.db", fill_slowly)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fills) == 1
    assert tables(tmp_path / "optuna.db") == {"trials", "studies"}
