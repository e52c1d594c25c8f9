"""A file of columns as a data set: inputs by a schema, targets, weights, groups, order, and the parts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from mlp.arrays import Array
from mlp.columns import Column, Schema, pack
from mlp.data import Dataset
from mlp.data_config import DataConfig
from mlp.errors import ConfigError, shortened
from mlp.splits import Population, hold_out_test, strata_of
from studies.data.column_checks import drop_useless, find_leak, note_doubtful_values
from studies.data.column_levels import make_column
from studies.data.column_types import ColumnFacts, check_names, find_types
from studies.data.data_report import DataReport
from studies.data.file_search import file_digest, is_same_file
from studies.data.sources import AbstractSource, FileSearch
from studies.data.table import Table, max_columns
from studies.data.table_cells import missing_words, read_cells, read_column
from studies.data.table_report import count_classes, report_columns
from studies.data.target_columns import Targets, check_target_columns, find_targets, read_targets

VERSION = "table 2"  # change it when the same file gives other arrays than before, so that caches are not reused
Special: TypeAlias = tuple[Array | None, Array | None, Array | None]  # weight, group and place in time of each row
NO_GROUP = -1  # the group of rows without a value
MIN_PIXELS = 64  # a square number of byte columns from here on may be a picture


@dataclass(frozen=True)
class TableSource(AbstractSource):
    """A file of columns, with the fields of a configuration that decide what is read from it.

    `digest` covers the content of the files, `DataConfig.source` except for paths, and `VERSION`.

    Attributes:
        file: the file.
        parts: the files of the test and the validation part, by name, where the configuration names files.
        config: the configuration.
    """

    file: Path
    parts: dict[str, Path]
    config: DataConfig = field(default_factory=DataConfig)

    @classmethod
    def of(cls, file: Path, parts: dict[str, Path], config: DataConfig) -> TableSource:
        """Return the source for some files, which are read once to compute the digest.

        Raises:
            ConfigError: if a file cannot be read.
        """
        fields = config.source | dict.fromkeys(parts, "a file")
        fields |= {"file": ""}  # which file it is, is decided by its content
        content = hashlib.sha256(f"{VERSION}\0{json.dumps(fields, sort_keys=True)}".encode())
        for path, place in (("file", file), *parts.items()):
            content.update(f"\0{path}\0{file_digest(place, path=path)}".encode())
        return cls(file.name.split(".")[0][:64] or "table", content.hexdigest(), file, parts, config)

    def read(self, search: FileSearch) -> Dataset:
        return self.read_with_report(search)[0]

    def read_with_report(self, search: FileSearch) -> tuple[Dataset, DataReport]:
        from studies.data.reading.files import read_table

        for name, part in self.parts.items():
            if is_same_file(self.file, part):
                problem = f"{part}: has the same content as the training file {self.file}. Name another file."
                raise ConfigError(problem, path=name)
        table = read_table(self.file, self.config)
        parts = {name: read_table(file, self.config) for name, file in self.parts.items()}
        return build_dataset(table, parts, self.config, digest=self.digest)


def build_dataset(
    table: Table, parts: dict[str, Table], config: DataConfig, *, digest: str = ""
) -> tuple[Dataset, DataReport]:
    """Return the data set in a table, and the report on it.

    Args:
        table: the table.
        parts: the tables of the test and the validation part, by name, if they are files of their own.
        config: what is predicted, which columns are inputs, and the size of the test part.
        digest: identifies the data set.

    Raises:
        ConfigError: if the table cannot be used; the message names the file, the column and the line.
    """
    check_names(table, config)
    targets = find_targets(table, config)
    special = read_special(table, config)
    n_known = int(targets.is_known.sum())
    train, test = _hold_out(targets, special, 0 if "test" in parts else config.n_test(n_known))
    found = _find_inputs(table, config)
    image_shape = _find_image_shape(found)
    if not image_shape:
        note_doubtful_values(found)
        drop_useless(found)
    used = [facts for facts in found if facts.kind is not None]
    if not used:
        why = ", ".join(f"{shortened(facts.name)} ({facts.drop})" for facts in found[:5])
        advice = " A column that is named in data.numeric or data.categorical is used." if found else ""
        why = why or "all others are in data.drop, data.target, data.group or data.weight"
        raise ConfigError(f"{table.file}: no column is left to predict from: {why}.{advice}")
    columns = [make_column(facts, train) for facts in used]
    for facts in used if not image_shape else ():
        if leak := find_leak(facts, train, targets.values, targets.task):
            facts.notes.append(leak)
    _check_width(table, columns)
    schema = Schema(tuple(columns), tuple(sorted(missing_words(config))))
    train_cells, test_cells = _cells(used, schema, (train, test))
    weights, groups, order = (None if a is None else a[train] for a in special)
    train_targets, test_targets = targets.values[train], targets.values[test]
    notices, n_given = [*table.notices, *targets.notices, *_special_notices(special, config)], 0
    if "validation" in parts:
        given = _read_part(parts["validation"], schema, targets, config)
        n_given = len(given.cells)
        train_cells = np.concatenate([train_cells, given.cells])
        train_targets = np.concatenate([train_targets, given.targets])
        # A validation part of its own is not split, so that neither groups nor order matter.
        weights, groups, order = (
            None if a is None else np.concatenate([a, extra])
            for a, extra in ((weights, given.weights), (groups, np.full(n_given, -1)), (order, np.zeros(n_given)))
        )
        notices += given.notices
    if "test" in parts:
        given = _read_part(parts["test"], schema, targets, config)
        test_cells, test_targets = given.cells, given.targets
        notices += given.notices
    inputs, test_inputs = pack(train_cells), pack(test_cells)
    dataset = Dataset(
        name=Path(table.file).name,
        inputs=inputs,
        targets=train_targets,
        test_inputs=test_inputs,
        test_targets=test_targets,
        classes=targets.names,
        largest=float(inputs.max()) if image_shape else 1.0,
        digest=digest,
        image_shape=image_shape,
        columns=schema.names,
        schema=None if image_shape else schema,
        weights=weights,
        groups=groups,
        order=order,
        n_given=n_given,
    )
    report = DataReport(
        reading=table.reading,
        task=targets.sentence,
        columns=report_columns(table, found, targets, schema, config),
        notices=tuple(notices),
        classes=count_classes(dataset),
        n_train=len(train_targets),
        n_validation=n_given,
        n_test=len(test_targets),
    )
    return dataset, report


def _hold_out(targets: Targets, special: Special, n_test: int) -> tuple[Array, Array]:
    """Return the training and the test rows; they do not depend on any seed, so that no search sees the test part."""
    rows = np.flatnonzero(targets.is_known)
    _, groups, order = (None if a is None else a[rows] for a in special)
    population = Population(len(rows), strata_of(targets.values[rows], targets.task), groups, order)
    is_test = np.zeros(len(rows), bool)
    is_test[hold_out_test(population, n_test)] = True
    return rows[~is_test], rows[is_test]


def read_special(table: Table, config: DataConfig) -> Special:
    """Return the weight, the group and the place in time of each row; None for what the configuration does not name.

    Raises:
        ConfigError: if a weight is not a number of at least 0, or what orders the rows is a text.
    """
    weights = groups = order = None
    if config.weight:
        (facts,) = find_types(table, [config.weight], replace(config, numeric=(config.weight,), categorical=()))
        weights = np.zeros(len(table)) if facts.cells is None else facts.cells
        if (is_bad := ~(weights >= 0)).any():
            problem = "must be a number of at least 0, because it is the weight of the row."
            raise table.error(problem, config.weight, int(is_bad.argmax()))
        if not weights.any():
            raise table.error("must be greater than 0 in some row, otherwise nothing is learnt.", config.weight)
    if config.group:
        missing = missing_words(config)
        column = Column.of_category(config.group, table.values(config.group), missing)
        groups = np.nan_to_num(read_column(table, column, missing), nan=NO_GROUP).astype(np.int64)
    if config.order:
        (facts,) = find_types(table, [config.order], replace(config, categorical=()))
        if facts.cells is None:
            raise table.error("must contain dates or numbers, because it orders the rows.", config.order)
        order = facts.cells
    return weights, groups, order


def _special_notices(special: Special, config: DataConfig) -> list[str]:
    """Return sentences about rows whose group or place in time is not known."""
    _, groups, order = special
    counts = (
        (config.group, 0 if groups is None else int((groups == NO_GROUP).sum()), "such rows are one group"),
        (config.order, 0 if order is None else int(np.isnan(order).sum()), "such rows count as the earliest"),
    )
    return [
        f'{n:,} {"row has" if n == 1 else "rows have"} no value in column "{shortened(name)}"; {meaning}.'
        for name, n, meaning in counts
        if n
    ]


def _find_inputs(table: Table, config: DataConfig) -> list[ColumnFacts]:
    """Return what the columns are that may be inputs."""
    excluded = {*config.targets, *config.drop, config.group, config.weight}
    found = find_types(table, [name for name in table.names if name not in excluded], config)
    for facts in found:
        if facts.name == config.order and facts.kind == "number" and not facts.is_asked_for:
            facts.kind, facts.drop = None, "order"
    return found


def _cells(used: list[ColumnFacts], schema: Schema, parts: tuple[Array, ...]) -> list[Array]:
    """Return the cells of some parts of the rows, each float64 of shape (n, c); columns are released one by one."""
    cells = [np.empty((len(rows), len(used))) for rows in parts]
    missing = frozenset(schema.missing)
    for at, (facts, column) in enumerate(zip(used, schema.columns, strict=True)):
        if facts.distinct is not None and facts.kind == "category":
            of_column = facts.distinct.take(column.parse(facts.distinct.texts, missing))
        else:
            assert facts.cells is not None
            of_column = facts.cells
        for of_part, rows in zip(cells, parts, strict=True):
            of_part[:, at] = of_column[rows]
        facts.cells = facts.distinct = None
    return cells


@dataclass(frozen=True, eq=False)
class _Part:
    """A part in a file of its own: cells, targets and weights of its rows, and sentences for the user."""

    cells: Array
    targets: Array
    weights: Array
    notices: tuple[str, ...]


def _read_part(table: Table, schema: Schema, targets: Targets, config: DataConfig) -> _Part:
    """Return a part in a file of its own, read by the schema; rows without a target are left out."""
    check_target_columns(table, tuple(column.name for column in targets.columns))
    values, is_known = read_targets(table, targets.columns, targets.task, frozenset(schema.missing))
    if not is_known.any():
        raise ConfigError(f"{table.file}: no row has a target.")
    cells = read_cells(table, schema)[is_known]
    weights = None
    if config.weight in table.columns:
        weights, _, _ = read_special(table, replace(config, group="", order=""))
    weights = np.ones(len(table)) if weights is None else weights
    notices = [*table.notices]
    if n_missing := int((~is_known).sum()):
        notices.append(f"{table.file}: {n_missing:,} of {len(table):,} rows have no target and are left out.")
    for name, n in schema.count_unseen(cells).items():
        notices.append(f'{table.file}: {n:,} rows have a level of "{name}" that the training part does not have.')
    return _Part(cells, values[is_known], weights[is_known], tuple(notices))


def _find_image_shape(found: list[ColumnFacts]) -> tuple[int, ...]:
    """Return height and width if every row could be a square picture of bytes, otherwise an empty tuple."""
    side = round(len(found) ** 0.5)
    if side * side != len(found) or len(found) < MIN_PIXELS:
        return ()
    if not all(facts.kind == "number" and facts.integer and not facts.n_missing for facts in found):
        return ()
    lowest, highest = (
        min(float(f.cells.min()) for f in found if f.cells is not None),
        max(float(f.cells.max()) for f in found if f.cells is not None),
    )
    return (side, side) if lowest >= 0 and 1 < highest <= 255 else ()


def _check_width(table: Table, columns: list[Column]) -> None:
    """Refuse a table whose categories have more levels than a network may have inputs."""
    n_inputs = sum(max(1, len(column.levels)) for column in columns)
    if n_inputs > max_columns():
        widest = max(columns, key=lambda column: len(column.levels)).name
        problem = f"the columns have {n_inputs:,} inputs, at most {max_columns():,} are allowed. The widest is"
        advice = "Remove it with data.drop, or set STUDIES_MAX_INPUTS to allow more."
        raise ConfigError(f'{table.file}: {problem} "{shortened(widest)}". {advice}')
