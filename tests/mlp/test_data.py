"""Data sets: splits that are disjoint, complete and seeded, subsets, folds, and fitted scaling."""

from __future__ import annotations

from dataclasses import replace
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
)
from mlp.batches import BatchReader
from mlp.scaling import Scaling
from tests.mlp_data import blobs, quick

# Splits


@quick
@given(n=st.integers(1, 300), seed=st.integers(0, 2**32 - 1), share=st.floats(0.0, 0.99), data=st.data())
def test_a_split_is_disjoint_and_complete(n: int, seed: int, share: float, data: st.DataObject) -> None:
    validation = data.draw(st.sampled_from([share, data.draw(st.integers(0, n - 1))]))
    config = DataConfig("blobs", validation=validation)
    n_validation = validation if isinstance(validation, int) else max(validation > 0, round(validation * n))
    if n_validation == n:
        return  # refused, as another test shows
    split = blobs(n).split(config, seed)
    validation_rows = [] if split.validation is None else split.validation.rows.tolist()
    assert len(validation_rows) == n_validation
    assert len(split.train) == n - n_validation
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
def test_a_split_that_leaves_no_training_example_is_refused(validation: float, shown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        blobs(70).split(DataConfig("blobs", validation=validation), 0)
    assert str(caught.value) == (
        f'"data.validation": must leave at least one of 70 training examples to train on, got {shown}.'
    )


def test_a_split_depends_on_the_seed_only() -> None:
    config = DataConfig("blobs", validation=20)
    first, again, other = blobs().split(config, 1), blobs().split(config, 1), blobs().split(config, 2)
    np.testing.assert_array_equal(first.train.rows, again.train.rows)
    assert first.validation is not None
    assert other.validation is not None
    assert set(first.validation.rows) != set(other.validation.rows)


def test_the_rows_of_each_part_are_in_ascending_order() -> None:
    split = blobs().split(DataConfig("blobs", validation=20), 1)
    assert split.validation is not None
    for part in (split.train, split.validation):
        assert (np.diff(part.rows) > 0).all()


def test_a_larger_validation_part_contains_the_smaller_of_the_same_seed() -> None:
    small, large = (blobs().split(DataConfig("blobs", validation=n), 1).validation for n in (10, 20))
    assert small is not None
    assert large is not None
    assert set(small.rows) < set(large.rows)


def test_the_validation_part_is_drawn_from_all_rows() -> None:
    # The last rows of a data set that is sorted by class would all be of one class.
    split = blobs(1000).split(DataConfig("blobs", validation=500), 0)
    assert split.validation is not None
    assert 200 < (split.validation.rows < 500).sum() < 300


def test_a_split_copies_nothing() -> None:
    dataset = blobs()
    split = dataset.split(DataConfig("blobs"), 0)
    assert split.validation is not None
    assert split.train.inputs is split.validation.inputs is dataset.inputs


def test_without_validation_the_validation_part_is_none() -> None:
    assert blobs().split(DataConfig("blobs", validation=0), 0).validation is None
    assert blobs().without_validation(DataConfig("blobs")).validation is None


def test_without_validation_every_training_example_is_used_and_the_test_part_has_every_test_example() -> None:
    dataset, config = blobs(), DataConfig("blobs")
    split, test = dataset.without_validation(config), dataset.test(Scaling())
    np.testing.assert_array_equal(split.train.rows, np.arange(len(dataset.inputs)))
    np.testing.assert_array_equal(test.row_targets, dataset.test_targets)
    assert test.inputs is dataset.test_inputs
    assert (split.n_targets, split.n_features) == (3, 6)


def test_row_targets_are_the_targets_of_the_rows() -> None:
    dataset = blobs()
    examples = Examples(dataset.inputs, dataset.targets, np.array([4, 1, 4]))
    np.testing.assert_array_equal(examples.row_targets, dataset.targets[[4, 1, 4]])
    assert len(examples) == 3


@pytest.mark.parametrize(
    ("scale", "largest", "factor"), [("unit", 255.0, 1 / 255), ("unit", 16.0, 1 / 16), ("none", 255.0, 1.0)]
)
def test_unit_scale_divides_by_the_largest_raw_value_that_can_occur(scale: Any, largest: float, factor: float) -> None:
    dataset: Dataset = replace(blobs(), largest=largest)
    config = DataConfig("blobs", scale=scale)
    split = dataset.split(config, 0)
    assert split.validation is not None
    assert split.train.encoding == split.validation.encoding == Scaling((factor,))


# Parts of the data


def test_a_subset_is_the_first_training_examples() -> None:
    split = blobs(70).split(DataConfig("blobs", subset=30, validation=0), 0)
    np.testing.assert_array_equal(split.train.rows, np.arange(30))
    halves = blobs(70).split(DataConfig("blobs", subset=30, validation=0.5), 0)
    assert halves.validation is not None
    assert max(*halves.train.rows, *halves.validation.rows) == 29


def test_a_subset_larger_than_the_data_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r'"data.subset": must be at most 70, the number of training examples, got 71'
    ):
        blobs(70).split(DataConfig("blobs", subset=71), 0)


