"""The columns to predict: the task, the names of the classes, missing targets, and the targets of later files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlp.config import TrainConfig
from mlp.errors import ConfigError
from studies.data.data_report import DataReport
from studies.data.table_cells import missing_words
from studies.data.target_columns import Targets, find_targets, read_targets
from studies.data.task import explain_task, settle_task
from tests.table_data import columns_of, config_of, typed


def targets_of(cells: list[Any], **fields: Any) -> Targets:
    return find_targets(columns_of(y=cells), config_of(target="y", **fields))


def refusal(cells: list[Any], **fields: Any) -> str:
    with pytest.raises(ConfigError) as error:
        targets_of(cells, **fields)
    return str(error.value)


@pytest.mark.parametrize(
    ("cells", "task", "sentence"),
    [
        (["a", "b", "a"], "classes", 'classes, because column "y" contains texts.'),
        (["True", "False"], "classes", 'classes, because column "y" contains texts.'),
        (["001", "010", "001"], "classes", 'classes, because column "y" contains texts.'),
        (
            ["1", "2", "1", "2"],
            "classes",
            'classes, because column "y" contains 2 different whole numbers. data.task decides otherwise.',
        ),
        (
            ["1", "2", "3"],
            "values",
            'values, because column "y" contains 3 different whole numbers, too many for classes. data.task decides',
        ),
        ([*range(21)] * 9, "values", 'values, because column "y" contains 21 different whole numbers, too many'),
        (["1.5", "2"], "values", 'values, because column "y" contains fractions.'),
    ],
)
def test_the_task_follows_from_the_column_and_is_explained(cells: list[Any], task: str, sentence: str) -> None:
    targets = targets_of(cells)
    assert targets.task == task
    assert targets.sentence.startswith(sentence)


def test_the_configuration_decides_the_task() -> None:
    assert targets_of([1, 2, 1, 2], task="values").values.tolist() == [[1], [2], [1], [2]]
    targets = targets_of(["1.5", "2.5", "1.5"], task="classes")
    assert (targets.names, targets.values.tolist()) == (("1.5", "2.5"), [0, 1, 0])
    assert targets.sentence == "classes, because the configuration says so."
    assert refusal(["a", "b"], task="values") == (
        "t.csv: column \"y\": must contain numbers, because its values are predicted, got 'a'. To predict classes, set "
        'data.task = "classes".'
    )


@pytest.mark.parametrize(
    ("config", "task", "reason"),
    [
        ({"loss": "mean_squared_error"}, "values", "values, because the loss mean_squared_error compares values."),
        ({"loss": "huber"}, "values", "values, because the loss huber compares values."),
        ({"metrics": ["rmse"]}, "values", "values, because the metric rmse is defined for values only."),
        ({"metrics": ["balanced_accuracy"]}, "classes", "classes, because the metric balanced_accuracy is defined"),
        ({"metrics": ["roc_auc"]}, "auto", "as cached"),
        ({}, "auto", "as cached"),
    ],
)
def test_an_explicit_loss_or_metric_decides_the_task_and_is_named(
    config: dict[str, Any], task: str, reason: str
) -> None:
    def of(**data: Any) -> TrainConfig:
        return TrainConfig.from_mapping({"data": {"file": "t.csv", **data}, **config})

    report = DataReport("t.csv", "as cached", ())
    assert settle_task(of()).task == task
    assert explain_task(report, of()).task.startswith(reason)
    assert settle_task(of(task="labels")).task == "labels"
    assert explain_task(report, of(task="labels")).task == "labels, because data.task says so."


def test_classes_keep_their_text_and_are_sorted_by_number_if_they_are_numbers() -> None:
    assert targets_of(["001", "010", "002"]).names == ("001", "002", "010")
    assert targets_of(["10", "9", "10", "9"]).names == ("9", "10")
    assert targets_of(["10", "9", "10.0", "9"]).names == ("9", "10")
    assert targets_of(["None", "Mild", " None"]).names == ("Mild", "None")


def test_the_positive_class_is_the_second() -> None:
    assert targets_of(["no", "yes", "no"], positive="no").names == ("yes", "no")
    assert '"positive": must be one of two classes, got "maybe" of no, yes.' in refusal(["no", "yes"], positive="maybe")
    assert '"positive": must be one of two classes' in refusal(["a", "b", "c"], positive="a")


def test_rows_without_a_target_are_left_out_with_a_notice() -> None:
    targets = targets_of(["a", "", "b", "NA"])
    assert targets.is_known.tolist() == [True, False, True, False]
    assert "2 rows have no target and are left out." in targets.notices
    values = targets_of(["1.5", "", "2.5"])
    assert (values.values.tolist(), values.is_known.tolist()) == ([[1.5], [0], [2.5]], [True, False, True])


def test_a_class_with_one_example_is_told() -> None:
    assert targets_of(["a", "a", "b"]).notices == (
        "class b has only one example: to learn from, to validate, or to test.",
    )
    assert targets_of(["a", "c", "b"]).notices[0].startswith("3 classes have only one example")
    assert targets_of(["a", "a", "b", "b"]).notices == ()


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        (["a", "a"], 't.csv: column "y": must have at least two classes, got a in every row.'),
        (["1.5", "1.5"], 't.csv: column "y": must have at least two different values, got 1.5 in every row.'),
        (["", "NA"], 't.csv: column "y": must have a value in some row, because it is to be predicted.'),
        ([f"c{i}" for i in range(1001)] * 2, 't.csv: column "y": has 1,001 distinct values, at most 1000 can be'),
        (["2024-01-01", "2024-01-02"], 't.csv: column "y": must contain classes or numbers to be predicted, got dates'),
    ],
)
def test_a_column_that_cannot_be_predicted_is_refused(cells: list[str], problem: str) -> None:
    assert refusal(cells).startswith(problem)


def test_several_columns_are_labels_if_they_are_0_and_1_and_values_otherwise() -> None:
    table = columns_of(a=[0, 1, 1], b=[1, 1, 0], c=["0.5", "2", ""])
    labels = find_targets(table, config_of(target=("a", "b")))
    assert (labels.task, labels.names, labels.values.dtype) == ("labels", ("a", "b"), np.uint8)
    values = find_targets(table, config_of(target=("a", "c")))
    assert (values.task, values.values.tolist(), values.is_known.tolist()) == (
        "values",
        [[0, 0.5], [1, 2], [0, 0]],
        [True, True, False],
    )
    with pytest.raises(ConfigError, match='"target": must name one column to predict classes, got 2'):
        find_targets(table, config_of(target=("a", "b"), task="classes"))
    with pytest.raises(ConfigError, match=r"line 2: must be 0 or 1, because it is a label, got 0\.5"):
        find_targets(table, config_of(target=("a", "c"), task="labels"))


def test_a_missing_column_is_refused_with_the_most_similar_name() -> None:
    with pytest.raises(ConfigError, match=r'no column "kid" to predict\. Did you mean "kind"\? Set data\.target to it'):
        find_targets(columns_of(kind=["a"]), config_of(target="kid"))


def test_classes_of_a_later_file_may_be_written_as_other_programs_write_numbers() -> None:
    targets = targets_of(["1", "2", "3", "1", "2", "3"])
    words = missing_words(config_of())
    for table in (columns_of(y=["1.0", "3.0", "2.0"]), typed(y=[1.0, 3.0, 2.0]), typed(y=[1, 3, 2])):
        assert read_targets(table, targets.columns, "classes", words)[0].tolist() == [0, 2, 1]
    codes = targets_of(["007", "008", "A1"])
    assert read_targets(columns_of(y=["008", "007"]), codes.columns, "classes", words)[0].tolist() == [1, 0]
    with pytest.raises(ConfigError, match="line 3: '4' is not one of the classes of the model: 1, 2, 3"):
        read_targets(columns_of(y=["1", "4"]), targets.columns, "classes", words)


def test_booleans_of_a_typed_file_are_classes() -> None:
    targets = find_targets(typed(y=[True, False, None]), config_of(target="y"))
    assert (targets.names, targets.values.tolist(), targets.is_known.tolist()) == (
        ("False", "True"),
        [1, 0, 0],
        [True, True, False],
    )
