"""Parquet files, of which only the description is trusted that their size allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlp.errors import ConfigError
from studies.data.reading.content import FREE_EXPANDED, MAX_EXPANDED, Content
from studies.data.table import Lines, Table, check_names, describe_size

if TYPE_CHECKING:
    import pyarrow as pa

MAX_DESCRIPTION = 1 << 26  # bytes of the texts and entries that describe a file
MAX_RATIO = 2000  # of the size in memory to that of the file; a column of few distinct values compresses very well
BATCH = 1 << 16  # rows


def read_parquet(content: Content, file: str) -> Table:
    """Return the table in a Parquet file, with its own types.

    Args:
        content: the open file.
        file: how the user named the file.

    Raises:
        ConfigError: if it cannot be read; the message does not name the file.
    """
    import pyarrow as pa
    from pyarrow import parquet

    content.stream.seek(0)
    try:
        source = parquet.ParquetFile(
            content.stream,
            thrift_string_size_limit=MAX_DESCRIPTION,
            thrift_container_size_limit=MAX_DESCRIPTION >> 6,
        )
        _check_description(source, content.size)
        whole = _read_bounded(source, content.size)
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"is a damaged Parquet file: {str(error).strip().splitlines()[0]}") from None
    if not len(whole):
        raise ConfigError("must have at least one row.")
    columns = dict(zip(whole.column_names, whole.columns, strict=True))
    reading = f"{file}: {describe_size(len(whole), len(columns))}; Parquet."
    return Table(file, columns, len(whole), Lines.from_line(1), has_types=True, reading=reading)


def _check_description(source: pa.parquet.ParquetFile, n_bytes: int) -> None:
    """Refuse a file that describes more than it can contain, before memory is allocated for it."""
    names = source.schema_arrow.names
    if not names:
        raise ConfigError("must have at least one column.")
    check_names(names)
    metadata = source.metadata
    if metadata.num_row_groups > n_bytes:
        raise ConfigError(f"describes {metadata.num_row_groups} row groups, which it cannot contain.")
    declared = metadata.num_rows * len(names)
    for index in range(metadata.num_row_groups):
        declared = max(declared, metadata.row_group(index).total_byte_size)
    _check_size(declared, n_bytes)


def _check_size(n_expanded: int, n_bytes: int) -> None:
    if n_expanded > MAX_EXPANDED or n_expanded > max(FREE_EXPANDED, MAX_RATIO * n_bytes):
        problem = f"expands from {n_bytes} to at least {n_expanded} bytes, which is too much"
        raise ConfigError(f"{problem}. If you trust it, write its table as CSV.")


def _read_bounded(source: pa.parquet.ParquetFile, n_bytes: int) -> pa.Table:
    """Return all rows, of which not more are read than `_check_size` allows."""
    import pyarrow as pa

    batches, n_expanded = [], 0
    for batch in source.iter_batches(max(1, min(BATCH, (1 << 22) // len(source.schema_arrow.names)))):
        n_expanded += batch.nbytes
        _check_size(n_expanded, n_bytes)
        batches.append(batch)
    return pa.Table.from_batches(batches, source.schema_arrow)
