"""The commands that check and compare results: `reproduce`, `audit` and `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.commands.options import DataDirOption, HomeOption, StudyArgument, in_range
from studies.commands.terminal import open_console, print_line


def reproduce(
    name: StudyArgument,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", help="The number of the trial.")],
    home: HomeOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Train a trial again and compare it with its record."""
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


def audit(
    name: StudyArgument,
    trials: Annotated[
        int, typer.Option(metavar="N", callback=in_range(1), help="How many of the pruned trials are trained.")
    ] = 20,
    workers: Annotated[
        int | None, typer.Option(metavar="N", callback=in_range(1), help="Worker processes. Default: one per core.")
    ] = None,
    home: HomeOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Train pruned trials in full to see what pruning has missed."""
    from studies.evidence.audit import audit as train_sample
    from studies.records.durations import duration
    from studies.records.results import load_study
    from studies.running.progress import progress

    console = open_console()
    results = load_study(name, home)
    with progress(console) as shown:
        found = train_sample(results, trials=trials, workers=workers, data_dir=data_dir, on_change=shown.update)
    share, low, high = found.share_better()
    number, value = found.best
    n, n_better = len(found.values), len(found.better)
    print_line(console, f"Trained in full: {n} of {found.n_pruned} pruned trials.")
    interval = "" if n >= found.n_pruned else f" (95 % interval: {100 * low:.0f} to {100 * high:.0f} %)"
    print_line(console, f"Best of the search: trial {number} with {value:.4f}.")
    print_line(console, f"Better than that: {n_better} of {n}, {100 * share:.0f} %{interval}.")
    if found.better:
        print_line(console, f"Best of them: trial {found.better[0]}, which is better by {found.regret:.4f}.")
    print_line(
        console,
        f"Epochs: the search trained {results.n_epochs}, and pruning saved {found.saved_epochs} "
        f"(about {duration(found.saved_seconds)} of compute time).",
    )
    if not found.is_complete:
        print_line(console, "The audit was interrupted. Run it again to complete it.", style="yellow")
        raise typer.Exit(130)


def compare(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="STUDY, STUDY/TRIAL or an export; two or more.")],
    seeds: Annotated[
        int | None,
        typer.Option(metavar="N", callback=in_range(2, 100), help="Train them on N fresh seeds and splits."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Draw the learning curves into a .png file.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", callback=in_range(1), help="Worker processes. Default: one per core.")
    ] = None,
    home: HomeOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Compare trials: settings, learning curves, differences."""
    from mlp.errors import ConfigError
    from studies.commands.compare_view import compare_view
    from studies.evidence.compare import compare_trials
    from studies.running.progress import progress

    if output is not None and output.suffix.casefold() != ".png":
        raise ConfigError(f"{output}: the name of the figure must end in .png.")
    console = open_console()
    with progress(console) as shown:
        found = compare_trials(names, home, seeds=seeds, workers=workers, data_dir=data_dir, on_change=shown.update)
    console.print(compare_view(found))
    if output is not None:
        from studies.tracking.plots import write_curves

        write_curves({item.name: item.curve for item in found.items}, found.metric, output)
        print_line(console, f"The learning curves are in {output}.")
    if not found.is_complete:
        print_line(console, "The trainings were interrupted. Run the command again to complete them.", style="yellow")
        raise typer.Exit(130)
