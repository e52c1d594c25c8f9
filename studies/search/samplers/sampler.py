"""What a sampler is: it chooses the next configuration of a study.

A study builds a new sampler for each trial, so that a resumed study needs nothing but its record. What a sampler has to
remember from one trial to the next, it keeps where Optuna provides for it: in the system attributes of the study or of
a trial. Both are recorded and restored.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mlp.registry import AbstractPart, Registry

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from studies.search.domains import Params
    from studies.search.space import Space


class AbstractSampler(AbstractPart):
    """Chooses the next configuration, given the trials so far.

    Attributes:
        supports_two_objectives: whether it can search for a Pareto front.
    """

    supports_two_objectives: ClassVar[bool] = True

    @abstractmethod
    def build(self, space: Space, study_seed: int, trial: int, parallelism: int) -> BaseSampler:
        """Return Optuna's sampler for one trial.

        A sampler that draws each trial independently takes `trial_seed(study_seed, trial)` as its seed. A sampler that
        follows a sequence (quasi-random points, a shuffled grid) takes `study_seed`, because another seed would start
        another sequence.

        Args:
            space: what is searched.
            study_seed: the seed of the study, the same for all trials.
            trial: the number of the trial.
            parallelism: how many trials may run at the same time.
        """

    def check(self, space: Space) -> None:
        """Check before a study starts that the sampler can search a space.

        Raises:
            ConfigError: if it cannot, or if a package that it needs is not installed.
        """
        return

    def learns_from_others(self, space: Space) -> bool:
        """Return whether what it suggests depends on the results of trials that another study has asked."""
        return False

    def most_trials(self, space: Space, given: Sequence[Params | None] = (None,)) -> int | None:
        """Return the number of trials after which every configuration has been tried, or None if there is no end.

        Args:
            space: what is searched.
            given: the parameters of the trials that the sampler does not choose, such as base; None for a trial
                outside the space.
        """
        return None


def attempt_number(trial: int, attempt: int) -> int:
    """Return what `build` takes as the number of a trial when its configuration is chosen again.

    Args:
        trial: the number of the trial.
        attempt: how many configurations were refused before, because they violate the constraints of the study.
    """
    return trial + (attempt << 32)  # no trial has such a number, so that every attempt has a seed of its own


def trial_seed(study_seed: int, trial: int) -> int:
    """Return the seed of one trial; the seeds of different trials are independent of each other."""
    return int(np.random.SeedSequence(study_seed, spawn_key=(trial,)).generate_state(1)[0])


samplers: Registry[AbstractSampler] = Registry("sampler")
AbstractSampler.family = samplers
