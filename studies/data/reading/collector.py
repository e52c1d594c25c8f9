"""The rows of a CSV file on their way to a table: lines that are not rows are left out, and short rows are filled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError
from studies.data.reading.dialect import Dialect
from studies.data.reading.rows import Block
from studies.data.table import Lines, Table, describe_size

if TYPE_CHECKING:
    import pyarrow as pa

MANY_BLANK = 1_000_000  # empty lines
MANY = 1000  # short rows; beyond it, most rows must have all their cells


class RowCollector:
    """Collects the rows of a CSV file.

    Args:
        dialect: how the file is written.
    """

    def __init__(self, dialect: Dialect) -> None:
        import pyarrow as pa
        from pyarrow import csv as pa_csv

        self.dialect = dialect
        self._schema = pa.schema([(str(number), pa.string()) for number in range(dialect.n_cells)])
        self._parse_options = pa_csv.ParseOptions(
            delimiter=dialect.separator, newlines_in_values=True, ignore_empty_lines=False
        )
        self._convert_options = pa_csv.ConvertOptions(column_types=self._schema, strings_can_be_null=False)
        self._parts: list[pa.Table] = []
        self._n_rows = 0
        self._next_line = -1  # on which the next row begins if it follows the last one
        self._jumps: list[tuple[Array, Array]] = []  # rows that do not follow the last one, and their lines
        self._comments = _Places("comment line was skipped", "comment lines were skipped", dialect.comments)
        self._blanks = _Places("empty line was skipped", "empty lines were skipped")
        self._short = _Places("line had too few cells and was filled", "lines had too few cells and were filled")

    def add_block(self, block: Block) -> None:
        """Add rows that have not been parsed.

        Raises:
            ConfigError: if a row has too many cells, or most rows have too few.
        """
        n_cells = self.dialect.n_cells
        is_blank = block.is_blank
        is_comment = block.is_marked & ~is_blank & (block.n_cells != n_cells if n_cells > 1 else block.is_spaced)
        is_row = ~(is_blank | is_comment)
        self._blanks.add(block.lines[is_blank])
        self._comments.add(block.lines[is_comment])
        if self._blanks.n > max(MANY_BLANK, 2 * (self._n_rows + int(is_row.sum()))):
            raise ConfigError(f"has {self._blanks.n} empty lines, more than twice as many as rows. Remove them.")
        if (is_wrong := is_row & (block.n_cells != n_cells)).any():
            content = self._repair(block, is_row, np.flatnonzero(is_wrong))
        else:
            content = block.keep(is_row)
        if content:
            self._parse(content)
            self._count(block.lines[is_row])

    def add_cells(self, rows: Sequence[list[str]], lines: Sequence[int]) -> None:
        """Add rows that have been parsed, and the lines on which they begin.

        Raises:
            ConfigError: as in `add_block`.
        """
        import pyarrow as pa

        n_cells = self.dialect.n_cells
        kept_rows, kept_lines = [], []
        for cells, line in zip(rows, lines, strict=True):
            n = len(cells)
            if n == n_cells > 1:  # the usual case
                kept_rows.append(cells)
                kept_lines.append(line)
                continue
            if n == 1 and not cells[0].strip():
                self._blanks.add([line])
                continue
            if cells[0].startswith("#" if n_cells > 1 else "# "):
                self._comments.add([line])
                continue
            if n < n_cells:
                self._add_short([line])
            elif n > n_cells and any(cells[n_cells:]):
                raise self._too_many(line, n)
            kept_rows.append((cells + [""] * (n_cells - n))[:n_cells])
            kept_lines.append(line)
        if kept_rows:
            arrays = [pa.array(column, pa.string()) for column in zip(*kept_rows, strict=True)]
            self._parts.append(pa.Table.from_arrays(arrays, schema=self._schema))
            self._count(np.array(kept_lines))

    def _repair(self, block: Block, is_row: Array, wrong: Array) -> bytes:
        """Return the content of the rows of a block, of which the given ones have a wrong number of cells."""
        n_cells, separator = self.dialect.n_cells, self.dialect.separator.encode()
        self._add_short(block.lines[wrong][block.n_cells[wrong] < n_cells], int(is_row.sum()))
        lengths = block.lengths
        pieces, position = [], 0
        for index in wrong.tolist():
            row, n = block.row(index), int(block.n_cells[index])
            start, end = int(block.starts[index]), int(block.starts[index] + lengths[index])
            surplus = separator * (n - n_cells)
            if not row.endswith(surplus):
                raise self._too_many(int(block.lines[index]), n)
            # Empty cells at the end of a row belong to no column, and nothing is lost with them.
            repaired = row.removesuffix(surplus) + separator * (n_cells - n) + b"\n"
            pieces += [block.content[position:start], repaired]
            position, lengths[index] = end, len(repaired)
        content = b"".join([*pieces, block.content[position:]])
        kept: bytes = np.frombuffer(content, np.uint8)[np.repeat(is_row, lengths)].tobytes()
        return kept

    def _add_short(self, lines: Sequence[int] | Array, n_rows: int = 1) -> None:
        if not len(lines) or self.dialect.n_cells > len(self.dialect.names):
            return  # rows end with a separator, but some do not
        self._short.add(lines)
        if self._short.n > max(MANY, (self._n_rows + n_rows) // 2):
            problem = f"line {self._short.first}: must have {self.dialect.n_cells} cells, one per column, as must most"
            raise ConfigError(
                f'{problem} other lines. Is "{self.dialect.separator}" the separator? Set data.separator.'
            )

    def _too_many(self, line: int, n: int) -> ConfigError:
        names, separator = self.dialect.names, self.dialect.separator
        if len(names) == 1:
            problem = f"line {line}: has {n} cells, but the line with the names of the columns has one"
            return ConfigError(f"{problem}. Remove what is above the names, such as a title.")
        problem = f"line {line}: must have {len(names)} cells, one per column, got {n}"
        numbered = " If the first cell numbers the rows, it needs a name, too." if n == len(names) + 1 else ""
        return ConfigError(f'{problem}. Put a text that contains the separator "{separator}" in quotes.{numbered}')

    def _parse(self, content: bytes) -> None:
        import pyarrow as pa
        from pyarrow import csv as pa_csv

        options = pa_csv.ReadOptions(column_names=self._schema.names, block_size=len(content) + 1)
        try:
            part = pa_csv.read_csv(
                pa.BufferReader(content),
                read_options=options,
                parse_options=self._parse_options,
                convert_options=self._convert_options,
            )
        except pa.ArrowInvalid as error:
            raise ConfigError(f"cannot be read as CSV: {error}") from None
        self._parts.append(part)

    def _count(self, lines: Array) -> None:
        """Count rows, and store where they do not follow one another."""
        expected = np.append(self._next_line, lines[:-1] + 1)
        jumps = np.flatnonzero(lines != expected)
        self._jumps.append((self._n_rows + jumps, lines[jumps]))
        self._n_rows += len(lines)
        self._next_line = int(lines[-1]) + 1

    def table(self, file: str, detected: str, notices: Sequence[str]) -> Table:
        """Return the table of all rows.

        Args:
            file: how the user named the file.
            detected: the separator and the encoding, for the user.
            notices: further notices.

        Raises:
            ConfigError: if there is no row, or a cell belongs to no column.
        """
        import pyarrow as pa

        if not self._n_rows:
            raise ConfigError("must have at least one row below the names of its columns.")
        whole = pa.concat_tables(self._parts)
        lines = Lines(*map(np.concatenate, zip(*self._jumps, strict=True)))
        names = list(self.dialect.names)
        dropped = self._name_last(names, whole.columns[-1], lines)
        columns = dict(zip(names, whole.columns, strict=False))
        reading = f"{file}: {describe_size(self._n_rows, len(columns))}; {detected}."
        counted = [places.notice for places in (self._comments, self._blanks, self._short) if places.n]
        return Table(
            file,
            columns,
            self._n_rows,
            lines,
            reading=reading,
            notices=(*notices, *self.dialect.notices, *dropped, *counted),
        )

    def _name_last(self, names: list[str], column: pa.ChunkedArray, lines: Lines) -> list[str]:
        """Name the last column, or drop it, if lines end with a separator; return notices about that."""
        import pyarrow.compute as pc

        if self.dialect.n_cells == len(names) and names[-1]:
            return []
        filled = pc.index(pc.not_equal(column, ""), True).as_py()
        if filled < 0:
            if not names[-1]:
                names.pop()
            return ["Each line ends with a separator; the empty column after it was left out."]
        if names[-1]:
            raise self._too_many(lines.of(filled), self.dialect.n_cells)
        names[-1] = f"column_{len(names)}"
        return [f"1 column has no name: {names[-1]}."]


class _Places:
    """Counts lines of a kind.

    Args:
        one: what happened to one line.
        many: what happened to several lines.
        lines: the first of them.
    """

    def __init__(self, one: str, many: str, lines: Sequence[int] = ()) -> None:
        self.one, self.many = one, many
        self.n, self.first = len(lines), lines[0] if lines else 0

    def add(self, lines: Sequence[int] | Array) -> None:
        """Count further lines."""
        if len(lines):
            self.first = self.first or int(lines[0])
            self.n += len(lines)

    @property
    def notice(self) -> str:
        """A sentence for the user."""
        if self.n == 1:
            return f"1 {self.one}: line {self.first}."
        return f"{self.n:,} {self.many}, the first of them line {self.first}."
