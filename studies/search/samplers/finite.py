"""Samplers that try every configuration of a finite space once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlp.errors import ConfigError
from mlp.records import number
from studies.search.points import MAX_POINTS, Points
from studies.search.samplers.sampler import AbstractSampler, samplers

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from studies.search.domains import Params
    from studies.search.space import Space


class AbstractFiniteSampler(AbstractSampler):
    """Tries every point of a space once, in an order that the seed of the study shuffles."""

    @abstractmethod
    def points_of(self, space: Space) -> Points:
        """Return the points that are tried."""

    def check(self, space: Space) -> None:
        points = self.points_of(space)
        if points.endless:
            problem = f'the sampler "{self.name}" needs a finite space, but "{points.endless[0]}" has no step.'
            raise ConfigError(f'{problem} Give it a step, or set sampler = {{ name = "grid", points = 5 }}.')
        n_points = points.count()
        if n_points > MAX_POINTS:
            problem = f'the sampler "{self.name}" may have at most {MAX_POINTS} points, and this space has {n_points}.'
            raise ConfigError(f'{problem} Use fewer values, or the sampler "quasi_random".')

    def most_trials(self, space: Space, given: Sequence[Params | None] = (None,)) -> int | None:
        return self.points_of(space).n_trials(given)

    def build(self, space: Space, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        from studies.search.samplers.untried import UntriedPointSampler

        return UntriedPointSampler(space, self.points_of(space), study_seed)


@samplers.register("grid")
@dataclass(frozen=True)
class Grid(AbstractFiniteSampler):
    """All combinations of the values, with some values of each range.

    Attributes:
        points: values of each float range without a step, both ends included; None if there is no such range.
    """

    points: int | None = number(None, at_least=2, at_most=1000)

    def points_of(self, space: Space) -> Points:
        return Points(space, self.points)


@samplers.register("brute_force")
@dataclass(frozen=True)
class BruteForce(AbstractFiniteSampler):
    """Every configuration of a space of choices, whole numbers and stepped ranges."""

    def points_of(self, space: Space) -> Points:
        return Points(space)
