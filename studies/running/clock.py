"""The virtual clock: what an epoch costs, as a pure function of its configuration, in whole units.

Events are processed in the order of virtual time, never of arrival, so the trial table does not depend on how fast
which worker happens to be. The closer the costs are to real times, the less a worker waits for another.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise

from mlp.config import TrainConfig


@dataclass(frozen=True)
class CostModel:
    """Nanoseconds of a step on a machine of the usual kind; part of a study's fingerprint.

    Attributes:
        step: what a step costs however small it is; `layer` what each layer adds.
        example: what an example costs besides its products.
        products_per_unit: multiply-adds, over all examples and passes, done in a nanosecond.
        parameters_per_unit: parameters that the optimizer moves in a nanosecond.
    """

    step: int = 30_000
    layer: int = 15_000
    example: int = 400
    products_per_unit: int = 25
    parameters_per_unit: int = 1

    def epoch(self, config: TrainConfig, n_train: int, sizes: tuple[int, ...]) -> int:
        """Return the cost of one epoch over `n_train` examples of a network with these widths, at least 1."""
        parameters = sum(n_in * n_out for n_in, n_out in pairwise(sizes))
        _, n_steps = config.steps(n_train)
        per_step = self.step + self.layer * (len(sizes) - 1) + parameters // self.parameters_per_unit
        per_example = self.example + 3 * parameters // self.products_per_unit
        return n_steps * per_step + n_train * per_example

    def to_mapping(self) -> dict[str, int]:
        """Return the constants by name."""
        return asdict(self)
