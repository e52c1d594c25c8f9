"""Read TOML files, and replace files atomically."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mlp.errors import ConfigError, errors_in
from mlp.untrusted import check_size, read_regular

MAX_TOML = 1_000_000  # bytes; a large study file has a few thousand
MAX_VALUES = 20_000  # keys, tables and list entries; the parser reads about so many in a second
MAX_DEPTH = 32  # tables and lists inside each other, and parts of a dotted key
MAX_DIGITS = 300  # of a number; the largest floating-point number has 309

# Texts and comments, also unfinished ones. Whatever is left contains brackets, dots and digits as syntax only. Each
# alternative takes what it can and gives nothing back, so that the time is proportional to the length of the file.
_TEXTS = re.compile(
    r'''"""(?:[^\\]|\\.)*?(?:"""|\Z)|\'{3}.*?(?:\'{3}|\Z)|"(?:[^"\\\n]|\\.)*+"?|'[^'\n]*+'?|\#[^\n]*+''', re.DOTALL
)
_DOTTED_KEYS = re.compile(r"[\w\-. \t]+")
_NUMBERS = re.compile(rf"(?<![\w.])[+-]?\d[\w.]{{{MAX_DIGITS}}}")


def read_toml(file: Path) -> dict[str, Any]:
    """Return the content of a TOML file, which may also be a pipe that was handed to the process: `/dev/stdin`.

    Raises:
        ConfigError: if it cannot be read, is too large, or is not TOML; the message names the file and the line.
    """
    with errors_in(f"{file}:"):
        try:
            content = _read_pipe(file) if _is_own_pipe(file) else read_regular(file, MAX_TOML)
            check_size(len(content), MAX_TOML)
            return parse_toml(content.decode("utf-8-sig"))  # Notepad writes a byte order mark
        except FileNotFoundError:
            raise ConfigError("there is no such file.") from None
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"cannot be read: {error}.") from None


def _is_own_pipe(file: Path) -> bool:
    """Return whether a path is a pipe that is open in this process: `/dev/stdin`, or `/dev/fd/63` for `<(...)`."""
    return str(file).startswith(("/dev/stdin", "/dev/fd/", "/proc/self/fd/")) and file.is_fifo()


def _read_pipe(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(MAX_TOML + 1)


def parse_toml(text: str) -> dict[str, Any]:
    """Return the content of a TOML text.

    Raises:
        ConfigError: if it is not TOML, or is nested more deeply or has longer keys or numbers than any study needs.
    """
    _check_syntax(text)
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"is not TOML: {error}.{_toml_hint(str(error))}") from None


def parse_toml_value(text: str) -> Any:
    """Return the value that a text is in TOML, or None if it is not TOML, such as a bare word.

    Raises:
        ConfigError: as `parse_toml`, if the text goes beyond its limits.
    """
    text = f"value = {text}"
    _check_syntax(text)
    try:
        return tomllib.loads(text)["value"]
    except tomllib.TOMLDecodeError:
        return None


def _check_syntax(text: str) -> None:
    """Refuse what the parser needs minutes for, or cannot represent.

    The parser calls itself for each level of nesting, and compares each part of a dotted key with all before it.
    """
    bare = _TEXTS.sub(lambda match: "x" + "\n" * match[0].count("\n"), text)
    if (n_values := sum(map(bare.count, ",=[{"))) > MAX_VALUES:
        raise ConfigError(f"must have at most {MAX_VALUES} keys and list entries, got {n_values}.")
    depth = 0
    for bracket in re.finditer(r"[\[\]{}]", bare):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MAX_DEPTH:
            problem = f"lists and tables may be nested at most {MAX_DEPTH} deep"
            raise ConfigError(f"line {_line(bare, bracket.start())}: {problem}.")
    for key in _DOTTED_KEYS.finditer(bare):
        if (n_parts := key[0].count(".") + 1) > MAX_DEPTH:
            problem = f"a dotted key may have at most {MAX_DEPTH} parts, got {n_parts}"
            raise ConfigError(f"line {_line(bare, key.start())}: {problem}.")
    if number := _NUMBERS.search(bare):
        raise ConfigError(f"line {_line(bare, number.start())}: a number may have at most {MAX_DIGITS} digits.")


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _toml_hint(error: str) -> str:
    if "overwrite" in error.lower() or "declare" in error.lower() or "mutate" in error.lower():
        return ' A dotted path is one key and must be quoted: "optimizer.learning_rate" = ...'
    return ""


def write_atomically(file: Path, content: str | bytes, *, sync: bool = False) -> None:
    """Replace a file so that a reader, or a crash, sees either the complete old content or the complete new one.

    Args:
        file: the file to write.
        content: its new content.
        sync: whether to return only when the content would survive a power cut.

    Raises:
        OSError: if the file cannot be written; it names the file, and no draft is left.
    """
    data = content.encode() if isinstance(content, str) else content
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with writing(file):
        try:
            with draft.open("wb") as stream:
                stream.write(data)
                if sync:
                    stream.flush()
                    os.fsync(stream.fileno())
            draft.replace(file)
            if sync:
                sync_folder(file.parent)
        except OSError:
            with suppress(OSError):
                draft.unlink()
            raise


def sync_folder(folder: Path) -> None:
    """Return when the names of the files in a folder would survive a power cut."""
    with suppress(OSError):  # some systems cannot open folders, and some file systems cannot synchronise them
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Name the file in an error that is raised while it is written; the system names it only if opening it failed."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(file), None
        raise
