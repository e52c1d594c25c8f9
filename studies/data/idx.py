"""IDX files, the format in which MNIST and similar data sets are published.

A file consists of two zero bytes, one byte for the type of the values (8 is uint8), one byte for the number of
dimensions, each dimension as a big-endian uint32, and the values (http://yann.lecun.com/exdb/mnist/). The content of a
published file is known in advance, so its header is only compared with the expected one.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError
from mlp.untrusted import MAX_IN_MEMORY, describe_array, max_content_size, read_gzip_or_plain

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass(frozen=True)
class IdxFile:
    """A published IDX file of unsigned bytes.

    Attributes:
        name: the name of the file, without `.gz`.
        shape: the shape of its array.
        sha256: the SHA-256 of the payload, which is the decompressed file. All mirrors have the same payload, but not
            the same compressed file.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def header(self) -> bytes:
        """The expected bytes before the values."""
        return struct.pack(f">HBB{len(self.shape)}I", 0, 8, len(self.shape), *self.shape)

    @property
    def n_bytes(self) -> int:
        """The size of the payload in bytes."""
        return len(self.header) + math.prod(self.shape)

    def read(self, file: Path) -> Array:
        """Return the array in a file, compressed or not; uint8, read-only.

        Raises:
            ConfigError: if the content is not exactly the published one.
            FileNotFoundError: if there is no such file.
        """
        try:
            payload = read_gzip_or_plain(file, self.n_bytes + 1)
        except ConfigError as error:
            raise ConfigError(f"{error.problem} Download it again.") from error
        if problem := self._find_problem(payload):
            raise ConfigError(f"{file}: {problem} Download it again.")
        return np.frombuffer(payload, np.uint8, offset=len(self.header)).reshape(self.shape)

    def _find_problem(self, payload: bytes) -> str:
        """Return how a payload differs from the published one, or an empty string."""
        if not payload.startswith(self.header):
            form = f"an IDX file of {describe_array(self.shape, np.dtype(np.uint8))}"
            got = payload[: len(self.header)].hex(" ") or "nothing"
            return f"must be {form} and begin with {self.header.hex(' ')}, got {got}."
        if len(payload) != self.n_bytes:
            got = "more" if len(payload) > self.n_bytes else f"{len(payload)}"
            return f"must contain {self.n_bytes} bytes when decompressed, got {got}."
        sha256 = hashlib.sha256(payload).hexdigest()
        if sha256 != self.sha256:
            return f"is not the published file: the SHA-256 of its payload must be {self.sha256}, got {sha256}."
        return ""


def mnist_files(*sha256: str) -> tuple[IdxFile, ...]:
    """Return four files with the names and sizes of those of MNIST.

    Args:
        sha256: the digests of their payloads: training images and labels, then test images and labels.
    """
    shapes = {
        "train-images-idx3-ubyte": (60_000, 28, 28),
        "train-labels-idx1-ubyte": (60_000,),
        "t10k-images-idx3-ubyte": (10_000, 28, 28),
        "t10k-labels-idx1-ubyte": (10_000,),
    }
    return tuple(IdxFile(name, shape, digest) for (name, shape), digest in zip(shapes.items(), sha256, strict=True))


def read_idx(file: Path) -> Array:
    """Return the array of any IDX file, compressed or not; read-only.

    Memory is allocated only if a file of this size can contain what its header states.

    Raises:
        ConfigError: if the file is not an IDX file, or its size differs from what its header states.
        FileNotFoundError: if there is no such file.
    """
    head = read_gzip_or_plain(file, 4 + 4 * 255)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES or not head[3]:
        problem = "is not an IDX file: it must begin with 00 00, a type and the number of dimensions"
        raise ConfigError(f"{file}: {problem}, got {head[:4].hex(' ') or 'nothing'}.")
    dtype, n_header = np.dtype(TYPES[head[2]]), 4 + 4 * head[3]
    if len(head) < n_header:
        raise ConfigError(f"{file}: is cut off within its header.")
    shape = struct.unpack(f">{head[3]}I", head[4:n_header])
    n_bytes = n_header + math.prod(shape) * dtype.itemsize
    form = describe_array(shape, dtype)
    is_possible = n_bytes <= max_content_size(file)
    if is_possible and n_bytes > MAX_IN_MEMORY:
        problem = f"must have at most {MAX_IN_MEMORY} bytes when decompressed, got {form}"
        raise ConfigError(f"{file}: {problem}. Save it with numpy.save: an .npy file may have any size.")
    payload = read_gzip_or_plain(file, n_bytes + 1) if is_possible else b""
    if len(payload) != n_bytes:
        raise ConfigError(f"{file}: must contain {form} as its header states, but does not.")
    return np.frombuffer(payload, dtype, offset=n_header).reshape(shape)
