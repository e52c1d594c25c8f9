"""A fit of `Sequential` while it runs: where it continues from, its callbacks, and what it leaves behind."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlp.arrays import Array
from mlp.config import TrainConfig
from mlp.data import Dataset, Split
from mlp.epochs import EpochMetrics
from mlp.keras_callbacks import Callback
from mlp.losses import AbstractLoss, Task
from mlp.metrics import AbstractMetric
from mlp.model import Model
from mlp.optimizers import AbstractOptimizer
from mlp.schedules import AbstractSchedule
from mlp.scores import scores_at
from mlp.state import TrainingState
from mlp.training import Training


@dataclass(frozen=True)
class Compiled:
    """The parts that `compile` chose; metrics by the name that the user gave them."""

    loss: AbstractLoss
    optimizer: AbstractOptimizer
    schedule: AbstractSchedule
    metrics: Mapping[str, AbstractMetric]


@dataclass(frozen=True)
class Past:
    """What a fit continues from, besides the weights.

    Attributes:
        state: the state after the last epoch.
        steps: the optimizer's steps so far.
        task: what was predicted.
        kept_epoch: the epoch whose weights a callback has put back, counted from 1; 0 if it is the last one.
    """

    state: TrainingState
    steps: int
    task: Task
    kept_epoch: int = 0

    @property
    def n_missing(self) -> int:
        """The number of first epochs that are not in the history, because they had other metrics."""
        return self.state.epoch - max(map(len, self.state.history.values()))


def start_training(config: TrainConfig, split: Split, model: Model | None, past: Past | None) -> Training:
    """Return a training that continues from the weights of a model and from the optimizer's memory.

    Args:
        config: what to train; its epochs include those of `past`.
        split: the data of this fit.
        model: the model whose weights to continue from; None to start from initial weights.
        past: the end of the fit before; None if the optimizer starts afresh.
    """
    if model is None:
        return Training(config, split)
    # The weights were learnt with this scale of inputs and targets.
    split, scaling = split.encoded_by(model.manifest.encoding), model.manifest.target_scaling
    if past is None:
        training = Training(config, split, target_scaling=scaling)
        np.copyto(training.network.theta, model.theta)
        return training
    before = past.state
    is_same = past.task == split.task and ("validation/loss" in before.history) == (split.validation is not None)
    history = before.history if is_same else {}  # other metrics cannot follow those of the epochs before
    state = replace(before, config=config.to_mapping(), status="running", history=history)
    training = Training.resume(state, split, target_scaling=scaling)
    training.steps = past.steps  # `resume` counts them as if each epoch had had the number of steps of this data
    return training


class _StopFit(Exception):  # noqa: N818 - it ends a fit, and is no error
    """A callback has set `stop_training`."""


class RunningFit:
    """A fit while it runs; this is what callbacks see as `model`.

    Args:
        training: the training, which may have run epochs of earlier fits.
        metric_keys: the metrics of each epoch: their names in Keras, and their keys in this package.

    Attributes:
        stop_training: set it to True to end the fit after the current epoch.
    """

    def __init__(self, training: Training, metric_keys: Mapping[str, str]) -> None:
        self.metric_keys = metric_keys
        self.stop_training = False
        self._training = training
        self._first = training.epoch
        self._kept_epoch = 0

    @property
    def theta(self) -> Array:
        """The parameters as they are now, shape (p,)."""
        return self._training.network.theta

    def restore_weights(self, theta: Array, epoch: int) -> None:
        """Put back the parameters that an epoch of this fit, counted from 0, ended with."""
        np.copyto(self._training.network.theta, theta)
        self._kept_epoch = self._first + epoch + 1

    def run(self, callbacks: Sequence[Callback], params: Mapping[str, Any]) -> None:
        """Train to the end, or until a callback stops the fit.

        Args:
            callbacks: what to call, in order.
            params: shown to callbacks.
        """
        training, logs = self._training, dict[str, float]()

        def on_epoch(metrics: EpochMetrics) -> None:
            epoch = metrics.epoch - self._first
            logs.update({name: metrics.values[key] for name, key in self.metric_keys.items()})
            for callback in callbacks:
                callback.on_epoch_end(epoch - 1, logs)
            if self.stop_training:
                raise _StopFit
            if training.is_running:
                for callback in callbacks:
                    callback.on_epoch_begin(epoch)

        for callback in callbacks:
            callback.model, callback.params = self, params
            callback.on_train_begin()
        for callback in callbacks:
            callback.on_epoch_begin(0)
        with contextlib.suppress(_StopFit):
            training.run(on_epoch=on_epoch)
        for callback in callbacks:
            callback.on_train_end(logs)

    def past(self) -> Past:
        """Return what a further fit continues from."""
        training = self._training
        return Past(training.state(), training.steps, training.data.task, self._kept_epoch)

    def model(self, dataset: Dataset) -> Model:
        """Return the model with the weights that are kept, and the metrics of their epoch."""
        past = self.past()
        kept_epoch = past.kept_epoch or past.state.epoch
        model = Model.of(self._training, dataset, metrics=scores_at(kept_epoch - past.n_missing, past.state.history))
        return replace(model, manifest=replace(model.manifest, epochs=kept_epoch))
