"""How a record is checked, and what is lost is made again, when a study resumes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from mlp.training import TrainingState
from studies.errors import HistoryMismatchError
from studies.launch import run_study
from studies.records.chained_lines import chain_start, sealed_line
from studies.records.limits import Limits
from studies.records.trial_log import read_lines, trial_number
from tests.studies.running.ledger_data import (
    complete_fixture,  # noqa: F401 - a fixture
    complete_home_fixture,  # noqa: F401 - a fixture
    stopped_fixture,  # noqa: F401 - a fixture
    stopped_home_fixture,  # noqa: F401 - a fixture
)
from tests.study_data import (
    IDENTITY,
    log_table,
    rows,
    run,
    run_until,
    small_study,
    study_folder,
    trial_table,
)

Tables = tuple[list[Any], list[Any]]


@pytest.fixture(scope="module")
def reference(complete_home: Path) -> Tables:
    """The tables of the complete small study."""
    return tables(complete_home)


def tables(root: Path) -> Tables:
    return trial_table(root), log_table(root)


def rewrite_log(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change the events of a log, with new checksums: as a program would that computed something else."""
    lines = read_lines(file, IDENTITY)
    assert lines is not None
    text, checksum = "", chain_start(IDENTITY, trial_number(file))
    for event in lines.contents:
        line, checksum = sealed_line(change(event), checksum)
        text += line
    assert text != file.read_text()
    file.write_text(text)


def number_of(root: Path, state: TrialState) -> int:
    """Return the last trial after trial 0 that ended with a state."""
    return [row.number for row in rows(root) if row.number > 0 and row.state == state][-1]


@pytest.mark.parametrize(("key", "change"), [("virtual_start", 1), ("epoch_cost", 1), ("step", -1)])
def test_a_trial_with_another_place_in_its_log_is_an_error(stopped: Path, digits: Path, key: str, change: int) -> None:
    rewrite_log(study_folder(stopped).log(3), lambda asked: {**asked, key: asked[key] + change})
    before = log_table(stopped)
    with pytest.raises(HistoryMismatchError, match=rf'study "small", trial 3: {key} is recorded as ') as refused:
        run(small_study(), stopped, digits)
    assert "Use those versions, or run the study under a new --name" in str(refused.value)
    assert log_table(stopped) == before


def test_another_value_in_a_log_is_an_error(stopped: Path, digits: Path) -> None:
    def change(event: dict[str, Any]) -> dict[str, Any]:
        if event.get("epoch") == 1:
            event["metrics"]["train/loss"] += 1e-9
        return event

    number = next(row.number for row in rows(stopped) if row.state == TrialState.RUNNING and row.number > 0)
    rewrite_log(study_folder(stopped).log(number), change)
    study_folder(stopped).checkpoint(number).unlink(missing_ok=True)
    with pytest.raises(HistoryMismatchError, match=rf"trial {number}: train/loss of epoch 1 is recorded as"):
        run(small_study(), stopped, digits)


def test_an_ending_that_the_pruner_would_not_decide_again_is_an_error(complete: Path, digits: Path) -> None:
    number = number_of(complete, TrialState.PRUNED)

    def complete_it(event: dict[str, Any]) -> dict[str, Any]:
        changes = {"state": "complete", "reason": ""} if event["event"] == "ended" else {}
        return {**event, **changes}

    rewrite_log(study_folder(complete).log(number), complete_it)
    with pytest.raises(HistoryMismatchError, match=r'study "small", trial \d: .* is recorded as'):
        run(small_study(), complete, digits)


TRIAL = "trial_id = (SELECT trial_id FROM trials WHERE number = 3)"


