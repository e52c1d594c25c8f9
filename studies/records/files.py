"""Read TOML files, and replace files atomically."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mlp.errors import ConfigError


def read_toml(file: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        ConfigError: if it cannot be read or is not TOML; the message names the file and the line.
    """
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: is not TOML: {error}.{_toml_hint(str(error))}") from None


def _toml_hint(error: str) -> str:
    if "overwrite" in error.lower() or "declare" in error.lower() or "mutate" in error.lower():
        return ' A dotted path is one key and must be quoted: "optimizer.learning_rate" = ...'
    return ""


def write_atomically(file: Path, content: str | bytes) -> None:
    """Replace a file so that a reader, or a crash, sees either the complete old content or the complete new one.

    Raises:
        OSError: if the file cannot be written; it names the file, and no draft is left.
    """
    data = content.encode() if isinstance(content, str) else content
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with writing(file):
        try:
            draft.write_bytes(data)
            draft.replace(file)
        except OSError:
            with suppress(OSError):
                draft.unlink()
            raise


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Name the file in an error that is raised while it is written; the system names it only if opening it failed."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(file), None
        raise
