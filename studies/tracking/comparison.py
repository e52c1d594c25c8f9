"""Compares a study with its runs as a tracking store returns them, without changing either."""

from __future__ import annotations

import math
from collections.abc import Sequence

from studies.records.results import StudyResults
from studies.tracking.projection import INTERRUPTED, KEY, STATUSES, ChildRun, study_key
from studies.tracking.store import Run, Store


def differences(
    results: StudyResults, children: Sequence[ChildRun], runs: Sequence[Run], *, is_finished: bool
) -> list[str]:
    """Return what the store lacks or shows differently, one line for each difference.

    A run that a person deleted counts as published, because it stays deleted.

    Args:
        results: the study.
        children: everything that has a run below the study's own.
        runs: all runs of the study in the store.
        is_finished: whether nothing of the study is left to do.
    """
    found = {run.tags.get(KEY): run for run in runs if run.is_deleted}
    found |= {run.tags.get(KEY): run for run in runs if not run.is_deleted}
    n_active = sum(not run.is_deleted for run in runs)
    lines = _of_run("the study", found.get(study_key(results.record)), "FINISHED" if is_finished else "")
    for child in children:
        run = found.get(child.key)
        lines += _of_run(child.title, run, STATUSES.get(child.training.state, ""))
        if run is not None and not run.is_deleted:
            lines += _of_last_epoch(child, run)
    if n_active > len({run.tags.get(KEY) for run in runs if not run.is_deleted}):
        lines.append("MLflow has two runs with the same key")
    return lines


def _of_run(what: str, run: Run | None, status: str) -> list[str]:
    """Return the difference of one run from its expected status; without one, any status of an open run is right."""
    if run is None:
        return [f"{what}: MLflow has no run"]
    if run.is_deleted:
        return []
    interrupted = run.status == "KILLED" and INTERRUPTED in run.tags
    if status and (run.status != status or interrupted):
        shown = "interrupted" if interrupted else run.status
        return [f"{what}: MLflow shows {shown} instead of {status}"]
    if not status and run.status != "RUNNING" and not interrupted:
        return [f"{what}: MLflow shows {run.status}, but it has not ended"]
    return []


def _of_last_epoch(child: ChildRun, run: Run) -> list[str]:
    """Return the metrics of a training whose last epoch is not in the store."""
    trial = child.training
    steps = {key: run.last_steps.get(key, 0) for key in trial.averages}
    late = [key for key, step in steps.items() if step < len(trial.history[key])]
    if not late:
        return []
    return [f"{child.title}: MLflow has {steps[late[0]]} of {trial.n_epochs} epochs of {late[0]}"]


def missing_epochs(children: Sequence[ChildRun], runs: Sequence[Run], store: Store) -> list[str]:
    """Return the epochs whose metrics are missing or different in the store, one line for each metric of a training.

    Every metric is read in full, with one call each. Metrics whose last epoch is missing belong to `differences`.
    """
    found = {run.tags.get(KEY): run for run in runs if not run.is_deleted}
    lines = []
    for child in children:
        run = found.get(child.key)
        if run is None or _of_last_epoch(child, run):
            continue
        for key, values in child.training.averages.items():
            published = store.history(run.id, key)
            epochs = [epoch for epoch, value in enumerate(values, 1) if not _is_same(published.get(epoch), value)]
            if epochs:
                numbers = ", ".join(map(str, epochs[:5])) + (", ..." if len(epochs) > 5 else "")
                lines.append(f"{child.title}: MLflow differs from the log in {key}, epochs {numbers}")
    return lines


def _is_same(published: float | None, logged: float) -> bool:
    """Return whether a metric is in the store as it is in the log; an undefined one is NaN in both."""
    return published == logged or (published is not None and math.isnan(published) and math.isnan(logged))
