"""Parquet files: typed columns, and files that describe more than they contain."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from mlp.data_config import DataConfig
from mlp.errors import ConfigError
from studies.data.reading import parquet_file
from studies.data.reading.files import read_table
from studies.data.table import Table

CONFIG = DataConfig(file="x.parquet")


def written(columns: dict[str, Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pa.table(columns), stream, **options)
    return stream.getvalue()


def read(data: bytes) -> Table:
    return read_table(io.BytesIO(data), CONFIG, name="x.parquet")


def refusal(data: bytes) -> str:
    with pytest.raises(ConfigError) as error:
        read(data)
    assert str(error.value).startswith("x.parquet: ")
    return str(error.value).removeprefix("x.parquet: ")


def test_columns_keep_their_types(tmp_path: Path) -> None:
    file = tmp_path / "X.PQ"
    columns = {"n": [1, 2, 3], "x": [0.5, None, 2.0], "c": pa.array(["a", None, "a"]).dictionary_encode()}
    file.write_bytes(written(columns, row_group_size=2))
    table = read_table(file, CONFIG)
    assert table.has_types
    assert table.reading == f"{file}: 3 rows, 3 columns; Parquet."
    assert table.values("n").dtype == np.int64
    np.testing.assert_array_equal(table.values("x"), [0.5, np.nan, 2.0])
    assert table.values("c").tolist() == ["a", None, "a"]
    assert str(table.error("is bad.", "n", 2)) == f'{file}: column "n", row 3: is bad.'


def test_a_column_that_cannot_be_used_is_refused_only_when_it_is_used() -> None:
    table = read(written({"a": [[1, 2], [3]], "b": [1, 2]}))
    assert table.values("b").tolist() == [1, 2]
    with pytest.raises(
        ConfigError, match=r'x\.parquet: column "a": has the type list<.*>, which .* Drop it with data\.drop\.'
    ):
        table.values("a")


def test_files_without_rows_or_with_names_that_appear_twice_are_refused() -> None:
    assert refusal(written({"a": pa.array([], pa.int8())})) == "must have at least one row."
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    stream = io.BytesIO()
    parquet.write_table(twice, stream)
    assert refusal(stream.getvalue()).startswith('2 columns are called "a".')


def test_too_many_columns_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIES_MAX_INPUTS", "2")
    assert refusal(written({"a": [1], "b": [1], "c": [1]})).startswith("has 3 columns, at most 2 are allowed.")


@pytest.mark.parametrize("position", [-5, -9, -60, 5, 20])
def test_a_damaged_file_is_refused(position: int) -> None:
    data = bytearray(written({"a": list(range(100))}, compression="zstd"))
    data[position] ^= 0xFF
    try:
        read(bytes(data))
    except ConfigError as error:
        assert str(error).startswith("x.parquet: ")  # noqa: PT017, some bytes matter and some do not
    data[-8:-4] = struct.pack("<I", 0x7FFFFFFF)
    assert refusal(bytes(data)).startswith("is a damaged Parquet file: ")


def test_a_text_that_expands_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_file, "FREE_EXPANDED", 1_000_000)
    assert "which is too much. If you trust it, write its table as CSV." in refusal(
        written({"a": ["x" * 10_000_000]}, compression="zstd")
    )


def test_more_rows_than_the_size_of_the_file_allows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_file, "FREE_EXPANDED", 1_000_000)
    monkeypatch.setattr(parquet_file, "MAX_RATIO", 100)
    assert "expands from" in refusal(written({"a": pa.array([0] * 2_000_000, pa.int8())}))
