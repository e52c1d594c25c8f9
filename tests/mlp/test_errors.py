"""Messages are one printable line of a bounded length; words that were probably meant are suggested."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp.errors import (
    MAX_MESSAGE,
    MAX_VALUE,
    ConfigError,
    did_you_mean,
    errors_in,
    escaped,
    listed,
    nearest_word,
    shown,
)
from mlp.records import decode

LONGEST = MAX_MESSAGE + 50  # with the words that say how long the text was


@given(problem=st.text(), path=st.text(), place=st.text())
def test_a_message_is_one_printable_line(problem: str, path: str, place: str) -> None:
    text = str(ConfigError(problem, path=path, place=place))
    assert text.isprintable()
    assert len(text.splitlines()) <= 1
    assert str(ConfigError(text)) == text


@pytest.mark.parametrize(
    ("raw", "shown_as"),
    [
        ("\x1b[2J\x07", r"\x1b[2J\x07"),  # clears the screen and rings
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),  # sets the title of the window
        ("a\r\nb", r"a\r\nb"),
        ("\u202egpj", r"\u202egpj"),  # writes from right to left
        ("\x9b2J", r"\x9b2J"),  # the same as the first, in one character
        ("\ud800", r"\ud800"),
        ("Größe 高さ", "Größe 高さ"),
        ("C:\\new", "C:\\new"),
    ],
)
def test_control_characters_are_shown_and_not_sent(raw: str, shown_as: str) -> None:
    assert escaped(raw) == shown_as
    assert str(ConfigError("is unknown.", path=raw)) == f'"{shown_as}": is unknown.'


def test_a_long_message_keeps_its_beginning_and_its_end_and_states_its_length() -> None:
    text = str(ConfigError("x" * 100_000 + " Remove it.", place="wine.csv:"))
    assert text.startswith("wine.csv: xxx")
    assert text.endswith("xxx Remove it.")
    assert "(100021 characters)" in text
    assert len(text) < LONGEST


@pytest.mark.parametrize(
    ("value", "ending"),
    [
        ("v" * 5000, "... (5002 characters)"),
        ([0.5] * 5000, "... (5000 values)"),
        ({str(i): i for i in range(5000)}, "... (5000 keys)"),
        (10**4000, "... (4001 characters)"),
    ],
)
def test_a_long_value_is_cut_and_its_length_is_stated(value: object, ending: str) -> None:
    assert shown(value).endswith(ending)
    assert len(shown(value)) < MAX_VALUE + 30


def test_a_value_that_python_cannot_write_is_described() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert shown(10**5000) == "a value of type int that is too long to show"
    assert shown(nested) == "a value of type list that is too long to show"
    with pytest.raises(ConfigError, match="must be finite, got a value of type int that is too long to show"):
        decode(float, 10**5000, path="epochs")
    while nested:  # freeing it in one step would overflow the stack of older interpreters
        nested = nested.pop()  # type: ignore[assignment]


def test_a_long_list_of_names_is_cut_and_its_length_is_stated() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(map(str, range(1000))).endswith("18, 19, ... (1000 in total)")
    assert len(listed(["n" * 10_000] * 1000)) < 3000


def test_a_long_path_is_cut_in_the_message_but_not_in_the_error() -> None:
    with pytest.raises(ConfigError) as error, errors_in(path="a." * 50_000):
        raise ConfigError("is unknown.", path="b")
    assert len(str(error.value)) < 200
    assert error.value.path.endswith("b")


def test_a_word_is_compared_with_a_bounded_number_of_names() -> None:
    assert did_you_mean("momentun", ["learning_rate", "momentum"]) == ' Did you mean "momentum"?'
    assert did_you_mean("x" * 1_000_000, (f"column_{i}" for i in range(1_000_000))) == ""


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_half_a_character_is_refused_because_no_file_can_contain_it(text: str) -> None:
    with pytest.raises(ConfigError, match=r'"classes": must be valid Unicode, got .*\\ud'):
        decode(tuple[str, ...], ["yes", text], path="classes")
    assert decode(str, "😀", path="name") == "😀"


FIELDS = ["l2", "learning_rate", "batch_size", "weight_decay", "epochs"]
PATHS = ["optimizer", "optimizer.l2", "optimizer.learning_rate", "network.hidden"]


@pytest.mark.parametrize(
    ("word", "known", "nearest"),
    [
        ("lr", FIELDS, "learning_rate"),
        ("bs", FIELDS, "batch_size"),
        ("wd", FIELDS, "weight_decay"),
        ("learningRate", FIELDS, "learning_rate"),
        ("BATCH-SIZE", FIELDS, "batch_size"),
        ("decay", FIELDS, "weight_decay"),
        ("epochen", FIELDS, "epochs"),
        ("optimizer.lr", PATHS, "optimizer.learning_rate"),
        ("lr", PATHS, "optimizer.learning_rate"),
        ("hidden", PATHS, "network.hidden"),
        ("networ.hidden", PATHS, "network.hidden"),
        ("q", FIELDS, ""),
        ("", FIELDS, ""),
        ("xyzzy", PATHS, ""),
    ],
)
def test_the_word_that_is_probably_meant_is_suggested(word: str, known: list[str], nearest: str) -> None:
    assert nearest_word(word, known) == nearest
    assert did_you_mean(word, known) == (f' Did you mean "{nearest}"?' if nearest else "")
