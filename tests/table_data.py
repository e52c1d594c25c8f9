"""Tables for tests: small files of columns, their types, and the data sets made of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlp.config import TrainConfig
from mlp.data import Dataset
from mlp.data_config import DataConfig
from mlp.model import Model
from mlp.training import train
from studies.data.column_types import ColumnFacts, find_types
from studies.data.data_report import DataReport
from studies.data.file_search import Places
from studies.data.prepare import find_source
from studies.data.reading.files import read_table
from studies.data.sources import FileSearch
from studies.data.table import Lines, Table
from studies.data.table_source import build_dataset
from studies.data.task import settle_task


def config_of(**fields: Any) -> DataConfig:
    return DataConfig(**({"file": "t.csv"} | fields))


def table_of(text: str, **fields: Any) -> Table:
    """Return the table in the text of a CSV file."""
    return read_table(io.BytesIO(text.encode()), config_of(**fields))


def columns_of(**columns: list[Any]) -> Table:
    """Return the table with some columns of texts."""
    arrays = {name: pa.chunked_array([pa.array(list(map(str, cells)), pa.string())]) for name, cells in columns.items()}
    return Table("t.csv", arrays, len(next(iter(columns.values()))))


def typed(**columns: Any) -> Table:
    """Return a table whose columns have types, as those of a Parquet file."""
    arrays = {name: pa.chunked_array([pa.array(cells)]) for name, cells in columns.items()}
    return Table("t.parquet", arrays, len(next(iter(columns.values()))), Lines.from_line(1), has_types=True)


def type_of(cells: list[Any], **fields: Any) -> ColumnFacts:
    """Return what one column of texts, called `a`, is found to be."""
    (facts,) = find_types(columns_of(a=cells), ["a"], config_of(**fields))
    return facts


def dataset_of(table: Table | str, parts: dict[str, Table] | None = None, **fields: Any) -> Dataset:
    return built(table, parts, **fields)[0]


def built(table: Table | str, parts: dict[str, Table] | None = None, **fields: Any) -> tuple[Dataset, DataReport]:
    """Return the data set in a table and the report on it."""
    config = config_of(**fields)
    return build_dataset(table_of(table) if isinstance(table, str) else table, parts or {}, config)


def dataset_at(config: TrainConfig) -> Dataset:
    """Return the data set in the file of a configuration, without a cache."""
    return find_source(settle_task(config), Places()).read(FileSearch(None, Path(), False, False))


def model_of(file: Path, **data: Any) -> Model:
    """Return a model trained on a file of columns for one epoch."""
    for loss in ("softmax_cross_entropy", "mean_squared_error"):
        config = TrainConfig.from_mapping({"epochs": 1, "loss": loss, "data": {"file": str(file), **data}})
        dataset = dataset_at(config)
        if dataset.task == "classes" or loss == "mean_squared_error":
            break
    return Model.of(train(config, dataset), dataset)
