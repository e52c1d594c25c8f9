"""How commands write to a terminal or a pipe."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

FALLBACK = "studies.ascii"  # the name of the error handler of the streams
ASCII = {"·": "|", "…": "...", "–": "-", "—": "-", "×": "x", "²": "2"}  # everything else is escaped: `\\xe9`


def accept_any_character() -> None:
    """Let standard output and standard error escape the characters that their encoding lacks, instead of failing."""
    codecs.register_error(FALLBACK, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=FALLBACK)


def open_console(*, stderr: bool = False) -> Console:
    """Return a console for standard output or standard error that prints text as it is, without markup.

    Control characters in names and values are shown escaped, because the terminal would obey them.
    """
    from studies.commands.escaping import EscapingConsole

    console = EscapingConsole(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = 200  # a pipe or a file has no edge to wrap at
    return console


def print_line(console: Console, line: str, style: str | None = None) -> None:
    """Print a line without wrapping it, so that paths and commands in it can be copied."""
    console.print(line, style=style, soft_wrap=True)


def print_plan(console: Console, lines: Sequence[str], warnings: Sequence[str]) -> None:
    """Print the plan of a training and what to know about its data, followed by an empty line."""
    for line in lines:
        print_line(console, line)
    for warning in warnings:
        print_line(console, f"warning: {warning}", style="yellow")
    if lines or warnings:
        console.print()


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding cannot express, the handler of `codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    escaped = (ASCII.get(one) or one.encode("ascii", "backslashreplace").decode() for one in characters)
    return "".join(escaped), error.end
