"""What stands between a product and its activation, or behind it: normalisation and dropout.

A normalised layer computes `scale * normalised(z) + shift`; its bias is the shift. What a pass leaves for the way back
is in a `NormSpace`; what batch normalisation remembers for inference is part of theta, behind all that is trained.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mlp.arrays import Array, aligned_empty
from mlp.records import number
from mlp.registry import AbstractPart, Registry


class NormSpace:
    """What one layer's normalisation keeps for a batch of `b` examples.

    Attributes:
        ones: shape (b,); a product with it sums over the batch faster than `sum` does.
        mean_of_rows, mean_of_units: what averages over the batch, shape (b,), and over the units, shape (width,).
        centred: z without its mean, for layer normalisation divided by its deviation too; shape (b, width).
        scratch: memory of the same shape.
        inverse: 1 / deviation, of each unit or of each example.
    """

    def __init__(self, b: int, width: int, dtype: Any) -> None:
        self.ones = np.ones(b, dtype)
        self.mean_of_rows = np.full(b, 1.0 / b, dtype)
        self.mean_of_units = np.full(width, 1.0 / max(1, width), dtype)
        self.centred = aligned_empty((b, width), dtype)
        self.scratch = aligned_empty((b, width), dtype)
        self.inverse = np.empty(0, dtype)


class AbstractNormalization(AbstractPart):
    """How a layer's products are brought to mean 0 and deviation 1 before scale, shift and activation.

    Attributes:
        n_scales: how many values scale a unit: one, or none.
        n_statistics: how many values a unit remembers for inference.
        mixes_examples: whether what comes of an example depends on the others of its batch.
    """

    mixes_examples: ClassVar[bool] = False
    n_scales: ClassVar[int] = 1
    n_statistics: ClassVar[int] = 0

    def space(self, b: int, width: int, dtype: Any) -> NormSpace:
        """Return the memory for a batch of `b` examples."""
        return NormSpace(b, width, dtype)

    @abstractmethod
    def forward(
        self, z: Array, scale: Array, shift: Array | None, statistics: Array, space: NormSpace, *, training: bool
    ) -> None:
        """Replace `z` by `scale * normalised(z) + shift`.

        Args:
            z: the products, shape (b, width).
            scale: shape (width,); empty without normalisation.
            shift: shape (width,), or None for a layer without a bias.
            statistics: shape (n_statistics, width); updated in place when training.
            space: filled for `backward` when training.
            training: whether to normalise by the batch itself and learn from it.
        """

    @abstractmethod
    def backward(self, dz: Array, scale: Array, d_scale: Array, d_shift: Array | None, space: NormSpace) -> None:
        """Turn `dz`, the gradient by the layer's result, into that by its products; write those of scale and shift."""

    def start(self, statistics: Array) -> None:
        """Set what is remembered to what it is before any batch: mean 0, variance 1."""
        for row, value in zip(statistics, (0.0, 1.0), strict=False):
            row[...] = value


normalizations: Registry[AbstractNormalization] = Registry("normalization")
AbstractNormalization.family = normalizations


@normalizations.register("none")
@dataclass(frozen=True)
class NoNormalization(AbstractNormalization):
    """Products as they are, and a plain bias."""

    n_scales: ClassVar[int] = 0

    def space(self, b: int, width: int, dtype: Any) -> NormSpace:
        return NormSpace(b, 0, dtype)

    def forward(
        self, z: Array, scale: Array, shift: Array | None, statistics: Array, space: NormSpace, *, training: bool
    ) -> None:
        if shift is not None:
            np.add(z, shift, out=z)

    def backward(self, dz: Array, scale: Array, d_scale: Array, d_shift: Array | None, space: NormSpace) -> None:
        if d_shift is not None:
            np.dot(space.ones, dz, out=d_shift)


