"""The errors of `mlp`, and the one way to say where an error happened."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class ConfigError(ValueError):
    """The input cannot be used as it is. The message says where, what must hold, and what was given.

    Attributes:
        problem: the sentence that explains the error.
        path: the dotted path of the field at fault, such as `optimizer.learning_rate`, or empty.
        place: where the field was read, such as `digits.toml: [base]`, or empty.
    """

    def __init__(self, problem: str, *, path: str = "", place: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = path
        self.place = place

    def __str__(self) -> str:
        field = f'"{self.path}":' if self.path else ""
        return " ".join(part for part in (self.place, field, self.problem) if part)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problem,), {"path": self.path, "place": self.place}


class CorruptStateError(ValueError):
    """The bytes of a checkpoint are damaged, or belong to another configuration."""


class DivergedError(ConfigError):
    """A training has diverged: a loss, a metric or a parameter is no longer finite.

    Attributes:
        epoch: the epoch in which that happened, counted from 1.
        learning_rate: the learning rate of the configuration.
    """

    def __init__(self, epoch: int, learning_rate: float) -> None:
        problem = (
            f"the training diverged in epoch {epoch}, so no weights were kept. Try a value below {learning_rate!r}."
        )
        super().__init__(problem, path="optimizer.learning_rate")
        self.epoch = epoch
        self.learning_rate = learning_rate

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.epoch, self.learning_rate), {"path": self.path, "place": self.place}


@contextmanager
def errors_in(place: str = "", *, path: str = "") -> Iterator[None]:
    """Add to every `ConfigError` raised inside the block where it happened; blocks may be nested.

    Args:
        place: the file or section that was being read, such as `digits.toml:` or `[base]`.
        path: the dotted path that contains the field at fault.
    """
    try:
        yield
    except ConfigError as error:
        error.path = ".".join(part for part in (path, error.path) if part)
        error.place = " ".join(part for part in (place, error.place) if part)
        raise


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean "relu"?`, or an empty string if no known word is close."""
    nearest = nearest_word(word, known)
    return f' Did you mean "{nearest}"?' if nearest else ""


def nearest_word(word: str, known: Iterable[str]) -> str:
    """Return the known word that is probably meant, or an empty string.

    That is the same word in another case or with other separators, a word that it abbreviates (`lr`, `acc`), or the
    most similar word. Of a dotted path, `optimizer.learning_rate`, the last step may be abbreviated or given alone.
    """
    words = list(known)
    for is_meant in (_is_same_word, _is_last_step, _is_abbreviation):
        if meant := [other for other in words if is_meant(word, other)]:
            return meant[0]
    return next(iter(difflib.get_close_matches(word, words, n=1)), "")


def _is_same_word(word: str, other: str) -> bool:
    return re.sub(r"[\W_]", "", word).casefold() == re.sub(r"[\W_]", "", other).casefold() != ""


def _is_last_step(word: str, other: str) -> bool:
    return word.casefold() == other.rpartition(".")[2].casefold()


def _is_abbreviation(word: str, other: str) -> bool:
    """Return whether a word has the initials of another one, its first letters, or one of its parts (`auc`)."""
    (place, _, short), (other_place, _, full) = word.casefold().rpartition("."), other.casefold().rpartition(".")
    if place not in ("", other_place) or len(short) < 2:
        return False
    parts = full.split("_")
    return short == "".join(part[:1] for part in parts) or short in parts or full.startswith(short)
