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
    """Return an uninitialised array that starts on a cache line, so that speed does not depend on its alignment."""
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
    """Return the random stream for one purpose; the same arguments always give the same numbers.

    Every use of random numbers has a stream of its own: one for the split, one for the initial weights of each layer,
    one for the order of each epoch. What is drawn from one stream does not shift another, so that adding dropout does
    not change the order of the examples. Because a stream is keyed by its purpose and its epoch, and not by what was
    drawn before, a resumed training makes the same stream again and needs no saved generator state.

    Args:
        seed: the training's seed, at least 0.
        purpose: `split`, `init`, `shuffle`, ...
        steps: further keys, such as the epoch or the layer, each at least 0.
    """
    key = (zlib.crc32(purpose.encode()), *steps)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


@functools.cache
def _thread_pools() -> Any:
    from threadpoolctl import ThreadpoolController  # imported on first use, because it searches the loaded libraries

    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[Any]:
    """Limit BLAS to one thread, because the number of threads changes the order of summation, and so the last bits."""
    limited: AbstractContextManager[Any] = _thread_pools().limit(limits=1, user_api="blas")
    return limited
