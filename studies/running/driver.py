"""The driver: gives segments to workers, and processes their results in the order of virtual time."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path

from mlp.errors import ConfigError
from studies.data.cache import check_cached
from studies.errors import AllWorkersLostError, DataLostError, WorkerLostError
from studies.records.trial_record import Ending
from studies.running.engines import AbstractEngine, failure_class, failure_text
from studies.running.live_trial import AbstractLedger, LiveTrial, Snapshot
from studies.running.segments import Progress, Segment, run_segment
from studies.running.trial_limits import MAX_HANGS, NO_LIMITS, TrialLimits

SEGMENT_SECONDS = 0.5  # the work in a segment, and so at most what a killed worker loses
TICK_SECONDS = 0.1  # how soon the driver notices a signal or a deadline
GRACE_SECONDS = 4.0  # how long a stopping driver waits for the segments that are being computed
MAX_LOST_WORKERS = 5  # a trial fails after this many workers have died while they computed one of its segments
MAX_LOST_IN_A_ROW = 8  # the study stops after this many workers have died without a result in between
UNIT_SECONDS = 1e-9  # the time of a unit of virtual cost, as long as no epoch has been measured
PROBE_SECONDS = 60.0  # how long a worker may take to start on a busy machine


@dataclass
class _Task:
    """A segment that a worker computes.

    Attributes:
        trial: its trial.
        segment: the segment.
        deadline: when the worker is killed, by the monotonic clock.
        is_killed: whether that has happened.
    """

    trial: LiveTrial
    segment: Segment
    deadline: float
    is_killed: bool = False


class Driver:
    """Owns a study, or a fixed list of trainings, while it runs.

    Args:
        ledger: what to run.
        engine: computes segments.
        data: the folder of the prepared data set.
        on_change: called with a snapshot after every event.
        should_stop: called often; True ends the run at a point from which it can be resumed.
        limits: what a single trial may use.

    Attributes:
        n_epochs: how many epochs have been computed and saved.
    """

    def __init__(
        self,
        ledger: AbstractLedger,
        engine: AbstractEngine,
        data: Path,
        *,
        on_change: Callable[[Snapshot], None] | None,
        should_stop: Callable[[], bool],
        limits: TrialLimits = NO_LIMITS,
    ) -> None:
        self.n_epochs = 0
        self._ledger = ledger
        self._engine = engine
        self._data = data
        self._on_change = on_change
        self._should_stop = should_stop
        self._live: list[LiveTrial] = []
        self._limits = limits
        self._computing: dict[Future[Progress], _Task] = {}
        self._lost_workers: dict[int, int] = {}
        self._lost_in_a_row: list[int] = []  # the trials whose workers have died since the last result
        self._n_hangs: Counter[int] = Counter()  # by trial
        self._epoch_by_epoch: set[int] = set()  # trials whose segments are single epochs, after a failure
        self._alone: set[int] = set()  # trials that ran out of memory, and are tried again while nothing else runs
        self._seconds_per_unit: float | None = None
        self._now = 0  # the virtual time of the last event

    def run(self) -> bool:
        """Run until all trials have ended or `should_stop` returns True; return whether all have ended."""
        self._fill_slots()
        while True:
            self._close_trials()
            if not self._live:
                return True
            self._submit_segments()
            trial = min(self._live, key=lambda trial: (trial.next_time, trial.number))
            if trial.can_be_processed:
                self._process(trial)
            elif not self._computing:
                raise RuntimeError(f"trial {trial.number} is waiting for a result, but no worker is computing it.")
            else:
                self._collect_results(TICK_SECONDS)
            if self._should_stop():
                self._finish_segments()
                return False

    def _fill_slots(self) -> None:
        """Start a trial for each free slot."""
        while len(self._live) < self._ledger.parallelism:
            trial = self._ledger.start_next(self._now)
            if trial is None:
                return
            self._live.append(trial)
            self._report_progress()

    def _close_trials(self) -> None:
        """End the trials that cannot continue; after each, another trial may be started."""
        while (trial := self._ledger.close_next(self._live)) is not None:
            if trial in self._live:
                self._live.remove(trial)
            self._fill_slots()
            self._report_progress()

    def _process(self, trial: LiveTrial) -> None:
        self._now = trial.next_time
        if self._ledger.process(trial):
            self._live.remove(trial)
        self._fill_slots()
        self._report_progress()

    def _submit_segments(self) -> None:
        """Give each idle worker a segment, the earliest virtual time first."""
        idle = self._engine.n_workers - len(self._computing)
        if idle <= 0:
            return
        busy = {task.segment.trial for task in self._computing.values()}
        if busy & self._alone:
            return
        for trial in self._live:
            if trial.progress is not None and not trial.progress.state and not trial.is_computed:
                self._ledger.load(trial)  # it was paused
        waiting = [trial for trial in self._live if trial.number not in busy and self._may_continue(trial)]
        # A trial that keeps losing its worker comes last, because the others show whether it is the cause.
        waiting.sort(
            key=lambda trial: (
                self._lost_workers.get(trial.number, 0) >= 2,
                trial.time_after(trial.n_computed + 1),
                trial.number,
            )
        )
        if alone := [trial for trial in waiting if trial.number in self._alone]:
            waiting = [] if busy else alone[:1]
        for trial in waiting[:idle]:
            state = trial.progress.state if trial.progress else None
            segment = Segment(trial.number, trial.n_computed, self._n_epochs(trial), trial.config, self._data, state)
            deadline = time.monotonic() + self._allowed_seconds(trial, segment)
            self._computing[self._engine.submit(run_segment, segment)] = _Task(trial, segment, deadline)

    def _may_continue(self, trial: LiveTrial) -> bool:
        """Return whether a trial has epochs to compute; a trial that has used up its time or memory fails instead."""
        if trial.is_computed:
            return False
        spent = _seconds(trial)
        if trial.n_computed == 0 and (problem := self._limits.excess(trial.config)):
            trial.failure = Ending("failed", "out_of_memory", error=problem)
        elif self._limits.is_over(spent):
            trial.failure = self._limits.timeout(spent)
        return trial.failure is None

    def _allowed_seconds(self, trial: LiveTrial, segment: Segment) -> float:
        """Return the seconds after which a segment's worker is killed."""
        per_unit = UNIT_SECONDS if self._seconds_per_unit is None else self._seconds_per_unit
        return self._limits.allowed_seconds(_seconds(trial), per_unit * trial.cost * segment.epochs)

    def _n_epochs(self, trial: LiveTrial) -> int:
        """Return the epochs of a trial's next segment; a single one as long as the speed is not known."""
        if self._seconds_per_unit is None or trial.number in self._epoch_by_epoch:
            return 1
        wanted = int(SEGMENT_SECONDS / (self._seconds_per_unit * trial.cost))
        return max(1, min(wanted, trial.stop - trial.n_computed))

    def _collect_results(self, timeout: float) -> None:
        """Collect the results that have arrived, waiting for at least one until the timeout."""
        done, waiting = wait(self._computing, timeout=timeout, return_when=FIRST_COMPLETED)
        for future in waiting:
            task = self._computing[future]
            if not task.is_killed and time.monotonic() > task.deadline:
                task.is_killed = True
                self._engine.kill(future)
        for future in done:
            task = self._computing.pop(future)
            if task.trial not in self._live:
                continue  # it has been pruned in the meantime: these epochs are not needed
            error = future.exception()
            if task.is_killed or not isinstance(error, WorkerLostError):
                self._lost_in_a_row.clear()
            if error is None:
                self._save(task.trial, future.result())
            elif task.is_killed and isinstance(error, WorkerLostError):
                self._handle_hang(task)
            else:
                self._handle_error(task.trial, task.segment, error)

    def _handle_hang(self, task: _Task) -> None:
        """Let a trial fail if its worker was killed because it took too long; the first time, only repeat it.

        The first time may be due to the machine, unless the time of the trial is limited.
        """
        trial, spent = task.trial, _seconds(task.trial)
        self._n_hangs[trial.number] += 1
        self._epoch_by_epoch.add(trial.number)
        if self._limits.seconds is not None:
            trial.failure = self._limits.timeout(max(spent, self._limits.seconds))
        elif self._n_hangs[trial.number] >= MAX_HANGS:
            problem = f"{MAX_HANGS} workers that computed epoch {trial.n_computed + 1} did not answer and were killed."
            trial.failure = Ending("failed", "timeout", error=problem, seconds=spent)

    def _save(self, trial: LiveTrial, progress: Progress) -> None:
        """Save the checkpoint of a trial, and update the measured speed."""
        before = (trial.progress.seconds, trial.progress.epoch) if trial.progress else (0.0, 0)
        self._lost_workers.pop(trial.number, None)
        self._ledger.save(trial, progress)
        self.n_epochs += progress.epoch - before[1]
        units = trial.cost * max(1, progress.epoch - before[1])
        measured = max(1e-12, (progress.seconds - before[0]) / units)
        known = self._seconds_per_unit
        self._seconds_per_unit = measured if known is None else 0.8 * known + 0.2 * measured

    def _handle_error(self, trial: LiveTrial, segment: Segment, error: BaseException) -> None:
        """Compute the segment again epoch by epoch, or let its trial fail.

        The epoch at which a trial fails must not depend on how epochs fall into segments. So a segment of several
        epochs is repeated one epoch at a time, and only an error in a single epoch counts. A trial that runs out of
        memory is tried once more while nothing else runs.

        Raises:
            DataLostError: if the data set is gone. No trial fails then, so that all can be resumed.
        """
        self._epoch_by_epoch.add(trial.number)
        if not isinstance(error, WorkerLostError | MemoryError):
            try:
                check_cached(self._data)
            except ConfigError as problem:
                raise DataLostError(problem) from error
        if isinstance(error, WorkerLostError):
            self._lost_workers[trial.number] = self._lost_workers.get(trial.number, 0) + 1
            if not self._is_cause(trial, error):
                return
        elif segment.epochs > 1:
            return
        elif isinstance(error, MemoryError) and trial.number not in self._alone and self._engine.n_workers > 1:
            self._alone.add(trial.number)
            return
        text, seconds = failure_text(error), _seconds(trial)
        trial.failure = Ending("failed", failure_class(error), error=text, seconds=seconds)

    def _is_cause(self, trial: LiveTrial, error: WorkerLostError) -> bool:
        """Return whether a trial must be the cause of the loss of its workers, for example by its memory.

        Raises:
            AllWorkersLostError: if workers die whatever they compute. No trial fails then, so that all can be resumed.
        """
        self._lost_in_a_row.append(trial.number)
        n_lost, only_this = len(self._lost_in_a_row), set(self._lost_in_a_row) == {trial.number}
        if n_lost >= MAX_LOST_IN_A_ROW and not only_this:
            raise AllWorkersLostError(n_lost, error)
        if self._lost_workers[trial.number] < MAX_LOST_WORKERS:
            return False
        if n_lost < MAX_LOST_WORKERS:
            return True  # the workers of other trials have returned results in the meantime
        if only_this and not self._worker_answers():
            raise AllWorkersLostError(n_lost, error)
        return only_this

    def _worker_answers(self) -> bool:
        """Return whether a worker can compute anything at all."""
        try:
            self._engine.submit(os.getpid).result(PROBE_SECONDS)
        except (WorkerLostError, TimeoutError):
            return False
        return True

    def _finish_segments(self) -> None:
        """Save the segments that finish within the grace period; the others are computed again after resuming."""
        deadline = time.monotonic() + GRACE_SECONDS
        while self._computing and (left := deadline - time.monotonic()) > 0:
            self._collect_results(left)

    def _report_progress(self) -> None:
        if self._on_change is not None:
            self._on_change(self._ledger.snapshot(len(self._live)))


def _seconds(trial: LiveTrial) -> float:
    """Return the seconds of training in a trial's finished segments."""
    return trial.progress.seconds if trial.progress else 0.0
