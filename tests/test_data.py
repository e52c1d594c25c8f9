"""Data: splits that are disjoint, complete and seeded, and minibatches that equal a plain computation in floats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlp_data import blobs, quick

from mlp import ConfigError, DataConfig, Dataset, Examples
from mlp.data import BatchReader, Scaling


def gather(inputs: Any, rows: Any, dtype: Any = np.float32, factor: float = 1.0 / 255.0) -> Any:
    examples = Examples(inputs, np.zeros(len(inputs), np.uint8), np.arange(len(inputs)), Scaling((factor,)))
    return BatchReader(examples, len(rows), dtype).read(np.asarray(rows)).copy()


# Splits


@quick
@given(n=st.integers(1, 300), seed=st.integers(0, 2**32 - 1), share=st.floats(0.0, 0.99), data=st.data())
def test_a_split_is_disjoint_and_complete(n: int, seed: int, share: float, data: st.DataObject) -> None:
    validation = data.draw(st.sampled_from([share, data.draw(st.integers(0, n - 1))]))
    config = DataConfig("blobs", validation=validation)
    held_out = validation if isinstance(validation, int) else max(validation > 0, round(validation * n))
    if held_out == n:
        return  # refused, which has its own test
    split = blobs(n).split(config, seed)
    validation_rows = [] if split.validation is None else split.validation.rows.tolist()
    assert len(validation_rows) == held_out
    assert len(split.train) == n - held_out
    assert sorted([*split.train.rows, *validation_rows]) == list(range(n))


@pytest.mark.parametrize(
    ("validation", "n", "expected"),
    [(0, 10, 0), (3, 10, 3), (9, 10, 9), (0.0, 10, 0), (0.2, 10, 2), (0.25, 9, 2), (0.04, 10, 1), (0.94, 10, 9)],
)
def test_validation_is_a_number_of_examples_or_a_fraction(validation: float, n: int, expected: int) -> None:
    assert DataConfig("blobs", validation=validation).n_validation(n) == expected


@pytest.mark.parametrize(
    ("validation", "shown"), [(70, "70"), (71, "71"), (1.0, "1.0"), (0.999, "0.999"), (1.5, "1.5")]
)
def test_a_split_that_leaves_nothing_to_train_on_is_refused(validation: float, shown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        blobs(70).split(DataConfig("blobs", validation=validation), 0)
    assert str(caught.value) == (
        f'"data.validation": must leave something to train on: "blobs" has 70 training examples, got {shown}.'
    )


def test_a_split_depends_on_the_seed_alone() -> None:
    config = DataConfig("blobs", validation=20)
    first, again, other = blobs().split(config, 1), blobs().split(config, 1), blobs().split(config, 2)
    np.testing.assert_array_equal(first.train.rows, again.train.rows)
    assert first.validation is not None
    assert other.validation is not None
    assert set(first.validation.rows) != set(other.validation.rows)


def test_rows_are_in_their_order_on_disk() -> None:
    split = blobs().split(DataConfig("blobs", validation=20), 1)
    assert split.validation is not None
    for part in (split.train, split.validation):
        assert (np.diff(part.rows) > 0).all()


def test_a_larger_validation_part_contains_the_smaller_of_the_same_seed() -> None:
    small, large = (blobs().split(DataConfig("blobs", validation=n), 1).validation for n in (10, 20))
    assert small is not None
    assert large is not None
    assert set(small.rows) < set(large.rows)


def test_the_validation_part_is_drawn_from_everywhere() -> None:
    # A data set sorted by class must not be cut at its end.
    split = blobs(1000).split(DataConfig("blobs", validation=500), 0)
    assert split.validation is not None
    assert 200 < (split.validation.rows < 500).sum() < 300


def test_a_split_copies_nothing() -> None:
    dataset = blobs()
    split = dataset.split(DataConfig("blobs"), 0)
    assert split.validation is not None
    assert split.train.inputs is split.validation.inputs is dataset.inputs


def test_no_validation_part_is_none_and_not_an_empty_one() -> None:
    assert blobs().split(DataConfig("blobs", validation=0), 0).validation is None
    assert blobs().whole(DataConfig("blobs")).validation is None


def test_the_whole_holds_every_training_example_and_the_test_part_every_test_example() -> None:
    dataset, config = blobs(), DataConfig("blobs")
    whole, test = dataset.whole(config), dataset.test(Scaling())
    np.testing.assert_array_equal(whole.train.rows, np.arange(len(dataset.inputs)))
    np.testing.assert_array_equal(test.own_targets, dataset.test_targets)
    assert test.inputs is dataset.test_inputs
    assert (whole.n_targets, whole.n_features) == (3, 6)


def test_own_targets_are_those_of_the_rows() -> None:
    dataset = blobs()
    examples = Examples(dataset.inputs, dataset.targets, np.array([4, 1, 4]))
    np.testing.assert_array_equal(examples.own_targets, dataset.targets[[4, 1, 4]])
    assert len(examples) == 3


@pytest.mark.parametrize(
    ("scale", "largest", "factor"), [("unit", 255.0, 1 / 255), ("unit", 16.0, 1 / 16), ("none", 255.0, 1.0)]
)
def test_unit_scale_divides_by_the_largest_raw_value_that_can_occur(scale: Any, largest: float, factor: float) -> None:
    dataset: Dataset = replace(blobs(), largest=largest)
    config = DataConfig("blobs", scale=scale)
    split = dataset.split(config, 0)
    assert split.validation is not None
    assert split.train.scaling == split.validation.scaling == Scaling((factor,))


# Minibatches


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
def test_inputs_may_lie_in_any_way(layout: str, tmp_path: Path) -> None:
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


def test_a_shorter_batch_uses_the_front_of_the_same_memory() -> None:
    dataset = blobs()
    reader = BatchReader(dataset.whole(DataConfig("blobs")).train, 5, np.float32)
    full, short = reader.read(np.arange(5)), reader.read(np.array([9, 8]))
    assert short.shape == (2, 6)
    assert np.shares_memory(full, short)
    np.testing.assert_array_equal(short, dataset.inputs[[9, 8]] * np.float32(1.0 / 255.0))


def test_gathering_leaves_the_data_set_as_it_was() -> None:
    dataset = blobs()
    before = dataset.inputs.copy()
    gather(dataset.inputs, np.arange(70))
    np.testing.assert_array_equal(dataset.inputs, before)
