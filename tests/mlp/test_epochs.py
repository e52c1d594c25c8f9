"""What an epoch of a training does: its steps, its metrics, and the order of the examples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlp import (
    TrainConfig,
    Training,
    train,
)
from mlp.arrays import stream
from mlp.optimizers import Adam
from tests.mlp.training_data import run, start
from tests.mlp_data import (
    bits,
    blobs,
    small_config,
    small_split,
)

# What an epoch does


def transcribe(config: TrainConfig, split: Any, epochs: int) -> tuple[Any, dict[str, list[float]]]:
    """Train a tanh network by plain gradient descent, written out example by example, independent of the package."""
    begin = Training(config, split).network
    weights, biases = [w.copy() for w in begin.weights], [b.copy() for b in begin.biases]
    rate, decay = config.optimizer.learning_rate, config.optimizer.weight_decay
    inputs = split.train.inputs / 255.0
    history: dict[str, list[float]] = {"train/loss": [], "train/accuracy": []}
    for epoch in range(epochs):
        order = split.train.rows[stream(config.seed, "shuffle", epoch).permutation(len(split.train))]
        losses, hits = [], []
        for first in range(0, len(order), config.batch_size):
            batch = order[first : first + config.batch_size]
            d_weights, d_biases = [np.zeros_like(w) for w in weights], [np.zeros_like(b) for b in biases]
            for row in batch:
                a = [inputs[row]]
                for w, b in zip(weights[:-1], biases[:-1], strict=True):
                    a.append(np.tanh(a[-1] @ w + b))
                outputs, label = a[-1] @ weights[-1] + biases[-1], split.train.targets[row]
                softmax = np.exp(outputs) / np.exp(outputs).sum()
                losses.append(-np.log(softmax[label]))
                hits.append(outputs.argmax() == label)
                dz = softmax - np.eye(len(softmax))[label]
                for layer in reversed(range(len(weights))):
                    d_weights[layer] += np.outer(a[layer], dz) / len(batch)
                    d_biases[layer] += dz / len(batch)
                    dz = (weights[layer] @ dz) * (1.0 - a[layer] ** 2)
            for layer in range(len(weights)):
                weights[layer] -= rate * (d_weights[layer] + decay * weights[layer])
                biases[layer] -= rate * d_biases[layer]
        history["train/loss"].append(float(np.mean(losses)))
        history["train/accuracy"].append(float(np.mean(hits)))
    return np.concatenate([array.ravel() for array in weights + biases]), history


def test_training_equals_a_plain_transcription_with_a_last_batch_that_is_partial() -> None:
    optimizer = {"name": "sgd", "learning_rate": 0.3, "weight_decay": 0.05}
    paths = {"batch_size": 16, "network.bias_initializer": "normal", "dtype": "float64"}
    config = small_config({"optimizer": optimizer, **paths})
    training = run(start(config), 3)
    assert len(training.data.train) % 16 != 0
    theta, history = transcribe(config, training.data, 3)
    np.testing.assert_allclose(training.network.theta, theta, rtol=1e-11, atol=1e-13)
    for key, values in history.items():
        assert training.history[key] == pytest.approx(values, rel=1e-11)


@pytest.mark.parametrize(
    ("batch_size", "n_steps"), [(1, 56), (16, 4), (28, 2), (55, 2), (56, 1), (1000, 1), ("full", 1)]
)
def test_the_steps_of_an_epoch_cover_the_training_part(batch_size: Any, n_steps: int) -> None:
    training = start(small_config({"batch_size": batch_size}))
    assert len(training.data.train) == 56
    assert training.n_steps == n_steps
    metrics = training.run_epoch()
    assert metrics.epoch == training.epoch == 1
    assert all(np.isfinite(list(metrics.values.values())))


def test_a_batch_larger_than_the_data_is_the_full_batch() -> None:
    states = [run(start(small_config({"batch_size": size})), 3).state() for size in (56, 57, 1000, "full")]
    assert len({bits(state)[3:6] for state in states}) == 1


def test_steps_are_counted_across_epochs_and_the_rate_follows_the_schedule_within_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, update = [], Adam.update

    def record(self: Adam, *arrays: Any) -> None:
        found.append(arrays[-2:])
        update(self, *arrays)

    monkeypatch.setattr(Adam, "update", record)
    monkeypatch.setattr("mlp.batch_steps.CHUNK", 10**9)
    training = start(small_config({"schedule": "cosine"}))
    run(Training.resume(run(training, 1).state(), training.data), 2)
    per_step = found[::2]  # one chunk with all weights, one with all biases
    assert [step for step, _ in per_step] == list(range(1, 3 * 4 + 1))
    config = training.config
    rates = [config.schedule.rate(0.01, step / 4, config.epochs) for step in range(3 * 4)]
    assert [rate for _, rate in per_step] == pytest.approx(rates, rel=1e-12)
    assert len(set(rates)) == 12


def test_one_example_is_enough_to_train_on() -> None:
    config = small_config({"data.validation": 0})
    dataset = replace(blobs(), inputs=blobs().inputs[:1], targets=blobs().targets[:1])
    training = run(Training(config, small_split(config, dataset)), 6)
    assert training.status == "finished"
    assert training.history["train/loss"][-1] < training.history["train/loss"][0]


def test_the_metrics_of_an_epoch_are_those_in_the_history() -> None:
    training = start(small_config())
    found = [training.run_epoch() for _ in range(3)]
    assert [metrics.epoch for metrics in found] == [1, 2, 3]
    assert set(training.history) == {"train/loss", "train/accuracy", "validation/loss", "validation/accuracy"}
    for key, values in training.history.items():
        assert values == [metrics.values[key] for metrics in found]


def test_without_a_validation_part_there_are_training_metrics_only() -> None:
    training = run(start(small_config({"data.validation": 0})), 1)
    assert set(training.history) == {"train/loss", "train/accuracy"}


def test_validation_metrics_use_the_parameters_at_the_end_of_the_epoch() -> None:
    training = start(small_config())
    for _ in range(2):
        values = training.run_epoch().values
        assert training.data.validation is not None
        judged = training.evaluate(training.data.validation, "validation")
        assert judged == {key: value for key, value in values.items() if key.startswith("validation/")}


def test_evaluation_in_blocks_gives_the_outputs_of_each_example(monkeypatch: pytest.MonkeyPatch) -> None:
    training = run(start(small_config({"dtype": "float64"})), 1)
    in_one_piece = training.outputs(training.data.train)
    for rows in (1, 5, 55, 56):
        monkeypatch.setattr("mlp.training.PAGE_ROWS", rows)
        np.testing.assert_allclose(training.outputs(training.data.train), in_one_piece, rtol=1e-12, atol=1e-14)


def test_evaluating_does_not_change_the_training() -> None:
    plain, judged = start(small_config()), start(small_config())
    for _ in range(3):
        plain.run_epoch()
        judged.run_epoch()
        judged.evaluate(judged.data.train, "train")
    assert bits(plain.state()) == bits(judged.state())


def test_training_learns_a_simple_data_set() -> None:
    training = train(small_config({"epochs": 40}), blobs(300))
    assert training.history["train/loss"][-1] < 0.5 * training.history["train/loss"][0]
    assert training.history["validation/accuracy"][-1] > 0.9


@pytest.mark.parametrize("raw", [np.float32, np.float64, np.uint16, np.int32])
def test_the_type_of_the_raw_inputs_does_not_change_the_result(raw: Any) -> None:
    dataset = blobs()
    other = replace(dataset, inputs=dataset.inputs.astype(raw), targets=dataset.targets.astype(np.int64))
    config = small_config({"data.scale": "unit"})
    first, second = (run(Training(config, small_split(config, data)), 2) for data in (dataset, other))
    np.testing.assert_allclose(first.network.theta, second.network.theta, rtol=1e-5, atol=1e-6)
