"""Starters: the study file for a table is valid, says what it does, and learns."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest

from mlp.data import Dataset
from mlp.data_config import DataConfig
from mlp.errors import ConfigError
from mlp.folds import open_training
from studies.records.files import parse_toml
from studies.search.pruners import NoPruner
from studies.search.spec import StudySpec, make_spec
from studies.search.starter import FEW_ROWS, SIZES, Starter, study_name, write_starter


def table(task: str = "classes", n: int = 300) -> Dataset:
    """Return a table whose target depends on a number and a category."""
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"a": rng.normal(size=n), "b": rng.choice(["x", "y", "z"], n)})
    value = frame["a"] + 2.0 * (frame["b"] == "x")
    targets = {
        "classes": np.where(value > 0.5, "high", "low"),
        "labels": np.stack([value > 0.5, frame["b"] == "y"], axis=1).astype(int),
        "values": value,
    }
    return Dataset.from_arrays(frame, targets[task])


def starter(dataset: Dataset, **options: object) -> Starter:
    return Starter.of(DataConfig(file="wine data.csv", target="quality", **options), dataset)


def read(text: str) -> StudySpec:
    return make_spec(parse_toml(text))


@pytest.mark.parametrize("task", ["classes", "labels", "values"])
def test_a_starter_is_a_valid_study_whose_base_is_in_its_space(task: str) -> None:
    spec = read(starter(table(task)).text())
    assert spec.base.data.task == task
    assert spec.base.data.file == "wine data.csv"
    assert spec.space.why_base_is_outside() == ""
    assert spec.study.metric.partition("/")[2] in spec.base.metric_names(spec.base.data.task)


@pytest.mark.parametrize(("task", "score"), [("classes", 0.95), ("labels", 0.95), ("values", 0.95)])
def test_base_learns_a_small_table(task: str, score: float) -> None:
    dataset = table(task)
    spec = read(starter(dataset).text())
    training = open_training(spec.base, dataset.splits(spec.base.data, 0))
    training.run()
    assert training.kept_scores()[spec.study.metric] > score


def test_base_is_the_same_for_classes_and_values_apart_from_loss_dropout_and_task() -> None:
    classes, values = (read(starter(table(task)).text()).base for task in ("classes", "values"))
    network = replace(values.network, dropout=0.0)
    assert replace(values, loss=classes.loss, data=classes.data, network=network) == classes


@pytest.mark.parametrize("size", SIZES)
def test_more_rows_mean_longer_steps_and_no_more_epochs(size: tuple[int, int, int]) -> None:
    n_train, batch_size, epochs = size
    base = read(replace(starter(table()), n_train=n_train).text()).base
    assert (base.batch_size, base.epochs) == (batch_size, epochs)


def test_trials_on_many_rows_pause_once_after_a_fifth_of_their_epochs_and_those_on_folds_never() -> None:
    for n_train, _, epochs in SIZES:
        pruner = read(replace(starter(table(n=FEW_ROWS)), n_train=n_train).text()).study.pruner
        assert pruner.rungs(epochs) == (math.ceil(epochs / 5),)
    assert read(starter(table()).text()).study.pruner == NoPruner()


def test_options_of_the_data_are_kept() -> None:
    options = {"test": 0.25, "separator": ";", "drop": ("id",), "missing": ("?",), "header": False, "folds": 4}
    data = read(starter(table(), **options).text()).base.data
    assert {key: getattr(data, key) for key in options} == options


def test_few_rows_are_cross_validated_unless_something_else_is_asked_for() -> None:
    few, many = table(n=FEW_ROWS - 1), table(n=FEW_ROWS)
    folds = [
        read(starter(dataset, **options).text()).base.data.folds
        for dataset, options in (
            (few, {}),
            (many, {}),
            (few, {"validation": 0.1}),
            (few, {"folds": 3}),
            (few, {"order": "day"}),
        )
    ]
    assert folds == [5, 0, 0, 3, 0]


@pytest.mark.parametrize(("n", "folds"), [(4, 2), (7, 3), (10, 5), (30, 5)])
def test_every_fold_of_a_tiny_table_has_two_rows(n: int, folds: int) -> None:
    dataset = Dataset.from_arrays(np.arange(2.0 * n).reshape(n, 2), np.arange(n) / 3)
    spec = read(starter(dataset).text())
    assert spec.base.data.folds == folds
    assert all(len(split.validation or ()) >= 2 for split in dataset.splits(spec.base.data, 0))


def test_a_table_of_three_rows_is_refused() -> None:
    dataset = Dataset.from_arrays(np.ones((3, 2)), np.arange(3) / 3)
    with pytest.raises(ConfigError, match=r"wine data\.csv: has too few rows .* at least 4 are needed, got 3\."):
        starter(dataset)
    grouped = replace(table(n=40), groups=np.arange(40) % 3)
    with pytest.raises(ConfigError, match="has too few groups of rows"):
        starter(grouped, group="who")


def test_a_scale_that_was_chosen_is_not_searched() -> None:
    spec = read(starter(table(), scale="quantile").text())
    assert spec.base.data.scale == "quantile"
    assert "data.scale" not in spec.space.fingerprint()


def test_any_name_can_be_written() -> None:
    column = 'a "b"\n\x1b[31m\\'
    data = DataConfig(file="x\n[study].csv", target=column)
    spec = read(Starter.of(data, table(), name="x").text())
    assert (spec.base.data.target, spec.base.data.file) == (column, "x\n[study].csv")


@pytest.mark.parametrize(
    ("file", "name"), [("a/Wine Data.csv.gz", "Wine-Data"), ("_x.csv", "x"), ("日本.csv", "table"), ("-", "table")]
)
def test_a_study_is_named_after_the_file(file: str, name: str) -> None:
    assert study_name(file) == name


def test_a_comment_counts_the_rows_of_each_part() -> None:
    assert "800 rows to train on, 200 to validate and 0 to test" in starter(table(n=FEW_ROWS)).text()
    text = starter(table()).text()
    assert "300 rows to train and validate on, in 5 folds, and 0 to test" in text
    assert "one of 2 classes (high, low), from 2 columns" in text


def test_a_study_file_is_not_replaced_unless_asked(tmp_path: Path) -> None:
    file = tmp_path / "new" / "wine.toml"
    write_starter(starter(table()), file)
    with pytest.raises(ConfigError, match="exists already"):
        write_starter(starter(table("values")), file)
    write_starter(starter(table("values")), file, replace=True)
    assert read(file.read_text()).base.data.task == "values"
