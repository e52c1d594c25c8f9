"""Activations with trainable weights: each hidden unit learns how much of its activation it uses."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp.activations import AbstractActivation
from mlp.arrays import Array, aligned_empty


class ParametricActivation:
    """The function z + alpha · (f(z) - z), with one trainable alpha per unit, for batches of `b` examples.

    An alpha of 1 is the activation f, and an alpha of 0 the identity. The source is section 3 of Holzmüller et al.
    2024, arXiv:2407.04491. The interface of both passes is that of `mlp.activations.AbstractActivation`.

    Args:
        activation: the activation f.
        alpha: shape (width,).
        d_alpha: where `backward` writes the gradient with respect to alpha, shape (width,).
        b: the number of examples.
    """

    in_place = False

    def __init__(self, activation: AbstractActivation, alpha: Array, d_alpha: Array, b: int) -> None:
        shape: tuple[int, ...] = (b, len(alpha))
        dtype: Any = alpha.dtype
        self._activation, self._alpha, self._d_alpha = activation, alpha, d_alpha
        self._ones = np.ones(b, dtype)
        self._z, self._difference = aligned_empty(shape, dtype), aligned_empty(shape, dtype)
        self._a = self._z if activation.in_place else aligned_empty(shape, dtype)

    def forward(self, z: Array, a: Array) -> None:
        """Write the result for the pre-activations `z` into `a`; both have shape (b, width)."""
        np.copyto(self._z, z)  # a copy, because the activation may overwrite its argument
        self._activation.forward(self._z, self._a)
        np.subtract(self._a, z, out=self._difference)
        np.multiply(self._difference, self._alpha, out=a)
        np.add(a, z, out=a)

    def backward(self, z: Array, a: Array, da: Array) -> None:
        """Turn `da` into the gradient with respect to `z` in place, and write the one with respect to alpha."""
        np.multiply(self._difference, da, out=self._difference)
        np.dot(self._ones, self._difference, out=self._d_alpha)
        through = np.multiply(da, self._alpha, out=a)  # the gradient with respect to f(z)
        np.subtract(da, through, out=da)
        self._activation.backward(self._z, self._a, through)
        np.add(da, through, out=da)
