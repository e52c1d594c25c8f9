"""CSV files: columns become inputs, and unusable cells are refused by column and line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlp.errors import ConfigError
from studies.data.tables import (
    FEW_CATEGORIES,
    MANY_CATEGORIES,
    Table,
    encode,
    encode_as,
    read_table,
)


def table(folder: Path, text: str) -> Table:
    file = folder / "table.csv"
    file.write_text(text, encoding="utf-8")
    return read_table(file)


def refusal(folder: Path, text: str) -> str:
    """Return the error of encoding all columns of a file, without the name of the file, which must come first."""
    with pytest.raises(ConfigError) as error:
        encode(table(folder, text))
    start = f"{folder / 'table.csv'}: "
    assert str(error.value).startswith(start)
    return str(error.value).removeprefix(start)


def test_a_column_of_numbers_is_one_input_and_each_distinct_text_another(tmp_path: Path) -> None:
    inputs, names = encode(table(tmp_path, "size,colour\n3,red\n200,blue\n7,red\n"))
    assert names == ("size", "colour=blue", "colour=red")
    assert inputs.tolist() == [[3, 0, 1], [200, 1, 0], [7, 0, 1]]
    assert inputs.dtype == np.uint8


def test_true_and_false_become_1_and_0(tmp_path: Path) -> None:
    inputs, names = encode(table(tmp_path, "a,b\nTrue,1\nFalse,2\n"))
    assert (inputs.tolist(), names) == ([[1, 1], [0, 2]], ("a", "b"))


@pytest.mark.parametrize(
    ("cells", "dtype"),
    [
        (["0", "255"], np.uint8),
        (["0", "256"], np.float32),
        (["-1", "3"], np.float32),
        (["0.5", "0.25"], np.float32),
        (["0.1", "0.5"], np.float64),
        (["16777217", "0"], np.float64),
        (["1e30", "-1e30"], np.float64),
    ],
)
def test_inputs_have_the_narrowest_type_that_represents_them_exactly(
    tmp_path: Path, cells: list[str], dtype: type[np.generic]
) -> None:
    inputs, _ = encode(table(tmp_path, "a,b\n" + "".join(f"{cell},0\n" for cell in cells)))
    assert inputs.dtype == dtype
    assert inputs[:, 0].tolist() == [float(cell) for cell in cells]


def test_byte_order_marks_blank_lines_spaces_and_quotes_of_spreadsheets_are_understood(tmp_path: Path) -> None:
    text = '\ufeff a , "b, c"\r\n\r\n1, "x, y"\r\n   \r\n2, "say ""hi"""\r\n\r\n'
    inputs, names = encode(table(tmp_path, text))
    assert names == ("a", 'b, c=say "hi"', "b, c=x, y")
    assert inputs.tolist() == [[1, 0, 1], [2, 1, 0]]


def test_a_column_of_numbers_and_few_texts_is_a_category(tmp_path: Path) -> None:
    _, names = encode(table(tmp_path, "children,a\n0,1\n1,1\n3+,1\n"))
    assert names == ("children=0", "children=1", "children=3+", "a")


NUMBERS = "".join(f"{i},1\n" for i in range(FEW_CATEGORIES))
REFUSED = {
    "an empty file": ("", "is empty. Its first line must name the columns."),
    "only blank lines": ("\n  \n\n", "is empty. Its first line must name the columns."),
    "no row": ("a,b\n", "must have at least one row below the names of its columns."),
    "a repeated name": ("a,b, a\n1,2,3\n", '2 columns are called "a". Rename them, as each name must be unique.'),
    "no name": (",a\n0,1\n", "column 1 has no name. Name it, or remove it if it numbers the rows."),
    "semicolons": ("a;b\n1;2\n", "columns must be separated by commas, got ';'."),
    "tabs": ("a\tb\n1\t2\n", "columns must be separated by commas, got '\\t'."),
    "more cells than names": ("a,b\n1,2,3\n4,5,6\n", "line 2 must have 2 cells, one per column, got 3."),
    "more cells in one line": (
        "a,b\n1,2\n4,5,6\n",
        "cannot be read as CSV: Error tokenizing data. C error: Expected 2",
    ),
    "an open quote": ('a,b\n1,"2\n3,4\n', "cannot be read as CSV: Error tokenizing data. C error: EOF inside string"),
    "a missing value": (
        "a,b\n1,2\n3,\n",
        'column "b", line 3: the value is missing. Fill it in, or remove the line or the column.',
    ),
    "a missing cell": ("a,b\n1,2\n3\n5,6\n", 'column "b", line 3: the value is missing. '),
    "a word for a missing value": ("a,b\n1,2\nNA,3\n", 'column "a", line 3: the value is missing. '),
    "missing values below a text of several lines": (
        'a,b\n"x\n\ny",2\n\nz,\nz,\n',
        'column "b", line 6: the value is missing (and in 1 other line). ',
    ),
    "infinity": ("a,b\n1,2\n3,-inf\n", 'column "b", line 3: must be finite and at most 1e+30, got -inf.'),
    "a number beyond float64": ("a,b\n1,1e999\n", 'column "b", line 2: must be finite and at most 1e+30, got inf.'),
    "a number beyond the limit": (
        "a,b\n1,2\n3,1e31\n",
        'column "b", line 3: must be finite and at most 1e+30, got 1e+31.',
    ),
    "a text among numbers": (
        f"a,b\n{NUMBERS}?,1\n",
        f"column \"a\", line {FEW_CATEGORIES + 2}: '?' is not a number, but other values such as 0 are. Correct it, or",
    ),
    "too many categories": (
        "a,b\n" + "".join(f"name{i},1\n" for i in range(MANY_CATEGORIES + 1)),
        f'column "a": has {MANY_CATEGORIES + 1} distinct texts, at most {MANY_CATEGORIES} can be categories. Remove',
    ),
}


