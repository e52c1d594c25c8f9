"""The kept curves as a world to search in: a suggested configuration is replaced by the nearest kept one.

The distance is the sum over the searched parameters: 1 for another choice, and for a parameter that only one of the two
configurations has; for numbers the difference on the parameter's own scale, where its range has length 1. A study uses
each kept configuration at most once, because a sampler rarely suggests the same point twice. The sampler sees the
parameters of the kept configuration, not those that it suggested, so that it learns from true pairs of parameters and
values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial
from replay_curves import Curve

from mlp.arrays import Array
from mlp.records import Label
from studies.running.view import StudyView
from studies.search.space import Space
from studies.search.spec import StudySpec


@dataclass(frozen=True)
class KeptSet:
    """The kept curves of a set.

    Attributes:
        name: its name.
        spec: its study file.
        curves: the first training of each configuration, by index; base is 0.
        truth: the mean of the final metric over the trainings of each configuration; a training that diverged has the
            worst value of the others.
    """

    name: str
    spec: StudySpec
    curves: tuple[Curve, ...]
    truth: tuple[float, ...]

    @classmethod
    def of(cls, name: str, spec: StudySpec, curves: Sequence[Curve]) -> KeptSet:
        """Return the set of all trainings that were kept."""
        first = {curve.index: curve for curve in curves if curve.seed == 0}
        complete = [len(curve.values) == spec.base.epochs for curve in curves]
        worst = min(curve.values[-1] for curve, is_complete in zip(curves, complete, strict=True) if is_complete)
        finals: dict[int, list[float]] = {index: [] for index in first}
        for curve, is_complete in zip(curves, complete, strict=True):
            finals[curve.index].append(curve.values[-1] if is_complete else worst)
        order = sorted(first)
        return cls(name, spec, tuple(first[i] for i in order), tuple(float(np.mean(finals[i])) for i in order))

    @property
    def best(self) -> float:
        """The best true value of the set."""
        return max(self.truth)

    @property
    def spread(self) -> float:
        """The regret of a typical configuration: the best true value minus the median."""
        return self.best - float(np.median(self.truth))

    def regret(self, index: int) -> float:
        """Return the regret of a configuration, in units of `spread`."""
        return (self.best - self.truth[index]) / self.spread


class KeptView(StudyView):
    """A study whose sampler is given the nearest kept configuration that it has not had.

    Args:
        spec: the study.
        kept: the kept curves.

    Attributes:
        indices: the index of each trial's configuration, by trial number.
    """

    def __init__(self, spec: StudySpec, kept: KeptSet) -> None:
        super().__init__(spec)
        self.indices: list[int] = []
        self._space = spec.space
        self._kept = kept
        self._points = Points(spec.space, [curve.params for curve in kept.curves])

    def ask(self) -> FrozenTrial:
        trial = super().ask()
        distances = self._points.distances(trial.params)
        distances[self.indices] = math.inf
        index = int(distances.argmin())
        self.indices.append(index)
        trial.params = dict(self._kept.curves[index].params)
        trial.distributions = self._space.distributions(trial.params)
        return trial

    def add_base(self) -> None:
        """Note that the next trial is base."""
        self.indices.append(0)


class Points:
    """The places of kept configurations in the search space.

    Args:
        space: the space.
        kept: the parameters of each configuration.
    """

    def __init__(self, space: Space, kept: Sequence[Mapping[str, Label]]) -> None:
        self._distributions = {parameter.path: parameter.domain.distribution() for parameter in space}
        self._is_choice = np.array([isinstance(d, CategoricalDistribution) for d in self._distributions.values()])
        self._places = np.stack([self._place(params) for params in kept])

    def distances(self, params: Mapping[str, Label]) -> Array:
        """Return the distance of each kept configuration from the given parameters, shape (n,)."""
        place = self._place(params)
        difference = np.abs(self._places - place)
        difference[:, self._is_choice] = difference[:, self._is_choice] != 0  # NaN is different, too
        is_absent = np.isnan(self._places)
        both = is_absent & np.isnan(place)
        difference[is_absent != np.isnan(place)] = 1.0
        difference[both] = 0.0
        return np.asarray(difference.sum(axis=1))

    def _place(self, params: Mapping[str, Label]) -> Array:
        """Return the place of each parameter on its scale, the number of a choice, or NaN for an absent one."""
        return np.array([_scaled(d, params[p]) if p in params else math.nan for p, d in self._distributions.items()])


def _scaled(distribution: BaseDistribution, value: Label) -> float:
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        return float(distribution.to_internal_repr(value))
    low, high, here = distribution.low, distribution.high, float(value)
    if distribution.log:
        low, high, here = math.log(low), math.log(high), math.log(here)
    return (here - low) / ((high - low) or 1.0)
