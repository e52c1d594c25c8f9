"""IDX files, the form in which MNIST and its likes are published: found or downloaded, and verified.

A file is the bytes 0 0, the type (8: unsigned bytes), the number of dimensions, each dimension as a big-endian uint32,
and the values (http://yann.lecun.com/exdb/mnist/). What is wanted is known beforehand to the last bit, so nothing that
a file says of itself is believed: its header is compared, and no more is decompressed or stored than must be there.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError
from mlp.untrusted import describe_array, max_content_size, read_gzip_or_plain

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
TIMEOUTS = (5.0, 30.0)  # seconds to connect, and between two answers


@dataclass(frozen=True)
class IdxFile:
    """A published IDX file of unsigned bytes.

    Attributes:
        name: of the file, without `.gz`.
        shape: of the array in it.
        sha256: of the payload, that is of the file without its gzip wrapper: every mirror has the same one.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def header(self) -> bytes:
        """The bytes before the values."""
        return struct.pack(f">HBB{len(self.shape)}I", 0, 8, len(self.shape), *self.shape)

    @property
    def n_bytes(self) -> int:
        """The size of the payload."""
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
    """Return the files of MNIST and of what has its form, with the digests of their payloads in this order."""
    shapes = {
        "train-images-idx3-ubyte": (60_000, 28, 28),
        "train-labels-idx1-ubyte": (60_000,),
        "t10k-images-idx3-ubyte": (10_000, 28, 28),
        "t10k-labels-idx1-ubyte": (10_000,),
    }
    return tuple(IdxFile(name, shape, digest) for (name, shape), digest in zip(shapes.items(), sha256, strict=True))


def read_idx(file: Path) -> Array:
    """Return the array of any IDX file, compressed or not; read-only.

    Memory is allocated only after the size in the header is known to be possible for this file.

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
        raise ConfigError(f"{file}: ends within its header.")
    shape = struct.unpack(f">{head[3]}I", head[4:n_header])
    n_bytes = n_header + math.prod(shape) * dtype.itemsize
    payload = read_gzip_or_plain(file, n_bytes + 1) if n_bytes <= max_content_size(file) else b""
    if len(payload) != n_bytes:
        raise ConfigError(f"{file}: must contain {describe_array(shape, dtype)} as its header states, but does not.")
    return np.frombuffer(payload, dtype, offset=n_header).reshape(shape)


@dataclass(frozen=True)
class Places:
    """Where the files of one data set may come from.

    Attributes:
        data_dir: the user's own files, if there are any; looked into first.
        downloads: where downloads are kept.
        mirrors: addresses to download from, in this order; none when nothing shall be downloaded.
        progress: whether to show a bar while downloading.
    """

    data_dir: Path | None
    downloads: Path
    mirrors: tuple[str, ...]
    progress: bool

    def find(self, file: IdxFile, subfolder: str) -> Array:
        """Return the array of a file from the first place that has it.

        Args:
            file: what is wanted.
            subfolder: of the user's folder, in which it would be.

        Raises:
            ConfigError: when the user's own file is not the published one.
            FileNotFoundError: when no place has it, saying which were tried.
        """
        folders = ([] if self.data_dir is None else [self.data_dir / subfolder]) + [self.downloads]
        failures = []
        for candidate in (folder / name for folder in folders for name in (f"{file.name}.gz", file.name)):
            try:
                return file.read(candidate)
            except FileNotFoundError:
                continue
            except ConfigError:
                # A download was whole when it was stored: one that has decayed is fetched again.
                if candidate.parent != self.downloads or not self.mirrors:
                    raise
                failures.append(f"{candidate} (damaged)")
        if self.mirrors:
            self.downloads.mkdir(parents=True, exist_ok=True)
        for mirror in self.mirrors:
            try:
                return self._download(file, f"{mirror}{file.name}.gz")
            except (OSError, ConfigError) as error:
                failures.append(f"{mirror} ({_in_short(error)})")
        tried = f"nor did any of these give it: {', '.join(failures)}" if failures else "downloading was not asked for"
        raise FileNotFoundError(f"{file.name}.gz is not in {' nor in '.join(map(str, folders))}; {tried}.")

    def _download(self, file: IdxFile, url: str) -> Array:
        """Download a file, verify it, keep it, and return the array in it."""
        from pooch import HTTPDownloader  # imports requests: a fifth of a second
        from tqdm import tqdm  # type: ignore[import-untyped]

        bar: Any = tqdm(desc=file.name, total=file.n_bytes, unit="B", unit_scale=True) if self.progress else False
        draft = self.downloads / f"{file.name}.draft"
        try:
            with draft.open("wb") as stream:
                writer = _BoundedWriter(stream, file.n_bytes + 4096)  # what does not compress grows by a little
                HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=TIMEOUTS)(url, writer, None)
            array = file.read(draft)
            draft.replace(self.downloads / f"{file.name}.gz")
        finally:
            draft.unlink(missing_ok=True)
            if self.progress:
                bar.close()
        return array


class _BoundedWriter:
    """A file that takes so many bytes and no more, whatever a mirror sends."""

    def __init__(self, file: BinaryIO, n_bytes: int) -> None:
        self.file = file
        self.left = n_bytes

    def write(self, chunk: bytes) -> None:
        self.left -= len(chunk)
        if self.left < 0:
            raise ConfigError("there is more than there should be.")
        self.file.write(chunk)

    def flush(self) -> None:
        self.file.flush()


def _in_short(error: Exception) -> str:
    """Return why a mirror failed, in a few words: what requests says would fill the screen."""
    if isinstance(error, ConfigError):
        return "sent another file than the published one"
    response = getattr(error, "response", None)
    return (
        f"HTTP {response.status_code}"
        if response is not None
        else getattr(error, "strerror", "") or type(error).__name__
    )
