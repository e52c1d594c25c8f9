"""The errors of `mlp`, and the one way to say where an error happened."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import Any

MAX_MESSAGE = 1000  # characters; about ten lines of a terminal
MAX_VALUE = 100  # characters of a value or a name inside a message
MAX_NAMES = 20  # names of a list inside a message
MAX_COMPARED = 2000  # names that are compared with a misspelt one; a file may contain millions


def escaped(text: str) -> str:
    """Return a text in one line, in which control characters and lone surrogates are shown by their codes.

    What a file contains may be part of a message, and a terminal obeys control characters.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shortened(text: str, limit: int = MAX_VALUE) -> str:
    """Return a text, or the beginning of a long one and its length."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def shown(value: Any) -> str:
    """Return how a message shows a value: as Python writes it; a long value is cut and its length is added."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or a list that is nested as deeply
        return f"a value of type {type(value).__name__} that is too long to show"
    if len(text) <= MAX_VALUE or isinstance(value, str) or not isinstance(value, Sized):
        return shortened(text)
    return f"{text[:MAX_VALUE]}... ({len(value)} {'keys' if isinstance(value, Mapping) else 'values'})"


def listed(names: Iterable[object]) -> str:
    """Return how a message lists names: separated by commas; a long list is cut and its length is added."""
    texts = [shortened(str(name)) for name in names]
    more = f", ... ({len(texts)} in total)" if len(texts) > MAX_NAMES else ""
    return ", ".join(texts[:MAX_NAMES]) + more


def one_line(message: str) -> str:
    """Return a message in one line that is not too long: escaped, and cut in the middle, with its length added."""
    text = escaped(message)
    if len(text) <= MAX_MESSAGE:
        return text
    half = MAX_MESSAGE // 2  # the beginning says where the mistake is, the end says what to do
    return f"{text[:half]} ... ({len(text)} characters) ... {text[-half:]}"


class ConfigError(ValueError):
    """The input cannot be used as it is. The message says where, what must hold, and what was given.

    Whatever a file contains, `str(error)` is one line of printable text.

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
        field = f'"{shortened(self.path)}":' if self.path else ""
        return one_line(" ".join(part for part in (self.place, field, self.problem) if part))

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
    return f' Did you mean "{shortened(nearest)}"?' if nearest else ""


def nearest_word(word: str, known: Iterable[str]) -> str:
    """Return the known word that is probably meant, or an empty string.

    That is the same word in another case or with other separators, a word that it abbreviates (`lr`, `acc`), or the
    most similar word. Of a dotted path, `optimizer.learning_rate`, the last step may be abbreviated or given alone.
    """
    word, words = word[:MAX_VALUE], list(itertools.islice(known, MAX_COMPARED))
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
