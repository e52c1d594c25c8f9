"""Splits: which rows are held out for the test and the validation part, and which are drawn for a subset.

Rows are shuffled by a seed. They may be stratified (each part has nearly the same proportions), grouped (all rows of a
group are in one part) or ordered (the latest rows are held out).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlp.arrays import Array, stream
from mlp.data_config import DataConfig
from mlp.errors import ConfigError
from mlp.losses import Task

N_QUANTILES = 10  # of a value to predict, by which rows are stratified
FIXED_SEED = 0  # of the test part and of subsets: what a search never sees must not depend on the study's seed


@dataclass(frozen=True)
class Population:
    """The rows to be split, in ascending order, and what a split may depend on.

    Attributes:
        n: the number of rows.
        strata: the stratum of each row, integers of shape (n,); None for no stratification.
        groups: the group of each row, integers of shape (n,); None if every row is on its own.
        order: the place of each row in time, shape (n,), NaN if it is not known; None for no order.
    """

    n: int
    strata: Array | None = None
    groups: Array | None = None
    order: Array | None = None

    def take(self, rows: Array) -> Population:
        """Return the population of some rows."""
        strata, groups, order = (None if a is None else a[rows] for a in (self.strata, self.groups, self.order))
        return Population(len(rows), strata, groups, order)


def strata_of(targets: Array, task: Task) -> Array:
    """Return the stratum of each row: its class, its combination of labels, or the tenth of the values it is in.

    Args:
        targets: as in `mlp.data.Examples`; of several values the first decides.
        task: what is to be predicted.
    """
    if task == "classes":
        return targets
    if task == "labels":
        return np.unique(targets, axis=0, return_inverse=True)[1].reshape(-1)
    values = targets[:, 0]
    ends = np.quantile(values, np.arange(1, N_QUANTILES) / N_QUANTILES)
    return np.searchsorted(ends, values, side="right")


def hold_out(population: Population, n_held: int, rng: np.random.Generator) -> Array:
    """Return the rows of a part that is held out, in ascending order.

    Args:
        population: the rows.
        n_held: how many rows to hold out; nearly as many if rows are grouped.
        rng: the random stream of the shuffle.

    Raises:
        ConfigError: if all rows belong to one group.
    """
    if not n_held:
        return np.arange(0)
    if population.order is not None:
        return _latest(population.order, population.groups, n_held)
    if population.groups is not None:
        groups, members, strata = _shuffled_groups(population.groups, population.strata, rng)
        return _whole_groups(groups if strata is None else _spread(groups, strata), members, n_held)
    rows = rng.permutation(population.n)
    return np.sort((rows if population.strata is None else _spread(rows, population.strata))[:n_held])


def hold_out_fold(population: Population, n_folds: int, fold: int, rng: np.random.Generator) -> Array:
    """Return the rows of one of several folds, in ascending order.

    Rows, or groups of rows, are dealt out like cards, one stratum after another. So each stratum is divided evenly.

    Args:
        population: the rows.
        n_folds: the number of folds.
        fold: the number of the fold.
        rng: the random stream of the shuffle.

    Raises:
        ConfigError: if there are fewer groups than folds.
    """
    if population.groups is None:
        rows = rng.permutation(population.n)
        if population.strata is not None:
            rows = rows[np.argsort(population.strata[rows], kind="stable")]
        return np.sort(rows[fold::n_folds])
    groups, members, strata = _shuffled_groups(population.groups, population.strata, rng)
    if strata is not None:
        groups = groups[np.argsort(strata[groups], kind="stable")]
    sizes = np.bincount(members)
    if len(groups) < n_folds:
        raise ConfigError(f"must be at most {len(groups)}, the number of groups, got {n_folds}.", path="data.folds")
    n_rows = np.zeros(n_folds, np.int64)
    chosen = []
    for group in groups:  # each group goes to the fold that has the fewest rows so far
        smallest = int(n_rows.argmin())
        n_rows[smallest] += sizes[group]
        if smallest == fold:
            chosen.append(group)
    return np.flatnonzero(np.isin(members, chosen))


def hold_out_test(population: Population, n_test: int) -> Array:
    """Return the rows of the test part, which is the same for every seed, in ascending order."""
    return hold_out(population, n_test, stream(FIXED_SEED, "test"))


def subset_rows(population: Population, n_used: int) -> Array:
    """Return the rows of a subset that is drawn, in ascending order."""
    if n_used == population.n:
        return np.arange(population.n)
    free = Population(population.n, population.strata)  # parts of groups may be left out, and any time
    return hold_out(free, n_used, stream(FIXED_SEED, "subset"))


def split_rows(config: DataConfig, seed: int, population: Population) -> tuple[Array, Array]:
    """Return the rows of the training part and those of the validation part, both in ascending order.

    Args:
        config: the sizes of the parts.
        seed: the training's seed, which decides the split unless the configuration has a `split_seed`.
        population: all training examples in use.

    Raises:
        ConfigError: if no example would be left to train on.
    """
    n_validation = config.n_validation(population.n)
    seed = seed if config.split_seed is None else config.split_seed
    if config.folds:
        repeat, fold = divmod(config.fold or 0, config.folds)
        rng = stream(seed, "split", repeat) if repeat else stream(seed, "split")
        held = hold_out_fold(population, config.folds, fold, rng)
    else:
        held = hold_out(population, n_validation, stream(seed, "split"))
    is_held = np.zeros(population.n, bool)
    is_held[held] = True
    return np.flatnonzero(~is_held), held


def find_absent(targets: Array, names: tuple[str, ...]) -> list[str]:
    """Return the names of the classes that no target has."""
    found = np.bincount(targets.astype(np.intp), minlength=len(names))
    return [name for name, n in zip(names, found.tolist(), strict=True) if not n]


def _latest(order: Array, groups: Array | None, n_held: int) -> Array:
    """Return the rows with the largest order; whole groups, if rows are grouped, by the latest row of each."""
    order = np.where(np.isnan(order), -np.inf, order)
    if groups is None:
        return np.sort(np.argsort(order, kind="stable")[len(order) - n_held :])
    names, members = np.unique(groups, return_inverse=True)
    latest = np.full(len(names), -np.inf)
    np.maximum.at(latest, members, order)
    return _whole_groups(np.argsort(latest, kind="stable")[::-1], members, n_held)


def _spread(rows: Array, strata: Array) -> Array:
    """Return shuffled rows reordered so that any stretch has nearly the overall proportions.

    That holds for stretches only: every fifth row may be of one stratum, because strata alternate with a period.
    The i-th of m rows of a stratum is placed at (i + 1/2) / m of the way, and all rows are sorted by that position. A
    row that is alone in its stratum comes last, so that it is held out last.
    """
    own = strata[rows]
    order = np.argsort(own, kind="stable")
    _, first, counts = np.unique(own[order], return_index=True, return_counts=True)
    place = np.arange(len(rows)) - np.repeat(first, counts)
    sizes = np.repeat(counts, counts)
    position = np.empty(len(rows))
    position[order] = np.where(sizes > 1, (place + 0.5) / sizes, 1.0)
    return rows[np.argsort(position, kind="stable")]


def _shuffled_groups(
    groups: Array, strata: Array | None, rng: np.random.Generator
) -> tuple[Array, Array, Array | None]:
    """Return the numbers of the groups in shuffled order, the number of each row's group, and each group's stratum.

    A group belongs to the stratum that most of its rows have.
    """
    names, members = np.unique(groups, return_inverse=True)
    shuffled = rng.permutation(len(names))
    if strata is None:
        return shuffled, members, None
    kinds, codes = np.unique(strata, return_inverse=True)
    pairs, counts = np.unique(members * len(kinds) + codes, return_counts=True)
    majority = np.zeros(len(names), np.int64)
    by_count = np.argsort(counts, kind="stable")
    majority[pairs[by_count] // len(kinds)] = pairs[by_count] % len(kinds)  # the largest count is written last
    return shuffled, members, majority


def _whole_groups(groups: Array, members: Array, n_held: int) -> Array:
    """Return the rows of the first groups that have about `n_held` rows; at least one group, and not all of them."""
    if len(groups) < 2:
        raise ConfigError(
            "must have at least two different values, or three if both a test and a validation part are held out.",
            path="data.group",
        )
    sizes = np.bincount(members, minlength=len(groups))[groups]
    n_groups = 1 + int(np.abs(np.cumsum(sizes) - n_held).argmin())
    return np.flatnonzero(np.isin(members, groups[: min(n_groups, len(groups) - 1)]))
