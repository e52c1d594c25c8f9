"""Repetitions: a configuration that is asked again is trained with a fresh seed, so that it adds evidence.

With the same seed, its training would be the same to the last bit, and its epochs would be wasted. The split stays that
of the first training, so that all values of a study are measured on the same examples and can be compared.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from mlp.config import TrainConfig
from studies.search.domains import Params
from studies.search.samplers import trial_seed
from studies.search.seedless import SEEDS, seedless_key


class Repetitions:
    """Counts how often each configuration of a study has been asked.

    The configuration of a trial follows from the trials asked before it, so a replay leads to the same ones.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def next_config(self, config: TrainConfig, params: Params) -> TrainConfig:
        """Return the configuration to train: with a fresh seed and the split of the first one if it is a repetition.

        Args:
            config: the configuration that the parameters lead to.
            params: the searched parameters of the trial. If they contain a seed, the configuration stays as it is.
        """
        key = seedless_key(config.to_mapping())
        n_before, self._counts[key] = self._counts[key], self._counts[key] + 1
        if n_before == 0 or any(path in params for path in SEEDS):
            return config
        split_seed = config.seed if config.data.split_seed is None else config.data.split_seed
        data = replace(config.data, split_seed=split_seed)
        return replace(config, seed=trial_seed(config.seed, n_before), data=data)
