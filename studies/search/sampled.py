"""Configurations drawn at random from a search space, to show what a study would try."""

from __future__ import annotations

from dataclasses import dataclass

from mlp.config import TrainConfig
from mlp.losses import Task
from studies.search.domains import Params
from studies.search.space import Space


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


def sample(space: Space, n: int, seed: int = 0) -> list[Sampled]:
    """Return configurations that are drawn independently and uniformly, on the scales of the space.

    Args:
        space: the space.
        n: how many.
        seed: the seed of the draws.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = [space.suggest(study.ask()) for _ in range(n)]
    return [Sampled(params, space.configure(params)) for params in drawn]
