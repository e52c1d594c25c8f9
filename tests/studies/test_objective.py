"""The objective as a plain callable, under Optuna's own loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial, TrialState

from mlp.errors import ConfigError
from mlp.training import train
from studies.data.cache import open_cached
from studies.objective import Objective
from tests.study_data import (
    rows,
    run,
    small_study,
)

STUDY_FILE = """
[study]
name = "file"
metric = "validation/loss"

[confirm]
enabled = false

[base]
epochs = 2
data = { name = "digits" }
network = { hidden = [4] }

[space]
"optimizer.learning_rate" = { low = 1e-3, high = 1e-2, log = true }
"""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def study_of(objective: Objective, pruner: optuna.pruners.BasePruner | None = None) -> optuna.Study:
    return optuna.create_study(
        direction=objective.spec.direction,
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=pruner or optuna.pruners.NopPruner(),
    )


def test_the_value_of_a_trial_is_the_metric_of_training_its_configuration(digits: Path) -> None:
    objective = Objective(small_study())
    study = study_of(objective)
    study.optimize(objective, n_trials=4)
    spec = objective.spec
    for trial in study.trials:
        trained = train(spec.space.configure(trial.params), open_cached(digits))
        curve = trained.history["validation/accuracy"]
        assert trial.intermediate_values == dict(enumerate(curve, start=1))
        assert trial.value == curve[-1]
    assert study.best_value == max(trial.value for trial in study.trials)


def test_the_value_of_a_trial_is_the_same_as_in_a_launched_study(digits: Path, tmp_path: Path) -> None:
    spec = small_study({"pruner": "none", "trials": 4})
    run(spec, tmp_path, digits)
    objective = Objective(spec)
    for row in rows(tmp_path):
        assert objective(FixedTrial(row.params)) == row.value


def test_the_value_is_the_metric_at_the_kept_epoch(digits: Path) -> None:
    base = {
        "epochs": 20,
        "optimizer": {"name": "sgd", "learning_rate": 1.0, "momentum": 0.9},
        "early_stopping": {"patience": 2},
    }
    objective = Objective(small_study(base=base, space={}))
    trained = train(objective.spec.base, open_cached(digits))
    curve = trained.history["validation/accuracy"]
    assert trained.kept_epoch < len(curve)
    assert objective(FixedTrial({})) == curve[trained.kept_epoch - 1] != curve[-1]


@pytest.mark.usefixtures("digits")
def test_a_trial_is_pruned_when_the_pruner_decides_so() -> None:
    objective = Objective(small_study())
    study = study_of(objective, optuna.pruners.ThresholdPruner(lower=2.0, n_warmup_steps=2))
    study.optimize(objective, n_trials=2)
    for trial in study.trials:
        assert (trial.state, list(trial.intermediate_values)) == (TrialState.PRUNED, [1, 2])
        assert trial.value == trial.intermediate_values[2]


@pytest.mark.usefixtures("digits")
def test_a_trial_is_not_pruned_after_its_last_epoch() -> None:
    objective = Objective(small_study(base={"epochs": 3}))
    study = study_of(objective, optuna.pruners.ThresholdPruner(lower=2.0, n_warmup_steps=3))
    study.optimize(objective, n_trials=1)
    assert study.trials[0].state == TrialState.COMPLETE


@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize(
    ("base", "n_finite"),
    [
        ({"optimizer": {"name": "sgd", "learning_rate": 1e30}}, 0),
        (
            {"network": {"hidden": []}, "batch_size": "full", "optimizer": {"name": "sgd", "learning_rate": 1e38}},
            1,
        ),
    ],
    ids=["at once", "after an epoch"],
)
def test_a_trial_that_diverges_is_pruned_with_its_last_finite_value(base: dict[str, Any], n_finite: int) -> None:
    objective = Objective(small_study(base=base, space={}))
    study = study_of(objective)
    study.optimize(objective, n_trials=1)
    (trial,) = study.trials
    assert (trial.state, len(trial.intermediate_values)) == (TrialState.PRUNED, n_finite)
    assert trial.value == trial.intermediate_values.get(n_finite)


@pytest.mark.usefixtures("digits")
def test_the_path_of_a_study_file_can_be_given_instead_of_a_study(tmp_path: Path) -> None:
    file = tmp_path / "file.toml"
    file.write_text(STUDY_FILE)
    objective = Objective(str(file))
    assert (objective.spec.study.name, objective.spec.direction) == ("file", "minimize")
    study = study_of(objective)
    study.optimize(objective, n_trials=2)
    assert study.best_value == min(trial.value for trial in study.trials) > 0
    assert Objective(file).spec.study == objective.spec.study


@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize("directions", [["minimize"], ["maximize", "maximize"]])
def test_a_study_in_the_other_direction_is_refused_in_its_first_trial(directions: list[str]) -> None:
    objective = Objective(small_study())
    study = optuna.create_study(directions=directions)
    with pytest.raises(ConfigError, match=r'validation/accuracy is maximized, .*create_study\(direction="maximize"\)'):
        study.optimize(objective, n_trials=3)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


@pytest.mark.usefixtures("digits")
def test_a_metric_to_be_minimised_is_refused_by_a_study_that_maximises() -> None:
    objective = Objective(small_study({"metric": "validation/loss"}))
    with pytest.raises(ConfigError, match=r"validation/loss is minimized, but the Optuna study is created to maximize"):
        optuna.create_study(direction="maximize").optimize(objective, n_trials=1)


def test_missing_data_is_an_error_before_the_first_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIES_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r'"digitz" is not a data set\. Did you mean "digits"'):
        Objective(small_study(base={"data": {"name": "digitz"}}, space={}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("digits")
def test_a_configuration_that_violates_the_constraints_is_pruned_without_a_training() -> None:
    objective = Objective(small_study({"max_parameters": 700}))
    study = study_of(objective)
    study.optimize(objective, n_trials=8)
    by_size = {trial.params["network.hidden"]: trial for trial in study.trials}
    assert {key: trial.state for key, trial in by_size.items() if key != "none"} == {
        "8": TrialState.COMPLETE,
        "24-12": TrialState.PRUNED,
    }
    assert by_size["24-12"].intermediate_values == {}
