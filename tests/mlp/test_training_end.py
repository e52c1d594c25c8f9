"""How a training ends: after its epochs, by early stopping, or because it diverges; and undefined metrics."""

from __future__ import annotations

import math
import pickle
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp import (
    ConfigError,
    DataConfig,
    DivergedError,
    EarlyStopping,
    EpochMetrics,
    Examples,
    Split,
    TrainConfig,
    Training,
    TrainingState,
    advance,
    train,
)
from mlp.scaling import Scaling
from mlp.scores import best_epoch, direction
from mlp.state import kept_epoch
from tests.mlp.training_data import STOPPING, run, save_and_load, start
from tests.mlp_data import (
    METRIC_KEYS,
    bits,
    blobs,
    quick,
    small_config,
    small_split,
)


def overfit_config(**changes: Any) -> TrainConfig:
    """Return a configuration that overfits the data set `noise`, so that the validation loss soon gets worse."""
    paths = {
        "epochs": 60,
        "batch_size": 8,
        "network.hidden": [32],
        "optimizer.learning_rate": 0.02,
        "optimizer.weight_decay": 0.0,
        "early_stopping": {"patience": 4},
    }
    return small_config({**paths, **changes})


def noise() -> Any:
    """Return a data set whose classes are independent of its inputs."""
    return replace(blobs(60, noise=255), targets=np.random.default_rng(1).integers(0, 3, 60).astype(np.uint8))


# How a training ends


def test_a_training_ends_after_its_epochs_and_refuses_another() -> None:
    training = start(small_config({"epochs": 2}))
    training.run_epoch()
    assert training.status == "running"
    training.run_epoch()
    assert training.status == "finished"
    before = bits(training.state())
    with pytest.raises(RuntimeError, match=r"^this training has ended \(finished\) after 2 epochs\.$"):
        training.run_epoch()
    assert bits(training.state()) == before


def test_run_trains_for_a_number_of_epochs_or_to_the_end_and_reports_each() -> None:
    training, seen = start(small_config({"epochs": 5})), []
    training.run(2, lambda metrics: seen.append(metrics.epoch))
    assert (training.epoch, training.status, seen) == (2, "running", [1, 2])
    training.run(0)
    assert training.epoch == 2
    training.run(on_epoch=lambda metrics: seen.append(metrics.epoch))
    assert (training.epoch, training.status, seen) == (5, "finished", [1, 2, 3, 4, 5])
    before = bits(training.state())
    training.run(9)
    assert bits(training.state()) == before


def test_a_run_that_its_callback_interrupts_can_be_resumed() -> None:
    def stop(metrics: EpochMetrics) -> None:
        if metrics.epoch == 2:
            raise KeyboardInterrupt

    training = start(small_config())
    with pytest.raises(KeyboardInterrupt):
        training.run(on_epoch=stop)
    training.run()
    assert bits(training.state()) == bits(train(small_config(), blobs()).state())


def test_the_kept_scores_are_those_of_the_kept_epoch() -> None:
    training = Training(overfit_config(), small_split(overfit_config(), noise()))
    assert training.kept_scores() == {}
    epochs: list[EpochMetrics] = []
    training.run(on_epoch=epochs.append)
    assert training.kept_epoch < training.epoch
    assert training.kept_scores() == epochs[training.kept_epoch - 1].values != epochs[-1].values


def test_train_runs_to_the_end_and_takes_a_data_set_or_a_split() -> None:
    config = small_config()
    from_split, from_set = train(config, small_split(config)), train(config, blobs())
    assert from_split.status == from_set.status == "finished"
    assert bits(from_split.state()) == bits(from_set.state())


def test_without_early_stopping_the_last_epoch_is_kept() -> None:
    training = run(start(small_config()), 3)
    assert training.kept_epoch == 3
    assert training.kept_theta is training.network.theta
    assert training.state().best_theta.size == 0


@pytest.mark.parametrize("metric", ["validation/loss", "validation/accuracy"])
def test_early_stopping_stops_at_its_patience_and_keeps_the_best_weights(metric: str) -> None:
    config = overfit_config(early_stopping={"patience": 4, "metric": metric})
    training = Training(config, small_split(config, noise()))
    thetas = []
    training.run(on_epoch=lambda _: thetas.append(training.network.theta.copy()))
    values = training.history[metric]
    best = 1 + values.index(min(values) if metric.endswith("loss") else max(values))
    assert training.status == "stopped"
    assert training.epoch == best + 4 < config.epochs
    assert training.kept_epoch == best
    np.testing.assert_array_equal(training.kept_theta, thetas[best - 1])
    with pytest.raises(RuntimeError, match=r"^this training has ended \(stopped\)"):
        training.run_epoch()


