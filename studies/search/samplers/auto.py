"""The sampler that suits a space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studies.search.points import Points
from studies.search.samplers.finite import Grid
from studies.search.samplers.learning import Tpe
from studies.search.samplers.sampler import AbstractSampler, samplers

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from studies.search.domains import Params
    from studies.search.space import Space

SMALL = 20  # points, as many as the usual budget has trainings


@samplers.register("auto")
@dataclass(frozen=True)
class Auto(AbstractSampler):
    """`grid` if the space has at most 20 configurations, so that each is tried once; otherwise `tpe`.

    The rule depends on the space alone, because the limits of a study may be raised later, and its sampler must stay
    the same.
    """

    def resolve(self, space: Space) -> AbstractSampler:
        """Return the sampler for a space."""
        points = Points(space)
        return Grid() if not points.endless and points.count() <= SMALL else Tpe()

    def check(self, space: Space) -> None:
        self.resolve(space).check(space)

    def learns_from_others(self, space: Space) -> bool:
        return self.resolve(space).learns_from_others(space)

    def most_trials(self, space: Space, given: Sequence[Params | None] = (None,)) -> int | None:
        return self.resolve(space).most_trials(space, given)

    def build(self, space: Space, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        return self.resolve(space).build(space, study_seed, trial, parallelism)
