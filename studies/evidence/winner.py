"""The configuration to use: the winner of the confirmation, or the best trial of the search without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mlp.errors import ConfigError
from studies.evidence.confirmation import Confirmation, mean_of, read_confirmation, read_training
from studies.models.export import Exported, is_export_of, write_export
from studies.records.results import StudyResults

EXPORTS = Path("experiments") / "best"


def winner_of(results: StudyResults, confirmation: Confirmation | None) -> int | None:
    """Return the trial with the configuration to use; None before a trial is complete."""
    if confirmation is not None and confirmation.verdict is not None:
        return confirmation.verdict.winner
    return results.best.number if results.best else None


def export_trial(results: StudyResults, trial: int | None = None, file: str | Path | None = None) -> Path:
    """Write the complete configuration of a trial and its provenance to a TOML file, and return the file.

    `retrain(file)` or `studies train FILE` trains it again and checks that the result is reproduced. A winner that was
    pruned in the search has no result of its own there, so the first of its confirmed trainings is exported.

    Args:
        results: the study, as `load_study(name)` returns it.
        trial: the number of the trial; by default the winner of the confirmation, or else the best trial.
        file: the file to write; by default `experiments/best/STUDY.toml`, or `experiments/best/STUDY-TRIAL.toml` if
            `trial` is given. Missing folders are created, and an existing file is replaced.

    Raises:
        ConfigError: if there is no such trial, it is not complete, or the file cannot be written.
    """
    if file is None:
        file = EXPORTS / (f"{results.name}.toml" if trial is None else f"{results.name}-{trial}.toml")
    if trial is not None:
        return write_export(results, Exported(results.trial(trial)), file)
    found = _winner(results)
    if found is None:
        raise ConfigError(f'study "{results.name}" has no complete trial yet, so there is nothing to export.')
    return write_export(results, found, file)


def is_winner_exported(results: StudyResults, file: Path) -> bool:
    """Return whether a file is the export of the configuration to use, if there is one."""
    found = _winner(results)
    return found is None or is_export_of(results, found, file)


def _winner(results: StudyResults) -> Exported | None:
    confirmation = read_confirmation(results)
    number = winner_of(results, confirmation)
    if number is None:
        return None
    record = results.trial(number)
    if confirmation is None or confirmation.verdict is None:
        return Exported(record)
    candidate = confirmation.candidate(number)
    n_pairs, mean = len(candidate.values), mean_of(candidate)
    note = f"Confirmed on {n_pairs} fresh seeds and splits, with a mean of {mean:.6g}: {confirmation.verdict.outcome}."
    trainings = [read_training(results, number, pair) for pair in candidate.values]
    complete = [training for training in trainings if training is not None and training.state == "complete"]
    if record.state != "complete" and complete:
        record = replace(complete[0], number=number)
    digests = {str(of.config["seed"]): of.ending.weight_digest for of in complete if of.ending is not None}
    return Exported(record, note, digests)
