"""Splits of tables: stratified, grouped and ordered parts, and subsets that are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp import ConfigError, DataConfig, Dataset
from mlp.columns import Column, Schema
from mlp.splits import Population, hold_out, hold_out_fold, hold_out_test, split_rows, strata_of, subset_rows
from tests.mlp_data import quick

SCHEMA = Schema((Column("x", "number"),))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def dataset(targets: Any, classes: tuple[str, ...] = ("a", "b", "c"), **more: Any) -> Dataset:
    targets = np.asarray(targets)
    cells = np.arange(float(len(targets)))[:, None]
    return Dataset("t", cells, targets, cells[:0], targets[:0], classes, 1.0, "", schema=SCHEMA, **more)


@quick
@given(period=st.integers(2, 7), n=st.integers(40, 200), share=st.floats(0.1, 0.5), is_sorted=st.booleans())
def test_every_class_is_in_both_parts_in_proportion_whatever_the_order_of_the_rows(
    period: int, n: int, share: float, is_sorted: bool
) -> None:
    classes = np.arange(n) % period
    classes = np.sort(classes) if is_sorted else classes
    held = hold_out_test(Population(n, classes), round(share * n))
    assert len(held) == round(share * n)
    assert (np.abs(np.bincount(classes[held], minlength=period) - np.bincount(classes) * len(held) / n) <= 1).all()


def test_the_test_part_does_not_depend_on_a_seed_and_the_validation_part_does() -> None:
    population = Population(100, np.arange(100) % 3)
    np.testing.assert_array_equal(hold_out_test(population, 20), hold_out_test(population, 20))
    first, second = (split_rows(DataConfig(), seed, population)[1].tolist() for seed in (0, 1))
    assert first != second


def test_a_class_with_one_example_is_in_the_training_part() -> None:
    classes = np.array([0] * 30 + [1] * 30 + [2])
    for seed in range(30):
        assert 60 not in hold_out(Population(61, classes), 50, rng(seed))


def test_values_are_stratified_by_their_quantiles() -> None:
    values = np.sort(rng().lognormal(size=1000))[:, None]
    strata = strata_of(values, "values")
    assert np.bincount(strata).tolist() == [100] * 10
    held = hold_out(Population(1000, strata), 200, rng())
    assert np.bincount(strata[held]).tolist() == [20] * 10
    assert len(np.unique(strata_of(np.ones((9, 1)), "values"))) == 1
    assert strata_of(np.array([[0, 1], [1, 1], [0, 1]]), "labels").tolist() == [0, 1, 0]


@quick
@given(st.lists(st.integers(0, 9), min_size=2, max_size=60), st.floats(0.05, 0.9), st.integers(0, 9))
def test_a_group_is_never_divided(groups: list[int], share: float, seed: int) -> None:
    members, n = np.array(groups), len(groups)
    if len(set(groups)) < 2:
        with pytest.raises(ConfigError, match=r'"data.group": must have at least two different values'):
            hold_out(Population(n, groups=members), 1, rng(seed))
        return
    for strata in (None, np.arange(n) % 2):
        held = hold_out(Population(n, strata, members), max(1, round(share * n)), rng(seed))
        rest = np.setdiff1d(np.arange(n), held)
        assert len(held)
        assert len(rest)
        assert not set(members[held]) & set(members[rest])


def test_groups_that_are_held_out_have_about_as_many_rows_as_wanted() -> None:
    members = np.repeat(np.arange(50), 10)
    held = hold_out(Population(500, np.repeat(np.arange(50) % 2, 10), members), 100, rng())
    assert len(held) == 100
    assert len(np.unique(members[held] % 2, return_counts=True)[1]) == 2


def test_folds_of_groups_are_disjoint_and_complete() -> None:
    members = rng().integers(0, 17, 200)
    folds = [hold_out_fold(Population(200, None, members), 4, fold, rng()) for fold in range(4)]
    assert sorted(np.concatenate(folds)) == list(range(200))
    for fold in folds:
        assert not set(members[fold]) & set(np.delete(members, fold))
    with pytest.raises(ConfigError, match=r'"data.folds": must be at most 17, the number of groups, got 18'):
        hold_out_fold(Population(200, None, members), 18, 0, rng())


@quick
@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(2, 7), st.integers(0, 9))
def test_every_class_is_divided_evenly_among_folds(counts: list[int], n_folds: int, seed: int) -> None:
    classes = np.repeat(np.arange(len(counts)), counts)
    folds = [hold_out_fold(Population(len(classes), classes), n_folds, fold, rng(seed)) for fold in range(n_folds)]
    assert sorted(np.concatenate(folds)) == list(range(len(classes)))
    found = np.array([np.bincount(classes[fold], minlength=len(counts)) for fold in folds])
    assert (np.ptp(found, axis=0) <= 1).all()
    assert np.ptp(found.sum(axis=1)) <= 1


@pytest.mark.parametrize(("n_rare", "n_folds"), [(10, 5), (25, 2), (25, 5)])
def test_groups_of_every_class_are_divided_evenly_among_folds(n_rare: int, n_folds: int) -> None:
    members = np.repeat(np.arange(50), 4)
    population = Population(200, (members < n_rare).astype(int), members)
    counts = [int((members[hold_out_fold(population, n_folds, fold, rng())] < n_rare).sum()) for fold in range(n_folds)]
    assert sum(counts) == 4 * n_rare
    assert max(counts) - min(counts) <= 4


def test_the_latest_rows_are_held_out() -> None:
    order = rng().permutation(50).astype(float)
    order[order == 49] = np.nan  # not known, so not the latest
    held = hold_out(Population(50, order=order), 10, rng())
    assert sorted(order[held]) == list(range(39, 49))
    groups = np.arange(50) // 5
    held = hold_out(Population(50, groups=groups, order=np.arange(50.0)), 10, rng())
    assert held.tolist() == list(range(40, 50))


def test_a_subset_of_a_sorted_table_has_every_class() -> None:
    targets = np.repeat([0, 1, 2], 40)
    split = dataset(targets).split(DataConfig(subset=30), 0)
    assert split.validation is not None
    both = np.concatenate([split.train.rows, split.validation.rows])
    assert np.bincount(targets[both]).tolist() == [10, 10, 10]
    assert np.bincount(split.validation.row_targets).tolist() == [2, 2, 2]
    again = dataset(targets).split(DataConfig(subset=30), 1)
    assert set(both) == {*again.train.rows, *(again.validation.rows if again.validation else ())}
    assert subset_rows(Population(9), 9).tolist() == list(range(9))


def test_stratification_can_be_turned_off_and_is_off_for_arrays() -> None:
    targets = np.repeat([0, 1, 2], 30)
    counts = {
        tuple(np.bincount(split.row_targets, minlength=3))
        for seed in range(9)
        if (split := dataset(targets).split(DataConfig(stratify=False), seed).validation)
    }
    assert len(counts) > 1


@pytest.mark.parametrize("more", [{}, {"folds": 3, "fold": 1}, {"folds": 3, "repeats": 2, "fold": 4}])
def test_a_seed_of_the_split_replaces_that_of_the_training(more: dict[str, Any]) -> None:
    data = dataset(np.arange(60) % 3)

    def held(seed: int, split_seed: int | None = None) -> list[int]:
        split = data.split(DataConfig(split_seed=split_seed, **more), seed)
        assert split.validation is not None
        return split.validation.rows.tolist()

    assert held(7, split_seed=5) == held(8, split_seed=5) == held(5)
    assert held(7, split_seed=0) == held(0) != held(7)


def test_a_configuration_without_a_seed_of_the_split_is_written_as_before() -> None:
    assert "split_seed" not in DataConfig(name="digits").to_mapping()
    given = DataConfig(name="digits", split_seed=3)
    assert DataConfig.from_mapping(given.to_mapping()) == given


def test_a_validation_part_in_a_file_of_its_own_is_that_of_every_split() -> None:
    data = dataset(np.arange(20) % 2, ("a", "b"), n_given=5)
    config = DataConfig(file="t.csv", validation="v.csv")
    for seed in range(3):
        split = data.split(config, seed)
        assert split.validation is not None
        assert split.validation.rows.tolist() == [15, 16, 17, 18, 19]
        assert split.train.rows.tolist() == list(range(15))
    assert len(data.without_validation(config).train) == 20
    with pytest.raises(ConfigError, match=r'"data.folds": cannot be combined with a validation part'):
        data.split(DataConfig(file="t.csv", folds=2), 0)


def test_classes_that_a_part_lacks_are_named() -> None:
    assert dataset(np.arange(60) % 3).split(DataConfig(), 0).find_gaps() == []
    targets = np.array([0] * 20 + [1] * 20 + [2])
    assert dataset(targets).split(DataConfig(), 0).find_gaps() == ["the validation part has no example of class c."]
    gaps = dataset([0, 1, 2]).split(DataConfig(validation=2), 0).find_gaps()
    assert [gap[:40] for gap in gaps] == [
        "the training part has no example of 2 cl",
        "the validation part has no example of cl",
    ]
    assert dataset(np.arange(9.0)[:, None], ("y",)).split(DataConfig(), 0).find_gaps() == []


def test_the_positive_class_must_be_the_second() -> None:
    data = dataset(np.arange(20) % 2, ("no", "yes"))
    config = DataConfig(file="t.csv", positive="yes")
    data.split(config, 0)
    with pytest.raises(ConfigError, match=r'"data.positive": must be one of two classes, got "maybe"'):
        data.split(DataConfig(file="t.csv", positive="maybe"), 0)
