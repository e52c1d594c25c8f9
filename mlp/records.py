"""Records: frozen dataclasses that check their own fields and convert themselves to and from TOML.

The type, the default and the bounds of a field are stated once, on the dataclass. Values from TOML, from `--set` and
from Python callers are all checked against them.
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

from mlp.errors import ConfigError, did_you_mean, errors_in, shown
from mlp.paths import join_path

Label = str | bool | int | float


@dataclass(frozen=True)
class Bounds:
    """The interval that a numeric field must lie in; as a string it reads `at least 0 and below 1`."""

    above: float = -math.inf
    at_least: float = -math.inf
    below: float = math.inf
    at_most: float = math.inf

    def contain(self, value: float) -> bool:
        """Return whether `value` lies in the interval."""
        return self.above < value < self.below and self.at_least <= value <= self.at_most

    def __str__(self) -> str:
        limits = {name: getattr(self, name) for name in ("above", "at_least", "below", "at_most")}
        words = [f"{name.replace('_', ' ')} {limit:.17g}" for name, limit in limits.items() if math.isfinite(limit)]
        return " and ".join(words) or "finite"


def number(default: Any = MISSING, **bounds: float) -> Any:
    """Declare a numeric field with its default and its bounds (`above`, `at_least`, `below`, `at_most`)."""
    return field(default=default, metadata={"bounds": Bounds(**bounds)})


@dataclass(frozen=True)
class AbstractRecord(ABC):  # noqa: B024 - the families of parts add abstract methods, sections of a configuration do not
    """A frozen dataclass whose fields are checked against their types and bounds when it is created.

    The methods from `error_name` on say how a record appears inside another one, and in errors. A part that is chosen
    by name (`mlp.registry.AbstractPart`) overrides them, because a file may write it as its bare name.
    """

    def __post_init__(self) -> None:
        for name, (annotation, bounds) in field_types(type(self)).items():
            # The dataclass is frozen, so that the converted value has to be set around its `__setattr__`.
            object.__setattr__(self, name, decode(annotation, getattr(self, name), path=name, bounds=bounds))

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], *, path: str = "") -> Self:
        """Return the record that a mapping (as read from TOML) describes; omitted fields take their defaults.

        Args:
            mapping: the fields by name.
            path: the dotted path of the mapping in the file, for errors.

        Raises:
            ConfigError: if a key is unknown or missing, or a value has the wrong type or is out of bounds.
        """
        known = field_types(cls)
        with errors_in(path=path):
            mapping = cls.current_names(mapping)
        for key in mapping:
            if key not in known:
                table_name = path.rpartition(".")[2]
                record = cls.error_name() or (f'"{table_name}"' if table_name else "this table")
                problem = f"is not a field of {record}.{did_you_mean(key, known)}"
                raise ConfigError(f"{problem} Available: {', '.join(known)}.", path=join_path(path, key))
        for f in fields(cls):
            has_default = f.default is not MISSING or f.default_factory is not MISSING
            if f.name not in mapping and not has_default:
                raise ConfigError("is missing and has no default.", path=join_path(path, f.name))
        with errors_in(path=path):
            return cls(**mapping)

    @classmethod
    def current_names(cls, mapping: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a mapping in which fields that were renamed have their names of today.

        Raises:
            ConfigError: if a field is given by both names.
        """
        return mapping

    def to_mapping(self) -> dict[str, Any]:
        """Return the mapping that `from_mapping` turns back into an equal record; it includes every default."""
        mapping = {name: encode(getattr(self, name)) for name in field_types(type(self))}
        return {name: value for name, value in mapping.items() if value is not None}

    @classmethod
    def error_name(cls) -> str:
        """Return what errors call the record; empty if they should use its path."""
        return ""

    @classmethod
    def expected_form(cls, *, plural: bool = False) -> str:
        """Return the words with which an error states what must be given for the record."""
        return f"{'tables' if plural else 'a table'} with {', '.join(field_types(cls))}"

    @classmethod
    def can_decode(cls, value: Any) -> bool:
        """Return whether the type of a value suits the record; its content is not checked yet."""
        return isinstance(value, Mapping | cls)

    @classmethod
    def from_value(cls, value: Any, *, path: str) -> Self:
        """Return the record that a value describes, given that `can_decode` is true for it."""
        return cls.from_mapping(value, path=path)

    def to_value(self) -> Any:
        """Return the record as TOML and JSON write it inside another record."""
        return self.to_mapping()

    def to_label(self) -> Label:
        """Return the label under which the record is shown and recorded in studies; see `label`."""
        return label(self.to_mapping())


@functools.cache
def field_types(cls: type[AbstractRecord]) -> dict[str, tuple[Any, Bounds]]:
    """Return the resolved annotation and the bounds of each field, by name."""
    hints = get_type_hints(cls)
    return {f.name: (hints[f.name], f.metadata.get("bounds", Bounds())) for f in fields(cls)}


