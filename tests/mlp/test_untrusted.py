"""Untrusted files: arrays are read exactly, and damaged or hostile content is refused before it costs memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlp.arrays import Array
from mlp.errors import ConfigError, CorruptStateError
from mlp.state import TrainingState
from mlp.untrusted import max_content_size, open_npy, open_npz, read_gzip_or_plain

MIB = 1 << 20
DTYPES = st.sampled_from([np.uint8, np.int64, np.float32, np.float64, ">f8", np.bool_])
ANY_ARRAY = arrays.arrays(DTYPES, arrays.array_shapes(min_dims=0, min_side=0))


def npz(compress: bool = False, **members: Array) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(file, **members)
    return file.getvalue()


def read(source: Path | bytes, name: str = "x", **requirements: Any) -> Array:
    with open_npz(source) as archive:
        return archive.read(name, **requirements)


def names(source: Path | bytes) -> list[str]:
    with open_npz(source) as archive:
        return archive.names


def archive(member: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as writer:
        writer.writestr("x.npy", member)
    return file.getvalue()


def npy_header(shape: str, descr: str = "'|u1'", version: int = 1, n_padding: int = 0) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode() + b" " * n_padding
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text


@contextmanager
def memory_below(n_bytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < n_bytes
    finally:
        tracemalloc.stop()


@given(values=ANY_ARRAY, compress=st.booleans())
def test_an_array_is_read_as_numpy_would_read_it(values: Array, compress: bool) -> None:
    found = read(npz(compress, other=np.zeros(3), x=values), shape=values.shape, dtype=values.dtype)
    assert (found.dtype, found.shape, found.tobytes()) == (values.dtype, values.shape, values.tobytes())


def test_an_array_in_column_order_is_read_with_its_values() -> None:
    values = np.asfortranarray(np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(read(npz(x=values)), values)


def test_a_file_and_its_content_are_read_alike(tmp_path: Path) -> None:
    content = npz(b=np.arange(3), a=np.ones((2, 2)))
    file = tmp_path / "x.npz"
    file.write_bytes(content)
    assert names(file) == names(content) == ["b", "a"]
    np.testing.assert_array_equal(read(file, "a"), read(content, "a"))


def test_an_error_starts_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    file.write_bytes(npz(train=np.zeros(3)))
    with pytest.raises(ConfigError) as error:
        read(file, "trian")
    assert str(error.value) == f'{file}: contains no array "trian". Did you mean "train"? Available: train.'
    file.write_bytes(b"hello")
    for refuse in (names, open_npy):
        with pytest.raises(ConfigError, match=r"^/.*x\.npz: cannot be read: "):
            refuse(file)


def test_a_missing_file_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "none", tmp_path / "file" / "none"):
        with pytest.raises(FileNotFoundError):
            read_gzip_or_plain(place, 1)
    with pytest.raises(FileNotFoundError):
        names(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        open_npy(tmp_path / "none")


@pytest.mark.parametrize(
    ("requirements", "problem"),
    [
        ({"shape": (4,)}, r'array "x" must have shape \(4,\), got \(3,\)'),
        (
            {"dtype": np.float32},
            r'array "x" must have type float32, got float64',
        ),
        ({"allow_compressed": False}, 'array "x" must not be compressed'),
    ],
)
def test_an_array_that_is_not_as_required_is_refused(requirements: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read(npz(True, x=np.zeros(3)), **requirements)


HOSTILE = {
    "a header that declares a terabyte": (archive(npy_header(f"({1 << 40},)")), "must contain 1099511627776 values"),
    "a header that declares too little": (
        archive(npy_header("(3,)") + bytes(4)),
        "must contain 3 values of type uint8",
    ),
    "a negative size": (archive(npy_header("(-1, -1)") + bytes(1)), "cannot be read"),
    "a header of 16 MiB": (archive(npy_header("(1,)", version=2, n_padding=16 * MIB) + b"1"), "cannot be read"),
    "a header of the third version": (archive(npy_header("(1,)", version=3) + b"1"), r"has the \.npy version 3\.0"),
    "a header with code": (archive(npy_header("exit()")), "cannot be read"),
    "a header that is nested deeply": (archive(npy_header("(" * 5_000 + ")" * 5_000)), "cannot be read"),
    "objects": (
        archive(npy_header("(1,)", "'|O'") + b"\x80\x04K\x01."),
        "must contain numbers, got the type object. Convert it before",
    ),
    "values of no size": (archive(npy_header(f"({1 << 60},)", "'|V0'")), "must contain numbers"),
    "an unsupported compression": (archive(npy_header("(1,)") + b"1", zipfile.ZIP_LZMA), "by an unsupported method"),
}


@pytest.mark.parametrize(("content", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_array_is_refused_and_costs_no_memory(content: bytes, problem: str) -> None:
    with memory_below(MIB), pytest.raises(ConfigError, match=problem):
        read(content)


def test_an_array_that_its_archive_cannot_contain_is_refused_even_if_the_directory_agrees() -> None:
    member = npy_header("(3000000000,)") + bytes(60)
    content = bytearray(archive(member))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = content.index(signature) + offset
        content[start : start + 4] = struct.pack("<I", len(member) - 60 + 3_000_000_000)
    with memory_below(MIB), pytest.raises(ConfigError, match="must contain 3000000000 values of type uint8"):
        read(bytes(content))


COMPRESSED = npz(True, x=np.arange(2_000.0))


@settings(max_examples=300)
@given(position=st.integers(0, len(COMPRESSED) - 1), mask=st.integers(1, 255))
def test_a_changed_byte_is_refused_or_does_no_harm(position: int, mask: int) -> None:
    damaged = bytearray(COMPRESSED)
    damaged[position] ^= mask
    with suppress(ConfigError):
        np.testing.assert_array_equal(read(bytes(damaged)), np.arange(2_000.0))


def sealed(**members: bytes) -> bytes:
    """Return a checkpoint of these members whose SHA-256 is right."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as writer:
        for name, content in members.items():
            writer.writestr(f"{name}.npy", content)
        writer.comment = bytes(32)
    body = file.getvalue()[:-32]
    return body + hashlib.sha256(body).digest()


