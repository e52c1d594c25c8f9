"""The virtual clock: the cost of an epoch, as a pure function of its configuration, in whole units.

Events are processed in the order of virtual time, never in the order of arrival, so the trial table does not depend on
how fast each worker is. The closer the costs are to real times, the less workers wait for each other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise

from mlp.config import TrainConfig


@dataclass(frozen=True)
class CostModel:
    """The cost of a training step, in nanoseconds on a typical machine. It is part of a study's fingerprint.

    Attributes:
        step: nanoseconds of each step, however small.
        layer: nanoseconds that each layer adds to a step.
        example: nanoseconds of each example, besides its products.
        products_per_unit: multiply-adds per nanosecond, over all examples and passes.
        parameters_per_unit: parameters that the optimizer updates per nanosecond.
    """

    step: int = 30_000
    layer: int = 15_000
    example: int = 400
    products_per_unit: int = 25
    parameters_per_unit: int = 1

    def epoch(self, config: TrainConfig, n_train: int, sizes: tuple[int, ...]) -> int:
        """Return the cost of one epoch, at least 1.

        Args:
            config: the configuration.
            n_train: the number of training examples.
            sizes: the number of units of each layer, inputs and outputs included.
        """
        parameters = sum(n_in * n_out for n_in, n_out in pairwise(sizes))
        _, n_steps = config.steps(n_train)
        per_step = self.step + self.layer * (len(sizes) - 1) + parameters // self.parameters_per_unit
        per_example = self.example + 3 * parameters // self.products_per_unit
        return n_steps * per_step + n_train * per_example

    def to_mapping(self) -> dict[str, int]:
        """Return the constants by name."""
        return asdict(self)
