"""Dropout: random masks that scale what they keep, so that inference needs no correction."""

from __future__ import annotations

import numpy as np

from mlp.arrays import Array

LEVELS = 65_536  # the values of 16 bits: one 64-bit number of the generator gives four draws


def draw_mask(mask: Array, rate: float, rng: np.random.Generator) -> None:
    """Fill `mask` with 0 where a unit is dropped and 1 / (1 - rate) elsewhere: Srivastava et al. 2014, inverted.

    Args:
        mask: a floating-point array of any shape.
        rate: the fraction of units to drop, in [0, 1); it is rounded to a multiple of 1 / 65536.
        rng: the random stream of this epoch.
    """
    n_kept = max(1, round((1.0 - rate) * LEVELS))
    draws = rng.bit_generator.random_raw(-(-mask.size // 4)).view(np.uint16)[: mask.size]
    np.multiply(draws.reshape(mask.shape) < n_kept, mask.dtype.type(LEVELS / n_kept), out=mask)
