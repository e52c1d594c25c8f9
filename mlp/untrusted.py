"""Reading arrays and compressed files that may be damaged or hostile.

A file of 200 bytes can declare an array of 128 GiB, a compressed file of 1 MiB can really expand to 1 GiB, and a pipe
or a device never ends. Every function here opens regular files only, compares what a file declares with what it can
contain before it allocates memory for it, never unpickles anything, and reports whatever is wrong as a `ConfigError`
that starts with the file.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError, did_you_mean, errors_in, listed

GZIP_MAGIC = b"\x1f\x8b"
MAX_DEFLATE_RATIO = 1032  # the limit of the format: 258 bytes from 2 bits (https://zlib.net/zlib_tech.html)
MAX_IN_MEMORY = 200_000_000  # bytes of one array that is not mapped; the images of MNIST in float32 have 188 million
MAX_NPY_HEADER = 1 << 14  # bytes; NumPy itself refuses longer texts, but only once they are in memory

MAX_RATIOS = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: MAX_DEFLATE_RATIO}


@contextmanager
def _refuse_damage(source: Path | bytes) -> Iterator[None]:
    """Turn every error that damaged bytes cause inside the block into a `ConfigError` that starts with the file.

    A missing file stays a FileNotFoundError, because callers look for files in several places.
    """
    file = f"{source}: " if isinstance(source, Path) else ""
    try:
        yield
    except FileNotFoundError:
        raise
    except ConfigError as error:
        raise ConfigError(f"{file}{error}") from None
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen types for damaged bytes
        raise ConfigError(f"{file}cannot be read: {error}.") from error


def open_regular(file: Path) -> io.BufferedReader:
    """Open a regular file, or a link to one, for reading bytes.

    Raises:
        ConfigError: if it is a folder, a pipe or a device; the message does not name the file.
        OSError: if it cannot be opened.
    """
    # Opening a pipe would wait for a program that writes to it, unless the file is opened without blocking.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(file, flags)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device"
        raise ConfigError(f"must be a regular file, got {kind}.")
    return os.fdopen(descriptor, "rb")


def read_regular(file: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Raises:
        ConfigError: if the file is not a regular file, or larger; the message does not name the file.
        OSError: if it cannot be read.
    """
    with open_regular(file) as stream:
        n_bytes = os.fstat(stream.fileno()).st_size
        check_size(n_bytes, limit)
        return stream.read(n_bytes)  # `read(limit)` would allocate the limit


def check_size(n_bytes: int, limit: int) -> None:
    """Refuse a content of more than `limit` bytes.

    Raises:
        ConfigError: with both numbers.
    """
    if n_bytes > limit:
        raise ConfigError(f"must have at most {limit} bytes, got {n_bytes}.")


def read_gzip_or_plain(file: Path, limit: int) -> bytes:
    """Return at most the first `limit` bytes of a file, decompressed if it is a gzip file.

    To find out whether a file is longer than expected, ask for one byte more.

    Raises:
        ConfigError: if the file cannot be read or decompressed.
        FileNotFoundError: if there is no such file.
    """
    with _refuse_damage(file):
        try:
            with open_regular(file) as stream:
                if stream.peek(2)[:2] != GZIP_MAGIC:
                    return stream.read(limit)
                with gzip.GzipFile(fileobj=stream) as content:
                    return content.read(limit)
        except NotADirectoryError:
            raise FileNotFoundError(file) from None


def max_content_size(file: Path) -> int:
    """Return an upper bound of the size of a file in bytes, after decompression if it is a gzip file."""
    with open_regular(file) as stream:
        is_compressed = stream.read(2) == GZIP_MAGIC
        return os.fstat(stream.fileno()).st_size * (MAX_DEFLATE_RATIO if is_compressed else 1)


def open_npy(file: Path) -> Array:
    """Return the array of an `.npy` file, read-only and mapped into memory.

    Raises:
        ConfigError: if the file is not an `.npy` file or is shorter than its header declares.
        FileNotFoundError: if there is no such file.
    """
    with _refuse_damage(file):
        with open_regular(file) as stream:
            header = _read_npy_header(stream)  # NumPy would read a header of any length
            if header.n_bytes > os.fstat(stream.fileno()).st_size:
                form = describe_array(header.shape, header.dtype)
                raise ConfigError(f"must contain {form} as its header states, but does not.")
        array: Array = np.lib.format.open_memmap(file, mode="r")
        return array


