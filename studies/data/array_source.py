"""Arrays as a data set: an `.npz` file with inputs `x` and targets `y`, or the files `x.npy` and `y.npy`.

In an `.npz` file the inputs may be called `x`, `x_train` or `inputs`, the targets `y`, `y_train` or `targets`, and
those of a test part `x_test` and `y_test`, or `test_inputs` and `test_targets`, in upper or lower case. Without a test
part, rows are held out as in a table. The first dimension of every array counts the examples. Inputs of shape
(n, height, width) are images.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from mlp.arrays import Array
from mlp.data import Dataset
from mlp.data_config import FILE_FIELDS, DataConfig
from mlp.errors import ConfigError, errors_in, listed
from mlp.splits import Population, hold_out_test, strata_of
from mlp.untrusted import MAX_IN_MEMORY, open_npy, open_npz
from studies.data.file_search import file_digest
from studies.data.sources import AbstractSource, FileSearch

VERSION = "arrays 1"  # change it when the same file gives other arrays than before, so that caches are not reused
EXTENSIONS = (".npz", ".npy")
NAMES = {
    "x": ("x", "x_train", "inputs"),
    "y": ("y", "y_train", "targets"),
    "x_test": ("x_test", "test_inputs"),
    "y_test": ("y_test", "test_targets"),
}
USED_FIELDS = ("task", "test", "positive")  # of those that say how a file is read


@dataclass(frozen=True)
class ArraySource(AbstractSource):
    """Files of arrays, with the fields of a configuration that decide what is read from them.

    Attributes:
        file: the `.npz` file, or the `.npy` file with the inputs.
        config: the configuration.
    """

    file: Path
    config: DataConfig

    @classmethod
    def of(cls, file: Path, config: DataConfig) -> ArraySource:
        """Return the source for a file, which is read once to compute its digest.

        Raises:
            ConfigError: if the file cannot be read, or the configuration has fields that are for tables.
        """
        _check_config(config)
        used = {name: getattr(config, name) for name in USED_FIELDS}
        content = hashlib.sha256(f"{VERSION}\0{json.dumps(used)}".encode())
        files = [file] if file.suffix.lower() == ".npz" else [file, targets_file(file)]
        for part in files:
            content.update(file_digest(part).encode())
        return cls(file.stem[:64], content.hexdigest(), file, config)

    def read(self, search: FileSearch) -> Dataset:
        try:
            arrays = _read_npz(self.file) if self.file.suffix.lower() == ".npz" else _read_npy(self.file)
            with errors_in(f"{self.file}:"):
                return self._make_dataset(arrays)
        except FileNotFoundError:
            raise ConfigError(f"{self.file}: there is no such file.", path="file") from None

    def _make_dataset(self, arrays: dict[str, Array]) -> Dataset:
        x, image_shape = _flatten(arrays["x"], "x")
        y = _squeeze(arrays["y"])
        if len(x) != len(y):
            raise ConfigError(f"x and y must have the same length, got {len(x)} and {len(y)}.")
        test = None
        if "x_test" in arrays:
            test = (_flatten(arrays["x_test"], "x_test")[0], _squeeze(arrays["y_test"]))
        elif n_test := self.config.n_test(len(x)):
            is_test = np.zeros(len(x), bool)
            is_test[hold_out_test(Population(len(x), _strata(y, self.config.task)), n_test)] = True
            test, x, y = (x[is_test], y[is_test]), x[~is_test], y[~is_test]
        task = "auto" if self.config.task == "labels" else self.config.task
        dataset = Dataset.from_arrays(
            x,
            y,
            test=test,
            name=self.name,
            task=task,
            image_shape=image_shape,
            largest=255.0 if x.dtype == np.uint8 else None,
            positive=self.config.positive or None,
        )
        if self.config.task not in ("auto", dataset.task):
            raise ConfigError(f'must be "{dataset.task}", as the type and the shape of y say.', path="task")
        return replace(dataset, digest=self.digest)


def is_array_file(name: str) -> bool:
    """Return whether a path is that of an array file."""
    return name.lower().endswith(EXTENSIONS)


def targets_file(file: Path) -> Path:
    """Return the file with the targets that belongs to an `.npy` file with inputs: `y_train.npy` to `x_train.npy`.

    Raises:
        ConfigError: if the name of the file does not begin with x.
    """
    if file.name[:1] not in ("x", "X"):
        problem = f"{file}: contains one array. Call it x.npy and put its targets into the same folder as y.npy"
        raise ConfigError(f"{problem}, or save both with numpy.savez(file, x=..., y=...).", path="file")
    for letter in ("y", "Y"):
        if (other := file.with_name(letter + file.name[1:])).exists():
            return other
    raise ConfigError(f"{file}: its targets are missing: there is no file {file.with_name('y' + file.name[1:])}.")


def _check_config(config: DataConfig) -> None:
    for field in fields(config):
        is_of_tables = field.name in FILE_FIELDS and field.name not in USED_FIELDS
        if is_of_tables and getattr(config, field.name) != field.default:
            problem = f'applies to tables only, and "{config.file}" contains arrays. Remove it.'
            raise ConfigError(problem, path=field.name)
    for name in ("test", "validation"):
        if isinstance(getattr(config, name), str):
            raise ConfigError(f'must be a number or a fraction, because "{config.file}" contains arrays.', path=name)


def _read_npz(file: Path) -> dict[str, Array]:
    with open_npz(file) as archive:
        by_name = {name.lower(): name for name in archive.names}
        found = {
            part: next((by_name[name] for name in names if name in by_name), None) for part, names in NAMES.items()
        }
        for part in ("x", "y"):
            if found[part] is None:
                problem = f"must contain inputs x and targets y, got {listed(archive.names) or 'no array'}"
                raise ConfigError(f"{problem}. Save them with numpy.savez(file, x=..., y=...).")
        if (found["x_test"] is None) != (found["y_test"] is None):
            raise ConfigError("must contain both x_test and y_test, or neither of them.")
        # An array that is not compressed cannot be larger than the file.
        limit = max(MAX_IN_MEMORY, file.stat().st_size)
        return {part: archive.read(name, limit=limit) for part, name in found.items() if name is not None}


def _read_npy(file: Path) -> dict[str, Array]:
    return {"x": open_npy(file), "y": np.array(open_npy(targets_file(file)))}


def _flatten(x: Array, name: str) -> tuple[Array, tuple[int, ...]]:
    """Return inputs as rows, shape (n, d), and the shape of an example if it is an image."""
    if x.ndim < 2:
        raise ConfigError(f"{name} must have shape (n, d), one row per example, got {x.shape}.")
    shape: Sequence[int] = x.shape[1:]
    if len(shape) == 3 and shape[-1] == 1:
        shape = shape[:2]
    return x.reshape(len(x), math.prod(shape)), tuple(shape) if len(shape) == 2 else ()


def _squeeze(y: Array) -> Array:
    """Return targets of shape (n, 1) as shape (n,), unless they are labels or values."""
    is_column = y.ndim == 2 and y.shape[1] == 1 and y.dtype.kind in "iuUS"
    return y[:, 0] if is_column else y


def _strata(y: Array, task: str) -> Array:
    if y.dtype.kind == "f" or task == "values":
        return strata_of(y.reshape(len(y), -1), "values")
    return strata_of(np.unique(y, return_inverse=True)[1], "classes") if y.ndim == 1 else strata_of(y, "labels")
