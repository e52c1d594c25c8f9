"""A search of listed points that leaves out what has been tried already."""

from __future__ import annotations

import functools
import random
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from studies.search.domains import Params
from studies.search.points import PointKey, Points, point_key
from studies.search.space import Space


class UntriedPointSampler(BaseSampler):  # type: ignore[misc] # Optuna's types are not followed
    """Suggests the first of the shuffled points that no earlier trial has; when all have been tried, it starts again.

    Unlike Optuna's `GridSampler` it has no points that differ only in parameters whose `when` does not hold, and it
    repeats neither base nor an enqueued trial.

    Args:
        space: what is searched.
        points: its points.
        seed: the seed of the study, which shuffles the points.
    """

    def __init__(self, space: Space, points: Points, seed: int) -> None:
        self._space = space
        self._points = _shuffled(points, seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._space.distributions(self._next(study, trial))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {path: value for path, value in self._next(study, trial).items() if path in search_space}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise NotImplementedError("a grid has a value for every parameter of a point.")

    def _next(self, study: Study, trial: FrozenTrial) -> Params:
        # The trials of the storage, because Hyperband shows a sampler only those of the same bracket.
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        tried = {point_key(other.params) for other in trials if other.number != trial.number}
        new = (point for key, point in self._points.items() if key not in tried)
        return next(new, None) or list(self._points.values())[trial.number % len(self._points)]


@functools.lru_cache(maxsize=2)
def _shuffled(points: Points, seed: int) -> dict[PointKey, Params]:
    """Return the points in shuffled order; a study needs the same order for each of its trials."""
    shuffled = list(points)
    random.Random(seed).shuffle(shuffled)
    return {point_key(point): point for point in shuffled}