@pytest.mark.parametrize(("text", "problem"), REFUSED.values(), ids=REFUSED)
def test_an_unusable_file_is_refused_by_column_and_line(tmp_path: Path, text: str, problem: str) -> None:
    assert refusal(tmp_path, text).startswith(problem)


def test_a_missing_file_a_folder_and_binary_content_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.csv: there is no such file"):
        read_table(tmp_path / "nowhere.csv")
    with pytest.raises(ConfigError, match="must be a regular file, got a folder"):
        read_table(tmp_path)
    (tmp_path / "table.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(ConfigError, match=r"table.csv: cannot be read as CSV: .*utf-8"):
        read_table(tmp_path / "table.csv")


def test_another_table_is_encoded_like_the_first_in_any_order_of_columns(tmp_path: Path) -> None:
    _, names = encode(table(tmp_path, "size,colour\n3,red\n200,blue\n7,green\n"))
    inputs = encode_as(table(tmp_path, "colour,size\nred,5\ngreen,6\n"), names)
    assert inputs.tolist() == [[5, 0, 0, 1], [6, 0, 1, 0]]


def test_categories_that_look_like_numbers_are_recognised(tmp_path: Path) -> None:
    _, names = encode(table(tmp_path, "children,a\n0,1\n1,1\n3+,1\n"))
    assert encode_as(table(tmp_path, "children,a\n1,7\n0,8\n"), names).tolist() == [[0, 1, 0, 7], [1, 0, 0, 8]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "size,colour\n1,pink\n",
            "column \"colour\", line 2: must be one of 'blue', 'red', as in the training data, got 'pink'.",
        ),
        (
            "size,color\n1,red\n",
            'column "color": was not a training column of the model. Did you mean "colour"? Remove or rename it.',
        ),
        ("size\n1\n", 'there is no column "colour".'),
        (
            "colour,sise\nred,1\n",
            'column "sise": was not a training column of the model. Did you mean "size"? Remove or rename it.',
        ),
        ("size,colour\nbig,red\n", "column \"size\", line 2: must contain numbers, got 'big'."),
    ],
)
def test_a_table_with_other_columns_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    _, names = encode(table(tmp_path, "size,colour\n3,red\n200,blue\n"))
    with pytest.raises(ConfigError) as error:
        encode_as(table(tmp_path, text), names)
    assert str(error.value).startswith(f"{tmp_path / 'table.csv'}: {problem}")


CELLS = st.integers(-(10**6), 10**6) | st.floats(-1e30, 1e30) | st.sampled_from(["red", "blue", "say=so"])


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12))
def test_encoding_a_table_with_its_own_names_gives_the_same_inputs(
    tmp_path: Path, rows: list[tuple[object, object]]
) -> None:
    read = table(tmp_path, "a,b\n" + "".join(f"{a},{b}\n" for a, b in rows))
    inputs, names = encode(read)
    np.testing.assert_array_equal(encode_as(read, names), inputs)
    assert len(names) == inputs.shape[1]


def test_more_columns_than_are_allowed_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "wide.csv"
    file.write_text(",".join(f"c{i}" for i in range(100_000)) + "\n" + "1," * 99_999 + "1\n")
    started = time.process_time()
    with pytest.raises(
        ConfigError, match=r"has 100000 columns, at most 20000 are allowed\. .*STUDIES_MAX_INPUTS=100000"
    ):
        read_table(file)
    assert time.process_time() - started < 2
    monkeypatch.setenv("STUDIES_MAX_INPUTS", "3")
    file.write_text("a,b,c,d\n1,2,3,4\n")
    with pytest.raises(ConfigError, match="has 4 columns, at most 3"):
        read_table(file)
    monkeypatch.setenv("STUDIES_MAX_INPUTS", "4")
    assert len(encode(read_table(file))[1]) == 4
    monkeypatch.setenv("STUDIES_MAX_INPUTS", "many")
    with pytest.raises(ConfigError, match="STUDIES_MAX_INPUTS must be a whole number, got 'many'"):
        read_table(file)


def test_more_categories_than_are_allowed_are_refused_before_they_are_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "texts.csv"
    row = [",".join(f"text{i}" for _ in range(30)) for i in range(1000)]
    file.write_text(",".join(f"c{i}" for i in range(30)) + "\n" + "\n".join(row) + "\n")
    table = read_table(file)
    with pytest.raises(ConfigError, match=r'column "c20": with its 1000 texts, the table has more than 20000 inputs'):
        encode(table)
    monkeypatch.setenv("STUDIES_MAX_INPUTS", "30000")
    assert len(encode(table)[1]) == 30_000


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (os.mkfifo, "must be a regular file, got a pipe"),
        (lambda file: file.symlink_to("/dev/zero"), "must be a regular file, got a device"),
        (Path.mkdir, "must be a regular file, got a folder"),
        (lambda file: (file.touch(), os.truncate(file, 1 << 31)), "cannot be read as CSV: a line has more than"),
    ],
    ids=["pipe", "device", "folder", "sparse"],
)
def test_what_is_not_a_table_is_refused_at_once(tmp_path: Path, make: Callable[[Path], object], problem: str) -> None:
    file = tmp_path / "x.csv"
    make(file)
    with pytest.raises(ConfigError, match=rf"x\.csv: {problem}"):
        read_table(file)
