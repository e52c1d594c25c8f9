"""The values of a column of a Parquet file as an array of NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa


def to_numpy(column: pa.ChunkedArray) -> Array:
    """Return a column, shape (n,): as `Table.values` describes it.

    Dictionaries become their values, decimals and durations (in seconds) become floats, times of day become texts. A
    time with a zone is converted to UTC.

    Raises:
        ConfigError: if the values are lists, structures or bytes; the message does not name the file.
    """
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if _is_text(kind) or pa.types.is_null(kind):
        return _objects(column)
    if pa.types.is_boolean(kind):
        flags: Array = _objects(column) if column.null_count else column.to_numpy()
        return flags
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        # `safe=False` drops nanoseconds.
        moments: Array = column.cast(pa.timestamp("us"), safe=False).to_numpy()
        return moments
    if pa.types.is_time(kind):
        return _objects(column.cast(pa.string()))
    if pa.types.is_duration(kind):
        ticks = column.cast(pa.duration("us"), safe=False).to_numpy()
        seconds: Array = ticks.astype(np.int64) / 1e6
        seconds[np.isnat(ticks)] = np.nan
        return seconds
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        problem = f"has the type {kind}, which is neither numbers, texts, booleans nor dates. Drop it with data.drop."
        raise ConfigError(problem)
    numbers: Array = column.to_numpy()  # NaN where a value is missing
    return numbers


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _objects(column: pa.ChunkedArray) -> Array:
    return np.fromiter(column.to_pylist(), object, len(column))
