"""The event log of a trial: round trips, replay, and crashes of the writer at any moment."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.errors import HistoryMismatchError
from studies.records.trial_log import TrialLog, read_log
from studies.records.trial_record import Ending, Place, TrialRecord

IDENTITY = "the identity of a study"
PARAMS = {"network.activation": "leaky_relu(slope=0.1)", "batch_size": 64, "optimizer.nesterov": True}
CONFIG = {"data": {"name": "digits"}, "epochs": 3, "note": "50\N{PER MILLE SIGN} — no ASCII"}
EPOCHS = [
    {"train/loss": 1.5, "validation/accuracy": 0.1},
    {"train/loss": 0.1 + 0.2, "validation/accuracy": 0.9},
    {"train/loss": 1e-300, "validation/accuracy": 0.5},
]
ENDING = Ending("complete", "", 0.9, 2, "f" * 64, seconds=1.25)
FAILURE = Ending("failed", "ValueError", error='Traceback:\n  line "1"\nValueError: ä', seconds=0.5)
N_EVENTS = len(EPOCHS) + 2


def write(log: TrialLog, ending: Ending | None = ENDING) -> None:
    """Write all events, as a driver that replays a study does."""
    log.asked(0, 7, PARAMS, CONFIG)
    for epoch, metrics in enumerate(EPOCHS, start=1):
        log.epoch(epoch, epoch, metrics)
    if ending is not None:
        log.ended(1000, ending)


def read(file: Path) -> TrialRecord:
    record = read_log(file, IDENTITY)
    assert record is not None
    return record


def events_without_times(file: Path) -> list[dict[str, object]]:
    """Return the events of a log without their times."""
    return [
        {k: v for k, v in json.loads(line).items() if k not in ("time", "sha256")}
        for line in file.read_text().splitlines()
    ]


@pytest.fixture(scope="module")
def complete_log(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("log") / "0007.jsonl"
    write(TrialLog(file, IDENTITY))
    return file.read_bytes()


@pytest.mark.parametrize("ending", [None, ENDING, FAILURE, Ending("pruned", "diverged")])
def test_what_is_written_is_read_back(tmp_path: Path, ending: Ending | None) -> None:
    log = TrialLog(tmp_path / "0007.jsonl", IDENTITY)
    write(log, ending)
    record = read(log.file)
    assert record == log.record
    assert (record.number, record.params, record.config) == (7, PARAMS, CONFIG)
    assert record.history == {key: [metrics[key] for metrics in EPOCHS] for key in EPOCHS[0]}
    assert record.ending == ending
    assert record.state == (ending.state if ending else "running")
    assert record.value == (ending.value if ending else None)
    assert record.n_epochs == len(EPOCHS)


@settings(deadline=None, max_examples=50)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_every_number_is_read_back_to_the_last_bit(
    values: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = TrialLog(tmp_path_factory.mktemp("log") / "0007.jsonl", IDENTITY)
    log.asked(0, 0, {}, {})
    for epoch, value in enumerate(values, start=1):
        log.epoch(epoch, epoch, {"train/loss": value})
    assert [value.hex() for value in read(log.file).history["train/loss"]] == [value.hex() for value in values]


def test_each_event_is_one_line_of_json_with_its_time(tmp_path: Path) -> None:
    log = TrialLog(tmp_path / "0007.jsonl", IDENTITY)
    write(log)
    events = [json.loads(line) for line in log.file.read_text().split("\n")[:-1]]
    assert [event["event"] for event in events] == ["asked", "epoch", "epoch", "epoch", "ended"]
    times = [event["time"] for event in events]
    assert times == sorted(times)
    record = read(log.file)
    assert [record.started, *record.epoch_times, record.ended] == times


def test_replaying_keeps_the_times_of_the_events(tmp_path: Path) -> None:
    file = tmp_path / "0007.jsonl"
    write(TrialLog(file, IDENTITY))
    before = read(file)
    write(TrialLog(file, IDENTITY))
    assert read(file) == before


def test_a_replayed_event_is_not_written_again(tmp_path: Path) -> None:
    file = tmp_path / "0007.jsonl"
    write(TrialLog(file, IDENTITY))
    content = file.read_bytes()
    write(TrialLog(file, IDENTITY), replace(ENDING, seconds=9.0))  # the time it took is that of the first processing
    assert file.read_bytes() == content


def test_an_event_that_differs_from_the_log_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "digits" / "trials" / "0007.jsonl"
    file.parent.mkdir(parents=True)
    write(TrialLog(file, IDENTITY))
    content = file.read_bytes()
    log = TrialLog(file, IDENTITY)
    with pytest.raises(HistoryMismatchError, match=r'study "digits", trial 7: params is recorded as .* would be {}'):
        log.asked(0, 7, {}, CONFIG)
    log = TrialLog(file, IDENTITY)
    with pytest.raises(HistoryMismatchError, match="step is recorded as 0, but would be 3"):
        log.asked(3, 7, PARAMS, CONFIG)
    log = TrialLog(file, IDENTITY)
    with pytest.raises(HistoryMismatchError, match="virtual_start is recorded as 0, but would be 3"):
        log.asked(0, 7, PARAMS, CONFIG, Place(virtual_start=3))
    with pytest.raises(HistoryMismatchError, match="validation/loss of epoch 1 is recorded as None"):
        log.epoch(1, 1, EPOCHS[0] | {"validation/loss": 0.3})
    with pytest.raises(HistoryMismatchError, match=r"train/loss of epoch 2 is recorded as 0\.30000000000000004"):
        log.epoch(2, 2, EPOCHS[1] | {"train/loss": 0.3})
    log.epoch(3, 3, EPOCHS[2])
    with pytest.raises(HistoryMismatchError, match="state is recorded as 'complete', but would be 'pruned'"):
        log.ended(1000, Ending("pruned", "pruner"))
    assert file.read_bytes() == content


def test_events_are_in_the_file_as_soon_as_they_are_written(tmp_path: Path) -> None:
    log = TrialLog(tmp_path / "0007.jsonl", IDENTITY)
    log.asked(0, 7, PARAMS, CONFIG)
    assert read(log.file).n_epochs == 0
    log.epoch(1, 1, EPOCHS[0])
    assert read(log.file).n_epochs == 1


def test_a_log_that_is_missing_or_empty_has_no_trial(tmp_path: Path) -> None:
    file = tmp_path / "0007.jsonl"
    assert read_log(file, IDENTITY) is None
    assert TrialLog(file, IDENTITY).record is None
    file.write_bytes(b"")
    assert read_log(file, IDENTITY) is None
    write(TrialLog(file, IDENTITY))
    assert read(file).ending == ENDING


def test_no_file_is_created_before_the_first_event(tmp_path: Path) -> None:
    assert not TrialLog(tmp_path / "0007.jsonl", IDENTITY).file.exists()


def test_an_epoch_or_end_before_the_first_event_is_an_error(tmp_path: Path) -> None:
    log = TrialLog(tmp_path / "0007.jsonl", IDENTITY)
    with pytest.raises(RuntimeError, match=r'0007\.jsonl has no "asked" event'):
        log.epoch(1, 1, EPOCHS[0])
    with pytest.raises(RuntimeError, match=r'0007\.jsonl has no "asked" event'):
        log.ended(1000, ENDING)
    assert not log.file.exists()


def test_an_undefined_metric_is_null_in_the_log_and_nan_when_read(tmp_path: Path) -> None:
    log = TrialLog(tmp_path / "0007.jsonl", IDENTITY)
    log.asked(0, 7, PARAMS, CONFIG)
    log.epoch(1, 1, {"validation/loss": 0.5, "validation/roc_auc": math.nan})
    assert '"validation/roc_auc": null' in log.file.read_text()
    for record in (read(log.file), log.record):
        assert record is not None
        assert math.isnan(record.history["validation/roc_auc"][0])
        assert math.isnan(record.summary()["best/validation/roc_auc"])


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_a_metric_that_is_infinite_is_refused_and_the_log_is_unchanged(tmp_path: Path, value: float) -> None:
    log = TrialLog(tmp_path / "0007.jsonl", IDENTITY)
    log.asked(0, 7, PARAMS, CONFIG)
    before = log.file.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        log.epoch(1, 1, {"train/loss": value})
    assert log.file.read_bytes() == before
    write(TrialLog(log.file, IDENTITY))
    assert read(log.file).n_epochs == len(EPOCHS)


def test_an_incomplete_last_line_is_cut_off_before_the_log_continues(tmp_path: Path, complete_log: bytes) -> None:
    file = tmp_path / "0007.jsonl"
    lines = complete_log.splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2]) + b'{"event": "epo')
    assert read(file).n_epochs == 1
    log = TrialLog(file, IDENTITY)
    assert file.read_bytes() == b"".join(lines[:2])
    log.epoch(2, 2, EPOCHS[1])
    assert read(file).history["validation/accuracy"] == [0.1, 0.9]


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_log_that_is_cut_anywhere_can_be_read_and_completed(
    data: st.DataObject, complete_log: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cut = data.draw(st.integers(0, len(complete_log)))
    file = tmp_path_factory.mktemp("log") / "0007.jsonl"
    file.write_bytes(complete_log[:cut])
    n_complete = complete_log[:cut].count(b"\n")
    record = read_log(file, IDENTITY)
    events = 0 if record is None else 1 + record.n_epochs + (record.ending is not None)
    assert events == n_complete
    write(TrialLog(file, IDENTITY))
    kept = b"".join(complete_log.splitlines(keepends=True)[:n_complete])
    assert file.read_bytes().startswith(kept)
    complete = file.with_name("complete.jsonl")
    complete.write_bytes(complete_log)
    assert events_without_times(file) == events_without_times(complete)
    assert len(events_without_times(file)) == N_EVENTS


def test_the_summary_has_the_best_and_the_last_value_of_every_metric(tmp_path: Path) -> None:
    log = TrialLog(tmp_path / "0007.jsonl", IDENTITY)
    write(log)
    assert read(log.file).summary() == {
        "final/train/loss": 1e-300,
        "final/validation/accuracy": 0.5,
        "best/train/loss": 1e-300,
        "best/validation/accuracy": 0.9,
    }


def test_a_trial_without_epochs_has_an_empty_summary(tmp_path: Path) -> None:
    log = TrialLog(tmp_path / "0007.jsonl", IDENTITY)
    log.asked(0, 7, PARAMS, CONFIG)
    assert read(log.file).summary() == {}