class NpzReader:
    """Reads the arrays of an `.npz` file; made by `open_npz`.

    Args:
        archive: the open file.
        n_bytes: the size of the file.
    """

    def __init__(self, archive: zipfile.ZipFile, n_bytes: int) -> None:
        self._archive = archive
        self._n_bytes = n_bytes
        self._members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}

    @property
    def names(self) -> list[str]:
        """The names of the arrays, in the order of the file."""
        return list(self._members)

    def read(
        self,
        name: str,
        *,
        shape: tuple[int, ...] | None = None,
        dtype: Any = None,
        allow_compressed: bool = True,
        limit: int | None = None,
    ) -> Array:
        """Return one array.

        Args:
            name: the name of the array, without `.npy`.
            shape: the shape that the array must have; any by default.
            dtype: the type that the array must have; any type of numbers or text by default.
            allow_compressed: whether the array may be compressed. Uncompressed, it cannot be larger than the file.
            limit: the largest size of the array in bytes, if it has one.

        Raises:
            ConfigError: if there is no such array, it is not as required, or the file is damaged.
        """
        if name not in self._members:
            hint = did_you_mean(name, self.names)
            raise ConfigError(f'contains no array "{name}".{hint} Available: {listed(self.names) or "none"}.')
        member = self._members[name]
        with errors_in(f'array "{name}"'):
            # The method is checked before the member is opened: opening it allocates what the decompressor asks for.
            max_ratio = MAX_RATIOS.get(member.compress_type)
            if max_ratio is None:
                raise ConfigError("is compressed by an unsupported method. Write the file with numpy.savez_compressed.")
            if max_ratio > 1 and not allow_compressed:
                raise ConfigError("must not be compressed.")
            with self._archive.open(member) as stream:
                header = _read_npy_header(stream)
                if shape is not None and header.shape != shape:
                    raise ConfigError(f"must have shape {shape}, got {header.shape}.")
                if dtype is not None and header.dtype != np.dtype(dtype):
                    raise ConfigError(f"must have type {np.dtype(dtype)}, got {header.dtype}.")
                if header.dtype.hasobject or not header.dtype.itemsize:
                    advice = (
                        " Convert it before it is saved, texts with array.astype(str)."
                        if header.dtype == object
                        else ""
                    )
                    raise ConfigError(f"must contain numbers, got the type {header.dtype}.{advice}")
                # The directory of the archive may lie about both sizes, the size of the archive cannot.
                possible = max_ratio * min(member.compress_size, self._n_bytes)
                if header.n_bytes != member.file_size or header.n_bytes > possible:
                    form = describe_array(header.shape, header.dtype)
                    raise ConfigError(f"must contain {form} as its header states, but does not.")
                if limit is not None and header.n_bytes > limit:
                    problem = f"must have at most {limit} bytes, got {header.n_bytes}"
                    raise ConfigError(f"{problem}. Save it with numpy.save: an .npy file may have any size.")
                stream.seek(0)
                array: Array = np.lib.format.read_array(stream, allow_pickle=False)
                return array


@contextmanager
def open_npz(source: Path | bytes) -> Iterator[NpzReader]:
    """Open an `.npz` file; any error that is raised inside the block becomes a `ConfigError` that starts with the file.

    Args:
        source: the file, or its content.

    Raises:
        ConfigError: if it is not a zip file.
        FileNotFoundError: if there is no such file.
    """
    with (
        _refuse_damage(source),
        open_regular(source) if isinstance(source, Path) else io.BytesIO(source) as file,
        zipfile.ZipFile(file) as archive,
    ):
        yield NpzReader(archive, file.seek(0, os.SEEK_END))


def describe_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """Return how an error message describes the content of an array, such as `60000×28×28 values of type uint8`."""
    return f"{'×'.join(map(str, shape)) or 1} values of type {dtype.name}"


@dataclass(frozen=True)
class _NpyHeader:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    n_header: int

    @property
    def n_bytes(self) -> int:
        """The size of header and values."""
        return self.n_header + math.prod(self.shape) * self.dtype.itemsize


def _read_npy_header(stream: IO[bytes]) -> _NpyHeader:
    """Return the header at the start of a stream, of which only the first bytes are read."""
    start = io.BytesIO(stream.read(MAX_NPY_HEADER))
    version = np.lib.format.read_magic(start)
    if version not in ((1, 0), (2, 0)):  # later versions are only needed for the names of fields
        raise ConfigError(f"has the .npy version {version[0]}.{version[1]}, only 1.0 and 2.0 can be read.")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(start)
    return _NpyHeader(shape, dtype, start.tell())