def union_members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the annotation alone."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def decode(annotation: Any, value: Any, *, path: str, bounds: Bounds | None = None) -> Any:
    """Return `value` converted to the type that `annotation` states.

    Args:
        annotation: bool, int, float, str, Any, a Literal, a tuple, a Mapping, a record, a part, or a union of these.
        value: what TOML, Optuna or a caller gave: a plain value, a list, a mapping, or the finished object.
        path: the dotted path, for the error.
        bounds: the interval in which numbers must lie.

    Raises:
        ConfigError: if the value does not fit; the message has the path, what is allowed and what was given.
    """
    members = union_members(annotation)
    for member in members:
        if _has_type(value, member):
            return _convert(value, member, path, bounds or Bounds())
    allowed = " or ".join(_type_in_words(member) for member in members if member is not type(None))
    raise ConfigError(f"must be {allowed}, got {shown(value)}.", path=path)


def _has_type(value: Any, member: Any) -> bool:
    """Return whether the type of `value` suits one member of a union; its content is not checked yet."""
    if member is Any:
        return True
    if member is type(None):
        return value is None
    if get_origin(member) is Literal:
        return isinstance(value, str) and value in get_args(member)
    if get_origin(member) is tuple:
        return isinstance(value, list | tuple)
    if get_origin(member) is Mapping:
        return isinstance(value, Mapping)
    if issubclass(member, AbstractRecord):
        return bool(member.can_decode(value))
    if isinstance(value, bool):  # Python counts a bool as an int, a configuration does not
        return member is bool
    return isinstance(value, int | float if member is float else member)


def _convert(value: Any, member: Any, path: str, bounds: Bounds) -> Any:
    """Return `value` converted to a type that suits it, its content checked."""
    if member in (Any, type(None)) or get_origin(member) is Literal:
        return value
    if get_origin(member) is tuple:
        item = get_args(member)[0]
        return tuple(decode(item, entry, path=path, bounds=bounds) for entry in value)
    if get_origin(member) is Mapping:
        item = get_args(member)[1]
        for key in value:
            _check_text(key, path)
        return {key: decode(item, entry, path=join_path(path, key)) for key, entry in value.items()}
    if isinstance(value, AbstractRecord):
        return value
    if issubclass(member, AbstractRecord):
        return member.from_value(value, path=path)
    if member in (int, float):
        if not abs(value) <= sys.float_info.max:  # also true of NaN, and of an int that no float can hold
            raise ConfigError(f"must be finite, got {shown(value)}.", path=path)
        if not bounds.contain(value):
            raise ConfigError(f"must be {bounds}, got {shown(value)}.", path=path)
        return member(value)
    if isinstance(value, str):
        _check_text(value, path)
    return value


def _check_text(text: str, path: str) -> None:
    """Refuse a text that no file and no terminal can take: JSON can contain halves of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"must be valid Unicode, got {shown(text)}.", path=path) from None


def _type_in_words(member: Any, *, plural: bool = False) -> str:
    if get_origin(member) is Literal:
        return " or ".join(f'"{option}"' for option in get_args(member))
    if get_origin(member) is tuple:
        return f"a list of {_type_in_words(get_args(member)[0], plural=True)}"
    if get_origin(member) is Mapping:
        return "tables" if plural else "a table"
    if issubclass(member, AbstractRecord):
        return str(member.expected_form(plural=plural))
    if member is bool:
        return "true or false"
    singular = {int: "a whole number", float: "a number", str: "a string"}[member]
    return f"{singular.removeprefix('a ')}s" if plural else singular


def encode(value: Any) -> Any:
    """Return a field's value as TOML and JSON write it; the inverse of `decode`."""
    if isinstance(value, AbstractRecord):
        return value.to_value()
    return [encode(item) for item in value] if isinstance(value, tuple) else value


def label(value: Any) -> Label:
    """Return how a value is shown and recorded: `leaky_relu(slope=0.1)`, `512-256`, or the plain value itself.

    Studies store labels as the values of categorical parameters, so that a label must never change. The label of a
    part contains only the fields that are not at their default.

    Raises:
        TypeError: if a configuration cannot hold such a value.
    """
    if isinstance(value, AbstractRecord):
        return value.to_label()
    value = encode(value)
    if isinstance(value, Mapping):
        arguments = ", ".join(f"{key}={label(item)}" for key, item in value.items() if key != "name")
        return f"{value.get('name', '')}({arguments})" if arguments else str(value["name"])
    if isinstance(value, list):
        return "-".join(str(label(item)) for item in value) or "none"
    if isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{shown(value)} has no label.")
