"""The content of a file that may be compressed, damaged or hostile.

The format is recognised by the first bytes, not by the name. Only regular files are opened. A compressed file of 1 MB
can expand to gigabytes, so the size of what was expanded is checked while it is read, and nothing is read in one piece.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Protocol, cast

from mlp.errors import ConfigError, listed
from mlp.untrusted import open_regular

CHUNK = 1 << 20  # bytes
MAX_STDIN = 1 << 30  # bytes; what is larger is better read from a file
MAX_EXPANDED = 1 << 33  # bytes; no table of this size can be trained on in memory
MAX_RATIO = 200  # of the expanded to the compressed size; tables of images, mostly zeros, have 30
FREE_EXPANDED = 1 << 26  # bytes that any file may expand to, whatever the ratio: constant columns compress very well
MAX_SILENT = 1 << 22  # bytes of compressed input without any output; a block of bzip2 has at most 900 kB
MAX_XZ_MEMORY = 1 << 27  # bytes; `xz -9` needs 65 MiB
MAX_DIRECTORY = 1 << 20  # bytes of the directory of a zip file
SPOOLED = 1 << 24  # bytes of standard input that are kept in memory, not in a temporary file

FORMATS = {
    b"PAR1": "parquet",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # an empty one
    b"\x93NUMPY": "npy",
    b"\xd0\xcf\x11\xe0": "an Excel or other Office file",
    b"SQLite format 3": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"ARROW1": "a Feather file",
    b"%PDF": "a PDF file",
    b"7z\xbc\xaf": "a 7z file",
}


@dataclass(frozen=True)
class Content:
    """An open file whose content can be read from its start as often as needed.

    Attributes:
        stream: the file as it is.
        size: its size in bytes.
        format: what its first bytes say: a compression such as `gzip`, `parquet`, or `text`.
    """

    stream: BinaryIO
    size: int
    format: str

    def chunks(self) -> Iterator[bytes]:
        """Yield the expanded content from its start, in chunks of at most 1 MiB.

        Raises:
            ConfigError: if the file is damaged, or of a format that is not a table.
        """
        self.stream.seek(0)
        if self.format == "text":
            while chunk := self.stream.read(CHUNK):
                yield chunk
            return
        if self.format not in EXPAND:
            raise ConfigError(f"is {self.format}. Save the table as CSV.")
        try:
            yield from EXPAND[self.format](self.stream)
        except ConfigError:
            raise
        except (OSError, EOFError, ValueError, RuntimeError, lzma.LZMAError, zlib.error, zipfile.BadZipFile) as error:
            raise ConfigError(f"is a damaged {self.format} file: {error}.") from None

    def check_size(self) -> None:
        """Refuse a compressed file that expands to too much.

        It is expanded once more for that. This takes a tenth of the time of reading a table, and saves the memory of a
        large part of the table before its size is known to be too much.

        Raises:
            ConfigError: with both sizes.
        """
        limit = min(MAX_EXPANDED, max(FREE_EXPANDED, MAX_RATIO * self.size))
        n_bytes = 0
        for chunk in self.chunks() if self.format in EXPAND else ():
            n_bytes += len(chunk)
            if n_bytes > limit:
                problem = f"expands from {self.size} to more than {limit} bytes, which is too much"
                raise ConfigError(f"{problem}. If you trust it, expand it with another program first.")


@contextmanager
def open_content(file: Path | BinaryIO) -> Iterator[Content]:
    """Open a regular file, or take a stream such as standard input, which is copied because it can be read only once.

    Raises:
        ConfigError: if it does not exist, is not a regular file, or is larger than standard input may be; the message
            does not name the file.
    """
    try:
        with open_regular(file) if isinstance(file, Path) else _copy(file) as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            yield Content(stream, size, find_format(stream.read(16)))
    except FileNotFoundError:
        raise ConfigError("there is no such file.") from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}.") from None


def find_format(start: bytes) -> str:
    """Return the format that the first bytes of a file state; `text` if none."""
    return next((name for magic, name in FORMATS.items() if start.startswith(magic)), "text")


def _copy(stream: BinaryIO) -> BinaryIO:
    copy = cast(BinaryIO, tempfile.SpooledTemporaryFile(SPOOLED))  # noqa: SIM115, the caller closes it
    n_bytes = 0
    while chunk := stream.read(CHUNK):
        n_bytes += len(chunk)
        if n_bytes > MAX_STDIN:
            copy.close()
            raise ConfigError(f"must have at most {MAX_STDIN} bytes. Save them to a file, and give its name.")
        copy.write(chunk)
    return copy


class _Decompressor(Protocol):
    """What the decompressors of bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


class _GzipDecompressor:
    """zlib with the interface of bz2. Unlike the gzip module, zlib skips a long header without storing it."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = CHUNK) -> bytes:
        expanded = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.needs_input = len(expanded) < max_length
        return expanded


def _expand(stream: BinaryIO, new: Callable[[], _Decompressor]) -> Iterator[bytes]:
    """Yield the content of a compressed file, which may consist of several members, one after another."""
    machine: _Decompressor | None = None
    n_silent = 0
    while chunk := stream.read(CHUNK >> 4):
        n_silent += len(chunk)
        while chunk or (machine and not machine.needs_input):
            if machine is None:
                if not chunk.strip(b"\0"):  # padding after the last member
                    break
                machine = new()
            if expanded := machine.decompress(chunk, CHUNK):
                n_silent = 0
                yield expanded
            chunk = b""
            if machine.eof:
                chunk, machine = machine.unused_data, None
        if n_silent > MAX_SILENT:
            raise EOFError(f"{n_silent} bytes of it have no content")
    if machine is not None:
        raise EOFError("its end is missing")


def _expand_zstd(stream: BinaryIO) -> Iterator[bytes]:
    import pyarrow as pa  # the standard library has no Zstandard before Python 3.14

    expanded = pa.CompressedInputStream(pa.PythonFile(_GuardedFile(stream), mode="r"), "zstd")
    while chunk := expanded.read(CHUNK):
        yield chunk


class _GuardedFile(io.RawIOBase):
    """A file that its reader cannot close, and of which it cannot read a directory of millions of members at once."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY:
            raise ConfigError(f"has a directory of {size} bytes, at most {MAX_DIRECTORY} are allowed.")
        return self._stream.read(size)


def _expand_zip(stream: BinaryIO) -> Iterator[bytes]:
    with zipfile.ZipFile(cast(IO[bytes], _GuardedFile(stream))) as archive:
        members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
        names = [member.filename for member in members]
        if "[Content_Types].xml" in names:
            raise ConfigError("is an Excel workbook or another Office file. Save the table as CSV.")
        if len(members) != 1:
            problem = f"must contain one file, got {listed(names) or 'none'}"
            raise ConfigError(f"{problem}. Expand it, and give the name of one of them.")
        # Other methods allocate what the member asks for.
        if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ConfigError("is compressed by an unsupported method. Write it with deflate, the usual method of zip.")
        with archive.open(members[0]) as content:
            while chunk := content.read(CHUNK):
                yield chunk


EXPAND: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    "gzip": lambda stream: _expand(stream, _GzipDecompressor),
    "bzip2": lambda stream: _expand(stream, bz2.BZ2Decompressor),
    "xz": lambda stream: _expand(stream, lambda: lzma.LZMADecompressor(memlimit=MAX_XZ_MEMORY)),
    "zstd": _expand_zstd,
    "zip": _expand_zip,
}
