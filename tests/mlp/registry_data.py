"""Records and registries of the tests of both."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from mlp import (
    ConfigError,
)
from mlp.records import (
    AbstractRecord,
    number,
)
from mlp.registry import AbstractPart, Registry


class AbstractShape(AbstractPart):
    """A family that exists only in these tests."""

    @abstractmethod
    def area(self) -> float: ...


shapes: Registry[AbstractShape] = Registry("shape")


AbstractShape.family = shapes


@shapes.register("square")
@dataclass(frozen=True)
class Square(AbstractShape):
    """A square."""

    side: float = number(1.0, above=0.0)

    def area(self) -> float:
        return self.side**2


@shapes.register("disc")
@dataclass(frozen=True)
class Disc(AbstractShape):
    """A disc."""

    radius: float = number(1.0, above=0.0)

    def area(self) -> float:
        return math.pi * self.radius**2


@dataclass(frozen=True)
class Drawing(AbstractRecord):
    """A record with one field of each kind."""

    title: str
    copies: int = number(1, at_least=1, at_most=9)
    scale: float = number(1.0, above=0.0, below=2.0)
    framed: bool = False
    paper: Literal["a4", "a3"] = "a4"
    marks: tuple[int, ...] = number((), at_least=0)
    pages: int | Literal["all"] = number("all", at_least=1)
    shape: AbstractShape = Square()
    second: AbstractShape | None = None


def refusal(cls: type[AbstractRecord], mapping: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        cls.from_mapping(mapping)
    return str(caught.value)
