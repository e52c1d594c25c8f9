"""IDX files, the form in which MNIST and its likes are published: found or downloaded, and verified.

A file is the bytes 0 0, the type (8: unsigned bytes), the number of dimensions, each dimension as a big-endian uint32,
and the values (http://yann.lecun.com/exdb/mnist/). What is wanted is known beforehand to the last bit, so nothing that
a file says of itself is believed: its header is compared, and no more is decompressed or stored than must be there.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError

GZIP_MAGIC = b"\x1f\x8b"
DEFLATE_MOST = 1032  # times that data can be longer than their compressed form: the limit of the format
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
        """Return the array that a file, compressed or not, holds; uint8, read-only.

        Raises:
            ConfigError: when it holds anything but the published payload.
            FileNotFoundError: when there is no such file.
        """
        payload = read_payload(file, self.n_bytes)
        if not payload.startswith(self.header):
            form = f"an IDX file of {'×'.join(map(str, self.shape))} unsigned bytes"
            got = payload[: len(self.header)].hex(" ") or "nothing"
            raise ConfigError(f"{file} must be {form}, beginning {self.header.hex(' ')}, got {got}. Fetch it anew.")
        if len(payload) != self.n_bytes:
            got = "more" if len(payload) > self.n_bytes else f"{len(payload)}"
            raise ConfigError(f"{file} must hold {self.n_bytes} bytes when decompressed, got {got}. Fetch it anew.")
        sha256 = hashlib.sha256(payload).hexdigest()
        if sha256 != self.sha256:
            problem = f"is not the published file: the SHA-256 of its payload must be {self.sha256}, got {sha256}."
            raise ConfigError(f"{file} {problem} Fetch it anew.")
        return np.frombuffer(payload, np.uint8, offset=len(self.header)).reshape(self.shape)


def mnist_files(*sha256: str) -> tuple[IdxFile, ...]:
    """Return the files of MNIST and of what has its form, with the digests of their payloads in this order."""
    shapes = {
        "train-images-idx3-ubyte": (60_000, 28, 28),
        "train-labels-idx1-ubyte": (60_000,),
        "t10k-images-idx3-ubyte": (10_000, 28, 28),
        "t10k-labels-idx1-ubyte": (10_000,),
    }
    return tuple(IdxFile(name, shape, digest) for (name, shape), digest in zip(shapes.items(), sha256, strict=True))


def read_payload(file: Path, n_bytes: int) -> bytes:
    """Return what a file holds, decompressed if it is compressed; at most `n_bytes` and one more, to tell.

    Raises:
        ConfigError: when it cannot be read or decompressed.
        FileNotFoundError: when there is no such file.
    """
    try:
        return _unpack(file, n_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ConfigError(f"{file} cannot be read: {error}. Fetch it anew.") from error


def _unpack(file: Path, n_bytes: int) -> bytes:
    """Return at most so many bytes of what a file holds, decompressed if it is compressed."""
    try:
        with file.open("rb") as stream:
            if stream.peek(2)[:2] != GZIP_MAGIC:
                return stream.read(n_bytes)
            with gzip.GzipFile(fileobj=stream) as unpacked:
                return unpacked.read(n_bytes)
    except NotADirectoryError:
        raise FileNotFoundError(file) from None


def read_idx(file: Path) -> Array:
    """Return the array of an IDX file that nothing is known of, compressed or not; read-only.

    No memory is taken for what its header claims before the file is known to be long enough for it.

    Raises:
        ConfigError: when it is no IDX file, or holds more or less than it claims.
        FileNotFoundError: when there is no such file.
        OSError: when it cannot be read.
        EOFError, zlib.error: when it cannot be decompressed.
    """
    head = _unpack(file, 4 + 4 * 255)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES or not head[3]:
        raise ConfigError(f"{file}: is no IDX file, which would begin with 00 00, a type and a number of dimensions.")
    dtype, n_header = np.dtype(TYPES[head[2]]), 4 + 4 * head[3]
    if len(head) < n_header:
        raise ConfigError(f"{file}: ends within its header.")
    shape = struct.unpack(f">{head[3]}I", head[4:n_header])
    n_bytes = n_header + math.prod(shape) * dtype.itemsize
    with file.open("rb") as stream:
        growth = DEFLATE_MOST if stream.read(2) == GZIP_MAGIC else 1
    payload = _unpack(file, n_bytes + 1) if n_bytes <= growth * file.stat().st_size else b""
    if len(payload) != n_bytes:
        form = "×".join(map(str, shape))
        raise ConfigError(f"{file}: claims to hold {form} values of type {dtype.name}, but does not.")
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
