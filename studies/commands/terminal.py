"""What the commands share: how they write to a terminal or a pipe, and the options that several have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

DataOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Holds mnist/*.gz, fashion-mnist/*.gz, CSV files.", envvar="STUDIES_DATA"),
]


def open_console(*, stderr: bool = False) -> Console:
    """Return what writes to standard output or standard error as it is, without markup."""
    from rich.console import Console

    console = Console(stderr=stderr, markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 200  # a pipe or a file has no edge to wrap at
    return console


def say(console: Console, line: str, style: str | None = None) -> None:
    """Print a line as it is, however long."""
    console.print(line, style=style, soft_wrap=True)


def short(path: Path) -> str:
    """Return a path as seen from here, where that is shorter."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
