"""TOML files: limits that hold before anything is parsed, and what may be read at all."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp.errors import ConfigError
from studies.records.files import MAX_TOML, parse_toml, read_toml
from studies.search.spec import make_spec, parse_override

NESTED = "may be nested at most 32 deep"
PARTS = "a dotted key may have at most 32 parts"
DIGITS = "a number may have at most 300 digits"

HOSTILE = {
    "nested lists": ("\nx = " + "[" * 900 + "]" * 900, rf"line 2: lists and tables {NESTED}"),
    "nested lists without an end": ("x = " + "[" * 19_000, NESTED),
    "nested tables": ("x = " + "{a = " * 900 + "1" + "}" * 900, NESTED),
    "brackets after a text": ('x = "]]]]' + "]" * 50 + '"\ny = ' + "[" * 40, f"line 2: .*{NESTED}"),
    "many digits": ("x = " + "9" * 5000, f"line 1: {DIGITS}"),
    "many hexadecimal digits": ("x = 0x" + "f" * 100_000, DIGITS),
    "many decimals": ("x = -0." + "1" * 100_000, DIGITS),
    "a dotted key": (".".join("a" * 100_000) + " = 1", rf"{PARTS}, got 100000"),
    "a dotted key of texts": (".".join(['"a, = "'] * 90_000) + " = 1", PARTS),
    "a dotted header": ("[" + " . ".join("a" * 1000) + "]", PARTS),
    "a dotted key in a table": ("x = { y = { " + ".".join("a" * 1000) + " = 1 } }", PARTS),
    "too many bytes": ("a = 1\n" * 1_700_000, "must have at most 1000000 bytes, got 10200000"),
    "too many keys": ("\n".join(f"a{i} = 1" for i in range(90_000)), "at most 20000 keys and list entries"),
    "too many choices": ("x = [" + "0.1," * 200_000 + "]", "at most 20000 keys and list entries"),
    "too many tables": ("[[a]]\n" * 100_000, "at most 20000 keys and list entries"),
    "a text without an end": ('x = "' + '\\"' * 400_000, "is not TOML: "),
    "a long text without an end": ('x = """' + '\\"' * 400_000, "is not TOML: "),
    "quotation marks": ("'" * 900_000, "is not TOML: "),
    "backslashes": ('"\\' * 400_000, "is not TOML: "),
}


@pytest.mark.parametrize(("text", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_in_one_line_and_costs_little(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "x.toml"
    file.write_text(text)
    started = time.process_time()
    with pytest.raises(ConfigError, match=rf"x\.toml: .*{problem}") as error:
        read_toml(file)
    assert time.process_time() - started < 2
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    "value",
    [
        "[" * 900 + "]" * 900,
        "{a = " * 90 + "1" + "}" * 90,
        "9" * 5000,
        "0x" + "f" * 5000,
        "[" + "1," * 20_000,
        "a" * 10**6,
    ],
)
def test_a_hostile_override_is_refused_in_one_line(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set network\.hidden: ") as error:
        parse_override(f"network.hidden={value}")
    assert len(str(error.value)) < 300


def test_an_override_with_a_long_path_is_refused() -> None:
    with pytest.raises(ConfigError, match="a path may have at most 32 parts, got 1001"):
        parse_override("network" + ".a" * 1000 + "=1")
    with pytest.raises(ConfigError, match="must have at most 10000 bytes, got"):
        parse_override("network" + ".a" * 100_000 + "=1")


def test_texts_and_comments_are_not_syntax() -> None:
    dots = "." * 500
    text = (
        f"# {dots} [[[[ {'9' * 500}\n"
        f"a = '{'[' * 50} {dots}'\n"
        f'b = """\n{"{" * 50} \\""" {"9." * 500}\n"""\n'
        f"c = '''\n{'[' * 50}'{dots}\n'''\n"
        f'd = "\\"{"[" * 50}" # it\'s {dots}\n'
        "e = [1979-05-27T07:32:00.999999-07:00, 0.1, 1_000_000]\n"
    )
    content = parse_toml(text)
    assert content["a"] == f"{'[' * 50} {dots}"
    assert content["e"][1:] == [0.1, 1_000_000]


@given(text=st.text(alphabet="a.\"'\\#\n[]{}=, 1", max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        assert isinstance(parse_toml(text), dict)
    except ConfigError as error:
        assert str(error).isprintable()  # noqa: PT017 - either outcome is right


def make_pipe(file: Path) -> None:
    os.mkfifo(file)


NOT_REGULAR: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (make_pipe, "must be a regular file, got a pipe"),
    "a device": (lambda file: file.symlink_to("/dev/zero"), "must be a regular file, got a device"),
    "a folder": (Path.mkdir, "must be a regular file, got a folder"),
    "a large file": (lambda file: (file.touch(), os.truncate(file, 2 << 30)), "must have at most 1000000 bytes"),
    "nothing": (lambda _: None, "there is no such file"),
    "not a text": (lambda file: file.write_bytes(b"\xff\xfe"), "cannot be read"),
}


@pytest.mark.parametrize(("make", "problem"), NOT_REGULAR.values(), ids=NOT_REGULAR)
def test_what_is_not_a_text_file_of_a_reasonable_size_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], object], problem: str
) -> None:
    file = tmp_path / "x.toml"
    make(file)
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match=rf"x\.toml: {problem}"):
            read_toml(file)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


READ = "import sys, pathlib; from studies.records.files import read_toml; print(read_toml(pathlib.Path(sys.argv[1])))"


@pytest.mark.parametrize(
    ("typed", "answer"), [("a = 1\n", "{'a': 1}"), ("a = 1\n" * (MAX_TOML // 3), "must have at most 1000000 bytes")]
)
def test_standard_input_is_read_up_to_the_limit(typed: str, answer: str) -> None:
    code = [sys.executable, "-c", READ, "/dev/stdin"]
    ended = subprocess.run(code, input=typed, capture_output=True, text=True, timeout=60, check=False)
    assert answer in ended.stdout + ended.stderr


def test_a_pipe_that_was_handed_to_the_process_is_read() -> None:
    reading, writing = os.pipe()
    writer = threading.Thread(target=lambda: (os.write(writing, b"a = 1\n"), os.close(writing)))
    writer.start()
    assert read_toml(Path(f"/dev/fd/{reading}")) == {"a": 1}
    writer.join()
    os.close(reading)


def test_more_choices_than_can_be_checked_are_refused() -> None:
    tables = {"study": {"name": "x"}, "base": {"data": {"name": "digits"}}, "space": {"batch_size": [*range(1, 1002)]}}
    with pytest.raises(ConfigError, match=r'"batch_size": may have at most 1000 choices, got 1001\. Use a range'):
        make_spec(tables)
    tables["space"] = {"batch_size": [*range(1, 501)], "epochs": [*range(1, 501)]}
    with pytest.raises(ConfigError, match=r"\[space\] has 250000 pairs of choices, and at most 20000 can be checked"):
        make_spec(tables)


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_bytes(b"\xef\xbb\xbfepochs = 3\r\n")
    assert read_toml(tmp_path / "study.toml") == {"epochs": 3}
