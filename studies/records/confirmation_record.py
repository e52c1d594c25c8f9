"""`confirmation.json`: what the confirmation of a study's winner says, for readers that cannot compare candidates.

Like `best.toml` it follows from the logs, and is written again whenever they say something else. If it is damaged, it
counts as missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlp.errors import ConfigError
from mlp.records import AbstractRecord, number
from mlp.untrusted import read_regular
from studies.records.home import StudyFolder
from studies.records.results import StudyResults
from studies.records.trial_log import read_log
from studies.records.trial_record import TrialRecord

MAX_BYTES = 1_000_000  # a confirmation of 22 candidates has 10,000


@dataclass(frozen=True, kw_only=True)
class CandidateRecord(AbstractRecord):
    """A configuration that was trained again on fresh seeds and splits.

    Attributes:
        trial: the trial of the study that found it.
        role: why it was a candidate: `best`, `base` or `pruned`.
        n_pairs: how many trainings of it have a value.
        mean: the mean of these values; absent if there is none.
        search_value: its value in the search, if it had one.
    """

    trial: int = number(at_least=0)
    role: str
    n_pairs: int = number(at_least=0)
    mean: float | None = None
    search_value: float | None = None


@dataclass(frozen=True, kw_only=True)
class ConfirmationRecord(AbstractRecord):
    """What `confirmation.json` contains.

    Attributes:
        step: the first step after the search that was confirmed.
        confirm: the [confirm] table of the study, with every default.
        outcome: `better`, `tie` or `no better than base`; empty if every candidate has failed.
        winner: the trial with the configuration to use; absent if every candidate has failed.
        sentences: the verdict in words.
        candidates: the configurations that were compared.
    """

    step: int = number(at_least=0)
    confirm: Mapping[str, Any]
    outcome: str = ""
    winner: int | None = None
    sentences: tuple[str, ...] = ()
    candidates: tuple[CandidateRecord, ...] = ()

    @property
    def value(self) -> float | None:
        """The mean value of the winner on fresh seeds and splits."""
        return next((candidate.mean for candidate in self.candidates if candidate.trial == self.winner), None)

    def to_file(self) -> str:
        """Return the content of `confirmation.json`."""
        return json.dumps(self.to_mapping(), indent=1) + "\n"


def read_confirmation_record(folder: StudyFolder, results: StudyResults) -> ConfirmationRecord | None:
    """Return the content of `confirmation.json`; None if it is missing, damaged or of an earlier stage."""
    try:
        record = ConfirmationRecord.from_mapping(json.loads(read_regular(folder.confirmation, MAX_BYTES)))
    except (OSError, ValueError, TypeError, RecursionError, ConfigError):
        return None
    is_current = record.step == results.next_step and dict(record.confirm) == dict(results.record.confirm)
    return record if is_current and results.is_complete else None


def read_confirm_trainings(folder: StudyFolder, results: StudyResults) -> tuple[TrialRecord, ...]:
    """Return the trainings that confirm the winner, as far as they are logged, by number.

    Raises:
        RecordError: if a log cannot be read, or is damaged.
    """
    found = (read_log(file, results.record.confirm_identity) for file in folder.confirm.logs())
    return tuple(training for training in found if training is not None)


def is_finished(results: StudyResults, trainings: Iterable[TrialRecord], confirmed: ConfirmationRecord | None) -> bool:
    """Return whether a study is complete, and so is the confirmation of its winner if that was begun.

    Args:
        results: the study.
        trainings: the trainings that confirm its winner, as far as they are logged.
        confirmed: the content of `confirmation.json`.
    """
    is_to_be_confirmed = bool(results.record.confirm.get("enabled")) and any(True for _ in trainings)
    return results.is_complete and (confirmed is not None or not is_to_be_confirmed)
