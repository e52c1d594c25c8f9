"""Activations, from the simplest to the most involved.

Each writes `a = f(z)` and turns `da` into `dz = da * f'(z)` in place. `backward` may overwrite `z` and `a`: by
then nothing else needs them, and no scratch memory is spent.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlp.arrays import Array
from mlp.registry import AbstractPart, Registry, number


class AbstractActivation(AbstractPart):
    """An elementwise function and its derivative.

    Attributes:
        gain: what He initialisation multiplies by, so that signals keep their variance through the layer.
        in_place: whether `forward` may write `a` over `z`.
    """

    gain: ClassVar[float] = 1.0
    in_place: ClassVar[bool] = True

    @abstractmethod
    def forward(self, z: Array, a: Array) -> None:
        """Write `f(z)` into `a`, of the same shape; `a` is `z` itself where `in_place`."""

    @abstractmethod
    def backward(self, z: Array, a: Array, da: Array) -> None:
        """Multiply `da` by `f'(z)` in place, given `a = f(z)`; `z` and `a` are spent afterwards."""

    def init_gain(self) -> float:
        """Return the gain, which may depend on the activation's own parameters."""
        return self.gain


activations: Registry[AbstractActivation] = Registry("activation")
AbstractActivation.family = activations


@activations.register("identity")
@dataclass(frozen=True)
class Identity(AbstractActivation):
    """f(z) = z."""

    def forward(self, z: Array, a: Array) -> None:
        if a is not z:
            np.copyto(a, z)

    def backward(self, z: Array, a: Array, da: Array) -> None:
        pass


@activations.register("relu")
@dataclass(frozen=True)
class Relu(AbstractActivation):
    """f(z) = max(z, 0); the derivative at 0 is 0."""

    gain: ClassVar[float] = 2.0**0.5

    def forward(self, z: Array, a: Array) -> None:
        np.maximum(z, 0, out=a)

    def backward(self, z: Array, a: Array, da: Array) -> None:
        # The sign bit of -a, spread over the word, is a mask: three integer passes beat any pass over booleans.
        bits = np.dtype(f"i{a.itemsize}")
        mask = a.view(bits)
        np.negative(mask, out=mask)
        np.right_shift(mask, a.itemsize * 8 - 1, out=mask)
        masked = da.view(bits)
        np.bitwise_and(masked, mask, out=masked)


@activations.register("leaky_relu")
@dataclass(frozen=True)
class LeakyRelu(AbstractActivation):
    """f(z) = z where z > 0, else slope z; its gain is equation 15 of He et al. 2015, arXiv:1502.01852."""

    in_place: ClassVar[bool] = False
    slope: float = number(0.01, at_least=0.0, at_most=1.0)

    def init_gain(self) -> float:
        return float((2.0 / (1.0 + self.slope**2)) ** 0.5)

    def forward(self, z: Array, a: Array) -> None:
        np.multiply(z, self.slope, out=a)
        np.maximum(a, z, out=a)

    def backward(self, z: Array, a: Array, da: Array) -> None:
        np.greater(z, 0, out=a, casting="unsafe")
        np.multiply(a, 1.0 - self.slope, out=a)
        np.add(a, self.slope, out=a)
        np.multiply(da, a, out=da)


@activations.register("sigmoid")
@dataclass(frozen=True)
class Sigmoid(AbstractActivation):
    """f(z) = 1 / (1 + exp(-z)), by way of tanh, which overflows nowhere."""

    def forward(self, z: Array, a: Array) -> None:
        np.multiply(z, 0.5, out=a)
        np.tanh(a, out=a)
        np.multiply(a, 0.5, out=a)
        np.add(a, 0.5, out=a)

    def backward(self, z: Array, a: Array, da: Array) -> None:
        np.multiply(da, a, out=da)
        np.subtract(1, a, out=a)
        np.multiply(da, a, out=da)


@activations.register("tanh")
@dataclass(frozen=True)
class Tanh(AbstractActivation):
    """f(z) = tanh(z); the gain is the customary 5/3."""

    gain: ClassVar[float] = 5.0 / 3.0

    def forward(self, z: Array, a: Array) -> None:
        np.tanh(z, out=a)

    def backward(self, z: Array, a: Array, da: Array) -> None:
        np.multiply(a, a, out=a)
        np.subtract(1, a, out=a)
        np.multiply(da, a, out=da)
