"""Studies whose files or database were damaged, edited, lost or locked: noticed, said in one line, and repaired."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlp import ConfigError
from studies import plan, run_study
from studies.check import check_study
from studies.errors import DamagedDatabaseError, RecordError, StorageError
from studies.evidence.winner import export_trial
from studies.launch import Launch
from studies.models.export import read_config
from studies.records.home import Home, StudyFolder
from studies.records.results import load_study
from studies.records.trial_log import TrialLog
from studies.records.trial_record import Ending
from studies.running import stopping
from tests.study_data import prepared_digits, trial_table  # noqa: F401 - a fixture

STUDY = """
[study]
name = "small"
trials = 4
parallelism = 2
sampler = "random"
pruner = { name = "median", startup_trials = 1 }

[confirm]
enabled = false

[base]
epochs = 2
batch_size = 256
data = { name = "digits" }
network = { hidden = [8] }

[space]
"optimizer.learning_rate" = { low = 1e-3, high = 0.1, log = true }
"""
pytestmark = pytest.mark.usefixtures("digits")


class Place:
    """A home with the complete small study, and its file."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root / "home")
        self.file = root / "study.toml"
        self.notices: list[str] = []

    @property
    def folder(self) -> StudyFolder:
        return self.home.study("small")

    @property
    def database(self) -> Path:
        return self.home.root / "optuna.db"

    def run(self, **options: Any) -> Launch:
        self.notices.clear()
        return run_study(
            self.file,
            home=self.home.root,
            engine="in-process",
            publish=False,
            on_notice=self.notices.append,
            **options,
        )

    def differences(self) -> list[str]:
        return check_study(self.home, "small").differences

    def table(self) -> Any:
        return trial_table(self.home.root)


@pytest.fixture(scope="module", name="original")
def original_fixture(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:  # noqa: ARG001 - the cache
    place = Place(tmp_path_factory.mktemp("original"))
    place.file.write_text(STUDY)
    assert place.run().status == "complete"
    return place.file.parent


@pytest.fixture(scope="module", name="undisturbed")
def undisturbed_fixture(original: Path) -> Any:
    return Place(original).table()


@pytest.fixture(name="place")
def place_fixture(tmp_path: Path, original: Path) -> Place:
    return Place(shutil.copytree(original, tmp_path / "copy"))


def test_a_study_that_nobody_touched_has_no_differences(place: Place) -> None:
    before = {file: file.read_bytes() for file in place.folder.root.rglob("*") if file.is_file()}
    for repair in (False, True):
        report = check_study(place.home, "small", repair=repair)
        assert (report.differences, report.repairs) == ([], [])
        assert report.notes == ["The study was never published, so MLflow was not compared."]
    assert before == {file: file.read_bytes() for file in place.folder.root.rglob("*") if file.is_file()}


def garbage(file: Path) -> None:
    file.write_bytes(b"garbage" * 1000)


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def overwritten(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:8192] + os.urandom(4096 * 8) + data[8192 + 4096 * 8 :])


def folder_instead(file: Path) -> None:
    file.unlink()
    file.mkdir()


def pipe_instead(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [garbage, truncated, overwritten, folder_instead, pipe_instead])
def test_a_damaged_database_is_refused_and_repaired_by_check(
    place: Place, undisturbed: Any, damage: Callable[[Path], None]
) -> None:
    damage(place.database)
    with pytest.raises(DamagedDatabaseError) as refused:
        place.run()
    assert str(refused.value).startswith(f"{place.database} is damaged: ")
    assert "check small --repair" in str(refused.value)
    assert [line.partition(":")[0] for line in place.differences()] == [f"{place.database} is damaged"]
    report = check_study(place.home, "small", repair=True)
    assert report.differences == []
    assert len(report.repairs) == 2
    assert len(list(place.home.root.glob("optuna.db.damaged-*"))) == 1
    assert place.table() == undisturbed
    assert check_study(place.home, "small", repair=True).repairs == []
    assert place.run().status == "already complete"


def test_the_rows_of_another_study_in_a_damaged_database_are_made_again_when_it_is_run(place: Place) -> None:
    other = Place(place.file.parent)
    place.run(name="other", trials=2)
    garbage(place.database)
    check_study(place.home, "small", repair=True)
    assert check_study(place.home, "other").differences == ['Optuna\'s database has no study "other"']
    assert other.run(name="other", trials=2).status == "already complete"
    assert "so they were made again from the logs" in other.notices[0]
    assert check_study(place.home, "other").differences == []


