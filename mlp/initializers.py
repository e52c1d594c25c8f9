"""Initializers: the distributions that weights and biases start from.

`n_in` and `n_out` are the numbers of a layer's inputs and outputs; `gain` is the gain of its activation.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError
from mlp.records import number
from mlp.registry import AbstractPart, Registry

Fan: TypeAlias = Literal["in", "out", "mean"]
Distribution: TypeAlias = Literal["normal", "truncated_normal", "uniform"]

TRUNCATED_STD = 0.8796256610342398  # the standard deviation of N(0, 1) truncated at two standard deviations


class AbstractInitializer(AbstractPart):
    """A distribution of initial values."""

    @abstractmethod
    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        """Return float64 weights of shape (n_in, n_out)."""


initializers: Registry[AbstractInitializer] = Registry("initializer")
AbstractInitializer.family = initializers


@initializers.register("zeros")
@dataclass(frozen=True)
class Zeros(AbstractInitializer):
    """All zeros: for biases, and for softmax regression."""

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return np.zeros((n_in, n_out))


@initializers.register("normal")
@dataclass(frozen=True)
class Normal(AbstractInitializer):
    """N(0, std²), independent of the layer's width."""

    std: float = number(0.01, at_least=0.0, at_most=1e6)

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return rng.normal(0.0, self.std, (n_in, n_out))


@initializers.register("uniform")
@dataclass(frozen=True)
class Uniform(AbstractInitializer):
    """Uniform on [low, high), independent of the layer's width."""

    low: float = number(-0.05, at_least=-1e6, at_most=1e6)
    high: float = number(0.05, at_least=-1e6, at_most=1e6)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise ConfigError(f"must not be above high = {self.high!r}, got {self.low!r}.", path="low")

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return rng.uniform(self.low, self.high + 0.0, (n_in, n_out))  # NumPy refuses 0.0 to -0.0


@initializers.register("constant")
@dataclass(frozen=True)
class Constant(AbstractInitializer):
    """The same value everywhere: for biases."""

    value: float = number(0.1, at_least=-1e6, at_most=1e6)

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return np.full((n_in, n_out), self.value)


@initializers.register("truncated_normal")
@dataclass(frozen=True)
class TruncatedNormal(AbstractInitializer):
    """N(0, std²) truncated at two standard deviations, independent of the layer's width.

    Attributes:
        std: the standard deviation before truncation; afterwards it is 12 % smaller.
    """

    std: float = number(0.01, at_least=0.0, at_most=1e6)

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return draw_truncated_normal(n_in, n_out, rng) * self.std


@initializers.register("orthogonal")
@dataclass(frozen=True)
class Orthogonal(AbstractInitializer):
    """Orthonormal rows or columns, whichever are fewer, times the gain: Saxe et al. 2014, arXiv:1312.6120.

    The signs make the distribution uniform over all such matrices: Mezzadri 2007, arXiv:math-ph/0609050.
    """

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        q, r = np.linalg.qr(rng.normal(size=(max(n_in, n_out), min(n_in, n_out))))
        q *= gain * np.where(np.diag(r) < 0, -1.0, 1.0)
        return q if n_in >= n_out else q.T


class AbstractVarianceScaling(AbstractInitializer):
    """Values whose variance shrinks with the width of the layer, so that signals keep their size through it.

    Attributes:
        fan: which width counts: the number of inputs, of outputs, or the mean of both.
        distribution: `truncated_normal` is truncated at two standard deviations and widened to keep the variance.
        uses_gain: whether the standard deviation is multiplied by the gain of the activation.
    """

    fan: Fan
    distribution: Distribution
    uses_gain = False

    def std(self, fan: float, gain: float) -> float:
        """Return the standard deviation for a layer of width `fan`."""
        # Each is computed in the form of its source: sqrt(1 / fan) and 1 / sqrt(fan) may differ in the last bit, and a
        # recorded training can only be reproduced from the same initial weights.
        return gain / fan**0.5 if self.uses_gain else (1.0 / fan) ** 0.5  # type: ignore[no-any-return]

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        fans: dict[Fan, float] = {"in": n_in, "out": n_out, "mean": (n_in + n_out) / 2}
        std = self.std(fans[self.fan], gain)
        if self.distribution == "normal":
            return rng.normal(0.0, std, (n_in, n_out))
        if self.distribution == "truncated_normal":
            return draw_truncated_normal(n_in, n_out, rng) * (std / TRUNCATED_STD)
        limit = 3.0**0.5 * std  # a uniform distribution on [-c, c) has standard deviation c / sqrt(3)
        return rng.uniform(-limit, limit, (n_in, n_out))


@initializers.register("variance_scaling")
@dataclass(frozen=True)
class VarianceScaling(AbstractVarianceScaling):
    """A variance of gain² · scale / fan: the general form of the `lecun`, `glorot` and `he` initializers."""

    scale: float = number(1.0, above=0.0, at_most=1e6)
    fan: Fan = "in"
    distribution: Distribution = "normal"

    def std(self, fan: float, gain: float) -> float:
        return gain * float((self.scale / fan) ** 0.5)


@initializers.register("lecun_normal")
@dataclass(frozen=True)
class LecunNormal(AbstractVarianceScaling):
    """N(0, 1 / n_in): equation 16 of LeCun et al. 1998, "Efficient BackProp"."""

    fan = "in"
    distribution = "normal"


@initializers.register("lecun_uniform")
@dataclass(frozen=True)
class LecunUniform(AbstractVarianceScaling):
    """Uniform with the variance of `lecun_normal`, 1 / n_in."""

    fan = "in"
    distribution = "uniform"


@initializers.register("glorot_normal")
@dataclass(frozen=True)
class GlorotNormal(AbstractVarianceScaling):
    """N(0, 2 / (n_in + n_out)): equation 12 of Glorot & Bengio 2010."""

    fan = "mean"
    distribution = "normal"


@initializers.register("glorot_uniform")
@dataclass(frozen=True)
class GlorotUniform(AbstractVarianceScaling):
    """Uniform with variance 2 / (n_in + n_out): equation 16 of Glorot & Bengio 2010."""

    fan = "mean"
    distribution = "uniform"


@initializers.register("he_normal")
@dataclass(frozen=True)
class HeNormal(AbstractVarianceScaling):
    """N(0, gain² / n_in), with gain² = 2 for ReLU: equation 10 of He et al. 2015, arXiv:1502.01852."""

    fan = "in"
    distribution = "normal"
    uses_gain = True


@initializers.register("he_uniform")
@dataclass(frozen=True)
class HeUniform(AbstractVarianceScaling):
    """Uniform with the variance of `he_normal`, gain² / n_in."""

    fan = "in"
    distribution = "uniform"
    uses_gain = True


def draw_truncated_normal(n_in: int, n_out: int, rng: np.random.Generator) -> Array:
    """Return draws from N(0, 1) truncated at two standard deviations; values beyond are drawn again."""
    values = rng.normal(size=(n_in, n_out))
    while (beyond := np.abs(values) > 2.0).any():
        values[beyond] = rng.normal(size=np.count_nonzero(beyond))
    return values
