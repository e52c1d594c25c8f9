"""Six training and three test examples in four IDX files, and a source that accepts them as `mnist`."""

from __future__ import annotations

import hashlib

import numpy as np

from studies.data.idx import IdxFile
from studies.data.published import DIGITS, IdxSource

NOWHERE = ("http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/")  # the discard port, which refuses connections
TINY = {
    "train-images-idx3-ubyte": np.arange(24, dtype=np.uint8).reshape(6, 2, 2),
    "train-labels-idx1-ubyte": np.array([0, 1, 2, 3, 4, 5], np.uint8),
    "t10k-images-idx3-ubyte": np.arange(100, 112, dtype=np.uint8).reshape(3, 2, 2),
    "t10k-labels-idx1-ubyte": np.array([9, 8, 7], np.uint8),
}


def to_idx(array: np.ndarray) -> bytes:
    """Return an IDX file of unsigned bytes."""
    dimensions = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + dimensions + array.tobytes()


def tiny_file(name: str) -> IdxFile:
    """Return the expected content of one of the files."""
    return IdxFile(name, TINY[name].shape, hashlib.sha256(to_idx(TINY[name])).hexdigest())


def tiny_source(*mirrors: str) -> IdxSource:
    """Return the source of the files, with these mirrors."""
    return IdxSource("mnist", "d" * 64, DIGITS, tuple(tiny_file(name) for name in TINY), mirrors or NOWHERE)
