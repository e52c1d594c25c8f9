"""Rungs: the epochs at which trials are compared, and what each trial had reached there."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator, Mapping

from mlp.metrics import Direction


class Rungs:
    """The values of trials at each rung, best first; among equal values the lower trial number comes first.

    Args:
        direction: whether the larger or the smaller value is better.
    """

    def __init__(self, direction: Direction) -> None:
        self._sign = -1.0 if direction == "maximize" else 1.0
        self._levels: dict[int, list[tuple[float, int]]] = {}

    def add(self, epoch: int, number: int, value: float | None) -> None:
        """Add the value of a trial at the rung of an epoch; an undefined or missing value is the worst."""
        cost = math.inf if value is None or math.isnan(value) else self._sign * value
        bisect.insort(self._levels.setdefault(epoch, []), (cost, number))

    def promotable(self, n_promoted: Callable[[int], int], paused: Mapping[int, int]) -> Iterator[int]:
        """Yield the paused trials among the best of their rung, the highest rung first, then the best value.

        Algorithm 2 of Li et al. 2020, arXiv:1810.05934.

        Args:
            n_promoted: returns how many of a number of trials at a rung are promoted.
            paused: the rung of each paused trial, by trial number.
        """
        for epoch, level in sorted(self._levels.items(), reverse=True):
            yield from self._paused_at(epoch, level[: n_promoted(len(level))], paused)

    def paused(self, paused: Mapping[int, int]) -> Iterator[int]:
        """Yield all paused trials, the highest rung first, then the best value."""
        for epoch, level in sorted(self._levels.items(), reverse=True):
            yield from self._paused_at(epoch, level, paused)

    @staticmethod
    def _paused_at(epoch: int, level: list[tuple[float, int]], paused: Mapping[int, int]) -> Iterator[int]:
        return (number for _, number in level if paused.get(number) == epoch)
