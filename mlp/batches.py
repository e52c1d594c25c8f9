"""Batches: the rows of a data set, gathered and scaled for the network.

Inputs stay as they are on disk (often uint8 pixels, memory-mapped). Only the rows of the next few batches are copied
into one reused buffer and scaled there. A float32 copy of the data set would take four times the memory of its bytes,
and taking bytes and then widening them is faster than taking floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp.arrays import Array, aligned_empty
from mlp.data import Examples
from mlp.encoding import TableEncoding

PAGE_ROWS = 512  # rows gathered at once; small batches are slices of such a page, which costs one call per page
MAX_ENCODED = 64 << 20  # bytes of the encoded rows of a table up to which they are encoded once, not in every epoch


class BatchReader:
    """Gathers rows of a data set, encoded and in the type of the network's arithmetic.

    Args:
        examples: the rows that may be read.
        batch_rows: the largest number of rows that `read` is asked for.
        dtype: the type of the batches.
    """

    def __init__(self, examples: Examples, batch_rows: int, dtype: Any) -> None:
        self._encoding = examples.encoding
        self._position: Array | None = None
        inputs = np.asarray(examples.inputs)  # a plain view, because a memory map is slow to index
        if isinstance(self._encoding, TableEncoding):
            n_bytes = len(examples) * examples.n_inputs * np.dtype(dtype).itemsize
            if n_bytes <= MAX_ENCODED:
                self._position = np.empty(len(inputs), np.intp)
                self._position[examples.rows] = np.arange(len(examples))
                inputs = _encode_once(examples, dtype)
        self._inputs = inputs
        page_rows = batch_rows * max(1, PAGE_ROWS // max(1, batch_rows))
        raw_rows = page_rows if self._position is None else 0
        self._raw = aligned_empty((raw_rows, inputs.shape[1]), inputs.dtype)
        self._scaled = aligned_empty((page_rows, examples.n_inputs), dtype)
        self.set_order(examples.rows)

    def set_order(self, rows: Array) -> None:
        """Set the rows, and the order in which they are read."""
        self._rows = rows if self._position is None else self._position[rows]
        self._start = self._stop = 0

    def read(self, start: int, stop: int) -> Array:
        """Return the inputs at positions `start` to `stop` of that order, shape (b, d).

        The next call overwrites them.
        """
        if not self._start <= start <= stop <= self._stop:
            rows = self._rows[start : start + len(self._scaled)]
            self._start, self._stop = start, start + len(rows)
            scaled = self._scaled[: len(rows)]
            raw = scaled if self._position is not None else self._raw[: len(rows)]
            np.take(self._inputs, rows, axis=0, out=raw, mode="clip")  # any other mode buffers `out`
            if self._position is None:
                self._encoding.apply(raw, scaled)
        return self._scaled[start - self._start : stop - self._start]


def _encode_once(examples: Examples, dtype: Any) -> Array:
    """Return the encoded inputs of some examples, shape (n, d), which are kept with the examples."""
    key = np.dtype(dtype).name
    if key not in examples.encoded:
        x = aligned_empty((len(examples), examples.n_inputs), dtype)
        inputs = np.asarray(examples.inputs)
        for start in range(0, len(examples), PAGE_ROWS):
            rows = examples.rows[start : start + PAGE_ROWS]
            examples.encoding.apply(inputs[rows], x[start : start + len(rows)])
        examples.encoded[key] = x
    return examples.encoded[key]


@dataclass(frozen=True)
class ShuffledEpoch:
    """What goes with the training examples of one epoch, in their shuffled order.

    Attributes:
        targets: of the examples, scaled for the network, first axis n.
        weights: of the examples, shape (n,), or None.
        noise: the random stream of dropout and input noise.
        learning_rates: one per step.
    """

    targets: Array
    weights: Array | None
    noise: np.random.Generator
    learning_rates: list[float]

    def batch(self, start: int, stop: int) -> tuple[Array, Array | None]:
        """Return the targets and the weights of some consecutive examples."""
        return self.targets[start:stop], None if self.weights is None else self.weights[start:stop]

    def total_weight(self, start: int, stop: int) -> float:
        """Return the sum of the weights of some consecutive examples."""
        return stop - start if self.weights is None else float(self.weights[start:stop].sum())
