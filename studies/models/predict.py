"""Predicting with a saved model from a file of raw inputs, and evaluating it on data with known answers."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Literal

import numpy as np

from mlp.arrays import Array
from mlp.data import DataConfig, Dataset
from mlp.data_checks import check_inputs
from mlp.errors import ConfigError, did_you_mean, errors_in, listed, shown
from mlp.losses import Task
from mlp.metrics import metrics
from mlp.model import Model
from mlp.scores import evaluate
from mlp.untrusted import MAX_IN_MEMORY, open_npy, open_npz
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


def read_inputs(file: str | Path, model: Model, *, label: str | None = None, array: str | None = None) -> Array:
    """Return the raw inputs in a file, shape (n, d), for a model with d inputs. Images become rows of pixels.

    Args:
        file: a `.csv` file with a header, a `.npy` or `.npz` file, or an IDX file, compressed or not.
        model: the model that will predict from the inputs.
        label: the column with the answers, which is ignored (CSV only); by default the model's own, if it is there.
        array: the name of the array (`.npz` only); required if the file has several.

    Raises:
        ConfigError: if the file cannot be read, or its contents are not inputs of the model.
    """
    file = Path(file)
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
    with errors_in(f"{file}:"):
        if not inputs.ndim:
            raise ConfigError("must have one row per example, got a scalar.")
        rows = inputs.reshape(len(inputs), math.prod(inputs.shape[1:]))  # -1 would fail for no examples
        _check_width(rows, model)
        check_inputs(rows, path="")
    return rows


def _check_width(inputs: Array, model: Model) -> None:
    expected, width = model.manifest.sizes[0], inputs.shape[1]
    if width != expected:
        raise ConfigError(f"must have {expected} inputs per example, because the model has {expected}, got {width}.")


def _read_csv(file: Path, model: Model, label: str | None) -> Array:
    table = read_table(file)
    if label is not None and label not in table.names:
        problem = f'there is no column "{label}".{did_you_mean(label, table.names)}'
        raise ConfigError(f"{file}: {problem} {table.list_columns()}")
    return _encode_inputs(table.without(_target_column(model) if label is None else label), model)


def _target_column(model: Model) -> str:
    """Return the column that a model predicts; the default column if it was not trained on a CSV file."""
    return model.manifest.config.data.targets[0]


def _encode_inputs(table: Table, model: Model) -> Array:
    """Return the inputs of a table whose target column has been removed."""
    if model.manifest.columns:
        return encode_as(table, model.manifest.columns)
    for name in table.names:
        if (column := table.column(name)).dtype == object:
            problem = f"must contain numbers, got {shown(column[0])}."
            raise table.error(f"{problem} If it contains the answers, ignore it with --label {name}.", name)
    inputs, _ = encode(table)
    with errors_in(f"{table.file}:"):
        _check_width(inputs, model)
    return inputs


def _read_npz(file: Path, name: str | None) -> Array:
    with open_npz(file) as archive:
        if not archive.names:
            raise ConfigError("contains no array.")
        if name is None and len(archive.names) > 1:
            n, names = len(archive.names), listed(archive.names)
            raise ConfigError(f"contains {n} arrays: {names}. Choose one with --array NAME.")
        return archive.read(name or archive.names[0], limit=MAX_IN_MEMORY)


def write_predictions(model: Model, inputs: Array, stream: IO[str]) -> None:
    """Write predictions as CSV, with a header and one row per example.

    For classes, a row is the predicted class in the column `label`, and the probability of each class; for labels, the
    probability of each label; for values, the values.

    Args:
        model: the model.
        inputs: raw inputs, shape (n, d), as `read_inputs` returns them.
        stream: the stream to write to.
    """
    csv.writer(stream, lineterminator="\n").writerows(_csv_rows(model, inputs))


def _csv_rows(model: Model, inputs: Array) -> Iterator[list[str]]:
    names = list(model.classes)
    has_classes = model.manifest.task == "classes"
    yield ["label", *names] if has_classes else names
    if not len(inputs):
        return
    # Six digits are about the precision of the probabilities, which are float32.
    numbers = [[f"{value:.6g}" for value in row] for row in model.predict_proba(inputs).tolist()]
    if not has_classes:
        yield from numbers
        return
    for predicted, row in zip(model.predict(inputs).tolist(), numbers, strict=True):
        yield [names[predicted], *row]


def evaluate_model(
    model: Model,
    data: str | Path,
    *,
    part: Part | None = None,
    label: str | None = None,
    extra: Sequence[str] = (),
    data_dir: str | Path | None = None,
    progress: bool = False,
) -> dict[str, float]:
    """Return the loss and the metrics of a model on some data, by key such as `test/accuracy`.

    Args:
        model: the model to evaluate.
        data: the name of a data set, or the path of a CSV file.
        part: the part of a data set: `test` (the default) or `train`. The CSV file that the model was trained on has
            the same parts; any other CSV file has none and is used in full, with keys such as `data/accuracy`.
        label: the column with the answers (CSV only); by default the column that the model predicts.
        extra: the names of additional metrics.
        data_dir: a folder with `mnist/*.gz`, `fashion-mnist/*.gz` or CSV files; by default the environment variable
            `STUDIES_DATA`.
        progress: whether to show a progress bar during downloads.

    Raises:
        ConfigError: if the data is missing or does not fit the model, or there is no such metric for its task.
    """
    task, config = model.manifest.task, model.manifest.config
    extra_metrics = tuple(metrics.decode(name) for name in extra)
    for metric in extra_metrics:
        metric.check_task(task)
    data = str(data)
    is_own_data = data == (config.data.file or config.data.name)
    data_config = config.data if is_own_data else DataConfig(data)
    if not data_config.is_table or (is_own_data and label in (None, config.data.targets[0])):
        dataset = open_dataset(data_config, data_dir=data_dir, progress=progress)
        key: str = part or "test"
        inputs, targets = _read_part(model, dataset, key)
    elif part is None:
        key = "data"
        inputs, targets = _read_answered_table(find_csv(data, data_dir), model, label)
    else:
        raise ConfigError(f"{data}: has no parts, because the model was not trained on it. Leave out --part.")
    outputs = model.outputs(inputs)
    with np.errstate(all="ignore"):
        chosen, scaling = (*config.metrics, *extra_metrics), model.manifest.target_scaling
        return evaluate(outputs, targets, config.loss, key, task, chosen, scaling=scaling)


def _read_part(model: Model, dataset: Dataset, part: str) -> tuple[Array, Array]:
    """Return the inputs and targets of a part of a data set, whose inputs and classes must be those of the model."""
    expected = (model.manifest.sizes[0], model.manifest.task, model.classes)
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


def _read_answered_table(file: Path, model: Model, label: str | None) -> tuple[Array, Array]:
    """Return the inputs and targets of all rows of a CSV file."""
    table = read_table(file)
    column = _target_column(model) if label is None else label
    targets = read_targets_as(table, column, model.manifest.task, model.classes)
    return _encode_inputs(table.without(column), model), targets
