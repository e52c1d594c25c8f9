"""The event log of a trial: an append-only file of JSON lines, from which MLflow and every table are made.

    {"event": "asked", "time": ..., "trial": 7, "params": {...}, "config": {...}}
    {"event": "epoch", "time": ..., "epoch": 1, "metrics": {"train/loss": ..., "validation/accuracy": ...}}
    {"event": "ended", "time": ..., "state": "complete", "reason": "", "value": 0.97, "kept_epoch": 1, ...}

An event is written when the driver processes it, and once: a driver that replays a study finds it already there.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlp.scores import PARTS, best_epoch

State = Literal["running", "complete", "pruned", "failed"]


@dataclass(frozen=True)
class Ending:
    """How a trial ended.

    Attributes:
        state: `complete`, `pruned` or `failed`.
        reason: of a pruned trial `pruner` or `diverged`; of a failed one the class of its error; else empty.
        value: the metric of the weights that are kept; of a pruned trial its last one.
        kept_epoch: the epoch whose weights are kept; 0 without any.
        weight_digest: the SHA-256 of these weights; empty unless complete.
        error: the traceback of a failed trial.
        seconds: time spent computing.
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
    """A trial as its log tells it.

    Attributes:
        params: what was chosen, by dotted path, as recorded and shown.
        config: the complete configuration, as a mapping.
        history: a value an epoch, by metric key.
        epoch_times: when each epoch was processed, in seconds since 1970.
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
        """The state; `running` until the end is recorded."""
        return self.ending.state if self.ending else "running"

    @property
    def value(self) -> float | None:
        """The value of a trial that has ended."""
        return self.ending.value if self.ending else None

    @property
    def n_epochs(self) -> int:
        """Epochs processed."""
        return len(self.epoch_times)

    @property
    def last_event(self) -> float:
        """The time of the last event, in seconds since 1970."""
        return max(self.started, *self.epoch_times[-1:], self.ended or 0.0)

    def summary(self) -> dict[str, float]:
        """Return `best/...` and `final/...` of every metric; best is the best epoch of that metric."""
        judged = [key for key in self.history if key.split("/")[0] in PARTS]
        best = {f"best/{key}": self.history[key][best_epoch(key, self.history) - 1] for key in judged}
        return {f"final/{key}": values[-1] for key, values in self.history.items()} | best


class TrialLog:
    """Writes the log of one trial. What an earlier driver has written stays; a line it tore is cut off."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.record = read_log(file)
        if file.exists():
            _cut_torn_line(file)

    def asked(self, number: int, params: dict[str, Any], config: dict[str, Any]) -> None:
        """Record the beginning of the trial."""
        if self.record is None:
            event = self._append("asked", {"trial": number, "params": params, "config": config})
            self.record = TrialRecord(number, params, config, event["time"])

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Record an epoch, counted from 1."""
        record = self._begun()
        if epoch > record.n_epochs:
            _apply(record, self._append("epoch", {"epoch": epoch, "metrics": metrics}))

    def ended(self, ending: Ending) -> None:
        """Record the end."""
        record = self._begun()
        if record.ending is None:
            _apply(record, self._append("ended", asdict(ending)))

    def _begun(self) -> TrialRecord:
        if self.record is None:
            raise RuntimeError(f"{self.file} has no beginning.")
        return self.record

    def _append(self, event: str, content: dict[str, Any]) -> dict[str, Any]:
        line = {"event": event, "time": time.time(), **content}
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        return line


def read_log(file: Path) -> TrialRecord | None:
    """Return the trial that a log tells, or None before its first whole line."""
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


def _cut_torn_line(file: Path) -> None:
    data = file.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with file.open("r+b") as torn:
            torn.truncate(whole)
