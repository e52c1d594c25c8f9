"""What a worker does: take a trial's state, train a few epochs, give the new state back.

Workers import this module, `mlp` and NumPy, and know nothing of studies, databases or MLflow.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from mlp.config import TrainConfig
from mlp.data import DataConfig, Split
from mlp.state import History, Status, TrainingState
from mlp.training import Training, advance
from studies.data.cache import open_cached


@dataclass(frozen=True)
class Segment:
    """A few epochs of one trial, the unit of work.

    Attributes:
        trial: the trial's number.
        start: epochs done before.
        epochs: how many to train at most.
        config: the trial's configuration.
        data: the folder of the prepared data set.
        state: the saved state to go on from, or None to begin.
    """

    trial: int
    start: int
    epochs: int
    config: TrainConfig
    data: Path
    state: bytes | None


@dataclass(frozen=True)
class Progress:
    """A trial's state after a segment, with what the driver needs to know of it.

    Attributes:
        state: the state as bytes: the next checkpoint.
        history: all epochs since the beginning.
        epoch: epochs run; one more than the history holds when the last one diverged.
        weight_digest: of the weights that are kept, once the training has ended.
        seconds: time spent computing.
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
        """Return the progress that a state stands for."""
        digest = "" if state.status == "running" else state.weight_digest()
        return cls(state.to_bytes(), state.history, state.epoch, state.status, state.kept_epoch, digest, state.seconds)


@functools.lru_cache(maxsize=4)
def _split(data: Path, config: DataConfig, seed: int) -> Split:
    return open_cached(data).split(config, seed)


def run_segment(segment: Segment) -> Progress:
    """Train up to `segment.epochs` further epochs; the result does not depend on how epochs fall into segments."""
    split = _split(segment.data, segment.config.data, segment.config.seed)
    if segment.state is None:
        state = Training(segment.config, split).state()
    else:
        state = TrainingState.from_bytes(segment.state)
    return Progress.of(advance(state, split, segment.epochs))


def prepare_worker(parent: int) -> None:
    """Make a fresh worker process ready: Ctrl-C is the driver's business, and its end is the worker's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
