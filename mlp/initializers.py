"""Initial weights. `n_in` and `n_out` are the layer's width before and after; `gain` is its activation's."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from mlp.arrays import Array
from mlp.registry import AbstractPart, ConfigError, Registry, number


class AbstractInitializer(AbstractPart):
    """A distribution of initial values."""

    @abstractmethod
    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        """Return float64 weights of shape (n_in, n_out)."""


initializers: Registry[AbstractInitializer] = Registry("initializer")
AbstractInitializer.family = initializers


def _normal(n_in: int, n_out: int, std: float, rng: np.random.Generator) -> Array:
    return rng.normal(0.0, std, (n_in, n_out))


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


@initializers.register("lecun_normal")
@dataclass(frozen=True)
class LecunNormal(AbstractInitializer):
    """N(0, 1 / n_in): equation 16 of LeCun et al. 1998, "Efficient BackProp"."""

    def sample(self, n_in: int, n_out: int, *, gain: float, rng: np.random.Generator) -> Array:
        return _normal(n_in, n_out, (1.0 / n_in) ** 0.5, rng)


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
