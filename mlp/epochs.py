"""The epoch loop: whatever trains by epochs is run here, and nowhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from mlp.config import TrainConfig
from mlp.errors import DivergedError
from mlp.state import Status


@dataclass(frozen=True)
class EpochMetrics:
    """The metrics of one epoch.

    Attributes:
        epoch: counted from 1.
        values: by key: `train/loss`, `validation/accuracy`, ...; empty if the training diverged in this epoch.
    """

    epoch: int
    values: dict[str, float]


OnEpoch: TypeAlias = Callable[[EpochMetrics], object]


class RunnableTraining(Protocol):
    """What the epoch loop needs of a training or a cross-validation.

    Attributes:
        seconds: wall-clock time spent in epochs.
    """

    seconds: float

    @property
    def config(self) -> TrainConfig:
        """What is trained."""

    @property
    def epoch(self) -> int:
        """The number of epochs run so far."""

    @property
    def status(self) -> Status:
        """Either `running`, or why the training has ended."""

    @property
    def is_running(self) -> bool:
        """Whether there is an epoch left to run."""

    def compute_epoch(self) -> dict[str, float]:
        """Train for one epoch and return its metrics by key; empty if it diverged."""

    def record_epoch(self, values: Mapping[str, float]) -> None:
        """Add the metrics of the computed epoch to the history, and decide whether the training has ended."""


def run_epoch(training: RunnableTraining) -> EpochMetrics:
    """Train for one epoch and return its metrics.

    Raises:
        RuntimeError: if the training has ended.
    """
    if not training.is_running:
        raise RuntimeError(f"this training has ended ({training.status}) after {training.epoch} epochs.")
    started = time.perf_counter()
    values = training.compute_epoch()
    training.record_epoch(values)
    training.seconds += time.perf_counter() - started
    return EpochMetrics(training.epoch, values)


def run_epochs(training: RunnableTraining, epochs: int | None = None, on_epoch: OnEpoch | None = None) -> None:
    """Train for up to `epochs` further epochs. This is the only epoch loop of the program.

    Args:
        training: what to train.
        epochs: the largest number of epochs to run; None to train to the end.
        on_epoch: called with the metrics of each epoch, except one that diverged. It may raise to end the run; the
            training can be resumed later.

    Raises:
        DivergedError: if the training diverges, or has diverged before; its status is `diverged` then.
    """
    last = training.config.epochs if epochs is None else training.epoch + epochs
    while training.is_running and training.epoch < last:
        metrics = run_epoch(training)
        if on_epoch is not None and training.status != "diverged":
            on_epoch(metrics)
    if training.status == "diverged":
        raise DivergedError(training.epoch, training.config.optimizer.learning_rate)
