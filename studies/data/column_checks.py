"""Columns that are of no use, or too good to be true: constants, duplicates, identifiers, and leaks of the target."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mlp.arrays import Array, digest
from mlp.losses import Task
from studies.data.column_types import ColumnFacts

MIN_ROWS = 20  # from which on numbers that count up are an identifier, and a column can be said to tell the target
N_TRIED = 50_000  # rows that are enough to see whether a column tells the target
ALMOST = 0.999  # the share of the target that a leak tells
ROWS_PER_LEVEL = 5  # a category with fewer rows per level tells any target
SENTINELS = {sign * (10.0**digits - 1) for sign in (-1, 1) for digits in range(2, 7)}  # 99, -99, 999, -999, ...
_IDENTIFIER = re.compile(
    r"(?:.*[_\W])?(?:id|ids|uuid|guid|index|idx|nr|no|num|number|row|rowid|rownames|key|code|unnamed.*)[\W\d]*", re.I
)
_CAMEL_ID = re.compile(r".*[a-z](?:Id|ID|No|Nr|Index|Number)")


def drop_useless(found: Sequence[ColumnFacts]) -> None:
    """Drop constants, identifiers and duplicates, unless the configuration asks for the column."""
    seen: dict[str, str] = {}
    for facts in found:
        if facts.kind is None:
            continue
        if facts.n_distinct == 1 and not facts.n_missing and not facts.is_asked_for:
            facts.kind, facts.drop = None, "constant"
            continue
        if not facts.is_asked_for and _is_identifier(facts):
            facts.kind, facts.drop = None, "identifier"
            name = shown_name(facts.name)
            facts.notes.append(f"whole numbers that are all different; to use it, set data.numeric = [{name}]")
            continue
        first = seen.setdefault(_content(facts), facts.name)
        if first != facts.name:
            same = f'the same as column "{first}"' if facts.kind != "category" else f'column "{first}" in other words'
            if facts.is_asked_for:
                facts.notes.append(f"is {same}")
            else:
                facts.kind, facts.drop = None, f"duplicate of {first}"
                facts.notes.append(f"is {same}")


def note_doubtful_values(found: Sequence[ColumnFacts]) -> None:
    """Tell of numbers that probably mean a missing value, and of texts that differ in case only."""
    for facts in found:
        if facts.kind == "number" and facts.cells is not None:
            facts.notes += _find_sentinels(facts.cells)
        elif facts.kind == "category" and facts.distinct is not None:
            first: dict[str, str] = {}
            texts = facts.distinct.texts.tolist()
            pairs = [(other, text) for text in texts if (other := first.setdefault(text.casefold(), text)) != text]
            if pairs:
                facts.notes.append(f"{pairs[0][0]!r} and {pairs[0][1]!r} differ in case only, and are different levels")


def _find_sentinels(cells: Array) -> list[str]:
    """Return a sentence for each end of the range that is a number such as -999, far away from all others."""
    present = cells[~np.isnan(cells)]
    sentences = []
    for end in sorted({float(present.min()), float(present.max())} & SENTINELS):
        others = present[present != end]
        n = len(present) - len(others)
        if n > 1 and len(others) and np.abs(others - end).min() > others.max() - others.min() > 0:
            advice = f'if it means a missing value, set data.missing = ["", "{end:g}"]'
            sentences.append(f"{end:g} in {n:,} rows is far from all other numbers; {advice}")
    return sentences


def shown_name(name: str) -> str:
    """Return the name of a column as a text of TOML."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_identifier(facts: ColumnFacts) -> bool:
    """Return whether whole numbers are all different and count up or down, are 1, 2, 3, ... or are called an ID."""
    cells = facts.cells
    if facts.kind != "number" or cells is None or not facts.integer or facts.n_missing:
        return False
    if facts.n_distinct < len(cells) or len(cells) < MIN_ROWS:
        return False
    steps = np.diff(cells)
    counts = bool((steps > 0).all() or (steps < 0).all()) or cells.max() - cells.min() == len(cells) - 1
    return counts or bool(_IDENTIFIER.fullmatch(facts.name) or _CAMEL_ID.fullmatch(facts.name))


