"""The ledger: what the driver knows of a study. It asks, reports, prunes and ends trials, and records each step once.

How a study resumes. The study that sampler and pruner see (`StudyView`) is in memory only and is a pure function of the
events processed so far: asks, epochs, ends. So a new driver need not restore it. It processes the same events again, in
the same order, and arrives at the same study. A trial that was asked before is asked again at its place in this order
(`n_events` in its row says after how many events), with its recorded parameters instead of new ones. Its epochs come
from its row if it has ended, otherwise from its checkpoint, otherwise they are computed again, with the same result.
Every decision is made again and compared with the record; a difference stops the driver (`HistoryMismatchError`),
because the rest of the record could not be trusted either. New trials are asked once all recorded events are processed.

The order of durable writes. When a trial is asked, its row is written to Optuna's database first, complete, in one
transaction; then its event log begins. Every epoch is appended to the log when it is processed. At the end of a trial
the log comes first, then the values and attributes of the row, then the state of the row, and last the checkpoint is
removed. So at whatever moment the driver is killed, a row with a final state has everything that belongs to it, and a
trial whose row is still RUNNING is processed again; its log skips the events that it already has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlp.config import TrainConfig
from mlp.errors import CorruptStateError
from mlp.state import Status, TrainingState
from studies.errors import HistoryMismatchError
from studies.records.files import write_atomically
from studies.records.home import StudyFolder
from studies.records.results import rank
from studies.records.trial_log import Ending, TrialLog
from studies.running.segments import Progress
from studies.running.storage import StudyTable
from studies.search.spec import StudySpec

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, TrialState


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
        finished_row: its row in Optuna's database, if an earlier launch has finished it.
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
    finished_row: FrozenTrial | None = None
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
        return ended or self.failure is not None or self.finished_row is not None

    @property
    def is_behind_record(self) -> bool:
        """Whether an earlier launch has processed more events of this trial than this launch has so far."""
        logged = self.log.record
        in_log = logged is not None and (logged.n_epochs > self.n_processed or logged.ending is not None)
        return in_log or self.finished_row is not None


class Ledger:
    """Asks, reports, prunes and ends trials; records each step once.

    Args:
        spec: the study.
        folder: the folder of event logs and checkpoints.
        table: the study's rows in Optuna's database.
        epoch_cost: returns the virtual cost of one epoch of a configuration.

    Attributes:
        n_asked: trials asked in this launch, recorded ones included.
        n_events: epochs and failures processed in this launch, recorded ones included.
        counts: the number of trials that have ended, by state.
        best: number and value of the best complete trial; of equal values the lowest number.
    """

    def __init__(
        self, spec: StudySpec, folder: StudyFolder, table: StudyTable, epoch_cost: Callable[[TrainConfig], int]
    ) -> None:
        from studies.running.view import StudyView  # loads Optuna, which takes half a second

        self.spec = spec
        self.folder = folder
        self.n_asked = 0
        self.n_events = 0
        self.counts: Counter[str] = Counter()
        self.best: tuple[int, float] | None = None
        self._table = table
        self._rows = table.rows()
        self._epoch_cost = epoch_cost
        self._metric = spec.study.metric
        self._view = StudyView(spec)

    @property
    def n_ended(self) -> int:
        """The number of trials that have ended."""
        return self.counts.total()

    @property
    def n_recorded(self) -> int:
        """The number of trials that earlier launches asked."""
        return len(self._rows)

    def may_ask(self, live: Sequence[LiveTrial]) -> bool:
        """Return whether the next trial can be asked now.

        A recorded trial is asked after as many events as the first time. A new trial waits until every recorded event
        has been processed again, because those events came before it.

        Args:
            live: the trials that have been asked and have not ended.
        """
        if self.n_asked < self.n_recorded:
            return bool(self._rows[self.n_asked].user_attrs.get("n_events", 0) <= self.n_events) or not live
        return not any(trial.is_behind_record for trial in live)

    def ask(self, now: int) -> LiveTrial:
        """Return the next trial, with the recorded parameters if an earlier launch asked it.

        Args:
            now: the virtual time.

        Raises:
            HistoryMismatchError: if the record has another place in the order of events for this trial.
        """
        number = self.n_asked
        row = self._rows[number] if number < self.n_recorded else None
        asked = self._ask_view(row)
        params = dict(asked.params)
        config = self.spec.base if number == 0 else self.spec.space.configure(params)
        log = TrialLog(self.folder.log(number))
        is_in_space = not asked.state.is_finished()
        trial = LiveTrial(number, config, now, self._epoch_cost(config), log, is_in_space)
        place = {"virtual_start": now, "epoch_cost": trial.cost, "n_events": self.n_events}
        if row is None:
            self._table.add(asked, place)
        else:
            self._check_place(row, place)
            self._restore(trial, row)
        log.asked(number, params, config.to_mapping())
        self.n_asked += 1
        return trial

    def _ask_view(self, row: FrozenTrial | None) -> FrozenTrial:
        """Return the next trial as sampler and pruner see it; its row is given if an earlier launch asked it."""
        if self.n_asked == 0:
            point = self.spec.space.params_of_base()
            return self._view.add_unknown() if point is None else self._view.add(point, {"fixed_params": point})
        return self._view.ask() if row is None else self._view.add(row.params, row.system_attrs)

    def _check_place(self, row: FrozenTrial, place: dict[str, int]) -> None:
        for key, expected in place.items():
            if row.user_attrs.get(key) != expected:
                problem = f"{key} is recorded as {row.user_attrs.get(key)}, but would be {expected}"
                raise self._mismatch(row.number, problem)

    def _restore(self, trial: LiveTrial, row: FrozenTrial) -> None:
        """Restore what is known of a recorded trial: from its row if it has ended, otherwise from its checkpoint."""
        if row.state.is_finished():
            trial.finished_row = row
            trial.progress, trial.failure = self._outcome(row)
            if not trial.can_be_processed:
                raise self._mismatch(trial.number, "its row has no epochs")
            return
        logged = trial.log.record
        if logged is not None and logged.ending is not None and logged.ending.state == "failed":
            # The driver died between log and row. The failure is kept, because the trial may not fail a second time.
            trial.progress = Progress(b"", logged.history, logged.n_epochs, "running", 0, "", logged.ending.seconds)
            trial.failure = logged.ending
            return
        try:
            saved = TrainingState.from_bytes(self.folder.checkpoint(trial.number).read_bytes())
        except (FileNotFoundError, CorruptStateError):
            return  # the trial starts again from its first epoch, with the same results
        if saved.config == trial.config.to_mapping():
            trial.progress = Progress.of(saved)

    def _outcome(self, row: FrozenTrial) -> tuple[Progress, Ending | None]:
        """Return the progress and the failure of a finished row, as if they had just been computed."""
        values = [row.intermediate_values[epoch] for epoch in sorted(row.intermediate_values)]
        reason = row.user_attrs.get("reason", "")
        n_epochs = len(values)
        status: Status = "running"
        if row.state.name == "COMPLETE":
            status = "finished"
        elif reason == "diverged":
            status, n_epochs = "diverged", n_epochs + 1  # the epoch that diverged has no value
        kept_epoch = row.user_attrs.get("kept_epoch", 0)
        if row.state.name == "FAIL" and not reason:
            raise self._mismatch(row.number, "it failed without a reason")
        if status == "finished" and not 1 <= kept_epoch <= n_epochs:
            raise self._mismatch(row.number, f"it kept epoch {kept_epoch}, but its row has {n_epochs} epochs")
        progress = Progress(
            state=b"",
            history={self._metric: values},
            epoch=n_epochs,
            status=status,
            kept_epoch=kept_epoch,
            weight_digest=row.user_attrs.get("weight_digest", ""),
            seconds=row.user_attrs.get("seconds", 0.0),
        )
        return progress, Ending("failed", reason) if row.state.name == "FAIL" else None

    def process(self, trial: LiveTrial) -> bool:
        """Process the next epoch (or the failure) of a trial; return whether the trial has ended with it.

        Raises:
            HistoryMismatchError: if the record says something else.
        """
        now = trial.next_time
        ending = self._process_epoch(trial)
        self.n_events += 1
        if ending is not None:
            self._end(trial, ending, now)
        elif trial.finished_row is not None and not trial.can_be_processed:
            raise self._mismatch(trial.number, f"it ended after {trial.n_processed} epochs")
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
            return Ending("complete", "", kept, progress.kept_epoch, progress.weight_digest, seconds=progress.seconds)
        # Trial 0 is base, the configuration that all others are compared with: it is never pruned.
        if trial.number > 0 and self._view.should_prune(trial.number):
            return Ending("pruned", "pruner", value, epoch, seconds=progress.seconds)
        return None

    def _end(self, trial: LiveTrial, ending: Ending, now: int) -> None:
        """End a trial and record it. The state of the row is written last, so a finished row is always complete."""
        from optuna.trial import TrialState

        state = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}[ending.state]
        outcome = _outcome_text(state, ending.reason, trial.n_processed)
        row = trial.finished_row
        if row is not None:
            recorded = _outcome_text(row.state, row.user_attrs.get("reason", ""), len(row.intermediate_values))
            if recorded != outcome:
                raise self._mismatch(trial.number, f"it is recorded as {recorded}, but would be {outcome}")
        self.counts[ending.state] += 1
        self._update_best(trial.number, ending)
        if trial.is_in_space:
            self._view.tell(trial.number, state, ending.value)
        trial.log.ended(ending)
        if row is None:
            attributes = {
                "reason": ending.reason,
                "virtual_end": now,
                "kept_epoch": ending.kept_epoch,
                "weight_digest": ending.weight_digest,
                "seconds": ending.seconds,
            }
            self._table.finish(trial.number, trial.reported, attributes, state, ending.value)
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
        return HistoryMismatchError(
            f'study "{self.spec.study.name}", trial {number}: {problem}. The record was changed, or was made with '
            "other versions of this program or its libraries. Use those versions, or run the study under a new --name."
        )


def _outcome_text(state: TrialState, reason: str, n_epochs: int) -> str:
    return f"{state.name}{f' ({reason})' if reason else ''} after {n_epochs} epochs"
