"""The search space: dotted paths of a base configuration, and what each may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlp.config import TrainConfig, merge
from mlp.registry import (
    AbstractPart,
    AbstractRecord,
    Bounds,
    ConfigError,
    alternatives,
    decode,
    did_you_mean,
    encode,
    field_types,
    join_path,
    label,
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
        exact = [name for name, option in self.spelled_out.items() if option == value]
        alike = [name for name, option in self.spelled_out.items() if part_name(option) == part_name(value) is not None]
        return next(iter(exact + alike), None)

    def to_mapping(self) -> dict[str, Any]:
        """Return the choices as the study file spells them."""
        return {"choices": list(self.by_label.values())}


@dataclass(frozen=True)
class Parameter:
    """One searched path, and when it applies.

    Attributes:
        when: the recorded values, by other path, at which this one is searched; empty for always.
    """

    path: str
    domain: Range | Choices
    when: Mapping[str, tuple[Label, ...]]

    def to_mapping(self) -> dict[str, Any]:
        """Return the parameter as the study file spells it."""
        mapping = self.domain.to_mapping()
        return mapping | ({"when": {path: list(values) for path, values in self.when.items()}} if self.when else {})


class Space:
    """The searched parameters in an order in which each comes after those its `when` names.

    Args:
        table: the `[space]` of a study file.
        base: what it varies.

    Raises:
        ConfigError: when a path, a range or a choice does not fit base.
    """

    def __init__(self, table: Mapping[str, Any], base: TrainConfig) -> None:
        self.base = base
        self._base_mapping = base.to_mapping()
        self._tables = {path: _as_table(path, value) for path, value in table.items()}
        self.parameters: list[Parameter] = [self._parameter(path) for path in self._ordered()]
        self._check_every_option()

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def suggest(self, trial: BaseTrial) -> Params:
        """Return the trial's parameters by path; those whose `when` does not hold are left out."""
        params: Params = {}
        for parameter in self.parameters:
            if self._applies(parameter, params):
                params[parameter.path] = parameter.domain.suggest(trial, parameter.path)
        return params

    def configure(self, params: Mapping[str, Label]) -> TrainConfig:
        """Return base with the parameters in their places.

        A bare name that base uses already means the part as base spells it; any other choice replaces it.
        """
        changes: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.path in params:
                value = parameter.domain.value_of(params[parameter.path])
                here = _lookup(self._base_mapping, parameter.path)
                bare = isinstance(value, str) and part_name(here) == value
                changes[parameter.path] = here if bare else value
        return TrainConfig.from_mapping(merge(self._base_mapping, changes))

    def distributions(self, params: Mapping[str, Label]) -> dict[str, BaseDistribution]:
        """Return Optuna's distributions of the parameters that are given."""
        return {p.path: p.domain.distribution() for p in self.parameters if p.path in params}

    def point_of_base(self) -> Params | None:
        """Return the parameters at which the space gives base itself, or None where base is no point of it."""
        params: Params = {}
        for parameter in self.parameters:
            if self._applies(parameter, params):
                recorded = parameter.domain.recorded(_lookup(self._base_mapping, parameter.path))
                if recorded is None:
                    return None
                params[parameter.path] = recorded
        return params if self.configure(params) == self.base else None

    def to_mapping(self) -> dict[str, Any]:
        """Return the space as the study file spells it."""
        return {parameter.path: parameter.to_mapping() for parameter in self.parameters}

    def fingerprint(self) -> dict[str, str]:
        """Return all that decides what is searched, by path, with every default written out."""
        prints = {}
        for parameter in self.parameters:
            mapping = parameter.to_mapping()
            if isinstance(parameter.domain, Choices):
                mapping["choices"] = list(parameter.domain.spelled_out.values())
            prints[parameter.path] = str(mapping)
        return prints

    def _applies(self, parameter: Parameter, params: Mapping[str, Label]) -> bool:
        for path, allowed in parameter.when.items():
            if path in self._tables:
                if path not in params or params[path] not in allowed:
                    return False
            elif _name_or_label(_lookup(self._base_mapping, path)) not in allowed:
                return False
        return True

    def _ordered(self) -> list[str]:
        """Return the paths, outer before inner, each after those that its `when` names, however the file has them."""
        ordered: list[str] = []
        waiting = sorted(self._tables, key=lambda path: (path.count("."), path))
        while waiting:
            ready = [
                path for path in waiting if not any(other in waiting for other in self._tables[path].get("when", ()))
            ]
            if not ready:
                raise ConfigError("the conditions in `when` go round in a circle.", path=waiting[0])
            ordered += ready[:1]
            waiting.remove(ready[0])
        return ordered

    def _parameter(self, path: str) -> Parameter:
        table = self._tables[path]
        known = {"choices"} if "choices" in table else {"low", "high", "log", "step"}
        for key in table:
            if key not in known | {"when"}:
                problem = f'"{key}" is no key of a searched path.{did_you_mean(key, known | {"when"})}'
                raise ConfigError(f"{problem} It takes a list, or low and high with log or step, and when.", path=path)
        when = {other: self._condition(path, other, value) for other, value in _when(path, table).items()}
        annotation, bounds = self._field(path, when)
        domain = _choices(path, table["choices"], annotation, bounds) if "choices" in table else None
        return Parameter(path, domain or _range(path, table, annotation, bounds), when)

    def _condition(self, path: str, other: str, value: Any) -> tuple[Label, ...]:
        """Return the recorded values of `other` that a condition names."""
        wanted = value if isinstance(value, list) else [value]
        if other in self._tables:
            table = self._tables[other]
            if "choices" not in table:
                raise ConfigError(f'when: "{other}" is searched by range; a condition needs choices.', path=path)
            present = {label(option): option for option in table["choices"]}
        else:
            if _lookup(self._base_mapping, other) is None:
                hint = did_you_mean(other, [*self._tables, *flatten(self._base_mapping)])
                raise ConfigError(f'when: "{other}" is not a field of [base].{hint}', path=path)
            return tuple(_name_or_label(item) for item in wanted)
        allowed: list[Label] = []
        for item in wanted:
            hits = [name for name, option in present.items() if option == item or part_name(option) == item]
            if not hits:
                names = ", ".join(str(name) for name in present)
                raise ConfigError(f'when: {item!r} is no choice of "{other}", which has: {names}.', path=path)
            allowed += hits
        return tuple(allowed)

    def _field(self, path: str, when: Mapping[str, tuple[Label, ...]]) -> tuple[Any, Bounds]:
        """Return the annotation and bounds of a path, which every record that can stand above it must have."""
        *steps, last = path.split(".")
        holders: list[Any] = [self.base]
        above = ""
        for step in steps:
            holders = [value for holder in holders for value in self._values(holder, above, step, path, when)]
            above = join_path(above, step)
        found = [self._entry(holder, last, path) for holder in holders]
        if not found:
            raise ConfigError("can never apply: its `when` excludes every choice above it.", path=path)
        return found[0]

    def _values(
        self, holder: Any, above: str, step: str, path: str, when: Mapping[str, tuple[Label, ...]]
    ) -> list[AbstractRecord]:
        annotation, bounds = self._entry(holder, step, path)
        here = join_path(above, step)
        if here not in self._tables:
            return [getattr(holder, step)]
        options = {label(option): option for option in self._tables[here].get("choices", ())}
        kept = {name: option for name, option in options.items() if here not in when or name in when[here]}
        return [decode(annotation, option, path=here, bounds=bounds) for option in kept.values()]

    def _entry(self, holder: Any, name: str, path: str) -> tuple[Any, Bounds]:
        if isinstance(holder, AbstractRecord) and name in field_types(type(holder)):
            return field_types(type(holder))[name]
        hint = did_you_mean(path, flatten(self._base_mapping))
        if isinstance(holder, AbstractPart) and not hint:
            parent = path.rpartition(".")[0]
            hint = f' "{holder.name}" has none: guard it with when = {{ "{parent}" = ... }}, or leave that choice out.'
        raise ConfigError(f"is not a field of [base].{hint}", path=path)

    def _check_every_option(self) -> None:
        """Configure every end and every choice once, so that nothing is refused in the middle of a study."""
        for parameter in self.parameters:
            for option in parameter.domain.options():
                self.configure(self._example(parameter, option))

    def _example(self, wanted: Parameter, option: Label) -> Params:
        """Return parameters with one option set, the conditions above it met, and all others at their first."""
        forced: Params = {wanted.path: option}
        waiting = [wanted]
        by_path = {parameter.path: parameter for parameter in self.parameters}
        while waiting:
            for path, allowed in waiting.pop().when.items():
                if path in by_path and path not in forced:
                    forced[path] = allowed[0]
                    waiting.append(by_path[path])
        params: Params = {}
        for parameter in self.parameters:
            if self._applies(parameter, params):
                params[parameter.path] = forced.get(parameter.path, parameter.domain.options()[0])
        return params


