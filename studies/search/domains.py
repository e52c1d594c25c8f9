"""Domains: the allowed values of a searched path, either a range of numbers or a list of choices.

Optuna records each value by its label. The label of a number is the number itself; the label of a part is its text,
such as `leaky_relu(slope=0.1)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mlp.errors import ConfigError, shown
from mlp.paths import join_path
from mlp.records import Bounds, Label, decode, encode, label, union_members

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

Params = dict[str, Label]
MAX_CHOICES = 1000  # of one path; a sampler learns nothing about that many


@dataclass(frozen=True)
class Range:
    """A range of numbers; low and high are both included.

    Attributes:
        low: the smallest value.
        high: the largest value.
        log: whether the range is searched on a logarithmic scale.
        step: the distance between allowed values, counted from low; None allows every value.
        is_int: whether the values are whole numbers.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    is_int: bool = False

    def suggest(self, trial: BaseTrial, path: str) -> Label:
        """Return the value that a trial suggests."""
        if self.is_int:
            whole: int = trial.suggest_int(path, int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
            return whole
        real: float = trial.suggest_float(path, self.low, self.high, log=self.log, step=self.step)
        return real

    def distribution(self) -> BaseDistribution:
        """Return the range as Optuna records it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.is_int:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def labels_to_check(self) -> tuple[Label, ...]:
        """Return the values that are checked before a study begins: both ends."""
        return (self.low, self.high)

    def n_points(self) -> int | None:
        """Return the number of values, or None if there is no end of them."""
        step = self.step or (1 if self.is_int else None)
        if step is None:
            return 1 if self.low == self.high else None
        return round((self.high - self.low) / step) + 1

    def points(self, n: int | None = None) -> Sequence[Label]:
        """Return all values in ascending order; of a range without step, `n` values at equal distances."""
        n_values = self.n_points() or n
        if self.is_int:
            return range(int(self.low), int(self.high) + 1, int(self.step or 1))
        if self.step is not None and n_values is not None:
            low, step = Decimal(str(self.low)), Decimal(str(self.step))  # 0.3 instead of 0.1 + 0.1 + 0.1
            return [float(low + i * step) for i in range(n_values)]
        if n_values is None:
            raise ValueError("a range without step needs the number of values.")
        return values_between(self.low, self.high, n_values, log=self.log)

    def value_of(self, label: Label) -> Any:
        """Return the value of a label: the same number."""
        return label

    def label_of(self, value: Any) -> Label | None:
        """Return the label of a value of base, or None if the value is not in the range."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return None
        step = self.step or (1 if self.is_int else None)
        if step and not _is_multiple(value - self.low, step):
            return None
        return value

    def to_mapping(self) -> dict[str, Any]:
        """Return the range as the study file writes it."""
        mapping = {"low": self.low, "high": self.high}
        return mapping | ({"log": True} if self.log else {}) | ({"step": self.step} if self.step else {})


@dataclass(frozen=True)
class Choices:
    """A list of choices.

    Attributes:
        values: the choices as the study file writes them, by label.
        full_values: the same with every default included.
    """

    values: dict[Label, Any]
    full_values: dict[Label, Any]

    def suggest(self, trial: BaseTrial, path: str) -> Label:
        """Return the label of the choice that a trial suggests."""
        chosen: Label = trial.suggest_categorical(path, list(self.values))
        return chosen

    def distribution(self) -> BaseDistribution:
        """Return the choices as Optuna records them."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(list(self.values))

    def labels_to_check(self) -> tuple[Label, ...]:
        """Return the labels that are checked before a study begins: all of them."""
        return tuple(self.values)

    def n_points(self) -> int:
        """Return the number of choices."""
        return len(self.values)

    def points(self, n: int | None = None) -> Sequence[Label]:
        """Return the labels of all choices, whatever `n` is."""
        return tuple(self.values)

    def value_of(self, label: Label) -> Any:
        """Return the choice with this label."""
        return self.values[label]

    def label_of(self, value: Any) -> Label | None:
        """Return the label of a value of base, or None if it is not one of the choices.

        A choice that equals the value comes first, then one that is the bare name of the value's part, then any other
        choice of the same part.
        """
        name = part_name(value)
        equal = [key for key, choice in self.full_values.items() if choice == value]
        bare = [key for key, choice in self.values.items() if isinstance(choice, str) and choice == name]
        same_part = [key for key, choice in self.full_values.items() if name is not None and part_name(choice) == name]
        return next(iter(equal + bare + same_part), None)

    def to_mapping(self) -> dict[str, Any]:
        """Return the choices as the study file writes them."""
        return {"choices": list(self.values.values())}


def values_between(low: float, high: float, n: int, *, log: bool) -> list[float]:
    """Return `n` values from `low` to `high` at equal distances, on a logarithmic scale if `log` is true."""
    if log:
        between = [low * (high / low) ** (i / (n - 1)) for i in range(1, n - 1)]
    else:
        between = [low + (high - low) * (i / (n - 1)) for i in range(1, n - 1)]
    return [low, *between, high][:n]


def part_name(value: Any) -> str | None:
    """Return the name of a part as TOML writes it, or None if the value is not a part."""
    name = value.get("name") if isinstance(value, Mapping) else value
    return name if isinstance(name, str) else None


def read_choices(path: str, choices: Any, annotation: Any, bounds: Bounds) -> Choices:
    """Return the choices of a path.

    Args:
        path: the searched path.
        choices: the list in the study file.
        annotation: the type of the field at the path.
        bounds: the bounds of the field.

    Raises:
        ConfigError: if a choice does not fit the field, or appears twice.
    """
    if not isinstance(choices, list) or not choices:
        raise ConfigError(f"choices must be a list of at least one value, got {shown(choices)}.", path=path)
    if len(choices) > MAX_CHOICES:
        problem = (
            f"may have at most {MAX_CHOICES} choices, got {len(choices)}. Use a range: {{ low = ..., high = ... }}."
        )
        raise ConfigError(problem, path=path)
    values: dict[Label, Any] = {}
    full_values: dict[Label, Any] = {}
    for choice in choices:
        full_value = encode(decode(annotation, choice, path=path, bounds=bounds))
        key = label(choice)
        # 1 and true are equal in Python, but they are different choices.
        if any(key == other and type(key) is type(other) for other in values):
            raise ConfigError(f"{shown(key)} appears twice among the choices.", path=path)
        values[key], full_values[key] = choice, full_value
    return Choices(values, full_values)


def read_range(path: str, table: Mapping[str, Any], annotation: Any, bounds: Bounds) -> Range:
    """Return the range of a path; the type of the field decides whether its values are whole numbers.

    Args:
        path: the searched path.
        table: the table in the study file.
        annotation: the type of the field at the path.
        bounds: the bounds of the field.

    Raises:
        ConfigError: if an end does not fit the field, or the keys contradict each other.
    """
    for key in ("low", "high"):
        if key not in table:
            raise ConfigError(f"has no {key}; a range needs low and high.", path=path)
    low, high, log, step = table["low"], table["high"], table.get("log", False), table.get("step")
    members = union_members(annotation)
    is_int = int in members and not (float in members and isinstance(low, float))
    if not is_int and float not in members:
        raise ConfigError("is not a number, so it needs a list of choices instead of a range.", path=path)
    kind = int if is_int else float
    low, high = (decode(kind, end, path=path, bounds=bounds) for end in (low, high))
    if not isinstance(log, bool):
        raise ConfigError(f"log must be true or false, got {shown(log)}.", path=path)
    if low > high:
        raise ConfigError(f"low must not be above high, got low = {shown(low)} and high = {shown(high)}.", path=path)
    if log and low <= 0:
        raise ConfigError(f"log = true needs low > 0, got low = {shown(low)}.", path=path)
    if log and step is not None:
        raise ConfigError("log = true and step cannot be combined. Remove one of them.", path=path)
    if step is not None:
        step = decode(kind, step, path=join_path(path, "step"), bounds=Bounds(above=0))
        if not _is_multiple(high - low, step):
            problem = (
                f"high must be low plus a whole number of steps, got {shown(low)} to {shown(high)} by {shown(step)}."
            )
            raise ConfigError(problem, path=path)
    return Range(low, high, log, step, is_int)


def _is_multiple(distance: float, step: float) -> bool:
    """Return whether a distance is a whole number of steps, except for rounding."""
    n_steps = distance / step
    return abs(n_steps - round(n_steps)) <= 1e-8
