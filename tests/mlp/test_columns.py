import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp.columns import MISSING_WORDS, UNSEEN, Column, Schema, pack
from mlp.errors import ConfigError

COLOUR = Column("colour", "category", levels=("blue", "red", "other"), pooled=("mauve", "ochre"))
SCHEMA = Schema((Column("size", "number"), COLOUR, Column("day", "date", format="%d.%m.%Y")))
ROWS: list[dict[str, Any]] = [
    {"size": "1,000", "colour": "red", "day": "01.01.1970"},
    {"size": "", "colour": "mauve", "day": "02.01.1970"},
    {"size": "$3", "colour": "green", "day": "NA"},
]
CELLS = np.array([[1000, 1, 0], [np.nan, 2, 86400], [3, UNSEEN, np.nan]])


def test_cells_are_numbers_codes_and_seconds() -> None:
    np.testing.assert_array_equal(SCHEMA.read(ROWS), CELLS)


def test_every_form_of_a_table_gives_the_same_cells() -> None:
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    frame = pd.DataFrame(columns)
    lists = [list(row.values()) for row in ROWS]
    for table in (columns, frame, frame.astype("category"), frame[["day", "size", "colour"]], lists, np.array(lists)):
        np.testing.assert_array_equal(SCHEMA.read(table), CELLS)
    np.testing.assert_array_equal(SCHEMA.read(frame.assign(extra=1)), CELLS)
    np.testing.assert_array_equal(SCHEMA.read(ROWS[0]), CELLS[:1])


def test_typed_values_give_the_cells_of_their_texts() -> None:
    frame = pd.DataFrame(
        {
            "size": pd.Series([1000, None, 3], dtype="Int64"),
            "colour": pd.Series(["red", "mauve", "green"], dtype="string"),
            "day": pd.to_datetime(["1970-01-01", "1970-01-02", None]),
        }
    )
    np.testing.assert_array_equal(SCHEMA.read(frame), CELLS)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ConfigError, match=r'there is no column "size", which the model needs. Did you mean "sise"\?'):
        SCHEMA.read({"sise": [1], "colour": ["red"], "day": ["01.01.1970"]})
    with pytest.raises(ConfigError, match='2 columns are missing: "size", "day"'):
        SCHEMA.read({"colour": ["red"]})
    with pytest.raises(ConfigError, match='row 1: there is no column "day"'):
        SCHEMA.read([ROWS[0], {"size": 1, "colour": "red"}])
    with pytest.raises(ConfigError, match=r"must have shape \(n, 3\)"):
        SCHEMA.read([[1, 2]])


def test_a_column_that_is_there_twice_is_refused_if_it_is_needed() -> None:
    frame = pd.DataFrame([[1, "red", "01.01.1970", 5, 5]], columns=["size", "colour", "day", "x", "x"])
    assert SCHEMA.read(frame).tolist() == [[1, 1, 0]]
    with pytest.raises(ConfigError, match='the column "size" appears more than once'):
        SCHEMA.read(frame.set_axis(["size", "colour", "day", "x", "size"], axis=1))


def test_a_value_that_cannot_be_read_is_named_with_its_row() -> None:
    with pytest.raises(ConfigError, match=r"column \"size\", row 1: 'big' is not a number\. Correct it"):
        SCHEMA.read({"size": [1, "big"], "colour": ["red"] * 2, "day": ["01.01.1970"] * 2})
    with pytest.raises(ConfigError, match=r"column \"day\", row 0: '1970-01-01' is not a date in the format %d.%m.%Y"):
        SCHEMA.read({"size": [1], "colour": ["red"], "day": ["1970-01-01"]})
    with pytest.raises(ConfigError, match=r"row 0: inf is not a number that is finite and at most 1e\+30"):
        SCHEMA.read({"size": [np.inf], "colour": ["red"], "day": [None]})
    with pytest.raises(ConfigError, match='column "colour" must have 1 values'):
        SCHEMA.read({"size": [1], "colour": ["red", "red"], "day": [None]})