def test_a_damaged_database_that_another_study_uses_is_not_set_aside(place: Place) -> None:
    place.run(name="other", trials=1)
    garbage(place.database)
    with place.home.study("other").lock(), pytest.raises(ConfigError, match=r"a driver uses it for: other\. Stop it"):
        check_study(place.home, "small", repair=True)
    assert place.database.is_file()


@pytest.mark.parametrize("is_emptied", [False, True])
def test_a_lost_database_is_made_again_and_the_launch_says_so(place: Place, undisturbed: Any, is_emptied: bool) -> None:
    place.database.write_bytes(b"") if is_emptied else place.database.unlink()
    assert place.differences() == [f"{place.database} does not exist"]
    assert place.run().status == "already complete"
    assert place.notices == [
        (
            "Optuna's rows did not fit the logs, so they were made again from the logs: trial 0: Optuna's database has "
            "no row, and 3 more."
        )
    ]
    assert place.table() == undisturbed


def test_an_edited_row_is_a_difference_until_it_is_repaired(place: Place, undisturbed: Any) -> None:
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute("UPDATE trial_values SET value = 0.99 WHERE trial_id = 1")
    (line,) = place.differences()
    assert line.startswith("trial 0: Optuna's row differs from the log in values: [0.99] instead of ")
    report = check_study(place.home, "small", repair=True)
    assert (report.differences, len(report.repairs)) == ([], 1)
    assert place.table() == undisturbed


@pytest.mark.slow
def test_a_complete_study_with_an_unfinished_row_and_no_export_is_completed(place: Place, undisturbed: Any) -> None:
    """A kill between the log and the row of the last trial leaves this."""
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute("UPDATE trials SET state = 'RUNNING', datetime_complete = NULL WHERE number = 3")
        database.execute("DELETE FROM trial_values WHERE trial_id = 4")
    place.folder.best.unlink()
    place.folder.checkpoint(3).write_bytes(b"left over")
    assert len(place.differences()) == 2
    launch = place.run()
    assert (launch.status, launch.export) == ("already complete", place.folder.best)
    assert (place.notices, place.differences()) == ([], [])
    assert place.folder.best.exists()
    assert not place.folder.checkpoint(3).exists()
    assert place.table() == undisturbed


def test_an_edited_export_is_written_again(place: Place) -> None:
    text = place.folder.best.read_text()
    place.folder.best.write_text(text.replace("epochs = 2", "epochs = 3"))
    assert place.differences() == [f"{place.folder.best} is not the export of the winner"]
    place.run()
    assert place.folder.best.read_text() == text


@pytest.mark.parametrize("line", [0, 1, 2, 3])
def test_a_damaged_log_is_refused_cut_by_check_and_computed_again(place: Place, undisturbed: Any, line: int) -> None:
    file = place.folder.log(0)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:line], lines[line].replace(b'"time": 1', b'"time": 2'), *lines[line + 1 :]]))
    with pytest.raises(RecordError, match=rf"0000\.jsonl: line {line + 1} does not fit its checksum"):
        place.run()
    assert len(place.differences()) == 1
    report = check_study(place.home, "small", repair=True)
    assert f"was cut after line {line}; the rest is in" in report.repairs[0]
    assert place.run().status == "complete"
    assert (place.table(), place.differences()) == (undisturbed, [])


def test_a_failure_in_a_damaged_log_is_taken_from_the_row(place: Place) -> None:
    identity = place.folder.read_record().identity
    file = place.folder.log(3)
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2]))
    TrialLog(file, identity).ended(1000, Ending("failed", "MemoryError", error="Traceback", seconds=0.5))
    place.run()
    before = place.table()
    file.write_bytes(file.read_bytes().replace(b"Traceback", b"traceback"))
    report = check_study(place.home, "small", repair=True)
    assert "Its trial failed, as Optuna's row says." in report.repairs[0]
    assert (report.differences, place.table()) == ([], before)
    ending = load_study("small", place.home.root).trial(3).ending
    assert ending is not None
    assert (ending.state, ending.reason, ending.seconds) == ("failed", "MemoryError", 0.5)


