"""Cross-validation: one training for each fold, all in lockstep. Its metrics are the means over the folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from mlp.arrays import Array, digest
from mlp.config import TrainConfig
from mlp.data import Split
from mlp.epochs import EpochMetrics, OnEpoch, run_epoch, run_epochs
from mlp.errors import CorruptStateError, DivergedError
from mlp.scores import SPREAD, fold_key
from mlp.state import History, Status, TrainingState
from mlp.training import Training


class CrossValidation:
    """Trainings of one configuration on several splits, which run in lockstep.

    An epoch is one epoch of each training. The history has the mean of each metric over the trainings, and of each
    validation metric the spread and the values: `validation/loss_std` is the standard deviation of `validation/loss`,
    and `validation/loss@fold1` is its value on the first fold. Every training records these means as its own history.
    Therefore early stopping, a schedule that watches a metric, and the choice of the kept epoch depend on the mean, and
    are the same for all trainings.

    Example:
        >>> from mlp import CrossValidation, Dataset, TrainConfig
        >>> dataset = Dataset.from_arrays([[0], [1], [2], [3], [4], [5]], [0, 0, 0, 1, 1, 1])
        >>> config = TrainConfig.from_mapping({"data": {"folds": 3}, "epochs": 2})
        >>> cross_validation = CrossValidation(config, dataset.splits(config.data, config.seed))
        >>> cross_validation.run()
        >>> sorted(cross_validation.kept_scores())[-2:]
        ['validation/loss', 'validation/loss_std']

    Args:
        config: what to train.
        splits: the training and the validation part of each training; `Dataset.splits` returns them.

    Attributes:
        trainings: the training on each split, in order.
        seconds: wall-clock time spent in epochs.

    Raises:
        ConfigError: if the configuration does not fit the data.
    """

    def __init__(self, config: TrainConfig, splits: Sequence[Split]) -> None:
        self.config = config
        self.trainings = tuple(Training(config, split) for split in splits)
        self.seconds = 0.0

    def run(self, epochs: int | None = None, on_epoch: OnEpoch | None = None) -> None:
        """Train for up to `epochs` further epochs; arguments and errors are those of `mlp.epochs.run_epochs`."""
        run_epochs(self, epochs, on_epoch)

    def run_epoch(self) -> EpochMetrics:
        """Train for one epoch on each split and return its metrics.

        Raises:
            RuntimeError: if the trainings have ended.
        """
        return run_epoch(self)

    def compute_epoch(self) -> dict[str, float]:
        """Train for one epoch on each split, and return the metrics; empty if any training diverged."""
        values = []
        for training in self.trainings:
            values.append(training.compute_epoch())
            if not values[-1]:
                return {}
        return mean_values(values) | values_of_folds(values)

    def record_epoch(self, values: Mapping[str, float]) -> None:
        """Add the mean metrics of the computed epoch to the history of each training."""
        for training in self.trainings:
            training.record_epoch(values)

    @property
    def epoch(self) -> int:
        """The number of epochs run so far."""
        return self.trainings[0].epoch

    @property
    def status(self) -> Status:
        """Either `running`, or why the trainings have ended."""
        return self.trainings[0].status

    @property
    def is_running(self) -> bool:
        """Whether there is an epoch left to run."""
        return self.trainings[0].is_running

    @property
    def history(self) -> History:
        """The mean of each metric by epoch, and of validation metrics the spread and the values on folds, by key."""
        return self.trainings[0].history

    @property
    def kept_epoch(self) -> int:
        """The epoch whose weights are kept: that with the best mean under early stopping, otherwise the last."""
        return self.trainings[0].kept_epoch

    @property
    def kept_theta(self) -> Array:
        """The parameters that are kept, of all trainings one after another."""
        return np.concatenate([training.kept_theta for training in self.trainings])

    def kept_scores(self) -> dict[str, float]:
        """Return the mean of every metric at the kept epoch, by key; empty before the first epoch."""
        return self.trainings[0].kept_scores()

    def weight_digest(self) -> str:
        """Return the SHA-256 of the parameters that are kept, of all trainings one after another."""
        return digest(self.kept_theta)

    def restore_kept(self) -> None:
        """Put the parameters that are kept into the network of each training."""
        for training in self.trainings:
            training.restore_kept()

    def state(self) -> TrainingState:
        """Return a copy of everything that is needed to resume: each array is those of all trainings side by side."""
        states = [training.state() for training in self.trainings]
        return replace(
            states[0],
            theta=np.concatenate([state.theta for state in states]),
            slots=np.concatenate([state.slots for state in states], axis=1),
            best_theta=np.concatenate([state.best_theta for state in states]),
            seconds=self.seconds,
        )

    def restore(self, state: TrainingState) -> None:
        """Continue from a state that `state` returned.

        Raises:
            CorruptStateError: if the arrays of the state do not fit these trainings.
        """
        own = self.state()
        for name in ("theta", "slots", "best_theta"):
            expected, shape = getattr(own, name).shape, getattr(state, name).shape
            if expected != shape:
                raise CorruptStateError(f"{name} must have shape {expected} for these folds, got {shape}.")
        theta = slots = best = 0
        for training in self.trainings:
            n, n_slots, n_best = len(training.network.theta), training.slots.shape[1], len(training.best_theta)
            part = replace(
                state,
                theta=state.theta[theta : theta + n],
                slots=state.slots[:, slots : slots + n_slots],
                best_theta=state.best_theta[best : best + n_best],
            )
            training.restore(part)
            theta, slots, best = theta + n, slots + n_slots, best + n_best
        self.seconds = state.seconds


def mean_values(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric, and after those of the validation part their standard deviation (divisor k).

    A metric that is undefined on some folds is the mean over the others; if it is undefined on all, so is its mean.

    Args:
        values: the metrics on each of k folds, by key.
    """
    means: dict[str, float] = {}
    for key in values[0]:
        defined = np.array([each[key] for each in values if not math.isnan(each[key])])
        means[key] = float(defined.mean()) if len(defined) else math.nan
        if key.startswith("validation/"):
            means[key + SPREAD] = float(defined.std()) if len(defined) else math.nan
    return means


