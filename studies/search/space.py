"""The search space: dotted paths of a base configuration, and what each may be."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlp.config import TrainConfig
from mlp.errors import ConfigError, did_you_mean
from mlp.paths import flatten, join_path, merge, value_at
from mlp.records import (
    AbstractRecord,
    Bounds,
    decode,
    field_types,
    label,
)
from mlp.registry import AbstractPart, Registry
from studies.search.domains import (
    Choices,
    Label,
    Params,
    Range,
    part_name,
    read_choices,
    read_range,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial


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


@dataclass(frozen=True)
class Example:
    """A point of the space that is tried before a study begins.

    Attributes:
        chosen: what it is an example of; all other parameters are at the first that they may be.
    """

    chosen: Params
    config: TrainConfig


class Space:
    """The searched parameters in an order in which each comes after those its `when` names.

    Args:
        table: the `[space]` of a study file.
        base: what it varies.

    Attributes:
        examples: one of every end of a range and every choice, and of every two of these together.

    Raises:
        ConfigError: when a path, a range, a choice, or one choice with another, does not fit base.
    """

    def __init__(self, table: Mapping[str, Any], base: TrainConfig) -> None:
        self.base = base
        self._base_mapping = base.to_mapping()
        self._tables = {path: _as_table(path, value) for path, value in table.items()}
        self._tables = {path: self._tables[path] for path in self._ordered() if self._can_apply(path)}
        self.parameters: list[Parameter] = [self._parameter(path) for path in self._tables]
        self.examples = tuple(self._examples())  # now, so that nothing is refused in the middle of a study

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
                here = value_at(self._base_mapping, parameter.path)
                bare = isinstance(value, str) and part_name(here) == value
                changes[parameter.path] = here if bare else value
        return TrainConfig.from_mapping(merge(self._base_mapping, changes))

    def distributions(self, params: Mapping[str, Label]) -> dict[str, BaseDistribution]:
        """Return Optuna's distributions of the parameters that are given."""
        return {p.path: p.domain.distribution() for p in self.parameters if p.path in params}

    def params_of_base(self) -> Params | None:
        """Return the parameters at which the space gives base itself, or None where base is no point of it."""
        params: Params = {}
        for parameter in self.parameters:
            if self._applies(parameter, params):
                recorded = parameter.domain.recorded(value_at(self._base_mapping, parameter.path))
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
        return all(path in params and params[path] in allowed for path, allowed in parameter.when.items())

    def _can_apply(self, path: str) -> bool:
        """Return whether base meets the conditions of a path on what is not searched."""
        for other, value in self._tables[path]["when"].items():
            if other not in self._tables:
                here = value_at(self._base_mapping, other)
                if here is None:
                    hint = did_you_mean(other, [*self._tables, *flatten(self._base_mapping)])
                    raise ConfigError(f'when: "{other}" is not a field of [base].{hint}', path=path)
                wanted = value if isinstance(value, list) else [value]
                part = value_at(self.base, other)
                for item in wanted:
                    if isinstance(part, AbstractPart) and isinstance(item, str):
                        part.family.lookup(item.partition("(")[0], path=path)
                if not any(_is_named(here, item) for item in wanted):
                    return False
        return True

    def _ordered(self) -> list[str]:
        """Return the paths, outer before inner, each after those that its `when` names, however the file has them."""
        ordered: list[str] = []
        waiting = sorted(self._tables, key=lambda path: (path.count("."), path))
        while waiting:
            ready = [path for path in waiting if not any(other in waiting for other in self._tables[path]["when"])]
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
        given = {other: value for other, value in table["when"].items() if other in self._tables}
        when = {other: self._condition(path, other, given[other]) for other in sorted(given)}
        annotation, bounds = self._field(path, when)
        domain = read_choices(path, table["choices"], annotation, bounds) if "choices" in table else None
        return Parameter(path, domain or read_range(path, table, annotation, bounds), when)

    def _condition(self, path: str, other: str, value: Any) -> tuple[Label, ...]:
        """Return the recorded values of `other` that a condition names."""
        wanted = value if isinstance(value, list) else [value]
        table = self._tables[other]
        if "choices" not in table:
            raise ConfigError(f'when: "{other}" is searched by range; a condition needs choices.', path=path)
        present = {label(option): option for option in table["choices"]}
        allowed: list[Label] = []
        for item in wanted:
            hits = [name for name, option in present.items() if _is_named(option, item)]
            if not hits:
                names = ", ".join(str(name) for name in present)
                raise ConfigError(f'when: {item!r} is no choice of "{other}", which has: {names}.', path=path)
            allowed += [name for name in hits if name not in allowed]
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
        if isinstance(holder, AbstractPart) and _has_field(holder.family, name):
            parent = path.rpartition(".")[0]
            hint = f' "{holder.name}" has none: guard it with when = {{ "{parent}" = ... }}, or leave that choice out.'
        else:
            hint = did_you_mean(path, flatten(self._base_mapping))
        raise ConfigError(f"is not a field of [base].{hint}", path=path)

    def _examples(self) -> Iterator[Example]:
        """Yield an example of every end of a range and every choice, and of every two of these together."""
        options = [(parameter.path, option) for parameter in self.parameters for option in parameter.domain.options()]
        pairs = ({a: x, b: y} for (a, x), (b, y) in itertools.combinations(options, 2) if a != b)
        seen = set()
        for chosen in itertools.chain(({path: option} for path, option in options), pairs):
            params = self._params_with(chosen)
            key = repr(params)
            if key not in seen and chosen.keys() <= params.keys():
                seen.add(key)
                try:
                    yield Example(chosen, self.configure(params))
                except ConfigError as error:
                    raise blame(chosen, error) from None

    def _params_with(self, chosen: Params) -> Params:
        """Return parameters with some chosen, the conditions above these met, and all others at their first.

        What is chosen is missing where one of it excludes another.
        """
        by_path = {parameter.path: parameter for parameter in self.parameters}
        allowed: dict[str, tuple[Label, ...]] = {path: (option,) for path, option in chosen.items()}
        waiting = list(chosen)
        while waiting:
            for path, names in by_path[waiting.pop()].when.items():
                waiting += [path] if path not in allowed else []
                allowed[path] = tuple(name for name in allowed.get(path, names) if name in names)
        params: Params = {}
        for parameter in self.parameters:
            options = allowed.get(parameter.path, parameter.domain.options())
            if options and self._applies(parameter, params):
                params[parameter.path] = options[0]
        return params


