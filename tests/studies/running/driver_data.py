"""Studies and engines of the tests of the driver."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from studies.running.engines import AbstractEngine, InProcess
from studies.running.segments import Segment
from tests.study_data import (
    STUDY,
    log_table,
    run,
    small_study,
    trial_table,
)

Tables = tuple[list[Any], list[Any]]


TRIALS = STUDY["trials"]


class Changed(InProcess):
    """Computes at once, but changes a segment first, or lets it fail."""

    def __init__(self, change: Callable[[Segment], Segment]) -> None:
        self.change = change
        self.segments: list[Segment] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Compute the changed segment."""
        self.segments.append(args[0])
        return super().submit(lambda segment: fn(self.change(segment)), *args, **kwargs)


class Shuffled(AbstractEngine):
    """Computes at once, but returns the results later and in random order.

    Attributes:
        most: the largest number of results that were held back at the same time.
    """

    def __init__(self, n_workers: int, seed: int) -> None:
        self.n_workers = n_workers
        self.most = 0
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._held: list[tuple[Future[Any], Any]] = []
        self._trials: dict[Future[Any], int] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Compute, and return one of the results that are held back after a moment."""
        future: Future[Any] = Future()
        assert args[0].trial not in [trial for other, trial in self._trials.items() if not other.done()]
        self._trials[future] = args[0].trial
        with self._lock:
            self._held.append((future, fn(*args, **kwargs)))
            self.most = max(self.most, len(self._held))
        threading.Timer(self._dice.uniform(0.0, 0.005), self._release).start()
        return future

    def _release(self) -> None:
        with self._lock:
            future, result = self._held.pop(self._dice.randrange(len(self._held)))
        future.set_result(result)


def tables(root: Path) -> Tables:
    return trial_table(root), log_table(root)


@pytest.fixture(name="reference", scope="module")
def reference_fixture(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The tables of the small study, run without a stop in this process."""
    root = tmp_path_factory.mktemp("reference")
    run(small_study(), root, digits)
    return tables(root)
