"""Samplers: how the next configuration of a study is chosen.

A study builds a new sampler for each trial, so that a resumed study needs nothing but its record. What a sampler has to
remember from one trial to the next, it keeps where Optuna provides for it: in the system attributes of the study or of
a trial. Both are recorded and restored.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlp.records import number
from mlp.registry import AbstractPart, Registry

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class AbstractSampler(AbstractPart):
    """Chooses the next configuration, given the trials so far."""

    @abstractmethod
    def build(self, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        """Return Optuna's sampler for one trial.

        A sampler that draws each trial independently takes `trial_seed(study_seed, trial)` as its seed. A sampler that
        follows a sequence (quasi-random points, a shuffled grid) takes `study_seed`, because another seed would start
        another sequence.

        Args:
            study_seed: the seed of the study, the same for all trials.
            trial: the number of the trial.
            parallelism: how many trials may run at the same time.
        """


def trial_seed(study_seed: int, trial: int) -> int:
    """Return the seed of one trial; the seeds of different trials are independent of each other."""
    return int(np.random.SeedSequence(study_seed, spawn_key=(trial,)).generate_state(1)[0])


samplers: Registry[AbstractSampler] = Registry("sampler")
AbstractSampler.family = samplers


@samplers.register("random")
@dataclass(frozen=True)
class Random(AbstractSampler):
    """Independent uniform draws: the baseline for every other sampler."""

    def build(self, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=trial_seed(study_seed, trial))


@samplers.register("tpe")
@dataclass(frozen=True)
class Tpe(AbstractSampler):
    """The multivariate tree-structured Parzen estimator of Bergstra et al. 2011 and Falkner et al. 2018.

    Attributes:
        startup_trials: trials drawn at random before the estimator is used.
    """

    startup_trials: int = number(10, at_least=1)

    def build(self, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        from optuna.samplers import TPESampler

        return TPESampler(
            n_startup_trials=self.startup_trials,
            multivariate=True,
            constant_liar=parallelism > 1,
            seed=trial_seed(study_seed, trial),
        )
