"""Learning-rate schedules: pure functions of the number of epochs done and of the metrics so far."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from mlp.records import number
from mlp.registry import AbstractPart, Registry
from mlp.scores import check_metric, direction

WARMUP_START = 0.01  # the fraction of the base rate at which a warm-up starts


@dataclass(frozen=True)
class AbstractSchedule(AbstractPart):
    """How the learning rate changes over a training.

    Attributes:
        warmup: the number of first epochs in which the rate rises linearly from a hundredth of the base rate to the
            base rate (gradual warm-up, section 2.2 of Goyal et al. 2017, arXiv:1706.02677). The schedule then spans
            the remaining epochs. A warm-up longer than the training never reaches the base rate.
    """

    warmup: float = number(0.0, at_least=0.0)

    @final
    def rate(self, base: float, epoch: float, epochs: float) -> float:
        """Return the learning rate of the next step.

        Args:
            base: the learning rate of the optimizer, multiplied by `reduction`.
            epoch: the number of epochs done, including the fraction of the current one: 0 <= epoch < epochs.
            epochs: the number of epochs of the training.
        """
        if epoch < self.warmup:
            return base * (WARMUP_START + (1.0 - WARMUP_START) * epoch / self.warmup)
        return self.after_warmup(base, epoch - self.warmup, epochs - self.warmup)

    @abstractmethod
    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        """Return the learning rate of the next step, ignoring the warm-up; arguments as in `rate`."""

    @property
    def watched(self) -> str:
        """The metric on which `reduction` depends, such as `validation/loss`; empty if there is none."""
        return ""

    def reduction(self, history: Mapping[str, list[float]]) -> float:
        """Return the factor for the base rate in the next epoch.

        Args:
            history: one value per epoch, by metric key such as `validation/loss`.
        """
        return 1.0


schedules: Registry[AbstractSchedule] = Registry("schedule")
AbstractSchedule.family = schedules


@schedules.register("constant")
@dataclass(frozen=True)
class Constant(AbstractSchedule):
    """The base rate in every step."""

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        return base


@schedules.register("step")
@dataclass(frozen=True)
class Step(AbstractSchedule):
    """Multiplies the rate by `factor` after every `every` epochs."""

    factor: float = number(0.5, above=0.0, at_most=1.0)
    every: int = number(5, at_least=1)

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        return base * float(self.factor ** math.floor(epoch / self.every))


@schedules.register("linear_step")
@dataclass(frozen=True)
class LinearStep(AbstractSchedule):
    """Lowers the rate by `minus` after every `every` epochs, down to `least`.

    A rate of 0.2 with minus = 0.05, every = 5 and at_start = true is 0.15 in epochs 0 to 4 and 0.10 in epochs 5 to 9.

    Attributes:
        minus: how much each reduction subtracts from the rate.
        every: the number of epochs between reductions.
        at_start: whether the first reduction takes place before epoch 0.
        least: the rate below which nothing is reduced; a base rate that is already lower does not change.
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
    """base · factor^epoch, updated in every step."""

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
    """Falls from base to base · final as (1 - epoch/epochs)^power; a power of 1 gives a straight line."""

    power: float = number(1.0, above=0.0)
    final: float = number(0.0, at_least=0.0, at_most=1.0)

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        return base * (self.final + (1.0 - self.final) * float((1.0 - epoch / epochs) ** self.power))


def half_cosine(start: float, end: float, progress: float) -> float:
    """Return the value at `progress`, from 0 to 1, of half a cosine wave that leads from `start` to `end`."""
    cosine = math.cos(math.pi * progress)
    return 0.5 * (start * (1.0 + cosine) + end * (1.0 - cosine))


@schedules.register("cosine")
@dataclass(frozen=True)
class Cosine(AbstractSchedule):
    """Falls from base to base · final along half a cosine: equation 5 of Loshchilov & Hutter 2017, arXiv:1608.03983."""

    final: float = number(0.0, at_least=0.0, at_most=1.0)

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        return base * half_cosine(1.0, self.final, epoch / epochs)


