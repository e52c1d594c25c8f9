"""The steps that optimizers share, each a few passes over vectors in place."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from mlp.arrays import Array

Slots: TypeAlias = tuple[Array, ...]


def accumulate(total: Array, decay: float, term: Array) -> None:
    """Set `total` to decay · total + term."""
    np.multiply(total, decay, out=total)
    np.add(total, term, out=total)


def average(mean: Array, decay: float, term: Array) -> None:
    """Set `mean` to decay · mean + (1 - decay) · term; `term` is overwritten."""
    np.multiply(term, 1.0 - decay, out=term)
    accumulate(mean, decay, term)


def descend(theta: Array, direction: Array, rate: float, out: Array) -> None:
    """Move `theta` by -rate · direction; `out`, which may be the direction, is overwritten."""
    np.multiply(direction, rate, out=out)
    np.subtract(theta, out, out=theta)


def descend_with_momentum(
    theta: Array, grad: Array, slots: Slots, scratch: Array, rate: float, momentum: float, *, nesterov: bool = False
) -> None:
    """Set the velocity v, the only slot, to momentum · v + g, and move by -rate · v; overwrite `grad` and `scratch`.

    With Nesterov, move by -rate · (g + momentum · v). Without momentum there is no slot; move by -rate · g.
    """
    if not momentum:
        descend(theta, grad, rate, grad)
        return
    (v,) = slots
    accumulate(v, momentum, grad)
    if nesterov:
        np.multiply(v, momentum, out=scratch)
        np.add(grad, scratch, out=grad)
    descend(theta, grad if nesterov else v, rate, grad)
