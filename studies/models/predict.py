"""Predicting with a saved model, and judging it by data that it has or has not seen."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Literal

import numpy as np

from mlp.arrays import Array
from mlp.data import DataConfig, Dataset, check_inputs
from mlp.errors import ConfigError, did_you_mean
from mlp.metrics import metrics
from mlp.model import Model
from mlp.scores import evaluate
from mlp.untrusted import open_npy, open_npz
from studies.data.csv_dataset import find_csv, read_targets_as
from studies.data.idx import read_idx
from studies.data.prepare import open_dataset
from studies.data.tables import (
    Table,
    encode,
    encode_as,
    read_table,
)

Part = Literal["test", "train"]


def read_inputs(file: Path, model: Model, *, label: str | None = None, array: str | None = None) -> Array:
    """Return raw inputs of shape (n, d) for a model that takes `d`: a row an example, pictures laid out flat.

    Args:
        file: a CSV file with a header, `.npy`, `.npz`, or IDX (compressed or not).
        model: what they are for.
        label: the column of a CSV file that holds the answers and is left out; unless given, the one that the model
            has learnt from, if that is there.
        array: which one of an `.npz`; needed where there are several.

    Raises:
        ConfigError: when the file cannot be read, holds no numbers, or other inputs than the model takes.
    """
    try:
        if file.suffix == ".csv":
            inputs = _read_csv(file, model, label)
        elif file.suffix == ".npy":
            inputs = open_npy(file)
        elif file.suffix == ".npz":
            inputs = _read_npz(file, array)
        else:
            inputs = read_idx(file)
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file.") from None
    if not inputs.ndim:
        raise ConfigError(f"{file}: must hold a row an example, and holds a single value.")
    flat = inputs.reshape(len(inputs), math.prod(inputs.shape[1:]))
    _check_width(file, flat, model)
    try:
        check_inputs(flat)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error.problem}") from None
    return flat


def _check_width(file: Path, inputs: Array, model: Model) -> None:
    wanted, got = model.manifest.sizes[0], inputs.shape[1]
    if got != wanted:
        raise ConfigError(f"{file}: the model takes {wanted} inputs an example, but here there are {got}.")


def _read_csv(file: Path, model: Model, label: str | None) -> Array:
    table = read_table(file)
    if label is not None and label not in table.names:
        raise ConfigError(f'{file}: there is no column "{label}".{did_you_mean(label, table.names)}')
    return _encode(table.without(_label(model) if label is None else label), model)


def _label(model: Model) -> str:
    """Return the column that a model has learnt to predict; where it was no CSV file, what it is called by default."""
    return model.manifest.config.data.label


def _encode(table: Table, model: Model) -> Array:
    if model.manifest.columns:
        return encode_as(table, model.manifest.columns)
    for name in table.names:
        if (column := table.column(name)).dtype == object:
            problem = (
                f"must hold numbers, got {column[0]!r}. If it holds the answers, leave it out with --label {name}."
            )
            raise table.error(problem, name)
    inputs, _ = encode(table)
    _check_width(table.file, inputs, model)
    return inputs


def _read_npz(file: Path, name: str | None) -> Array:
    with open_npz(file) as archive:
        if not archive.names:
            raise ConfigError("contains no array.")
        if name is None and len(archive.names) > 1:
            choices = " or ".join(archive.names)
            raise ConfigError(f"contains {len(archive.names)} arrays. Choose one with --array {choices}.")
        return archive.read(name or archive.names[0])


def write_predictions(model: Model, inputs: Array, target: IO[str]) -> None:
    """Write a line an example as CSV: its label and the probability of each class; or its labels' probabilities, or
    its values.

    Args:
        model: what predicts.
        inputs: as `read_inputs` gives them.
        target: where to write.
    """
    csv.writer(target, lineterminator="\n").writerows(_lines(model, inputs))


def _lines(model: Model, inputs: Array) -> Iterator[list[str]]:
    names = list(model.classes)
    is_class = model.manifest.task == "classes"
    yield ["label", *names] if is_class else names
    if not len(inputs):
        return
    values = ([f"{value:.6g}" for value in row] for row in model.predict_proba(inputs).tolist())
    if not is_class:
        yield from values
        return
    for label, row in zip(model.predict(inputs).tolist(), values, strict=True):
        yield [names[label], *row]


def evaluate_model(
    model: Model,
    data: str,
    *,
    part: Part | None = None,
    label: str | None = None,
    extra: Sequence[str] = (),
    data_dir: Path | None = None,
    progress: bool = False,
) -> dict[str, float]:
    """Return the metrics of a model on some data, by key.

    Args:
        model: what to judge.
        data: the name of a data set, or a CSV file.
        part: of a data set, and of the CSV file that the model has learnt from: `test` unless given, or `train` for
            all that is not that. Any other CSV file is judged whole.
        label: of a CSV file the column to predict; the one that the model has learnt to, unless given.
        extra: names of metrics besides the standard ones.
        data_dir: where the data are looked for; `STUDIES_DATA` unless given.
        progress: whether to show a bar while downloading.

    Raises:
        ConfigError: when the data are missing or do not fit the model, or a metric is unknown or for another task.
    """
    manifest = model.manifest
    chosen = tuple(metrics.decode(name) for name in extra)
    for metric in chosen:
        metric.check_task(manifest.task)
    own = manifest.config.data
    where: str = part or "test"
    config = own if data == own.name else DataConfig(data)
    if not config.is_table or (data == own.name and label in (None, own.label)):
        dataset = open_dataset(config, data_dir=data_dir, progress=progress)
        inputs, targets = _take_part(model, dataset, where)
    elif part is None:
        where = "data"
        inputs, targets = _read_answered(find_csv(data, data_dir), model, label)
    else:
        raise ConfigError(f"{data}: is not what the model has learnt from, so it has no parts. Leave out --part.")
    with np.errstate(all="ignore"):
        return evaluate(
            model.outputs(inputs),
            targets,
            manifest.config.loss,
            where,
            manifest.task,
            (*manifest.config.metrics, *chosen),
        )


def _take_part(model: Model, dataset: Dataset, part: str) -> tuple[Array, Array]:
    """Return inputs and targets of a part of a data set that means what the model's data meant."""
    task, classes, width = model.manifest.task, model.classes, model.manifest.sizes[0]
    if (dataset.task, dataset.classes, dataset.inputs.shape[1]) != (task, classes, width):
        ours = _in_short(task, classes, width)
        theirs = _in_short(dataset.task, dataset.classes, dataset.inputs.shape[1])
        raise ConfigError(f'the model goes from {ours}, but "{dataset.name}" from {theirs}.')
    is_test = part == "test"
    inputs = dataset.test_inputs if is_test else dataset.inputs
    if not len(inputs):
        raise ConfigError(f'"{dataset.name}" has no {part} part.')
    return inputs, dataset.test_targets if is_test else dataset.targets


def _in_short(task: str, names: Sequence[str], width: int) -> str:
    more = ", ..." if len(names) > 3 else ""
    return f"{width} inputs to {len(names)} {task} ({', '.join(names[:3])}{more})"


def _read_answered(file: Path, model: Model, label: str | None) -> tuple[Array, Array]:
    """Return inputs and targets of a CSV file, all its rows."""
    table = read_table(file)
    label = _label(model) if label is None else label
    targets = read_targets_as(table, label, model.manifest.task, model.classes)
    return _encode(table.without(label), model), targets
