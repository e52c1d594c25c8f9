"""Advice on a study: what its results suggest to do next, each piece with its evidence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from studies.evidence.confirmation import Confirmation
from studies.evidence.words import enumeration
from studies.records.results import StudyResults

MIN_ENDED = 10  # trials; with fewer, no advice is given
N_TOP = 5  # how many of the best trials are considered
EDGE = 0.1  # the share of a range that counts as its edge
MIN_IMPORTANCE = 0.01  # a parameter with a smaller share of the variance is called unimportant
MIN_FOR_IMPORTANCE = 30  # complete trials
MAX_ADVICE = 5

Kind = Literal["edge", "divergence", "progress", "seeds", "importance"]


@dataclass(frozen=True)
class Advice:
    """A piece of advice.

    Attributes:
        kind: what it is about.
        text: the evidence and what to do, in one or two sentences.
    """

    kind: Kind
    text: str


def advice(
    results: StudyResults,
    confirmation: Confirmation | None = None,
    importances: Mapping[str, float] | None = None,
) -> list[Advice]:
    """Return what the results of a study suggest, most useful first.

    Args:
        results: the study.
        confirmation: its confirmation, if it has one.
        importances: the importance of each parameter, as `studies.tracking.plots.parameter_importances` returns it.
    """
    if results.n_ended < MIN_ENDED:
        return []
    found = [
        *_divergence(results),
        *_edges(results),
        *_progress(results),
        *_seeds(results, confirmation),
        *_unimportant(results, importances or {}),
    ]
    return found[:MAX_ADVICE]


def _divergence(results: StudyResults) -> Iterator[Advice]:
    """Yield the range whose upper part made most trials diverge."""
    diverged = {
        trial.number for trial in results.trials if trial.ending is not None and trial.ending.reason == "diverged"
    }
    if len(diverged) < 3:
        return
    for path, entry in results.record.space.items():
        if "low" not in entry or not path.endswith("learning_rate"):
            continue
        tried = sorted((t.params[path], t.number in diverged) for t in results.trials if path in t.params)
        flags = np.array([is_diverged for _, is_diverged in tried])
        above = flags[::-1].cumsum()[::-1]
        shares = above / np.arange(len(tried), 0, -1)
        cuts = [i for i in range(len(tried)) if shares[i] >= 0.5 and above[i] >= 0.8 * len(diverged)]
        if cuts and cuts[0] > 0:
            cut, n_above = tried[cuts[0]][0], len(tried) - cuts[0]
            yield Advice(
                "divergence",
                f"{above[cuts[0]]} of {n_above} trials with {path} of {cut:.2g} or more diverged. "
                f"Lower its high to {cut:.2g}, or clip gradients.",
            )


def _edges(results: StudyResults) -> Iterator[Advice]:
    """Yield each range at one end of which most of the best trials are."""
    top = results.top(N_TOP)
    for path, entry in results.record.space.items():
        values = [trial.params[path] for trial in top if path in trial.params]
        if "low" not in entry or len(values) < N_TOP:
            continue
        places = [_place(value, entry) for value in values]
        for end, near in (
            ("low", [place <= EDGE for place in places]),
            ("high", [place >= 1 - EDGE for place in places]),
        ):
            if near[0] and sum(near) >= N_TOP - 1 and entry["low"] < entry["high"]:
                yield Advice(
                    "edge",
                    f"{sum(near)} of the {N_TOP} best trials have {path} near its {end} = {entry[end]:g} (the best: "
                    f"{values[0]:.3g}). Widen the range, in a study with a new name.",
                )


def _place(value: float, entry: Mapping[str, Any]) -> float:
    """Return where in its range a value lies, from 0 to 1, on the scale of the range."""
    low, high = entry["low"], entry["high"]
    if entry.get("log"):
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low) if high > low else 0.5


def _progress(results: StudyResults) -> Iterator[Advice]:
    best, n = results.best, len(results.trials)
    if best is None or not results.is_complete:
        return
    since = n - 1 - best.number
    if since >= max(20, n / 2):
        yield Advice("progress", f"The last {since} of {n} trials brought no improvement over trial {best.number}.")
    elif best.number >= 0.9 * n and n >= 20:
        yield Advice(
            "progress",
            f"Trial {best.number}, one of the last, is the best, so the search may not have ended. Raise --budget.",
        )


def _seeds(results: StudyResults, confirmation: Confirmation | None) -> Iterator[Advice]:
    """Yield a warning if the best trials differ less than the seeds and splits of one of them."""
    top = [trial.value for trial in results.top(N_TOP) if trial.value is not None]
    if confirmation is None or confirmation.verdict is None or len(top) < N_TOP:
        return
    winner = confirmation.candidate(confirmation.verdict.winner)
    values = [value for value in winner.values.values() if value is not None]
    if len(values) < 3:
        return
    spread, distance = float(np.std(values, ddof=1)), abs(top[0] - top[-1])
    if spread > distance:
        yield Advice(
            "seeds",
            f"Seeds and splits change the winner's value by {spread:.2g} (standard deviation), but the {N_TOP} best "
            f"trials differ by {distance:.2g}. More validation data or data.folds would tell them apart.",
        )


def _unimportant(results: StudyResults, importances: Mapping[str, float]) -> Iterator[Advice]:
    n_complete = results.counts()["complete"]
    paths = [path for path, share in importances.items() if share < MIN_IMPORTANCE]
    if paths and n_complete >= MIN_FOR_IMPORTANCE and len(paths) < len(importances):
        yield Advice(
            "importance",
            f"{enumeration(paths)} explained less than 1 % of the differences between {n_complete} complete trials. "
            "Fix them, so that the search can concentrate on the others.",
        )
