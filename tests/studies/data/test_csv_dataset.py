"""A CSV file as a data set: its classes or values, its test part, and how unusable files are refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp.data import DataConfig, Dataset
from mlp.errors import ConfigError
from studies.data.csv_dataset import read_csv
from studies.data.prepare import open_dataset

FLOWERS = "petal,colour,kind\n" + "".join(f"{i % 7},{'red' if i % 3 else 'blue'},{'ab'[i % 2]}\n" for i in range(20))


def read(text: str, **fields: Any) -> Dataset:
    file = Path("own.csv")
    file.write_text(text)
    return read_csv(file, DataConfig(**({"name": "own.csv"} | fields)))


def refusal(text: str, **fields: Any) -> str:
    with pytest.raises(ConfigError) as error:
        read(text, **fields)
    return str(error.value)


def test_texts_to_predict_become_classes_in_alphabetical_order() -> None:
    data = read(FLOWERS, target="kind")
    assert (data.name, data.task, data.classes) == ("own.csv", "classes", ("a", "b"))
    assert data.columns == ("petal", "colour=blue", "colour=red")
    assert (data.inputs.shape, data.test_inputs.shape, data.largest, data.image_shape) == ((16, 3), (4, 3), 6.0, ())
    assert data.targets.tolist() == [i % 2 for i in range(20) if i % 5 != 4]
    assert data.targets.dtype == np.int64


def test_every_fifth_row_belongs_to_the_test_part_by_default() -> None:
    data = read("x,label\n" + "".join(f"{i},{i % 2}\n" for i in range(20)))
    assert data.test_inputs[:, 0].tolist() == [4, 9, 14, 19]
    assert data.inputs[:, 0].tolist() == [i for i in range(20) if i % 5 != 4]


@pytest.mark.parametrize(("test", "n"), [(0, 0), (3, 3), (0.5, 10), (0.001, 1), (0.2, 4)])
def test_the_test_part_has_the_requested_size(test: float, n: int) -> None:
    data = read(FLOWERS, target="kind", test=test)
    assert (len(data.test_inputs), len(data.inputs)) == (n, 20 - n)


def test_a_test_part_that_leaves_no_training_rows_is_refused() -> None:
    assert "must leave at least one of 20 rows to train on, got 20" in refusal(FLOWERS, target="kind", test=20)


@pytest.mark.parametrize(
    ("cells", "task", "expected", "classes"),
    [
        (["10", "9", "10"], "auto", "classes", ("9", "10")),
        (["1.5", "2.5", "1.5"], "auto", "values", ("label",)),
        (["1.5", "2.5", "1.5"], "classes", "classes", ("1.5", "2.5")),
        (["10", "9", "10"], "values", "values", ("label",)),
        (["True", "False", "True"], "auto", "classes", ("False", "True")),
        (["1", "x", "1"], "auto", "classes", ("1", "x")),
    ],
)
def test_the_task_follows_from_the_column_unless_it_is_configured(
    cells: list[str], task: str, expected: str, classes: tuple[str, ...]
) -> None:
    data = read("x,label\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells)), task=task, test=0)
    assert (data.task, data.classes) == (expected, classes)
    if expected == "values":
        assert data.targets.tolist() == [[float(cell)] for cell in cells]
    else:
        assert [data.classes[target] for target in data.targets] == cells


def test_a_square_number_of_byte_columns_is_a_picture() -> None:
    names = ",".join(f"p{i}" for i in range(64))
    rows = "".join(",".join(str((i * j) % 256) for j in range(64)) + f",{i % 2}\n" for i in range(4))
    assert read(f"{names},label\n{rows}").image_shape == (8, 8)
    rows = "".join(",".join(str((i + j) % 2) for j in range(64)) + f",{i % 2}\n" for i in range(4))
    assert read(f"{names},label\n{rows}").image_shape == ()


@pytest.mark.parametrize(
    ("text", "fields", "problem"),
    [
        (
            "x,kind\n1,a\n",
            {"target": "kid"},
            'own.csv: there is no column "kid" to predict. Did you mean "kind"? Set data.target to',
        ),
        ("label\n1\n2\n", {}, "own.csv: must have at least one column besides the one to predict."),
        ("x,label\n1,a\n2,a\n", {}, 'own.csv: column "label": must have at least two classes, got a in every row.'),
        ("x,label\n1,a\n2,\n", {}, 'own.csv: column "label", line 3: the value is missing.'),
        (
            "x,label\n1,a\n2,b\n",
            {"task": "values"},
            'own.csv: column "label": must contain numbers, because its values are predicted.',
        ),
        ("x,label\n1,inf\n2,0.5\n", {}, 'own.csv: column "label", line 2: must be finite and at most 1e+30, got inf.'),
        ("x,y\n", {"target": "y"}, "own.csv: must have at least one row below the names of its columns."),
        (
            "x,label\n" + "".join(f"0,{i}\n" for i in range(1001)),
            {},
            'own.csv: column "label": has 1001 distinct values, at most 1000 can be classes. To predict numbers',
        ),
    ],
)
def test_a_file_that_cannot_be_learnt_from_is_refused(text: str, fields: dict[str, Any], problem: str) -> None:
    assert refusal(text, **fields).startswith(problem)


def test_millions_of_cells_are_read_in_seconds(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3_000, 784), np.uint8)
    names = ",".join(["label", *(f"pixel{i}" for i in range(784))])
    lines = (f"{i % 10},{','.join(map(str, row))}" for i, row in enumerate(pixels.tolist()))
    (tmp_path / "own.csv").write_text("\n".join([names, *lines]) + "\n")
    started = time.process_time()
    data = open_dataset("own.csv")
    assert time.process_time() - started < 8
    np.testing.assert_array_equal(data.inputs, pixels[np.arange(3_000) % 5 != 4])
    assert (data.inputs.dtype, data.image_shape) == (np.uint8, (28, 28))
