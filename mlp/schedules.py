"""Learning-rate schedules: the rate as a pure function of how many epochs have passed, and of what they gave."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from mlp.records import number
from mlp.registry import AbstractPart, Registry
from mlp.scores import check_metric, direction

WARMUP_START = 0.01


@dataclass(frozen=True)
class AbstractSchedule(AbstractPart):
    """How the learning rate changes over a training.

    Attributes:
        warmup: epochs in front in which the rate climbs along a line from a hundredth of the base rate to all of it
            (the gradual warm-up of section 2.2 of Goyal et al. 2017, arXiv:1706.02677); the schedule proper spans what
            is left. If nothing is left, the training ends on the line.
    """

    warmup: float = number(0.0, at_least=0.0)

    @final
    def rate(self, base: float, epoch: float, epochs: float) -> float:
        """Return the learning rate of the next step.

        Args:
            base: the optimizer's learning rate, times what `reduction` gave.
            epoch: epochs done so far, with the fraction of the running one: 0 <= epoch < epochs.
            epochs: epochs of the whole training.
        """
        if epoch < self.warmup:
            return base * (WARMUP_START + (1.0 - WARMUP_START) * epoch / self.warmup)
        return self.after_warmup(base, epoch - self.warmup, epochs - self.warmup)

    @abstractmethod
    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        """Return the learning rate of the next step as if there were no warm-up; arguments as in `rate`."""

    @property
    def watched(self) -> str:
        """The metric key on which `reduction` depends; empty for none."""
        return ""

    def reduction(self, history: Mapping[str, list[float]]) -> float:
        """Return what multiplies the base rate in the next epoch, from a value an epoch by metric key."""
        return 1.0


schedules: Registry[AbstractSchedule] = Registry("schedule")
AbstractSchedule.family = schedules


@schedules.register("constant")
@dataclass(frozen=True)
class Constant(AbstractSchedule):
    """The base rate throughout."""

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        return base


@schedules.register("step")
@dataclass(frozen=True)
class Step(AbstractSchedule):
    """Multiplied by `factor` after every `every` epochs."""

    factor: float = number(0.5, above=0.0, at_most=1.0)
    every: int = number(5, at_least=1)

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        return base * float(self.factor ** math.floor(epoch / self.every))


@schedules.register("linear_step")
@dataclass(frozen=True)
class LinearStep(AbstractSchedule):
    """Lowered by `minus` after every `every` epochs, but not below `least`.

    A rate of 0.2 with minus = 0.05, every = 5 and at_start = true is 0.15 in epochs 0 to 4, 0.10 in epochs 5 to 9.

    Attributes:
        minus: in units of the rate, as is `least`.
        at_start: whether the first lowering comes at epoch 0 already.
        least: a base rate that is below it stays as it is.
    """

    minus: float = number(1e-4, at_least=0.0)
    every: int = number(5, at_least=1)
    at_start: bool = False
    least: float = number(1e-6, above=0.0)

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        times = math.floor(epoch / self.every) + self.at_start
        return max(base - times * self.minus, min(base, self.least))


@schedules.register("exponential")
@dataclass(frozen=True)
class Exponential(AbstractSchedule):
    """base · factor^epoch, a little at every step."""

    factor: float = number(0.9, above=0.0, at_most=1.0)

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        return base * float(self.factor**epoch)


@schedules.register("inverse_time")
@dataclass(frozen=True)
class InverseTime(AbstractSchedule):
    """base / (1 + decay · epoch): section 5.2 of Bottou 2012, "Stochastic Gradient Descent Tricks"."""

    decay: float = number(0.1, at_least=0.0)

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        return base / (1.0 + self.decay * epoch)


@schedules.register("polynomial")
@dataclass(frozen=True)
class Polynomial(AbstractSchedule):
    """From base to base · final along (1 - epoch/epochs)^power; a power of 1 is a straight line."""

    power: float = number(1.0, above=0.0)
    final: float = number(0.0, at_least=0.0, at_most=1.0)

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        return base * (self.final + (1.0 - self.final) * float((1.0 - epoch / epochs) ** self.power))


def half_cosine(start: float, end: float, way: float) -> float:
    """Return the height at `way`, from 0 to 1, on half a cosine from `start` to `end`."""
    cosine = math.cos(math.pi * way)
    return 0.5 * (start * (1.0 + cosine) + end * (1.0 - cosine))


@schedules.register("cosine")
@dataclass(frozen=True)
class Cosine(AbstractSchedule):
    """From base to base · final along half a cosine: equation 5 of Loshchilov & Hutter 2017, arXiv:1608.03983."""

    final: float = number(0.0, at_least=0.0, at_most=1.0)

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        return base * half_cosine(1.0, self.final, epoch / epochs)


@schedules.register("cosine_restarts")
@dataclass(frozen=True)
class CosineRestarts(AbstractSchedule):
    """Half a cosine over and over, each `multiplier` times as long as the last: SGDR of Loshchilov & Hutter 2017,
    arXiv:1608.03983, section 3 (their T_0 and T_mult).

    Attributes:
        period: epochs of the first one.
        final: the fraction of the base rate at the end of each.
    """

    period: int = number(5, at_least=1)
    multiplier: int = number(2, at_least=1)
    final: float = number(0.0, at_least=0.0, at_most=1.0)

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        period = float(self.period)
        if self.multiplier == 1:
            epoch %= period
        while epoch >= period:
            epoch, period = epoch - period, period * self.multiplier
        return base * half_cosine(1.0, self.final, epoch / period)


@schedules.register("one_cycle")
@dataclass(frozen=True)
class OneCycle(AbstractSchedule):
    """Up to the base rate along half a cosine, and down along another: Smith & Topin 2018, arXiv:1708.07120, in the
    form of PyTorch's OneCycleLR, without its cycle of the momentum.

    Attributes:
        rise: the fraction of the epochs that go up.
        start: the fraction of the base rate at the beginning.
        final: the fraction of the base rate at the end.
    """

    rise: float = number(0.3, above=0.0, below=1.0)
    start: float = number(0.04, above=0.0, at_most=1.0)
    final: float = number(4e-6, at_least=0.0, at_most=1.0)

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        way = epoch / epochs
        if way < self.rise:
            return base * half_cosine(self.start, 1.0, way / self.rise)
        return base * half_cosine(1.0, self.final, (way - self.rise) / (1.0 - self.rise))


@schedules.register("reduce_on_plateau")
@dataclass(frozen=True)
class ReduceOnPlateau(AbstractSchedule):
    """Multiplied by `factor` whenever more than `patience` epochs in a row did not better the best value so far: as
    PyTorch's ReduceLROnPlateau with an absolute threshold and no cooldown.

    Attributes:
        metric: of the validation or the training part.
        min_delta: by how much a value must be better to count.
        least: the fraction of the base rate below which nothing is reduced.
    """

    factor: float = number(0.5, above=0.0, below=1.0)
    patience: int = number(3, at_least=0)
    metric: str = "validation/loss"
    min_delta: float = number(0.0, at_least=0.0)
    least: float = number(0.0, at_least=0.0, at_most=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_metric(self.metric)

    @property
    def watched(self) -> str:
        return self.metric

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        return base

    def reduction(self, history: Mapping[str, list[float]]) -> float:
        sign = 1.0 if direction(self.metric) == "maximize" else -1.0
        best, waited, reduced = -math.inf, 0, 1.0
        for value in history.get(self.metric, ()):
            if sign * value > best + self.min_delta:
                best, waited = sign * value, 0
            else:
                waited += 1
            if waited > self.patience:
                reduced, waited = max(reduced * self.factor, self.least), 0
        return reduced