def _content(facts: ColumnFacts) -> str:
    """Return a digest that two columns share if they tell the same: equal numbers, or levels that go together."""
    if facts.kind != "category":
        assert facts.cells is not None
        return f"{facts.kind} {digest(facts.cells)}"
    assert facts.distinct is not None  # its texts are numbered in the order in which they appear
    return f"category {digest(facts.distinct.codes)}"


def find_leak(facts: ColumnFacts, rows: Array, targets: Array, task: Task) -> str:
    """Return a sentence if a column alone tells the target (almost) exactly, otherwise an empty string.

    Args:
        facts: the column.
        rows: the training rows.
        targets: the targets of all rows: classes, integers of shape (n,), or one value each, float64 of shape (n, 1).
        task: what is predicted.
    """
    if task == "labels" or len(rows) < MIN_ROWS or (targets.ndim == 2 and targets.shape[1] > 1):
        return ""
    rows = rows[:: max(1, len(rows) // N_TRIED)]
    target = targets[rows] if targets.ndim == 1 else targets[rows, 0]
    if facts.kind == "category":
        assert facts.distinct is not None
        share = _share_told_by_levels(facts.distinct.codes[rows] + 1, target, task)  # a missing value is a level too
    else:
        assert facts.cells is not None
        cells = facts.cells[rows]
        is_known = ~np.isnan(cells)
        if is_known.sum() < max(MIN_ROWS, len(target) / 2):
            return ""
        cells, target = cells[is_known], target[is_known]
        share = _share_told_by_order(cells, target) if task == "classes" else _share_in_order(cells, target)
    if share < ALMOST:
        return ""
    name = shown_name(facts.name)
    return f"tells the target almost exactly; if it is not known when you predict, set data.drop = [{name}]"


def _share_told_by_levels(codes: Array, target: Array, task: Task) -> float:
    """Return the share of the target's variation that the levels of a category explain; 0 if they are too many."""
    n_levels = len(np.unique(codes))
    if n_levels * ROWS_PER_LEVEL > len(codes):
        return 0.0
    if task == "values":
        counts = np.maximum(np.bincount(codes), 1)
        residual = target - (np.bincount(codes, target) / counts)[codes]
        total = float(np.var(target))
        return 1.0 - float(np.mean(np.square(residual))) / total if total else 0.0
    k = int(target.max()) + 1
    table = np.bincount(codes * k + target, minlength=(int(codes.max()) + 1) * k).reshape(-1, k)
    return float(table.max(axis=1).sum() / len(target))


def _share_told_by_order(cells: Array, target: Array) -> float:
    """Return the share of rows whose class is told by which of k intervals the number is in; 0 if there are more."""
    order = np.argsort(cells, kind="stable")
    cells, target = cells[order], target[order]
    runs = 1 + int((np.diff(target) != 0).sum())
    is_tied = np.diff(cells) == 0
    if is_tied.any() and (np.diff(target)[is_tied] != 0).any():
        return 0.0
    excess = runs - len(np.unique(target))
    return 1.0 - excess / len(target) if len(np.unique(target)) > 1 else 0.0


def _share_in_order(cells: Array, target: Array) -> float:
    """Return how closely two numbers go together: their squared correlation, or that of their ranks if larger."""
    if len(np.unique(cells)) < MIN_ROWS:
        return 0.0
    ranks = [np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.float64) for values in (cells, target)]
    pairs = [(cells, target), (ranks[0], ranks[1])]
    with np.errstate(all="ignore"):
        correlations = [np.corrcoef(a, b)[0, 1] ** 2 for a, b in pairs]
    return float(np.nanmax([0.0, *correlations]))
