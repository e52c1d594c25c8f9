"""CSV files: every cell is read as it is in the file, whatever the separator, the encoding and the ends of lines."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlp.data_config import DataConfig
from mlp.errors import ConfigError
from studies.data.reading import rows
from studies.data.reading.files import read_table
from studies.data.table import Table


def read(content: str | bytes, written_in: str = "utf-8", **options: Any) -> Table:
    stream = io.BytesIO(content if isinstance(content, bytes) else content.encode(written_in))
    return read_table(stream, DataConfig(file="x.csv", **options), name="x.csv")


def cells(table: Table) -> dict[str, list[str]]:
    return {name: table.values(name).tolist() for name in table.names}


def lines(table: Table) -> list[int]:
    return [table.line(row) for row in range(len(table))]


def refusal(content: str | bytes, **options: Any) -> str:
    with pytest.raises(ConfigError) as error:
        read(content, **options)
    assert str(error.value).startswith("x.csv: ")
    return str(error.value).removeprefix("x.csv: ")


TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r\n\ufeff"), max_size=8)
CELL = TEXT | st.sampled_from(["", "1.5", "1,5", '"', '""', ' "x"', "a\nb", "a\r\nb", ";", "\t", "|", "007", "#1"])
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(2, 4).flatmap(lambda n: st.lists(st.tuples(*[CELL] * n), min_size=1, max_size=20)),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from(ENCODINGS),
)
def test_what_the_csv_module_writes_is_read_as_it_was(
    table: list[tuple[str, ...]], separator: str, line_end: str, quoting: Any, encoding: str
) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=separator, lineterminator=line_end, quoting=quoting)
    names = [f"column {number}" for number in range(len(table[0]))]
    writer.writerows([names, *table])
    stated = encoding if encoding in ("utf-16-le", "utf-16-be") else "auto"
    result = read(stream.getvalue().encode(encoding), separator=separator, encoding=stated)
    assert cells(result) == {name: list(column) for name, column in zip(names, zip(*table, strict=True), strict=True)}


WORD = st.text("abcxyzäß -_/:", min_size=1, max_size=8) | st.integers().map(str) | st.sampled_from(["", "1.5", "x, y"])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 5).flatmap(lambda n: st.lists(st.tuples(*[WORD] * n), min_size=1, max_size=20)),
    st.sampled_from(",;\t|"),
)
def test_the_separator_of_any_table_of_words_and_numbers_is_detected(
    table: list[tuple[str, ...]], separator: str
) -> None:
    stream = io.StringIO()
    names = [f"column {number}" for number in range(len(table[0]))]
    csv.writer(stream, delimiter=separator).writerows([names, *table])
    rows = list(zip(*table, strict=True))
    assert cells(read(stream.getvalue())) == {name: list(row) for name, row in zip(names, rows, strict=True)}


@pytest.mark.parametrize("n", [1, 7, 100])
def test_rows_that_lie_in_several_blocks_are_read_like_those_in_one(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'a,b\n1,"x\ny, ""z"""\n\n# no row\n2\r\n3,"é"\n' * 3
    whole = read(text)
    monkeypatch.setattr(rows, "BLOCK", n)
    monkeypatch.setattr("studies.data.reading.content.CHUNK", 16)
    monkeypatch.setattr("studies.data.reading.csv_file.N_HEAD", 60)
    divided = read(text)
    assert cells(divided) == cells(whole)
    assert lines(divided) == lines(whole)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_detected(separator: str) -> None:
    table = read(f"a{separator}b\n1.5{separator}x y\n2{separator}z\n")
    assert cells(table) == {"a": ["1.5", "2"], "b": ["x y", "z"]}
    shown = "tab" if separator == "\t" else f'"{separator}"'
    assert table.reading == f"x.csv: 2 rows, 2 columns; separator {shown}, UTF-8."


