"""The driver: hands segments to workers, and processes what comes back in the order of virtual time."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path

from studies.errors import WorkerLostError
from studies.records.trial_log import Ending
from studies.running.engines import AbstractEngine, failure_class, failure_text
from studies.running.ledger import Ledger, LiveTrial
from studies.running.segments import Progress, Segment, run_segment

SEGMENT_SECONDS = 0.5
TICK_SECONDS = 0.1  # how soon the driver sees a signal or a deadline
GRACE_SECONDS = 4.0  # how long a stopping driver waits for the segments in flight
MAX_LOSSES = 5  # deaths of workers over one segment before the trial is held responsible


@dataclass(frozen=True)
class Snapshot:
    """Where a study stands.

    Attributes:
        total: trials of the study; `done` of them have ended, `pruned` and `failed` among these.
        running: trials between ask and tell.
        resumed: how many had ended before this launch.
        best: number and value of the best complete trial.
    """

    total: int
    done: int
    running: int
    pruned: int
    failed: int
    resumed: int
    best: tuple[int, float] | None


class Driver:
    """Owns a study while it runs.

    Args:
        ledger: what the study knows.
        engine: what computes segments.
        data: the folder of the prepared data set.
        on_change: called with a snapshot after every event.
        should_stop: asked often; True ends the run at a point from which it can go on.
    """

    def __init__(
        self,
        ledger: Ledger,
        engine: AbstractEngine,
        data: Path,
        *,
        on_change: Callable[[Snapshot], None] | None,
        should_stop: Callable[[], bool],
    ) -> None:
        self._ledger = ledger
        self._engine = engine
        self._data = data
        self._on_change = on_change
        self._should_stop = should_stop
        self._total = max(ledger.spec.study.trials, ledger.n_recorded)
        self._live: list[LiveTrial] = []
        self._pending: dict[Future[Progress], tuple[LiveTrial, Segment]] = {}
        self._losses: dict[int, int] = {}
        self._careful: set[int] = set()
        self._seconds_per_unit: float | None = None
        self._resumed = 0

    def run(self) -> bool:
        """Run until all trials have ended, or until told to stop; return whether all have."""
        self._ask(0)
        while self._live:
            self._submit()
            trial = min(self._live, key=lambda trial: (trial.next_time, trial.number))
            if trial.has_next:
                self._process(trial)
            elif not self._pending:
                raise RuntimeError(f"trial {trial.number} waits for a result that nobody computes.")
            else:
                self._collect(TICK_SECONDS)
            if self._should_stop():
                self._wind_down()
                return not self._live
        return True

    def _ask(self, now: int) -> None:
        """Fill the free slots."""
        free = self._ledger.spec.study.parallelism - len(self._live)
        while free > 0 and self._ledger.n_asked < self._total and self._ledger.may_ask(self._live):
            self._live.append(self._ledger.ask(now))
            self._announce()
            free -= 1

    def _process(self, trial: LiveTrial) -> None:
        now = trial.next_time
        if self._ledger.process(trial):
            self._live.remove(trial)
            self._resumed += trial.recorded is not None
        self._ask(now)
        self._announce()

    def _submit(self) -> None:
        """Give idle workers what is in flight, the earliest virtual time first."""
        free = self._engine.n_workers - len(self._pending)
        if free <= 0:
            return
        busy = {segment.trial for _, segment in self._pending.values()}
        waiting = [trial for trial in self._live if trial.number not in busy and not trial.is_computed]
        waiting.sort(key=lambda trial: (trial.start + trial.cost * (trial.computed + 1), trial.number))
        for trial in waiting[:free]:
            state = trial.progress.state if trial.progress else None
            segment = Segment(trial.number, trial.computed, self._n_epochs(trial), trial.config, self._data, state)
            self._pending[self._engine.submit(run_segment, segment)] = trial, segment

    def _n_epochs(self, trial: LiveTrial) -> int:
        """Return how many epochs make a segment; the first one of a study is a single epoch, to learn the speed."""
        if self._seconds_per_unit is None or trial.number in self._careful:
            return 1
        return max(1, int(SEGMENT_SECONDS / (self._seconds_per_unit * trial.cost)))

    def _collect(self, timeout: float) -> None:
        """Take the results that are there, or wait for one; save the checkpoint of each."""
        done, _ = wait(self._pending, timeout=timeout, return_when=FIRST_COMPLETED)
        for future in done:
            trial, segment = self._pending.pop(future)
            if trial not in self._live:
                continue  # it was pruned meanwhile: these epochs were computed in vain
            error = future.exception()
            if error is None:
                self._accept(trial, future.result())
            else:
                self._count_failure(trial, segment, error)

    def _accept(self, trial: LiveTrial, progress: Progress) -> None:
        before = (trial.progress.seconds, trial.progress.epoch) if trial.progress else (0.0, 0)
        self._losses.pop(trial.number, None)
        self._ledger.save(trial, progress)
        units = trial.cost * max(1, progress.epoch - before[1])
        measured = max(1e-12, (progress.seconds - before[0]) / units)
        known = self._seconds_per_unit
        self._seconds_per_unit = measured if known is None else 0.8 * known + 0.2 * measured

    def _count_failure(self, trial: LiveTrial, segment: Segment, error: BaseException) -> None:
        # Which epoch fails must not depend on how epochs fall into segments: from here on, one by one.
        self._careful.add(trial.number)
        if isinstance(error, WorkerLostError):
            self._losses[trial.number] = self._losses.get(trial.number, 0) + 1
            if self._losses[trial.number] < MAX_LOSSES:
                return
        elif segment.epochs > 1:
            return
        seconds = trial.progress.seconds if trial.progress else 0.0
        trial.failure = Ending("failed", failure_class(error), error=failure_text(error), seconds=seconds)

    def _wind_down(self) -> None:
        """Save what the workers can still finish; the rest is computed again on resume."""
        deadline = time.monotonic() + GRACE_SECONDS
        while self._pending and (left := deadline - time.monotonic()) > 0:
            self._collect(left)

    def _announce(self) -> None:
        if self._on_change is None:
            return
        self._on_change(
            Snapshot(
                total=self._total,
                done=self._ledger.n_ended,
                running=len(self._live),
                pruned=self._ledger.counts["pruned"],
                failed=self._ledger.counts["failed"],
                resumed=self._resumed,
                best=self._ledger.best,
            )
        )
