"""The configuration of a training's data: where the examples come from, and how they are split and scaled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from mlp.errors import ConfigError, listed
from mlp.records import AbstractRecord, number

# The former name of a field, and its name now. Files, --set and [space] may use either.
FORMER_NAMES = {"label": "target", "balanced": "stratify"}
Scale = Literal["auto", "robust", "standard", "min_max", "quantile", "unit", "example", "none"]
# Fields that say how a file is read.
FILE_FIELDS = (
    *("target", "task", "test", "drop", "categorical", "numeric", "group", "order", "weight", "positive"),
    *("header", "separator", "decimal", "encoding", "missing"),
)


@dataclass(frozen=True)
class DataConfig(AbstractRecord):
    """The data of a training.

    Attributes:
        name: the name of a published data set; may be empty if the data is a file or is given in Python.
        file: the path of a file: CSV, Parquet, `.npz` or `.npy`.
        target: the column to predict, or several columns of numbers (files only).
        task: what to predict: `classes`, `values` or `labels`; `auto` decides by the target (files only).
        test: the size of the test part: a number of rows, a fraction (at least one row), or the path of a file with
            the test part; 0 for none (files only).
        validation: the size of the validation part: a number of training examples, a fraction (at least one example),
            or the path of a file with the validation part; 0 for none.
        drop: columns that are not used (files only).
        categorical: columns that are categories, whatever they contain (files only).
        numeric: columns that are numbers, whatever they contain (files only).
        group: a column; all rows with the same value of it are in the same part (files only).
        order: a column; the rows with its largest values are the test and the validation part (files only).
        weight: the column with the weight of each row in the loss (files only).
        positive: the class that precision, recall and F1 are of (files with two classes only).
        header: whether the first line names the columns (files only).
        separator: the separator of columns; `auto` detects it (files only).
        decimal: the decimal mark; `auto` detects it (files only).
        encoding: the encoding of the text, such as `utf-8`; `auto` detects it (files only).
        missing: the texts that mean a missing value; `auto` is a list of the usual ones (files only).
        scale: how inputs are scaled. `auto`: `unit` for images and bytes, otherwise `robust`. `unit` divides by the
            largest possible raw value, in tables each column by its largest absolute value in the training part.
            `robust` is (x - median) / (third quartile - first quartile), then smoothly clipped to -3..3. `standard`
            gives each feature mean 0 and standard deviation 1, `min_max` the range 0 to 1, `quantile` a normal
            distribution, all on the training part; `example` gives each example mean 0 and standard deviation 1 (no
            tables); `none` leaves inputs as they are.
        target_scale: how values to predict are scaled for the network; predictions and all metrics except the loss are
            in their own units. `standard` gives them mean 0 and standard deviation 1 on the training part, `log` takes
            log(1 + value) first; `auto` is `standard`, unless the loss has an output function.
        subset: the number of training examples to use, 0 for all; of a table they are drawn, of anything else they are
            the first ones.
        stratify: whether parts have nearly the same proportions of classes (of a table also: the same distribution of
            values) as all examples; `auto` does so for tables.
        folds: the number of folds for cross-validation; 0 for none. Each fold is the validation part once, the means
            over the folds are what counts, and `validation` is ignored.
        fold: the only fold to validate on, counted from 0; None for all of them. Of several repeats, the folds of the
            second one follow those of the first: with 5 folds, 5 is the first fold of the second repeat.
        repeats: how many times the folds are drawn.
        split_seed: the seed of the split into parts and folds; None for the seed of the training. With it, trainings
            with different seeds have the same validation part, so that their results can be compared.
    """

    name: str = ""
    file: str = ""
    target: str | tuple[str, ...] = "label"
    task: Literal["auto", "classes", "values", "labels"] = "auto"
    test: int | float | str = number(0.2, at_least=0)
    validation: int | float | str = number(0.2, at_least=0)
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    group: str = ""
    order: str = ""
    weight: str = ""
    positive: str = ""
    header: bool = True
    separator: str = "auto"
    decimal: Literal["auto", ".", ","] = "auto"
    encoding: str = "auto"
    missing: Literal["auto"] | tuple[str, ...] = "auto"
    scale: Scale = "auto"
    target_scale: Literal["auto", "standard", "log", "none"] = "auto"
    subset: int = number(0, at_least=0)
    stratify: bool | Literal["auto"] = "auto"
    folds: int = number(0, at_least=0)
    fold: int | None = number(None, at_least=0)
    repeats: int = number(1, at_least=1)
    split_seed: int | None = number(None, at_least=0, at_most=2**32 - 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.file and self.name:
            problem = f'and data.name = "{self.name}" exclude each other. Remove one of them.'
            raise ConfigError(f'"{self.file}" {problem}', path="file")
        if not self.file and is_file_name(self.name):
            object.__setattr__(self, "file", self.name)
            object.__setattr__(self, "name", "")
        self._check_file_fields()
        if self.target == () or self.target == "":
            raise ConfigError("must name a column.", path="target")
        if len(set(self.targets)) < len(self.targets):
            raise ConfigError(f"must not contain a column twice, got {listed(self.targets)}.", path="target")
        for name, columns in (("drop", self.drop), ("group", (self.group,)), ("weight", (self.weight,))):
            if both := sorted(set(columns) & set(self.targets)):
                raise ConfigError(f'must not contain "{both[0]}", which is data.target.', path=name)
        if self.order and self.folds:
            raise ConfigError("cannot be combined with data.order, whose latest rows are held out.", path="folds")
        if self.folds == 1:
            raise ConfigError("must be 0 (no folds) or at least 2, got 1.", path="folds")
        if self.repeats > 1 and not self.folds:
            raise ConfigError(f"needs data.folds, which are drawn {self.repeats} times.", path="repeats")
        if self.fold is not None and self.fold >= (n_folds := max(1, self.folds * self.repeats)):
            limit = "folds" if self.repeats == 1 else "folds · repeats"
            raise ConfigError(f"must be below {limit} = {n_folds}, got {self.fold}.", path="fold")
        if both := sorted(set(self.categorical) & set(self.numeric)):
            raise ConfigError(f'contains "{both[0]}", which is in data.categorical too.', path="numeric")

    def _check_file_fields(self) -> None:
        if self.file:
            return
        for f in fields(self):
            if f.name in FILE_FIELDS and getattr(self, f.name) != f.default:
                problem = f'applies to files only, and data.name is "{self.name}". Remove it, or set data.file.'
                raise ConfigError(problem, path=f.name)
        if isinstance(self.validation, str):
            problem = f'must be a number or a fraction, because data.name is "{self.name}", got "{self.validation}".'
            raise ConfigError(problem, path="validation")

    @classmethod
    def current_names(cls, mapping: Mapping[str, Any]) -> Mapping[str, Any]:
        current = {}
        for key, value in mapping.items():
            name = FORMER_NAMES.get(key, key)
            if name == "name" and isinstance(value, str) and is_file_name(value):
                name = "file"
            if name in current or (name != key and name in mapping and mapping[name]):
                raise ConfigError(f'is the former name of "{name}", which is given too. Remove it.', path=key)
            current[name] = value
        return current

    def require_name(self) -> None:
        """Refuse a configuration without a data set, in files, where it must be found by name.

        Raises:
            ConfigError: if neither a name nor a file is given.
        """
        if not self.name and not self.file:
            problem = "is missing. Give the path of a file, or the name of a data set as data.name."
            raise ConfigError(problem, path="data.file")

    @property
    def is_table(self) -> bool:
        """Whether the data is read from a file."""
        return bool(self.file)

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns to predict."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def source(self) -> dict[str, Any]:
        """The fields that select the data set and decide what is read from it, by name."""
        chosen = {name: getattr(self, name) for name in ("name", "file", *FILE_FIELDS)}
        return chosen | ({"validation": self.validation} if isinstance(self.validation, str) else {})

    @property
    def is_cross_validation(self) -> bool:
        """Whether several folds are validated on, each with a training of its own."""
        return bool(self.folds) and self.fold is None

    def by_fold(self) -> tuple[DataConfig, ...]:
        """Return a configuration for each training: one per fold and repeat, or this one alone."""
        if not self.is_cross_validation:
            return (self,)
        return tuple(replace(self, fold=fold) for fold in range(self.folds * self.repeats))

    @property
    def has_validation(self) -> bool:
        """Whether there is a validation part."""
        return bool(self.folds or self.validation)

    def n_test(self, n: int) -> int:
        """Return how many of `n` rows are in the test part; 0 if it is a file of its own.

        Raises:
            ConfigError: if no row would be left to train on.
        """
        if isinstance(self.test, str):
            return 0
        n_test = count(self.test, n)
        if n_test >= n:
            raise ConfigError(f"must leave at least one of {n} rows to train on, got {self.test!r}.", path="test")
        return n_test

    def n_examples(self, n: int) -> int:
        """Return how many of `n` training examples are used.

        Raises:
            ConfigError: if `subset` is larger.
        """
        if self.subset > n:
            problem = f"must be at most {n}, the number of training examples, got {self.subset}."
            raise ConfigError(problem, path="data.subset")
        return self.subset or n

    def n_validation(self, n: int) -> int:
        """Return how many of `n` training examples are in the validation part; 0 if it is a file of its own.

        Raises:
            ConfigError: if no example would be left to train on.
        """
        if self.folds:
            if self.folds > n:
                problem = f"must be at most {n}, the number of training examples in use, got {self.folds}."
                raise ConfigError(problem, path="data.folds")
            return n // self.folds + ((self.fold or 0) % self.folds < n % self.folds)
        if isinstance(self.validation, str):
            return 0
        n_validation = count(self.validation, n)
        if n_validation >= n:
            problem = f"must leave at least one of {n} training examples to train on, got {self.validation!r}."
            raise ConfigError(problem, path="data.validation")
        return n_validation


def current_path(path: str) -> str:
    """Return a dotted path of a training configuration with the names of today: `data.label` is `data.target`."""
    section, _, name = path.partition(".")
    return f"data.{FORMER_NAMES[name]}" if section == "data" and name in FORMER_NAMES else path


def current_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes to a training configuration by dotted path, with the names of today.

    A new name or file of the data replaces the other one of the two.
    """
    current = {}
    for path, value in changes.items():
        is_file = path == "data.name" and isinstance(value, str) and is_file_name(value)
        current["data.file" if is_file else current_path(path)] = value
    for path, other in (("data.file", "data.name"), ("data.name", "data.file")):
        if current.get(path):
            current.setdefault(other, "")
    return current


def count(size: float, n: int) -> int:
    """Return a number of rows: the number itself, or a fraction of `n`, at least 1 unless it is 0."""
    return max(1, round(size * n)) if isinstance(size, float) and size > 0 else int(size)


def is_file_name(name: str) -> bool:
    """Return whether a name is the path of a file: published data sets have neither dots nor slashes in their name."""
    return any(mark in name for mark in "./\\")
