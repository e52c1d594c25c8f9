"""Writes `confirmation.json`: the result of a confirmation, for MLflow and others that cannot compare candidates."""

from __future__ import annotations

from studies.evidence.confirmation import Confirmation, mean_of, read_confirmation
from studies.evidence.verdict import Candidate
from studies.evidence.words import verdict_sentences
from studies.records.confirmation_record import CandidateRecord, ConfirmationRecord
from studies.records.files import write_atomically
from studies.records.home import StudyFolder
from studies.records.results import StudyResults


def write_confirmation(results: StudyResults, folder: StudyFolder) -> None:
    """Write `confirmation.json`, or delete it if the confirmation is not complete; nothing happens if it is right."""
    if is_confirmation_written(results, folder):
        return
    expected = _content(results)
    if expected is None:
        folder.confirmation.unlink(missing_ok=True)
    else:
        write_atomically(folder.confirmation, expected, sync=True)


def is_confirmation_written(results: StudyResults, folder: StudyFolder) -> bool:
    """Return whether `confirmation.json` agrees with the logs; without a complete confirmation it must not exist."""
    expected = _content(results)
    if expected is None or not folder.confirmation.is_file():
        return expected is None and not folder.confirmation.exists()
    return folder.confirmation.read_bytes() == expected.encode()


def confirmation_record(results: StudyResults, confirmation: Confirmation) -> ConfirmationRecord:
    """Return the record of a complete confirmation."""
    verdict = confirmation.verdict
    return ConfirmationRecord(
        step=results.next_step,
        confirm=results.record.confirm,
        outcome=verdict.outcome if verdict else "",
        winner=verdict.winner if verdict else None,
        sentences=tuple(verdict_sentences(confirmation)),
        candidates=tuple(_candidate_record(candidate) for candidate in confirmation.candidates),
    )


def _candidate_record(candidate: Candidate) -> CandidateRecord:
    n_pairs = sum(value is not None for value in candidate.values.values())
    return CandidateRecord(
        trial=candidate.trial,
        role=candidate.role,
        n_pairs=n_pairs,
        mean=mean_of(candidate) if n_pairs else None,
        search_value=candidate.search_value,
    )


def _content(results: StudyResults) -> str | None:
    """Return what `confirmation.json` must contain; None if it must not exist."""
    confirmation = read_confirmation(results)
    if confirmation is None or not confirmation.is_complete:
        return None
    return confirmation_record(results, confirmation).to_file()
