"""The configuration of data: former names, sizes of parts, and which fields select the data set."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from mlp import ConfigError, DataConfig
from mlp.data_config import FILE_FIELDS, current_changes, current_path


@pytest.mark.parametrize(
    ("former", "current"),
    [
        ({"name": "d.csv", "label": "kind"}, {"file": "d.csv", "target": "kind"}),
        ({"name": "dir/d.PARQUET"}, {"file": "dir/d.PARQUET"}),
        ({"name": "digits", "balanced": True}, {"name": "digits", "stratify": True}),
        ({"name": "", "file": "d.csv"}, {"file": "d.csv"}),
    ],
)
def test_former_names_are_read_as_those_of_today(former: dict[str, Any], current: dict[str, Any]) -> None:
    config = DataConfig.from_mapping(former)
    assert config == DataConfig.from_mapping(current)
    assert DataConfig.from_mapping(config.to_mapping()) == config


def test_the_name_of_a_file_given_in_python_is_the_file() -> None:
    assert DataConfig("own.csv") == DataConfig(file="own.csv")
    assert DataConfig("own.csv").is_table
    assert not DataConfig("digits").is_table


def test_paths_of_former_names_are_those_of_today() -> None:
    assert [current_path(path) for path in ("data.label", "data.balanced", "data.scale", "label", "data.name")] == [
        *("data.target", "data.stratify", "data.scale", "label", "data.name")
    ]
    assert current_changes({"data.name": "b.csv", "data.label": "x"}) == {
        "data.file": "b.csv",
        "data.name": "",
        "data.target": "x",
    }
    assert current_changes({"data.name": "digits", "epochs": 3}) == {
        "data.name": "digits",
        "data.file": "",
        "epochs": 3,
    }


def test_the_source_has_every_field_that_decides_what_is_read() -> None:
    config = DataConfig(file="d.csv")
    assert set(config.source) == {"name", "file", *FILE_FIELDS}
    assert set(FILE_FIELDS) < {f.name for f in fields(DataConfig)}
    assert DataConfig(file="d.csv", validation="v.csv").source["validation"] == "v.csv"
    assert config.targets == ("label",)
    assert DataConfig(file="d.csv", target=("a", "b")).targets == ("a", "b")


@pytest.mark.parametrize(("test", "n_test"), [(0, 0), (3, 3), (0.2, 2), (0.01, 1), (0.0, 0), ("test.csv", 0)])
def test_the_test_part_is_a_number_a_fraction_or_a_file(test: Any, n_test: int) -> None:
    assert DataConfig(file="d.csv", test=test).n_test(10) == n_test


@pytest.mark.parametrize("test", [10, 1.0])
def test_a_test_part_that_leaves_no_row_is_refused(test: Any) -> None:
    with pytest.raises(ConfigError, match='"test": must leave at least one of 10 rows to train on'):
        DataConfig(file="d.csv", test=test).n_test(10)


def test_a_configuration_without_data_is_refused_where_it_must_be_found() -> None:
    with pytest.raises(ConfigError, match=r'"data.file": is missing\. Give the path of a file'):
        DataConfig().require_name()
