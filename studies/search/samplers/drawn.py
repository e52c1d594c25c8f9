"""Samplers that do not learn from results: random draws and a quasi-random sequence."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studies.search.samplers.sampler import AbstractSampler, samplers, trial_seed

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from studies.search.space import Space


@samplers.register("random")
@dataclass(frozen=True)
class Random(AbstractSampler):
    """Independent uniform draws: the baseline for every other sampler."""

    def build(self, space: Space, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=trial_seed(study_seed, trial))


@samplers.register("quasi_random")
@dataclass(frozen=True)
class QuasiRandom(AbstractSampler):
    """The points of a scrambled Sobol sequence, which cover the space more evenly than random draws.

    The sequence has the parameters of base. A parameter that base does not have, because of its `when`, is drawn at
    random. See Bergstra & Bengio 2012, section 4, and Owen 1998 for the scrambling.
    """

    def build(self, space: Space, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import QMCSampler, RandomSampler

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return QMCSampler(
                scramble=True,
                seed=study_seed,
                independent_sampler=RandomSampler(seed=trial_seed(study_seed, trial)),
                warn_independent_sampling=False,
            )
