"""The event log of a trial: an append-only file of JSON lines. MLflow and every table are derived from it.

    {"event": "asked", "time": ..., "trial": 7, "params": {...}, "config": {...}}
    {"event": "epoch", "time": ..., "epoch": 1, "metrics": {"train/loss": ..., "validation/accuracy": ...}}
    {"event": "ended", "time": ..., "state": "complete", "reason": "", "value": 0.97, "kept_epoch": 1, ...}

An event is written when the driver processes it. A driver that replays a study after a crash finds the events that
exist and does not write them again, so times are those of the first processing. A crash while a line is written leaves
an incomplete last line: readers skip it, and the next driver cuts it off before it appends.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlp.scores import PARTS, best_epoch
from studies.records.files import writing

State = Literal["running", "complete", "pruned", "failed"]


@dataclass(frozen=True)
class Ending:
    """How a trial ended.

    Attributes:
        state: `complete`, `pruned` or `failed`.
        reason: `pruner` or `diverged` if pruned, the class of the error if failed, else empty.
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
    """

    number: int
    params: dict[str, Any]
    config: dict[str, Any]
    started: float
    history: dict[str, list[float]] = field(default_factory=dict)
    epoch_times: list[float] = field(default_factory=list)
    ending: Ending | None = None
    ended: float | None = None

    @property
    def state(self) -> State:
        """The state of the trial; `running` until its end is logged."""
        return self.ending.state if self.ending else "running"

    @property
    def value(self) -> float | None:
        """The value of the trial; None while it is running, and if it has none."""
        return self.ending.value if self.ending else None

    @property
    def n_epochs(self) -> int:
        """The number of logged epochs."""
        return len(self.epoch_times)

    @property
    def last_event(self) -> float:
        """The time of the last event, in seconds since 1970."""
        return max(self.started, *self.epoch_times[-1:], self.ended or 0.0)

    def summary(self) -> dict[str, float]:
        """Return `best/...` and `final/...` of every metric: its value at its own best epoch, and at the last epoch."""
        scored = [key for key in self.history if key.split("/")[0] in PARTS]
        best = {f"best/{key}": self.history[key][best_epoch(key, self.history) - 1] for key in scored}
        return {f"final/{key}": values[-1] for key, values in self.history.items()} | best


class TrialLog:
    """Writes the log of one trial. Events of an earlier driver are kept; an incomplete last line is cut off.

    Args:
        file: the log, which may exist.

    Attributes:
        file: as given.
        record: the trial as logged so far; None before its first event.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.record = read_log(file)
        if file.exists():
            _cut_incomplete_line(file)

    def asked(self, number: int, params: dict[str, Any], config: dict[str, Any]) -> None:
        """Log the start of the trial, unless it is logged."""
        if self.record is None:
            event = self._append("asked", {"trial": number, "params": params, "config": config})
            self.record = TrialRecord(number, params, config, event["time"])

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Log the metrics of an epoch (counted from 1), unless they are logged."""
        record = self._started_record()
        if epoch > record.n_epochs:
            _apply(record, self._append("epoch", {"epoch": epoch, "metrics": metrics}))

    def ended(self, ending: Ending) -> None:
        """Log the end of the trial, unless it is logged."""
        record = self._started_record()
        if record.ending is None:
            _apply(record, self._append("ended", asdict(ending)))

    def _started_record(self) -> TrialRecord:
        if self.record is None:
            raise RuntimeError(f'{self.file} has no "asked" event.')
        return self.record

    def _append(self, event: str, content: dict[str, Any]) -> dict[str, Any]:
        line = {"event": event, "time": time.time(), **content}
        with writing(self.file), self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        return line


def read_log(file: Path) -> TrialRecord | None:
    """Return the trial in a log, or None if the log has no complete line yet."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    lines = [json.loads(line) for line in text.split("\n")[:-1]]
    if not lines:
        return None
    first = lines[0]
    record = TrialRecord(first["trial"], first["params"], first["config"], first["time"])
    for line in lines[1:]:
        _apply(record, line)
    return record


def _apply(record: TrialRecord, line: dict[str, Any]) -> None:
    if line["event"] == "epoch":
        for key, value in line["metrics"].items():
            record.history.setdefault(key, []).append(value)
        record.epoch_times.append(line["time"])
    elif line["event"] == "ended":
        record.ending = Ending(**{key: value for key, value in line.items() if key not in ("event", "time")})
        record.ended = line["time"]


def _cut_incomplete_line(file: Path) -> None:
    data = file.read_bytes()
    length = data.rfind(b"\n") + 1
    if length < len(data):
        with file.open("r+b") as log:
            log.truncate(length)
