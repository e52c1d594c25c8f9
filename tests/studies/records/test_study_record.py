"""The record of a study: its round trip through `study.json`, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlp import ConfigError
from studies.records.home import Home, StudyFolder
from studies.records.limits import Limits
from studies.records.study_record import StudyRecord
from tests.record_data import RECORD, study_record


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = Home(tmp_path).study("digits")
    folder.root.mkdir(parents=True)
    return folder


def test_a_mapping_becomes_a_record_and_the_same_mapping_again() -> None:
    record = StudyRecord.from_mapping(RECORD)
    assert record.to_mapping() == RECORD
    assert StudyRecord.from_mapping(record.to_mapping()) == record


def test_a_written_record_reads_back_equal(folder: StudyFolder) -> None:
    record = study_record(space={"network.hidden": {"choices": [[], [8], [24, 12]]}})
    folder.write_record(record)
    assert folder.read_record() == record


def test_a_record_without_a_machine_can_be_read() -> None:
    mapping = {key: value for key, value in RECORD.items() if key != "machine"}
    assert StudyRecord.from_mapping(mapping).machine == {}


def test_the_metric_and_its_direction_come_from_the_study_table() -> None:
    record = study_record({"metric": "validation/loss"})
    assert (record.metric, record.direction) == ("validation/loss", "minimize")


def test_the_last_limits_are_those_of_the_study() -> None:
    record = study_record(limits=[{"trials": 4}, {"step": 9, "trials": 6, "epochs": 30}])
    assert (record.total, record.max_epochs) == (6, 30)


def test_limits_are_added_only_if_they_differ() -> None:
    record = study_record()
    assert record.with_limits(Limits(step=7, trials=4)) is record
    raised = record.with_limits(Limits(step=7, trials=5))
    assert raised.limits == (Limits(trials=4), Limits(step=7, trials=5))
    assert not raised.is_searched
    assert raised.with_limits(Limits(step=7, trials=6)).limits == (Limits(trials=4), Limits(step=7, trials=6))


def test_configurations_are_enqueued_once_and_keep_their_step() -> None:
    first, second = {"network.dropout": 0.1}, {"network.dropout": 0.2}
    record = study_record().with_enqueued(3, [first, first])
    assert record.with_enqueued(9, [first]) is record
    entries = record.with_enqueued(9, [first, second]).enqueued
    assert [(entry.step, entry.params) for entry in entries] == [(3, first), (9, second)]
    assert StudyRecord.from_file(record.to_file()) == record


def test_a_record_from_before_configurations_could_be_enqueued_is_read() -> None:
    content = json.loads(study_record().to_file())
    del content["enqueued"], content["digests"]["enqueued"]
    assert StudyRecord.from_file(json.dumps(content)) == study_record()


def test_the_first_limits_hold_from_the_beginning() -> None:
    assert study_record(limits=[]).with_limits(Limits(step=7, trials=4)).limits == (Limits(trials=4),)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"study": {"trials": 4}}, '"study.metric": is missing.'),
        ({"base": {}}, '"base.epochs": is missing.'),
        ({"study": {"metric": "validation/los", "trials": 4}}, '"study.metric": there is no metric "validation/los".'),
        ({"limits": [{"trials": "4"}]}, "\"limits.trials\": must be a whole number, got '4'."),
        ({"space": []}, '"space": must be a table, got [].'),
        ({"versions": {"numpy": 2}}, '"versions.numpy": must be a string, got 2.'),
        ({"data": RECORD["data"] | {"n_train": -1}}, '"data.n_train": must be at least 0, got -1.'),
        ({"data": {"name": "digits"}}, '"data.digest": is missing and has no default.'),
        ({"version": 1}, '"version": must be 3, got 1. Use the program that wrote it.'),
        ({"extra": 1}, '"extra": is not a field of'),
    ],
)
def test_what_is_not_a_record_is_refused_with_the_file_and_the_key(
    folder: StudyFolder, changes: dict[str, Any], problem: str
) -> None:
    folder.record.write_text(json.dumps(RECORD | changes))
    with pytest.raises(ConfigError) as refused:
        folder.read_record()
    assert str(refused.value).startswith(f"{folder.record}: is not a study record: {problem}")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "it is not JSON: Expecting value: line 1 column 1 (char 0)."),
        ("{", "it is not JSON: Expecting property name"),
        ("[]", "must be a table, got list."),
        ("{}", '"version": is missing and has no default.'),
    ],
)
def test_a_damaged_file_is_refused_with_its_name(folder: StudyFolder, content: str, problem: str) -> None:
    folder.record.write_text(content)
    with pytest.raises(ConfigError) as refused:
        folder.read_record()
    assert str(refused.value).startswith(f"{folder.record}: is not a study record: {problem}")


def test_a_missing_file_is_refused_with_its_name(folder: StudyFolder) -> None:
    with pytest.raises(ConfigError, match=r"study\.json: cannot be read: No such file or directory\."):
        folder.read_record()
