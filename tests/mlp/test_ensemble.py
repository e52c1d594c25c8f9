"""Ensembles: the mean of several networks, saved and restored like one network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp import ConfigError, Dataset, Ensemble, Model, TrainConfig, load_model, save_model, train
from mlp.losses import AbstractLoss, losses
from mlp.model_contents import content_digest
from mlp.scores import evaluate

DICE = np.random.default_rng(0)
X = DICE.normal(size=(60, 4)).astype(np.float32)
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "classes": ((X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5), {}),
    "two classes with one output": ((X[:, 0] > 0).astype(int), {"loss": "binary_cross_entropy"}),
    "classes as residuals": (
        (X[:, 0] > 0).astype(int),
        {"loss": {"name": "mean_squared_error", "output": "sigmoid"}},
    ),
    "labels": (np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(np.uint8), {}),
    "values": (X[:, :2] * [3, 100] + [5, -20], {}),
    "positive values": (
        np.exp(X[:, :1]),
        {"data": {"target_scale": "log"}, "loss": "huber"},
    ),
}


def ensemble_of(case: str, n: int = 3) -> Ensemble:
    y, tables = CASES[case]
    dataset = Dataset.from_arrays(X, y)
    configs = [
        TrainConfig.from_mapping({"epochs": 3, "network": {"hidden": [5]}, "seed": seed, **tables}) for seed in range(n)
    ]
    return Ensemble.of([Model.of(train(config, dataset), dataset) for config in configs])


@pytest.mark.parametrize("case", CASES)
def test_the_prediction_is_the_mean_over_the_networks(case: str) -> None:
    ensemble = ensemble_of(case)
    expected = np.mean([member.predict_proba(X) for member in ensemble.members], axis=0)
    assert ensemble.predict_proba(X) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    if ensemble.manifest.task == "classes":
        assert (ensemble.predict(X) == expected.argmax(axis=1)).all()
    if ensemble.manifest.task == "labels":
        assert (ensemble.predict(X) == (expected > 0.5)).all()
    if ensemble.manifest.task == "values":
        assert ensemble.predict(X) == pytest.approx(expected, rel=1e-5)


def test_each_network_encodes_inputs_in_its_own_way() -> None:
    first, second, _ = ensemble_of("classes").members
    assert first.manifest.encoding != second.manifest.encoding


def test_the_loss_of_an_ensemble_is_that_of_its_mean_probability() -> None:
    ensemble, y = ensemble_of("classes"), CASES["classes"][0]
    scores = evaluate(ensemble.outputs(X), y, ensemble.loss, "test", "classes", ())
    mean = np.mean([member.predict_proba(X) for member in ensemble.members], axis=0)
    assert scores["test/loss"] == pytest.approx(-np.log(mean[np.arange(len(y)), y]).mean(), rel=1e-5)
    assert scores["test/accuracy"] == (mean.argmax(axis=1) == y).mean()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["model", "model.json"])
def test_a_saved_ensemble_predicts_the_same_bits(case: str, name: str, tmp_path: Path) -> None:
    ensemble = replace(ensemble_of(case), metrics={"test/loss": 0.5})
    restored = load_model(save_model(ensemble, tmp_path / name))
    assert isinstance(restored, Ensemble)
    assert restored.metrics == {"test/loss": 0.5}
    assert [member.manifest for member in restored.members] == [member.manifest for member in ensemble.members]
    assert restored.predict_proba(X).tobytes() == ensemble.predict_proba(X).tobytes()


def test_networks_that_predict_different_things_are_refused() -> None:
    members = (*ensemble_of("classes").members, *ensemble_of("labels").members)
    with pytest.raises(
        ConfigError, match="all networks of an ensemble must have the same task, got classes and labels"
    ):
        Ensemble.of(members)


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """Return a content with the digest that belongs to it, as somebody who edits a file on purpose would write it."""
    rest = {key: value for key, value in content.items() if key not in ("digest", "theta")}
    return content | {"digest": content_digest(rest)}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda content: content.update(members=[]), r'"members": must be a list of tables, one per network'),
        (lambda content: content.update(members={}), r'"members": must be a list of tables, one per network'),
        (lambda content: content.update(sizes=[4, 5, 3]), r'must have no keys beside "members", got sizes'),
        (lambda content: content["members"].pop(), r"must be a list of 86 numbers .* got 129 numbers"),
        (lambda content: content["members"][1].pop("task"), r'"members\[1\]\.task": is missing'),
        (lambda content: content["members"].reverse(), r"must have the digest"),
        (lambda content: content["theta"].__setitem__(0, 7.0), r"must have the digest"),
        (lambda content: content["members"][1].update(classes=["a", "b", "c"]), r"must have the same classes"),
    ],
)
def test_a_damaged_ensemble_is_refused(change: Any, problem: str, tmp_path: Path) -> None:
    file = save_model(ensemble_of("classes"), tmp_path / "model.json")
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(sealed(content)))
    with pytest.raises(ConfigError, match=problem):
        load_model(file)


def test_an_edited_ensemble_is_refused(tmp_path: Path) -> None:
    file = save_model(ensemble_of("classes"), tmp_path / "model.json")
    file.write_text(file.read_text().replace('"epochs": 3', '"epochs": 2', 1))
    with pytest.raises(ConfigError, match="damaged or was edited"):
        load_model(file)


@pytest.mark.parametrize("loss", [losses.lookup(name)() for name in losses], ids=lambda loss: loss.name)
@given(st.lists(st.floats(-30, 30), min_size=2, max_size=2))
def test_the_outputs_for_predictions_are_the_inverse_of_predictions(loss: AbstractLoss, outputs: list[float]) -> None:
    z = np.array([outputs])
    for task in loss.tasks:
        predict = loss.probabilities if task == "classes" else loss.predictions
        n_outputs = loss.n_outputs(task, 2)
        predictions = predict(z[:, :n_outputs])
        inverse = loss.outputs_for(predictions, task)
        assert inverse.shape == (1, n_outputs)
        assert predict(inverse) == pytest.approx(predictions, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("output", ["identity", "sigmoid", "tanh", "relu", "softplus", "softmax"])
@given(st.lists(st.floats(-700, 700), min_size=2, max_size=2))
def test_every_output_function_has_its_inverse(output: str, outputs: list[float]) -> None:
    loss = losses.decode({"name": "mean_squared_error", "output": output})
    predictions = loss.predictions(np.array([outputs]))
    inverse = loss.outputs_for(predictions, "values")
    assert np.isfinite(inverse).all()
    assert loss.predictions(inverse) == pytest.approx(predictions, rel=1e-9, abs=1e-12)
