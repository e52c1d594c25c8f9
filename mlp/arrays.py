"""Arrays: allocation, digests, independent random streams, and the one BLAS thread of a training."""

from __future__ import annotations

import functools
import hashlib
import zlib
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

CACHE_LINE = 64


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an uninitialised array that starts on a cache line, so that speed does not hang on where it lies."""
    dtype = np.dtype(dtype)
    n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    block = np.empty(n_bytes + CACHE_LINE, np.uint8)
    start = -block.ctypes.data % CACHE_LINE
    array: Array = block[start : start + n_bytes].view(dtype).reshape(shape)
    return array


def aligned_zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return a zeroed array that starts on a cache line."""
    array = aligned_empty(shape, dtype)
    array[...] = 0
    return array


def digest(*arrays: Array) -> str:
    """Return the SHA-256 of the types, shapes and values of arrays, as 64 hexadecimal digits."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def stream(seed: int, purpose: str, *steps: int) -> np.random.Generator:
    """Return the random stream of one purpose, the same wherever and whenever it is asked for.

    A stream is keyed by what it is for (and by the epoch, say), not by what was drawn before: a training
    that is resumed needs no generator state.

    Args:
        seed: the training's seed, at least 0.
        purpose: `split`, `init`, `shuffle`, ...
        steps: further keys, each at least 0.
    """
    key = (zlib.crc32(purpose.encode()), *steps)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


@functools.cache
def _thread_pools() -> Any:
    from threadpoolctl import ThreadpoolController  # looks through the loaded libraries: once, when first needed

    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[Any]:
    """Hold BLAS to one thread: the number of threads changes how sums are cut, and so the bits of the result."""
    limited: AbstractContextManager[Any] = _thread_pools().limit(limits=1, user_api="blas")
    return limited