@schedules.register("flat_cosine")
@dataclass(frozen=True)
class FlatCosine(AbstractSchedule):
    """Stays at the base rate, then falls to base · final along half a cosine.

    With the defaults this is flat_cos of Table A.1 of Holzmüller et al. 2024, arXiv:2407.04491.

    Attributes:
        flat: the fraction of the epochs at the base rate.
        final: the fraction of the base rate at the end.
    """

    flat: float = number(0.5, at_least=0.0, below=1.0)
    final: float = number(0.0, at_least=0.0, at_most=1.0)

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        progress = max(0.0, epoch / epochs - self.flat) / (1.0 - self.flat)
        return base * half_cosine(1.0, self.final, progress)


@schedules.register("coslog")
@dataclass(frozen=True)
class Coslog(AbstractSchedule):
    """Rises from 0 to the base rate and falls back to 0 in cosine waves, each twice as long as the one before.

    At progress t, from 0 to 1, the rate is base · (1 - cos(2 pi log2(1 + (2^cycles - 1) t))) / 2. With four cycles this
    is coslog_4 of Holzmüller et al. 2024, arXiv:2407.04491, whose rate is highest at 3, 12, 31 and 69 % of the epochs.

    Attributes:
        cycles: the number of waves.
    """

    cycles: int = number(4, at_least=1, at_most=30)

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        waves = math.log2(1.0 + (2.0**self.cycles - 1.0) * epoch / epochs)
        return base * half_cosine(0.0, 1.0, 2.0 * waves)


@schedules.register("cosine_restarts")
@dataclass(frozen=True)
class CosineRestarts(AbstractSchedule):
    """Restarts a cosine schedule again and again: SGDR, section 3 of Loshchilov & Hutter 2017, arXiv:1608.03983.

    Attributes:
        period: the number of epochs of the first period (T_0 in the paper).
        multiplier: the length of each period in units of the previous one (T_mult in the paper).
        final: the fraction of the base rate at the end of each period.
    """

    period: int = number(5, at_least=1)
    multiplier: int = number(2, at_least=1)
    final: float = number(0.0, at_least=0.0, at_most=1.0)

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        period = float(self.period)
        if self.multiplier == 1:  # periods do not grow, and there may be many
            epoch %= period
        while epoch >= period:
            epoch, period = epoch - period, period * self.multiplier
        return base * half_cosine(1.0, self.final, epoch / period)


@schedules.register("one_cycle")
@dataclass(frozen=True)
class OneCycle(AbstractSchedule):
    """Rises to the base rate along half a cosine and falls along another: Smith & Topin 2018, arXiv:1708.07120.

    The form is that of PyTorch's OneCycleLR; the momentum does not change.

    Attributes:
        rise: the fraction of the epochs in which the rate rises.
        start: the fraction of the base rate at the beginning.
        final: the fraction of the base rate at the end.
    """

    rise: float = number(0.3, above=0.0, below=1.0)
    start: float = number(0.04, above=0.0, at_most=1.0)
    final: float = number(4e-6, at_least=0.0, at_most=1.0)

    def after_warmup(self, base: float, epoch: float, epochs: float) -> float:
        progress = epoch / epochs
        if progress < self.rise:
            return base * half_cosine(self.start, 1.0, progress / self.rise)
        return base * half_cosine(1.0, self.final, (progress - self.rise) / (1.0 - self.rise))


@schedules.register("reduce_on_plateau")
@dataclass(frozen=True)
class ReduceOnPlateau(AbstractSchedule):
    """Multiplies the rate by `factor` after more than `patience` epochs in a row without improvement.

    The same as PyTorch's ReduceLROnPlateau with an absolute threshold and no cooldown.

    Attributes:
        factor: the factor of each reduction.
        patience: the number of epochs without improvement that are tolerated.
        metric: the metric to watch, such as `validation/loss`.
        min_delta: the improvement on the best value so far must be larger than this.
        least: the smallest fraction of the base rate.
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
        # Computed from the start in every epoch, so that a resumed training needs nothing but its history.
        sign = 1.0 if direction(self.metric) == "maximize" else -1.0
        best, n_waited, reduced = -math.inf, 0, 1.0
        for value in history.get(self.metric, ()):
            if sign * value > best + self.min_delta:
                best, n_waited = sign * value, 0
            else:
                n_waited += 1
            if n_waited > self.patience:
                reduced, n_waited = max(reduced * self.factor, self.least), 0
        return reduced
