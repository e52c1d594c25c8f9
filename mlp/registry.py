"""Registries: the activations, optimizers, schedules and other parts that a configuration chooses by name.

A part is a frozen dataclass that is registered under a name in its family. Its fields are its hyperparameters. Adding
a part means adding one decorated class to the module of its family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any, ClassVar, Generic, Self, TypeVar

from mlp.errors import ConfigError, did_you_mean, shortened, shown
from mlp.records import AbstractRecord, Label, label


class AbstractPart(AbstractRecord):
    """A record chosen by name from its family: `"relu"` or `{ name = "leaky_relu", slope = 0.1 }` in TOML.

    Attributes:
        family: the registry that holds the part.
        name: the name under which it is registered.
    """

    family: ClassVar[Registry[Any]]
    name: ClassVar[str]

    @classmethod
    def error_name(cls) -> str:
        return f'the {cls.family.kind} "{cls.name}"'

    @classmethod
    def expected_form(cls, *, plural: bool = False) -> str:
        kind = cls.family.kind
        if plural:
            return f"names of {kind}s, or tables with a name"
        return f"the name of {with_article(kind)} or a table with a name"

    @classmethod
    def can_decode(cls, value: Any) -> bool:
        return isinstance(value, str | Mapping | cls)

    @classmethod
    def from_value(cls, value: Any, *, path: str) -> Self:
        part: Self = cls.family.decode(value, path=path)
        return part

    def to_value(self) -> str | dict[str, Any]:
        mapping = self.to_mapping()
        return {"name": self.name, **mapping} if mapping else self.name

    def to_label(self) -> Label:
        defaults = {f.name: f.default for f in fields(self)}
        changed = {key: value for key, value in self.to_mapping().items() if getattr(self, key) != defaults[key]}
        return label({"name": self.name, **changed})


PartT = TypeVar("PartT", bound=AbstractPart)


class Registry(Generic[PartT]):
    """The parts of one family by name, in the order of their definition.

    Args:
        kind: what one part of the family is called, such as `activation`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, type[PartT]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def register(self, name: str) -> Callable[[type[PartT]], type[PartT]]:
        """Return a class decorator that adds a part under `name`."""

        def add(part: type[PartT]) -> type[PartT]:
            if name in self._parts:  # a mistake in the code, not in a configuration, hence no ConfigError
                raise ValueError(f'there is already {with_article(self.kind)} called "{name}".')
            part.name = name
            part.family = self
            self._parts[name] = part
            return part

        return add

    def lookup(self, name: str, *, path: str = "") -> type[PartT]:
        """Return the class registered under `name`.

        Raises:
            ConfigError: if there is none; the message has the nearest name and all names.
        """
        if name not in self._parts:
            problem = f'there is no {self.kind} called "{shortened(name)}".{did_you_mean(name, self)}'
            raise ConfigError(f"{problem} Available: {', '.join(self)}.", path=path)
        return self._parts[name]

    def decode(self, value: Any, *, path: str = "") -> PartT:
        """Return the part that a name, or a table with a `name`, describes.

        Raises:
            ConfigError: if the value is neither, the name is unknown, or a field does not fit.
        """
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            problem = f"must be the name of {with_article(self.kind)} or a table with a name, got {shown(value)}."
            raise ConfigError(problem, path=path)
        part = self.lookup(value["name"], path=path)
        return part.from_mapping({key: item for key, item in value.items() if key != "name"}, path=path)


def with_article(noun: str) -> str:
    """Return the noun with its indefinite article: `an activation`, `a loss`."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
