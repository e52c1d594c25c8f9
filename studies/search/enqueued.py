"""Enqueued configurations: a study tries them after base, before its sampler chooses any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlp.config import TrainConfig
from mlp.data_config import current_path
from mlp.errors import ConfigError, did_you_mean, shown
from mlp.paths import flatten, value_at
from mlp.records import Label
from studies.search.domains import Choices, Params, Range, part_name
from studies.search.parameters import Parameter
from studies.search.seedless import SEEDS
from studies.search.space import Space


def params_of_values(space: Space, table: Mapping[str, Any]) -> Params:
    """Return the parameters of an entry of `[[study.enqueue]]`.

    Args:
        space: what is searched.
        table: values by searched path. An omitted path keeps the value of base, given the values before it.

    Raises:
        ConfigError: if a path is not searched or does not apply, or a value is not allowed.
    """
    by_path = {parameter.path: parameter for parameter in space}
    values = {current_path(path): value for path, value in _by_path(table, by_path).items()}
    for path in values:
        if path not in by_path:
            raise ConfigError(f"is not searched, so it cannot be enqueued.{did_you_mean(path, by_path)}", path=path)
    params: Params = {}
    for parameter in space:
        path = parameter.path
        if not parameter.applies(params):
            if path in values:
                when = [f"{other} is {' or '.join(map(str, allowed))}" for other, allowed in parameter.when.items()]
                raise ConfigError(f"is only searched when {' and '.join(when)}. Remove it from this entry.", path=path)
            continue
        if path in values:
            found, value = _label_of(parameter.domain, values[path]), values[path]
        else:
            value = value_at(space.mapping_of(space.configure(params)), path)
            found = parameter.domain.label_of(value)
        if found is None:
            problem = "must be given, because base has no value here" if value is None else _outside(value)
            raise ConfigError(f"{problem}. {_allowed(parameter)}", path=path)
        params[path] = found
    return params


def params_of_config(space: Space, config: TrainConfig) -> tuple[Params, dict[str, str]]:
    """Return the searched parameters of a configuration, and its other fields that differ from the study.

    Args:
        space: what is searched.
        config: a complete configuration, such as that of an export.

    Returns:
        The parameters; and by path, a clause for each field that has another value in a trial with these parameters.

    Raises:
        ConfigError: if a searched value of the configuration is not allowed.
    """
    mapping = space.mapping_of(config)
    params: Params = {}
    for parameter in space:
        if parameter.applies(params):
            value = value_at(mapping, parameter.path)
            found = _nearest_label(parameter.domain, value)
            if found is None:
                raise ConfigError(f"{_outside(value)}. {_allowed(parameter)}", path=parameter.path)
            params[parameter.path] = found
    is_now, given = flatten(space.mapping_of(space.configure(params))), flatten(mapping)
    different = [path for path in {**given, **is_now} if given.get(path) != is_now.get(path) and path not in SEEDS]
    return params, {
        path: f"{path} is {shown(given.get(path, 'absent'))} there and {shown(is_now.get(path, 'absent'))} here"
        for path in different
    }


def _by_path(table: Mapping[str, Any], searched: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return values by dotted path, whether the table quotes the paths or nests tables; a part stays a table."""
    found: dict[str, Any] = {}
    for path, value in table.items():
        if path in searched or not isinstance(value, Mapping):
            found[path] = value
        else:
            found |= _by_path({f"{path}.{key}": inner for key, inner in value.items()}, searched)
    return found


def _label_of(domain: Range | Choices, value: Any) -> Label | None:
    """Return the label of a value as a study file writes it; the value of a choice may be its label."""
    if isinstance(domain, Range):
        found = domain.label_of(value)
        return int(found) if domain.is_int and found is not None else found
    for key, choice in domain.values.items():
        if any(value == form and type(value) is type(form) for form in (key, choice, domain.full_values[key])):
            return key
    return None


def _nearest_label(domain: Range | Choices, value: Any) -> Label | None:
    """Return the label of a value of a complete configuration; among choices of the same part, the most similar one.

    No choice has to be equal to it, because fields of a part may be searched separately.
    """
    if isinstance(domain, Range):
        return _label_of(domain, value)
    exact = _label_of(domain, value)
    same_part = [key for key, full in domain.full_values.items() if part_name(full) == part_name(value) is not None]
    if exact is not None or not same_part:
        return exact

    def n_different(key: Label) -> int:
        mine, other = flatten({"part": domain.full_values[key]}), flatten({"part": value})
        return sum(mine.get(path) != other.get(path) for path in {*mine, *other})

    return min(same_part, key=n_different)


def _outside(value: Any) -> str:
    return f"is {shown(value)}, which is not in the space"


def _allowed(parameter: Parameter) -> str:
    domain = parameter.domain
    if isinstance(domain, Choices):
        return f"Allowed: {', '.join(map(str, domain.labels_to_check()))}."
    step = f" in steps of {domain.step}" if domain.step else ""
    return f"Allowed: {'whole numbers ' if domain.is_int else ''}from {domain.low} to {domain.high}{step}."
