"""What a worker does: it takes the state of a trial, trains a few epochs, and returns the new state.

Workers import this module, `mlp` and NumPy only. They never open a database.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from mlp.config import TrainConfig
from mlp.data import DataConfig, Split
from mlp.folds import advance, open_training
from mlp.state import History, Status, TrainingState
from studies.data.cache import open_cached


@dataclass(frozen=True)
class Segment:
    """A few epochs of one trial, the unit of work.

    Attributes:
        trial: the trial's number.
        start: the number of epochs trained before.
        epochs: the number of epochs to train, at most.
        config: the trial's configuration.
        data: the folder of the prepared data set.
        state: the saved state to continue from; None at the beginning.
    """

    trial: int
    start: int
    epochs: int
    config: TrainConfig
    data: Path
    state: bytes | None


@dataclass(frozen=True)
class Progress:
    """A trial's state after a segment, and what the driver needs from it.

    Attributes:
        state: the state as bytes, to be written as the next checkpoint.
        history: one value per epoch since the beginning, by metric key.
        epoch: the number of epochs trained; one more than the history has if the last one diverged.
        status: the status of the training.
        kept_epoch: the epoch whose weights are kept; 0 if there are none.
        weight_digest: the digest of the kept weights; empty while the training is running.
        seconds: the time spent computing.
    """

    state: bytes
    history: History
    epoch: int
    status: Status
    kept_epoch: int
    weight_digest: str
    seconds: float

    @classmethod
    def of(cls, state: TrainingState) -> Progress:
        """Return the progress of a training with this state."""
        digest = "" if state.status == "running" else state.weight_digest()
        return cls(state.to_bytes(), state.history, state.epoch, state.status, state.kept_epoch, digest, state.seconds)


@functools.lru_cache(maxsize=4)
def _splits(data: Path, config: DataConfig, seed: int) -> tuple[Split, ...]:
    return open_cached(data).splits(config, seed)


def run_segment(segment: Segment) -> Progress:
    """Train up to `segment.epochs` more epochs, of a cross-validation on all of its folds.

    The result does not depend on how epochs fall into segments.
    """
    splits = _splits(segment.data, segment.config.data, segment.config.seed)
    if segment.state is None:
        state = open_training(segment.config, splits).state()
    else:
        state = TrainingState.from_bytes(segment.state)
    return Progress.of(advance(state, splits, segment.epochs))
