"""The points of a finite space: how many configurations it has, and which."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from mlp.records import Label
from studies.search.domains import Params
from studies.search.parameters import Parameter
from studies.search.space import Space

MAX_POINTS = 100_000  # that are listed; the list is shuffled once for a study

PointKey = tuple[tuple[str, str], ...]


class Points:
    """The configurations of a space. A parameter is part of a configuration only if its `when` holds.

    Args:
        space: the space.
        n_values: the number of values of each float range without a step; None leaves such a range endless.

    Attributes:
        endless: the paths that have no end of values; if there are any, the points can be neither counted nor listed.
    """

    def __init__(self, space: Space, n_values: int | None = None) -> None:
        self._space = space
        self._parameters = space.parameters
        self._n_values = n_values
        self._sizes = {p.path: p.domain.n_points() or n_values or 0 for p in space.parameters}
        self._conditions = {path for parameter in space.parameters for path in parameter.when}
        self.endless = [path for path, size in self._sizes.items() if size == 0]

    def count(self) -> int:
        """Return the number of points, without listing them; constraints are not considered."""
        return self._count(0, {})

    def _count(self, index: int, params: Params) -> int:
        """Return the number of ways to choose the parameters from an index on, given those that conditions name."""
        if index == len(self._parameters):
            return 1
        parameter = self._parameters[index]
        if not parameter.applies(params):
            return self._count(index + 1, params)
        if parameter.path not in self._conditions:
            return self._sizes[parameter.path] * self._count(index + 1, params)
        values = parameter.domain.points(self._n_values)
        return sum(self._count(index + 1, {**params, parameter.path: value}) for value in values)

    def count_allowed(self) -> int:
        """Return the number of points that meet the constraints of the space, which are listed to count them."""
        return self.count() if self._space.constraints is None else _count_listed(self)

    def __iter__(self) -> Iterator[Params]:
        """Yield each point that meets the constraints of the space once."""
        return (point for point in self._points(0, {}) if self._space.allows(point))

    def _points(self, index: int, params: Params) -> Iterator[Params]:
        if index == len(self._parameters):
            yield params
            return
        parameter = self._parameters[index]
        values = parameter.domain.points(self._n_values) if parameter.applies(params) else ()
        for value in values:
            yield from self._points(index + 1, {**params, parameter.path: value})
        if not values:
            yield from self._points(index + 1, params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Points) and (self._space, self._n_values) == (other._space, other._n_values)

    def __hash__(self) -> int:
        return hash((self._space, self._n_values))

    def __contains__(self, params: Params) -> bool:
        """Return whether parameters are one of the points."""
        return all(
            (parameter.path in params) == parameter.applies(params)
            and (parameter.path not in params or self._has(parameter, params[parameter.path]))
            for parameter in self._parameters
        )

    def _has(self, parameter: Parameter, value: Label) -> bool:
        return parameter.domain.n_points() is not None or value in parameter.domain.points(self._n_values)

    def n_trials(self, given: Sequence[Params | None]) -> int | None:
        """Return the number of trials that try every point, or None if there is no end of points.

        Args:
            given: the parameters of trials that are tried in any case; None for one outside the space.
        """
        if self.endless:
            return None
        on_points = {point_key(params) for params in given if params is not None and params in self}
        return self.count_allowed() - len(on_points) + len(given)


@functools.lru_cache(maxsize=2)
def _count_listed(points: Points) -> int:
    return sum(1 for _ in points)


def point_key(params: Params) -> PointKey:
    """Return what tells a configuration from all others; 1 and true are different values."""
    return tuple(sorted((path, repr(value)) for path, value in params.items()))
