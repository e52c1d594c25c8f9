"""The ledger: what the driver knows of a study. It asks, reports, prunes and ends trials, and records each step once.

How a study resumes. The logs of the trials are the authority; Optuna's rows follow from them. The study that sampler
and pruner see (`StudyView`) is in memory only and is a pure function of the events processed so far: asks, epochs,
ends. So a new driver need not restore it. It processes the same events again, in the same order, and arrives at the
same study. A trial that was asked before is asked again at its place in this order (`n_events` in its log says after
how many events), with its recorded parameters instead of new ones. Its epochs come from its log if it has ended,
otherwise from its checkpoint, otherwise they are computed again, with the same result. Every decision is made again,
and everything that would be logged is compared with the log; a difference stops the driver (`HistoryMismatchError`),
because the rest of the record could not be trusted either. New trials are asked once all recorded events are processed.
A trial whose log is lost although later trials have theirs is asked again where it must have been: as soon as a slot
was free.

The order of durable writes. When a trial is asked, its log begins with everything that is needed to ask it again; then
its row is written to Optuna's database, complete, in one transaction. Every epoch is appended to the log when it is
processed. At the end of a trial the log comes first and is synchronised with the disk, then the values and attributes
of the row, then the state of the row, and last the checkpoint is removed. So at whatever moment the driver is killed,
the log is at most one step ahead of the row, and never behind it. When the study is opened, the rows are compared with
the logs: a row that is one step behind is completed, and rows that differ in any other way, because the database was
lost, edited or put back to an older copy, are all made again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlp.config import TrainConfig
from mlp.errors import CorruptStateError
from mlp.state import Status, TrainingState
from studies.errors import HistoryMismatchError
from studies.records.files import write_atomically
from studies.records.home import StudyFolder
from studies.records.results import rank
from studies.records.trial_log import Ending, Place, TrialLog, TrialRecord
from studies.running.rows import first_rows, read_trials, row_of, trial_state
from studies.running.segments import Progress
from studies.running.storage import StudyTable
from studies.search.spec import StudySpec

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(eq=False)
class LiveTrial:
    """A trial that has been asked and has not ended yet.

    Attributes:
        number: the trial's number.
        config: its configuration.
        start: the virtual time at which it was asked.
        cost: the virtual cost of each of its epochs.
        log: its event log.
        is_in_space: whether sampler and pruner know of it; False for a base outside the space.
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
    is_in_space: bool
    ended_before: bool = False
    progress: Progress | None = None
    failure: Ending | None = None
    n_processed: int = 0
    reported: dict[int, float] = field(default_factory=dict)

    @property
    def n_computed(self) -> int:
        """The number of epochs computed."""
        return self.progress.epoch if self.progress else 0

    @property
    def next_time(self) -> int:
        """The virtual time of the next epoch to be processed."""
        return self.start + self.cost * (self.n_processed + 1)

    @property
    def can_be_processed(self) -> bool:
        """Whether the result of the next epoch is known."""
        return self.n_computed > self.n_processed or self.failure is not None

    @property
    def is_computed(self) -> bool:
        """Whether no epoch is left to compute."""
        ended = self.progress is not None and self.progress.status != "running"
        return ended or self.failure is not None or self.ended_before

    @property
    def is_behind_record(self) -> bool:
        """Whether an earlier launch has processed more events of this trial than this launch has so far."""
        logged = self.log.record
        return logged is not None and (logged.n_epochs > self.n_processed or logged.ending is not None)