def test_train_restores_the_best_weights_into_the_network() -> None:
    config = overfit_config()
    training = train(config, noise())
    assert training.status == "stopped"
    assert training.kept_epoch < training.epoch
    np.testing.assert_array_equal(training.network.theta, training.best_theta)
    assert training.data.validation is not None
    judged = training.evaluate(training.data.validation, "validation")
    assert judged["validation/loss"] == min(training.history["validation/loss"])


def test_the_last_epoch_finishes_a_training_even_if_patience_ends_with_it() -> None:
    config = overfit_config()
    stopped = train(config, noise())
    finished = train(replace(config, epochs=stopped.epoch), noise())
    assert (stopped.status, finished.status) == ("stopped", "finished")
    assert finished.weight_digest() == stopped.weight_digest()


def test_early_stopping_waits_longer_with_more_patience() -> None:
    epochs = [train(overfit_config(early_stopping={"patience": patience}), noise()).epoch for patience in (1, 4, 8)]
    assert epochs == sorted(set(epochs))


def watch(values: list[float], metric: str, min_delta: float) -> int:
    stopping = EarlyStopping(metric=metric, min_delta=min_delta)
    return kept_epoch(replace(small_config(), early_stopping=stopping), {metric: values})


@quick
@given(values=st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=12))
def test_the_kept_epoch_is_the_first_of_the_best(values: list[float]) -> None:
    assert watch(values, "validation/loss", 0.0) == 1 + values.index(min(values))
    assert watch(values, "validation/accuracy", 0.0) == 1 + values.index(max(values))


@quick
@given(values=st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=12), delta=st.integers(1, 5).map(float))
def test_an_epoch_is_kept_only_if_it_beats_the_kept_one_by_more_than_min_delta(
    values: list[float], delta: float
) -> None:
    best, kept = values[0], 1
    for epoch, value in enumerate(values, 1):
        if value < best - delta:
            best, kept = value, epoch
    assert watch(values, "validation/loss", delta) == kept
    assert watch([-value for value in values], "validation/accuracy", delta) == kept


@pytest.mark.parametrize("min_delta", [0.0, 0.5])
@pytest.mark.parametrize("metric", METRIC_KEYS)
def test_the_watched_metric_decides_which_way_is_better(metric: str, min_delta: float) -> None:
    falling, rising = [3.0, 2.0, 1.0], [1.0, 2.0, 3.0]
    assert watch(falling, metric, min_delta) == (1 if direction(metric) == "maximize" else 3)
    assert watch(rising, metric, min_delta) == (3 if direction(metric) == "maximize" else 1)


def test_before_the_first_epoch_the_kept_epoch_is_0() -> None:
    for stopping in STOPPING:
        training = start(small_config({"early_stopping": stopping}))
        assert training.kept_epoch == 0
        np.testing.assert_array_equal(training.kept_theta, training.network.theta)


def test_early_stopping_has_a_validation_example_even_with_a_tiny_fraction() -> None:
    config = small_config({"data.validation": 0.004, "early_stopping": {"patience": 2}})
    assert train(config, blobs(70)).history["validation/loss"]


def test_early_stopping_without_a_validation_part_is_refused() -> None:
    config = small_config({"early_stopping": {"patience": 2}})
    with pytest.raises(ConfigError, match="early_stopping"):
        train(config, blobs().without_validation(DataConfig("blobs")))


# Divergence


def diverging(epochs: int, **changes: Any) -> Training:
    """Return a training that ran for `epochs` and diverged in the next, because its weights were made huge."""
    training = run(start(small_config({"network.activation": "relu", **changes})), epochs)
    state = replace(training.state(), theta=np.full_like(training.network.theta, 1e30))
    training = Training.resume(state, training.data)
    training.run_epoch()
    return training


@pytest.mark.parametrize("epochs", [0, 1, 3])
@pytest.mark.parametrize("stopping", STOPPING, ids=["to the end", "early stopping"])
def test_divergence_ends_a_training_and_is_not_in_the_history(stopping: Any, epochs: int) -> None:
    training = diverging(epochs, early_stopping=stopping)
    assert training.status == "diverged"
    assert training.epoch == epochs + 1
    for values in training.history.values():
        assert len(values) == epochs
        assert np.isfinite(values).all()
    with pytest.raises(RuntimeError, match=r"^this training has ended \(diverged\)"):
        training.run_epoch()


