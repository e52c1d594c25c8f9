"""A trial as its log describes it: its place in the study, its epochs and pauses, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mlp.scores import PARTS, SPREAD, best_epoch, without_folds

State = Literal["running", "paused", "complete", "pruned", "failed"]
Start = Literal["asked", "promoted"]
BY_PRUNER = ("pruner", "not_promoted")  # the reasons with which a pruner ends a trial


@dataclass(frozen=True)
class Ending:
    """How a trial ended.

    Attributes:
        state: `complete`, `pruned` or `failed`.
        reason: if pruned, `pruner`, `not_promoted` (paused until the search ended), `stopped` (running when the search
            was ended early), `diverged` or `undefined` (the metric of the kept epoch); if failed, the class of the
            error; else empty.
        value: the metric at the kept epoch if complete, at the last epoch if pruned, else None.
        kept_epoch: the epoch whose weights are kept, counted from 1; 0 if no weights are kept.
        weight_digest: the SHA-256 of the kept weights; empty unless complete.
        error: the traceback if failed, else empty.
        seconds: the compute time.
    """

    state: State
    reason: str = ""
    value: float | None = None
    kept_epoch: int = 0
    weight_digest: str = ""
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Place:
    """The place of a trial in the history of its study.

    Attributes:
        virtual_start: the virtual time at which it was asked.
        epoch_cost: the virtual cost of each of its epochs.
    """

    virtual_start: int = 0
    epoch_cost: int = 0


@dataclass(frozen=True)
class Pause:
    """A pause of a trial, at a rung.

    Attributes:
        epoch: the last epoch before it.
        seconds: the compute time up to it.
        virtual_end: the virtual time at which the trial was promoted; None as long as it is paused.
    """

    epoch: int
    seconds: float
    virtual_end: int | None = None


@dataclass
class TrialRecord:
    """A trial, as read from its log.

    Attributes:
        number: the number of the trial in its study, counted from 0.
        params: the searched parameters by dotted path, as recorded and shown.
        config: the complete configuration, as a mapping.
        started: the time of the event "asked", in seconds since 1970.
        history: one value per epoch, by metric key.
        epoch_times: the time at which each epoch was processed, in seconds since 1970.
        ending: how the trial ended; None while it is running.
        ended: the time of the end, in seconds since 1970; None while it is running.
        place: its place in the history of the study.
        attributes: Optuna's system attributes of the trial, as they were when it was asked.
        machines: the machines that computed it, in the order of their first event.
        pauses: its pauses, in order.
        steps: the step of each event in the history of the study, in order.
        starts: the steps at which it was asked and promoted.
    """

    number: int
    params: dict[str, Any]
    config: dict[str, Any]
    started: float
    history: dict[str, list[float]] = field(default_factory=dict)
    epoch_times: list[float] = field(default_factory=list)
    ending: Ending | None = None
    ended: float | None = None
    place: Place = Place()
    attributes: dict[str, Any] = field(default_factory=dict)
    machines: list[dict[str, str]] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    starts: dict[int, Start] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The state of the trial; `running` or `paused` until its end is logged."""
        if self.ending is not None:
            return self.ending.state
        return "paused" if self.pauses and self.pauses[-1].virtual_end is None else "running"

    @property
    def value(self) -> float | None:
        """The value of the trial; None while it is running, and if it has none."""
        return self.ending.value if self.ending else None

    @property
    def was_cut_short(self) -> bool:
        """Whether a pruner ended the trial, which could have been trained further."""
        return self.ending is not None and self.ending.reason in BY_PRUNER and self.value is not None

    @property
    def n_epochs(self) -> int:
        """The number of logged epochs."""
        return len(self.epoch_times)

    @property
    def virtual_end(self) -> int:
        """The virtual time at which the last event of the trial was processed."""
        start, before = self.place.virtual_start, 0
        for pause in self.pauses:
            if pause.virtual_end is not None:
                start, before = pause.virtual_end, pause.epoch
        has_no_epoch = self.ending is not None and (self.ending.state == "failed" or self.ending.reason == "diverged")
        return start + self.place.epoch_cost * (self.n_epochs - before + has_no_epoch)

    @property
    def last_event(self) -> float:
        """The time of the last event, in seconds since 1970."""
        return max(self.started, *self.epoch_times[-1:], self.ended or 0.0)

    @property
    def averages(self) -> dict[str, list[float]]:
        """The history without the metrics of single folds."""
        return without_folds(self.history)

    def summary(self) -> dict[str, float]:
        """Return `best/...` and `final/...` of every metric: its value at its own best epoch, and at the last epoch."""
        scored = [key for key in self.averages if key.split("/")[0] in PARTS and not key.endswith(SPREAD)]
        best = {f"best/{key}": self.history[key][best_epoch(key, self.history) - 1] for key in scored}
        return {f"final/{key}": values[-1] for key, values in self.averages.items()} | best
