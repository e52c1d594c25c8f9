"""The dialect of a CSV file, found in its first lines: the separator, the line with the names, and comments."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlp.cells import parse_number
from mlp.data_config import DataConfig
from mlp.errors import ConfigError
from studies.data.table import check_names

SEPARATORS = "\t;|,"  # among those that fit equally well, the first: `1,5;2,5` is also three cells separated by commas
NAMED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " "}
SHOWN = {"\t": "tab", " ": "space"}
N_SAMPLE = 200  # lines below comments
SAMPLE = 1 << 18  # bytes below comments; more are used if three lines are longer
_ABOVE = re.compile(rb"(?:[ \t]*+(?:#[^\r\n]*+)?[\r\n]++)*+")  # comments and empty lines


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        separator: the separator of cells, one ASCII character.
        names: the names of the columns; that of the last one is empty if the line of names ends with a separator.
        n_cells: how many cells the rows have: one more than there are names if each row ends with a separator.
        start: how many bytes come before the first row.
        line: the line of the first row, counted from 1.
        comments: the lines before the first row that were skipped as comments.
        notices: what the user should know, one sentence each.
    """

    separator: str
    names: tuple[str, ...]
    n_cells: int
    start: int
    line: int
    comments: tuple[int, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Row:
    """A row of the sample: its cells, the line on which it begins, and the line after it, counted from 1."""

    cells: list[str]
    line: int
    next_line: int

    @property
    def is_marked(self) -> bool:
        """Whether it begins like a comment."""
        return self.cells[0].lstrip().startswith("#")

    @property
    def has_numbers(self) -> bool:
        return any(_is_number(cell) for cell in self.cells)


def find_dialect(start: bytes, config: DataConfig, *, is_complete: bool) -> Dialect:
    """Return the dialect of a file.

    Args:
        start: the beginning of the file in UTF-8; it must contain the line with the names of the columns.
        config: the separator, if it is not to be detected, and whether there is a line with names.
        is_complete: whether `start` is all of the file.

    Raises:
        ConfigError: if the file is empty, or the names of its columns cannot be used.
    """
    lines, offset = _sample(start, is_complete), 0
    if not is_complete and len(lines) == 1 and not lines[0].endswith(("\n", "\r")):
        raise ConfigError(f"line 1 has more than {len(start)} bytes. Is it a table?")
    declared = re.fullmatch(r"\ufeff?sep=(.)\s*", lines[0]) if lines else None  # a line that Excel writes and hides
    if declared:
        offset, lines = 1, lines[1:]
    separator = _given_separator(config) or (declared[1] if declared else _detect(lines, config.header))
    rows = [row for row in _rows(lines, separator) if len(row.cells) > 1 or row.cells[0].strip()]
    if not rows and any(line.strip() for line in lines):
        raise ConfigError(f"line {1 + offset}: a cell is too long. Is the quote at its beginning closed?")
    if not rows:
        needed = "Its first line must name the columns" if config.header else "It must have a row for each example"
        raise ConfigError(f"is empty. {needed}.")
    head = _find_head(rows, has_names=config.header)
    skipped = tuple(row.line + offset for row in rows[:head])
    first = rows[head]
    names, notices = _read_names(first) if config.header else (_numbered(first), [])
    advice = "If the first line is a row, set data.header = false." if all(map(_is_number, names)) else ""
    check_names(names, advice)
    next_line = first.next_line if config.header else first.line
    n_lines = next_line - 1 + offset
    n_bytes = sum(map(len, start.splitlines(keepends=True)[:n_lines]))
    n_cells = len(names)
    if config.header and (rest := rows[head + 1 : head + 2]) and len(rest[0].cells) == n_cells + 1:
        n_cells += not rest[0].cells[-1].strip()
    if n_cells == 1 and separator == "," and config.separator == "auto":
        text = "Only one column was found. If cells are separated by anything but , ; | or tab, set data.separator."
        notices.append(text)
    return Dialect(separator, tuple(names), n_cells, n_bytes, n_lines + 1, skipped, tuple(notices))


def _sample(start: bytes, is_complete: bool) -> list[str]:
    """Return the first lines of a file with their ends, of which the last one is complete.

    Empty lines and lines that begin with `#` come on top, because there may be hundreds of them before the first row.
    """
    above = _ABOVE.match(start, 0, SAMPLE)
    n_above = 0 if above is None else above.end()
    is_long = start.count(b"\n", n_above, n_above + SAMPLE) > 3
    lines = start[: n_above + SAMPLE if is_long else len(start)].splitlines(keepends=True)
    n_lines = N_SAMPLE + len(start[:n_above].splitlines())
    if not is_complete or len(lines) > n_lines or len(start) > n_above + SAMPLE:
        lines = lines[: min(n_lines, len(lines) - 1)] or lines
    return [line.decode("utf-8", "replace") for line in lines]


def _rows(lines: Sequence[str], separator: str) -> Iterator[_Row]:
    """Yield the rows in some lines; one that is too long for `csv` is left out with all that follow it."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=separator != " ")
    line = 1
    try:
        for cells in reader:
            yield _Row(cells or [""], line, reader.line_num + 1)
            line = reader.line_num + 1
    except csv.Error:
        return


def _given_separator(config: DataConfig) -> str:
    if config.separator == "auto":
        return ""
    separator = NAMED.get(config.separator.lower(), config.separator)
    if len(separator) != 1 or not separator.isascii() or separator in '"\r\n\0':
        problem = f'must be one character such as ; or tab, got "{config.separator}".'
        raise ConfigError(problem, path="separator")
    return separator


def _detect(lines: Sequence[str], has_names: bool) -> str:
    """Return the separator that divides most rows into the same number of cells, at least two."""
    best, best_score = ",", (False, 0.5)
    for separator in SEPARATORS:
        rows = [row for row in _rows(lines, separator) if len(row.cells) > 1 or row.cells[0].strip()]
        rows = [row for row in rows if not row.is_marked] or rows
        counts = Counter(len(row.cells) for row in rows)
        n_cells, n_rows = counts.most_common(1)[0] if counts else (1, 0)
        if n_cells < 2:
            continue
        # Names may lack the separator with which the rows end, or the name of a first column that numbers the rows.
        is_named = not has_names or (abs(len(rows[0].cells) - n_cells) <= 1 and len(rows[0].cells) > 1)
        if (score := (is_named, n_rows / len(rows))) > best_score:
            best, best_score = separator, score
    return best


def _find_head(rows: Sequence[_Row], *, has_names: bool) -> int:
    """Return the index of the row with the names, or of the first row if there are no names.

    Rows before it begin with `#` and are comments. The last of them may be the names themselves: `#id,size`, or, as
    NumPy writes them, `# id,size` above rows of numbers.
    """
    n_marked = next((index for index, row in enumerate(rows) if not row.is_marked), len(rows))
    if n_marked == 0:
        return 0
    if n_marked == len(rows):  # values that begin with #, such as colours
        return 0
    last, following, after = rows[n_marked - 1], rows[n_marked], rows[n_marked + 1 : n_marked + 2]
    if len(last.cells) != len(following.cells):
        return n_marked
    if not has_names:
        return n_marked if last.cells[0].lstrip().startswith("# ") else 0
    if last.has_numbers:
        return n_marked
    is_comment_of_names = not following.has_numbers and any(row.has_numbers for row in after)
    is_spaced = last.cells[0].lstrip().startswith("# ") or len(last.cells) == 1
    if is_comment_of_names or (is_spaced and not following.has_numbers):
        return n_marked
    return n_marked - 1


def _read_names(first: _Row) -> tuple[list[str], list[str]]:
    """Return the names of the columns in the first row, and notices about them."""
    names = [name.strip() for name in first.cells]
    notices = []
    if names[0].startswith("# "):
        names[0] = names[0][2:].strip()
    # That of the last column stays empty until it is known whether lines only end with a separator.
    unnamed = [number for number, name in enumerate(names[:-1], 1) if not name]
    if unnamed:
        for number in unnamed:
            names[number - 1] = f"column_{number}"
        listed = ", ".join(f"column_{number}" for number in unnamed[:3]) + (", ..." if len(unnamed) > 3 else "")
        notices.append(f"{len(unnamed)} {'column has' if len(unnamed) == 1 else 'columns have'} no name: {listed}.")
    if all(_is_number(name) for name in names):
        text = f"The first line, {', '.join(names[:3])}, ..., was taken as the names of the columns."
        notices.append(f"{text} If it is a row, set data.header = false.")
    return names, notices


def _numbered(first: _Row) -> list[str]:
    return [f"column_{number}" for number in range(1, len(first.cells) + 1)]


def _is_number(text: str) -> bool:
    return parse_number(text) is not None or parse_number(text, ",") is not None
