"""The ledger: base as trial 0, divergence, and the best trial."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from mlp.config import TrainConfig
from mlp.training import train
from studies.data.cache import open_cached
from studies.records.trial_log import read_log
from tests.studies.running.ledger_data import (
    complete_fixture,  # noqa: F401 - a fixture
    complete_home_fixture,  # noqa: F401 - a fixture
    stopped_fixture,  # noqa: F401 - a fixture
    stopped_home_fixture,  # noqa: F401 - a fixture
)
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


def test_trial_0_is_base(tmp_path: Path, digits: Path) -> None:
    spec = small_study({"trials": 1})
    ledger = run(spec, tmp_path, digits)
    (row,) = rows(tmp_path)
    assert row.params == spec.space.params_of_base()
    trained = train(spec.base, open_cached(digits))
    assert list(row.intermediate_values.values()) == trained.history["validation/accuracy"]
    assert (row.value, row.user_attrs["weight_digest"]) == (row.intermediate_values[3], trained.weight_digest())
    assert ledger.decisions.best == (0, row.value)
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
    assert sum(row.state == TrialState.PRUNED for row in found) >= 1
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
    assert ledger.decisions.best == (0, rows(tmp_path)[0].value)


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
    assert (ledger.decisions.best, ledger.counts["pruned"]) == (None, 1)


def test_a_trial_that_diverges_is_never_the_best(tmp_path: Path, digits: Path) -> None:
    """Its last finite value is the highest here, because the other trials hardly learn."""
    rates = {"optimizer.learning_rate": [1e38, 1e-9]}
    ledger = run(small_study({"trials": 6, "pruner": "none"}, DIVERGES_LATER, rates), tmp_path, digits)
    found = rows(tmp_path)
    complete = [row for row in found if row.state == TrialState.COMPLETE]
    assert found[0].state == TrialState.PRUNED
    assert complete
    assert ledger.decisions.best is not None
    assert ledger.decisions.best[1] == max(row.value for row in complete) < found[0].value
    assert found[ledger.decisions.best[0]].state == TrialState.COMPLETE


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
    assert ledger.decisions.best == (values.index(max(values)), max(values))


@pytest.mark.parametrize("metric", ["validation/loss", "train/accuracy"])
def test_a_study_can_optimise_any_metric(tmp_path: Path, digits: Path, metric: str) -> None:
    spec = small_study({"metric": metric, "trials": 5})
    ledger = run(spec, tmp_path, digits)
    complete = {row.value: row.number for row in rows(tmp_path) if row.state == TrialState.COMPLETE}
    best = min(complete) if spec.direction == "minimize" else max(complete)
    assert ledger.decisions.best == (complete[best], best)
    record = read_log(study_folder(tmp_path).log(complete[best]), IDENTITY)
    assert record is not None
    assert record.history[metric][-1] == best
