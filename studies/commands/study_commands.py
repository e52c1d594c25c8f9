"""The commands about studies: `run`, `list`, `show`, `ui`, `export`, `check`, `sync`, `delete`."""

from __future__ import annotations

import enum
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlp.errors import ConfigError
from studies.commands.options import DataDirOption, HomeOption, StudyArgument, in_range
from studies.commands.terminal import open_console, print_line

if TYPE_CHECKING:
    from rich.console import Console

    from studies.evidence.confirmation import Confirmation
    from studies.launch import Launch
    from studies.records.home import Home
    from studies.records.results import StudyResults


class PickName(enum.Enum):
    """A trial of a Pareto front."""

    knee = "knee"
    cheapest = "cheapest"
    best = "best"


FIRST_STUDY = Path("experiments/digits.toml")


def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The study file.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Override the name of the study.")] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="N", help="Override the budget (over all launches), in full trainings.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(metavar="N", help="Override the maximum number of trials (over all launches).")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            callback=in_range(1),
            help="Worker processes, at most the study's parallelism. Default: one per core.",
        ),
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop after 90s, 10m or 1h30m, for example; run again to resume.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Override a value of [base]; a searched path becomes fixed. May be repeated.",
        ),
    ] = None,
    enqueue: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Try the configuration in FILE, such as an export, before the sampler chooses. May be repeated.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the study and show the plan; run nothing.")] = False,
    publish: Annotated[
        bool, typer.Option("--publish/--no-publish", help="Publish the study to MLflow while it runs.")
    ] = True,
    confirm: Annotated[
        bool, typer.Option("--confirm/--no-confirm", help="Confirm the winner after the search, as [confirm] says.")
    ] = True,
    home: HomeOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Launch the study in FILE, or resume it."""
    from studies.commands.views import plan_view
    from studies.launch import run_study
    from studies.plan import plan_study, with_prior
    from studies.records.home import Home
    from studies.running.progress import progress

    console = open_console()
    seconds = None if timeout is None else parse_duration(timeout)
    changes = overrides or []
    if dry_run:
        plan = plan_study(
            file,
            name=name,
            trials=trials,
            budget=budget,
            overrides=changes,
            data_dir=data_dir,
            enqueue=enqueue or (),
        )
        place = Home.find(home)
        folder = place.study(plan.spec.study.name)
        plan = with_prior(plan, place, folder.read_record() if folder.record.exists() else None)
        console.print(plan_view(plan.spec, plan.record.data))
        for line in plan.data_plan.lines:
            print_line(console, line)
        for notice in plan.notices(workers):
            print_line(console, f"\n{notice}", style="yellow")
        console.print("\nThe study is valid. Nothing was run.")
        return
    with progress(console) as shown:
        launch = run_study(
            file,
            name=name,
            trials=trials,
            budget=budget,
            overrides=changes,
            enqueue=enqueue or (),
            workers=workers,
            timeout=seconds,
            home=home,
            data_dir=data_dir,
            publish=publish,
            confirm=confirm,
            on_change=shown.update,
            on_notice=shown.notice,
        )
    raise typer.Exit(_report(console, launch, home, is_published=publish))


def _report(console: Console, launch: Launch, home: Path | None, *, is_published: bool) -> int:
    """Show the result of a launch and what to do next; return the exit code."""
    from studies.commands.views import summary_view
    from studies.evidence.confirmation import read_confirmation
    from studies.hints import command_line, short_path
    from studies.records.durations import duration
    from studies.records.home import Home

    place = Home.find(home)
    results = launch.results
    is_unfinished = launch.status in ("interrupted", "out of time")
    if launch.status == "already complete":
        changed = "Nothing was changed."
        if launch.published_late:
            changed = "What MLflow did not have yet was published." if not launch.pending else "No trial was run."
        print_line(console, f"Study {launch.name} is complete: {results.spent}. {changed}")
    else:
        took = duration(launch.seconds)
        print_line(console, f"Study {launch.name}: {results.spent}, {took}.")
    console.print()
    confirmation = read_confirmation(results)
    verdict = confirmation.verdict if confirmation else None
    console.print(summary_view(results, verdict.winner if verdict else None))
    console.print()
    _show_front(console, results)
    _show_confirmation(console, confirmation)
    _show_failures(console, results)
    _point_to_first_trial(console, results, place)
    if launch.export:
        export = short_path(launch.export)
        print_line(console, f"best configuration  {export}")
        print_line(console, f"train it again      {command_line('train', export, '--test')}")
    if is_published:
        print_line(console, f"browse in MLflow    {command_line('ui', launch.name, home=place)}")
    else:
        print_line(console, f"publish to MLflow   {command_line('sync', launch.name, home=place)}")
    if launch.pending:
        print_line(console, f"Not everything is in MLflow yet: {launch.pending}", style="yellow")
        print_line(
            console, f"The next run will publish it. To publish it now: {command_line('sync', launch.name, home=place)}"
        )
    if is_unfinished:
        print_line(console, f"The study stopped ({launch.status}). {_progress_made(launch)}", style="yellow")
        print_line(console, f"Resume with: {command_line(*sys.argv[1:])}")
    if launch.status == "interrupted":
        return 128 + launch.signal
    return 1 if launch.status != "out of time" and results.best is None else 0


def _show_front(console: Console, results: StudyResults) -> None:
    from studies.commands.front_view import front_view

    if (front := front_view(results)) is not None:
        console.print(front)
        console.print()


def _show_confirmation(console: Console, confirmation: Confirmation | None) -> None:
    from studies.commands.confirm_view import confirmation_view

    if confirmation is not None and (confirmation.is_complete or confirmation.n_trainings):
        console.print(confirmation_view(confirmation))
        console.print()


def _show_failures(console: Console, results: StudyResults) -> None:
    from studies.commands.failures_view import failures_view

    if (account := failures_view(results)) is not None:
        console.print(account, soft_wrap=True)
        console.print()


def _show_advice(console: Console, results: StudyResults, confirmation: Confirmation | None) -> None:
    from studies.evidence.advice import MIN_FOR_IMPORTANCE, advice
    from studies.tracking.plots import parameter_importances

    n_complete = results.counts()["complete"]
    importances = parameter_importances(results) if n_complete >= MIN_FOR_IMPORTANCE else {}
    found = advice(results, confirmation, importances)
    for piece in found:
        print_line(console, f"- {piece.text}")
    if found:
        console.print()


def _progress_made(launch: Launch) -> str:
    """Return what a study that stopped early keeps; and that the time was too short, if it has computed nothing."""
    if launch.status == "out of time" and not launch.n_epochs:
        return "Not even one epoch was finished in that time, so this run has made no progress. Raise --timeout."
    return "Nothing is lost."


def _point_to_first_trial(console: Console, results: StudyResults, home: Home) -> None:
    """Print how to see why a trial ended, if trials have ended and none is complete."""
    from studies.hints import command_line

    ended = [str(trial.number) for trial in results.trials if trial.ending]
    if ended and results.best is None:
        print_line(console, f"why a trial ended   {command_line('show', results.name, ended[0], home=home)}")


def parse_duration(text: str) -> float:
    """Return the seconds of `90s`, `10m`, `1h30m` or a plain number of seconds.

    Raises:
        ConfigError: when the text is not a duration.
    """
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not match or not any(match.groups()):
        raise ConfigError(f"--timeout takes a duration such as 90s, 10m or 1h30m, got {text!r}.")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def list_studies(home: HomeOption = None) -> None:
    """List all studies."""
    from studies.commands.views import list_view
    from studies.hints import command_line
    from studies.records.home import Home
    from studies.records.results import load_studies

    place = Home.find(home)
    errors: list[ConfigError] = []
    studies = load_studies(home, on_error=errors.append)
    console = open_console()
    if studies:
        console.print(list_view(studies))
    for error in errors:
        print_line(open_console(stderr=True), f"error: {error}", style="red")
    if errors:
        raise typer.Exit(1)
    if studies:
        return
    file = str(FIRST_STUDY) if FIRST_STUDY.exists() else "FILE"
    print_line(console, f"There are no studies in {place.root} yet.")
    print_line(console, f"Run one with: {command_line('run', file, home=place)}")


def show(
    name: StudyArgument,
    trial: Annotated[int | None, typer.Argument(metavar="TRIAL", help="Show this trial in full.")] = None,
    top: Annotated[int, typer.Option(metavar="N", callback=in_range(1), help="How many of the best trials.")] = 10,
    home: HomeOption = None,
) -> None:
    """Show a study and its best trials, or one trial in full."""
    from studies.commands.views import study_view, trial_view
    from studies.evidence.confirmation import read_confirmation
    from studies.records.home import Home
    from studies.records.results import load_study

    results = load_study(name, home)
    console = open_console()
    if trial is None:
        console.print(study_view(results, top, console.width))
        console.print()
        confirmation = read_confirmation(results)
        _show_front(console, results)
        _show_confirmation(console, confirmation)
        _show_failures(console, results)
        _show_advice(console, results, confirmation)
        _point_to_first_trial(console, results, Home.find(home))
    else:
        console.print(trial_view(results, results.trial(trial)))


def ui(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print the address of this study.")] = None,
    port: Annotated[int, typer.Option(metavar="N", callback=in_range(1, 65535), help="Port on 127.0.0.1.")] = 5000,
    home: HomeOption = None,
) -> None:
    """Serve the MLflow UI for the published studies."""
    from studies.records.home import Home
    from studies.tracking.ui import serve

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise typer.Exit(serve(open_console(), Home.find(home), name, port))


def export(
    name: StudyArgument,
    trial: Annotated[
        int | None, typer.Argument(metavar="TRIAL", help="The number of the trial. Default: the winner.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Default: experiments/best/NAME[-TRIAL].toml."),
    ] = None,
    pick: Annotated[
        PickName | None,
        typer.Option(metavar="knee|cheapest|best", help="A trial of the Pareto front, in a study with two objectives."),
    ] = None,
    ensemble: Annotated[
        bool,
        typer.Option("--ensemble", help="Write the confirmed networks as one model, which averages their predictions."),
    ] = False,
    home: HomeOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write a trial's configuration to a file."""
    from studies.evidence.ensemble import export_ensemble
    from studies.evidence.pareto import pick as pick_of_front
    from studies.evidence.winner import export_trial
    from studies.hints import command_line, short_path
    from studies.records.results import load_study

    results, console = load_study(name, home), open_console()
    if pick is not None:
        if trial is not None:
            raise typer.BadParameter("give a trial or --pick, not both.", param_hint="TRIAL")
        trial = pick_of_front(results, pick.value)
    if ensemble:
        model = export_ensemble(
            results,
            trial,
            output,
            data_dir=data_dir,
            on_notice=lambda notice: print_line(console, notice),
        )
        data = results.record.base["data"]
        print_line(console, f"ensemble     {short_path(model)}")
        print_line(
            console,
            f"evaluate it  {command_line('evaluate', short_path(model), str(data.get('file') or data['name']))}",
        )
        return
    file = short_path(export_trial(results, trial, output))
    print_line(console, f"configuration   {file}")
    print_line(console, f"train it again  {command_line('train', file, '--test')}")


