"""Predicting with a saved model, and judging it by data that it has or has not seen."""

from __future__ import annotations

import csv
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Literal

import numpy as np

from mlp.arrays import Array
from mlp.data import DataConfig, Examples, check_inputs
from mlp.metrics import AbstractMetric, evaluate, metrics
from mlp.model import Model
from mlp.registry import ConfigError, did_you_mean
from mlp.training import compute_outputs
from studies.datasets import open_dataset
from studies.idx import read_payload
from studies.own_data import prepare_data

LARGEST_PAYLOAD = 1 << 32  # bytes of inputs that are read into memory at most


def read_inputs(file: Path, *, label: str | None = None, array: str | None = None) -> Array:
    """Return raw inputs of shape (n, d): a row an example, pictures laid out flat.

    Args:
        file: a CSV file with a header, `.npy`, `.npz`, or IDX (compressed or not).
        label: the column of a CSV file to leave out, for it holds the answers.
        array: which one of an `.npz`; needed where there are several.

    Raises:
        ConfigError: when the file cannot be read, or holds no such inputs.
    """
    readers = {
        ".csv": lambda: _read_csv(file, label),
        ".npy": lambda: _read_npy(file),
        ".npz": lambda: _read_npz(file, array),
    }
    try:
        inputs = readers.get(file.suffix, lambda: _read_idx(file))()
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file.") from None
    except ConfigError:
        raise
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    try:
        flat = inputs.reshape(len(inputs), -1)
        check_inputs(flat)
    except (ConfigError, TypeError, ValueError) as error:
        raise ConfigError(f"{file}: {error}") from None
    return flat


def _read_csv(file: Path, label: str | None) -> Array:
    import pandas as pd

    table = pd.read_csv(file, low_memory=False)
    if label is not None:
        if label not in table.columns:
            raise ConfigError(f'{file}: there is no column "{label}".{did_you_mean(label, table.columns)}')
        table = table.drop(columns=label)
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            problem = f'column "{name}" must hold numbers, got {table[name].iloc[0]!r}'
            raise ConfigError(f"{file}: {problem}. If it holds the answers, leave it out with --label {name}.")
    return table.to_numpy()


def _read_npy(file: Path) -> Array:
    # Mapped, not read: a header that claims more than the file holds costs no memory.
    array: Array = np.load(file, mmap_mode="r", allow_pickle=False)
    return array


def _read_npz(file: Path, name: str | None) -> Array:
    with np.load(file, allow_pickle=False) as archive:
        names = archive.files
        if name is None and len(names) != 1:
            raise ConfigError(f"{file}: holds {len(names)} arrays, say which: --array {' or '.join(names)}.")
        if name is not None and name not in names:
            raise ConfigError(
                f'{file}: holds no array "{name}".{did_you_mean(name, names)} It has: {", ".join(names)}.'
            )
        member = f"{name or names[0]}.npy"
        with archive.zip.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(stream)
        n_bytes, n_there = dtype.itemsize * _product(shape), archive.zip.getinfo(member).file_size
        if n_bytes > min(n_there, LARGEST_PAYLOAD):
            raise ConfigError(f"{file}: {member} claims {n_bytes} bytes and holds {n_there}.")
        array: Array = archive[name or names[0]]
        return array


def _read_idx(file: Path) -> Array:
    payload = read_payload(file, LARGEST_PAYLOAD)
    if len(payload) < 4 or payload[:3] != b"\0\0\x08":
        raise ConfigError(f"{file}: must be a .csv, .npy or .npz file, or an IDX file of unsigned bytes.")
    n_dimensions = payload[3]
    header = 4 + 4 * n_dimensions
    if not n_dimensions or len(payload) < header:
        raise ConfigError(f"{file}: is an IDX file without its dimensions.")
    shape = struct.unpack(f">{n_dimensions}I", payload[4:header])
    if _product(shape) != len(payload) - header:
        form = "×".join(map(str, shape))
        raise ConfigError(f"{file}: claims {form} bytes of values, and holds {len(payload) - header}.")
    return np.frombuffer(payload, np.uint8, offset=header).reshape(shape)


def _product(shape: Sequence[int]) -> int:
    product = 1
    for n in shape:
        product *= int(n)
    return product


def write_predictions(model: Model, inputs: Array, target: IO[str]) -> None:
    """Write a line an example as CSV: its label and the probability of each class, or its labels or values.

    Raises:
        ConfigError: when the inputs have another width than the model's.
    """
    wanted = model.manifest.sizes[0]
    if inputs.shape[1] != wanted:
        raise ConfigError(f"the model takes {wanted} inputs an example, but there are {inputs.shape[1]} in the data.")
    writer = csv.writer(target, lineterminator="\n")
    writer.writerows(_lines(model, inputs))


def _lines(model: Model, inputs: Array) -> Iterator[list[str]]:
    names = list(model.classes)
    values = [[f"{value:.6g}" for value in row] for row in model.predict_proba(inputs).tolist()]
    if model.manifest.task == "classes":
        yield ["label", *names]
        for label, row in zip(model.predict(inputs).tolist(), values, strict=True):
            yield [names[label], *row]
        return
    yield names
    yield from values


def evaluate_model(
    model: Model,
    data: DataConfig,
    *,
    part: Literal["test", "train"] = "test",
    extra: Sequence[str] = (),
    data_dir: Path | None = None,
    progress: bool = False,
) -> dict[str, float]:
    """Return the metrics of a model on a part of a data set, by key.

    Args:
        model: what to judge.
        data: the data set.
        part: `test`, or `train` for all that is not that.
        extra: names of metrics besides the standard ones.
        data_dir: where the data are looked for; `STUDIES_DATA` unless given.
        progress: whether to show a bar while downloading.

    Raises:
        ConfigError: when the data are missing or do not fit the model, or a metric is unknown or for another task.
    """
    chosen: list[AbstractMetric] = [metrics.decode(name, path="metric") for name in extra]
    dataset = open_dataset(prepare_data(data, data_dir=data_dir, progress=progress))
    manifest = model.manifest
    if (dataset.task, dataset.inputs.shape[1], len(dataset.classes)) != (
        manifest.task,
        manifest.sizes[0],
        len(manifest.classes),
    ):
        ours = f"{manifest.sizes[0]} inputs and {len(manifest.classes)} {manifest.task}"
        theirs = f"{dataset.inputs.shape[1]} and {len(dataset.classes)} {dataset.task}"
        raise ConfigError(f'the model has {ours}, but "{dataset.name}" has {theirs}.')
    for metric in chosen:
        metric.check_task(dataset.task)
    inputs, targets = (
        (dataset.test_inputs, dataset.test_targets) if part == "test" else (dataset.inputs, dataset.targets)
    )
    if not len(inputs):
        raise ConfigError(f'"{dataset.name}" has no {part} part.')
    examples = Examples(inputs, targets, np.arange(len(inputs)), manifest.scaling)
    outputs = compute_outputs(model.build_network(), examples)
    with np.errstate(all="ignore"):
        return evaluate(outputs, np.asarray(targets), manifest.config.loss, part, dataset.task, tuple(chosen))