def test_a_log_that_is_a_folder_is_refused_and_moved_by_check(place: Place, undisturbed: Any) -> None:
    folder_instead(place.folder.log(2))
    with pytest.raises(RecordError, match=r"0002\.jsonl: must be a regular file, got a folder\. It is the log of"):
        place.run()
    check_study(place.home, "small", repair=True)
    assert place.run().status == "complete"
    assert place.table() == undisturbed


def test_a_lost_log_is_a_difference_and_computed_again(place: Place, undisturbed: Any) -> None:
    place.folder.log(1).unlink()
    assert place.differences()[0] == "trial 1: its log is lost. The next run computes it again."
    assert place.run().status == "complete"
    assert "The logs of these trials are lost, so they are computed again: 1." in place.notices
    assert (place.table(), place.differences()) == (undisturbed, [])


def test_a_deleted_study_record_is_written_again(place: Place, undisturbed: Any) -> None:
    place.folder.record.unlink()
    assert place.run().status == "complete"
    assert (place.table(), place.differences()) == (undisturbed, [])


@pytest.mark.parametrize("content", ["", "garbage", "[]", "7", "{}", '{"version": 2}', "[" * 100_000])
def test_a_damaged_study_record_is_a_difference_and_refused(place: Place, content: str) -> None:
    place.folder.record.write_text(content)
    with pytest.raises(RecordError, match=r"study\.json: is not a study record"):
        place.run()
    (line,) = place.differences()
    assert line.startswith(f"{place.folder.record}: is not a study record")


@pytest.mark.parametrize("name", ["lock", "owner.json", "trials/0003.npz"])
def test_a_folder_with_the_name_of_a_file_is_named(place: Place, name: str) -> None:
    file = place.folder.root / name
    file.unlink(missing_ok=True)
    file.mkdir()
    if name.startswith("trials"):
        place.folder.log(3).unlink()
    with pytest.raises((ConfigError, StorageError)) as refused:
        place.run()
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_database_that_is_deleted_while_the_study_runs_is_made_again(place: Place) -> None:
    def delete(_: Any) -> None:
        for file in place.home.root.glob("optuna.db*"):
            file.unlink()

    with contextlib.suppress(StorageError):  # it depends on the moment whether SQLite notices
        place.run(name="other", on_change=delete)
        assert check_study(place.home, "other").differences == []
    assert place.run(name="other").results.is_complete
    assert check_study(place.home, "other").differences == []


@pytest.mark.slow
@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_study_waits_for_a_locked_database_says_so_and_can_be_stopped(
    place: Place, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    monkeypatch.setattr(stopping, "NOTICE_SECONDS", 0.0)
    with closing(sqlite3.connect(place.database, isolation_level=None)) as other:
        other.execute(statement)
        launch = place.run(name="other", timeout=2.0)
        assert launch.status == "out of time"
        assert place.notices == [
            f"Another process has locked {place.database}. Waiting for it; Ctrl-C stops this run, nothing is lost."
        ]
        monkeypatch.setattr(stopping, "LOCKED_SECONDS", 0.6)
        with pytest.raises(StorageError, match="another process has kept it locked for too long"):
            place.run(name="other")
    assert place.run(name="other").status == "complete"
    assert check_study(place.home, "other").differences == []


def test_a_study_that_is_resumed_on_another_machine_says_so_and_its_exports_name_both(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = plan.machine()
    monkeypatch.setattr(plan, "machine", lambda: {"cpu": "Z80", "blas": "blas 1.0"})
    place.run(trials=5)
    assert place.notices == [
        (
            f"The last launch was on another machine: cpu was {own['cpu']} and is Z80, blas was {own['blas']} and is "
            "blas 1.0. The last bits of new results may differ."
        )
    ]
    record = place.folder.read_record()
    assert [one.machine["cpu"] for one in record.launches] == [own["cpu"], "Z80"]
    results = load_study("small", place.home.root)
    assert [[of["cpu"] for of in trial.machines] for trial in results.trials] == [[own["cpu"]]] * 4 + [["Z80"]]
    file = place.folder.log(0)  # a trial of the first machine that the second one continues
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2]))
    place.run(trials=5)
    results = load_study("small", place.home.root)
    assert [of["cpu"] for of in results.trial(0).machines] == [own["cpu"], "Z80"]
    _, provenance = read_config(export_trial(results, 0, place.file.with_name("best.toml")))
    assert provenance is not None
    assert (provenance.cpu, provenance.blas) == (f"{own['cpu']}, then Z80", f"{own['blas']}, then blas 1.0")