def flatten(mapping: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return the leaves of a nested mapping by dotted path; a part's name stands at the part's own path."""
    leaves: dict[str, Any] = {}
    for key, value in mapping.items():
        path = above if key == "name" and above and above != "data" else join_path(above, key)
        leaves |= flatten(value, path) if isinstance(value, Mapping) else {path: value}
    return leaves


def part_name(value: Any) -> str | None:
    """Return the name of a part as TOML spells it, or None for anything else."""
    name = value.get("name") if isinstance(value, Mapping) else value
    return name if isinstance(name, str) else None


def _name_or_label(value: Any) -> Label:
    return part_name(value) or label(value)


def _lookup(mapping: Mapping[str, Any], path: str) -> Any:
    """Return what stands at a dotted path, or None."""
    value: Any = mapping
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _as_table(path: str, value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"choices": value}
    if isinstance(value, dict):
        if not {"low", "choices", "high"} & value.keys() and value:
            inner = next(iter(value))
            problem = f'needs low and high, or choices; or is "{path}.{inner}" meant? Then quote the dotted path.'
            raise ConfigError(problem, path=path)
        return value
    raise ConfigError(f"must be a list of choices or a table with low and high, got {value!r}.", path=path)


def _when(path: str, table: Mapping[str, Any]) -> Mapping[str, Any]:
    when = table.get("when", {})
    if not isinstance(when, dict):
        raise ConfigError(f'when must be a table such as {{ optimizer = "sgd" }}, got {when!r}.', path=path)
    return flatten(when)


def _choices(path: str, options: Any, annotation: Any, bounds: Bounds) -> Choices:
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


def _range(path: str, table: Mapping[str, Any], annotation: Any, bounds: Bounds) -> Range:
    for key in ("low", "high"):
        if key not in table:
            raise ConfigError(f"has no {key}; a range needs low and high.", path=path)
    low, high, log, step = table["low"], table["high"], table.get("log", False), table.get("step")
    members = alternatives(annotation)
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
