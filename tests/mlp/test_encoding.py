"""The encoding of tables: its values, what it is fitted on, and that it is the same for one row as for many."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, StandardScaler

from mlp import ConfigError, DataConfig, Dataset, Examples
from mlp import batches as batches_module
from mlp.batches import BatchReader
from mlp.columns import UNSEEN, Column, Schema
from mlp.encoding import TableEncoding
from mlp.numeric_scaling import NumberScale, NumberScaling, fit_number
from mlp.scaling import Scaling
from tests.mlp_data import quick

SCALES: tuple[NumberScale, ...] = ("robust", "standard", "min_max", "quantile", "unit", "none")
NAN = np.nan
SCHEMA = Schema(
    (
        Column("size", "number"),
        Column("day", "date"),
        Column("colour", "category", levels=("blue", "green", "red")),
        Column("flag", "category", levels=("no", "yes")),
        Column("income", "number"),
        Column("kind", "category", levels=("a", "b", "c")),
    )
)


def seconds(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]


def table(n: int = 40, seed: int = 0) -> Any:
    """Return cells of the schema; income and colour have missing cells, kind has none."""
    rng = np.random.default_rng(seed)
    day = seconds(2020, 1, 1) + rng.integers(0, 900, n) * 86400 + rng.integers(0, 24, n) * 3600
    colour = np.where(rng.random(n) < 0.2, NAN, rng.integers(0, 3, n))
    income = np.where(rng.random(n) < 0.3, NAN, rng.lognormal(10, 1, n))
    cells = np.column_stack([rng.normal(5, 2, n), day, colour, rng.integers(0, 2, n), income, rng.integers(0, 3, n)])
    cells[:3, 4], cells[:2, 2] = (NAN, 1.0, 2.0), (NAN, 0.0)
    return cells


def encode(encoding: TableEncoding, cells: Any, dtype: Any = np.float64) -> Any:
    x = np.full((len(cells), encoding.n_inputs(cells.shape[1])), 7, dtype)
    encoding.apply(cells, x)
    return x


def fit(cells: Any, schema: Schema | None = SCHEMA, scale: NumberScale = "robust", rows: Any = None) -> TableEncoding:
    return TableEncoding.fit(cells, np.arange(len(cells)) if rows is None else rows, schema, scale)


def column_of(values: Any, scale: NumberScale) -> Any:
    cells = np.array(values, float)[:, None]
    return encode(fit(cells, None, scale), cells)[:, 0]


def test_the_robust_scale_is_that_of_its_source() -> None:
    values = np.random.default_rng(0).lognormal(size=201)
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    z = (values - median) / (high - low)
    np.testing.assert_allclose(column_of(values, "robust"), z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-12)
    # With equal quartiles, the distance is half the range.
    np.testing.assert_allclose(column_of([0.0] * 9 + [4.0], "robust")[-1], 2 / np.sqrt(1 + 4 / 9))
    assert np.abs(column_of([0.0, 1.0, 2.0, 1e30], "robust")).max() <= 3


@pytest.mark.parametrize("scale", SCALES)
def test_a_constant_column_becomes_zero_and_a_missing_one_too(scale: NumberScale) -> None:
    expected = {"none": 0.1, "unit": 1.0}.get(scale, 0.0)
    np.testing.assert_allclose(column_of([0.1] * 7, scale), expected, atol=1e-12)
    cells = np.full((3, 1), NAN)
    assert encode(fit(cells, None, scale), cells).tolist() == [[0, 1]] * 3


@pytest.mark.parametrize(("scale", "scaler"), [("standard", StandardScaler()), ("min_max", MinMaxScaler())])
def test_a_scale_agrees_with_scikit_learn(scale: NumberScale, scaler: Any) -> None:
    values = np.random.default_rng(0).lognormal(size=99)
    np.testing.assert_allclose(column_of(values, scale), scaler.fit_transform(values[:, None])[:, 0], atol=1e-12)


def test_the_quantile_scale_agrees_with_scikit_learn_within_the_data() -> None:
    values = np.random.default_rng(0).lognormal(size=4000)
    theirs = QuantileTransformer(output_distribution="normal", n_quantiles=1000).fit_transform(values[:, None])[:, 0]
    inside = np.abs(theirs) < 2.5
    np.testing.assert_allclose(column_of(values, "quantile")[inside], theirs[inside], atol=0.02)
    # Equal numbers get the mean of their scores, and every score is finite.
    tied = column_of([0, 0, 0, 1], "quantile")
    assert len(set(tied[:3])) == 1
    assert tied[3] > 0 > tied[0]


@pytest.mark.slow
def test_the_number_of_knots_of_a_wide_table_is_limited() -> None:
    cells = np.random.default_rng(0).normal(size=(500, 1000))
    assert sum(len(scaling.knots) for c in fit(cells, None, "quantile").columns for scaling in c.numbers) <= 100_000


def test_missing_numbers_are_the_median_and_have_an_indicator() -> None:
    cells = np.array([[1.0, 1.0], [2.0, NAN], [30.0, 5.0]])
    schema = Schema((Column("a", "number"), Column("b", "number")))
    encoding = fit(cells, schema, "none")
    assert encode(encoding, cells).tolist() == [[1, 1, 0], [2, 3, 1], [30, 5, 0]]
    assert encoding.names(schema) == ("a", "b", "b is missing")


def test_levels_are_inputs_and_unseen_levels_are_zero() -> None:
    schema = Schema(SCHEMA.columns[2:4])
    cells = np.array([[0, 0], [1, 1], [2, NAN], [NAN, UNSEEN], [UNSEEN, 0]], float)
    encoding = fit(cells, schema)
    assert encoding.names(schema) == ("colour=blue", "colour=green", "colour=red", "colour is missing", "flag=yes")
    assert encode(encoding, cells).tolist() == [
        [1, 0, 0, 0, -1],
        [0, 1, 0, 0, 1],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, -1],
    ]
    # Without a missing cell in training there is no input for it, and one in a later table is zero everywhere.
    complete = fit(cells[:2], schema)
    assert encode(complete, cells[3:4]).tolist() == [[0, 0, 0, 0]]


def test_dates_are_days_years_and_points_on_circles() -> None:
    schema = Schema((Column("day", "date"),))
    moments = [seconds(1970, 1, 1), seconds(2024, 4, 30, 6), NAN, seconds(1969, 12, 31, 18)]
    encoding = fit(np.array(moments)[:, None], schema, "none")
    assert encoding.names(schema) == (
        *("day", "day: year", "day is missing"),
        *("day: sin of month", "day: cos of month", "day: sin of weekday", "day: cos of weekday"),
        *("day: sin of hour", "day: cos of hour"),
    )
    x = encode(encoding, np.array(moments)[:, None])
    stamps = pd.to_datetime(moments, unit="s")
    for row, stamp in enumerate(stamps):
        if stamp is pd.NaT:
            assert x[row, 2:].tolist() == [1, 0, 0, 0, 0, 0, 0]
            continue
        assert x[row, :3].tolist() == [stamp.timestamp() / 86400, stamp.year, 0]
        turns = [(stamp.month - 1) / 12, stamp.weekday() / 7, stamp.hour / 24]
        expected = [f(2 * np.pi * turn) for turn in turns for f in (np.sin, np.cos)]
        np.testing.assert_allclose(x[row, 3:], expected, atol=1e-12)
    assert "day: sin of hour" not in fit(np.array(moments)[:1, None], schema).names(schema)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_row_is_encoded_as_it_is_among_others(scale: NumberScale, dtype: Any) -> None:
    cells, later = table(), np.concatenate([table(9, seed=1), np.full((1, 6), NAN), np.full((1, 6), UNSEEN)])
    encoding = fit(cells, scale=scale)
    many = encode(encoding, later, dtype)
    one_by_one = np.concatenate([encode(encoding, row[None], dtype) for row in later])
    assert many.tobytes() == one_by_one.tobytes()
    assert np.isfinite(many).all()
    assert len(encoding.names(SCHEMA)) == many.shape[1]


@pytest.mark.parametrize("scale", SCALES)
def test_cells_in_a_narrow_type_are_encoded_to_the_same_bits(scale: NumberScale) -> None:
    cells = np.random.default_rng(0).integers(0, 200, (50, 3)).astype(np.uint8)
    wide = cells.astype(np.float64)
    assert fit(cells, None, scale) == fit(wide, None, scale)
    assert encode(fit(wide, None, scale), cells).tobytes() == encode(fit(wide, None, scale), wide).tobytes()


@pytest.mark.parametrize("scale", SCALES)
def test_an_encoding_survives_json(scale: NumberScale) -> None:
    encoding = fit(table(), scale=scale)
    again = TableEncoding.from_mapping(json.loads(json.dumps(encoding.to_mapping())))
    assert again == encoding
    assert encode(again, table(5, seed=2)).tobytes() == encode(encoding, table(5, seed=2)).tobytes()
    assert encoding.fits(SCHEMA)
    assert not encoding.fits(Schema(SCHEMA.columns[:-1]))
    assert not encoding.fits(Schema((*SCHEMA.columns[:-1], Column("kind", "number"))))


@quick
@given(st.lists(st.floats(-1e30, 1e30) | st.just(NAN), min_size=1, max_size=30), st.sampled_from(SCALES))
def test_any_numbers_have_a_scale_that_survives_json_and_gives_finite_inputs(values: list[float], scale: Any) -> None:
    scaling = fit_number(np.array(values), scale)
    assert NumberScaling.from_mapping(json.loads(json.dumps(scaling.to_mapping()))) == scaling
    cells = np.array(values)[:, None]
    assert np.isfinite(encode(fit(cells, None, scale), cells)).all()


@pytest.mark.parametrize("scale", SCALES)
def test_no_value_outside_the_training_part_changes_a_number_of_the_encoding(scale: Any) -> None:
    cells = table(60)
    targets = np.random.default_rng(1).normal(size=(60, 1))
    arrays = cells, targets, cells[:5], targets[:5]
    dataset = Dataset("t", *arrays, ("y",), 1.0, "", schema=SCHEMA)
    config = DataConfig(scale=scale, stratify=False)
    split = dataset.split(config, 0)
    assert split.validation is not None
    changed = cells.copy()
    held = split.validation.rows
    changed[held] = np.where(np.isnan(changed[held]), NAN, changed[held] * 3 + [1e6, 1e9, 0, 0, 1e6, 0])
    changed[held, 2:4] = changed[held, 5] = UNSEEN
    other = Dataset("t", changed, targets * 2, cells[:5] * 9, targets[:5], ("y",), 9.0, "", schema=SCHEMA)
    again = other.split(config, 0)
    np.testing.assert_array_equal(again.train.rows, split.train.rows)
    assert again.train.encoding == split.train.encoding
    moved = cells.copy()
    moved[split.train.rows, 0] *= 3.0
    other = Dataset("t", moved, targets, cells[:5], targets[:5], ("y",), 9.0, "", schema=SCHEMA)
    assert other.split(config, 0).train.encoding != split.train.encoding


def test_the_number_of_inputs_does_not_depend_on_the_split() -> None:
    cells = table(30)
    cells[1:, 4] = 1.0  # a single missing cell
    cells[:, 2] = 0.0
    cells[5, 2] = NAN
    targets = np.arange(30)[:, None] / 7.0
    dataset = Dataset("t", cells, targets, cells[:0], targets[:0], ("y",), 1.0, "", schema=SCHEMA)
    widths = {dataset.split(DataConfig(scale=scale), seed).n_features for seed in range(9) for scale in SCALES}
    assert len(widths) == 1


def test_the_automatic_scale_depends_on_the_data() -> None:
    bytes_, floats = np.arange(20, dtype=np.uint8).reshape(10, 2), np.random.default_rng(0).normal(size=(10, 4))
    y, config = [0, 1] * 5, DataConfig()

    def encoding(x: Any, **options: Any) -> Any:
        return Dataset.from_arrays(x, y, **options).split(config, 0).train.encoding

    assert encoding(bytes_, largest=255.0) == Scaling((1 / 255,))
    assert encoding(floats, largest=2.0, image_shape=(2, 2)) == Scaling((0.5,))
    for x in (floats, bytes_.astype(int), pd.DataFrame(bytes_)):
        assert encoding(x).smooth_clip


def test_examples_of_a_table_cannot_be_scaled_one_by_one() -> None:
    dataset = Dataset.from_arrays(pd.DataFrame({"a": [1.0, 2.0]}), [0, 1])
    with pytest.raises(ConfigError, match=r'"data.scale": is "example", which is for images'):
        dataset.split(DataConfig(scale="example", validation=0), 0)


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_a_reader_reads_the_same_bits_whether_rows_are_encoded_once_or_page_by_page(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches_module, "MAX_ENCODED", limit)
    cells, rows = table(700), np.arange(3, 700, 2)
    encoding = fit(cells, rows=rows)
    examples = Examples(cells, np.zeros(700, int), rows, encoding)
    reader = BatchReader(examples, 16, np.float32)
    order = np.random.default_rng(0).permutation(rows)
    reader.set_order(order)
    read = np.concatenate([reader.read(start, min(start + 16, len(order))) for start in range(0, len(order), 16)])
    assert read.tobytes() == encode(encoding, cells[order], np.float32).tobytes()
    assert bool(examples.encoded) == bool(limit)