def sync(name: StudyArgument, home: HomeOption = None) -> None:
    """Publish anything MLflow does not have yet."""
    from studies.records.addresses import mask_secrets
    from studies.records.home import Home
    from studies.tracking.mlflow_store import sync as publish
    from studies.tracking.own_store import relocation_notice

    place = Home.find(home)
    folder, console = place.existing_study(name), open_console()
    moved = relocation_notice(place)
    if moved:
        print_line(console, moved)
    n_runs = publish(place, folder)
    print_line(console, f"Study {name} is up to date in {mask_secrets(place.tracking_uri)}; runs written: {n_runs}.")


def check(
    name: StudyArgument,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be made again from the logs.")] = False,
    home: HomeOption = None,
) -> None:
    """Compare a study's logs with Optuna's rows and MLflow."""
    from studies.check import check_study
    from studies.records.home import Home

    report = check_study(Home.find(home), name, repair=repair)
    console = open_console()
    for line in report.repairs:
        print_line(console, f"repaired: {line}")
    for line in report.differences:
        print_line(console, line, style="red")
    for line in report.notes:
        print_line(console, line, style="yellow")
    if report.differences:
        raise typer.Exit(1)
    print_line(console, f"Study {name}: everything that is recorded of it agrees.")


def delete(
    name: StudyArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Skip confirmation.")] = False,
    home: HomeOption = None,
) -> None:
    """Delete a study: its files, its trials, its runs in MLflow."""
    from studies.deletion import delete_study
    from studies.records.home import Home

    place = Home.find(home)
    n_trials = len(place.existing_study(name).logs())
    if not yes:
        typer.confirm(f"Delete study {name} and its {n_trials} trials?", abort=True)
    delete_study(place, name)
    print_line(open_console(), f"Study {name} was deleted.")
