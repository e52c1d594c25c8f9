"""Batches: gathered and scaled rows equal a plain computation in floats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp import DataConfig, Examples
from mlp.batches import BatchReader
from mlp.scaling import Scaling
from tests.mlp_data import blobs, quick


def gather(inputs: Any, rows: Any, dtype: Any = np.float32, factor: float = 1.0 / 255.0) -> Any:
    examples = Examples(inputs, np.zeros(len(inputs), np.uint8), np.arange(len(inputs)), Scaling((factor,)))
    reader = BatchReader(examples, len(rows), dtype)
    reader.set_order(np.asarray(rows))
    return reader.read(0, len(rows)).copy()


@quick
@given(
    rows=st.lists(st.integers(0, 69), min_size=1, max_size=80),
    raw=st.sampled_from([np.uint8, np.int16, np.uint16, np.float32, np.float64]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_gathering_equals_the_plain_computation_in_floats(rows: list[int], raw: Any, dtype: Any) -> None:
    inputs = blobs(70).inputs.astype(raw)
    expected = inputs.astype(dtype)[rows] * dtype(1.0 / 255.0)
    gathered = gather(inputs, rows, dtype)
    assert gathered.dtype == dtype
    np.testing.assert_array_equal(gathered, expected)


def test_every_byte_is_scaled_into_zero_to_one() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(256, 1)
    scaled = gather(pixels, np.arange(256))[:, 0]
    np.testing.assert_allclose(scaled, np.arange(256) / 255.0, rtol=1e-6)
    assert (scaled[0], scaled[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("layout", ["fortran", "strided", "big endian", "memory-mapped", "read-only"])
def test_inputs_may_have_any_memory_layout(layout: str, tmp_path: Path) -> None:
    plain = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    if layout == "memory-mapped":
        plain.tofile(tmp_path / "inputs")
    inputs = {
        "fortran": lambda: np.asfortranarray(plain),
        "strided": lambda: np.repeat(plain, 2, axis=1)[:, ::2],
        "big endian": lambda: plain.astype(">f4"),
        "memory-mapped": lambda: np.memmap(tmp_path / "inputs", np.float32, "r", shape=(30, 6)),
        "read-only": lambda: np.frombuffer(plain.tobytes(), np.float32).reshape(30, 6),
    }[layout]()
    rows = np.array([29, 0, 7, 7])
    gathered = gather(inputs, rows)
    assert gathered.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(gathered, plain[rows] * np.float32(1.0 / 255.0))


@quick
@given(n=st.integers(1, 70), b=st.integers(1, 30), page=st.integers(1, 40))
def test_batches_contain_the_rows_in_order_for_any_page_size(n: int, b: int, page: int) -> None:
    dataset, order = blobs(70), np.random.default_rng(0).permutation(70)[:n]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlp.batches.PAGE_ROWS", page)
        reader = BatchReader(dataset.without_validation(DataConfig("blobs", scale="none")).train, b, np.float32)
    for _ in range(2):
        reader.set_order(order)
        batches = [reader.read(start, min(start + b, n)).copy() for start in range(0, n, b)]
        np.testing.assert_array_equal(np.concatenate(batches), dataset.inputs[order])


def test_gathering_does_not_change_the_data_set() -> None:
    dataset = blobs()
    before = dataset.inputs.copy()
    gather(dataset.inputs, np.arange(70))
    np.testing.assert_array_equal(dataset.inputs, before)
