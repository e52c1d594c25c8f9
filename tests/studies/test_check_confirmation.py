"""Confirmed studies whose confirmation was damaged, edited or lost: noticed, repaired, and completed again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from studies.check import check_study
from studies.deletion import delete_study
from studies.launch import Launch, run_study
from studies.records.home import Home
from tests.study_data import prepared_digits  # noqa: F401 - a fixture

STUDY = """
[study]
name = "small"
trials = 3
sampler = "random"
pruner = "none"

[base]
epochs = 2
batch_size = 256
data = { name = "digits" }
network = { hidden = [8] }

[space]
"optimizer.learning_rate" = { low = 1e-3, high = 0.1, log = true }

[confirm]
top = 1
seeds = 2
"""
pytestmark = pytest.mark.usefixtures("digits")


def run(root: Path) -> Launch:
    return run_study(root / "study.toml", home=root / "home", engine="in-process", publish=False)


@pytest.fixture(scope="module", name="original")
def original_fixture(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:  # noqa: ARG001 - the cache
    root = tmp_path_factory.mktemp("original")
    (root / "study.toml").write_text(STUDY)
    assert run(root).status == "complete"
    return root


@pytest.fixture(name="root")
def root_fixture(tmp_path: Path, original: Path) -> Path:
    """The folder of a copy of the confirmed study and its file."""
    return shutil.copytree(original, tmp_path / "copy")


def home_in(root: Path) -> Home:
    return Home(root / "home")


def content(root: Path) -> dict[str, bytes]:
    """Return the verdict and the export."""
    folder = home_in(root).study("small")
    return {file.name: file.read_bytes() for file in (folder.confirmation, folder.best)}


def test_a_confirmed_study_that_nobody_touched_has_no_differences(root: Path) -> None:
    for repair in (False, True):
        report = check_study(home_in(root), "small", repair=repair)
        assert (report.differences, report.repairs) == ([], [])


@pytest.mark.parametrize("text", ["", "{}", None])
def test_a_verdict_that_was_edited_or_lost_is_written_again(root: Path, original: Path, text: str | None) -> None:
    file = home_in(root).study("small").confirmation
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    report = check_study(home_in(root), "small")
    assert report.differences == [f"{file} is not what the logs of the confirmation say"]
    report = check_study(home_in(root), "small", repair=True)
    assert (report.differences, report.repairs) == ([], [f"{file} was written again."])
    assert content(root) == content(original)


def test_the_next_run_writes_a_lost_verdict_again(root: Path, original: Path) -> None:
    home_in(root).study("small").confirmation.unlink()
    assert run(root).status == "already complete"
    assert content(root) == content(original)


def test_a_damaged_log_is_cut_and_its_training_computed_again(root: Path, original: Path) -> None:
    folder = home_in(root).study("small")
    log = folder.confirm.logs()[-1]
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([*lines[:2], lines[2].replace("epoch", "epoxy"), *lines[3:]]))
    (difference,) = check_study(home_in(root), "small").differences
    assert difference.startswith(f"{log}: line 3 ")
    assert f"It belongs to training {int(log.stem)} of the folder confirm." in difference
    report = check_study(home_in(root), "small", repair=True)
    assert report.repairs[0].startswith(f"{log} was cut after line 2; the rest is in {log}.damaged-")
    assert report.repairs[1:] == [f"{folder.confirmation} was removed.", f"{folder.best} was written again."]
    assert run(root).status == "complete"
    assert content(root) == content(original)
    assert check_study(home_in(root), "small").differences == []


def test_a_log_that_is_no_file_is_moved_away_and_its_training_computed_again(root: Path, original: Path) -> None:
    log = home_in(root).study("small").confirm.logs()[0]
    log.unlink()
    log.mkdir()
    report = check_study(home_in(root), "small", repair=True)
    assert report.repairs[0].startswith(f"{log} was moved to {log}.damaged-")
    assert run(root).status == "complete"
    assert content(root) == content(original)


def test_a_confirmation_that_was_killed_has_no_differences_and_is_completed(root: Path, original: Path) -> None:
    folder = home_in(root).study("small")
    log = folder.confirm.logs()[-1]
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:2]))
    folder.confirmation.unlink()
    folder.best.unlink()
    assert check_study(home_in(root), "small").differences == []
    assert run(root).status == "complete"
    assert content(root) == content(original)


def test_a_confirmed_study_is_deleted_in_full(root: Path) -> None:
    folder = home_in(root).study("small")
    delete_study(home_in(root), "small")
    assert not folder.root.exists()
