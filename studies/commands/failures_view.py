"""Trials that failed or diverged, by class, with what to do about it."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from studies.hints import command_line
from studies.records.results import StudyResults
from studies.records.trial_record import TrialRecord

N_NUMBERS = 8  # how many trials of a class are listed
MIN_SHARE = 0.1  # of the trials; if fewer diverge, that is part of a search
ADVICE = {
    "timeout": "Raise trial_seconds in [study], or leave slow configurations out of [space].",
    "out_of_memory": "Set max_memory in [study] to leave large configurations out, or use fewer --workers.",
    "crash": "Worker processes died. Often the machine is short of memory: use fewer --workers, or set max_memory.",
    "diverged": "Lower the highest learning rate in [space], or clip gradients with optimizer.clip_norm.",
    "undefined": "The metric is not defined on the validation part. Choose another metric, or more validation data.",
}


def failures_view(results: StudyResults) -> RenderableType | None:
    """Return an account of the trials that failed, or None if there are none.

    Trials that diverged or whose metric is undefined are included if they are many, or if no trial is complete.
    """
    classes: dict[str, list[TrialRecord]] = {}
    for trial in results.trials:
        ending = trial.ending
        if ending is not None and (trial.state == "failed" or ending.reason in ADVICE):
            classes.setdefault(ending.reason, []).append(trial)
    enough = MIN_SHARE * len(results.trials) if results.best else 0
    classes = {
        reason: trials for reason, trials in classes.items() if trials[0].state == "failed" or len(trials) >= enough
    }
    if not classes:
        return None
    return Group(*(line for reason, trials in classes.items() for line in _lines(results, reason, trials)))


def _lines(results: StudyResults, reason: str, trials: list[TrialRecord]) -> list[Text]:
    numbers = ", ".join(str(trial.number) for trial in trials[:N_NUMBERS])
    more = f" and {len(trials) - N_NUMBERS} more" if len(trials) > N_NUMBERS else ""
    plural = "s" if len(trials) > 1 else ""
    lines = [Text(f"{len(trials)} trial{plural} ended with {reason}: {numbers}{more}", style="red")]
    if message := message_of(trials[0]):
        lines.append(Text(f"  {message}"))
    seen = f"See the traceback with: {command_line('show', results.name, str(trials[0].number))}"
    lines.append(Text(f"  {ADVICE.get(reason, seen)}"))
    return lines


def message_of(trial: TrialRecord) -> str:
    """Return the last line of the error of a failed trial."""
    text = trial.ending.error.strip() if trial.ending and trial.ending.error else ""
    return text.splitlines()[-1] if text else ""
