"""The command `studies`. Every command is thin: it reads its options, calls one function, shows what came back.

Whatever takes time to import is imported by the command that needs it, so that `studies --help` answers at once.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlp.errors import ConfigError
from studies.commands.model_commands import evaluate, predict, train
from studies.commands.terminal import (
    DataOption,
    open_console,
    say,
    short,
)
from studies.errors import HistoryMismatchError

if TYPE_CHECKING:
    from rich.console import Console

    from studies.launch import Launch

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Hyperparameter studies of a NumPy multi-layer perceptron: run, watch, compare, export, re-train.",
)

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Where runs live.", envvar="STUDIES_HOME", show_default="./mlruns")
]
StudyArgument = Annotated[str, typer.Argument(metavar="NAME", help="The study.")]


def main() -> None:
    """Run the command; a mistake in the input is one line and exit code 2."""
    try:
        app()
    except (ConfigError, HistoryMismatchError) as error:
        say(open_console(stderr=True), f"error: {error}", style="red")
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left: `studies show x | head`
        sys.exit(1)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The study file.")],
    name: Annotated[str | None, typer.Option(help="Name of the study, instead of the file's.")] = None,
    trials: Annotated[int | None, typer.Option(help="Total of trials, instead of the file's.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; at most the study's parallelism.", show_default="cores")
    ] = None,
    timeout: Annotated[str | None, typer.Option(help="Stop after 90s, 10m or 1h30m; run again to go on.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change [base]; fixes a searched path. May be repeated."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, show the plan, run nothing.")] = False,
    publish: Annotated[bool, typer.Option(help="Mirror the study to MLflow while it runs.")] = True,
    home: HomeOption = None,
    data_dir: DataOption = None,
) -> None:
    """Launch the study that FILE describes, or go on with it."""
    from studies.commands.display import plan_view, progress
    from studies.launch import plan_study, run_study

    console = open_console()
    seconds = None if timeout is None else parse_duration(timeout)
    changes = overrides or []
    if dry_run:
        plan = plan_study(file, name=name, trials=trials, overrides=changes, data_dir=data_dir)
        console.print(plan_view(plan.spec, plan.record.data))
        console.print("\nEverything is in order. Nothing was run.")
        return
    with progress(console) as shown:
        launch = run_study(
            file,
            name=name,
            trials=trials,
            overrides=changes,
            workers=workers,
            timeout=seconds,
            home=home,
            data_dir=data_dir,
            publish=publish,
            on_change=shown.update,
            on_notice=shown.notice,
        )
    raise typer.Exit(_report(console, launch, home))


def _report(console: Console, launch: Launch, home: Path | None) -> int:
    """Show what a launch came to; return the exit code."""
    from studies.commands.display import duration, summary_view

    results = launch.results
    unfinished = launch.status in ("interrupted", "out of time")
    at_home = f" --home {shlex.quote(str(home))}" if home else ""
    if launch.status == "already complete":
        say(console, f"Study {launch.name} is complete: all {results.total} trials have ended. Nothing was changed.")
    else:
        say(
            console,
            f"Study {launch.name}: {results.n_ended} of {results.total} trials have ended, {duration(launch.seconds)}.",
        )
    console.print()
    console.print(summary_view(results))
    console.print()
    if launch.export:
        say(console, f"best configuration  {short(launch.export)}")
        say(console, f"re-train it         studies train {shlex.quote(short(launch.export))} --test")
    say(console, f"browse              studies ui {launch.name}{at_home}")
    if launch.pending:
        say(console, f"publishing to MLflow is pending: {launch.pending}", style="yellow")
        later = "The next launch goes on with it, or" if unfinished else "Complete it later with"
        say(console, f"{later}: studies sync {launch.name}{at_home}")
    if unfinished:
        say(console, f"{launch.status}; nothing is lost", style="yellow")
        say(console, f"Go on with: {shlex.join(['studies', *sys.argv[1:]])}")
    if launch.status == "interrupted":
        return 128 + launch.signal
    all_failed = bool(results.trials) and results.counts()["failed"] == results.total
    return 1 if all_failed else 0


def parse_duration(text: str) -> float:
    """Return the seconds of `90s`, `10m`, `1h30m` or a plain number of seconds.

    Raises:
        ConfigError: when it is none of these.
    """
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not match or not any(match.groups()):
        raise ConfigError(f"--timeout takes a duration such as 90s, 10m or 1h30m, got {text!r}.")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


@app.command("list")
def list_studies(home: HomeOption = None) -> None:
    """List the studies of the home."""
    from studies.commands.display import list_view
    from studies.records.home import Home
    from studies.records.results import load_studies

    studies = load_studies(home)
    console = open_console()
    if studies:
        console.print(list_view(studies))
    else:
        root = Home.find(home).root
        say(console, f"There are no studies in {root} yet. Begin with: studies run experiments/digits.toml")


@app.command()
def show(
    name: StudyArgument,
    trial: Annotated[int | None, typer.Argument(metavar="[TRIAL]", help="One trial, whole.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many of the best trials.")] = 10,
    home: HomeOption = None,
) -> None:
    """Show a study: its standing and its best trials; or one trial whole."""
    from studies.commands.display import study_view, trial_view
    from studies.records.results import load_study

    results = load_study(name, home)
    console = open_console()
    view = study_view(results, top, console.width) if trial is None else trial_view(results, results.trial(trial))
    console.print(view)


@app.command()
def delete(
    name: StudyArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: HomeOption = None,
) -> None:
    """Remove a study: its files, its rows in Optuna's database, its runs in the home's MLflow store."""
    from studies.commands.deletion import delete_study
    from studies.records.home import Home

    place = Home.find(home)
    n_trials = len(place.existing_study(name).logs())
    if not yes:
        typer.confirm(f"Delete study {name} with its {n_trials} trials?", abort=True)
    delete_study(place, name)
    say(open_console(), f"Study {name} is deleted.")


@app.command()
def export(
    name: StudyArgument,
    trial: Annotated[int | None, typer.Option(help="Which trial.", show_default="the best")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file.", show_default="experiments/best/NAME.toml")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Write a trial's configuration to a file that `studies train` takes."""
    from studies.models.export import export_trial
    from studies.records.results import load_study

    results = load_study(name, home)
    default = f"{name}.toml" if trial is None else f"{name}-{trial}.toml"
    file = export_trial(results, trial, output or Path("experiments/best") / default)
    console = open_console()
    say(console, f"written      {short(file)}")
    say(console, f"re-train it  studies train {shlex.quote(short(file))} --test")


for command in (train, predict, evaluate):
    app.command()(command)


@app.command()
def sync(name: StudyArgument, home: HomeOption = None) -> None:
    """Publish to MLflow what is missing there."""
    from studies.records.home import Home
    from studies.tracking.mlflow_store import sync as publish

    place = Home.find(home)
    n_runs = publish(place, place.existing_study(name))
    say(open_console(), f"Study {name} is up to date in {place.tracking_uri}: {n_runs} runs were written.")


@app.command()
def ui(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Point at this study.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the loopback interface.")] = 5000,
    home: HomeOption = None,
) -> None:
    """Open the MLflow UI over the home; Ctrl-C ends it."""
    from studies.records.home import Home
    from studies.tracking.ui import serve

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise typer.Exit(serve(open_console(), Home.find(home), name, port))
