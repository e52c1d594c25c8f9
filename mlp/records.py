"""Records: frozen dataclasses that are checked when they are made, and how a file writes them.

The type, the default and the bounds of a field are stated once, on the dataclass. TOML, `--set` and Python callers are
all checked against them.
"""

from __future__ import annotations

import functools
import math
import sys
import types
from abc import ABC
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from mlp.errors import ConfigError, did_you_mean, errors_in
from mlp.paths import join_path

Label = str | bool | int | float


@dataclass(frozen=True)
class Bounds:
    """The interval of a numeric field; its text is what an error message says."""

    above: float = -math.inf
    at_least: float = -math.inf
    below: float = math.inf
    at_most: float = math.inf

    def admit(self, value: float) -> bool:
        """Return whether `value` is inside."""
        return self.above < value < self.below and self.at_least <= value <= self.at_most

    def __str__(self) -> str:
        words = [
            f"{name.replace('_', ' ')} {limit:.17g}"
            for name in ("above", "at_least", "below", "at_most")
            if math.isfinite(limit := getattr(self, name))
        ]
        return " and ".join(words) or "finite"


def number(default: Any = MISSING, **bounds: float) -> Any:
    """Declare a numeric field with its default and its bounds (`above`, `at_least`, `below`, `at_most`)."""
    return field(default=default, metadata={"bounds": Bounds(**bounds)})


@dataclass(frozen=True)
class AbstractRecord(ABC):  # noqa: B024 - parts below it have abstract methods, sections of a configuration none
    """A frozen dataclass whose fields are checked against their types and bounds when it is made."""

    def __post_init__(self) -> None:
        for name, (annotation, bounds) in field_types(type(self)).items():
            object.__setattr__(self, name, decode(annotation, getattr(self, name), path=name, bounds=bounds))

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], *, path: str = "") -> Self:
        """Return the record that a mapping (as read from TOML) describes; omitted fields take their defaults.

        Raises:
            ConfigError: if a key is unknown or missing, or a value has the wrong type or is out of bounds.
        """
        known = field_types(cls)
        for key in mapping:
            if key not in known:
                name = path.rpartition(".")[2]
                record = cls.described() or (f'"{name}"' if name else "this table")
                problem = f"is not a field of {record}.{did_you_mean(key, known)}"
                raise ConfigError(f"{problem} Available: {', '.join(known)}.", path=join_path(path, key))
        missing = [
            f.name
            for f in fields(cls)
            if f.default is MISSING and f.default_factory is MISSING and f.name not in mapping
        ]
        if missing:
            raise ConfigError("is missing and has no default.", path=join_path(path, missing[0]))
        with errors_in(path=path):
            return cls(**mapping)

    def to_mapping(self) -> dict[str, Any]:
        """Return the mapping that `from_mapping` turns back into an equal record; it includes every default."""
        mapping = {name: encode(getattr(self, name)) for name in field_types(type(self))}
        return {name: value for name, value in mapping.items() if value is not None}

    @classmethod
    def described(cls) -> str:
        """Return what an error message calls the record; empty to call it by its path."""
        return ""

    @classmethod
    def accepts(cls, value: Any) -> bool:
        """Return whether the type of a value (not yet its content) can describe the record."""
        return isinstance(value, Mapping | cls)

    @classmethod
    def decoded(cls, value: Any, path: str) -> Self:
        """Return the record that an accepted value describes."""
        return cls.from_mapping(value, path=path)

    @classmethod
    def expected(cls, *, plural: bool = False) -> str:
        """Return what an error message says must be given."""
        return f"{'tables' if plural else 'a table'} with {', '.join(field_types(cls))}"

    def encoded(self) -> Any:
        """Return the record as TOML and JSON write it."""
        return self.to_mapping()

    def labelled(self) -> Label:
        """Return the record as it is recorded and shown."""
        return label(self.to_mapping())


