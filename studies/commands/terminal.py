"""How commands write to a terminal or a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def open_console(*, stderr: bool = False) -> Console:
    """Return a console for standard output or standard error that prints text as it is, without markup."""
    from rich.console import Console

    console = Console(stderr=stderr, markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 200  # a pipe or a file has no edge to wrap at
    return console


def print_line(console: Console, line: str, style: str | None = None) -> None:
    """Print a line without wrapping it, so that paths and commands in it can be copied."""
    console.print(line, style=style, soft_wrap=True)
