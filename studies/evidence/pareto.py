"""Picks a trial of the Pareto front of a study with a second objective."""

from __future__ import annotations

import math
from typing import Literal, get_args

from mlp.errors import ConfigError
from studies.records.results import FrontPoint, StudyResults

Pick = Literal["best", "knee", "cheapest"]
PICKS: tuple[Pick, ...] = get_args(Pick)


def pick(results: StudyResults, which: Pick) -> int:
    """Return a trial of the front.

    Args:
        results: the study.
        which: `best`: the one with the best metric; `cheapest`: the one with the smallest network; `knee`: the one
            farthest from the straight line between these two, with the metric and the logarithm of the size scaled to
            the range of the front. It is the point from which on a larger network improves the metric less.

    Raises:
        ConfigError: if the study has no second objective, or no complete trial.
    """
    if results.second_objective is None:
        raise ConfigError(
            f'study "{results.name}" has one objective, so there is no Pareto front. Set second_objective in [study].'
        )
    front = results.pareto_front()
    if not front:
        raise ConfigError(f'study "{results.name}" has no complete trial yet, so there is no Pareto front.')
    if which != "knee":
        return (front[-1] if which == "best" else front[0]).trial
    first, last = front[0], front[-1]

    def distance(point: FrontPoint) -> float:
        if first is last:
            return 0.0
        along = math.log(point.size / first.size) / math.log(last.size / first.size)
        return (point.value - first.value) / (last.value - first.value) - along

    return max(front, key=distance).trial