def test_a_checkpoint_that_declares_a_terabyte_is_refused_and_costs_no_memory() -> None:
    with memory_below(MIB), pytest.raises(CorruptStateError, match="must contain 1099511627776 values of type uint8"):
        TrainingState.from_bytes(sealed(header=npy_header(f"({1 << 40},)")))


@pytest.mark.parametrize("text", ["[]", "1", '{"version": 2, "keys": 3}'])
def test_a_checkpoint_with_another_header_is_refused(text: str) -> None:
    arrays = dict.fromkeys(("theta", "slots", "best_theta", "history"), npy_header("(0,)"))
    with pytest.raises(CorruptStateError, match="not a saved training state"):
        TrainingState.from_bytes(sealed(header=npy_header(f"({len(text)},)") + text.encode(), **arrays))


def test_an_npy_file_with_a_long_header_is_refused_and_costs_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    file.write_bytes(npy_header("(1,)", version=2, n_padding=16 * MIB) + b"1")
    with memory_below(MIB), pytest.raises(ConfigError, match=r"x\.npy: cannot be read"):
        open_npy(file)


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["gzip", "plain"])
def test_no_more_is_read_of_a_file_than_was_asked_for(tmp_path: Path, pack: type[bytes]) -> None:
    file = tmp_path / "zeros"
    file.write_bytes(pack(bytes(16 * MIB)))
    with memory_below(MIB):
        assert read_gzip_or_plain(file, 40) == bytes(40)


@given(content=st.binary(max_size=300), repeats=st.integers(1, 5_000), compress=st.booleans())
def test_no_content_is_larger_than_its_upper_bound(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, repeats: int, compress: bool
) -> None:
    file = tmp_path_factory.getbasetemp() / "content"
    content = content * repeats
    file.write_bytes(gzip.compress(content) if compress else b"plain" + content)
    assert max_content_size(file) >= len(content)
