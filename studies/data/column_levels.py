"""The columns of a schema: the levels of a category, of which rare ones are pooled if there are many."""

from __future__ import annotations

import numpy as np

from mlp.arrays import Array
from mlp.cells import sort_texts
from mlp.columns import Column
from studies.data.column_types import ColumnFacts

N_KEPT = (20, 1000)  # levels that a category always keeps, and those that it keeps at most
ROWS_PER_LEVEL = 10  # in between, one level for each 10 training rows is kept
MAX_POOLED = 2000  # rare levels that are listed in the schema; others are read as unseen ones
OTHER = "other"


def make_column(facts: ColumnFacts, train: Array) -> Column:
    """Return a column of the schema; the levels of a category are those of the training rows.

    Args:
        facts: what the column is; it is an input.
        train: the training rows.
    """
    if facts.kind != "category":
        assert facts.kind is not None
        integer = facts.kind == "number" and facts.integer
        return Column(facts.name, facts.kind, decimal=facts.decimal, format=facts.form, integer=integer)
    distinct = facts.distinct
    assert distinct is not None
    codes = distinct.codes[train]
    counts = np.bincount(codes[codes >= 0], minlength=len(distinct.texts))
    by_count = [at for at in np.argsort(-counts, kind="stable").tolist() if counts[at]]
    n_kept = min(max(N_KEPT[0], len(train) // ROWS_PER_LEVEL), N_KEPT[1])
    kept, rare = by_count[:n_kept], by_count[n_kept:]
    if len(by_count) > N_KEPT[0]:
        rare = [at for at in kept if counts[at] == 1] + rare
        kept = [at for at in kept if counts[at] > 1]
    if len(rare) < 2:
        kept, rare = kept + rare, []
    levels = sort_texts(str(distinct.texts[at]) for at in kept)
    if not rare:
        return Column(facts.name, "category", levels=tuple(levels))
    other = OTHER if OTHER not in distinct.texts.tolist() else f"{OTHER} (pooled)"
    pooled = sort_texts(str(distinct.texts[at]) for at in rare[:MAX_POOLED])
    facts.notes.append(f"{len(by_count):,} levels are many for {len(train):,} rows: {len(rare):,} rare ones are pooled")
    return Column(facts.name, "category", levels=(*levels, other), pooled=tuple(pooled))
