"""Batches: the rows of a data set, gathered and scaled for the network.

Inputs stay as they are on disk (often uint8 pixels, memory-mapped). Only the rows of the next few batches are copied
into one reused buffer and scaled there. A float32 copy of the data set would take four times the memory of its bytes,
and taking bytes and then widening them is faster than taking floats.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp.arrays import Array, aligned_empty
from mlp.data import Examples

PAGE_ROWS = 512  # rows gathered at once; small batches are slices of such a page, which costs one call per page


class BatchReader:
    """Gathers rows of a data set, scaled and in the type of the network's arithmetic.

    Args:
        examples: the rows that may be read.
        batch_rows: the largest number of rows that `read` is asked for.
        dtype: the type of the batches.
    """

    def __init__(self, examples: Examples, batch_rows: int, dtype: Any) -> None:
        self._inputs = np.asarray(examples.inputs)  # a plain view, because a memory map is slow to index
        self._scaling = examples.scaling
        page_rows = batch_rows * max(1, PAGE_ROWS // max(1, batch_rows))
        shape = (page_rows, self._inputs.shape[1])
        self._raw = aligned_empty(shape, self._inputs.dtype)
        self._scaled = aligned_empty(shape, dtype)
        self.set_order(examples.rows)

    def set_order(self, rows: Array) -> None:
        """Set the rows, and the order in which they are read."""
        self._rows = rows
        self._start = self._stop = 0

    def read(self, start: int, stop: int) -> Array:
        """Return the inputs at positions `start` to `stop` of that order, shape (b, d).

        The next call overwrites them.
        """
        if not self._start <= start <= stop <= self._stop:
            rows = self._rows[start : start + len(self._scaled)]
            self._start, self._stop = start, start + len(rows)
            raw = self._raw[: len(rows)]
            np.take(self._inputs, rows, axis=0, out=raw, mode="clip")  # any other mode buffers `out`
            self._scaling.apply(raw, self._scaled[: len(rows)])
        return self._scaled[start - self._start : stop - self._start]