class Ledger:
    """Asks, reports, prunes and ends trials; records each step once.

    Args:
        spec: the study.
        folder: the folder of event logs and checkpoints.
        table: the study's rows in Optuna's database, which are compared with the logs now.
        epoch_cost: returns the virtual cost of one epoch of a configuration.
        identity: the identity of the study, with which its logs begin.
        machine: the machine that computes new epochs, as logs name it.

    Attributes:
        damage: what was wrong with the rows, so that they were made again from the logs; empty if nothing was.
        n_asked: trials asked in this launch, recorded ones included.
        n_events: epochs and failures processed in this launch, recorded ones included.
        counts: the number of trials that have ended, by state.
        best: number and value of the best complete trial; of equal values the lowest number.

    Raises:
        RecordError: if a log is damaged.
    """

    def __init__(
        self,
        spec: StudySpec,
        folder: StudyFolder,
        table: StudyTable,
        epoch_cost: Callable[[TrainConfig], int],
        identity: str,
        machine: Mapping[str, str] | None = None,
    ) -> None:
        from studies.running.view import StudyView  # loads Optuna, which takes half a second

        self.spec = spec
        self.folder = folder
        self.n_asked = 0
        self.n_events = 0
        self.counts: Counter[str] = Counter()
        self.best: tuple[int, float] | None = None
        self._table = table
        self._epoch_cost = epoch_cost
        self._identity = identity
        self._machine = dict(machine or {})
        self._metric = spec.study.metric
        self._recorded = read_trials(folder, identity)
        rows = first_rows(self._recorded, spec.space, self._metric)
        self.damage = table.reconcile(rows)
        self._n_rows = len(rows)
        self._view = StudyView(spec)

    @property
    def n_ended(self) -> int:
        """The number of trials that have ended."""
        return self.counts.total()

    @property
    def n_recorded(self) -> int:
        """The number of trials that earlier launches asked."""
        return max(self._recorded, default=-1) + 1

    @property
    def lost(self) -> list[int]:
        """The trials whose logs are lost although a later trial has one."""
        return [number for number in range(self.n_recorded) if number not in self._recorded]

    def may_ask(self, live: Sequence[LiveTrial]) -> bool:
        """Return whether the next trial can be asked now.

        A recorded trial is asked after as many events as the first time. So is one whose log is lost: it was asked as
        soon as a slot was free, if it belonged to the total of that time. Any other new trial waits until every
        recorded event has been processed again, because those events came before it.

        Args:
            live: the trials that have been asked and have not ended.
        """
        number = self.n_asked
        if number not in self._recorded and number < max(1, self._total_before(number)):
            return True
        later = min((other for other in self._recorded if other >= number), default=None)
        if later is not None:
            return self._recorded[later].place.n_events <= self.n_events or not live
        return not any(trial.is_behind_record for trial in live)

    def _total_before(self, number: int) -> int:
        """Return the total of trials that was known when the recorded trials before this one were asked."""
        return max((trial.place.total for other, trial in self._recorded.items() if other < number), default=0)

    def ask(self, now: int) -> LiveTrial:
        """Return the next trial, with the recorded parameters if an earlier launch asked it.

        Args:
            now: the virtual time.

        Raises:
            HistoryMismatchError: if its log has another place in the order of events for this trial.
        """
        number = self.n_asked
        recorded = self._recorded.get(number)
        asked = self._ask_view(recorded)
        params = dict(asked.params)
        config = self.spec.base if number == 0 else self.spec.space.configure(params)
        log = TrialLog(self.folder.log(number), self._identity, self._machine)
        is_in_space = not asked.state.is_finished()
        trial = LiveTrial(number, config, now, self._epoch_cost(config), log, is_in_space)
        known = recorded.place.total if recorded else self._total_before(number)
        place = Place(now, trial.cost, self.n_events, known if number < known else self.spec.study.trials)
        record = log.asked(number, params, config.to_mapping(), place, asked.system_attrs)
        if number >= self._n_rows:
            self._table.add(row_of(record, self.spec.space, self._metric))
            self._n_rows += 1
        if recorded is not None:
            self._restore(trial, recorded)
        self.n_asked += 1
        return trial

    def _ask_view(self, recorded: TrialRecord | None) -> FrozenTrial:
        """Return the next trial as sampler and pruner see it; with its record if an earlier launch asked it."""
        if self.n_asked == 0:
            point = self.spec.space.params_of_base()
            return self._view.add_unknown() if point is None else self._view.add(point, {"fixed_params": point})
        return self._view.ask() if recorded is None else self._view.add(recorded.params, recorded.attributes)

    def _restore(self, trial: LiveTrial, recorded: TrialRecord) -> None:
        """Restore what is known of a recorded trial: from its log if it has ended, otherwise from its checkpoint."""
        if recorded.ending is not None:
            trial.ended_before = True
            trial.progress, trial.failure = _outcome(recorded, recorded.ending)
            if not trial.can_be_processed:
                raise self._mismatch(trial.number, "its log has no epochs")
            return
        try:
            saved = TrainingState.from_bytes(self.folder.checkpoint(trial.number).read_bytes())
        except (FileNotFoundError, CorruptStateError):
            return  # the trial starts again from its first epoch, with the same results
        if saved.config == trial.config.to_mapping():
            trial.progress = Progress.of(saved)

    def process(self, trial: LiveTrial) -> bool:
        """Process the next epoch (or the failure) of a trial; return whether the trial has ended with it.

        Raises:
            HistoryMismatchError: if the record says something else.
        """
        ending = self._process_epoch(trial)
        self.n_events += 1
        if ending is not None:
            self._end(trial, ending)
        elif trial.ended_before and not trial.can_be_processed:
            raise self._mismatch(trial.number, f"it is recorded as ended after {trial.n_processed} epochs")
        return ending is not None

    def _process_epoch(self, trial: LiveTrial) -> Ending | None:
        """Log and report the next epoch; return how the trial ends with it, or None if it continues."""
        progress, epoch = trial.progress, trial.n_processed + 1
        if progress is None or epoch > progress.epoch:
            return trial.failure
        metrics = {key: series[epoch - 1] for key, series in progress.history.items() if epoch <= len(series)}
        if not metrics:
            last = trial.reported.get(trial.n_processed)
            return Ending("pruned", "diverged", last, progress.kept_epoch, seconds=progress.seconds)
        value = metrics[self._metric]
        trial.n_processed = epoch
        trial.reported[epoch] = value
        trial.log.epoch(epoch, metrics)
        if trial.is_in_space:
            self._view.report(trial.number, epoch, value)
        if epoch == progress.epoch and progress.status in ("finished", "stopped"):
            kept = trial.reported[progress.kept_epoch]
            if math.isnan(kept):  # it must not decide: Optuna would take it for a failure
                return Ending("pruned", "undefined", None, progress.kept_epoch, seconds=progress.seconds)
            return Ending("complete", "", kept, progress.kept_epoch, progress.weight_digest, seconds=progress.seconds)
        # Trial 0 is base, the configuration that all others are compared with: it is never pruned.
        if trial.number > 0 and self._view.should_prune(trial.number):
            shown = None if math.isnan(value) else value
            return Ending("pruned", "pruner", shown, epoch, seconds=progress.seconds)
        return None

    def _end(self, trial: LiveTrial, ending: Ending) -> None:
        """End a trial and record it: first in its log, then in its row, whose state is written last."""
        record = trial.log.ended(ending)
        self.counts[ending.state] += 1
        self._update_best(trial.number, ending)
        if trial.is_in_space:
            self._view.tell(trial.number, trial_state(ending.state), ending.value)
        if not trial.ended_before:
            self._table.finish(row_of(record, self.spec.space, self._metric))
        self.folder.checkpoint(trial.number).unlink(missing_ok=True)

    def _update_best(self, number: int, ending: Ending) -> None:
        if ending.state != "complete" or ending.value is None:
            return
        candidates = [(number, ending.value)] if self.best is None else [(number, ending.value), self.best]
        self.best = min(candidates, key=lambda candidate: rank(self._metric, *candidate))

    def save(self, trial: LiveTrial, progress: Progress) -> None:
        """Write a trial's checkpoint, and keep its new epochs for `process`."""
        write_atomically(self.folder.checkpoint(trial.number), progress.state)
        trial.progress = progress

    def _mismatch(self, number: int, problem: str) -> HistoryMismatchError:
        return HistoryMismatchError(f'study "{self.spec.study.name}", trial {number}', problem)


def _outcome(recorded: TrialRecord, ending: Ending) -> tuple[Progress, Ending | None]:
    """Return the progress and the failure of a trial that has ended, as if they had just been computed."""
    status: Status = "finished" if ending.state == "complete" or ending.reason == "undefined" else "running"
    n_epochs = recorded.n_epochs
    if ending.reason == "diverged":
        status, n_epochs = "diverged", n_epochs + 1  # the epoch that diverged has no value
    progress = Progress(
        state=b"",
        history=recorded.history,
        epoch=n_epochs,
        status=status,
        kept_epoch=ending.kept_epoch,
        weight_digest=ending.weight_digest,
        seconds=ending.seconds,
    )
    return progress, ending if ending.state == "failed" else None
