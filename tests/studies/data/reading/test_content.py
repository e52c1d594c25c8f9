"""Files that are compressed, damaged or hostile."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from mlp.data_config import DataConfig
from mlp.errors import ConfigError
from studies.data.reading import content
from studies.data.reading.files import read_table

TEXT = b"a,b\n1,2\n3,x\n"
CONFIG = DataConfig(file="x.csv")


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
    return stream.getvalue()


def refusal(data: bytes) -> str:
    with pytest.raises(ConfigError) as error:
        read_table(io.BytesIO(data), CONFIG)
    assert str(error.value).startswith("standard input: ")
    return str(error.value).removeprefix("standard input: ")


COMPRESSED = {
    "gzip": gzip.compress(TEXT),
    "bzip2": bz2.compress(TEXT),
    "xz": lzma.compress(TEXT),
    "zstd": pa.compress(TEXT, codec="zstd", asbytes=True),
    "zip": zipped(a__csv=TEXT),
    "gzip of two members": gzip.compress(TEXT[:5]) + gzip.compress(TEXT[5:]) + bytes(10),
    "bzip2 of two members": bz2.compress(TEXT[:5]) + bz2.compress(TEXT[5:]),
}


@pytest.mark.parametrize("data", COMPRESSED.values(), ids=COMPRESSED)
@pytest.mark.parametrize("name", ["X.CSV", "x.csv.gz", "x"])
def test_compression_is_recognised_by_content(data: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    table = read_table(tmp_path / name, CONFIG, name=name)
    assert table.values("b").tolist() == ["2", "x"]
    assert table.reading == f'{name}: 2 rows, 2 columns; separator ",", UTF-8.'


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd", "zip"])
def test_damaged_compressed_files_are_refused(kind: str) -> None:
    data = COMPRESSED[kind]
    assert refusal(data[:-9]).startswith(f"is a damaged {kind} file: ")
    start = {"zip": 35, "zstd": 4}.get(kind, 12)
    assert refusal(data[:start] + b"\xff" * 4 + data[start + 4 :]).startswith(f"is a damaged {kind} file: ")


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd", "zip"])
def test_a_file_that_expands_to_too_much_is_refused_in_little_memory(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = b"1,2\n" * 1_000_000
    data = {
        "gzip": gzip.compress,
        "bzip2": bz2.compress,
        "xz": lambda data: lzma.compress(data, preset=0),
        "zstd": lambda data: pa.compress(data, codec="zstd", asbytes=True),
        "zip": lambda data: zipped(a__csv=data),
    }[kind](rows)
    del rows
    monkeypatch.setattr(content, "FREE_EXPANDED", 1_000_000)
    tracemalloc.start()
    assert "which is too much. If you trust it, expand it with another program first." in refusal(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_gzip_header_without_an_end_is_refused() -> None:
    data = b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * 10_000_000
    started = time.process_time()
    assert refusal(data).startswith("is a damaged gzip file: ")
    assert time.process_time() - started < 1


def test_a_zip_file_must_contain_one_file() -> None:
    assert refusal(zipped(a=TEXT, b=TEXT)).startswith("must contain one file, got a, b. Expand it")
    assert refusal(zipped()).startswith("must contain one file, got none.")
    workbook = io.BytesIO()
    with zipfile.ZipFile(workbook, "w") as archive:
        archive.writestr("[Content_Types].xml", b"")
    assert refusal(workbook.getvalue()).startswith("is an Excel workbook")


def test_a_zip_file_with_a_long_directory_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MAX_DIRECTORY", 500)
    data = zipped(**{f"member {number}": b"" for number in range(100)})
    assert "has a directory of" in refusal(data)


def test_an_encrypted_zip_file_is_refused() -> None:
    data = bytearray(zipped(a=TEXT))
    data[6] |= 1
    directory = data.index(b"PK\x01\x02")
    data[directory + 8] |= 1
    assert "encrypted" in refusal(bytes(data))


def test_an_xz_file_that_asks_for_much_memory_is_refused() -> None:
    data = bytearray(COMPRESSED["xz"])
    # The size of the dictionary is the last byte of the filter's properties; the checksum of the header follows.
    position = data.index(b"\x21\x01", 12) + 2
    data[position] = 40  # 4 GiB - 1
    end = 12 + (data[12] + 1) * 4 - 4
    data[end : end + 4] = struct.pack("<I", zlib.crc32(data[12:end]))
    assert "emory" in refusal(bytes(data))


def test_standard_input_must_not_be_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MAX_STDIN", 1000)
    monkeypatch.setattr(content, "CHUNK", 100)
    assert refusal(b"1,2\n" * 1000).startswith("must have at most 1000 bytes. Save them to a file")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (os.mkfifo, "must be a regular file, got a pipe"),
        (lambda file: file.symlink_to("/dev/zero"), "must be a regular file, got a device"),
        (Path.mkdir, "must be a regular file, got a folder"),
        (lambda file: (file.touch(), os.truncate(file, 1 << 31)), "is not a text file: it contains zero bytes"),
        (lambda file: file.write_bytes(b"x" * 5_000_000), "line 1 has more than 4194304 bytes"),
        (
            lambda file: file.write_bytes(b"a,b\n1," + b"x" * 25_000_000),
            "line 2: the row has more than 10,000,000 bytes",
        ),
        (
            lambda file: file.write_bytes(b'a,b\n1,"' + (b"x" * 99 + b"\n") * 250_000),
            "line 2: the row has more than 10,000,000",
        ),
        (lambda file: file.write_bytes(b'a,b\n1"2,"' + b"x\n" * 90_000), "line 2: a cell has more than 131072 char"),
        (lambda _: None, "there is no such file"),
    ],
    ids=["pipe", "device", "folder", "sparse", "long names", "long line", "open quote", "unusual quotes", "none"],
)
def test_what_is_not_a_table_is_refused_at_once(make: Callable[[Path], object], problem: str, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    make(file)
    started = time.process_time()
    with pytest.raises(ConfigError, match=rf"x\.csv: {problem}"):
        read_table(file, CONFIG)
    assert time.process_time() - started < 2


def test_more_columns_than_are_allowed_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = ",".join(f"c{i}" for i in range(100_000)) + "\n" + "1," * 99_999 + "1\n"
    started = time.process_time()
    expected = (
        "has 100000 columns, at most 20000 are allowed. Remove columns, or set STUDIES_MAX_INPUTS=100000 to allow them."
    )
    assert refusal(text.encode()) == expected
    assert time.process_time() - started < 2
    monkeypatch.setenv("STUDIES_MAX_INPUTS", "1")
    assert refusal(TEXT).startswith("has 2 columns, at most 1 are allowed.")
    monkeypatch.setenv("STUDIES_MAX_INPUTS", "many")
    assert "STUDIES_MAX_INPUTS must be a whole number, got 'many'" in refusal(TEXT)
