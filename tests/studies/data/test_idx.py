"""IDX files: the published content is accepted, anything else is refused by the name of the file."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from mlp.errors import ConfigError
from studies.data.idx import IdxFile
from tests.tiny_data import TINY, tiny_file, to_idx

IMAGES = "train-images-idx3-ubyte"
HEADER = bytes([0, 0, 8, 3])
HOSTILE = {
    "empty": (b"", "must be an IDX file of 6×2×2 values of type uint8 and begin with .*got nothing"),
    "another format": (
        b"PK\x03\x04" + bytes(40),
        "must be an IDX file of 6×2×2 values of type uint8 and begin with .*got 50 4b 03 04",
    ),
    "another type of values": (b"\0\0\x0d" + to_idx(TINY[IMAGES])[3:], "must be an IDX file.*got 00 00 0d 03"),
    "other shape": (to_idx(TINY["t10k-images-idx3-ubyte"]), "must be an IDX file of 6×2×2.*00 00 00 03"),
    "dimensions whose product is 0 in int64": (HEADER + b"\x80\0\0\0\x80\0\0\0\0\0\0\4", "must be an IDX file"),
    "dimensions of 2**96": (HEADER + b"\xff" * 12 + bytes(24), "must be an IDX file.*ff ff ff ff"),
    "truncated": (to_idx(TINY[IMAGES])[:-1], "must contain 40 bytes when decompressed, got 39"),
    "too long": (to_idx(TINY[IMAGES]) + b"\0", "must contain 40 bytes when decompressed, got more"),
}


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["gzip", "plain"])
def test_the_published_content_is_read_compressed_or_not(tmp_path: Path, pack: type[bytes]) -> None:
    (tmp_path / "file").write_bytes(pack(to_idx(TINY[IMAGES])))
    np.testing.assert_array_equal(tiny_file(IMAGES).read(tmp_path / "file"), TINY[IMAGES])


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["gzip", "plain"])
@pytest.mark.parametrize(("payload", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_other_content_is_refused_with_the_name_of_the_file(
    tmp_path: Path, payload: bytes, problem: str, pack: type[bytes]
) -> None:
    (tmp_path / "images.gz").write_bytes(pack(payload))
    with pytest.raises(ConfigError, match=rf"images\.gz: {problem}.*Download it again\.$"):
        tiny_file(IMAGES).read(tmp_path / "images.gz")


def test_content_with_another_digest_is_refused_with_both_digests(tmp_path: Path) -> None:
    expected = IdxFile("labels", (3,), "0" * 64)
    payload = to_idx(np.array([9, 8, 6], np.uint8))
    (tmp_path / "labels").write_bytes(payload)
    with pytest.raises(ConfigError) as error:
        expected.read(tmp_path / "labels")
    for part in (str(tmp_path / "labels"), "0" * 64, hashlib.sha256(payload).hexdigest()):
        assert part in str(error.value)


@pytest.mark.parametrize("damage", ["truncated", "changed", "folder"])
def test_a_gzip_file_that_cannot_be_decompressed_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "images.gz"
    packed = gzip.compress(to_idx(TINY[IMAGES]))
    if damage == "truncated":
        file.write_bytes(packed[:-12])
    elif damage == "changed":
        file.write_bytes(packed[:10] + bytes(byte ^ 0xFF for byte in packed[10:]))
    else:
        file.mkdir()
    with pytest.raises(
        ConfigError, match=r"images\.gz: (cannot be read: |must be a regular file, got a folder).*Download it again\."
    ):
        tiny_file(IMAGES).read(file)
