"""A table as a data set: inputs, parts, weights, groups, order, pictures, and the report."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp.data_config import DataConfig
from mlp.errors import ConfigError
from studies.data.cache import open_cached, read_report
from studies.data.data_plan import DataPlan
from studies.data.prepare import open_dataset, prepare_data
from tests.table_data import built, columns_of, config_of, dataset_of, table_of

FLOWERS = "petal,colour,kind\n" + "".join(f"{i % 7},{'red' if i % 3 else 'blue'},{'ab'[i % 2]}\n" for i in range(40))
N = 100
KINDS = [f"k{i % 5}" for i in range(N)]
NOISE = np.random.default_rng(0).normal(size=N).round(6).tolist()


def refusal(text: str, **fields: Any) -> str:
    with pytest.raises(ConfigError) as error:
        dataset_of(text, **fields)
    return str(error.value)


def test_columns_become_cells_and_a_schema() -> None:
    data = dataset_of(FLOWERS, target="kind")
    assert data.schema is not None
    assert (data.columns, data.task, data.classes) == (("petal", "colour"), "classes", ("a", "b"))
    assert [column.kind for column in data.schema.columns] == ["number", "category"]
    assert (data.inputs.shape, data.test_inputs.shape, data.inputs.dtype) == ((32, 2), (8, 2), np.uint8)
    assert data.targets.dtype == np.int64


@pytest.mark.parametrize("order", ["cyclic", "sorted", "shuffled"])
def test_every_class_is_in_every_part_in_any_order_of_the_rows(order: str) -> None:
    kinds = {"cyclic": KINDS, "sorted": sorted(KINDS), "shuffled": np.random.default_rng(1).permutation(KINDS)}[order]
    data = dataset_of(columns_of(x=NOISE, label=list(kinds)))
    assert np.bincount(data.targets).tolist() == [16] * 5
    assert np.bincount(data.test_targets).tolist() == [4] * 5
    split = data.split(DataConfig("t.csv", subset=40), 0)
    assert split.find_gaps() == []


@pytest.mark.parametrize(("test", "n"), [(0, 0), (3, 3), (0.5, 20), (0.001, 1), (0.2, 8)])
def test_the_test_part_has_the_requested_size(test: float, n: int) -> None:
    data = dataset_of(FLOWERS, target="kind", test=test)
    assert (len(data.test_inputs), len(data.inputs)) == (n, 40 - n)


def test_a_test_part_that_leaves_no_training_rows_is_refused() -> None:
    assert "must leave at least one of 40 rows to train on, got 40" in refusal(FLOWERS, target="kind", test=40)


def test_the_cells_of_every_row_are_those_of_its_line() -> None:
    data = dataset_of(columns_of(x=NOISE, label=KINDS))
    known = dict(zip(NOISE, KINDS, strict=True))
    for inputs, targets in ((data.inputs, data.targets), (data.test_inputs, data.test_targets)):
        assert all(known[x] == data.classes[y] for x, y in zip(inputs[:, 0].tolist(), targets.tolist(), strict=True))


def test_a_changed_value_in_the_test_part_changes_no_training_input_and_no_level() -> None:
    colours = ["red" if i % 3 else "blue" for i in range(N)]
    before = dataset_of(columns_of(x=NOISE, colour=colours, label=KINDS))
    row = NOISE.index(before.test_inputs[0, 0])
    changed_colours, changed = colours.copy(), NOISE.copy()
    changed_colours[row], changed[row] = "never seen", 1e9
    after = dataset_of(columns_of(x=changed, colour=changed_colours, label=KINDS))
    assert after.schema == before.schema
    np.testing.assert_array_equal(after.inputs, before.inputs)
    assert after.test_inputs[0].tolist() == [1e9, -1]


def test_a_changed_value_in_the_validation_part_changes_no_number_of_the_encoding() -> None:
    colours = ["red" if i % 3 else "blue" for i in range(N)]
    days = [f"{1 + i % 28}.{1 + i % 12}.2024" for i in range(N)]
    config = config_of(test=0)
    before = dataset_of(columns_of(x=NOISE, colour=colours, day=days, label=KINDS), test=0).split(config, 0)
    assert before.validation is not None
    changed, later, other = NOISE.copy(), days.copy(), colours.copy()
    for row in before.validation.rows.tolist():
        changed[row], later[row], other[row] = 1e9 + row, "31.12.2049", "red"
    after = dataset_of(columns_of(x=changed, colour=other, day=later, label=KINDS), test=0).split(config, 0)
    assert after.validation is not None
    np.testing.assert_array_equal(after.validation.rows, before.validation.rows)
    assert after.validation.inputs[after.validation.rows[0], 0] > 1e9 - 1
    assert after.train.encoding == before.train.encoding


def test_missing_cells_are_nan_and_missing_targets_are_left_out() -> None:
    cells = [*["", "NA"], *NOISE[2:]]
    data, report = built(columns_of(x=cells, label=["k0", "", *KINDS[2:]]))
    assert len(data.inputs) + len(data.test_inputs) == N - 1
    assert np.isnan(data.inputs).sum() + np.isnan(data.test_inputs).sum() == 1
    assert report.notices == ("1 row has no target and is left out.",)


def test_groups_stay_together_and_order_holds_out_the_latest_rows() -> None:
    groups = [f"g{i % 10}" for i in range(N)]
    days = [f"2024-{1 + i // 28:02d}-{1 + i % 28:02d}" for i in range(N)]
    data, report = built(
        columns_of(x=NOISE, g=groups, w=[1 + i % 3 for i in range(N)], label=KINDS), group="g", weight="w"
    )
    assert data.groups is not None
    assert data.weights is not None
    assert data.columns == ("x",)
    of_x = dict(zip(NOISE, groups, strict=True))
    in_test = {of_x[x] for x in data.test_inputs[:, 0].tolist()}
    assert not in_test & {of_x[x] for x in data.inputs[:, 0].tolist()}
    assert set(data.weights.tolist()) == {1, 2, 3}
    assert [column.use for column in report.columns] == ["scaled", "group", "weight", "to predict"]
    ordered = dataset_of(columns_of(x=NOISE, day=days, label=KINDS), order="day", test=10)
    assert sorted(ordered.test_inputs[:, 0].tolist()) == sorted(NOISE[-10:])
    assert ordered.order is not None
    assert ordered.columns == ("x", "day")
    numbered, report = built(columns_of(x=NOISE, t=[i // 2 for i in range(N)], label=KINDS), order="t", test=10)
    assert (numbered.columns, report.columns[1].use) == (("x",), "dropped: order")


def test_rows_without_a_group_or_a_time_are_told() -> None:
    groups = ["" if i % 10 == 3 else f"g{i % 7}" for i in range(N)]
    times = ["" if i == 5 else i for i in range(N)]
    data, report = built(columns_of(g=groups, x=NOISE, label=KINDS), group="g")
    assert report.notices == (f'{N // 10} rows have no value in column "g"; such rows are one group.',)
    assert data.groups is not None
    assert len(np.unique(data.groups)) < 9
    _, report = built(columns_of(t=times, x=NOISE, label=KINDS), order="t")
    assert report.notices == ('1 row has no value in column "t"; such rows count as the earliest.',)


def test_weights_that_are_all_zero_are_refused() -> None:
    with pytest.raises(ConfigError, match='column "w": must be greater than 0 in some row'):
        built(columns_of(w=[0] * N, x=NOISE, label=KINDS), weight="w")


def test_parts_in_files_of_their_own_are_read_by_the_schema_of_the_training_file() -> None:
    table = table_of(FLOWERS)
    part = table_of("kind,extra,colour,petal\nb,0,red,3\na,0,green,\n,0,red,1\n")
    data, report = built(table, {"test": part, "validation": part}, target="kind", test="a.csv", validation="b.csv")
    assert (len(data.inputs), data.n_given, report.n_validation, report.n_test) == (42, 2, 2, 2)
    for rows in (data.test_inputs, data.inputs[-2:]):
        np.testing.assert_array_equal(rows, [[3, 1], [np.nan, -1]])
    assert data.test_targets.tolist() == data.targets[-2:].tolist() == [1, 0]
    split = data.split(DataConfig("t.csv", validation="b.csv"), 0)
    assert split.validation is not None
    assert split.validation.rows.tolist() == [40, 41]
    assert sorted({notice.partition(": ")[2] for notice in report.notices}) == [
        "1 of 3 rows have no target and are left out.",
        '1 rows have a level of "colour" that the training part does not have.',
    ]
    with pytest.raises(ConfigError, match="no row has a target"):
        built(table, {"test": table_of("kind,colour,petal\n,red,3\n")}, target="kind", test="a.csv")


def test_the_weights_of_a_validation_file_are_read_if_it_has_them() -> None:
    columns = {"x": NOISE, "w": [1 + i % 3 for i in range(N)], "label": KINDS}
    for part, expected in ((columns_of(**columns), 2.0), (columns_of(x=NOISE, label=KINDS), 1.0)):
        data = dataset_of(columns_of(**columns), {"validation": part}, weight="w", validation="b.csv")
        assert data.weights is not None
        assert data.weights[-N + 1] == expected


def test_a_square_number_of_byte_columns_is_a_picture() -> None:
    names = ",".join(f"p{i}" for i in range(64))
    rows = "".join(",".join(str((i * j) % 256) for j in range(64)) + f",{'ab'[i % 2]}\n" for i in range(10))
    data = dataset_of(f"{names},label\n{rows}")
    assert (data.image_shape, data.schema, data.inputs.dtype) == ((8, 8), None, np.uint8)
    assert data.largest == data.inputs.max()
    rows = "".join(",".join(str((i + j) % 2) for j in range(64)) + f",{'ab'[i % 2]}\n" for i in range(10))
    assert dataset_of(f"{names},label\n{rows}").image_shape == ()


@pytest.mark.parametrize(
    ("text", "fields", "problem"),
    [
        ("label\na\nb\n", {}, "t.csv: no column is left to predict from: all others are in data.drop, data.target"),
        ("c,label\n1,a\n1,b\n", {}, "t.csv: no column is left to predict from: c (constant)."),
        (FLOWERS, {"target": "kind", "drop": ("petel",)}, '"drop": t.csv: there is no column "petel". Did you mean'),
        (FLOWERS, {"target": "kind", "weight": "colour"}, 'column "colour", line 2: '),
        (FLOWERS.replace("\n1,", "\n-1,"), {"target": "kind", "weight": "petal"}, "line 3: must be a number of at lea"),
        (FLOWERS, {"target": "kind", "order": "colour"}, 'column "colour": must contain dates or numbers, because it'),
    ],
)
def test_a_table_that_cannot_be_learnt_from_is_refused(text: str, fields: dict[str, Any], problem: str) -> None:
    assert problem in refusal(text, **fields).replace("standard input", "t.csv")


def test_more_inputs_than_are_allowed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIES_MAX_INPUTS", "12")
    columns = {"c": [f"l{i % 13}" for i in range(N)], "x": NOISE, "label": KINDS}
    with pytest.raises(ConfigError, match=r'have 14 inputs, at most 12 are allowed\. The widest is "c"\. Remove it'):
        dataset_of(columns_of(**columns))


def test_the_report_has_a_line_for_each_column_and_its_warnings(tmp_path: Path) -> None:
    rows = (f"{i},{i % 7},7,{i % 3}x,{'ab'[i % 2]},{'ab'[i % 2]}s" for i in range(50))
    (tmp_path / "own.csv").write_text("id,size,same,sort,kind,copy\n" + "\n".join(rows))
    folder = prepare_data(DataConfig("own.csv", target="kind"))
    report = read_report(folder)
    assert report is not None
    assert [(c.name, c.type, c.use.partition(":")[2].strip() or c.use) for c in report.columns] == [
        ("id", "number", "identifier"),
        ("size", "number", "scaled"),
        ("same", "number", "constant"),
        ("sort", "category", "3 levels, one input each"),
        ("kind", "class", "to predict"),
        ("copy", "category", "one input, -1 or 1"),
    ]
    dataset = open_cached(folder)
    plan = DataPlan.of(report, dataset.splits(DataConfig("own.csv", target="kind"), 0))
    assert plan.lines[1:] == (
        'task     classes, because column "kind" contains texts.',
        "classes  2: a (20), b (20)",
        "inputs   5 from 3 columns; dropped: id (identifier), same (constant)",
        "rows     32 training, 8 validation, 10 test",
    )
    assert [warning.partition(":")[0] for warning in plan.warnings] == ['column "id"', 'column "copy"']


def test_a_hundred_warnings_are_cut() -> None:
    data, report = built(columns_of(x=NOISE, label=KINDS))
    report = replace(report, notices=tuple(f"notice {'a' * at}" for at in range(20)))
    plan = DataPlan.of(report, data.splits(DataConfig("t.csv"), 0))
    assert (len(plan.warnings), plan.warnings[-1]) == (9, "12 more warnings are shown by: studies data FILE")


def test_what_holds_for_many_columns_is_one_line() -> None:
    prices = {f"n{at}": [f"{i * at + i / 7:.2f} %".replace(".", ",") for i in range(N)] for at in range(11)}
    names = {f"t{at}": [f"name {i * (at + 1)}" for i in range(N)] for at in range(5)}
    _, report = built(columns_of(**prices, **names, one=[*["1"] * (N - 1), "$2"], label=KINDS))
    assert report.forms == (
        'with a decimal comma and percent signs, such as \'0,00 %\', in 11 columns ("n0", "n1", "n2", ...)',
        "with currency signs, such as '$2', in column \"one\"",
    )
    assert [warning.partition(":")[0] for warning in report.warnings] == ['column "t0"', 'column "one"']
    assert report.warnings[0].endswith("""["t0"]; likewise 4 columns ("t1", "t2", "t3", ...)""")


@pytest.mark.slow
def test_millions_of_cells_are_read_in_seconds(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3_000, 784), np.uint8)
    names = ",".join(["label", *(f"pixel{i}" for i in range(784))])
    lines = (f"{i % 10},{','.join(map(str, row))}" for i, row in enumerate(pixels.tolist()))
    (tmp_path / "own.csv").write_text("\n".join([names, *lines]) + "\n")
    started = time.process_time()
    data = open_dataset("own.csv")
    assert time.process_time() - started < 8
    assert (data.inputs.dtype, data.image_shape, len(data.inputs), len(data.test_inputs)) == (
        np.uint8,
        (28, 28),
        2400,
        600,
    )
    rows = {row.tobytes() for row in pixels}
    assert all(row.tobytes() in rows for row in np.asarray(data.inputs))


def test_each_line_of_the_plan_is_one_line_whatever_the_classes_are_called() -> None:
    data, report = built(columns_of(x=NOISE, label=[f"k\n{i % 2}" for i in range(N)]))
    plan = DataPlan.of(report, data.splits(DataConfig("t.csv"), 0))
    assert "classes  2: k\\n0 (40), k\\n1 (40)" in plan.lines
