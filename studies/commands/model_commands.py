"""The commands about models: `train`, `predict`, `evaluate`."""

from __future__ import annotations

import enum
import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from studies.commands.options import DataDirOption, ModelArgument, in_range
from studies.commands.terminal import open_console, print_line


class Part(enum.Enum):
    """A part of a data set."""

    test = "test"
    train = "train"


def train(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An export, a configuration, or a study file.")],
    test: Annotated[bool, typer.Option("--test", help="Evaluate on the test set at the end.")] = False,
    refit: Annotated[bool, typer.Option("--refit", help="Train on training and validation data together.")] = False,
    seed: Annotated[int | None, typer.Option(metavar="N", callback=in_range(0), help="Override the seed.")] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Save the model: a folder, or a file that ends in .json.")
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
    check_outputs(save, pictures)
    config, provenance = read_config(file)
    with errors_in(f"{file}:"):
        result = retrain(
            config,
            provenance,
            data_dir=data_dir,
            test=test,
            refit=refit,
            seed=seed,
            save=save,
            pictures=pictures,
            on_epoch=lambda metrics: print_line(console, epoch_line(metrics, config.epochs)),
            on_notice=lambda notice: print_line(console, f"\n{notice}"),
            progress=console.is_terminal,
        )
    console.print(training_view(result, provenance))
    if pictures is not None:
        print_line(console, f"The pictures are in {pictures}.")
    raise typer.Exit(1 if result.differences else 0)


def predict(
    model: ModelArgument,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A .csv, .npy, .npz or IDX file of raw inputs.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the predictions to FILE. Default: stdout."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The CSV column with the answers; it is ignored.")
    ] = None,
    array: Annotated[
        str | None, typer.Option(metavar="NAME", help="The array of an .npz file, if it has several.")
    ] = None,
) -> None:
    """Predict with a saved model.

    Writes one CSV row per example: the label and the probability of each class, or the predicted values.
    """
    from mlp.errors import ConfigError
    from mlp.model_io import load_model
    from studies.models.predict import read_inputs, write_predictions
    from studies.records.files import write_atomically

    loaded = load_model(model)
    inputs = read_inputs(data, loaded, label=label, array=array)
    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # as in a file: names of classes must not be escaped
        write_predictions(loaded, inputs, sys.stdout)
        return
    text = io.StringIO()
    write_predictions(loaded, inputs, text)
    try:
        write_atomically(output, text.getvalue())
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {error.strerror}. Choose another file.") from None
    print_line(open_console(), f"{len(inputs)} predictions are in {output}.")


def evaluate(
    model: ModelArgument,
    data: Annotated[str, typer.Argument(metavar="DATA", help="The name of a data set, or a CSV file.")],
    part: Annotated[
        Part | None,
        typer.Option(metavar="test|train", help="Part of the data set; a CSV file is used in full. Default: test."),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The CSV column with the answers. Default: the model's."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Extra metric, such as f1_macro. May be repeated."),
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Evaluate a saved model on part of a data set, or on a CSV file."""
    from mlp.model_io import load_model
    from mlp.scores import score_text
    from studies.models.predict import evaluate_model

    console = open_console()
    scores = evaluate_model(
        load_model(model),
        data,
        part=part.value if part else None,
        label=label,
        extra=metric or [],
        data_dir=data_dir,
        progress=console.is_terminal,
    )
    width = max(map(len, scores))
    for key, value in scores.items():
        print_line(console, f"{key:{width}}  {score_text(value, '.6g')}")
