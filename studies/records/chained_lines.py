"""Lines of JSON in which a change is noticed: each line ends with a checksum of itself and of every line before it.

    {"event": "epoch", "epoch": 1, ..., "sha256": "..."}

The checksum is the SHA-256 of the checksum of the previous line and the text of this one. The chain of a file starts
with a text that belongs to this file only. So a line that was edited, doubled, moved, removed from the middle, or
copied from another file no longer fits. Lines that are missing at the end are not noticed: a file may end anywhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlp.untrusted import read_regular

MAX_BYTES = 1_000_000_000  # of a file; an epoch takes about 300
_LINE = re.compile(rb'(\{.+), "sha256": "([0-9a-f]{64})"\}', re.DOTALL)


@dataclass(frozen=True)
class ChainedLines:
    """The lines of a file, up to its end or to the first damaged line.

    Attributes:
        contents: the content of each good line, without its checksum.
        checksum: the checksum of the last good line, or the start of the chain if there is none.
        n_bytes: how many bytes the good lines take.
        damage: what is wrong with the line after them; empty if there is none, or if it has no end yet.
    """

    contents: tuple[dict[str, Any], ...]
    checksum: str
    n_bytes: int
    damage: str = ""


def chain_start(*parts: object) -> str:
    """Return the start of the chain of a file, from texts or numbers that belong to this file only."""
    return _digest("", json.dumps(parts).encode())


def sealed_line(content: Mapping[str, Any], previous: str) -> tuple[str, str]:
    """Return a line with its end, and its checksum.

    Args:
        content: the entries of the line, at least one.
        previous: the checksum of the line before it, or the start of the chain.

    Raises:
        ValueError: if a number in it is not finite.
    """
    text = json.dumps(content, allow_nan=False)
    checksum = _digest(previous, text.encode())
    return f'{text[:-1]}, "sha256": "{checksum}"}}\n', checksum


def read_chained_lines(file: Path, start: str) -> ChainedLines:
    """Return the lines of a file.

    Args:
        file: a regular file.
        start: the start of its chain.

    Raises:
        ConfigError: if it is not a regular file, or is too large; the message does not name the file.
        OSError: if it cannot be read.
    """
    contents: list[dict[str, Any]] = []
    checksum, n_bytes = start, 0
    for line in read_regular(file, MAX_BYTES).split(b"\n")[:-1]:
        match = _LINE.fullmatch(line)
        if match is None:
            return ChainedLines(tuple(contents), checksum, n_bytes, "is not a line of a log")
        text = match[1] + b"}"
        if _digest(checksum, text) != match[2].decode():
            damage = "does not fit its checksum: it was changed, or lines are missing, doubled or from another file"
            return ChainedLines(tuple(contents), checksum, n_bytes, damage)
        contents.append(json.loads(text))
        checksum = match[2].decode()
        n_bytes += len(line) + 1
    return ChainedLines(tuple(contents), checksum, n_bytes)


def _digest(previous: str, text: bytes) -> str:
    return hashlib.sha256(previous.encode() + text).hexdigest()
