"""What the study knows: the sampler and the pruner in memory, and the durable record of every trial.

All that Optuna's sampler and pruner see lives in memory and is a pure function of the events processed so far. The
database and the logs only record them. After a crash the same events are processed again, in the same order, and
each recorded decision is checked against the one made anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

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
from studies.search.domains import Params
from studies.search.spec import StudySpec

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial


@dataclass(eq=False)
class LiveTrial:
    """A trial between ask and tell.

    Attributes:
        params: what was chosen, as recorded.
        start: the virtual time of its ask.
        cost: the virtual cost of each of its epochs.
        log: its event log.
        recorded: its row, when an earlier launch has finished it.
        progress: what has been computed of it, which may be ahead of what is processed.
        processed: epochs processed.
        failure: how computing it failed, after `progress`.
        sampled: Optuna's trial in memory; None for a base that is no point of the space.
    """

    number: int
    config: TrainConfig
    params: Params
    start: int
    cost: int
    log: TrialLog
    sampled: Trial | None
    recorded: FrozenTrial | None = None
    progress: Progress | None = None
    processed: int = 0
    failure: Ending | None = None
    reported: dict[int, float] = field(default_factory=dict)

    @property
    def computed(self) -> int:
        """Epochs computed."""
        return self.progress.epoch if self.progress else 0

    @property
    def next_time(self) -> int:
        """The virtual time at which the next epoch to be processed is complete."""
        return self.start + self.cost * (self.processed + 1)

    @property
    def has_next(self) -> bool:
        """Whether the outcome of the next epoch is known."""
        return self.computed > self.processed or self.failure is not None

    @property
    def is_replayed(self) -> bool:
        """Whether an earlier launch has processed more of it than this one so far."""
        logged = self.log.record
        return self.recorded is not None or (
            logged is not None and (logged.n_epochs > self.processed or logged.ending is not None)
        )

    @property
    def is_computed(self) -> bool:
        """Whether there is nothing left to compute."""
        ended = self.progress is not None and self.progress.status != "running"
        return ended or self.failure is not None or self.recorded is not None


class Ledger:
    """Asks, reports, prunes and tells; records each of them, once.

    Args:
        spec: the study.
        folder: where logs and checkpoints are.
        table: the rows in Optuna's database.
        epoch_cost: the virtual cost of an epoch, by configuration.

    Attributes:
        n_asked: trials asked so far; `n_recorded` of them, or more, were asked by earlier launches.
        n_events: epochs and failures processed so far.
        counts: trials that have ended, by state.
        best: number and value of the best complete trial, the lowest number winning a tie.
    """

    def __init__(
        self, spec: StudySpec, folder: StudyFolder, table: StudyTable, epoch_cost: Callable[[TrainConfig], int]
    ) -> None:
        import optuna

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
        self._memory = optuna.create_study(
            direction=spec.direction, pruner=spec.study.pruner.build(), study_name=spec.study.name
        )
        self._point_of_base = spec.point_of_base()

    @property
    def n_ended(self) -> int:
        """How many trials have ended."""
        return self.counts.total()

    @property
    def n_recorded(self) -> int:
        """How many trials earlier launches have asked."""
        return len(self._rows)

    def may_ask(self, live: Sequence[LiveTrial]) -> bool:
        """Return whether the next trial's turn has come.

        A recorded one is asked again at its place in history. A new one waits until all that is recorded has been
        processed again, for when an earlier launch processed that, nothing new had been asked.
        """
        if self.n_asked < self.n_recorded:
            return bool(self._rows[self.n_asked].user_attrs.get("n_events", 0) <= self.n_events) or not live
        return not any(trial.is_replayed for trial in live)

    def ask(self, now: int) -> LiveTrial:
        """Return the next trial, asked at a virtual time, as recorded if it was asked before."""
        number = self.n_asked
        row = self._rows[number] if number < len(self._rows) else None
        sampled, params = self._sample(number) if row is None else self._recall(row)
        is_base = number == 0
        config = self.spec.base if is_base else self.spec.space.configure(params)
        log = TrialLog(self.folder.log(number))
        trial = LiveTrial(number, config, params, now, self._epoch_cost(config), log, sampled)
        place = {"virtual_start": now, "epoch_cost": trial.cost, "n_events": self.n_events}
        if row is None:
            self._record_ask(trial, place)
        else:
            self._restore(trial, row, place)
        log.asked(number, params, config.to_mapping())
        self.n_asked += 1
        return trial

    def _sample(self, number: int) -> tuple[Trial | None, Params]:
        if number == 0:
            if self._point_of_base is None:
                self._add_unseen()
                return None, {}
            self._memory.enqueue_trial(self._point_of_base)
        seed = np.random.SeedSequence(self.spec.study.seed, spawn_key=(number,)).generate_state(1)[0]
        self._memory.sampler = self.spec.study.sampler.build(int(seed), self.spec.study.parallelism)
        trial = self._memory.ask()
        return trial, self.spec.space.suggest(trial)

    def _add_unseen(self) -> None:
        """Keep the number of a base that is no point of the space; the sampler learns nothing from it."""
        from optuna.trial import TrialState, create_trial

        self._memory.add_trial(create_trial(state=TrialState.FAIL))

    def _recall(self, row: FrozenTrial) -> tuple[Trial | None, Params]:
        from optuna.trial import Trial, TrialState, create_trial

        if row.number == 0 and self._point_of_base is None:
            self._add_unseen()
            return None, {}
        asked = create_trial(
            state=TrialState.RUNNING,
            params=row.params,
            distributions=row.distributions,
            system_attrs=row.system_attrs,
        )
        self._memory.add_trial(asked)
        return Trial(self._memory, self._memory.get_trials(deepcopy=False)[-1]._trial_id), dict(row.params)

    def _record_ask(self, trial: LiveTrial, place: dict[str, int]) -> None:
        distributions = self.spec.space.distributions(trial.params)
        frozen = self._memory.get_trials(deepcopy=False)[trial.number]
        self._table.add(trial.params, distributions, frozen.system_attrs, place)

    def _restore(self, trial: LiveTrial, row: FrozenTrial, place: dict[str, int]) -> None:
        """Give a recorded trial what is known of it: its row if it has ended, else its checkpoint."""
        for key, expected in place.items():
            if row.user_attrs.get(key) != expected:
                problem = f"{key} is recorded as {row.user_attrs.get(key)}, but would be {expected}"
                raise HistoryMismatchError(self._mismatch(trial.number, problem))
        if row.state.is_finished():
            trial.recorded = row
            trial.progress, trial.failure = self._outcome(row)
            if not trial.has_next:
                raise HistoryMismatchError(self._mismatch(trial.number, "its row lacks every epoch"))
            return
        logged = trial.log.record
        if logged is not None and logged.ending is not None and logged.ending.state == "failed":
            # What failed stays so, though the driver died before it could write the row: it may not fail again.
            trial.progress = Progress(b"", logged.history, logged.n_epochs, "running", 0, "", logged.ending.seconds)
            trial.failure = logged.ending
            return
        try:
            saved = TrainingState.from_bytes(self.folder.checkpoint(trial.number).read_bytes())
        except (FileNotFoundError, CorruptStateError):
            return  # it begins anew, and comes to the same
        if saved.config == trial.config.to_mapping():
            trial.progress = Progress.of(saved)

    def _outcome(self, row: FrozenTrial) -> tuple[Progress, Ending | None]:
        """Return a finished row as if it had just been computed."""
        values = [row.intermediate_values[step] for step in sorted(row.intermediate_values)]
        reason = row.user_attrs.get("reason", "")
        n = len(values)
        status: Status = "running"
        if row.state.name == "COMPLETE":
            status = "finished"
        elif reason == "diverged":
            status, n = "diverged", n + 1
        kept, digest = row.user_attrs.get("kept_epoch", 0), row.user_attrs.get("weight_digest", "")
        if row.state.name == "FAIL" and not reason:
            raise HistoryMismatchError(self._mismatch(row.number, "it failed without a reason"))
        if status == "finished" and not 1 <= kept <= n:
            raise HistoryMismatchError(self._mismatch(row.number, f"it kept epoch {kept}, but its row has {n} epochs"))
        progress = Progress(b"", {self._metric: values}, n, status, kept, digest, row.user_attrs.get("seconds", 0.0))
        return progress, Ending("failed", reason) if row.state.name == "FAIL" else None

    def process(self, trial: LiveTrial) -> bool:
        """Process the next epoch of a trial whose outcome is known; return whether the trial has ended with it."""
        now = trial.next_time
        ending = self._next_ending(trial)
        self.n_events += 1
        if ending is None and trial.recorded is not None and not trial.has_next:
            raise HistoryMismatchError(self._mismatch(trial.number, f"it ended after {trial.processed} epochs"))
        if ending is None:
            return False
        self._end(trial, ending, now)
        return True

    def _next_ending(self, trial: LiveTrial) -> Ending | None:
        progress, epoch = trial.progress, trial.processed + 1
        if progress is None or epoch > progress.epoch:
            return trial.failure
        values = {key: series[epoch - 1] for key, series in progress.history.items() if epoch <= len(series)}
        last = trial.reported.get(trial.processed)
        if not values:
            return Ending("pruned", "diverged", last, progress.kept_epoch, seconds=progress.seconds)
        value = values[self._metric]
        trial.processed = epoch
        trial.reported[epoch] = value
        trial.log.epoch(epoch, values)
        if trial.sampled is not None:
            trial.sampled.report(value, epoch)
        if epoch == progress.epoch and progress.status in ("finished", "stopped"):
            kept = trial.reported[progress.kept_epoch]
            return Ending("complete", "", kept, progress.kept_epoch, progress.weight_digest, seconds=progress.seconds)
        # Trial 0 is the default that every other is compared with: it is never given up.
        if trial.sampled is not None and trial.number > 0 and trial.sampled.should_prune():
            return Ending("pruned", "pruner", value, epoch, seconds=progress.seconds)
        return None

    def _end(self, trial: LiveTrial, ending: Ending, now: int) -> None:
        """Tell the study of an end and record it: log first, row last, so that a row that has ended has everything."""
        from optuna.trial import TrialState

        state = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}[ending.state]
        self.counts[ending.state] += 1
        self._keep_best(trial.number, ending)
        if trial.sampled is not None:
            self._memory.tell(trial.sampled, ending.value if ending.state == "complete" else None, state)
        row = trial.recorded
        trial.log.ended(ending)
        if row is None:
            attrs = {
                "reason": ending.reason,
                "virtual_end": now,
                "kept_epoch": ending.kept_epoch,
                "weight_digest": ending.weight_digest,
                "seconds": ending.seconds,
            }
            self._table.finish(trial.number, trial.reported, attrs, state, ending.value)
        elif (was := _outcome_in_words(row)) != (new := f"{state.name} {ending.reason} after epoch {trial.processed}"):
            raise HistoryMismatchError(self._mismatch(trial.number, f"recorded is {was}, but it would be {new}"))
        self.folder.checkpoint(trial.number).unlink(missing_ok=True)

    def _keep_best(self, number: int, ending: Ending) -> None:
        if ending.state != "complete" or ending.value is None:
            return
        candidates = [(number, ending.value)] if self.best is None else [(number, ending.value), self.best]
        self.best = min(candidates, key=lambda candidate: rank(self._metric, *candidate))

    def save(self, trial: LiveTrial, progress: Progress) -> None:
        """Keep what has been computed of a trial, on disk and for `process`."""
        write_atomically(self.folder.checkpoint(trial.number), progress.state)
        trial.progress = progress

    def _mismatch(self, number: int, problem: str) -> str:
        return (
            f'study "{self.spec.study.name}", trial {number}: {problem}. The record was made by another version of '
            "this program or its libraries, or was changed. Run it under a new --name, or with those versions."
        )


def _outcome_in_words(row: FrozenTrial) -> str:
    return f"{row.state.name} {row.user_attrs.get('reason', '')} after epoch {len(row.intermediate_values)}"
