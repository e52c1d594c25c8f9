"""Rows whose quotes are not where RFC 4180 has them, such as `5" pipe` or a space before a quote.

They are read by the csv module of Python, which takes several times as long as pyarrow.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator

from mlp.errors import ConfigError
from studies.data.reading.rows import MAX_ROW, open_quote_error

N_CELLS = 200_000  # that are parsed at a time
END = "\0"  # follows the last line; no text contains it


def parse_rows(
    chunks: Iterable[bytes], separator: str, line: int, n_cells: int
) -> Iterator[tuple[list[list[str]], list[int]]]:
    """Yield groups of rows: the cells of each, and the line on which each begins.

    Args:
        chunks: the text in UTF-8, from the beginning of a row.
        separator: the separator of cells.
        line: the line of the file on which the text begins, counted from 1.
        n_cells: the usual number of cells of a row.

    Raises:
        ConfigError: if a quote is not closed or a row is too long.
    """
    chunks = iter(chunks)
    first = next(chunks, b"")
    # As some programs write: "a", "b".
    is_spaced = separator != " " and f'{separator} "'.encode() in first
    texts = itertools.chain(_lines(itertools.chain([first], chunks), line), [END])
    reader = csv.reader(texts, delimiter=separator, skipinitialspace=is_spaced)
    rows: list[list[str]] = []
    lines: list[int] = []
    begins = line
    try:
        for cells in reader:
            if cells == [END]:
                break
            rows.append(cells or [""])
            lines.append(begins)
            begins = line + reader.line_num
            if len(rows) * n_cells >= N_CELLS:
                yield rows, lines
                rows, lines = [], []
    except csv.Error:  # a cell of more than 131,072 characters
        problem = f"line {begins}: a cell has more than {csv.field_size_limit()} characters. Is a quote not closed?"
        raise ConfigError(problem) from None
    if rows and rows[-1][-1].endswith(END):
        raise open_quote_error(lines[-1])
    yield rows, lines


def _lines(chunks: Iterable[bytes], line: int) -> Iterator[str]:
    """Yield the lines of a text; each has an end."""
    rest = b""
    for chunk in chunks:
        lines = (rest + chunk).splitlines(keepends=True)
        rest = lines.pop() if lines else b""
        if len(rest) > MAX_ROW:
            raise ConfigError(f"line {line + len(lines)} has more than {MAX_ROW:,} bytes.")
        line += len(lines)
        yield from map(bytes.decode, lines)
    if rest:
        yield rest.decode() if rest.endswith((b"\n", b"\r")) else f"{rest.decode()}\n"
