"""Normalisations, which are applied to `x @ weights` before the activation.

A normalised layer computes `scale * normalised(z) + shift`; the shift takes the place of the bias. A `NormSpace` holds
what the forward pass keeps for the backward pass. The running statistics that batch normalisation uses for inference
are stored in theta, behind the parameters that are trained.
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
    """The work arrays of one layer's normalisation for a batch of `b` examples.

    Sums and means are products with constant vectors, which are faster than `sum` and `mean`.

    Attributes:
        ones: ones, shape (b,); `ones @ z` is the sum over the batch.
        mean_of_rows: 1 / b, shape (b,); `mean_of_rows @ z` is the mean over the batch.
        mean_of_units: 1 / width, shape (width,); `z @ mean_of_units` is the mean over the units.
        centred: z minus its mean, shape (b, width); layer normalisation also divides it by the standard deviation.
        scratch: an array of the same shape for intermediate results.
        inverse: 1 / standard deviation of each unit or of each example.
    """

    def __init__(self, b: int, width: int, dtype: Any) -> None:
        self.ones = np.ones(b, dtype)
        self.mean_of_rows = np.full(b, 1.0 / b, dtype)
        self.mean_of_units = np.full(width, 1.0 / max(1, width), dtype)
        self.centred = aligned_empty((b, width), dtype)
        self.scratch = aligned_empty((b, width), dtype)
        self.inverse = np.empty(0, dtype)


class AbstractNormalization(AbstractPart):
    """A rule that brings the products of a layer to mean 0 and standard deviation 1 before its activation.

    Attributes:
        n_scales: the number of scale parameters per unit, 0 or 1.
        n_statistics: the number of running statistics per unit that inference uses.
        mixes_examples: whether the result of an example depends on the other examples of its batch.
    """

    n_scales: ClassVar[int] = 1
    n_statistics: ClassVar[int] = 0
    mixes_examples: ClassVar[bool] = False

    def space(self, b: int, width: int, dtype: Any) -> NormSpace:
        """Return the work arrays for a batch of `b` examples."""
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
            statistics: the running statistics, shape (n_statistics, width); updated in place when training.
            space: the work arrays; when training, they are filled for `backward`.
            training: whether to use the statistics of the batch and update the running ones.
        """

    @abstractmethod
    def backward(self, dz: Array, scale: Array, d_scale: Array, d_shift: Array | None, space: NormSpace) -> None:
        """Turn the gradient with respect to the layer's result into the one with respect to its products.

        Args:
            dz: the gradient, shape (b, width), replaced in place.
            scale: as in `forward`.
            d_scale: the gradient with respect to the scale, overwritten.
            d_shift: the gradient with respect to the shift, overwritten; None for a layer without a bias.
            space: the work arrays as `forward` left them.
        """

    def start(self, statistics: Array) -> None:
        """Reset the running mean to 0 and the running variance to 1."""
        for row, value in zip(statistics, (0.0, 1.0), strict=False):
            row[...] = value


normalizations: Registry[AbstractNormalization] = Registry("normalization")
AbstractNormalization.family = normalizations


@normalizations.register("none")
@dataclass(frozen=True)
class NoNormalization(AbstractNormalization):
    """No normalisation: the products plus the bias."""

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
    """Normalises over the units of each example: equations 3 and 4 of Ba, Kiros & Hinton 2016, arXiv:1607.06450."""

    eps: float = number(1e-5, above=0.0)

    def forward(
        self, z: Array, scale: Array, shift: Array | None, statistics: Array, space: NormSpace, *, training: bool
    ) -> None:
        normed = space.centred  # divided by the standard deviation below
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
    """Normalises each unit over the batch: Algorithms 1 (training) and 2 (inference) of Ioffe & Szegedy 2015,
    arXiv:1502.03167.

    Attributes:
        momentum: the weight of the newest batch in the running mean and the running (unbiased) variance.
        eps: added to the variance before its root is taken.
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
            unbiased = variance * (b / max(1, b - 1))
            running_variance += self.momentum * (unbiased - running_variance)
        else:
            # Scale and normalisation are one product, shift and mean one sum: two passes instead of four.
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