def blame(chosen: Params, error: ConfigError) -> ConfigError:
    """Return what an example was refused for, with what was chosen in it where the error does not say so itself."""
    if len(chosen) == 1 and f"{error.path}.".startswith(f"{next(iter(chosen))}."):
        return error
    where = " and ".join(f"{path} = {option}" for path, option in chosen.items())
    hint = " Guard one of them with `when`, or leave it out." if len(chosen) > 1 else ""
    return ConfigError(f"{error.problem} That is so with {where}.{hint}", path=error.path)


def _is_named(value: Any, wanted: Any) -> bool:
    """Return whether a condition's value means this one: the same, or a part by its name or label."""
    return wanted in (value, part_name(value)) or (isinstance(wanted, str) and label(value) == wanted)


def _has_field(family: Registry[AbstractPart], name: str) -> bool:
    """Return whether any part of a family has a field of this name."""
    return any(name in field_types(family.lookup(part)) for part in family)


def _as_table(path: str, value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"choices": value, "when": {}}
    if isinstance(value, dict):
        if not {"low", "choices", "high"} & value.keys() and value:
            meant = join_path(path, *_innermost(value))
            problem = f'needs low and high, or choices; or is "{meant}" meant? Then quote the dotted path.'
            raise ConfigError(problem, path=path)
        return value | {"when": _when(path, value)}
    raise ConfigError(f"must be a list of choices or a table with low and high, got {value!r}.", path=path)


def _innermost(table: Mapping[str, Any]) -> list[str]:
    """Return the steps that lead from a table to the first thing that looks like a range or a list of choices."""
    step, inner = next(iter(table.items()))
    ends = not isinstance(inner, dict) or not inner or {"low", "high", "choices"} & inner.keys()
    return [step] if ends else [step, *_innermost(inner)]


def _when(path: str, table: Mapping[str, Any]) -> Mapping[str, Any]:
    when = table.get("when", {})
    if not isinstance(when, dict):
        raise ConfigError(f'when must be a table such as {{ optimizer = "sgd" }}, got {when!r}.', path=path)
    return flatten(when)
