"""The searched parameters: `[space]` of a study file, read and checked against `[base]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlp.config import TrainConfig
from mlp.data_config import current_path
from mlp.errors import ConfigError, did_you_mean, listed, shown
from mlp.paths import flatten, join_path, value_at
from mlp.records import AbstractRecord, Bounds, Label, decode, field_types, label
from mlp.registry import AbstractPart, Registry
from studies.search import free_layers
from studies.search.domains import Choices, Range, part_name, read_choices, read_range

RANGE_KEYS = {"low", "high", "log", "step"}


@dataclass(frozen=True)
class Parameter:
    """A searched path.

    Attributes:
        path: its dotted path in base.
        domain: its allowed values.
        when: the conditions under which it is searched: by other path, the labels that are allowed there.
    """

    path: str
    domain: Range | Choices
    when: Mapping[str, tuple[Label, ...]]

    def applies(self, params: Mapping[str, Label]) -> bool:
        """Return whether the parameter is searched, given the parameters before it."""
        return all(path in params and params[path] in allowed for path, allowed in self.when.items())

    def to_mapping(self) -> dict[str, Any]:
        """Return the parameter as the study file writes it."""
        mapping = self.domain.to_mapping()
        return mapping | ({"when": {path: list(labels) for path, labels in self.when.items()}} if self.when else {})


def read_parameters(table: Mapping[str, Any], base: TrainConfig) -> list[Parameter]:
    """Return the searched parameters, each after those that its `when` names.

    A path is left out if its `when` names something that is not searched and has another value in base.

    Args:
        table: `[space]` of a study file.
        base: the configuration that it varies.

    Raises:
        ConfigError: if a path, a range, a choice or a condition does not fit base.
    """
    return _SpaceReader(table, base).read()


class _SpaceReader:
    def __init__(self, table: Mapping[str, Any], base: TrainConfig) -> None:
        self._base = base
        self._base_mapping = base.to_mapping()
        entries = {path: _read_entry(path, value) for path, value in free_layers.expand(table).items()}
        self._entries = free_layers.add_conditions(entries)
        self._parameters: dict[str, Parameter] = {}

    def read(self) -> list[Parameter]:
        ordered = self._paths_in_order()
        # First leave out what base excludes, because no other condition can name it then.
        self._entries = {path: self._entries[path] for path in ordered if self._base_meets_conditions(path)}
        for path in self._entries:
            self._parameters[path] = self._read_parameter(path)
        return list(self._parameters.values())

    def _paths_in_order(self) -> list[str]:
        """Return the paths, outer before inner, each after those that its `when` names."""
        ordered: list[str] = []
        waiting = sorted(self._entries, key=free_layers.sort_key)
        while waiting:
            ready = [path for path in waiting if not any(other in waiting for other in self._entries[path]["when"])]
            if not ready:
                raise ConfigError("the conditions in `when` are circular.", path=waiting[0])
            ordered.append(ready[0])
            waiting.remove(ready[0])
        return ordered

    def _base_meets_conditions(self, path: str) -> bool:
        """Return whether base meets those conditions of a path that name something that is not searched."""
        for other, value in self._entries[path]["when"].items():
            if other in self._entries:
                continue
            base_value = value_at(self._base_mapping, other)
            if base_value is None:
                hint = did_you_mean(other, [*self._entries, *flatten(self._base_mapping)])
                raise ConfigError(f'when: "{other}" is not a field of [base].{hint}', path=path)
            wanted = value if isinstance(value, list) else [value]
            part = value_at(self._base, other)
            for item in wanted:
                if isinstance(part, AbstractPart) and isinstance(item, str):
                    part.family.lookup(item.partition("(")[0], path=path)  # refuses a name that does not exist
            if not any(_is_meant_by(item, base_value) for item in wanted):
                return False
        return True

    def _read_parameter(self, path: str) -> Parameter:
        entry = self._entries[path]
        known = ({"choices"} if "choices" in entry else RANGE_KEYS) | {"when"}
        for key in entry:
            if key not in known:
                problem = f'"{key}" is not a valid key here.{did_you_mean(key, known)}'
                allowed = "A searched path takes a list of choices, or low and high with log or step; and when."
                raise ConfigError(f"{problem} {allowed}", path=path)
        conditions = {other: value for other, value in entry["when"].items() if other in self._entries}
        when = {other: self._read_condition(path, other, conditions[other]) for other in sorted(conditions)}
        annotation, bounds = self._field_type(path, when)
        if "choices" in entry:
            return Parameter(path, read_choices(path, entry["choices"], annotation, bounds), when)
        return Parameter(path, read_range(path, entry, annotation, bounds), when)

    def _read_condition(self, path: str, other: str, value: Any) -> tuple[Label, ...]:
        """Return the labels of another searched path that a condition allows."""
        domain = self._parameters[other].domain
        if domain.n_points() is None:
            problem = f'when: "{other}" is a range without a step, but a condition needs separate values.'
            raise ConfigError(problem, path=path)
        values = {key: domain.value_of(key) for key in domain.points()}
        allowed: list[Label] = []
        for item in value if isinstance(value, list) else [value]:
            meant = [key for key, choice in values.items() if _is_meant_by(item, choice)]
            if not meant:
                names = listed(values)
                problem = f'when: {shown(item)} is not a choice of "{other}". Available: {names}.'
                raise ConfigError(problem, path=path)
            allowed += [key for key in meant if key not in allowed]
        return tuple(allowed)

    def _choices(self, path: str) -> dict[Label, Any]:
        return {label(choice): choice for choice in self._entries[path].get("choices", ())}

    def _field_type(self, path: str, when: Mapping[str, tuple[Label, ...]]) -> tuple[Any, Bounds]:
        """Return the type and the bounds of the field at a path.

        Records above it may be searched themselves. Then the field must exist in each of those that `when` allows.
        """
        if (found_type := free_layers.field_type(path)) is not None:
            return found_type
        *steps, last = path.split(".")
        records: list[Any] = [self._base]
        parent = ""
        for step in steps:
            here = join_path(parent, step)
            records = [inner for record in records for inner in self._records_at(record, here, path, when)]
            parent = here
        found = [self._field_of(record, last, path) for record in records]
        if not found:
            raise ConfigError("can never apply: its `when` excludes every choice above it.", path=path)
        return found[0]

    def _records_at(
        self, record: Any, here: str, path: str, when: Mapping[str, tuple[Label, ...]]
    ) -> list[AbstractRecord]:
        """Return what the field at `here` of a record may hold: base's value, or each choice that `when` allows.

        Args:
            record: the record that has the field.
            here: the dotted path of the field.
            path: the searched path below it, for errors.
            when: the conditions of the searched path.
        """
        step = here.rpartition(".")[2]
        annotation, bounds = self._field_of(record, step, path)
        if here not in self._entries:
            return [getattr(record, step)]
        allowed = [choice for key, choice in self._choices(here).items() if here not in when or key in when[here]]
        return [decode(annotation, choice, path=here, bounds=bounds) for choice in allowed]

    def _field_of(self, record: Any, name: str, path: str) -> tuple[Any, Bounds]:
        """Return the type and the bounds of a record's field, or explain that it has no such field."""
        fields: dict[str, tuple[Any, Bounds]] = field_types(type(record)) if isinstance(record, AbstractRecord) else {}
        if name in fields:
            return fields[name]
        if isinstance(record, AbstractPart) and _is_field_in_family(record, name):
            parent = path.rpartition(".")[0]
            guard = f'Guard it with when = {{ "{parent}" = ... }}, or remove that choice.'
            raise ConfigError(f'is not a field of [base], because "{record.name}" has none. {guard}', path=path)
        raise ConfigError(f"is not a field of [base].{did_you_mean(path, flatten(self._base_mapping))}", path=path)