def test_run_reports_divergence_with_the_epoch_and_the_learning_rate_to_change() -> None:
    config = small_config({"optimizer": {"name": "sgd", "learning_rate": 1e30}, "network.activation": "relu"})
    training, epochs = start(config), []
    problem = "the training diverged in epoch 1, so no weights were kept. Try a value below 1e+30."
    with pytest.raises(DivergedError, match=re.escape(f'"optimizer.learning_rate": {problem}')) as raised:
        training.run(on_epoch=epochs.append)
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (str(copy), copy.epoch) == (str(raised.value), 1)
    assert (training.status, epochs) == ("diverged", [])
    with pytest.raises(DivergedError, match="in epoch 1,"):
        training.run()
    with pytest.raises(DivergedError):
        train(config, small_split(config))


def test_a_rate_that_is_too_large_diverges_without_a_warning() -> None:
    optimizer = {"name": "sgd", "learning_rate": 1e30}
    training = start(small_config({"optimizer": optimizer, "network.activation": "relu"}))
    values = training.run_epoch().values
    assert training.status == "diverged"
    assert values == {}
    assert training.history == {}


def test_an_overflow_in_the_last_step_is_divergence_even_if_all_metrics_are_finite() -> None:
    optimizer = {"name": "sgd", "learning_rate": 1e39}
    training = start(small_config({"optimizer": optimizer, "batch_size": "full", "data.validation": 0}))
    values = training.run_epoch().values
    assert values == {}
    assert training.status == "diverged"
    assert training.history == {}


def test_early_stopping_keeps_the_best_weights_from_before_a_divergence() -> None:
    stopping = {"patience": 3}
    training = diverging(3, early_stopping=stopping)
    before = run(start(small_config({"network.activation": "relu", "early_stopping": stopping})), 3)
    assert training.kept_epoch == before.kept_epoch >= 1
    assert training.weight_digest() == before.weight_digest()
    assert np.isfinite(training.kept_theta).all()


def test_a_diverged_state_is_saved_loaded_and_advanced_like_any_other() -> None:
    training = diverging(1)
    assert bits(save_and_load(training.state())) == bits(training.state())
    assert bits(advance(training.state(), training.data, 5)) == bits(training.state())


@pytest.mark.parametrize("size", [1e30, np.nan])
def test_huge_and_nan_parameters_are_evaluated_without_a_warning(size: float) -> None:
    training = start(small_config({"network.activation": "relu"}))
    training.network.theta[...] = size
    training.network.weights[-1][:, 0] *= -1.0  # one output is -inf, the others +inf
    assert not np.isfinite(training.evaluate(training.data.train, "train")["train/loss"])


# Undefined metrics


def one_class_in_validation() -> Split:
    """Return a split of two classes whose validation part has only one."""
    dataset = blobs(k=2)
    zeros, ones = (np.flatnonzero(dataset.targets == label) for label in (0, 1))
    train_rows = np.sort(np.concatenate([zeros[10:], ones]))
    parts = [Examples(dataset.inputs, dataset.targets, rows, Scaling((1 / 255,))) for rows in (train_rows, zeros[:10])]
    return Split(parts[0], parts[1], 2)


def test_an_undefined_metric_is_nan_in_the_history_and_no_divergence() -> None:
    config = small_config({"metrics": ["roc_auc", "recall"]})
    training = Training(config, one_class_in_validation())
    training.run()
    assert training.status == "finished"
    assert np.isnan(training.history["validation/roc_auc"]).all()
    assert np.isfinite(training.history["train/roc_auc"]).all()
    assert np.isfinite(training.history["validation/loss"]).all()
    again = TrainingState.from_bytes(training.state().to_bytes())
    assert np.isnan(again.history["validation/roc_auc"]).all()


@pytest.mark.parametrize("min_delta", [0.0, 0.01])
def test_an_undefined_value_is_the_worst(min_delta: float) -> None:
    stopping = {"metric": "validation/roc_auc", "patience": 3, "min_delta": min_delta}
    config = small_config({"metrics": ["roc_auc"], "early_stopping": stopping})
    nan = math.nan
    for values, kept in (([nan, nan], 1), ([nan, 0.1, nan], 2), ([0.3, nan, 0.5, nan], 3), ([nan, 0.5, 0.2], 2)):
        assert kept_epoch(config, {"validation/roc_auc": values}) == kept
        assert best_epoch("validation/roc_auc", {"validation/roc_auc": values}) == kept
    training = Training(config, one_class_in_validation())
    training.run()
    assert (training.status, training.epoch, training.kept_epoch) == ("stopped", 4, 1)