def test_levels_are_found_by_their_text_first() -> None:
    column = Column("c", "category", levels=("1", "1.0", "007", "8", "1.50", "None", "True", "3+"))
    texts = ["1", "1.0", "007", "7", "8.0", "1.5", "None", "true", "3", " 8 "]
    assert column.parse(texts).tolist() == [0, 1, 2, UNSEEN, 3, 4, 5, 6, UNSEEN, 3]
    # Zeros in front are lost where a code was read as a number, and booleans are spelt by their type.
    assert column.parse([7, 8, 1.5]).tolist() == [2, 3, 4]
    assert column.parse([True]).tolist() == [6]
    assert column.parse(np.array([7.0, 8.0, np.nan])).tolist()[:2] == [2, 3]
    assert Column("c", "category", levels=("false", "true")).parse([True, False]).tolist() == [1, 0]
    # Two levels are the same number, so that another spelling of it decides for neither.
    assert column.parse(["1.00"]).tolist() == [UNSEEN]


def test_none_is_a_level_and_missing_words_are_not() -> None:
    column = Column.of_category("c", ["None", "Mild", "NA", None, np.nan, " Mild", ""])
    assert column.levels == ("Mild", "None")
    np.testing.assert_array_equal(column.parse(["None", "NA", None]), [1, np.nan, np.nan])
    assert Column.of_category("c", ["NA", "x"], missing=[""]).levels == ("NA", "x")


def test_levels_keep_their_text_and_are_in_numeric_order() -> None:
    assert Column.of_category("c", ["10", "9", "007"]).levels == ("007", "9", "10")
    assert Column.of_category("c", [10, 9.0, None]).levels == ("9", "10")
    assert Column.of_category("c", pd.Series([True, False])).levels == ("False", "True")


@given(
    st.lists(
        st.one_of(st.sampled_from(["red", "blue", "mauve", "green", "", "1"]), st.none(), st.integers(0, 3)), max_size=8
    )
)
def test_one_row_is_read_as_it_is_among_others(values: list[Any]) -> None:
    codes = COLOUR.parse(values)
    for value, code in zip(values, codes, strict=True):
        np.testing.assert_array_equal(COLOUR.parse([value]), [code])


NAMES = st.text(min_size=1, max_size=6).filter(lambda text: text.isprintable())
COLUMNS = st.one_of(
    st.builds(Column, NAMES, st.just("number"), decimal=st.sampled_from([".", ","]), integer=st.booleans()),
    st.builds(Column, NAMES, st.just("date"), format=st.sampled_from(["", "%d.%m.%Y"])),
    st.builds(Column, NAMES, st.just("category"), levels=st.lists(NAMES, unique=True, max_size=4).map(tuple)),
)


@given(st.lists(COLUMNS, min_size=1, max_size=4, unique_by=lambda column: column.name))
def test_a_schema_survives_json(columns: list[Column]) -> None:
    schema = Schema(tuple(columns))
    assert Schema.from_mapping(json.loads(json.dumps(schema.to_mapping()))) == schema


def test_unseen_levels_are_counted() -> None:
    assert SCHEMA.count_unseen(CELLS) == {"colour": 1}
    assert SCHEMA.count_unseen(CELLS[:2]) == {}


def test_wrong_columns_and_schemas_are_refused() -> None:
    with pytest.raises(ConfigError, match="twice"):
        Schema((Column("a", "number"), Column("a", "date")))
    with pytest.raises(ConfigError, match="at least one column"):
        Schema(())
    with pytest.raises(ConfigError, match="twice"):
        Column("a", "category", levels=("x", "x"))
    with pytest.raises(ConfigError, match='must be empty for a column of kind "number"'):
        Column("a", "number", levels=("x",))
    assert "None" not in MISSING_WORDS


@pytest.mark.parametrize(
    ("cells", "dtype"),
    [
        ([[0, 255]], np.uint8),
        ([[0, 256]], np.float32),
        ([[0.5, np.nan]], np.float32),
        ([[0.1, 1]], np.float64),
        ([[-1]], np.float32),
    ],
)
def test_cells_are_packed_without_loss(cells: list[list[float]], dtype: type) -> None:
    packed = pack(np.array(cells))
    assert packed.dtype == dtype
    np.testing.assert_array_equal(packed, cells)


def test_true_and_false_are_found_in_any_case_because_spreadsheets_write_them_in_capitals() -> None:
    column = Column("a", "category", levels=("False", "True"))
    assert column.parse(["TRUE", "false", True, np.bool_(False), "tru"]).tolist() == [1, 0, 1, 0, -1]
    both = Column("a", "category", levels=("TRUE", "True"))
    assert both.parse(["TRUE", "True", "true"]).tolist() == [0, 1, -1]
    assert Column("a", "category", levels=("Red", "blue")).parse(["red"]).tolist() == [-1]
