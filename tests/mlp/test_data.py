"""Data: splits that are disjoint, complete and seeded, and minibatches that equal a plain computation in floats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp import (
    ConfigError,
    DataConfig,
    Dataset,
    Examples,
    Split,
)
from mlp.data import BatchReader, one_hot
from mlp.scaling import Scaling
from tests.mlp_data import blobs, quick


def gather(inputs: Any, rows: Any, dtype: Any = np.float32, factor: float = 1.0 / 255.0) -> Any:
    examples = Examples(inputs, np.zeros(len(inputs), np.uint8), np.arange(len(inputs)), Scaling((factor,)))
    reader = BatchReader(examples, len(rows), dtype)
    reader.begin(np.asarray(rows))
    return reader.take(0, len(rows)).copy()


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


@quick
@given(n=st.integers(1, 70), b=st.integers(1, 30), page=st.integers(1, 40))
def test_batches_are_the_rows_in_their_order_however_many_are_gathered_at_once(n: int, b: int, page: int) -> None:
    dataset, order = blobs(70), np.random.default_rng(0).permutation(70)[:n]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlp.data.PAGE_ROWS", page)
        reader = BatchReader(dataset.whole(DataConfig("blobs", scale="none")).train, b, np.float32)
    for _ in range(2):
        reader.begin(order)
        batches = [reader.take(start, min(start + b, n)).copy() for start in range(0, n, b)]
        np.testing.assert_array_equal(np.concatenate(batches), dataset.inputs[order])


def test_gathering_leaves_the_data_set_as_it_was() -> None:
    dataset = blobs()
    before = dataset.inputs.copy()
    gather(dataset.inputs, np.arange(70))
    np.testing.assert_array_equal(dataset.inputs, before)


# Parts of the data


def test_a_subset_is_the_first_training_examples() -> None:
    split = blobs(70).split(DataConfig("blobs", subset=30, validation=0), 0)
    np.testing.assert_array_equal(split.train.rows, np.arange(30))
    held_out = blobs(70).split(DataConfig("blobs", subset=30, validation=0.5), 0)
    assert held_out.validation is not None
    assert max(*held_out.train.rows, *held_out.validation.rows) == 29


def test_a_subset_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'"data.subset": must be at most 70, .* "blobs", got 71'):
        blobs(70).split(DataConfig("blobs", subset=71), 0)


@quick
@given(n=st.integers(12, 120), folds=st.integers(2, 6), balanced=st.booleans())
def test_every_example_is_held_out_by_exactly_one_fold(n: int, folds: int, balanced: bool) -> None:
    parts = []
    for fold in range(folds):
        split = blobs(n).split(DataConfig("blobs", folds=folds, fold=fold, balanced=balanced), 3)
        assert split.validation is not None
        assert not set(split.train.rows) & set(split.validation.rows)
        parts.append(split.validation.rows)
    assert sorted(np.concatenate(parts)) == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@quick
@given(n=st.integers(60, 200), share=st.floats(0.2, 0.8))
def test_a_balanced_split_holds_out_each_class_by_its_share(n: int, share: float) -> None:
    dataset = blobs(n)
    split = dataset.split(DataConfig("blobs", validation=share, balanced=True), 1)
    assert split.validation is not None
    whole, part = np.bincount(dataset.targets, minlength=3), np.bincount(split.validation.own_targets, minlength=3)
    assert (np.abs(part - len(split.validation) / n * whole) <= 1.5).all()


def test_more_folds_than_examples_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'"data.folds": must be at most 5'):
        blobs(5).split(DataConfig("blobs", folds=6), 0)


# Scaling


def test_standard_scaling_learns_from_the_training_part_alone() -> None:
    split = blobs(70).split(DataConfig("blobs", scale="standard"), 0)
    assert split.validation is not None
    x = BatchReader(split.train, len(split.train), np.float64).take(0, len(split.train))
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(x.std(axis=0), 1.0, rtol=1e-12)
    assert split.validation.scaling is split.train.scaling


def test_scaling_by_example_gives_each_example_mean_0_and_deviation_1() -> None:
    split = blobs(20).split(DataConfig("blobs", scale="example", validation=0), 0)
    x = BatchReader(split.train, 20, np.float64).take(0, 20)
    np.testing.assert_allclose(x.mean(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(x.std(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("scale", ["standard", "example"])
def test_what_does_not_vary_becomes_zero(scale: Any) -> None:
    dataset = replace(blobs(20), inputs=np.full((20, 6), 1e6 + 0.1))
    split = dataset.split(DataConfig("blobs", scale=scale, validation=0), 0)
    np.testing.assert_allclose(BatchReader(split.train, 20, np.float32).take(0, 20), 0.0, atol=1e-6)


def test_what_lies_far_from_zero_keeps_its_digits() -> None:
    inputs = 1e9 + np.random.default_rng(0).normal(size=(40, 6))
    split = replace(blobs(40), inputs=inputs).split(DataConfig("blobs", scale="standard", validation=0), 0)
    x = BatchReader(split.train, 40, np.float32).take(0, 40)
    np.testing.assert_allclose(x, (inputs - inputs.mean(axis=0)) / inputs.std(axis=0), atol=1e-5)


# What cannot be learnt from

BAD_INPUTS = {
    "nan": (np.array([[0.0, 1.0], [2.0, np.nan]]), r"inputs must be finite .* got nan in row 1, column 1"),
    "inf": (np.array([[np.inf, 1.0]]), r"got inf in row 0, column 0"),
    "huge": (np.array([[1e31, 1.0]]), r"at most 1e\+30, got 1e\+31"),
    "text": (np.array([["a", "b"]]), r"inputs must be numbers, got the type <U1"),
    "objects": (np.array([[None, 1]]), r"inputs must be numbers, got the type object"),
    "a vector": (np.zeros(3), r"inputs must have shape \(n, d\), a row an example, got \(3,\)"),
    "no features": (np.zeros((3, 0)), r"inputs must have shape \(n, d\), a row an example, got \(3, 0\)"),
}


@pytest.mark.parametrize(("inputs", "said"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_inputs_that_no_network_can_take_are_refused(inputs: Any, said: str) -> None:
    examples = Examples(inputs, np.zeros(len(inputs), int), np.arange(len(inputs)))
    with pytest.raises(ConfigError, match=said):
        Split(examples, None, 2)


BAD_TARGETS = {
    "too large": (np.array([0, 3]), "classes", r"targets must be from 0 to 2, got 3 in row 1"),
    "negative": (np.array([-1, 0]), "classes", r"targets must be from 0 to 2, got -1 in row 0"),
    "fractions": (np.array([0.5, 1.0]), "classes", r"targets must be whole numbers, got the type float64"),
    "too few": (np.array([0]), "classes", r"targets must have shape \(2,\), got \(1,\)"),
    "labels of 2": (np.array([[0, 1, 2], [0, 0, 0]]), "labels", r"targets must be 0 or 1"),
    "a missing value": (np.array([[0.0, 1.0, np.nan]] * 2), "values", r"targets must be finite .* row 0, column 2"),
    "whole values": (np.zeros((2, 3), int), "values", r"targets must be floating point"),
    "another width": (np.zeros((2, 2)), "values", r"targets must have shape \(2, 3\), got \(2, 2\)"),
}


@pytest.mark.parametrize(("targets", "task", "said"), BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_targets_that_do_not_fit_the_task_are_refused(targets: Any, task: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Split(Examples(np.zeros((2, 4)), targets, np.arange(2)), None, 3, task)


@pytest.mark.parametrize("weights", [np.ones(3), np.array([1.0, -1.0]), np.array([1.0, np.nan])])
def test_weights_that_mean_nothing_are_refused(weights: Any) -> None:
    with pytest.raises(ConfigError, match="weights must"):
        Split(Examples(np.zeros((2, 4)), np.array([0, 1]), np.arange(2), weights=weights), None, 2)


def test_no_examples_are_refused() -> None:
    with pytest.raises(ConfigError, match="there is no example to train on"):
        Split(Examples(np.zeros((0, 4)), np.zeros(0, int), np.arange(0)), None, 2)


# Categories


def test_categories_become_a_column_each() -> None:
    encoded, categories = one_hot(["red", "blue", "red"])
    assert categories == ("blue", "red")
    np.testing.assert_array_equal(encoded, [[0, 1], [1, 0], [0, 1]])


def test_a_category_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'green' in row 1 is none of 'red', 'blue'"):
        one_hot(["red", "green"], ["red", "blue"])
