"""Data sets from a user's arrays, lists and pandas frames."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp import (
    ConfigError,
    DataConfig,
    Dataset,
    Model,
    TrainConfig,
    train,
)
from mlp.arrays import digest
from tests.mlp_data import quick

X = np.array([[0.0, 1.0], [2.0, -4.0], [3.0, 0.5], [1.0, 1.0]])


def frame(**columns: Any) -> Any:
    return pd.DataFrame({"height": [1.5, 2.5, 0.5], "width": [1, 2, 3]} | columns)


# Targets


@pytest.mark.parametrize(
    ("y", "targets", "classes"),
    [
        (["red", "blue", "red", "green"], [2, 0, 2, 1], ("blue", "green", "red")),
        (np.array(["b", "a", "b", "a"], object), [1, 0, 1, 0], ("a", "b")),
        ([3, 7, 3, 5], [0, 2, 0, 1], ("3", "5", "7")),
        (np.array([1, 0, 0, 1], np.uint8), [1, 0, 0, 1], ("0", "1")),
        ([True, False, False, True], [1, 0, 0, 1], ("False", "True")),
        ([[4], [2], [4], [2]], [1, 0, 1, 0], ("2", "4")),
        (pd.Series(["x", "y", "y", "x"], dtype="category"), [0, 1, 1, 0], ("x", "y")),
        (pd.Categorical(["x", "y", "y", "x"]), [0, 1, 1, 0], ("x", "y")),
        (pd.Series([2, 1, 1, 2], dtype="Int64"), [1, 0, 0, 1], ("1", "2")),
        (pd.DataFrame({"kind": ["x", "y", "y", "x"]}), [0, 1, 1, 0], ("x", "y")),
    ],
    ids=[
        "strings",
        "objects",
        "integers",
        "bytes",
        "booleans",
        "a column",
        "a category",
        "categorical",
        "Int64",
        "frame",
    ],
)
def test_strings_integers_and_booleans_are_classes(y: Any, targets: list[int], classes: tuple[str, ...]) -> None:
    dataset = Dataset.from_arrays(X, y)
    assert dataset.task == "classes"
    assert dataset.targets.tolist() == targets
    assert dataset.classes == classes


@quick
@given(y=st.lists(st.text(min_size=1, max_size=3), min_size=2, max_size=20).filter(lambda y: len(set(y)) > 1))
def test_the_class_of_each_example_is_its_target(y: list[str]) -> None:
    y = [text.replace("\0", "0") for text in y]  # NumPy strips these from the end of strings
    if len(set(y)) > 1:
        dataset = Dataset.from_arrays(np.zeros((len(y), 1)), y)
        assert [dataset.classes[target] for target in dataset.targets] == y


@pytest.mark.parametrize(
    ("y", "targets", "names"),
    [
        ([0.5, 1.0, 2.0, 3.0], [[0.5], [1.0], [2.0], [3.0]], ("y",)),
        (pd.Series([0.5, 1.0, 2.0, 3.0], name="price"), [[0.5], [1.0], [2.0], [3.0]], ("price",)),
        ([[0.5, 1.0]] * 4, [[0.5, 1.0]] * 4, ("y0", "y1")),
        (pd.DataFrame({"a": [0.5] * 4, "b": [2] * 4}), [[0.5, 2.0]] * 4, ("a", "b")),
    ],
    ids=["one", "a series", "two", "a frame"],
)
def test_floats_are_values(y: Any, targets: Any, names: tuple[str, ...]) -> None:
    dataset = Dataset.from_arrays(X, y)
    assert dataset.task == "values"
    np.testing.assert_array_equal(dataset.targets, targets)
    assert dataset.classes == names


@pytest.mark.parametrize("dtype", [int, float, bool])
def test_several_columns_of_0_and_1_are_labels(dtype: Any) -> None:
    y = np.array([[0, 1], [1, 1], [0, 0], [1, 0]])
    dataset = Dataset.from_arrays(X, y.astype(dtype), classes=["sweet", "sour"])
    assert (dataset.task, dataset.classes) == ("labels", ("sweet", "sour"))
    np.testing.assert_array_equal(dataset.targets, y)


def test_the_task_can_be_chosen_where_the_type_of_the_targets_means_another() -> None:
    values = Dataset.from_arrays(X, [1, 2, 3, 4], task="values")
    assert values.task == "values"
    np.testing.assert_array_equal(values.targets, [[1.0], [2.0], [3.0], [4.0]])
    classes = Dataset.from_arrays(X, [1.0, 2.0, 1.0, 2.0], task="classes")
    assert (classes.task, classes.classes) == ("classes", ("1.0", "2.0"))


def test_classes_can_be_named_and_ordered() -> None:
    numbered = Dataset.from_arrays(X, [0, 1, 0, 1], classes=["no", "yes", "maybe"])
    assert numbered.targets.tolist() == [0, 1, 0, 1]
    assert numbered.classes == ("no", "yes", "maybe")
    named = Dataset.from_arrays(X, ["yes", "no", "yes", "no"], classes=["yes", "no", "maybe"])
    assert named.targets.tolist() == [0, 1, 0, 1]


# Inputs


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.float64])
def test_arrays_of_numbers_are_used_as_they_are(dtype: Any) -> None:
    x = np.arange(8).reshape(4, 2).astype(dtype)
    dataset = Dataset.from_arrays(x, [0, 1, 0, 1])
    assert dataset.inputs is x
    assert dataset.largest == 7.0
    assert dataset.columns == ()


def test_the_largest_value_is_the_largest_absolute_value_of_x_unless_given() -> None:
    assert Dataset.from_arrays(X, [0, 1, 0, 1]).largest == 4.0
    assert Dataset.from_arrays(np.zeros((4, 1)), [0, 1, 0, 1]).largest == 1.0
    assert Dataset.from_arrays(X, [0, 1, 0, 1], largest=255.0).largest == 255.0


def test_the_columns_of_a_frame_are_kept() -> None:
    x = frame(tall=[True, False, True], depth=pd.array([1, 2, 3], "Int64"))
    dataset = Dataset.from_arrays(x, ["a", "b", "a"], test=(x, ["b", "b", "a"]))
    assert dataset.columns == ("height", "width", "tall", "depth")
    np.testing.assert_array_equal(dataset.inputs, [[1.5, 1, 1, 1], [2.5, 2, 0, 2], [0.5, 3, 1, 3]])
    assert Dataset.from_arrays(X, [0, 1, 0, 1], columns=["a", "b"]).columns == ("a", "b")


def test_the_test_part_is_encoded_like_the_training_part() -> None:
    dataset = Dataset.from_arrays(X, ["b", "a", "c", "a"], test=(X[:2], ["c", "c"]))
    assert dataset.test_targets.tolist() == [2, 2]
    np.testing.assert_array_equal(dataset.test_inputs, X[:2])
    assert len(Dataset.from_arrays(X, ["b", "a", "c", "a"]).test_inputs) == 0


def test_the_digest_identifies_the_content() -> None:
    first, again = (Dataset.from_arrays(X, [0, 1, 0, 1]) for _ in range(2))
    others = [
        Dataset.from_arrays(X + 1, [0, 1, 0, 1]),
        Dataset.from_arrays(X, [1, 1, 0, 1]),
        Dataset.from_arrays(X, [0, 1, 0, 1], test=(X, [0, 1, 0, 1])),
    ]
    assert first.digest == again.digest == digest(first.inputs, first.targets, X[:0], first.targets[:0])
    assert len({first.digest, *(other.digest for other in others)}) == 4


def test_a_network_learns_a_data_set_from_arrays() -> None:
    rng = np.random.default_rng(0)
    y = rng.choice(["low", "high"], 200)
    x = rng.normal(size=(200, 3)) + 4.0 * (y == "high")[:, None]
    dataset = Dataset.from_arrays(x[:150], y[:150], test=(x[150:], y[150:]))
    model = Model.of(train(TrainConfig(epochs=20, batch_size=8), dataset), dataset)
    predicted = [model.classes[i] for i in model.predict(x[150:])]
    assert np.mean(predicted == y[150:]) > 0.9


# Errors

GOOD = [0, 1, 0, 1]
WITH_NAN = X + np.array([[0, 0], [0, np.nan], [0, 0], [0, 0]])

REFUSED: dict[str, tuple[Any, str]] = {
    "x is one column": (lambda: (X[:, 0], GOOD), r'"x": inputs must have shape \(n, d\), got \(4,\); reshape\(-1, 1\)'),
    "x is images": (
        lambda: (np.zeros((4, 8, 8)), GOOD),
        r'"x": inputs must have shape \(n, d\), got \(4, 8, 8\); reshape\(len\(x\), -1\)',
    ),
    "x is ragged": (lambda: ([[1, 2], [3]], GOOD), '"x": must be an array, and all rows must have the same length'),
    "x is text": (lambda: (X.astype(str), GOOD), '"x": inputs must be numbers, got text .* or use a pandas frame'),
    "x is empty": (lambda: (X[:0], []), '"x": must contain at least one example'),
    "x has a nan": (lambda: (WITH_NAN, GOOD), '"x": inputs must be finite .* got nan in row 1, column 1'),
    "x has none": (lambda: ([[1, 2], [None, 4]], [0, 1]), '"x": inputs must be finite .* got nan in row 1, column 0'),
    "a frame has an infinite number": (
        lambda: (frame(width=[1, np.inf, 3]), [0, 1, 0]),
        '"x": column "width", row 1: inf is not a number that is finite',
    ),
    "a frame has durations": (
        lambda: (frame(time=pd.to_timedelta([1, 2, 3], "D")), [0, 1, 0]),
        '"x": column "time" must contain numbers, texts or dates, got the type timedelta64',
    ),
    "a frame has a column twice": (
        lambda: (frame().set_axis(["a", "a"], axis=1), [0, 1, 0]),
        '"x.columns": must not contain a name twice',
    ),
    "a frame has thousands of texts": (
        lambda: (pd.DataFrame({"id": [f"n{i}" for i in range(5001)]}), [0] * 5000 + [1]),
        '"x": column "id" has 5001 distinct texts, at most 5000 can be categories',
    ),
    "another length": (lambda: (X, [0, 1, 0]), '"y": must have one target for each of 4 examples, got 3'),
    "one class": (lambda: (X, ["a"] * 4), '"y": must have at least two different classes, got a'),
    "a missing class": (lambda: (X, ["a", None, "b", "a"]), '"y": targets must not be missing, got None in row 1'),
    "a missing value": (lambda: (X, [0.5, np.nan, 1, 2]), r'"y": targets must be finite .* got nan in row 1'),
    "a missing integer": (
        lambda: (X, pd.Series([1, 2, None, 1], dtype="Int64")),
        r'"y": targets must be finite .* got nan in row 2',
    ),
    "mixed targets": (
        lambda: (X, np.array(["a", 1, "b", 2], object)),
        '"y": targets must be all strings or all numbers, got 1 in row 1',
    ),
    "integers side by side": (
        lambda: (X, [[1, 2]] * 4),
        r'"y": targets of shape \(4, 2\) must be 0 or 1 \(labels\) or floats \(values\), got the type int64',
    ),
    "y of three dimensions": (lambda: (X, np.zeros((4, 1, 1))), r'"y": targets must have shape \(n,\) or \(n, m\)'),
    "y of dates": (
        lambda: (X, np.zeros(4, "M8[D]")),
        '"y": targets must be strings or numbers, got the type datetime64',
    ),
}


@pytest.mark.parametrize(("arrays", "message"), REFUSED.values(), ids=REFUSED)
def test_arrays_that_are_not_valid_are_refused(arrays: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Dataset.from_arrays(*arrays())


REFUSED_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "test is one array": ({"test": X}, r'"test": must be a pair \(x, y\)'),
    "test of another width": ({"test": (X[:, :1], GOOD)}, '"test": must have the 2 features of x, in the same order'),
    "test of another length": ({"test": (X, [0])}, '"test": must have one target for each of 4 examples, got 1'),
    "test of another class": ({"test": (X, [0, 1, 2, 1])}, '"test": targets must be one of 0, 1, got 2 in row 2'),
    "test with a nan": ({"test": (WITH_NAN, GOOD)}, '"test": inputs must be finite .* got nan in row 1, column 1'),
    "too few classes": ({"classes": ["a", "a"]}, '"classes": must have at least two different classes, got a, a'),
    "too few columns": ({"columns": ["a"]}, '"columns": must name 2 features, got 1 names'),
    "an unknown task": ({"task": "regression"}, '"task": must be "auto", "classes" or "values"'),
}


@pytest.mark.parametrize(("options", "message"), REFUSED_OPTIONS.values(), ids=REFUSED_OPTIONS)
def test_options_that_do_not_fit_the_arrays_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Dataset.from_arrays(X, GOOD, **options)


def test_a_class_that_is_not_among_the_given_ones_is_refused() -> None:
    with pytest.raises(ConfigError, match="\"y\": targets must be one of a, b, got 'c' in row 2"):
        Dataset.from_arrays(X, ["a", "b", "c", "a"], classes=["a", "b"])
    with pytest.raises(ConfigError, match='"classes": must name 2 labels, got 3 names'):
        Dataset.from_arrays(X, [[0, 1]] * 4, classes=["a", "b", "c"])


def test_the_columns_of_a_test_frame_may_be_in_any_order() -> None:
    x = frame()
    dataset = Dataset.from_arrays(x, [0, 1, 0], test=(x.assign(more=1)[["more", "width", "height"]], [0, 1, 0]))
    np.testing.assert_array_equal(dataset.test_inputs, dataset.inputs)
    with pytest.raises(ConfigError, match='"test": there is no column "height"'):
        Dataset.from_arrays(x, [0, 1, 0], test=(x[["width"]], [0, 1, 0]))


def test_a_frame_of_mixed_types_is_a_table() -> None:
    x = frame(
        colour=["red", None, "blue"],
        size=pd.Categorical(["10", "9", "10"]),
        day=pd.to_datetime(["1970-01-02", None, "1970-01-03"]),
        born=[date(1970, 1, 2), None, date(1970, 1, 3)],
        flag=pd.array([True, None, False], "boolean"),
        code=pd.Series([1, None, "x"], dtype=object),
    )
    dataset = Dataset.from_arrays(x, [0, 1, 0])
    assert dataset.schema is not None
    kinds = ("number", "number", "category", "category", "date", "date", "category", "category")
    assert tuple(column.kind for column in dataset.schema.columns) == kinds
    assert dataset.schema.columns[3].levels == ("9", "10")
    nan = np.nan
    np.testing.assert_array_equal(
        dataset.inputs[:, 2:], [[1, 1, 86400, 86400, 1, 0], [nan, 0, nan, nan, nan, nan], [0, 1, 172800, 172800, 0, 1]]
    )


def test_the_positive_class_is_the_second() -> None:
    for positive, targets in (("a", [0, 1, 0, 1]), ("b", [1, 0, 1, 0])):
        dataset = Dataset.from_arrays(X, ["b", "a", "b", "a"], positive=positive)
        assert dataset.classes[1] == positive
        assert dataset.targets.tolist() == targets
    with pytest.raises(ConfigError, match='"positive": must be one of two classes'):
        Dataset.from_arrays(X, ["b", "a", "b", "a"], positive="c")
    with pytest.raises(ConfigError, match='"positive": needs two classes, but the targets are values'):
        Dataset.from_arrays(X, [0.5, 1.5, 2.5, 3.5], positive="c")


def test_weights_and_groups_belong_to_the_examples() -> None:
    dataset = Dataset.from_arrays(X, GOOD, weights=[1, 2, 3, 4], groups=["b", "a", "b", "a"])
    split = dataset.split(DataConfig(validation=2), 0)
    assert split.validation is not None
    assert split.train.row_weights is not None
    np.testing.assert_array_equal(split.train.row_weights, 1 + split.train.rows)
    assert (split.train.rows % 2).tolist() in ([0, 0], [1, 1])
    for options in ({"weights": [1, 2]}, {"weights": [1, -1, 1, 1]}, {"weights": "abcd"}, {"groups": [1, 2]}):
        with pytest.raises(ConfigError):
            Dataset.from_arrays(X, GOOD, **options)
