"""The program `studies`: its commands, and how it ends when one of them fails.

Commands are thin: each reads its options, calls one function and shows the result. Modules that take long to import
are imported inside the command that needs them, so that `studies --help` answers at once.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer

from mlp.errors import ConfigError, one_line
from studies.commands.data_commands import data
from studies.commands.evidence_commands import audit, compare, reproduce
from studies.commands.model_commands import evaluate, predict, train
from studies.commands.options import PlainCommand, accept_places
from studies.commands.space_command import space
from studies.commands.study_commands import check, delete, export, list_studies, run, show, sync, ui
from studies.commands.table_commands import init
from studies.commands.terminal import accept_any_character, open_console, print_line
from studies.errors import AllWorkersLostError, DataLostError, HistoryMismatchError, ServerError, StorageError

# Errors that a person can act on. They are printed in one line; every other exception is a bug and keeps its traceback.
EXIT_CODES: dict[type[Exception], int] = {
    ConfigError: 2,
    AllWorkersLostError: 1,
    DataLostError: 1,
    HistoryMismatchError: 1,
    ServerError: 1,
    StorageError: 1,
}
# A path that a person gave cannot be used. Any other error of the system is a bug, unless the code explains it.
PATH_ERRORS = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS)
INTERRUPTED = 130  # 128 + SIGINT, as shells report it

app = typer.Typer(
    help="Search the hyperparameters of a NumPy multi-layer perceptron, compare the trials in MLflow, and train the "
    "best configuration again.",
    context_settings={"max_content_width": 100},
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help texts contain [base]; plain pages also need half the time
)
for command in (
    data,
    init,
    space,
    run,
    list_studies,
    show,
    ui,
    export,
    reproduce,
    audit,
    compare,
    train,
    predict,
    evaluate,
    check,
    sync,
    delete,
):
    app.command(command.__name__.partition("_")[0], cls=PlainCommand)(accept_places(command))


def print_version(is_asked: bool) -> None:
    """Print the version and exit, if `--version` is given."""
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"studies {version('mlp-studies')}")
        raise typer.Exit


@app.callback()
def accept_version(
    _: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=print_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Accept the options of the program itself. Its help text is that of `app`."""


def main() -> None:
    """Run the command that was typed; end with the exit code of its error."""
    accept_any_character()
    try:
        app()
    except BrokenPipeError:
        # The reader has left, as in `studies show x | head`. Python would complain when it flushes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in PATH_ERRORS or error.filename is None:
            raise
        _print_error(f"{error.filename}: {error.strerror}.")
        sys.exit(2)
    except tuple(EXIT_CODES) as error:
        _print_error(str(error))
        sys.exit(next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind)))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _print_error(message: str) -> None:
    print_line(open_console(stderr=True), f"error: {one_line(message)}", style="red")
