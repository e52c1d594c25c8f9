"""Clipping of the gradient, by value and by norm. Both leave a gradient that is not finite as it is."""

from __future__ import annotations

import math

import numpy as np

from mlp.arrays import Array


def clip_by_value(grad: Array, limit: float) -> None:
    """Clip each derivative to [-limit, limit] in place."""
    low, high = float(grad.min()), float(grad.max())
    if math.isfinite(low) and math.isfinite(high) and max(-low, high) > limit:
        np.clip(grad, -limit, limit, out=grad)


def clip_by_norm(grad: Array, limit: float) -> None:
    """Scale the gradient in place to a norm of at most `limit`: Algorithm 1 of Pascanu et al. 2013, arXiv:1211.5063."""
    info = np.finfo(grad.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(np.dot(grad, grad))
    if info.tiny <= square <= info.max:
        if math.sqrt(square) > limit:
            np.multiply(grad, limit / math.sqrt(square), out=grad)
        return
    # The sum of the squares overflowed or vanished. Divided by the largest derivative first, it cannot.
    largest = max(-float(grad.min()), float(grad.max()))
    if 0.0 < largest <= info.max:
        scaled = grad / largest
        norm = math.sqrt(float(np.dot(scaled, scaled)))
        if norm > limit / largest:
            np.multiply(scaled, limit / norm, out=grad)
