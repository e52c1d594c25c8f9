"""The second objective of a study: a size of the network, which is minimised besides the metric.

It is a pure function of the configuration and of the shape of the data, so that it needs no measurement and is the same
on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from mlp.config import TrainConfig
from mlp.losses import Task

SecondName = Literal["parameters", "multiply_adds", "latency"]

# The time of one prediction for one example, on one core: from 24 networks of 1 to 4 hidden layers with 16 to 1024
# units, whose measured times it meets within a factor of two. Larger networks do not fit into the cache of a core.
MICROSECONDS_PER_LAYER = 1.7
MULTIPLY_ADDS_PER_MICROSECOND = 12_000
IN_CACHE = 200_000  # multiply-adds
SLOWER_PER_MICROSECOND = 6_500  # multiply-adds beyond it take this much longer


@dataclass(frozen=True)
class SecondObjective:
    """A size of the network that is minimised.

    Attributes:
        name: `parameters`: the number of parameters; `multiply_adds`: multiplications of one prediction; `latency`:
            the predicted microseconds of one prediction on one core.
        n_features: inputs of the network.
        n_targets: classes, labels or values to predict.
        task: what is predicted.
    """

    name: SecondName
    n_features: int
    n_targets: int
    task: Task

    def value(self, config: TrainConfig) -> float:
        """Return the size of the network of a configuration."""
        sizes = config.layer_sizes(self.n_features, self.n_targets, self.task)
        if self.name == "parameters":
            return float(config.network.count_parameters(sizes))
        products = sum(n_in * n_out for n_in, n_out in pairwise(sizes))
        return float(products) if self.name == "multiply_adds" else _latency(len(sizes) - 1, products)

    def text(self, value: float) -> str:
        """Return a size as it is shown."""
        return f"{value:.1f} µs" if self.name == "latency" else f"{value:,.0f}"


def _latency(n_layers: int, products: int) -> float:
    beyond = max(0, products - IN_CACHE)
    fast = n_layers * MICROSECONDS_PER_LAYER + products / MULTIPLY_ADDS_PER_MICROSECOND
    return round(fast + beyond / SLOWER_PER_MICROSECOND, 3)