@pytest.mark.parametrize(
    ("text", "header", "expected"),
    [
        ("a;b\n1,5;2,5\n3,5;4,5\n", True, {"a": ["1,5", "3,5"], "b": ["2,5", "4,5"]}),
        ("1,5;2,5\n3,5;4,5\n", False, {"column_1": ["1,5", "3,5"], "column_2": ["2,5", "4,5"]}),
        ('a,b\n"x;y",1\n"z;w",2\n', True, {"a": ["x;y", "z;w"], "b": ["1", "2"]}),
        ("a\tb\nx, y\t1\nz, w\t2\n", True, {"a": ["x, y", "z, w"], "b": ["1", "2"]}),
        ("sep=|\na|b\n1|2\n", True, {"a": ["1"], "b": ["2"]}),
    ],
    ids=["decimal comma", "without names", "quoted", "text with commas", "stated as Excel does"],
)
def test_a_mark_inside_cells_is_not_taken_for_the_separator(
    text: str, header: bool, expected: dict[str, list[str]]
) -> None:
    assert cells(read(text, header=header)) == expected


def test_the_separator_can_be_given() -> None:
    assert cells(read("a;b,c\n1;2,3\n", separator=",")) == {"a;b": ["1;2"], "c": ["3"]}
    assert cells(read("a:b\n1:2\n", separator=":")) == {"a": ["1"], "b": ["2"]}
    assert cells(read("a\tb\n1\t2\n", separator="tab")) == {"a": ["1"], "b": ["2"]}
    assert refusal("a\n1\n", separator="::") == '"separator": must be one character such as ; or tab, got "::".'


WESTERN = "größe;stadt\n1,5;Köln\n2;Málaga\n"


@pytest.mark.parametrize(
    ("text", "encoding", "shown"),
    [
        (WESTERN, "utf-8", "UTF-8"),
        (WESTERN, "utf-8-sig", "UTF-8"),
        (WESTERN, "utf-16", "UTF-16"),
        (WESTERN, "utf-16-le", "UTF-16-LE"),
        (WESTERN, "utf-16-be", "UTF-16-BE"),
        (WESTERN, "latin-1", "CP1252"),
        (WESTERN, "cp1252", "CP1252"),
        ("preis;einheit\n1;€/m²\n2;°C\n", "cp1252", "CP1252"),
        ("id;label\n1;café\n", "cp1252", "CP1252"),
        ("имя;город\nИван;Москва\n", "cp1251", "CP1251"),
        ("jméno;město\nŽižka;Děčín\nŘehoř;Plzeň\n", "cp1250", "CP1250"),
        ("名前;都市\n東京;大阪\n", "shift_jis", "SHIFT_JIS"),
    ],
)
def test_the_encoding_is_detected(text: str, encoding: str, shown: str) -> None:
    table = read(text, encoding)
    assert table.reading.endswith(f'separator ";", {shown}.')
    assert cells(table) == cells(read(text))
    assert bool(table.notices) == (not shown.startswith("UTF"))


def test_a_byte_order_mark_is_skipped_when_the_encoding_is_given() -> None:
    for encoding in ("utf-8", "utf-16-le", "utf-16"):
        text = "a;b\n1;é\n" if encoding == "utf-16" else "\ufeffa;b\n1;é\n"
        assert cells(read(text, encoding, encoding=encoding)) == {"a": ["1"], "b": ["é"]}


def test_letters_that_appear_late_in_a_file_are_read_like_early_ones() -> None:
    text = "a,b\n" + "1,x\n" * 600_000 + "2,é\n"
    table = read(text, "cp1252")
    assert (len(table), table.values("b")[-1]) == (600_001, "é")


def test_the_encoding_can_be_given() -> None:
    assert cells(read("a;b\n1;Ł\n".encode("cp1250"), encoding="cp1250")) == {"a": ["1"], "b": ["Ł"]}
    assert refusal("a;b\n1;é\n".encode("latin-1"), encoding="utf-8").startswith(
        "line 2: the byte 0xe9 is not valid in utf-8. Set data.encoding"
    )
    assert refusal("a\n1\n", encoding="uft8").endswith('got "uft8". Did you mean "utf-8"?')
    assert refusal("a\n1\n", encoding="zip").startswith('"encoding": must be an encoding')


