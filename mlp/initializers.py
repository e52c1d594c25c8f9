"""Initial weights. `n_in` and `n_out` are the layer's width before and after; `gain` is its activation's."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError
from mlp.records import number
from mlp.registry import AbstractPart, Registry

TRUNCATED_STD = 0.8796256610342398  # the standard deviation of N(0, 1) within two deviations


class AbstractInitializer(AbstractPart):
    """A distribution of initial values."""

    @abstractmethod
    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        """Return float64 weights of shape (n_in, n_out)."""


initializers: Registry[AbstractInitializer] = Registry("initializer")
AbstractInitializer.family = initializers


def _normal(n_in: int, n_out: int, std: float, rng: np.random.Generator) -> Array:
    return rng.normal(0.0, std, (n_in, n_out))


def _truncated(n_in: int, n_out: int, rng: np.random.Generator) -> Array:
    """Return draws from N(0, 1) within two deviations, by drawing the others again."""
    values = rng.normal(size=(n_in, n_out))
    while (beyond := np.abs(values) > 2.0).any():
        values[beyond] = rng.normal(size=np.count_nonzero(beyond))
    return values


def _uniform(n_in: int, n_out: int, std: float, rng: np.random.Generator) -> Array:
    limit = 3.0**0.5 * std  # a uniform on [-c, c) has standard deviation c / sqrt(3)
    return rng.uniform(-limit, limit, (n_in, n_out))


@initializers.register("zeros")
@dataclass(frozen=True)
class Zeros(AbstractInitializer):
    """All zeros: for biases, and for softmax regression."""

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return np.zeros((n_in, n_out))


@initializers.register("normal")
@dataclass(frozen=True)
class Normal(AbstractInitializer):
    """N(0, std²), whatever the layer's width."""

    std: float = number(0.01, at_least=0.0, at_most=1e6)

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return _normal(n_in, n_out, self.std, rng)


@initializers.register("uniform")
@dataclass(frozen=True)
class Uniform(AbstractInitializer):
    """Uniform on [low, high), whatever the layer's width."""

    low: float = number(-0.05, at_least=-1e6, at_most=1e6)
    high: float = number(0.05, at_least=-1e6, at_most=1e6)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise ConfigError(f"must not be above high = {self.high!r}, got {self.low!r}.", path="low")

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return rng.uniform(self.low, self.high, (n_in, n_out))


@initializers.register("constant")
@dataclass(frozen=True)
class Constant(AbstractInitializer):
    """One value throughout: for biases."""

    value: float = number(0.1, at_least=-1e6, at_most=1e6)

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return np.full((n_in, n_out), self.value)


@initializers.register("truncated_normal")
@dataclass(frozen=True)
class TruncatedNormal(AbstractInitializer):
    """N(0, std²) without what lies beyond two of its deviations, whatever the layer's width."""

    std: float = number(0.01, at_least=0.0, at_most=1e6)

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return _truncated(n_in, n_out, rng) * self.std


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


@initializers.register("variance_scaling")
@dataclass(frozen=True)
class VarianceScaling(AbstractInitializer):
    """Variance gain² · scale / fan: what the named ones below are cases of.

    Attributes:
        fan: the layer's width before, after, or the mean of both.
        distribution: `truncated_normal` is cut at two deviations and widened to keep the variance.
    """

    scale: float = number(1.0, above=0.0, at_most=1e6)
    fan: Literal["in", "out", "mean"] = "in"
    distribution: Literal["normal", "truncated_normal", "uniform"] = "normal"

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        fan: float = {"in": n_in, "out": n_out, "mean": (n_in + n_out) / 2}[self.fan]
        std = gain * float((self.scale / fan) ** 0.5)
        if self.distribution == "truncated_normal":
            return _truncated(n_in, n_out, rng) * (std / TRUNCATED_STD)
        draw = _normal if self.distribution == "normal" else _uniform
        return draw(n_in, n_out, std, rng)


@initializers.register("lecun_normal")
@dataclass(frozen=True)
class LecunNormal(AbstractInitializer):
    """N(0, 1 / n_in): equation 16 of LeCun et al. 1998, "Efficient BackProp"."""

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return _normal(n_in, n_out, (1.0 / n_in) ** 0.5, rng)


@initializers.register("lecun_uniform")
@dataclass(frozen=True)
class LecunUniform(AbstractInitializer):
    """Uniform with variance 1 / n_in: `lecun_normal`'s, from a bounded distribution."""

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return _uniform(n_in, n_out, (1.0 / n_in) ** 0.5, rng)


@initializers.register("glorot_normal")
@dataclass(frozen=True)
class GlorotNormal(AbstractInitializer):
    """N(0, 2 / (n_in + n_out)): equation 12 of Glorot & Bengio 2010."""

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return _normal(n_in, n_out, (2.0 / (n_in + n_out)) ** 0.5, rng)


@initializers.register("glorot_uniform")
@dataclass(frozen=True)
class GlorotUniform(AbstractInitializer):
    """Uniform with variance 2 / (n_in + n_out): equation 16 of Glorot & Bengio 2010."""

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return _uniform(n_in, n_out, (2.0 / (n_in + n_out)) ** 0.5, rng)


@initializers.register("he_normal")
@dataclass(frozen=True)
class HeNormal(AbstractInitializer):
    """N(0, gain² / n_in), with gain² = 2 for ReLU: equation 10 of He et al. 2015, arXiv:1502.01852."""

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return _normal(n_in, n_out, gain / n_in**0.5, rng)


@initializers.register("he_uniform")
@dataclass(frozen=True)
class HeUniform(AbstractInitializer):
    """Uniform with variance gain² / n_in: `he_normal`'s, from a bounded distribution."""

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return _uniform(n_in, n_out, gain / n_in**0.5, rng)
