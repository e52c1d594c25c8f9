"""Learning-rate schedules: the rate as a pure function of how many epochs have passed."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

from mlp.registry import AbstractPart, Registry, number


class AbstractSchedule(AbstractPart):
    """How the learning rate changes over a training."""

    @abstractmethod
    def rate(self, base: float, epoch: float, epochs: int) -> float:
        """Return the learning rate of the next step.

        Args:
            base: the optimizer's learning rate.
            epoch: epochs done so far, with the fraction of the running one: 0 <= epoch < epochs.
            epochs: epochs of the whole training.
        """


schedules: Registry[AbstractSchedule] = Registry("schedule")
AbstractSchedule.family = schedules


@schedules.register("constant")
@dataclass(frozen=True)
class Constant(AbstractSchedule):
    """The base rate throughout."""

    def rate(self, base: float, epoch: float, epochs: int) -> float:
        return base


@schedules.register("exponential")
@dataclass(frozen=True)
class Exponential(AbstractSchedule):
    """base · factor^epoch, a little at every step."""

    factor: float = number(0.9, above=0.0, at_most=1.0)

    def rate(self, base: float, epoch: float, epochs: int) -> float:
        return base * float(self.factor**epoch)


@schedules.register("step")
@dataclass(frozen=True)
class Step(AbstractSchedule):
    """Multiplied by `factor` after every `every` epochs."""

    factor: float = number(0.5, above=0.0, at_most=1.0)
    every: int = number(5, at_least=1)

    def rate(self, base: float, epoch: float, epochs: int) -> float:
        return base * float(self.factor ** math.floor(epoch / self.every))


@schedules.register("cosine")
@dataclass(frozen=True)
class Cosine(AbstractSchedule):
    """From base to base · final along half a cosine: equation 5 of Loshchilov & Hutter 2017, arXiv:1608.03983."""

    final: float = number(0.0, at_least=0.0, at_most=1.0)

    def rate(self, base: float, epoch: float, epochs: int) -> float:
        return base * (self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * epoch / epochs)))