def test_a_few_damaged_bytes_of_a_utf_8_file_are_an_error_with_their_line() -> None:
    content = "a,b\né,ü\nà,ç\n".encode() + b"\xe9,1\n"
    assert refusal(content).startswith("line 4: the byte 0xe9 is not valid in UTF-8, which the rest of the file is.")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "open"])
def test_lines_of_every_system_are_counted(end: str, last: bool) -> None:
    text = end.join(["a,b", "1,2", "", '3,"x', 'y"', "4,5"]) + end * last
    table = read(text)
    assert cells(table) == {"a": ["1", "3", "4"], "b": ["2", f"x{end}y", "5"]}
    assert lines(table) == [2, 4, 6]
    assert table.notices == ("1 empty line was skipped: line 3.",)


@pytest.mark.parametrize(
    ("text", "expected", "on_lines"),
    [
        ("# by me, 2024\na,b\n1,2\n# later\n3,4\n", {"a": ["1", "3"], "b": ["2", "4"]}, [3, 5]),
        ("# by me\n\n# again\na,b\n1,2\n", {"a": ["1"], "b": ["2"]}, [5]),
        ("#id,b\n1,2\n", {"#id": ["1"], "b": ["2"]}, [2]),
        ("#id,name\nx1,bob\n", {"#id": ["x1"], "name": ["bob"]}, [2]),
        ("# from a file\n#id,b\n1,2\n", {"#id": ["1"], "b": ["2"]}, [3]),
        ("# a,b\n1,2\n3,4\n", {"a": ["1", "3"], "b": ["2", "4"]}, [2, 3]),
        ("rank,b\n#1,2\n#2,4\n", {"rank": ["#1", "#2"], "b": ["2", "4"]}, [2, 3]),
        ("colour\n#ff0000\n# a comment\n#00ff00\n", {"colour": ["#ff0000", "#00ff00"]}, [2, 4]),
    ],
    ids=["comments", "blank between", "id", "texts", "comment and id", "numpy", "data", "one column"],
)
def test_comments_are_skipped_but_names_and_data_with_their_mark_are_kept(
    text: str, expected: dict[str, list[str]], on_lines: list[int]
) -> None:
    table = read(text)
    assert cells(table) == expected
    assert lines(table) == on_lines


def test_hundreds_of_comments_may_come_first() -> None:
    table = read("# x, y, z\n" * 1000 + "a;b\n1;2\n")
    assert (cells(table), lines(table)) == ({"a": ["1"], "b": ["2"]}, [1002])
    assert cells(read("\n" * 1000 + "a;b\n1;2\n")) == {"a": ["1"], "b": ["2"]}


def test_skipped_and_filled_lines_are_counted_in_notices() -> None:
    table = read("# x\na,b\n1,2\n\n3\n   \n# y\n5,6\n")
    assert cells(table) == {"a": ["1", "3", "5"], "b": ["2", "", "6"]}
    assert table.notices == (
        "2 comment lines were skipped, the first of them line 1.",
        "2 empty lines were skipped, the first of them line 4.",
        "1 line had too few cells and was filled: line 5.",
    )


@pytest.mark.parametrize("text", ["a,b\n1,2,\n3,4,\n5,6\n", "a,b,\n1,2,\n3,4,\n5,6,\n", "a,b\n1,2\n3,4,,\n5,6,\n"])
def test_separators_at_the_end_of_lines_make_no_column(text: str) -> None:
    assert cells(read(text)) == {"a": ["1", "3", "5"], "b": ["2", "4", "6"]}