@normalizations.register("layer")
@dataclass(frozen=True)
class LayerNormalization(AbstractNormalization):
    """Over the units of each example: equations 3 and 4 of Ba, Kiros & Hinton 2016, arXiv:1607.06450."""

    eps: float = number(1e-5, above=0.0)

    def forward(
        self, z: Array, scale: Array, shift: Array | None, statistics: Array, space: NormSpace, *, training: bool
    ) -> None:
        normed = space.centred
        np.subtract(z, np.dot(z, space.mean_of_units)[:, None], out=normed)
        np.multiply(normed, normed, out=z)
        variance = np.dot(z, space.mean_of_units)
        space.inverse = (1.0 / np.sqrt(variance + self.eps))[:, None]
        np.multiply(normed, space.inverse, out=normed)
        np.multiply(normed, scale, out=z)
        if shift is not None:
            np.add(z, shift, out=z)

    def backward(self, dz: Array, scale: Array, d_scale: Array, d_shift: Array | None, space: NormSpace) -> None:
        normed, scratch = space.centred, space.scratch
        if d_shift is not None:
            np.dot(space.ones, dz, out=d_shift)
        np.multiply(dz, normed, out=scratch)
        np.dot(space.ones, scratch, out=d_scale)
        np.multiply(dz, scale, out=dz)
        along = np.dot(np.multiply(dz, normed, out=scratch), space.mean_of_units)[:, None]
        np.subtract(dz, np.dot(dz, space.mean_of_units)[:, None], out=dz)
        np.multiply(normed, along, out=scratch)
        np.subtract(dz, scratch, out=dz)
        np.multiply(dz, space.inverse, out=dz)


@normalizations.register("batch")
@dataclass(frozen=True)
class BatchNormalization(AbstractNormalization):
    """Over the examples of the batch: Algorithm 1 of Ioffe & Szegedy 2015, arXiv:1502.03167; at inference Algorithm 2.

    Attributes:
        momentum: the weight of the newest batch in the running mean and the running (unbiased) variance.
    """

    n_statistics: ClassVar[int] = 2
    mixes_examples: ClassVar[bool] = True
    momentum: float = number(0.1, above=0.0, at_most=1.0)
    eps: float = number(1e-5, above=0.0)

    def forward(
        self, z: Array, scale: Array, shift: Array | None, statistics: Array, space: NormSpace, *, training: bool
    ) -> None:
        running_mean, running_variance = statistics
        if training:
            b = len(z)
            mean = np.dot(space.mean_of_rows, z)
            np.subtract(z, mean, out=space.centred)
            np.multiply(space.centred, space.centred, out=space.scratch)
            variance = np.dot(space.mean_of_rows, space.scratch)
            space.inverse = 1.0 / np.sqrt(variance + self.eps)
            np.multiply(space.centred, scale * space.inverse, out=z)
            if shift is not None:
                np.add(z, shift, out=z)
            running_mean += self.momentum * (mean - running_mean)
            running_variance += self.momentum * (variance * (b / max(1, b - 1)) - running_variance)
        else:
            coefficient = scale / np.sqrt(running_variance + self.eps)
            np.multiply(z, coefficient, out=z)
            np.add(z, (0.0 if shift is None else shift) - running_mean * coefficient, out=z)

    def backward(self, dz: Array, scale: Array, d_scale: Array, d_shift: Array | None, space: NormSpace) -> None:
        centred, scratch, inverse = space.centred, space.scratch, space.inverse
        np.multiply(dz, centred, out=scratch)
        along = np.dot(space.mean_of_rows, scratch)
        mean = np.dot(space.mean_of_rows, dz)
        np.multiply(along, inverse * len(dz), out=d_scale)
        if d_shift is not None:
            np.multiply(mean, len(dz), out=d_shift)
        np.multiply(centred, along * inverse * inverse, out=scratch)
        np.add(scratch, mean, out=scratch)
        np.subtract(dz, scratch, out=dz)
        np.multiply(dz, scale * inverse, out=dz)


LEVELS = 65_536  # a draw is 16 bits, a quarter of what the generator makes at once


def draw_mask(mask: Array, rate: float, rng: np.random.Generator) -> None:
    """Fill `mask` with 0 where a unit is dropped and 1 / (1 - rate) elsewhere: Srivastava et al. 2014, inverted.

    Args:
        mask: floating point, any shape.
        rate: the share of units to drop, in [0, 1), to the nearest 1 / 65536.
        rng: the stream of this epoch.
    """
    kept = max(1, round((1.0 - rate) * LEVELS))
    draws = rng.bit_generator.random_raw(-(-mask.size // 4)).view(np.uint16)[: mask.size]
    np.multiply(draws.reshape(mask.shape) < kept, mask.dtype.type(LEVELS / kept), out=mask)
