"""How commands take their options: the options that several commands share, and the form of a help page."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", envvar="STUDIES_HOME", help="Directory for runs. Default: ./mlruns."),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        envvar="STUDIES_DATA",
        help="Directory with data files: mnist/*.gz, fashion-mnist/*.gz, your own files.",
    ),
]
StudyArgument = Annotated[str, typer.Argument(metavar="NAME", help="The name of the study.")]
ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="A saved model: a folder or a .json file.")]

# What a command accepts although it has no use for it. Not shown on its help page.
_PLACES = {
    "home": Annotated[Path | None, typer.Option("--home", hidden=True)],
    "data_dir": Annotated[Path | None, typer.Option("--data-dir", hidden=True)],
}


class PlainCommand(TyperCommand):
    """A command whose help page writes arguments as `FILE` and `[TRIAL]`, without braces or types."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections on arguments and options."""
        records: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                records[param.param_type_name].append(record)
        arguments = [(name.partition(" ")[0].strip("[]"), text) for name, text in records["argument"]]
        for title, rows in (("Arguments", arguments), ("Options", records["option"])):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def accept_places(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command accept `--home` and `--data-dir` even if it has no use for them.

    A person or a script that always passes both need not remember which command reads which.
    """
    signature = inspect.signature(command, eval_str=True)
    unused = {name: annotation for name, annotation in _PLACES.items() if name not in signature.parameters}

    @functools.wraps(command)
    def accepting(**arguments: Any) -> None:
        command(**{name: value for name, value in arguments.items() if name not in unused})

    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in unused.items()
    ]
    # Typer reads the options of a command from its signature.
    parameters = [*signature.parameters.values(), *extra]
    accepting.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return accepting


def in_range(least: int, most: int | None = None) -> Callable[[int | None], int | None]:
    """Return the check of an option that takes a whole number from `least` to `most`."""
    expected = f"at least {least}" if most is None else f"from {least} to {most}"

    def check(value: int | None) -> int | None:
        if value is not None and (value < least or (most is not None and value > most)):
            raise typer.BadParameter(f"must be {expected}, got {value}.")
        return value

    return check
