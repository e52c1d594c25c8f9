"""CSV files: all columns are read as texts, by pyarrow, after lines that are not rows have been taken out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from mlp.data_config import DataConfig
from studies.data.reading.collector import RowCollector
from studies.data.reading.content import Content
from studies.data.reading.dialect import SHOWN, find_dialect
from studies.data.reading.encodings import NotUtf8Error, check_encoding, find_unicode, guess_encoding, to_utf8
from studies.data.reading.rows import RowFinder, UnusualQuotesError
from studies.data.reading.unusual_rows import parse_rows
from studies.data.table import Table

N_HEAD = 1 << 22  # bytes in which the line with the names must end


def read_csv(content: Content, config: DataConfig, file: str) -> Table:
    """Return the table in a CSV file.

    Args:
        content: the open file.
        config: whether a line names the columns, the separator and the encoding.
        file: how the user named the file.

    Raises:
        ConfigError: if it is not a table; the message does not name the file.
    """
    check_encoding(config.encoding)
    content.check_size()
    try:
        return _read(content, config, config.encoding, file)
    except NotUtf8Error as error:
        encoding = guess_encoding(error)
    notice = f"The text is not UTF-8 and was read as {encoding}. If letters are wrong, set data.encoding."
    return _read(content, config, encoding, file, notice)


def _read(content: Content, config: DataConfig, encoding: str, file: str, *notices: str) -> Table:
    chunks = to_utf8(content.chunks(), encoding)
    head = b""
    while len(head) < N_HEAD and (chunk := next(chunks, b"")):
        head += chunk
    dialect = find_dialect(head, config, is_complete=len(head) < N_HEAD)
    rows = RowCollector(dialect)
    _collect(rows, itertools.chain([head[dialect.start :]], chunks))
    if encoding == "auto":
        encoding = find_unicode(next(content.chunks(), b"")) or "utf-8"
    separator = SHOWN.get(dialect.separator, f'"{dialect.separator}"')
    return rows.table(file, f"separator {separator}, {encoding.upper()}", notices)


def _collect(rows: RowCollector, chunks: Iterator[bytes]) -> None:
    """Give all rows of a text to a collector."""
    separator = rows.dialect.separator
    finder = RowFinder(chunks, separator, rows.dialect.line)
    try:
        for block in finder.blocks():
            rows.add_block(block)
    except UnusualQuotesError:
        for cells, lines in parse_rows(finder.remaining(), separator, finder.line, rows.dialect.n_cells):
            rows.add_cells(cells, lines)
