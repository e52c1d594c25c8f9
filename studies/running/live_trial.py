"""What the driver runs: trials that have been started, and the ledger that starts, records and ends them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from mlp.config import TrainConfig
from studies.records.trial_log import TrialLog
from studies.records.trial_record import Ending
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
        """Return the virtual time at which so many of its epochs are processed."""
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


@dataclass(frozen=True)
class Snapshot:
    """The progress of a study.

    Attributes:
        total: the most trials that are asked; None without such a limit.
        asked: trials that have been asked.
        done: trials that have ended.
        running: trials that are running.
        paused: trials that are paused at a rung.
        pruned: trials that ended as pruned.
        failed: trials that failed.
        resumed: trials that had ended before this launch.
        epochs: epochs of all trials that were processed.
        most_epochs: the most epochs of all trials together; None without such a limit.
        best: number and value of the best complete trial.
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
    most_epochs: int | None
    best: tuple[int, float] | None


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