@functools.cache
def field_types(cls: type[AbstractRecord]) -> dict[str, tuple[Any, Bounds]]:
    """Return the resolved annotation and the bounds of each field, by name."""
    hints = get_type_hints(cls)
    return {f.name: (hints[f.name], f.metadata.get("bounds", Bounds())) for f in fields(cls)}


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the annotation alone."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def decode(annotation: Any, value: Any, *, path: str, bounds: Bounds | None = None) -> Any:
    """Return `value` converted to the type that `annotation` states.

    Args:
        annotation: bool, int, float, str, a Literal, a tuple, a record, a part, or a union of these.
        value: what TOML, Optuna or a caller gave: a plain value, a list, a mapping, or the finished object.
        path: the dotted path, for the error.
        bounds: the interval in which numbers must lie.

    Raises:
        ConfigError: if the value does not fit; the message has the path, what is allowed and what was given.
    """
    bounds = bounds or Bounds()
    members = alternatives(annotation)
    for member in members:
        if _fits(member, value):
            return _convert(member, value, path, bounds)
    allowed = " or ".join(_in_words(member) for member in members if member is not type(None))
    raise ConfigError(f"must be {allowed}, got {value!r}.", path=path)


def _fits(member: Any, value: Any) -> bool:
    """Return whether the type of `value` (not yet its content) is that of one member of a union."""
    if member is type(None):
        return value is None
    if get_origin(member) is Literal:
        return isinstance(value, str) and (value in get_args(member))
    if get_origin(member) is tuple:
        return isinstance(value, list | tuple)
    if issubclass(member, AbstractRecord):
        accepted: bool = member.accepts(value)
        return accepted
    if member is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if member is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, member)


def _convert(member: Any, value: Any, path: str, bounds: Bounds) -> Any:
    if member is type(None) or get_origin(member) is Literal:
        return value
    if get_origin(member) is tuple:
        item = get_args(member)[0]
        return tuple(decode(item, entry, path=path, bounds=bounds) for entry in value)
    if isinstance(value, AbstractRecord):
        return value
    if issubclass(member, AbstractRecord):
        return member.decoded(value, path)
    if member in (int, float):
        if not abs(value) <= sys.float_info.max:
            raise ConfigError(f"must be finite, got {value!r}.", path=path)
        if not bounds.admit(value):
            raise ConfigError(f"must be {bounds}, got {value!r}.", path=path)
        return member(value)
    return value


def _in_words(member: Any, *, plural: bool = False) -> str:
    if get_origin(member) is Literal:
        return " or ".join(f'"{option}"' for option in get_args(member))
    if get_origin(member) is tuple:
        return f"a list of {_in_words(get_args(member)[0], plural=True)}"
    if issubclass(member, AbstractRecord):
        expected: str = member.expected(plural=plural)
        return expected
    words = {int: ("a whole number", "whole numbers"), float: ("a number", "numbers"), str: ("a string", "strings")}
    return words.get(member, ("true or false", "true or false"))[plural]


def encode(value: Any) -> Any:
    """Return a field's value as TOML and JSON write it; the inverse of `decode`."""
    if isinstance(value, AbstractRecord):
        return value.encoded()
    return [encode(item) for item in value] if isinstance(value, tuple) else value


def label(value: Any) -> Label:
    """Return how a value is recorded and shown: `leaky_relu(slope=0.1)`, `512-256`, or the plain value itself.

    The label of a part contains only the fields that are not at their default.

    Raises:
        TypeError: if the value is not one that a configuration can hold.
    """
    if isinstance(value, AbstractRecord):
        return value.labelled()
    value = encode(value)
    if isinstance(value, Mapping):
        arguments = ", ".join(f"{key}={label(item)}" for key, item in value.items() if key != "name")
        return f"{value.get('name', '')}({arguments})" if arguments else str(value["name"])
    if isinstance(value, list):
        return "-".join(str(label(item)) for item in value) or "none"
    if isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{value!r} has no label.")