EDITS = {
    "a value": f"UPDATE trial_values SET value = value + 0.001 WHERE {TRIAL}",
    "a report": f"UPDATE trial_intermediate_values SET intermediate_value = 0.5 WHERE step = 1 AND {TRIAL}",
    "a missing report": f"DELETE FROM trial_intermediate_values WHERE step = 1 AND {TRIAL}",
    "a parameter": f"UPDATE trial_params SET param_value = 0.01 WHERE param_name LIKE '%learning_rate' AND {TRIAL}",
    "a state": "UPDATE trials SET state = 'FAIL' WHERE number = 3",
    "a running state": "UPDATE trials SET state = 'RUNNING' WHERE number = 3",
    "a number": "UPDATE trials SET number = 17 WHERE number = 3",
    "an attribute": f"UPDATE trial_user_attributes SET value_json = '77' WHERE key = 'step' AND {TRIAL}",
    "a digest": f"UPDATE trial_user_attributes SET value_json = '\"a\"' WHERE key = 'weight_digest' AND {TRIAL}",
    "not JSON": f"UPDATE trial_user_attributes SET value_json = '{{' WHERE key = 'reason' AND {TRIAL}",
    "an extra attribute": f"UPDATE trial_user_attributes SET key = 'x' WHERE key = 'reason' AND {TRIAL}",
    "a missing row": "DELETE FROM trials WHERE number = 3",
    "the last row": "DELETE FROM trials WHERE number = 6",
    "all rows": "DELETE FROM trials",
    "the name": "UPDATE studies SET study_name = 'renamed'",
    "the direction": "UPDATE study_directions SET direction = 'MINIMIZE'",
    "the study": "DELETE FROM studies",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_rows_that_were_edited_are_made_again_from_the_logs(
    complete: Path, digits: Path, reference: Tables, edit: str
) -> None:
    with sqlite3.connect(complete / "optuna.db") as database:
        assert database.execute(edit).rowcount > 0
    database.close()
    ledger = run(small_study(), complete, digits)
    assert tables(complete) == reference
    assert ledger.damage or "RUNNING" in edit or "= 6" in edit  # a kill can leave these two


@pytest.mark.slow
def test_rows_of_a_database_that_was_put_back_to_an_older_copy_are_made_again(
    tmp_path: Path, digits: Path, reference: Tables
) -> None:
    said = []
    for n_events in (1, 4, 7, 10, 12):
        root = tmp_path / str(n_events)
        run_until(n_events, small_study(), root, digits)
        older = (root / "optuna.db").read_bytes()
        run_until(n_events + 9, small_study(), root, digits)
        (root / "optuna.db").write_bytes(older)
        said.append(run(small_study(), root, digits).damage)
        assert tables(root) == reference
    assert sum(map(bool, said)) >= 4  # an older copy may be one step behind, as after a kill


@pytest.mark.parametrize("numbers", [[0], [3], [6], [1, 2], [0, 1, 2, 3, 4, 5, 6]], ids=str)
@pytest.mark.parametrize("is_emptied", [False, True], ids=["deleted", "emptied"])
def test_trials_whose_logs_are_lost_are_computed_again_at_their_place(
    complete: Path, digits: Path, reference: Tables, numbers: list[int], is_emptied: bool
) -> None:
    for number in numbers:
        log = study_folder(complete).log(number)
        log.write_bytes(b"") if is_emptied else log.unlink()
    ledger = run(small_study(), complete, digits)
    assert tables(complete) == reference
    assert ledger.damage


@pytest.mark.slow
def test_a_lost_trial_that_was_asked_after_the_total_was_raised_is_asked_there_again(
    tmp_path: Path, digits: Path
) -> None:
    step = run(small_study({"trials": 4}), tmp_path, digits).step
    limits = [Limits(trials=4), Limits(step=step, trials=7)]
    run(small_study(), tmp_path, digits, limits=limits)
    reference = tables(tmp_path)
    for number in (4, 3):
        study_folder(tmp_path).log(number).unlink()
        run(small_study(), tmp_path, digits, limits=limits)
        assert tables(tmp_path) == reference


@pytest.mark.parametrize("n_lines", [1, 2])
def test_a_log_that_was_cut_is_completed_with_the_same_events(
    complete: Path, digits: Path, reference: Tables, n_lines: int
) -> None:
    for file in study_folder(complete).logs():
        file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:n_lines]))
    run(small_study(), complete, digits)
    assert tables(complete) == reference


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: b"\x00" * len(data),
        lambda _: b"no state",
        flipped,
        lambda _: None,
    ],
    ids=["empty", "half", "last byte", "zeros", "text", "bit", "missing"],
)
def test_epochs_of_a_damaged_checkpoint_are_computed_again(
    stopped: Path, digits: Path, reference: Tables, damage: Callable[[bytes], bytes | None]
) -> None:
    checkpoints = list(study_folder(stopped).trials.glob("*.npz"))
    assert checkpoints
    for file in checkpoints:
        damaged = damage(file.read_bytes())
        file.unlink() if damaged is None else file.write_bytes(damaged)
    run(small_study(), stopped, digits)
    assert tables(stopped) == reference


