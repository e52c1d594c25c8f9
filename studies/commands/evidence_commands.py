"""The commands about what to believe of a study: `reproduce`, `audit`."""

from __future__ import annotations

from typing import Annotated

import typer

from studies.commands.options import DataDirOption, HomeOption, StudyArgument
from studies.commands.terminal import open_console, print_line


def reproduce(
    name: StudyArgument,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="The number of the trial.")],
    home: HomeOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Train a trial again and compare every metric and the weights with its record."""
    from studies.evidence.reproduce import reproduce as train_again
    from studies.records.results import load_study

    console = open_console()
    found = train_again(load_study(name, home), trial, data_dir=data_dir)
    for difference in found.differences:
        print_line(console, difference, style="red")
    for explanation in found.explanations:
        print_line(console, explanation, style="yellow")
    if not found.is_exact:
        print_line(console, f"Trial {trial} of {name} was not reproduced.", style="red")
        raise typer.Exit(1)
    weights = f" Weights {found.weight_digest}." if found.weight_digest else ""
    epochs = f"{found.n_epochs} epoch{'s' if found.n_epochs != 1 else ''}"
    value = "" if found.value is None else f", value {found.value!r}"
    print_line(console, f"Reproduced exactly: {epochs}{value}.{weights}", style="green")