def _is_field_in_family(part: AbstractPart, name: str) -> bool:
    """Return whether any part of the same family has a field of this name."""
    family: Registry[AbstractPart] = part.family
    return any(name in field_types(family.lookup(other)) for other in family)


def _is_meant_by(item: Any, value: Any) -> bool:
    """Return whether an item of a condition means a value: the same value, or the name or the label of a part."""
    return item in (value, part_name(value)) or (isinstance(item, str) and label(value) == item)


def _read_entry(path: str, value: Any) -> dict[str, Any]:
    """Return an entry of `[space]` as a table with its conditions by dotted path; a list means choices."""
    if isinstance(value, list):
        return {"choices": value, "when": {}}
    if not isinstance(value, dict):
        raise ConfigError(f"must be a list of choices or a table with low and high, got {shown(value)}.", path=path)
    if value and not {"low", "choices", "high"} & value.keys():
        meant = join_path(path, *_steps_to_entry(value))
        problem = f'needs low and high, or choices. If you mean "{meant}", quote the dotted path.'
        raise ConfigError(problem, path=path)
    when = value.get("when", {})
    if not isinstance(when, dict):
        raise ConfigError(f'when must be a table such as {{ optimizer = "sgd" }}, got {shown(when)}.', path=path)
    return value | {"when": {current_path(other): wanted for other, wanted in flatten(when).items()}}


def _steps_to_entry(table: Mapping[str, Any]) -> list[str]:
    """Return the steps from a table to the first thing in it that looks like an entry of `[space]`."""
    step, inner = next(iter(table.items()))
    is_entry = not isinstance(inner, dict) or not inner or {"low", "high", "choices"} & inner.keys()
    return [step] if is_entry else [step, *_steps_to_entry(inner)]
