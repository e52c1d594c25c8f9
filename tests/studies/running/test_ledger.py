"""The ledger: base as trial 0, divergence, the best trial, and how a record is checked when a study resumes."""

from __future__ import annotations

import math
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from mlp.config import TrainConfig
from mlp.training import TrainingState, train
from studies.data.cache import open_cached
from studies.errors import HistoryMismatchError
from studies.launch import run_study
from studies.records.chained_lines import chain_start, sealed_line
from studies.records.trial_log import read_lines, read_log, trial_number
from tests.study_data import (
    IDENTITY,
    PRUNING,
    log_table,
    most_eager,
    rows,
    run,
    run_until,
    small_study,
    study_folder,
    trial_table,
)

RATES = {"optimizer.learning_rate": {"low": 1e-4, "high": 0.3, "log": True}}
DIVERGES_AT_ONCE = {"optimizer": {"name": "sgd", "learning_rate": 1e30}}
# One step per epoch: after the first the weights are huge and the outputs finite; after the second they are not.
DIVERGES_LATER = {
    "network": {"hidden": []},
    "batch_size": "full",
    "optimizer": {"name": "sgd", "learning_rate": 1e38},
}


Tables = tuple[list[Any], list[Any]]


@pytest.fixture(scope="module")
def complete_home(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the complete small study; tests must not change it."""
    root = tmp_path_factory.mktemp("complete")
    run(small_study(), root, digits)
    return root


@pytest.fixture(scope="module")
def stopped_home(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the small study, stopped halfway; tests must not change it."""
    root = tmp_path_factory.mktemp("stopped")
    run_until(12, small_study(), root, digits)
    return root


@pytest.fixture(scope="module")
def reference(complete_home: Path) -> Tables:
    """The tables of the complete small study."""
    return tables(complete_home)


@pytest.fixture
def complete(complete_home: Path, tmp_path: Path) -> Path:
    """A complete study that a test may change."""
    return shutil.copytree(complete_home, tmp_path / "complete")


@pytest.fixture
def stopped(stopped_home: Path, tmp_path: Path) -> Path:
    """A stopped study that a test may change or resume."""
    return shutil.copytree(stopped_home, tmp_path / "stopped")


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


def test_trial_0_is_base(tmp_path: Path, digits: Path) -> None:
    spec = small_study({"trials": 1})
    ledger = run(spec, tmp_path, digits)
    (row,) = rows(tmp_path)
    assert row.params == spec.space.params_of_base()
    trained = train(spec.base, open_cached(digits))
    assert list(row.intermediate_values.values()) == trained.history["validation/accuracy"]
    assert (row.value, row.user_attrs["weight_digest"]) == (row.intermediate_values[3], trained.weight_digest())
    assert ledger.best == (0, row.value)
    record = read_log(study_folder(tmp_path).log(0), IDENTITY)
    assert record is not None
    assert record.history == trained.history
    assert TrainConfig.from_mapping(record.config) == spec.base


@pytest.mark.parametrize("pruner", PRUNING)
def test_trial_0_is_never_pruned_however_bad_it_is(tmp_path: Path, digits: Path, pruner: str) -> None:
    base = {"optimizer": {"name": "adam", "learning_rate": 1e-4}, "epochs": 8, "batch_size": 16}
    space = {"optimizer.learning_rate": {"low": 1e-4, "high": 0.03, "log": True}}  # base is at the bad end
    run(small_study({"pruner": most_eager(pruner)}, base, space), tmp_path, digits)
    found = rows(tmp_path)
    assert sum(row.state == TrialState.PRUNED for row in found) >= 2
    assert (found[0].state, list(found[0].intermediate_values)) == (TrialState.COMPLETE, list(range(1, 9)))
    assert min(row.value for row in found if row.state == TrialState.COMPLETE) == found[0].value


def test_every_trial_equals_a_training_of_its_configuration(tmp_path: Path, digits: Path) -> None:
    run(small_study({"pruner": "none", "trials": 5}), tmp_path, digits)
    spec = small_study()
    for row in rows(tmp_path):
        record = read_log(study_folder(tmp_path).log(row.number), IDENTITY)
        assert record is not None
        config = TrainConfig.from_mapping(record.config)
        assert config == spec.space.configure(row.params)
        trained = train(config, open_cached(digits))
        assert record.history == trained.history
        assert row.user_attrs["weight_digest"] == trained.weight_digest()


def test_the_value_of_a_trial_is_the_metric_of_the_kept_weights(tmp_path: Path, digits: Path) -> None:
    """Under early stopping they are the weights of the best epoch by the metric of early stopping."""
    base = {
        "epochs": 20,
        "optimizer": {"name": "sgd", "learning_rate": 1.0, "momentum": 0.9},
        "early_stopping": {"patience": 2},
    }
    run(small_study({"trials": 1}, base, {}), tmp_path, digits)
    (row,) = rows(tmp_path)
    record = read_log(study_folder(tmp_path).log(0), IDENTITY)
    assert record is not None
    kept = 1 + int(np.argmin(record.history["validation/loss"]))
    assert kept == record.n_epochs - 2 < 18
    assert row.value == record.history["validation/accuracy"][kept - 1] != record.history["validation/accuracy"][-1]
    assert row.user_attrs["kept_epoch"] == kept


def test_a_base_outside_the_space_is_trained_and_ignored_by_the_sampler(tmp_path: Path, digits: Path) -> None:
    study = {"parallelism": 1, "trials": 6, "sampler": {"name": "tpe", "startup_trials": 2}}
    rates = {"optimizer.learning_rate": {"low": 1e-4, "high": 1e-3}}
    for name, rate in (("good", 0.02), ("bad", 1e-9)):
        spec = small_study(study, {"optimizer": {"name": "adam", "learning_rate": rate}}, rates)
        assert spec.space.params_of_base() is None
        run(spec, tmp_path / name, digits)
    good, bad = rows(tmp_path / "good"), rows(tmp_path / "bad")
    assert good[0].params == bad[0].params == {}
    assert (good[0].state, len(good[0].intermediate_values)) == (TrialState.COMPLETE, 3)
    assert good[0].value is not None
    assert bad[0].value is not None
    assert good[0].value > bad[0].value
    later = [[(row.params, row.value, row.state) for row in found[1:]] for found in (good, bad)]
    assert later[0] == later[1]


def test_the_sampler_learns_from_a_base_inside_the_space(tmp_path: Path, digits: Path) -> None:
    study = {"parallelism": 1, "trials": 6, "sampler": {"name": "tpe", "startup_trials": 2}}
    for name, rate in (("good", 0.01), ("bad", 1e-4)):
        run(small_study(study, {"optimizer": {"name": "adam", "learning_rate": rate}}, RATES), tmp_path / name, digits)
    good, bad = rows(tmp_path / "good"), rows(tmp_path / "bad")
    assert good[1].params == bad[1].params
    assert [row.params for row in good[2:]] != [row.params for row in bad[2:]]


def test_a_base_outside_the_space_can_be_the_best_trial(tmp_path: Path, digits: Path) -> None:
    rates = {"optimizer.learning_rate": {"low": 1e-9, "high": 1e-8}}
    ledger = run(small_study({"trials": 4}, space=rates), tmp_path, digits)
    assert ledger.best == (0, rows(tmp_path)[0].value)


@pytest.mark.parametrize("n_events", [0, 7])
def test_a_study_whose_base_is_outside_the_space_resumes_to_the_same_table(
    tmp_path: Path, digits: Path, n_events: int
) -> None:
    spec = small_study({"trials": 5}, {"optimizer": {"name": "adam", "learning_rate": 0.5}}, RATES)
    run(spec, tmp_path / "at once", digits)
    run_until(n_events, spec, tmp_path / "stopped", digits)
    run(spec, tmp_path / "stopped", digits)
    assert trial_table(tmp_path / "stopped") == trial_table(tmp_path / "at once")


@pytest.mark.parametrize(
    ("base", "n_finite"), [(DIVERGES_AT_ONCE, 0), (DIVERGES_LATER, 1)], ids=["at once", "after an epoch"]
)
def test_a_trial_that_diverges_is_pruned_with_its_last_finite_value(
    tmp_path: Path, digits: Path, base: dict[str, Any], n_finite: int
) -> None:
    ledger = run(small_study({"trials": 1}, base, {}), tmp_path, digits)
    (row,) = rows(tmp_path)
    assert (row.state, row.user_attrs["reason"]) == (TrialState.PRUNED, "diverged")
    assert list(row.intermediate_values) == list(range(1, n_finite + 1))
    assert row.value == row.intermediate_values.get(n_finite)
    record = read_log(study_folder(tmp_path).log(0), IDENTITY)
    assert record is not None
    assert record.ending is not None
    assert (record.state, record.ending.reason, record.value) == ("pruned", "diverged", row.value)
    assert record.n_epochs == n_finite
    assert all(math.isfinite(value) for values in record.history.values() for value in values)
    assert not study_folder(tmp_path).checkpoint(0).exists()
    assert (ledger.best, ledger.counts["pruned"]) == (None, 1)


def test_a_trial_that_diverges_is_never_the_best(tmp_path: Path, digits: Path) -> None:
    """Its last finite value is the highest here, because the other trials hardly learn."""
    rates = {"optimizer.learning_rate": [1e38, 1e-9]}
    ledger = run(small_study({"trials": 6, "pruner": "none"}, DIVERGES_LATER, rates), tmp_path, digits)
    found = rows(tmp_path)
    complete = [row for row in found if row.state == TrialState.COMPLETE]
    assert found[0].state == TrialState.PRUNED
    assert complete
    assert ledger.best is not None
    assert ledger.best[1] == max(row.value for row in complete) < found[0].value
    assert found[ledger.best[0]].state == TrialState.COMPLETE


@pytest.mark.slow
@pytest.mark.parametrize("n_events", [1, 8])
def test_a_study_with_diverged_trials_resumes_to_the_same_table(tmp_path: Path, digits: Path, n_events: int) -> None:
    rates = {"optimizer.learning_rate": [1e38, 1e-3, 1e-9]}
    spec = small_study({"trials": 6}, DIVERGES_LATER, rates)
    run(spec, tmp_path / "at once", digits)
    run_until(n_events, spec, tmp_path / "stopped", digits)
    run(spec, tmp_path / "stopped", digits)
    assert trial_table(tmp_path / "stopped") == trial_table(tmp_path / "at once")
    run(spec, tmp_path / "stopped", digits)
    assert log_table(tmp_path / "stopped") == log_table(tmp_path / "at once")


def test_of_equal_trials_the_lowest_number_is_the_best(tmp_path: Path, digits: Path) -> None:
    slow = {"optimizer": {"name": "adam", "learning_rate": 1e-3}, "batch_size": 16}
    same = {"optimizer.beta1": [0.9, 0.9000000000000001]}
    ledger = run(small_study({"trials": 6, "pruner": "none", "sampler": "random"}, slow, same), tmp_path, digits)
    values = [row.value for row in rows(tmp_path)]
    assert values.count(max(values)) > 1
    assert ledger.best == (values.index(max(values)), max(values))


@pytest.mark.parametrize("metric", ["validation/loss", "train/accuracy"])
def test_a_study_can_optimise_any_metric(tmp_path: Path, digits: Path, metric: str) -> None:
    spec = small_study({"metric": metric, "trials": 5})
    ledger = run(spec, tmp_path, digits)
    complete = {row.value: row.number for row in rows(tmp_path) if row.state == TrialState.COMPLETE}
    best = min(complete) if spec.direction == "minimize" else max(complete)
    assert ledger.best == (complete[best], best)
    record = read_log(study_folder(tmp_path).log(complete[best]), IDENTITY)
    assert record is not None
    assert record.history[metric][-1] == best


@pytest.mark.parametrize(("key", "change"), [("virtual_start", 1), ("epoch_cost", 1), ("n_events", -1)])
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
    "an attribute": f"UPDATE trial_user_attributes SET value_json = '77' WHERE key = 'n_events' AND {TRIAL}",
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
    for total in (4, 7):
        run(small_study({"trials": total}), tmp_path, digits)
    reference = tables(tmp_path)
    for number in (4, 3):
        study_folder(tmp_path).log(number).unlink()
        run(small_study(), tmp_path, digits)
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
    events = [row.user_attrs["n_events"] for row in found]
    assert events[:3] == [0, 0, 0]
    assert events[3:] == sorted(set(events[3:]))
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
metric = "validation/precision"
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
