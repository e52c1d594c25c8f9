"""What the driver runs: trials that have been started, and the ledger that starts, records and ends them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlp.config import TrainConfig
from mlp.errors import CorruptStateError
from mlp.state import Status, TrainingState
from studies.records.trial_log import TrialLog
from studies.records.trial_record import Ending, TrialRecord
from studies.running.segments import Progress


@dataclass(eq=False)
class LiveTrial:
    """A trial that has been started and has not ended yet.

    Attributes:
        number: the trial's number.
        config: its configuration.
        start: the virtual time at which it was asked, or promoted the last time.
        cost: the virtual cost of each of its epochs.
        log: its event log.
        stop: the epoch after which it pauses, or ends at the latest; no more are computed.
        n_before: the number of epochs processed at `start`.
        ended_before: whether an earlier launch has logged its end.
        progress: the epochs computed so far, which may be more than are processed.
        failure: the error that stopped its computation after `progress`, if any.
        n_processed: the number of epochs processed.
        reported: the metric of each processed epoch.
    """

    number: int
    config: TrainConfig
    start: int
    cost: int
    log: TrialLog
    stop: int
    n_before: int = 0
    ended_before: bool = False
    progress: Progress | None = None
    failure: Ending | None = None
    n_processed: int = 0
    reported: dict[int, float] = field(default_factory=dict)

    @property
    def was_stopped(self) -> bool:
        """Whether an earlier launch ended the trial because the search was over."""
        record = self.log.record
        return record is not None and record.ending is not None and record.ending.reason == "stopped"

    @property
    def n_computed(self) -> int:
        """The number of epochs computed."""
        return self.progress.epoch if self.progress else 0

    def time_after(self, epochs: int) -> int:
        """Return the virtual time at which this number of its epochs is processed."""
        return self.start + self.cost * (epochs - self.n_before)

    @property
    def next_time(self) -> int:
        """The virtual time of the next epoch to be processed."""
        return self.time_after(self.n_processed + 1)

    @property
    def can_be_processed(self) -> bool:
        """Whether the result of the next epoch is known."""
        return self.n_computed > self.n_processed or self.failure is not None

    @property
    def is_computed(self) -> bool:
        """Whether no epoch is left to compute before the trial pauses or ends."""
        has_ended = self.progress is not None and self.progress.status != "running"
        return has_ended or self.failure is not None or self.ended_before or self.n_computed >= self.stop

    def next_metrics(self) -> dict[str, float] | None:
        """Return the metrics of the next epoch to be processed; None if it diverged or the trial has failed."""
        progress, epoch = self.progress, self.n_processed + 1
        if progress is None or epoch > progress.epoch:
            return None
        return {key: series[epoch - 1] for key, series in progress.history.items() if epoch <= len(series)} or None

    def report(self, metrics: dict[str, float], metric: str) -> float:
        """Note that the next epoch has been processed, and return the metric that decides."""
        self.n_processed += 1
        self.reported[self.n_processed] = metrics[metric]
        return metrics[metric]

    def ending_without_epoch(self) -> Ending | None:
        """Return how the trial ends if there are no metrics of its next epoch."""
        if self.progress is None or self.n_processed >= self.progress.epoch:
            return self.failure
        last = self.reported.get(self.n_processed)
        return Ending("pruned", "diverged", last, self.progress.kept_epoch, seconds=self.progress.seconds)

    def ending_at_last_epoch(self) -> Ending | None:
        """Return how the trial ends if the epoch that was processed is its last one, otherwise None."""
        progress = self.progress
        if progress is None or self.n_processed < progress.epoch or progress.status not in ("finished", "stopped"):
            return None
        kept = self.reported[progress.kept_epoch]
        if math.isnan(kept):  # it must not decide: Optuna would take it for a failure
            return Ending("pruned", "undefined", None, progress.kept_epoch, seconds=progress.seconds)
        return Ending("complete", "", kept, progress.kept_epoch, progress.weight_digest, seconds=progress.seconds)

    def pruned(self, reason: str) -> Ending:
        """Return how the trial ends if it is stopped after its last processed epoch."""
        value = self.reported.get(self.n_processed, math.nan)
        seconds = self.progress.seconds if self.progress else 0.0
        return Ending("pruned", reason, None if math.isnan(value) else value, self.n_processed, seconds=seconds)

    def restore(self, recorded: TrialRecord, ending: Ending) -> None:
        """Restore a trial that an earlier launch has ended, as if its epochs had just been computed."""
        status: Status = "finished" if ending.state == "complete" or ending.reason == "undefined" else "running"
        n_epochs = recorded.n_epochs
        if ending.reason == "diverged":
            status, n_epochs = "diverged", n_epochs + 1  # the epoch that diverged has no value
        kept, digest = ending.kept_epoch, ending.weight_digest
        self.progress = Progress(b"", recorded.history, n_epochs, status, kept, digest, ending.seconds)
        self.failure = ending if ending.state == "failed" else None
        self.ended_before = True

    def load(self, checkpoint: Path) -> None:
        """Restore the progress from a checkpoint; without one, the trial is computed again, with the same results."""
        try:
            saved = TrainingState.from_bytes(checkpoint.read_bytes())
        except (FileNotFoundError, CorruptStateError):
            saved = None
        is_of_trial = saved is not None and saved.config == self.config.to_mapping()
        self.progress = Progress.of(saved) if saved is not None and is_of_trial else None


@dataclass(frozen=True)
class Snapshot:
    """The progress of a study.

    Attributes:
        total: the maximum number of trials; None without such a limit.
        asked: trials that have been asked.
        done: trials that have ended.
        running: trials that are running.
        paused: trials that are paused at a rung.
        pruned: trials that ended as pruned.
        failed: trials that failed.
        resumed: trials that had ended before this launch.
        epochs: epochs of all trials that were processed.
        max_epochs: the maximum number of epochs of all trials together; None without such a limit.
        best: number and value of the best complete trial.
        stage: `search`, or `confirm` for trainings after it.
    """

    total: int | None
    asked: int
    done: int
    running: int
    paused: int
    pruned: int
    failed: int
    resumed: int
    epochs: int
    max_epochs: int | None
    best: tuple[int, float] | None
    stage: str = "search"


class AbstractLedger(ABC):
    """What a driver runs: the trials of a study, or a fixed list of trainings.

    Attributes:
        parallelism: how many trials may run at the same time.
    """

    parallelism: int

    @abstractmethod
    def start_next(self, now: int) -> LiveTrial | None:
        """Start the trial that gets a free slot, and return it; None if none may start now.

        Args:
            now: the virtual time.
        """

    @abstractmethod
    def load(self, trial: LiveTrial) -> None:
        """Read the checkpoint of a trial whose state is not in memory."""

    @abstractmethod
    def save(self, trial: LiveTrial, progress: Progress) -> None:
        """Write a trial's checkpoint, and keep its new epochs for `process`."""

    @abstractmethod
    def process(self, trial: LiveTrial) -> bool:
        """Process the next epoch (or the failure) of a trial; return whether the trial gives up its slot with it."""

    @abstractmethod
    def close_next(self, live: Sequence[LiveTrial]) -> LiveTrial | None:
        """End one of the trials that cannot continue, and return it; None if there is none.

        Args:
            live: the trials that are running.
        """

    @abstractmethod
    def snapshot(self, n_running: int) -> Snapshot:
        """Return the progress, given how many trials are running."""
