"""The commands that make and use a model: `train`, `predict`, `evaluate`."""

from __future__ import annotations

import enum
import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from studies.commands.terminal import DataOption, open_console, say

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="A folder or a .json file with a saved model.")]


class Part(enum.Enum):
    """A part of a data set."""

    test = "test"
    train = "train"


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="An export, a configuration, or a study file.")],
    test: Annotated[bool, typer.Option("--test", help="Judge by the test set at the end.")] = False,
    refit: Annotated[bool, typer.Option("--refit", help="Train on training and validation data together.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed than the file's.")] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="PLACE", help="Write the model there: a folder, or FILE.json.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Draw curves, confusion, predictions there.")
    ] = None,
    data_dir: DataOption = None,
) -> None:
    """Train one configuration; from an export, check that it comes out as recorded."""
    from mlp.errors import ConfigError
    from studies.commands.display import epoch_line, training_view
    from studies.models.export import read_config
    from studies.models.retrain import retrain

    console = open_console()
    what, provenance = read_config(config)
    try:
        result = retrain(
            what,
            provenance,
            data_dir=data_dir,
            test=test,
            refit=refit,
            seed=seed,
            save=save,
            pictures=pictures,
            on_epoch=lambda metrics: say(console, epoch_line(metrics, what.epochs)),
            progress=console.is_terminal,
        )
    except ConfigError as error:
        raise ConfigError(f"{config}: {error}") if error.path else error from None
    console.print(training_view(result, provenance))
    if pictures is not None:
        say(console, f"The pictures are in {pictures}.")
    raise typer.Exit(1 if result.differences else 0)


def predict(
    model: ModelArgument,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A .csv, .npy, .npz or IDX file of raw inputs.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to write.", show_default="here")
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="Of a CSV file the answers, left out.")] = None,
    array: Annotated[str | None, typer.Option(metavar="NAME", help="Which array of an .npz file.")] = None,
) -> None:
    """Predict with a saved model: a CSV line an example, with its label and the probability of each class."""
    from mlp.errors import ConfigError
    from mlp.model_io import load_model
    from studies.models.predict import read_inputs, write_predictions
    from studies.records.files import write_atomically

    loaded = load_model(model)
    inputs = read_inputs(data, loaded, label=label, array=array)
    if output is None:
        write_predictions(loaded, inputs, sys.stdout)
        return
    text = io.StringIO()
    write_predictions(loaded, inputs, text)
    try:
        write_atomically(output, text.getvalue())
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {error.strerror}. Choose another file.") from None
    say(open_console(), f"{len(inputs)} predictions are in {output}")


def evaluate(
    model: ModelArgument,
    data: Annotated[str, typer.Option(metavar="NAME", help="A data set, or a CSV file.")],
    part: Annotated[
        Part | None, typer.Option(help="Of a data set; a CSV file is judged whole.", show_default="test")
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Of a CSV file the answers.", show_default="the model's")
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(help="One more, such as f1_macro. May be repeated.")] = None,
    data_dir: DataOption = None,
) -> None:
    """Judge a saved model by a part of a data set, or by a CSV file."""
    from mlp.model_io import load_model
    from studies.models.predict import evaluate_model

    console = open_console()
    found = evaluate_model(
        load_model(model),
        data,
        part=part.value if part else None,
        label=label,
        extra=metric or [],
        data_dir=data_dir,
        progress=console.is_terminal,
    )
    width = max(map(len, found))
    for key, value in found.items():
        say(console, f"{key:{width}}  {value:.6g}")
