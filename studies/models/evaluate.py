"""Evaluating a saved model on data with known answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from mlp.arrays import Array
from mlp.columns import MISSING_WORDS, Column
from mlp.data import DataConfig, Dataset
from mlp.errors import ConfigError, listed
from mlp.losses import Task
from mlp.metrics import AbstractMetric, metrics
from mlp.model import AbstractModel
from mlp.scores import evaluate
from studies.data.array_source import is_array_file
from studies.data.column_types import find_types
from studies.data.file_search import Places
from studies.data.prepare import find_source, open_dataset
from studies.data.table import Table
from studies.data.target_columns import check_target_columns, read_targets
from studies.data.task import settle_task
from studies.models.predict import inputs_of_table, open_table

Part = Literal["test", "train"]


def evaluate_model(
    model: AbstractModel,
    data: str | Path,
    *,
    part: Part | None = None,
    label: str | None = None,
    extra: Sequence[str] = (),
    data_dir: str | Path | None = None,
    progress: bool = False,
    on_notice: Callable[[str], object] | None = None,
) -> dict[str, float]:
    """Return the loss and the metrics of a model on some data, by key such as `test/accuracy`.

    Args:
        model: the model to evaluate.
        data: the name of a data set, or the path of a file of columns.
        part: the part of a data set: `test` (the default) or `train`. A file with the content of the one that the model
            was trained on has the same parts; any other file has none and is used in full, with keys such as
            `data/accuracy`.
        label: the column with the answers (files only); by default the column that the model predicts.
        extra: the names of additional metrics.
        data_dir: a folder with `mnist/*.gz`, `fashion-mnist/*.gz` or files of columns; by default the environment
            variable `STUDIES_DATA`.
        progress: whether to show a progress bar during downloads.
        on_notice: called with sentences that the user should read.

    Raises:
        ConfigError: if the data is missing or does not fit the model, or there is no such metric for its task.
    """
    task, config = model.manifest.task, model.manifest.config
    extra_metrics = tuple(metrics.decode(name) for name in extra)
    for metric in extra_metrics:
        metric.check_task(task)
    data_config, notify = DataConfig(str(data)), on_notice or _ignore
    beside: tuple[Path, ...] = ()
    if data_config.is_table:
        file = Places(data_dir=data_dir).find(data_config.file)
        own = settle_task(config)
        is_own = _is_own_file(model, own, file, data_dir, notify)
        if part is not None and not is_own:
            problem = "has no parts, because its content is not that of the file that the model was trained on"
            raise ConfigError(f"{data}: {problem}. Leave out --part.")
        if is_array_file(file.name) and not is_own:
            dataset = open_dataset(DataConfig(file=str(file), task=own.task, test=0), data_dir=data_dir)
            return _scores(model, *_read_part(model, dataset, "train"), "data", extra_metrics)
        if not is_own or label not in (None, *own.targets):
            inputs, targets = _read_answers(open_table(file, model), model, label, notify)
            return _scores(model, inputs, targets, "data", extra_metrics)
        data_config, beside = replace(own, file=str(file)), (file.parent,)
    elif data_config.name == config.data.name:
        data_config = config.data
    dataset = open_dataset(data_config, data_dir=data_dir, beside=beside, progress=progress)
    inputs, targets = _read_part(model, dataset, part or "test")
    return _scores(model, inputs, targets, part or "test", extra_metrics)


def _is_own_file(
    model: AbstractModel, own: DataConfig, file: Path, data_dir: str | Path | None, notify: Callable[[str], object]
) -> bool:
    """Return whether the content of a file is that of the one that a model was trained on, whatever it is called."""
    if not own.is_table or not model.manifest.data_digest:
        return False
    try:
        source = find_source(replace(own, file=str(file)), Places((file.parent,), data_dir))
    except ConfigError as error:  # a file with another part of the data is missing
        notify(f"{file}: it is not known whether the model was trained on these rows: {error}")
        return False
    return source.digest == model.manifest.data_digest


def _scores(
    model: AbstractModel, cells: Array, targets: Array, key: str, extra: tuple[AbstractMetric, ...]
) -> dict[str, float]:
    config, scaling = model.manifest.config, model.manifest.target_scaling
    outputs = model.outputs_of_cells(cells)
    with np.errstate(all="ignore"):
        chosen = (*config.metrics, *extra)
        return evaluate(outputs, targets, model.loss, key, model.manifest.task, chosen, scaling=scaling)


def _read_part(model: AbstractModel, dataset: Dataset, part: str) -> tuple[Array, Array]:
    """Return the inputs and targets of a part of a data set, whose inputs and classes must be those of the model."""
    expected = (model.manifest.n_columns, model.manifest.task, model.classes)
    actual = (dataset.inputs.shape[1], dataset.task, dataset.classes)
    if actual != expected:
        problem = f'the model expects {_describe(*expected)}, but "{dataset.name}" has {_describe(*actual)}.'
        raise ConfigError(problem)
    is_test = part == "test"
    inputs = dataset.test_inputs if is_test else dataset.inputs
    if not len(inputs):
        raise ConfigError(f'"{dataset.name}" has no {part} part.')
    return inputs, dataset.test_targets if is_test else dataset.targets


def _describe(n_inputs: int, task: Task, names: Sequence[str]) -> str:
    more = ", ..." if len(names) > 3 else ""
    return f"{n_inputs} inputs and {len(names)} {task} ({', '.join(names[:3])}{more})"


def _read_answers(
    table: Table, model: AbstractModel, label: str | None, notify: Callable[[str], object]
) -> tuple[Array, Array]:
    """Return the inputs and targets of all rows of a table whose target is known."""
    names = model.manifest.config.data.targets if label is None else (label,)
    check_target_columns(table, names, "Name it with --label COLUMN.")
    inputs = inputs_of_table(table, model, label=label)
    schema = model.manifest.schema
    missing = frozenset(schema.missing if schema is not None else MISSING_WORDS)
    targets, is_known = read_targets(table, _target_columns(table, model, tuple(names)), model.manifest.task, missing)
    for notice in inputs.notices:
        notify(notice)
    if not is_known.all():
        notify(f"{table.file}: {int((~is_known).sum()):,} of {len(table):,} rows have no target and are left out.")
    if not is_known.any():
        raise ConfigError(f"{table.file}: no row has a target, so there is nothing to compare predictions with.")
    return inputs.cells[is_known], targets[is_known]


def _target_columns(table: Table, model: AbstractModel, names: tuple[str, ...]) -> tuple[Column, ...]:
    """Return how the columns to predict are read: classes by their names in the training file, otherwise numbers."""
    if model.manifest.task == "classes":
        return (Column(names[0], "category", levels=model.classes),)
    if len(names) != len(model.classes):
        problem = f"the model predicts {len(model.classes)} columns ({listed(model.classes)}), got {listed(names)}."
        raise ConfigError(problem)
    config = replace(model.manifest.config.data, numeric=names, categorical=())
    if model.manifest.schema is not None and any(column.decimal == "," for column in model.manifest.schema.columns):
        config = replace(config, decimal=",")
    return tuple(
        Column(facts.name, "number", decimal=facts.decimal) for facts in find_types(table, list(names), config)
    )


def _ignore(_: str) -> None:
    """Drop a notice that nobody wants."""
