"""What a searched path may be: a range of numbers, or a few choices recorded by their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlp.errors import ConfigError
from mlp.paths import join_path
from mlp.records import (
    Bounds,
    decode,
    encode,
    label,
    union_members,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

Label = str | bool | int | float
Params = dict[str, Label]


@dataclass(frozen=True)
class Range:
    """A numeric parameter: low and high are both included.

    Attributes:
        log: whether it is searched on a logarithmic scale.
        step: the grid on which values lie, counted from low.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    is_int: bool = False

    def suggest(self, trial: BaseTrial, path: str) -> Label:
        """Return the trial's value."""
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

    def options(self) -> tuple[Any, ...]:
        """Return the values that a check tries: both ends."""
        return (self.low, self.high)

    def value_of(self, recorded: Label) -> Any:
        """Return the value that a recorded one stands for: itself."""
        return recorded

    def recorded(self, value: Any) -> Label | None:
        """Return how a value of base is recorded, or None when it is not in the range."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return None
        step = self.step or (1 if self.is_int else None)
        if step and abs((value - self.low) / step - round((value - self.low) / step)) > 1e-8:
            return None
        return value

    def to_mapping(self) -> dict[str, Any]:
        """Return the range as the study file spells it."""
        mapping = {"low": self.low, "high": self.high}
        return mapping | ({"log": True} if self.log else {}) | ({"step": self.step} if self.step else {})


@dataclass(frozen=True)
class Choices:
    """A parameter that is one of a few values, recorded by their labels.

    Attributes:
        by_label: the values as the study file spells them.
        spelled_out: the same with every default written out.
    """

    by_label: dict[Label, Any]
    spelled_out: dict[Label, Any]

    def suggest(self, trial: BaseTrial, path: str) -> Label:
        """Return the label of the trial's value."""
        chosen: Label = trial.suggest_categorical(path, list(self.by_label))
        return chosen

    def distribution(self) -> BaseDistribution:
        """Return the choices as Optuna records them."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(list(self.by_label))

    def options(self) -> tuple[Any, ...]:
        """Return the values that a check tries: all labels."""
        return tuple(self.by_label)

    def value_of(self, recorded: Label) -> Any:
        """Return the value that a label stands for."""
        return self.by_label[recorded]

    def recorded(self, value: Any) -> Label | None:
        """Return the label of a value of base, or None when it is no choice; a part is known by its name."""
        bare = [
            name for name, option in self.by_label.items() if isinstance(option, str) and option == part_name(value)
        ]
        exact = [name for name, option in self.spelled_out.items() if option == value]
        alike = [name for name, option in self.spelled_out.items() if part_name(option) == part_name(value) is not None]
        return next(iter(exact + bare + alike), None)

    def to_mapping(self) -> dict[str, Any]:
        """Return the choices as the study file spells them."""
        return {"choices": list(self.by_label.values())}


def part_name(value: Any) -> str | None:
    """Return the name of a part as TOML spells it, or None for anything else."""
    name = value.get("name") if isinstance(value, Mapping) else value
    return name if isinstance(name, str) else None


def read_choices(path: str, options: Any, annotation: Any, bounds: Bounds) -> Choices:
    """Return the choices of a path, each of which its field must admit.

    Raises:
        ConfigError: when one does not fit, or stands there twice.
    """
    if not isinstance(options, list) or not options:
        raise ConfigError(f"choices must be a list of at least one value, got {options!r}.", path=path)
    by_label: dict[Label, Any] = {}
    spelled_out: dict[Label, Any] = {}
    for option in options:
        decoded = encode(decode(annotation, option, path=path, bounds=bounds))
        name = label(option)
        if any(name == other and type(name) is type(other) for other in by_label):
            raise ConfigError(f"{name!r} stands twice among the choices.", path=path)
        by_label[name], spelled_out[name] = option, decoded
    return Choices(by_label, spelled_out)


def read_range(path: str, table: Mapping[str, Any], annotation: Any, bounds: Bounds) -> Range:
    """Return the range of a path, whole numbers or not by its field's type.

    Raises:
        ConfigError: when an end is not for the field, or the keys contradict each other.
    """
    for key in ("low", "high"):
        if key not in table:
            raise ConfigError(f"has no {key}; a range needs low and high.", path=path)
    low, high, log, step = table["low"], table["high"], table.get("log", False), table.get("step")
    members = union_members(annotation)
    is_int = int in members and not (float in members and isinstance(low, float))
    if not is_int and float not in members:
        raise ConfigError("is not a number, so it takes a list of choices.", path=path)
    kind = int if is_int else float
    low, high = (decode(kind, end, path=path, bounds=bounds) for end in (low, high))
    if not isinstance(log, bool):
        raise ConfigError(f"log must be true or false, got {log!r}.", path=path)
    if low > high:
        raise ConfigError(f"low must not be above high, got low = {low!r} and high = {high!r}.", path=path)
    if log and low <= 0:
        raise ConfigError(f"log = true needs low > 0, got low = {low!r}.", path=path)
    if log and step is not None:
        raise ConfigError("log = true and step exclude each other; leave one out.", path=path)
    if step is not None:
        step = decode(kind, step, path=join_path(path, "step"), bounds=Bounds(above=0))
        if abs((high - low) / step - round((high - low) / step)) > 1e-8:
            raise ConfigError(f"high must be low plus whole steps, got {low!r} to {high!r} by {step!r}.", path=path)
    return Range(low, high, log, step, is_int)
