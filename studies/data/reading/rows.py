"""Where the rows of a CSV file are: the ends of rows and the number of their cells, found without parsing them.

pyarrow parses quickly, but says neither on which line a row begins, nor how many cells a wrong one has, nor does it
skip comments. One pass of NumPy over the bytes does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError

BLOCK = 1 << 22  # bytes
MAX_ROW = 10_000_000  # bytes; a larger one is no table, or a quote is not closed
LF, CR, QUOTE, SPACE, HASH = b"\n"[0], b"\r"[0], b'"'[0], b" "[0], b"#"[0]


@dataclass(frozen=True)
class Block:
    """Complete rows of a file, one after another.

    Attributes:
        content: the rows, each with the end of its line; the last one has one too.
        starts: where each row begins, shape (n,).
        n_cells: the number of cells of each row, shape (n,).
        lines: the line on which each row begins, counted from 1 in the file, shape (n,).
    """

    content: bytes
    starts: Array
    n_cells: Array
    lines: Array

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Array:
        """The number of bytes of each row, shape (n,)."""
        return np.diff(self.starts, append=len(self.content))

    @property
    def is_blank(self) -> Array:
        """Whether each row contains nothing but blanks, shape (n,)."""
        if not (self.n_cells == 1).any():
            return np.zeros(len(self), bool)
        has_text: Array = np.logical_or.reduceat(self._bytes > SPACE, self.starts)
        is_blank: Array = (self.n_cells == 1) & ~has_text
        return is_blank

    @property
    def is_marked(self) -> Array:
        """Whether each row begins with `#`, shape (n,)."""
        is_hash: Array = self._bytes[self.starts] == HASH
        return is_hash

    @property
    def is_spaced(self) -> Array:
        """Whether the second character of each row is a space, shape (n,)."""
        is_space: Array = self._bytes[np.minimum(self.starts + 1, len(self.content) - 1)] == SPACE
        return is_space

    @property
    def _bytes(self) -> Array:
        return np.frombuffer(self.content, np.uint8)

    def row(self, index: int) -> bytes:
        """Return a row without the end of its line."""
        start = int(self.starts[index])
        end = int(self.starts[index + 1]) if index + 1 < len(self) else len(self.content)
        return self.content[start:end].rstrip(b"\r\n")

    def keep(self, is_kept: Array) -> bytes:
        """Return the content of some rows."""
        return self.content if is_kept.all() else self._bytes[np.repeat(is_kept, self.lengths)].tobytes()


class UnusualQuotesError(Exception):
    """Quotes are not where RFC 4180 has them, so that only a parser knows where the rows are."""


class RowFinder:
    """Divides a text into blocks of complete rows.

    Args:
        chunks: the text in UTF-8, from the beginning of a row.
        separator: the separator of cells.
        line: the line of the file on which the text begins, counted from 1.

    Attributes:
        line: the line on which the row begins that is in no block yet.
    """

    def __init__(self, chunks: Iterable[bytes], separator: str, line: int) -> None:
        self.line = line
        self._chunks = iter(chunks)
        self._separator = ord(separator)
        self._rest = b""  # what was read and is in no block yet

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks.

        Raises:
            UnusualQuotesError: if `remaining` must be parsed instead.
            ConfigError: if a row is too long or a quote is not closed.
        """
        is_last = False
        size = BLOCK
        while not is_last:
            is_last = self._fill(size)
            if is_last and self._rest and not self._rest.endswith((b"\n", b"\r")):
                self._rest += b"\n"
            block = self._cut(is_last)
            if block is not None:
                size = BLOCK
                yield block
            elif self._rest:
                self._check_open_row(is_last)
                size = min(2 * len(self._rest) + BLOCK, MAX_ROW + 1)
        if self._rest:
            self._check_open_row(is_last)

    def remaining(self) -> Iterator[bytes]:
        """Yield the text that is in none of the blocks so far."""
        rest, self._rest = self._rest, b""
        if rest:
            yield rest
        yield from self._chunks

    def _fill(self, size: int) -> bool:
        """Read until at least `size` bytes wait for a block; return whether the text has ended."""
        parts, n_bytes = [self._rest], len(self._rest)
        chunk = b"x"
        while n_bytes < size and (chunk := next(self._chunks, b"")):
            parts.append(chunk)
            n_bytes += len(chunk)
        self._rest = b"".join(parts)
        return not chunk

    def _check_open_row(self, is_last: bool) -> None:
        if is_last and self._rest:
            raise open_quote_error(self.line)
        if len(self._rest) > MAX_ROW:
            raise ConfigError(f"line {self.line}: the row has more than {MAX_ROW:,} bytes. Is a quote not closed?")

    def _cut(self, is_last: bool) -> Block | None:
        """Return the rows that are complete, or None if none is."""
        content = self._rest
        if not content:
            return None
        codes = np.frombuffer(content, np.uint8)
        is_end = codes == LF
        if CR in content:  # alone at the end of a line, as Macintosh wrote it
            is_return = codes == CR
            is_return[:-1] &= ~is_end[1:]
            if not is_last:
                is_return[-1] = False  # its \n may not have been read yet
            is_end |= is_return
        line_ends = row_ends = np.flatnonzero(is_end)
        is_separator = codes == self._separator
        if QUOTE in content:
            # Inside quotes after an odd number of them; a doubled quote closes and opens.
            is_quote = codes == QUOTE
            is_outside = np.add.accumulate(is_quote, dtype=np.uint8) & 1 == 0
            _check_quotes(np.flatnonzero(is_quote), is_separator | (codes == LF) | (codes == CR))
            row_ends = line_ends[is_outside[line_ends]]
            is_separator &= is_outside
        if not len(row_ends):
            return None
        end = int(row_ends[-1]) + 1
        starts = np.concatenate([[0], row_ends[:-1] + 1])
        n_before = np.searchsorted(np.flatnonzero(is_separator[:end]), np.append(starts, end))
        lines = self.line + np.searchsorted(line_ends, np.append(starts, end))
        self._rest, self.line = content[end:], int(lines[-1])
        return Block(content[:end], starts, np.diff(n_before) + 1, lines[:-1])


def open_quote_error(line: int) -> ConfigError:
    """Return the error about a quote that is not closed before the end of the file."""
    return ConfigError(f"line {line}: a quote is not closed. Close it, or write quotes inside quoted texts twice.")


def _check_quotes(quotes: Array, is_border: Array) -> None:
    """Check that every quote opens or closes a whole cell.

    A quote at any other place belongs to the text, as in `5" pipe`, and must not be counted.

    Args:
        quotes: the positions of the quotes.
        is_border: whether each byte ends a cell or a line.

    Raises:
        UnusualQuotesError: if a quote is at another place.
    """
    follows_quote = np.append(False, quotes[1:] == quotes[:-1] + 1)
    precedes_quote = np.append(follows_quote[1:], False)
    is_start = (quotes == 0) | is_border[quotes - 1] | follows_quote
    is_end = (quotes == len(is_border) - 1) | is_border[np.minimum(quotes + 1, len(is_border) - 1)] | precedes_quote
    if not (is_start[0::2].all() and is_end[1::2].all()):
        raise UnusualQuotesError
