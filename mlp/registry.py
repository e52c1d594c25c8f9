"""Parts by name: how a file spells an activation, an optimizer or a schedule, and how it is checked.

A part is a frozen dataclass registered under a name. Its fields are its hyperparameters; their types and
bounds are stated once, on the dataclass, and every way in (TOML, `--set`, Python) is checked against them.
"""

from __future__ import annotations

import difflib
import functools
import math
import sys
import types
from abc import ABC
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints


class ConfigError(ValueError):
    """What was asked for cannot be run: the message says where, what must hold, what was got.

    Attributes:
        path: the dotted path of the field at fault, `optimizer.learning_rate`, or empty.
        problem: the rest of the sentence.
    """

    def __init__(self, problem: str, *, path: str = "") -> None:
        super().__init__(f'"{path}": {problem}' if path else problem)
        self.path = path
        self.problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), path=self.path), (self.problem,)

    def within(self, path: str) -> ConfigError:
        """Return the same error, seen from the record that holds `path`."""
        return ConfigError(self.problem, path=join_path(path, self.path))


def join_path(*steps: str) -> str:
    """Join the non-empty steps of a dotted path."""
    return ".".join(step for step in steps if step)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean "relu"?`, or nothing when no known word is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f' Did you mean "{close[0]}"?' if close else ""


@dataclass(frozen=True)
class Bounds:
    """The interval in which a numeric field must lie, as the words of an error say it."""

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
        """Make the record that a mapping (as read from TOML) describes; omitted fields take their defaults.

        Raises:
            ConfigError: on an unknown key, a missing one, a wrong type or a value out of bounds.
        """
        known = field_types(cls)
        for key in mapping:
            if key not in known:
                problem = f"is not a field of {describe(cls)}.{did_you_mean(key, known)} It has: {', '.join(known)}."
                raise ConfigError(problem, path=join_path(path, key))
        missing = [
            f.name
            for f in fields(cls)
            if f.default is MISSING and f.default_factory is MISSING and f.name not in mapping
        ]
        if missing:
            raise ConfigError("is missing and has no default.", path=join_path(path, missing[0]))
        try:
            return cls(**mapping)
        except ConfigError as error:
            raise error.within(path) from None

    def to_mapping(self) -> dict[str, Any]:
        """Return the mapping that `from_mapping` turns back into an equal record; every field is spelled out."""
        mapping = {name: encode(getattr(self, name)) for name in field_types(type(self))}
        return {name: value for name, value in mapping.items() if value is not None}


class AbstractPart(AbstractRecord):
    """A record chosen by name from its family; TOML spells it `"relu"` or `{ name = "leaky_relu", slope = 0.1 }`."""

    family: ClassVar[Registry[Any]]
    name: ClassVar[str]


PartT = TypeVar("PartT", bound=AbstractPart)


class Registry(Generic[PartT]):
    """The parts of one family by name, in the order of their definition."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, type[PartT]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def register(self, name: str) -> Callable[[type[PartT]], type[PartT]]:
        """Return a class decorator that enters a part under `name`."""

        def enter(part: type[PartT]) -> type[PartT]:
            if name in self._parts:
                raise ValueError(f'there is already a {self.kind} called "{name}".')
            part.name = name
            part.family = self
            self._parts[name] = part
            return part

        return enter

    def lookup(self, name: str, *, path: str = "") -> type[PartT]:
        """Return the class registered under `name`.

        Raises:
            ConfigError: when there is none, with the nearest name and all of them.
        """
        if name not in self._parts:
            hint = did_you_mean(name, self)
            raise ConfigError(
                f'there is no {self.kind} called "{name}".{hint} There are: {", ".join(self)}.', path=path
            )
        return self._parts[name]

    def decode(self, value: Any, *, path: str = "") -> PartT:
        """Make a part from its name or from a table with a `name`."""
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            raise ConfigError(
                f"must be the name of {with_article(self.kind)} or a table with a name, got {value!r}.", path=path
            )
        part = self.lookup(value["name"], path=path)
        return part.from_mapping({key: item for key, item in value.items() if key != "name"}, path=path)


def with_article(noun: str) -> str:
    """Return `an activation`, `a loss`."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def describe(cls: type[AbstractRecord]) -> str:
    """Return how an error calls a record: `the optimizer "adam"`, `the configuration`."""
    if issubclass(cls, AbstractPart):
        return f'the {cls.family.kind} "{cls.name}"'
    return "the configuration" if cls.__doc__ is None else cls.__doc__.split(":")[0].split(".")[0].lower()


@functools.cache
def field_types(cls: type[AbstractRecord]) -> dict[str, tuple[Any, Bounds]]:
    """Return the resolved annotation and the bounds of each field, by name."""
    hints = get_type_hints(cls)
    return {f.name: (hints[f.name], f.metadata.get("bounds", Bounds())) for f in fields(cls)}


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the annotation alone."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def decode(annotation: Any, value: Any, *, path: str, bounds: Bounds | None = None) -> Any:
    """Return `value` as `annotation` says, or refuse it.

    Args:
        annotation: bool, int, float, str, a Literal, a tuple, a record, a family of parts, or a union of these.
        value: what TOML, Optuna or a caller gave: a plain value, a list, a mapping, or the finished object.
        path: the dotted path, for the error.
        bounds: where numbers must lie.

    Raises:
        ConfigError: with the path, what is allowed and what was got.
    """
    bounds = bounds or Bounds()
    members = alternatives(annotation)
    for member in members:
        if _fits(member, value):
            return _convert(member, value, path, bounds)
    allowed = " or ".join(_in_words(member) for member in members if member is not type(None))
    raise ConfigError(f"must be {allowed}, got {value!r}.", path=path)


def _fits(member: Any, value: Any) -> bool:
    """Return whether the shape of `value` (not yet its content) is that of one member of a union."""
    if member is type(None):
        return value is None
    if get_origin(member) is Literal:
        return isinstance(value, str) and (value in get_args(member))
    if get_origin(member) is tuple:
        return isinstance(value, list | tuple)
    if issubclass(member, AbstractPart):
        return isinstance(value, str | Mapping | member)
    if issubclass(member, AbstractRecord):
        return isinstance(value, Mapping | member)
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
    if issubclass(member, AbstractPart):
        return member.family.decode(value, path=path)
    if issubclass(member, AbstractRecord):
        return member.from_mapping(value, path=path)
    if member in (int, float):
        if not abs(value) <= sys.float_info.max:
            raise ConfigError(f"must be finite, got {value!r}.", path=path)
        if not bounds.admit(value):
            raise ConfigError(f"must be {bounds}, got {value!r}.", path=path)
        return member(value)
    return value


def _in_words(member: Any) -> str:
    if get_origin(member) is Literal:
        return " or ".join(f'"{option}"' for option in get_args(member))
    if get_origin(member) is tuple:
        return f"a list of {_in_plural(get_args(member)[0])}"
    if issubclass(member, AbstractPart):
        return f"the name of {with_article(member.family.kind)} or a table with a name"
    if issubclass(member, AbstractRecord):
        return f"a table with {', '.join(field_types(member))}"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[member]


def _in_plural(member: Any) -> str:
    if get_origin(member) is not Literal and issubclass(member, AbstractPart):
        return f"names of {member.family.kind}s, or tables with a name"
    return {int: "whole numbers", float: "numbers", bool: "true or false", str: "texts"}[member]


def encode(value: Any) -> Any:
    """Return a field's value as TOML and JSON spell it; the inverse of `decode`."""
    if isinstance(value, AbstractPart):
        mapping = value.to_mapping()
        return {"name": value.name, **mapping} if mapping else value.name
    if isinstance(value, AbstractRecord):
        return value.to_mapping()
    return [encode(item) for item in value] if isinstance(value, tuple) else value


def label(value: Any) -> str | bool | int | float:
    """Return how a value is recorded and shown: `leaky_relu(slope=0.1)`, `512-256`, or the plain value itself.

    Of a part only those fields are shown that are not at their default.
    """
    if isinstance(value, AbstractPart):
        usual = {f.name: f.default for f in fields(value)}
        value = {"name": value.name} | {
            k: item for k, item in value.to_mapping().items() if getattr(value, k) != usual[k]
        }
    value = encode(value)
    if isinstance(value, Mapping):
        arguments = ", ".join(f"{key}={label(item)}" for key, item in value.items() if key != "name")
        return f"{value.get('name', '')}({arguments})" if arguments else str(value["name"])
    if isinstance(value, list):
        return "-".join(str(label(item)) for item in value) or "none"
    if isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{value!r} has no label.")