def values_of_folds(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each metric of the validation part on each fold, by key.

    Args:
        values: the metrics on each of k folds, by key.
    """
    return {
        fold_key(key, fold): each[key]
        for key in values[0]
        if key.startswith("validation/")
        for fold, each in enumerate(values, start=1)
    }


def open_training(config: TrainConfig, splits: Sequence[Split]) -> Training | CrossValidation:
    """Return the training of a configuration: on the only split, or on several in lockstep.

    Args:
        config: what to train.
        splits: as `Dataset.splits` returns them.

    Raises:
        ConfigError: if the configuration does not fit the data.
    """
    return Training(config, splits[0]) if len(splits) == 1 else CrossValidation(config, splits)


def resume_training(state: TrainingState, splits: Sequence[Split]) -> Training | CrossValidation:
    """Return the training that a state was taken from, ready to continue.

    Raises:
        CorruptStateError: if the arrays of the state do not fit its configuration and this data.
    """
    training = open_training(TrainConfig.from_mapping(state.config), splits)
    training.restore(state)
    return training


def advance(state: TrainingState, data: Split | Sequence[Split], epochs: int) -> TrainingState:
    """Return the state after up to `epochs` further epochs: a pure function of its arguments.

    This is what a worker calls. A training that diverges is a result like any other: its state is returned.

    Args:
        state: the state to continue from.
        data: the split of the training, or the splits of a cross-validation.
        epochs: the largest number of epochs to run.
    """
    training = resume_training(state, [data] if isinstance(data, Split) else data)
    with suppress(DivergedError):
        training.run(epochs)
    return training.state()