def test_a_checkpoint_of_a_different_configuration_is_not_used(stopped: Path, digits: Path, reference: Tables) -> None:
    folder = study_folder(stopped)
    one, two, *_ = sorted(int(file.stem) for file in folder.trials.glob("*.npz"))
    assert TrainingState.from_bytes(folder.checkpoint(one).read_bytes()).epoch > 0
    folder.checkpoint(two).write_bytes(folder.checkpoint(one).read_bytes())
    run(small_study(), stopped, digits)
    assert tables(stopped) == reference


def test_checkpoints_are_removed_when_their_trials_have_ended(stopped: Path, digits: Path) -> None:
    running = {row.number for row in rows(stopped) if row.state == TrialState.RUNNING}
    assert {int(file.stem) for file in study_folder(stopped).trials.glob("*.npz")} <= running
    run(small_study(), stopped, digits)
    assert not list(study_folder(stopped).trials.glob("*.npz"))
    assert not list(study_folder(stopped).trials.glob(".*"))


def test_a_left_over_checkpoint_of_an_ended_trial_is_removed(tmp_path: Path, digits: Path) -> None:
    run(small_study({"trials": 2}), tmp_path, digits)
    study_folder(tmp_path).checkpoint(1).write_bytes(b"left over")
    run(small_study({"trials": 2}), tmp_path, digits)
    assert not study_folder(tmp_path).checkpoint(1).exists()


def test_another_search_seed_leads_to_other_trials_and_the_same_trial_0(tmp_path: Path, digits: Path) -> None:
    for seed in (1, 2):
        run(small_study({"seed": seed, "trials": 3}), tmp_path / str(seed), digits)
    one, two = rows(tmp_path / "1"), rows(tmp_path / "2")
    assert one[0].params == two[0].params
    assert one[0].value == two[0].value
    assert one[1].params != two[1].params


def test_a_row_records_virtual_times_and_costs(complete: Path) -> None:
    found = rows(complete)
    starts = [row.user_attrs["virtual_start"] for row in found]
    ends = sorted(row.user_attrs["virtual_end"] for row in found)
    assert starts[:3] == [0, 0, 0]
    assert starts[3:] == ends[: len(starts) - 3]
    steps = [row.user_attrs["step"] for row in found]
    assert steps[:3] == [0, 1, 2]
    assert steps == sorted(set(steps))
    for row in found:
        epochs = len(row.intermediate_values)
        attrs = row.user_attrs
        assert attrs["virtual_end"] == attrs["virtual_start"] + epochs * attrs["epoch_cost"]
        assert attrs["seconds"] > 0
        assert (attrs["weight_digest"] == "") == (row.state != TrialState.COMPLETE)


# Undefined metrics


def test_a_metric_that_is_undefined_decides_nothing_and_a_resumed_study_agrees(tmp_path: Path) -> None:
    rows_of_file = "".join(f"{i % 7}.5,{i % 3}.25,{'yes' if i in (3, 4) else 'no'}\n" for i in range(60))
    (tmp_path / "d.csv").write_text(f"a,b,kind\n{rows_of_file}")
    (tmp_path / "s.toml").write_text(
        f"""
[study]
name   = "undefined"
trials = 3
pruner = "none"
metric = "validation/precision"
[confirm]
enabled = false

[base]
epochs  = 2
metrics = ["precision"]
network = {{ hidden = [], initializer = "zeros" }}
data    = {{ file = "{tmp_path / "d.csv"}", target = "kind", validation = 0.5 }}
[space]
batch_size = [8, 16]
"""
    )
    for _ in range(2):  # the second launch replays the record
        launch = run_study(tmp_path / "s.toml", home=tmp_path / "home", engine="in-process", publish=False)
        trials = launch.results.trials
        assert [(trial.state, trial.ending and trial.ending.value) for trial in trials] == [("pruned", None)] * 3
        assert {trial.ending.reason for trial in trials if trial.ending} <= {"undefined", "pruner"}
        assert launch.results.best is None
