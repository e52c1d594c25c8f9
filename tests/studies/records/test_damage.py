"""Three hundred damaged logs and study records: each is refused with one line, or has the same content."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from studies.errors import RecordError
from studies.records.home import Home, StudyFolder
from studies.records.trial_log import TrialLog, read_log
from studies.records.trial_record import Ending
from tests.record_data import study_record

N_MUTATIONS = 300


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = Home(tmp_path).study("digits")
    folder.trials.mkdir(parents=True)
    fingerprint = {"study.seed": 0, "base.epochs": 3, "base.optimizer.learning_rate": 1e-3}
    folder.write_record(study_record(fingerprint=fingerprint).with_launch(1.5, {"cpu": "Z80"}))
    for number in (7, 8):
        log = TrialLog(folder.log(number), folder.read_record().identity, {"cpu": "Z80"})
        log.asked(0, number, {"epochs": 3}, {"epochs": 3, "note": "50 \N{PER MILLE SIGN}"})
        for epoch in range(1, 4):
            log.epoch(epoch, epoch, {"train/loss": 1 / epoch, "validation/accuracy": 0.1 * epoch * number})
        log.ended(1000, Ending("complete", "", 0.3 * number, 3, "f" * 64, seconds=1.25))
    return folder


def flip(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :]


def replace(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + dice.choice(b'0123456789"{}[],:.\n \x00').to_bytes() + data[at + 1 :]


def delete(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + data[at + dice.choice([1, 2, 10, 300]) :]


def insert(data: bytes, dice: random.Random) -> bytes:
    at, text = dice.randrange(len(data)), dice.choice([b"0", b"\n", b"{}\n", b"7\n", b"[" * 5000, b"\xff", b"\x00" * 9])
    return data[:at] + text + data[at:]


def swap_lines(data: bytes, dice: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    one, two = dice.sample(range(len(lines)), 2)
    lines[one], lines[two] = lines[two], lines[one]
    return b"".join(lines)


def double_line(data: bytes, dice: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    at = dice.randrange(len(lines))
    return b"".join([*lines[: at + 1], *lines[at:]])


def drop_line(data: bytes, dice: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    at = dice.randrange(len(lines))
    return b"".join(lines[:at] + lines[at + 1 :])


Mutation = Callable[[bytes, random.Random], bytes]
MUTATIONS: list[Mutation] = [flip, replace, delete, insert, swap_lines, double_line, drop_line]


def is_one_line(error: RecordError, file: Path) -> bool:
    return "\n" not in str(error) and str(error).startswith(f"{file}: ") and len(str(error)) < 1200


def test_a_damaged_log_is_refused_or_ends_before_the_damage(folder: StudyFolder) -> None:
    """A log that ends early is one that a kill or a power cut can leave: the next run completes it."""
    identity, file, dice = folder.read_record().identity, folder.log(7), random.Random(0)
    intact, refused, accepted = file.read_bytes(), 0, 0
    full = read_log(file, identity)
    assert full is not None
    for _ in range(N_MUTATIONS):
        damaged = dice.choice(MUTATIONS)(intact, dice)
        file.write_bytes(damaged)
        try:
            found = read_log(file, identity)
        except RecordError as error:
            refused += is_one_line(error, file) and "It belongs to trial 7." in str(error)
            continue
        accepted += 1
        n_lines = damaged.count(b"\n")
        assert intact.splitlines(keepends=True)[:n_lines] == damaged.splitlines(keepends=True)[:n_lines]
        if found is not None:
            assert (found.params, found.config, found.place) == (full.params, full.config, full.place)
            assert all(values == full.history[key][: found.n_epochs] for key, values in found.history.items())
            assert found.ending in (None, full.ending)
    assert refused == N_MUTATIONS - accepted > N_MUTATIONS // 2


def test_logs_of_two_trials_cannot_be_swapped(folder: StudyFolder) -> None:
    seven, eight = folder.log(7).read_bytes(), folder.log(8).read_bytes()
    folder.log(7).write_bytes(eight)
    folder.log(8).write_bytes(seven)
    for number in (7, 8):
        with pytest.raises(RecordError, match=rf"line 1 does not fit its checksum.* It belongs to trial {number}\."):
            read_log(folder.log(number), folder.read_record().identity)


def test_a_log_of_a_study_with_other_settings_is_refused(folder: StudyFolder) -> None:
    other = study_record(fingerprint={"study.seed": 1})
    with pytest.raises(RecordError, match="line 1 does not fit its checksum"):
        read_log(folder.log(7), other.identity)


@pytest.mark.parametrize("name", ["folder", "pipe"])
def test_something_else_with_the_name_of_a_log_is_refused(folder: StudyFolder, name: str) -> None:
    folder.log(7).unlink()
    folder.log(7).mkdir() if name == "folder" else os.mkfifo(folder.log(7))
    with pytest.raises(RecordError, match=rf"0007\.jsonl: must be a regular file, got a {name}\. It is the log of"):
        read_log(folder.log(7), folder.read_record().identity)


def test_files_that_do_not_belong_to_the_study_are_ignored(folder: StudyFolder) -> None:
    for name in ("notes.jsonl", "00007.jsonl", "7.jsonl", "0007 copy.jsonl", "0009.jsonl.damaged-1", "-001.jsonl"):
        (folder.trials / name).write_text("garbage\n")
    (folder.trials / "model.npz").touch()
    assert [file.name for file in folder.logs()] == ["0007.jsonl", "0008.jsonl"]
    assert folder.checkpoints() == []


def test_a_damaged_study_record_is_refused_or_has_the_same_content(folder: StudyFolder) -> None:
    file, dice, refused, accepted = folder.record, random.Random(1), 0, 0
    intact, record = file.read_bytes(), folder.read_record()
    for _ in range(N_MUTATIONS):
        file.write_bytes(dice.choice(MUTATIONS)(intact, dice))
        try:
            accepted += folder.read_record() == record
        except RecordError as error:
            refused += is_one_line(error, file)
    assert refused == N_MUTATIONS - accepted > N_MUTATIONS // 2


@pytest.mark.parametrize(
    ("was", "becomes", "entry"),
    [
        ('"parallelism": 4', '"parallelism": 5', "study"),
        ('"epochs": 3\n', '"epochs": 4\n', "base"),
        ('"trials": 4,\n   "is_over"', '"trials": 5,\n   "is_over"', "limits"),
        ('"seed": 0', '"seed": 0.0', "study"),
        ('"created": 1700000000.25', '"created": 1700000000.5', "created"),
        ('"n_train": 1150', '"n_train": 1151', "data"),
        ('"base.epochs": 3', '"base.epochs": 4', "fingerprint"),
        ('"cpu": "Z80"', '"cpu": "Z81"', "launches"),
    ],
)
def test_an_edited_entry_is_refused_by_its_name(folder: StudyFolder, was: str, becomes: str, entry: str) -> None:
    text = folder.record.read_text()
    assert was in text
    folder.record.write_text(text.replace(was, becomes))
    with pytest.raises(RecordError, match=rf"study\.json: {entry} of this record was changed.*FILE --budget"):
        folder.read_record()


def test_the_record_of_another_study_is_refused(folder: StudyFolder) -> None:
    folder.write_record(study_record(name="mnist"))
    with pytest.raises(RecordError, match=r'study\.json: is the record of the study "mnist"\. Move it back\.'):
        folder.read_record()


def test_a_record_that_is_a_folder_is_refused(folder: StudyFolder) -> None:
    folder.record.unlink()
    folder.record.mkdir()
    with pytest.raises(RecordError, match=r"study\.json: must be a regular file, got a folder\."):
        folder.read_record()
