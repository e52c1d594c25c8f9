"""A fixed list of trainings that run to their end through the driver: to confirm, to audit, to compare.

Nothing is decided while they run, so their order does not matter. Each has a log and a checkpoint, as a trial of a
study has, and is resumed from them; the steps of a log count its own events only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlp.config import TrainConfig
from mlp.state import TrainingState
from studies.records.files import write_atomically
from studies.records.home import TrainingFolder
from studies.records.trial_log import TrialLog, read_log
from studies.records.trial_record import Ending, Place, TrialRecord
from studies.records.weights import write_weights
from studies.running.live_trial import AbstractLedger, LiveTrial, Snapshot
from studies.running.segments import Progress


@dataclass(frozen=True)
class FixedTraining:
    """One of the trainings.

    Attributes:
        number: its number, which names its log.
        config: its configuration.
        epoch_cost: the virtual cost of one epoch.
        attributes: further entries of the first line of its log.
    """

    number: int
    config: TrainConfig
    epoch_cost: int
    attributes: Mapping[str, Any] = field(default_factory=dict)


class FixedTrainings(AbstractLedger):
    """Runs trainings to their end, and records them. Those that have ended before are not run again.

    Args:
        trainings: the trainings.
        folder: the folder of their logs and checkpoints.
        metric: the metric that decides.
        identity: the identity with which their logs begin.
        machine: the machine that computes new epochs, as logs name it.
        parallelism: how many of them run at the same time.
        stage: what they are for, as the progress shows it.
        stores_weights: whether the kept weights of complete trainings are stored in the folder.

    Raises:
        RecordError: if a log is damaged.
    """

    def __init__(
        self,
        trainings: Sequence[FixedTraining],
        folder: TrainingFolder,
        metric: str,
        identity: str,
        machine: Mapping[str, str],
        parallelism: int,
        stage: str = "confirm",
        *,
        stores_weights: bool = False,
    ) -> None:
        folder.trials.mkdir(parents=True, exist_ok=True)
        self.parallelism = parallelism
        self._folder = folder
        self._metric = metric
        self._identity = identity
        self._machine = machine
        self._stage = stage
        self._stores_weights = stores_weights
        recorded = {training.number: read_log(folder.log(training.number), identity) for training in trainings}
        self._total = len(trainings)
        self._waiting = [training for training in trainings if not _has_ended(recorded[training.number])]
        for training in trainings:
            if _has_ended(recorded[training.number]):  # a kill may have left its checkpoint
                folder.checkpoint(training.number).unlink(missing_ok=True)
        self._done = self._total - len(self._waiting)
        self._resumed, self._failed, self._pruned, self._epochs = self._done, 0, 0, 0

    def start_next(self, now: int) -> LiveTrial | None:
        if not self._waiting:
            return None
        training = self._waiting.pop(0)
        config, cost = training.config, training.epoch_cost
        log = TrialLog(self._folder.log(training.number), self._identity, self._machine)
        trial = LiveTrial(training.number, config, now, cost, log, config.epochs)
        was_started = log.record is not None
        log.asked(0, training.number, {}, config.to_mapping(), Place(0, cost), training.attributes)
        if was_started:
            self.load(trial)
        return trial

    def load(self, trial: LiveTrial) -> None:
        trial.load(self._folder.checkpoint(trial.number))

    def save(self, trial: LiveTrial, progress: Progress) -> None:
        write_atomically(self._folder.checkpoint(trial.number), progress.state)
        trial.progress = progress

    def process(self, trial: LiveTrial) -> bool:
        metrics = trial.next_metrics()
        if metrics is None:
            ending = trial.ending_without_epoch()
        else:
            self._epochs += 1
            trial.log.epoch(trial.n_processed + 1, trial.n_processed + 1, metrics)
            trial.report(metrics, self._metric)
            ending = trial.ending_at_last_epoch()
        if ending is not None:
            self._end(trial, ending)
        return ending is not None

    def _end(self, trial: LiveTrial, ending: Ending) -> None:
        if self._stores_weights and ending.state == "complete" and trial.progress is not None:
            # Before the end is logged, so that a kill in between only repeats the end.
            write_weights(self._folder.weights(trial.number), TrainingState.from_bytes(trial.progress.state).kept_theta)
        trial.log.ended(trial.n_processed + 1, ending)
        self._folder.checkpoint(trial.number).unlink(missing_ok=True)
        self._done += 1
        self._failed += ending.state == "failed"
        self._pruned += ending.state == "pruned"

    def close_next(self, live: Sequence[LiveTrial]) -> LiveTrial | None:
        return None

    def snapshot(self, n_running: int) -> Snapshot:
        return Snapshot(
            total=self._total,
            asked=self._total - len(self._waiting),
            done=self._done,
            running=n_running,
            paused=0,
            pruned=self._pruned,
            failed=self._failed,
            resumed=self._resumed,
            epochs=self._epochs,
            max_epochs=None,
            best=None,
            stage=self._stage,
        )


def _has_ended(recorded: TrialRecord | None) -> bool:
    return recorded is not None and recorded.ending is not None
