"""Constants, duplicates, identifiers, and columns that tell the target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlp.arrays import Array
from mlp.losses import Task
from studies.data.column_checks import drop_useless, find_leak, note_doubtful_values
from studies.data.column_types import find_types
from tests.table_data import columns_of, config_of, type_of

N = 60
RNG = np.random.default_rng(0)
NOISE = RNG.permutation(N * 3)[:N].tolist()


def dropped(**columns: list[Any]) -> dict[str, str]:
    """Return why columns are dropped, by name."""
    found = find_types(columns_of(**columns), list(columns), config_of())
    drop_useless(found)
    return {facts.name: facts.drop for facts in found if facts.drop}


def test_a_constant_is_dropped_unless_some_values_are_missing() -> None:
    assert dropped(a=["x"] * N, b=[7] * N, c=["x", ""] * 30, d=[7, ""] * 30) == {"a": "constant", "b": "constant"}


@pytest.mark.parametrize(
    "cells",
    [list(range(N)), list(range(5, 5 + 2 * N, 2)), list(range(N, 0, -1)), RNG.permutation(N).tolist()],
    ids=["from 0", "by 2", "down", "shuffled"],
)
def test_whole_numbers_that_count_are_identifiers(cells: list[int]) -> None:
    assert dropped(a=cells) == {"a": "identifier"}
    found = find_types(columns_of(a=cells), ["a"], config_of(numeric=("a",)))
    drop_useless(found)
    assert found[0].kind == "number"


@pytest.mark.parametrize("name", ["id", "customer_id", "ID", "userId", "Unnamed: 0", "no", "order-number", "row_id"])
def test_whole_numbers_that_are_all_different_and_called_an_id_are_identifiers(name: str) -> None:
    assert dropped(**{name: NOISE}) == {name: "identifier"}


@pytest.mark.parametrize("name", ["age", "width", "humid", "price", "video", "grid", "note"])
def test_whole_numbers_that_are_all_different_are_numbers_by_any_other_name(name: str) -> None:
    assert dropped(**{name: NOISE}) == {}


def test_fractions_repeated_numbers_and_few_rows_are_no_identifiers() -> None:
    assert dropped(a=[i / 2 for i in range(N)], b=[i // 2 for i in range(N)]) == {}
    assert dropped(a=list(range(19))) == {}


def test_a_column_with_the_content_of_another_is_dropped_whatever_its_levels_are_called() -> None:
    columns = {"a": NOISE, "b": [f"{cell}.0" for cell in NOISE], "c": ["m", "f", "f"] * 20, "d": ["man", "w", "w"] * 20}
    assert dropped(**columns, e=["m", "f", "m"] * 20) == {"b": "duplicate of a", "d": "duplicate of c"}


def leaks(cells: list[Any], target: Array, task: Task) -> bool:
    (facts,) = find_types(columns_of(a=cells), ["a"], config_of())
    return bool(find_leak(facts, np.arange(len(cells)), target, task))


CLASSES = np.arange(N) % 3
VALUES = RNG.normal(size=(N, 1))


@pytest.mark.parametrize(
    ("cells", "target", "task", "expected"),
    [
        ([f"level {c}" for c in CLASSES], CLASSES, "classes", True),
        (["a", "b"] * 30, CLASSES, "classes", False),
        ([f"{i // 2}x" for i in range(N)], CLASSES, "classes", False),
        ((CLASSES * 10 + np.arange(N) / N).tolist(), CLASSES, "classes", True),
        (NOISE, CLASSES, "classes", False),
        ((VALUES[:, 0] * 3 + 1).tolist(), VALUES, "values", True),
        (np.exp(5 * VALUES[:, 0]).tolist(), VALUES, "values", True),
        ((VALUES[:, 0] + 0.3 * np.array(NOISE) / N).tolist(), VALUES, "values", False),
        (["a", "b"] * 30, np.array([[1.0], [2.0]] * 30), "values", True),
        (NOISE, np.column_stack([VALUES, VALUES]), "values", False),
    ],
)
def test_a_column_that_alone_tells_the_target_is_found(
    cells: list[Any], target: Array, task: Task, expected: bool
) -> None:
    assert leaks(cells, target, task) is expected


def test_a_leak_is_looked_for_in_the_training_rows_only() -> None:
    cells = [*(CLASSES[:30] * 1.5), *([99.5] * 30)]
    (facts,) = find_types(columns_of(a=cells), ["a"], config_of())
    assert find_leak(facts, np.arange(30), CLASSES, "classes") == (
        'tells the target almost exactly; if it is not known when you predict, set data.drop = ["a"]'
    )
    assert not find_leak(facts, np.arange(60), CLASSES, "classes")


def notes_of(cells: list[Any]) -> list[str]:
    facts = type_of(cells)
    note_doubtful_values([facts])
    return facts.notes


def test_a_number_far_from_all_others_that_is_a_usual_code_may_mean_a_missing_value() -> None:
    assert notes_of([*range(40), -999, -999]) == [
        '-999 in 2 rows is far from all other numbers; if it means a missing value, set data.missing = ["", "-999"]'
    ]
    assert notes_of([*range(40), -999]) == []
    assert notes_of([*range(90, 140), 99, 99]) == []
    assert notes_of([99, 99]) == []


def test_levels_that_differ_in_case_are_told() -> None:
    assert notes_of(["Yes", "no", "yes"]) == ["'Yes' and 'yes' differ in case only, and are different levels"]
    assert notes_of(["yes", "no"]) == []
