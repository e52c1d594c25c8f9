"""The event log of a trial: an append-only file of JSON lines. Everything else about a trial is derived from it.

    {"event": "asked", "step": 12, "time": ..., "trial": 7, "params": {...}, "config": {...}, ..., "sha256": ...}
    {"event": "epoch", "step": 15, "time": ..., "epoch": 1, "metrics": {"train/loss": ..., "validation/accuracy": ...}}
    {"event": "paused", "step": 16, "time": ...}
    {"event": "promoted", "step": 31, "time": ..., "virtual_start": ...}
    {"event": "ended", "step": 36, "time": ..., "state": "complete", "reason": "", "value": 0.97, "kept_epoch": 1, ...}

The events of all trials of a study are numbered in one sequence, their steps, in the order in which the driver
processed them. An event is written when the driver processes it. The lines are chained by checksums that start with the
identity of the study and the number of the trial (`chained_lines`), so a damaged or edited log is refused. A driver
that replays a study after a crash compares what it would write with the events that exist, and does not write them
again, so times are those of the first processing. A crash while a line is written leaves an incomplete last line:
readers skip it, and the next driver cuts it off before it appends. The first line names the machine, and so does each
later line at which the machine is another one.

The end of a trial is synchronised with the disk, and with it all lines before it. What a power cut can take from a log
is the end of a trial that was still running, and these epochs are computed again.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mlp.errors import ConfigError, shown
from studies.errors import HistoryMismatchError, RecordError
from studies.records.chained_lines import ChainedLines, chain_start, read_chained_lines, sealed_line
from studies.records.files import sync_folder, writing
from studies.records.trial_record import Ending, Pause, Place, TrialRecord


class TrialLog:
    """Writes the log of one trial. Events of an earlier driver are kept; an incomplete last line is cut off.

    Args:
        file: the log, which may exist.
        identity: the identity of the study.
        machine: the machine that computes the trial now.

    Attributes:
        file: as given.
        record: the trial as logged so far; None before its first event.

    Raises:
        RecordError: if the log is damaged.
    """

    def __init__(self, file: Path, identity: str, machine: Mapping[str, str] | None = None) -> None:
        self.file = file
        self.record: TrialRecord | None = None
        self._machine = dict(machine or {})
        self._n_replayed = 0  # how many of the logged events have been compared with what is computed now
        self._checksum = chain_start(identity, trial_number(file))
        lines = read_lines(file, identity)
        if lines is not None:
            self.record = _trial(file, lines)
            self._checksum = lines.checksum
            cut_log(file, lines)

    def asked(
        self,
        step: int,
        number: int,
        params: dict[str, Any],
        config: dict[str, Any],
        place: Place | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> TrialRecord:
        """Log the start of the trial, or compare it with what is logged; return the trial as logged so far.

        Raises:
            HistoryMismatchError: if the log says something else.
        """
        content = {"trial": number, "params": params, "config": config, **asdict(place or Place())}
        content["attributes"] = dict(attributes or {})
        record = self.record
        if record is None:
            self.record = _trial_of(self._append("asked", step, content))
            self._n_replayed = 1
            return self.record
        known = {"trial": record.number, "params": record.params, "config": record.config, **asdict(record.place)}
        self._compare_step(step)
        self._compare(known | {"attributes": record.attributes}, content, "")
        return record

    def epoch(self, step: int, epoch: int, metrics: dict[str, float]) -> None:
        """Log the metrics of an epoch (counted from 1), an undefined one as null, or compare them with what is logged.

        Raises:
            HistoryMismatchError: if the log says something else.
        """
        record = self._started_record()
        if epoch > record.n_epochs:
            defined = {key: None if math.isnan(value) else value for key, value in metrics.items()}
            self._add("epoch", step, {"epoch": epoch, "metrics": defined})
            return
        logged = {key: values[epoch - 1] for key, values in record.history.items() if epoch <= len(values)}
        self._compare_step(step)
        self._compare(logged, metrics, f" of epoch {epoch}")

    def paused(self, step: int, seconds: float) -> None:
        """Log that the trial pauses after its last epoch, or compare the step with what is logged.

        Args:
            step: the step of the event.
            seconds: the compute time so far; it is not compared.

        Raises:
            HistoryMismatchError: if the log says something else.
        """
        if self._is_new():
            self._add("paused", step, {"seconds": seconds})
        else:
            self._compare_step(step)

    def promoted(self, step: int, virtual_start: int) -> None:
        """Log that the trial is promoted and continues at a virtual time, or compare it with what is logged.

        Raises:
            HistoryMismatchError: if the log says something else.
        """
        if self._is_new():
            self._add("promoted", step, {"virtual_start": virtual_start})
            return
        number = sum(start == "promoted" for at, start in self._started_record().starts.items() if at <= step)
        self._compare_step(step)
        pauses = self._started_record().pauses[:number]
        self._compare(
            {"virtual_start": pauses[-1].virtual_end if pauses else None}, {"virtual_start": virtual_start}, ""
        )

    def ended(self, step: int, ending: Ending) -> TrialRecord:
        """Log the end of the trial, or compare it with what is logged, except for the time; return the trial.

        Raises:
            HistoryMismatchError: if the log says something else.
        """
        record = self._started_record()
        if record.ending is None:
            self._add("ended", step, asdict(ending), sync=True)
            return record
        self._compare_step(step)
        logged, computed = asdict(record.ending), asdict(ending)
        for key in ("seconds", "error"):
            del logged[key], computed[key]
        self._compare(logged, computed, "")
        return record

    def _started_record(self) -> TrialRecord:
        if self.record is None:
            raise RuntimeError(f'{self.file} has no "asked" event.')
        return self.record

    def _is_new(self) -> bool:
        """Return whether all logged events have been compared, so that the next one is new."""
        return self._n_replayed >= len(self._started_record().steps)

    def _compare_step(self, step: int) -> None:
        """Compare the step of the next logged event."""
        steps = self._started_record().steps
        logged = steps[self._n_replayed] if self._n_replayed < len(steps) else None
        self._n_replayed += 1
        self._compare({"step": logged}, {"step": step}, "")

    def _add(self, event: str, step: int, content: dict[str, Any], *, sync: bool = False) -> None:
        _apply(self._started_record(), self._append(event, step, content, sync=sync))
        self._n_replayed += 1

    def _compare(self, logged: Mapping[str, Any], computed: Mapping[str, Any], of: str) -> None:
        for key in {**logged, **computed}:
            was, now = (json.dumps(content.get(key), sort_keys=True) for content in (logged, computed))
            if was != now:
                problem = f"{key}{of} is recorded as {shown(logged.get(key))}, but would be {shown(computed.get(key))}"
                place = f'study "{self.file.parents[1].name}", {log_title(self.file)}'
                raise HistoryMismatchError(place, problem)

    def _append(self, event: str, step: int, content: dict[str, Any], *, sync: bool = False) -> dict[str, Any]:
        line = {"event": event, "step": step, "time": time.time(), **content}
        if self._machine and (self.record is None or self.record.machines[-1:] != [self._machine]):
            line["machine"] = self._machine
        text, checksum = sealed_line(line, self._checksum)
        with writing(self.file), self.file.open("a", encoding="utf-8") as file:
            file.write(text)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        if sync:
            sync_folder(self.file.parent)
        self._checksum = checksum
        return line


def trial_number(log: Path) -> int:
    """Return the number of the trial that a log belongs to, from its name."""
    return int(log.stem)


def log_title(log: Path) -> str:
    """Return what messages call the trial or the other training that a log belongs to."""
    number, folder = trial_number(log), log.parent.name
    return f"trial {number}" if folder == "trials" else f"training {number} of the folder {folder}"


def read_log(file: Path, identity: str) -> TrialRecord | None:
    """Return the trial in a log, or None if the log has no complete line yet.

    Args:
        file: the log.
        identity: the identity of the study.

    Raises:
        RecordError: if the log cannot be read, or is damaged.
    """
    lines = read_lines(file, identity)
    return None if lines is None else _trial(file, lines)


def read_lines(file: Path, identity: str) -> ChainedLines | None:
    """Return the lines of a log up to the first damaged one, or None if there is no log.

    Raises:
        RecordError: if it cannot be read.
    """
    try:
        return read_chained_lines(file, chain_start(identity, trial_number(file)))
    except FileNotFoundError:
        return None
    except (OSError, ConfigError) as error:
        problem = error.problem if isinstance(error, ConfigError) else f"cannot be read: {error.strerror}."
        raise RecordError(f"{file}: {problem} It is the log of {log_title(file)}.") from None


def cut_log(file: Path, lines: ChainedLines) -> bytes:
    """Cut off what follows the good lines of a log, if anything does, and return it."""
    if file.stat().st_size == lines.n_bytes:
        return b""
    with writing(file), file.open("r+b") as log:
        log.seek(lines.n_bytes)
        rest = log.read()
        if rest:
            log.truncate(lines.n_bytes)
    return rest


def _trial(file: Path, lines: ChainedLines) -> TrialRecord | None:
    """Return the trial that the lines of a log describe, or None if there are none.

    Raises:
        RecordError: if one of them is damaged, or is not an event that this program writes at this place.
    """
    damage, record = lines.damage, None
    for number, line in enumerate(lines.contents):
        try:
            if number == 0:
                record = _trial_of(line)
            elif record is not None:
                _apply(record, line)
        except (LookupError, TypeError, AttributeError, ValueError):
            damage, lines = "is not an event of this version", ChainedLines(lines.contents[:number], "", 0)
            break
    if damage:
        raise RecordError(
            f"{file}: line {len(lines.contents) + 1} {damage}. It belongs to {log_title(file)}. Cut the log "
            f"there with `studies check {file.parents[1].name} --repair`; the next run computes the rest again."
        )
    return record


def _trial_of(line: Mapping[str, Any]) -> TrialRecord:
    return TrialRecord(
        line["trial"],
        line["params"],
        line["config"],
        line["time"],
        place=Place(line["virtual_start"], line["epoch_cost"]),
        attributes=line["attributes"],
        machines=[line["machine"]] if "machine" in line else [],
        steps=[line["step"]],
        starts={line["step"]: "asked"},
    )


def _apply(record: TrialRecord, line: Mapping[str, Any]) -> None:
    if record.ending is not None or line["step"] <= record.steps[-1]:
        raise ValueError("an event in the wrong place")
    match line["event"]:
        case "epoch":
            if line["epoch"] != record.n_epochs + 1 or record.state != "running":
                raise ValueError("an epoch in the wrong place")
            for key, value in line["metrics"].items():
                record.history.setdefault(key, []).append(math.nan if value is None else value)
            record.epoch_times.append(line["time"])
        case "paused":
            record.pauses.append(Pause(record.n_epochs, line["seconds"]))
        case "promoted":
            record.pauses[-1] = replace(record.pauses[-1], virtual_end=line["virtual_start"])
            record.starts[line["step"]] = "promoted"
        case _:
            record.ending = Ending(**{key: line[key] for key in Ending.__dataclass_fields__})
            record.ended = line["time"]
    record.steps.append(line["step"])
    if "machine" in line and line["machine"] not in record.machines:
        record.machines.append(line["machine"])
