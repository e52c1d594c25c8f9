"""Options of a training: weights, batches of one example, diagnostics, and tasks other than classes."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from mlp import (
    ConfigError,
    Training,
    advance,
)
from mlp.activations import activations
from mlp.online import is_online
from mlp.preparation import example_weights
from tests.mlp.training_data import run, save_and_load, start
from tests.mlp_data import (
    bits,
    blobs,
    small_config,
    small_split,
)

# Weights


def test_class_weights_equal_weights_of_the_examples() -> None:
    config = small_config({"class_weights": [1.0, 2.0, 0.5], "dtype": "float64"})
    split = small_split(config)
    weights = np.array([1.0, 2.0, 0.5])[split.train.targets]
    weighted = replace(split, train=replace(split.train, weights=weights))
    by_class = run(Training(config, split), 2).network.theta
    by_example = run(Training(replace(config, class_weights=()), weighted), 2).network.theta
    np.testing.assert_array_equal(by_class, by_example)


def test_balanced_class_weights_give_each_class_the_same_total_weight() -> None:
    dataset = replace(blobs(), targets=np.repeat(np.arange(3), [50, 15, 5]))
    training = Training(small_config({"class_weights": "balanced"}), small_split(small_config(), dataset))
    sums = np.bincount(training.data.train.row_targets, training._weights)
    np.testing.assert_allclose(sums, len(training.data.train) / 3, rtol=1e-6)


@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 2.0, 70)], ids=["equal", "weighted"])
def test_balanced_class_weights_are_those_of_scikit_learn(weights: Any) -> None:
    dataset = replace(blobs(), weights=weights)
    config = small_config({"class_weights": "balanced", "data.validation": 0, "dtype": "float64"})
    found = example_weights(config, small_split(config, dataset))
    if weights is None:
        expected = compute_sample_weight("balanced", dataset.targets)
    else:  # scikit-learn counts examples; here their weights count
        totals = np.bincount(dataset.targets, weights)
        expected = weights * (weights.sum() / (3 * totals))[dataset.targets]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_class_weights_must_have_one_number_per_class() -> None:
    with pytest.raises(ConfigError, match=r'"class_weights": must have one number for each of the 3 classes, got 2'):
        start(small_config({"class_weights": [1.0, 2.0]}))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_large_batch_computed_in_blocks_gives_the_same_gradient(
    weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config({"batch_size": "full", "dtype": "float64", "class_weights": [1.0, 3.0, 0.0] * weighted})
    in_one_piece = run(start(config), 3).network.theta
    monkeypatch.setattr("mlp.batch_steps.PAGE_ROWS", 9)
    in_blocks = start(config)
    assert in_blocks._batches.block_rows == 9
    np.testing.assert_allclose(run(in_blocks, 3).network.theta, in_one_piece, rtol=1e-11)


# Batches of one example

ONLINE: dict[str, Any] = {"batch_size": 1, "optimizer": {"name": "sgd", "learning_rate": 0.05}, "dtype": "float64"}


@pytest.mark.parametrize("activation", list(activations))
@pytest.mark.parametrize(
    "changes", [{}, {"network.bias": False}, {"network.hidden": []}, {"schedule": "cosine"}], ids=str
)
def test_updates_applied_in_blocks_give_the_same_result(
    activation: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config({**ONLINE, "network.activation": activation, **changes})
    in_blocks = run(start(config), 3)
    monkeypatch.setattr("mlp.training.is_online", lambda _: False)
    at_every_step = run(start(config), 3)
    np.testing.assert_allclose(in_blocks.network.theta, at_every_step.network.theta, rtol=1e-9, atol=1e-12)
    for key, values in at_every_step.history.items():
        assert in_blocks.history[key] == pytest.approx(values, rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "online"),
    [
        ({}, True),
        ({"batch_size": 2}, False),
        ({"optimizer.momentum": 0.5}, False),
        ({"optimizer.l2": 0.1}, False),
        ({"optimizer.weight_decay": 0.1}, False),
        ({"optimizer.clip_norm": 1.0}, False),
        ({"optimizer": "adam"}, False),
        ({"network.normalization": "layer"}, False),
        ({"network.dropout": 0.1}, False),
        ({"network.input_noise": 0.1}, False),
        ({"network.input_scale": True}, False),
        ({"network.parametric_activation": True}, False),
        ({"diagnostics": True}, False),
        ({"rate_factors.bias": 0.1}, False),
    ],
    ids=str,
)
def test_only_plain_gradient_descent_with_batches_of_one_applies_updates_in_blocks(
    changes: dict[str, Any], online: bool
) -> None:
    assert is_online(small_config({**ONLINE, **changes})) == online


def test_batches_of_one_example_resume_to_the_same_bits() -> None:
    config = small_config(ONLINE)
    split = small_split(config)
    state = Training(config, split).state()
    for _ in range(4):
        state = save_and_load(advance(state, split, 1))
    assert bits(state) == bits(advance(Training(config, split).state(), split, 4))


# Diagnostics


def test_diagnostics_describe_each_layer() -> None:
    training = run(start(small_config({"diagnostics": True, "network.activation": "relu"})), 2)
    found = {key.removeprefix("diagnostics/") for key in training.history if key.startswith("diagnostics/")}
    layers = {f"layer_{layer}/{name}" for layer in (1, 2, 3) for name in ("gradient_norm", "update_ratio")}
    units = {f"layer_{layer}/{name}" for layer in (1, 2) for name in ("dead_units", "saturation")}
    assert found == {"gradient_norm"} | layers | units
    norms = [training.history[f"diagnostics/layer_{layer}/gradient_norm"][-1] for layer in (1, 2, 3)]
    assert 0 < math.hypot(*norms) < training.history["diagnostics/gradient_norm"][-1]
    assert 1e-5 < training.history["diagnostics/layer_1/update_ratio"][-1] < 0.5


def test_units_that_cannot_learn_are_counted_as_dead() -> None:
    training = start(small_config({"diagnostics": True, "network.activation": "relu"}))
    training.network.biases[0][:2] = -1e6
    training.run_epoch()
    assert training.history["diagnostics/layer_1/dead_units"][0] >= 2 / 5


def test_diagnostics_do_not_change_the_training() -> None:
    plain, watched = (run(start(small_config({"diagnostics": on})), 3) for on in (False, True))
    np.testing.assert_array_equal(plain.network.theta, watched.network.theta)


def test_epochs_do_not_leak_memory() -> None:
    training = start(small_config({"epochs": 60, "network.dropout": 0.2, "network.normalization": "batch"}))
    run(training, 20)
    tracemalloc.start()
    try:
        run(training, 2)
        before = tracemalloc.get_traced_memory()[0]
        run(training, 30)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 30 * 1000  # the history itself grows by four numbers per epoch


# Other tasks


def labelled(targets: Any, k: int) -> Any:
    dataset = blobs()
    return replace(dataset, targets=targets, test_targets=targets[:20], classes=tuple("abcdef"[:k]))


def test_several_labels_are_learnt() -> None:
    inputs = blobs().inputs
    dataset = labelled((inputs[:, :2] > 127).astype(np.uint8), 2)
    config = small_config({"loss": "binary_cross_entropy", "epochs": 60, "optimizer.learning_rate": 0.05})
    training = run(Training(config, small_split(config, dataset)), 60)
    assert training.network.sizes[-1] == 2
    assert training.history["validation/label_accuracy"][-1] > 0.8


def test_two_classes_are_learnt_by_one_output() -> None:
    dataset = labelled((blobs().inputs[:, 0] > 127).astype(np.int64), 2)
    config = small_config({"loss": "binary_cross_entropy", "epochs": 60, "optimizer.learning_rate": 0.05})
    training = run(Training(config, small_split(config, dataset)), 60)
    assert training.network.sizes[-1] == 1
    assert training.history["validation/accuracy"][-1] > 0.85


def test_several_values_are_learnt() -> None:
    dataset = labelled(blobs().inputs[:, :3] / 255.0 @ np.array([[1.0, 0.5], [0.0, -1.0], [2.0, 0.3]]), 2)
    changes = {"loss": "mean_squared_error", "epochs": 80, "optimizer.learning_rate": 0.03}
    training = run(Training(small_config(changes), small_split(small_config(changes), dataset)), 80)
    assert training.history["validation/r2"][-1] > 0.8


def test_a_loss_or_a_metric_for_another_task_is_refused() -> None:
    values = labelled(np.zeros((70, 2)), 2)
    for changes, said in (
        (
            {"loss": "softmax_cross_entropy"},
            'the loss "softmax_cross_entropy" supports classes, but the targets are values',
        ),
        ({"loss": "huber", "metrics": ["f1_macro"]}, 'the metric "f1_macro" is for classes'),
        ({"loss": "huber", "class_weights": "balanced"}, '"class_weights": needs classes'),
    ):
        config = small_config(changes)
        with pytest.raises(ConfigError, match=said):
            Training(config, small_split(config, values))
