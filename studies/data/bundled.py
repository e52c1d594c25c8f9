"""Data sets that are installed with scikit-learn, and need no network: digits, and tables of numbers.

None has an official test part, so every fifth row belongs to it. `digest` is the digest of the arrays.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlp.arrays import Array, digest
from mlp.columns import Column, Schema, pack
from mlp.data import Dataset
from mlp.errors import ConfigError
from mlp.untrusted import read_gzip_or_plain
from studies.data.sources import AbstractSource, FileSearch

DIGITS = tuple("0123456789")
MAX_BYTES = 1 << 20  # the largest decompressed file has 0.3 MB


@dataclass(frozen=True)
class DigitsSource(AbstractSource):
    """The digits: 1,797 pictures of 8 x 8 pixels from 0 to 16."""

    def read(self, search: FileSearch) -> Dataset:
        file = "digits.csv.gz"
        table = read_bundled(self.name, file, 0, ",")
        inputs, labels = table[:, :-1].astype(np.uint8), table[:, -1].astype(np.int64)
        arrays = split_fifth(inputs, labels)
        check_content(self, file, arrays)
        return Dataset(self.name, *arrays, DIGITS, 16.0, self.digest, (8, 8))


@dataclass(frozen=True)
class BundledTable(AbstractSource):
    """A table of numbers.

    Attributes:
        files: the file with the table, and that with the targets if they are not its last column.
        n_skipped: the number of lines before the first row.
        delimiter: what separates the cells; None for blanks.
        columns: the names of the columns.
        classes: the names of the classes in the order of this data set, or the name of the value.
        codes: the number that stands for each class in the file; empty for a value.
    """

    files: tuple[str, ...]
    n_skipped: int
    delimiter: str | None
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    codes: tuple[int, ...] = ()

    def read(self, search: FileSearch) -> Dataset:
        tables = [read_bundled(self.name, file, self.n_skipped, self.delimiter) for file in self.files]
        cells, targets = tables[0][:, : len(self.columns)], tables[-1][:, -1:]
        if self.codes:
            targets = np.argmax(targets == np.array(self.codes), axis=1)
        arrays = split_fifth(pack(cells), targets)
        check_content(self, self.files[0], arrays)
        schema = Schema(tuple(Column(name, "number") for name in self.columns))
        return Dataset(self.name, *arrays, self.classes, 1.0, self.digest, (), self.columns, schema)


def split_fifth(inputs: Array, targets: Array) -> tuple[Array, Array, Array, Array]:
    """Return the inputs and the targets of the training part, then those of the test part: every fifth row."""
    is_test = np.arange(len(inputs)) % 5 == 4
    return inputs[~is_test], targets[~is_test], inputs[is_test], targets[is_test]


def read_bundled(name: str, file: str, n_skipped: int, delimiter: str | None) -> Array:
    """Return the numbers in a file that is installed with scikit-learn, as float64 of shape (n, c).

    Args:
        name: the name of the data set, for errors.
        file: the name of the file.
        n_skipped: the number of lines before the first row.
        delimiter: what separates the cells; None for blanks.

    Raises:
        ConfigError: if scikit-learn is not installed, or the file is missing or damaged.
    """
    package = importlib.util.find_spec("sklearn")  # importing it would take a second
    if package is None or package.origin is None:
        raise ConfigError(
            f'"{name}" is part of scikit-learn, which is not installed. Install scikit-learn.', path="name"
        )
    place = Path(package.origin).parent / "datasets" / "data" / file
    try:
        lines = read_gzip_or_plain(place, MAX_BYTES).decode().splitlines()
        return np.loadtxt(lines[n_skipped:], delimiter=delimiter, ndmin=2)
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(f'{place} must contain "{name}": {error}. Reinstall scikit-learn.', path="name") from error


def check_content(source: AbstractSource, file: str, arrays: tuple[Array, ...]) -> None:
    """Refuse arrays that are not those that a source is known for.

    Raises:
        ConfigError: if their digest is another one.
    """
    if (got := digest(*arrays)) != source.digest:
        problem = f'{file} of scikit-learn must contain "{source.name}" with the SHA-256 {source.digest}, got {got}.'
        raise ConfigError(f"{problem} Install another version of scikit-learn.", path="name")


DIGITS_SET = DigitsSource("digits", "ff3616c0f69552c411ca15d060836fbf14ad26848e907145698199e8db70ec09")
WINE = BundledTable(
    "wine",
    "baa6aa2dce932835f4d3003029d8b52c31d597eba8a93935d0350bb2c8834498",
    ("wine_data.csv",),
    1,
    ",",
    (
        *("alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids"),
        *("nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue", "od280/od315_of_diluted_wines"),
        "proline",
    ),
    ("class_0", "class_1", "class_2"),
    (0, 1, 2),
)
_MEASURES = ("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave points")
BREAST_CANCER = BundledTable(
    "breast_cancer",
    "37558822c7c4b859f83667bdf8685f2a5cf5dbc6aa41c6e928bad4487e603e4c",
    ("breast_cancer.csv",),
    1,
    ",",
    tuple(
        pattern.format(measure)
        for pattern in ("mean {}", "{} error", "worst {}")
        for measure in (*_MEASURES, "symmetry", "fractal dimension")
    ),
    ("benign", "malignant"),  # precision, recall and F1 are of the second class
    (1, 0),
)
DIABETES = BundledTable(
    "diabetes",
    "16e3265e5a8787b26a3a04c6ce4265aef607162dd8285b2e0e2d55fecb6d05f9",
    ("diabetes_data_raw.csv.gz", "diabetes_target.csv.gz"),
    0,
    None,
    ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"),
    ("progression",),
)
BUNDLED: tuple[AbstractSource, ...] = (DIGITS_SET, WINE, BREAST_CANCER, DIABETES)
