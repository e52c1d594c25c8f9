"""A disk that is full, read-only or gone, and a database that is locked or damaged: one line each."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from studies.errors import StorageError
from studies.records.failures import failures_explained
from studies.records.files import write_atomically
from studies.records.trial_log import TrialLog
from tests.disk_data import small_disk
from tests.record_data import IDENTITY


def explained(error: Exception, database: Path) -> str:
    with pytest.raises(StorageError) as caught, failures_explained(database):
        raise error
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "make room for 20 MB"), (errno.EROFS, "Make sure that it"), (errno.EIO, "Make sure that it")],
)
def test_an_error_of_the_disk_names_file_problem_and_what_to_do(tmp_path: Path, number: int, advice: str) -> None:
    file = tmp_path / "0001.npz"
    text = explained(OSError(number, "the problem", str(file)), tmp_path / "optuna.db")
    assert text.startswith(f"{file} cannot be written: the problem. ")
    assert advice in text
    assert text.endswith("Nothing that was finished is lost: run the study again to resume it.")


def test_a_folder_that_is_gone_is_called_so(tmp_path: Path) -> None:
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", str(tmp_path / "gone" / "deeper" / "x"))
    assert "Its folder is gone." in explained(error, tmp_path / "optuna.db")


def test_an_error_without_a_file_passes_unchanged(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), failures_explained(tmp_path):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_an_error_of_the_program_passes_unchanged(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), failures_explained(tmp_path):
        raise ZeroDivisionError
    with pytest.raises(sqlite3.IntegrityError), failures_explained(tmp_path):
        raise sqlite3.IntegrityError("UNIQUE constraint failed")


@pytest.mark.parametrize(
    ("problem", "advice"),
    [
        ("database or disk is full", "make room for"),
        ("attempt to write a readonly database", "Make sure that it"),
        ("database is locked", "End that process"),
    ],
)
def test_an_error_of_the_database_names_its_file_wherever_optuna_wraps_it(
    tmp_path: Path, problem: str, advice: str
) -> None:
    from optuna.exceptions import StorageInternalError

    error = StorageInternalError("An exception is raised during the commit.\nThis typically happens ...")
    error.__cause__ = sqlite3.OperationalError(problem)
    text = explained(error, tmp_path / "optuna.db")
    assert text.startswith(f"{tmp_path / 'optuna.db'} cannot be written: ")
    assert advice in text


def test_a_locked_database_is_recognised_as_sqlite_reports_it(tmp_path: Path) -> None:
    file = tmp_path / "optuna.db"
    with closing(sqlite3.connect(file)) as one, closing(sqlite3.connect(file, timeout=0)) as two:
        one.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another process has kept it locked"), failures_explained(file):
            two.execute("BEGIN IMMEDIATE")


def test_a_full_disk_keeps_the_old_file_and_leaves_no_draft(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        file = disk / "study.json"
        write_atomically(file, "old")
        with pytest.raises(OSError, match="No space left") as caught:
            write_atomically(file, bytes(100_000))
        assert caught.value.filename == str(file)
        assert [path.name for path in disk.iterdir()] == ["study.json"]
        assert file.read_text() == "old"


def log_epochs(log: TrialLog, n_epochs: int) -> None:
    for epoch in range(1, n_epochs + 1):
        log.epoch(epoch, epoch, {"train/loss": 1.0 / epoch})


def test_a_log_on_a_full_disk_is_named_and_can_be_continued(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        file, ballast = disk / "0000.jsonl", disk / "ballast"
        log = TrialLog(file, IDENTITY)
        log.asked(0, 0, {}, {"epochs": 100})
        ballast.write_bytes(bytes(56_000))
        with pytest.raises(OSError, match="No space left") as caught:
            log_epochs(log, 500)
        assert caught.value.filename == str(file)
        ballast.unlink()
        again = TrialLog(file, IDENTITY)
        assert again.record is not None
        n_epochs = again.record.n_epochs
        assert 1 <= n_epochs < 500
        again.epoch(n_epochs + 1, n_epochs + 1, {"train/loss": 0.0})
        read = TrialLog(file, IDENTITY).record
        assert read is not None
        assert read.n_epochs == n_epochs + 1
