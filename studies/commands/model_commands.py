"""The commands about models: `train`, `predict`, `evaluate`."""

from __future__ import annotations

import enum
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.commands.options import DataDirOption, ModelArgument, in_range
from studies.commands.terminal import open_console, print_line, print_plan

if TYPE_CHECKING:
    from rich.console import Console


class Part(enum.Enum):
    """A part of a data set."""

    test = "test"
    train = "train"


DataOption = Annotated[str | None, typer.Option("--data", hidden=True)]


def train(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An export, a configuration, or a study file.")],
    test: Annotated[bool, typer.Option("--test", help="Evaluate on the test set at the end.")] = False,
    refit: Annotated[bool, typer.Option("--refit", help="Train on training and validation data together.")] = False,
    seed: Annotated[int | None, typer.Option(metavar="N", callback=in_range(0), help="Override the seed.")] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Save the model: a folder, or a file that ends in .json.")
    ] = None,
    ensemble: Annotated[
        int | None,
        typer.Option(metavar="N", callback=in_range(2, 100), help="Train with N seeds, and average their predictions."),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Draw learning curves, confusion matrix and predictions into a folder."),
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Train one configuration, or reproduce an exported one."""
    from mlp.errors import errors_in
    from studies.commands.views import epoch_line, training_view
    from studies.models.export import read_config
    from studies.models.retrain import check_outputs, retrain

    console = open_console()
    if ensemble is not None:
        if seed is not None or pictures is not None:
            raise typer.BadParameter("cannot be combined with --seed or --pictures.", param_hint="--ensemble")
        raise typer.Exit(_train_ensemble(console, file, ensemble, test=test, refit=refit, save=save, data_dir=data_dir))
    check_outputs(save, pictures)
    config, provenance = read_config(file)
    with errors_in(f"{file}:"):
        result = retrain(
            config,
            provenance,
            data_dir=data_dir,
            beside=file.parent,
            test=test,
            refit=refit,
            seed=seed,
            save=save,
            pictures=pictures,
            on_epoch=lambda metrics: print_line(console, epoch_line(metrics, config.epochs)),
            on_notice=lambda notice: print_line(console, f"\n{notice}"),
            on_plan=lambda plan: print_plan(console, plan.lines, plan.warnings),
            progress=console.is_terminal,
        )
    console.print(training_view(result, provenance))
    if pictures is not None:
        print_line(console, f"The pictures are in {pictures}.")
    raise typer.Exit(1 if result.differences else 0)


def _train_ensemble(
    console: Console, file: Path, n: int, *, test: bool, refit: bool, save: Path | None, data_dir: Path | None
) -> int:
    """Train and show an ensemble; return the exit code."""
    from studies.commands.ensemble_view import ensemble_view, member_line
    from studies.models.ensemble import train_ensemble

    result = train_ensemble(
        file,
        n,
        data_dir=data_dir,
        test=test,
        refit=refit,
        save=save,
        on_member=lambda member: print_line(console, member_line(member)),
        on_plan=lambda plan: print_plan(console, plan.lines, plan.warnings),
        progress=console.is_terminal,
    )
    console.print(ensemble_view(result))
    return 1 if result.differences else 0


def predict(
    model: ModelArgument,
    file: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="Raw inputs: CSV, Parquet, .npy, .npz or IDX; - for standard input (CSV)."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write to a .csv or .parquet file. Default: stdout."),
    ] = None,
    ids: Annotated[
        list[str] | None,
        typer.Option("--id", metavar="COLUMN", help="Copy a column to the output. May be repeated."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column with the answers; it is ignored.")
    ] = None,
    array: Annotated[
        str | None, typer.Option(metavar="NAME", help="The array of an .npz file, if it has several.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Predict with a saved model.

    Writes one row per example: the label and the probability of each class, or the predicted values. Columns may be in
    any order; those that the model does not use are ignored.
    """
    from mlp.errors import ConfigError
    from mlp.model_io import load_model
    from studies.models.predict import Predictions, read_inputs
    from studies.records.files import write_atomically

    source = chosen_file(file, data)
    if output is not None and output.suffix.casefold() not in (".csv", ".parquet"):
        raise ConfigError(f"{output}: the name of the output must end in .csv or .parquet.")
    loaded, copied = load_model(model), ids or []
    inputs = read_inputs(sys.stdin.buffer if source == "-" else source, loaded, label=label, array=array, ids=copied)
    errors = open_console(stderr=True)
    for notice in inputs.notices:
        print_line(errors, notice)
    predictions = Predictions.of(loaded, inputs, copied)
    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # as in a file: names of classes must not be escaped
        predictions.write_csv(sys.stdout)
        return
    is_parquet = output.suffix.casefold() == ".parquet"
    try:
        write_atomically(output, predictions.to_parquet() if is_parquet else predictions.to_csv())
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {error.strerror}. Choose another file.") from None
    print_line(open_console(), f"{len(inputs)} predictions are in {output}.")


def evaluate(
    model: ModelArgument,
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="A CSV or Parquet file, or the name of a data set.")
    ] = None,
    part: Annotated[
        Part | None,
        typer.Option(metavar="test|train", help="Part of the data that the model was trained on. Default: test."),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The column with the answers. Default: the model's."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Extra metric, such as f1_macro. May be repeated."),
    ] = None,
    data: DataOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Evaluate a saved model on a file or a data set.

    A file with the content of the training file is evaluated on its test part, any other file in full.
    """
    from mlp.model_io import load_model
    from mlp.scores import score_text
    from studies.models.evaluate import evaluate_model

    console, errors = open_console(), open_console(stderr=True)
    scores = evaluate_model(
        load_model(model),
        chosen_file(file, data),
        part=part.value if part else None,
        label=label,
        extra=metric or [],
        data_dir=data_dir,
        progress=console.is_terminal,
        on_notice=lambda notice: print_line(errors, notice),
    )
    width = max(map(len, scores))
    for key, value in scores.items():
        print_line(console, f"{key:{width}}  {score_text(value, '.6g')}")


def chosen_file(file: str | None, data: str | None) -> str:
    """Return the file that was given as an argument or, as formerly, with `--data`."""
    if (file is None) == (data is None):
        raise typer.BadParameter("give one file with the data.", param_hint="FILE")
    return file or data or ""
