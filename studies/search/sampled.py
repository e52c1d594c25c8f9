"""Configurations drawn at random from a search space, to show what a study would try."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from mlp.config import TrainConfig
from mlp.errors import ConfigError
from mlp.losses import Task
from studies.search.constraints import Constraints
from studies.search.domains import Params
from studies.search.points import Points
from studies.search.space import Space

N_CHECKED = 400  # configurations; drawing them takes about 0.4 seconds


@dataclass(frozen=True)
class Sampled:
    """A configuration of a space.

    Attributes:
        params: its searched parameters by path.
        config: the configuration.
    """

    params: Params
    config: TrainConfig

    def sizes(self, n_features: int, n_targets: int, task: Task) -> tuple[int, ...]:
        """Return the number of units of each layer, inputs and outputs included."""
        return self.config.layer_sizes(n_features, n_targets, task)


@dataclass(frozen=True)
class Share:
    """How many configurations of a space meet its constraints.

    Attributes:
        n_allowed: the number of configurations that meet them.
        n: the number of configurations that were checked: all of a small space, a sample of a larger one.
        is_sampled: whether they are a sample.
        smallest: the smallest sizes among them, as a text.
    """

    n_allowed: int
    n: int
    is_sampled: bool
    smallest: str

    @property
    def is_enough(self) -> bool:
        """Whether a search can find several allowed configurations: 2 of a small space, or 1 % of a sample."""
        return self.n_allowed >= (self.n // 100 if self.is_sampled else 2)

    def __str__(self) -> str:
        return f"{self.n_allowed} of {self.n} {'sampled ' if self.is_sampled else ''}configurations"


def allowed_share(space: Space, constraints: Constraints) -> Share:
    """Return how many configurations of a space meet some constraints."""
    everything = space.constrained(None)
    points = Points(everything)
    is_sampled = bool(points.endless) or points.count() > N_CHECKED
    if is_sampled:
        configs = [entry.config for entry in sample(everything, N_CHECKED)]
    else:
        configs = [everything.configure(point) for point in points]
    n_allowed = sum(constraints.allow(config) for config in configs)
    return Share(n_allowed, len(configs), is_sampled, constraints.smallest(configs))


def check_constraints(space: Space) -> None:
    """Refuse a space in which almost no configuration meets the constraints.

    Raises:
        ConfigError: with the smallest size among the configurations that were checked.
    """
    if space.constraints is None:
        return
    share = allowed_share(space, space.constraints)
    if not share.is_enough:
        problem = f"{share} meet {space.constraints}; the smallest has {share.smallest}"
        raise ConfigError(f"[space]: {problem}. Raise the limit in [study], or search smaller networks.")


def sample(space: Space, n: int, seed: int = 0) -> list[Sampled]:
    """Return configurations that are drawn independently and uniformly, on the scales of the space.

    Those that violate the constraints of the space are left out.

    Args:
        space: the space.
        n: how many.
        seed: the seed of the draws.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = (space.suggest(study.ask()) for _ in itertools.count())
    allowed = itertools.islice((params for params in drawn if space.allows(params)), n)
    return [Sampled(params, space.configure(params)) for params in allowed]
