"""The file `confirmation.json`: read only if it is whole and about the search as it is now."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from studies.records.confirmation_record import is_finished, read_confirm_trainings, read_confirmation_record
from studies.records.home import Home
from studies.records.results import read_results
from tests.tracking_data import COMPLETE, FakeStudy

CONFIRM = {"enabled": True, "seeds": 2}


@pytest.fixture(name="study")
def study_fixture(tmp_path: Path) -> FakeStudy:
    """A study of one trial, which was trained again twice."""
    study = FakeStudy(Home(tmp_path), trials=1)
    study.write_record(confirm=CONFIRM)
    study.advance(0, 2, COMPLETE)
    study.confirm(0, 0, 2, COMPLETE)
    study.confirm(0, 1, 1)
    study.conclude()
    return study


def is_read(study: FakeStudy) -> bool:
    return read_confirmation_record(study.folder, read_results(study.folder)) is not None


def test_a_record_is_read_as_it_was_written(study: FakeStudy) -> None:
    confirmed = read_confirmation_record(study.folder, read_results(study.folder))
    assert confirmed is not None
    assert (confirmed.outcome, confirmed.winner, confirmed.value) == ("better", 0, 0.9)
    assert confirmed.to_file() == study.folder.confirmation.read_text()
    assert replace(confirmed, winner=1).value is None


@pytest.mark.parametrize("damaged", ["", "{", "[]", '"x"', '{"step": 1}', "[" * 100_000, "\xff"])
def test_a_damaged_record_counts_as_missing(study: FakeStudy, damaged: str) -> None:
    study.folder.confirmation.write_text(damaged, encoding="latin-1")
    assert not is_read(study)


def test_a_record_of_an_earlier_stage_of_the_search_counts_as_missing(study: FakeStudy) -> None:
    assert is_read(study)
    content = json.loads(study.folder.confirmation.read_text())
    study.folder.confirmation.write_text(json.dumps(content | {"step": content["step"] - 1}))
    assert not is_read(study)
    study.folder.confirmation.write_text(json.dumps(content))
    study.write_record(confirm=CONFIRM | {"seeds": 3})
    assert not is_read(study), "another number of seeds"


def test_a_study_is_finished_when_the_confirmation_that_was_begun_is_complete(study: FakeStudy) -> None:
    results = read_results(study.folder)
    trainings = read_confirm_trainings(study.folder, results)
    assert [(training.number, training.state) for training in trainings] == [(0, "complete"), (1, "running")]
    confirmed = read_confirmation_record(study.folder, results)
    assert is_finished(results, trainings, confirmed)
    assert not is_finished(results, trainings, None)
    assert is_finished(results, (), None), "nothing was begun"
    switched_off = replace(results, record=replace(results.record, confirm={"enabled": False}))
    assert is_finished(switched_off, trainings, None)
    assert not is_finished(replace(results, record=replace(results.record, is_searched=False)), trainings, confirmed)