def test_columns_without_a_name_get_one_and_a_notice() -> None:
    table = read(",a,\n1,2,3\n")
    assert table.names == ["column_1", "a", "column_3"]
    assert [notice for notice in table.notices if "no name" in notice] == [
        "1 column has no name: column_1.",
        "1 column has no name: column_3.",
    ]


def test_a_file_without_names_has_numbered_columns() -> None:
    assert cells(read("1,x\n2,y\n", header=False)) == {"column_1": ["1", "2"], "column_2": ["x", "y"]}
    assert lines(read("1,x\n2,y\n", header=False)) == [1, 2]
    assert read("1,2\n3,4\n").notices == (
        "The first line, 1, 2, ..., was taken as the names of the columns. If it is a row, set data.header = false.",
    )


def test_byte_order_marks_blank_lines_spaces_and_quotes_of_spreadsheets_are_understood() -> None:
    table = read('\ufeff a , "b, c"\r\n\r\n1, "x, y"\r\n   \r\n2, "say ""hi"""\r\n\r\n')
    assert cells(table) == {"a": ["1", "2"], "b, c": ["x, y", 'say "hi"']}
    assert lines(table) == [3, 5]


def test_quotes_inside_texts_are_kept() -> None:
    table = read('size,n\n5" pipe,1\n# no row\n\n"6"" pipe",2\n7"\n')
    assert cells(table) == {"size": ['5" pipe', '6" pipe', '7"'], "n": ["1", "2", ""]}
    assert lines(table) == [2, 5, 6]
    assert len(table.notices) == 3


REFUSED = {
    "empty": ("", "is empty. Its first line must name the columns."),
    "blank": ("\n  \n\n", "is empty. Its first line must name the columns."),
    "no row": ("a,b\n", "must have at least one row below the names of its columns."),
    "a repeated name": ("a,b, a\n1,2,3\n", '2 columns are called "a". Rename them, as each name must be unique.'),
    "a row instead of names": ("1,1\n2,3\n", '2 columns are called "1". Rename them, as each name must be unique. If'),
    "too many cells": (
        "a,b\n1,2\n4,5,6\n",
        'line 3: must have 2 cells, one per column, got 3. Put a text that contains the separator "," in quo',
    ),
    "a title": ("Report\n\na,b,c\n1,2,3\n", "line 3: has 3 cells, but the line with the names of the columns has one."),
    "too many cells in all lines": ("a,b\n1,2,3\n4,5,6\n", "line 2: must have 2 cells, one per column, got 3."),
    "too many cells and a quote": ('a,b\n1",2\n4,5,6\n', "line 3: must have 2 cells, one per column, got 3."),
    "an open quote": ('a,b\n1,"2\n3,4\n', "line 2: a quote is not closed. Close it, or write quotes inside quoted"),
    "an open quote after others": ('a,b\nx"y,"2\n3,4\n', "line 2: a quote is not closed."),
    "too few cells in most lines": ("a,b\n" + "1\n" * 2000, "line 2: must have 2 cells, one per column, as must most"),
    "zeros": (b"a,b\n1,\0\n", "is not a text file: it contains zero bytes. Save the table as CSV."),
    "a workbook": (b"\xd0\xcf\x11\xe0" + bytes(500), "is an Excel or other Office file. Save the table as CSV."),
}


@pytest.mark.parametrize(("content", "problem"), REFUSED.values(), ids=REFUSED)
def test_an_unusable_file_is_refused_by_line(content: str | bytes, problem: str) -> None:
    assert refusal(content).startswith(problem)


def test_one_column_is_read_with_a_notice() -> None:
    table = read("a\n1\n2\n")
    assert cells(table) == {"a": ["1", "2"]}
    assert table.notices[0].startswith("Only one column was found.")


def test_an_encoding_that_needs_a_mark_is_refused_without_one() -> None:
    with pytest.raises(ConfigError, match=r"is not a text in utf-16: .*Set data.encoding"):
        read_table(io.BytesIO(b"a,b\n1,2\n"), DataConfig(file="x.csv", encoding="utf-16"))