@quick
@given(n=st.integers(12, 120), folds=st.integers(2, 6), balanced=st.booleans())
def test_every_example_is_in_the_validation_part_of_exactly_one_fold(n: int, folds: int, balanced: bool) -> None:
    parts = []
    for fold in range(folds):
        split = blobs(n).split(DataConfig("blobs", folds=folds, fold=fold, stratify=balanced), 3)
        assert split.validation is not None
        assert not set(split.train.rows) & set(split.validation.rows)
        parts.append(split.validation.rows)
    assert sorted(np.concatenate(parts)) == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@quick
@given(n=st.integers(60, 200), share=st.floats(0.2, 0.8))
def test_a_balanced_validation_part_has_each_class_in_proportion(n: int, share: float) -> None:
    dataset = blobs(n)
    split = dataset.split(DataConfig("blobs", validation=share, stratify=True), 1)
    assert split.validation is not None
    overall, part = np.bincount(dataset.targets, minlength=3), np.bincount(split.validation.row_targets, minlength=3)
    assert (np.abs(part - len(split.validation) / n * overall) <= 1.5).all()


def test_more_folds_than_examples_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'"data.folds": must be at most 5'):
        blobs(5).splits(DataConfig("blobs", folds=6), 0)


# Scaling


def test_standard_scaling_is_fitted_on_the_training_part_only() -> None:
    split = blobs(70).split(DataConfig("blobs", scale="standard"), 0)
    assert split.validation is not None
    x = BatchReader(split.train, len(split.train), np.float64).read(0, len(split.train))
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(x.std(axis=0), 1.0, rtol=1e-12)
    assert split.validation.encoding is split.train.encoding


def test_scaling_by_example_gives_each_example_mean_0_and_deviation_1() -> None:
    split = blobs(20).split(DataConfig("blobs", scale="example", validation=0), 0)
    x = BatchReader(split.train, 20, np.float64).read(0, 20)
    np.testing.assert_allclose(x.mean(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(x.std(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("scale", ["standard", "example"])
def test_constant_inputs_become_zero(scale: Any) -> None:
    dataset = replace(blobs(20), inputs=np.full((20, 6), 1e6 + 0.1))
    split = dataset.split(DataConfig("blobs", scale=scale, validation=0), 0)
    np.testing.assert_allclose(BatchReader(split.train, 20, np.float32).read(0, 20), 0.0, atol=1e-6)


def test_values_far_from_zero_keep_their_digits() -> None:
    inputs = 1e9 + np.random.default_rng(0).normal(size=(40, 6))
    split = replace(blobs(40), inputs=inputs).split(DataConfig("blobs", scale="standard", validation=0), 0)
    x = BatchReader(split.train, 40, np.float32).read(0, 40)
    np.testing.assert_allclose(x, (inputs - inputs.mean(axis=0)) / inputs.std(axis=0), atol=1e-5)
