"""The ledger: everything the driver knows of a study, and the record that a later driver resumes from.

Every event of a study has a number, its step, and the log of its trial records it: a trial is asked, processes an
epoch, pauses, is promoted, ends. Which trial is next follows from virtual time; what happens to it is decided by
`Decisions`. A trial has diverged, or has failed, at a step of its own.

Resuming is a replay. A study is a pure function of its events, so a driver that starts with the same study asks the
recorded trials again, at the steps at which they were asked the first time; it processes the recorded epochs again in
the order of virtual time, and every decision is made again. Everything that would be logged is compared with the log,
and a difference stops the driver (`HistoryMismatchError`), because the rest of the record could not be trusted either.
A trial whose log is lost although later steps are recorded is asked again where it must have been: as soon as a slot
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

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from mlp.config import TrainConfig
from mlp.scores import on_folds
from studies.errors import HistoryMismatchError
from studies.records.files import write_atomically
from studies.records.home import StudyFolder
from studies.records.limits import Limits
from studies.records.study_record import EnqueuedRecord
from studies.records.trial_log import TrialLog
from studies.records.trial_record import Ending, Place, Start, TrialRecord
from studies.running.live_trial import AbstractLedger, LiveTrial, Snapshot
from studies.running.repetitions import Repetitions
from studies.running.rows import first_rows, read_trials, row_of, trial_state
from studies.running.segments import Progress
from studies.running.storage import StudyTable
from studies.search.domains import Params
from studies.search.spec import StudySpec


class Ledger(AbstractLedger):
    """Asks, reports, pauses, promotes, prunes and ends the trials of a study; records each step once.

    Args:
        spec: the study.
        folder: the folder of event logs and checkpoints.
        table: the study's rows in Optuna's database, which are compared with the logs now.
        epoch_cost: returns the virtual cost of one epoch of a configuration.
        identity: the identity of the study, with which its logs begin.
        machine: the machine that computes new epochs, as logs name it.
        limits: the limits of the search, in the order of the steps from which on they hold; by default those of `spec`.
        added: the configurations that launches enqueued; they come after those of `spec`.

    Attributes:
        damage: what was wrong with the rows, so that they were made again from the logs; empty if nothing was.
        step: the step of the next event.
        decisions: what the study decides.
        counts: the number of trials that have ended, by state.

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
        limits: Sequence[Limits] = (),
        added: Sequence[EnqueuedRecord] = (),
    ) -> None:
        from studies.running.decisions import Decisions  # loads Optuna, which takes half a second

        self.spec = spec
        self.folder = folder
        self.parallelism = spec.study.parallelism
        self.step = 0
        self.counts: Counter[str] = Counter()
        self._limits = tuple(limits) or (spec.limits,)
        self.decisions = Decisions(spec, self._limits[0])
        self._enqueued = deque([*(EnqueuedRecord(step=0, params=params) for params in spec.enqueued), *added])
        self._repetitions = Repetitions()
        self._table = table
        self._epoch_cost = epoch_cost
        self._identity = identity
        self._machine = dict(machine or {})
        self._metric = spec.study.metric
        self._recorded = read_trials(folder, identity)
        self._starts: dict[int, tuple[Start, int]] = {}
        for number, trial in self._recorded.items():
            self._starts |= {step: (start, number) for step, start in trial.starts.items()}
        self._recorded_steps = {step for trial in self._recorded.values() for step in trial.steps}
        rows = first_rows(self._recorded, spec)
        self.damage = table.reconcile(rows)
        self._n_rows = len(rows)
        self._paused: dict[int, LiveTrial] = {}
        self._n_resumed = 0

    @property
    def n_enqueued(self) -> int:
        """The number of enqueued configurations that have not been asked yet."""
        return len(self._enqueued)

    @property
    def lost(self) -> list[int]:
        """The trials whose logs are lost although a later trial has one."""
        return [number for number in range(max(self._recorded, default=-1) + 1) if number not in self._recorded]

    def end_search(self) -> Limits:
        """End the search now, because its time is over: nothing starts any more, and nothing that runs continues.

        Returns:
            The limits that hold from this step on; they must be recorded before the driver continues.
        """
        self._limits = (*self._limits, replace(self._limits[-1], step=self.step, is_over=True))
        return self._limits[-1]

    def start_next(self, now: int) -> LiveTrial | None:
        self._update_limits()
        if self.step in self._starts:
            start, number = self._starts[self.step]
            return self._ask(now) if start == "asked" else self._promote(number, now)
        if self.step in self._recorded_steps:
            return None  # the next thing that happened was something else
        number_or_none = self.decisions.next_start()
        if number_or_none is None:
            return None
        return self._ask(now) if number_or_none == self.decisions.n_asked else self._promote(number_or_none, now)

    def _update_limits(self) -> None:
        """Let the limits decide that hold at this step."""
        self.decisions.limits = [limits for limits in self._limits if limits.step <= self.step][-1]

    def _ask(self, now: int) -> LiveTrial:
        """Return the next trial, with the recorded parameters if an earlier launch asked it.

        Raises:
            HistoryMismatchError: if its log has another place in the history for this trial.
        """
        number = self.decisions.n_asked
        recorded = self._recorded.get(number)
        asked = self.decisions.ask(recorded, self._next_enqueued(number))
        params = dict(asked.params)
        chosen = self.spec.base if number == 0 else self.spec.space.configure(params)
        config = self._repetitions.next_config(chosen, params)
        self.decisions.begin(asked, config.epochs)
        log = TrialLog(self.folder.log(number), self._identity, self._machine)
        trial = LiveTrial(number, config, now, self._epoch_cost(config), log, self.decisions.course(number).stop)
        record = log.asked(
            self._next_step(), number, params, config.to_mapping(), Place(now, trial.cost), asked.system_attrs
        )
        if number >= self._n_rows:
            self._table.add(row_of(record, self.spec))
            self._n_rows += 1
        if recorded is not None:
            self._restore(trial, recorded)
        return trial

    def _next_enqueued(self, number: int) -> Params | None:
        """Remove and return the parameters that are enqueued for a trial; None if there are none.

        The answer depends on the step only, so that a replay enqueues them at the same trials.
        """
        if number == 0 or not self._enqueued or self._enqueued[0].step > self.step:
            return None
        return dict(self._enqueued.popleft().params)

    def _promote(self, number: int, now: int) -> LiveTrial:
        """Continue a paused trial.

        Raises:
            HistoryMismatchError: if it is not paused.
        """
        trial = self._paused.pop(number, None)
        if trial is None:
            raise self._mismatch(number, f"step {self.step} promotes it, but it is not paused")
        self.decisions.promote(number)
        trial.log.promoted(self._next_step(), now)
        trial.start, trial.n_before, trial.stop = now, trial.n_processed, self.decisions.course(number).stop
        return trial

    def _next_step(self) -> int:
        step, self.step = self.step, self.step + 1
        return step

    def _restore(self, trial: LiveTrial, recorded: TrialRecord) -> None:
        """Restore what is known of a recorded trial: from its log if it has ended or is paused, else its checkpoint."""
        if recorded.ending is not None:
            trial.restore(recorded, recorded.ending)
            if not trial.can_be_processed and not trial.was_stopped:
                raise self._mismatch(trial.number, "its log has no epochs")
        elif recorded.state == "paused":
            seconds = recorded.pauses[-1].seconds
            trial.progress = Progress(b"", recorded.history, recorded.n_epochs, "running", 0, "", seconds)
        else:
            self.load(trial)

    def load(self, trial: LiveTrial) -> None:
        trial.load(self.folder.checkpoint(trial.number))

    def process(self, trial: LiveTrial) -> bool:
        """Process the next epoch (or the failure) of a trial; return whether the trial gives up its slot with it.

        Raises:
            HistoryMismatchError: if the record says something else.
        """
        ending = self._process_epoch(trial)
        if ending is not None:
            self._end(trial, ending)
        elif trial.number in self._paused:
            return True
        elif trial.ended_before and not trial.can_be_processed and not trial.was_stopped:
            raise self._mismatch(trial.number, f"it is recorded as ended after {trial.n_processed} epochs")
        return ending is not None

    def _process_epoch(self, trial: LiveTrial) -> Ending | None:
        """Log and report the next epoch; return how the trial ends with it, or None if it continues or pauses."""
        metrics = trial.next_metrics()
        if metrics is None:
            return trial.ending_without_epoch()
        trial.log.epoch(self._next_step(), trial.n_processed + 1, metrics)
        value = trial.report(metrics, self._metric)
        ending = trial.ending_at_last_epoch()
        folds = on_folds(self._metric, metrics)
        verdict = self.decisions.report(trial.number, value, is_last=ending is not None, folds=folds)
        if verdict == "prune":
            return trial.pruned("pruner")
        if verdict == "pause" and trial.progress is not None:
            trial.log.paused(self._next_step(), trial.progress.seconds)
            trial.progress = replace(trial.progress, state=b"")  # many trials may be paused; the checkpoint has it
            self._paused[trial.number] = trial
        return ending

    def close_next(self, live: Sequence[LiveTrial]) -> LiveTrial | None:
        """End one of the trials that cannot continue: a paused one, or, if the search is over, one that is running.

        Returns:
            The trial, or None if there is none.
        """
        self._update_limits()
        waiting = [*self._paused.values()] if not live or self.decisions.is_over else []
        if self.decisions.is_over:
            waiting += live
        trial = min(waiting, key=lambda trial: trial.number, default=None)
        if trial is not None:
            reason = "not_promoted" if self._paused.pop(trial.number, None) else "stopped"
            self._end(trial, trial.pruned(reason))
        return trial

    def _end(self, trial: LiveTrial, ending: Ending) -> None:
        """End a trial and record it: first in its log, then in its row, whose state is written last."""
        record = trial.log.ended(self._next_step(), ending)
        self.counts[ending.state] += 1
        self._n_resumed += trial.ended_before
        self.decisions.end(trial.number, trial_state(ending.state), ending.value)
        if not trial.ended_before:
            self._table.finish(row_of(record, self.spec))
        self.folder.checkpoint(trial.number).unlink(missing_ok=True)

    def save(self, trial: LiveTrial, progress: Progress) -> None:
        write_atomically(self.folder.checkpoint(trial.number), progress.state)
        trial.progress = progress

    def snapshot(self, n_running: int) -> Snapshot:
        limits = self._limits[-1]
        return Snapshot(
            total=limits.trials,
            asked=self.decisions.n_asked,
            done=self.counts.total(),
            running=n_running,
            paused=len(self._paused),
            pruned=self.counts["pruned"],
            failed=self.counts["failed"],
            resumed=self._n_resumed,
            epochs=self.decisions.n_epochs,
            max_epochs=limits.epochs,
            best=self.decisions.best,
        )

    def _mismatch(self, number: int, problem: str) -> HistoryMismatchError:
        return HistoryMismatchError(f'study "{self.spec.study.name}", trial {number}', problem)
