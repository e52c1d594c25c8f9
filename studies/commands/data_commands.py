"""The command about data: `data`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.commands.options import DataDirOption
from studies.commands.terminal import open_console, print_line

if TYPE_CHECKING:
    from mlp.config import TrainConfig


def data(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="A file of columns, or a study file whose data is described.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="The column to predict. May be repeated.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Set an option such as data.decimal=, and look again."),
    ] = None,
    rules: Annotated[bool, typer.Option("--rules", help="Print how it is decided what a column is.")] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Show what is detected in a file of columns."""
    from mlp.data_config import DataConfig
    from studies.commands.data_view import data_view
    from studies.data.array_source import is_array_file
    from studies.data.cache import open_cached, read_report
    from studies.data.column_rules import RULES
    from studies.data.file_search import Places
    from studies.data.prepare import prepare_data
    from studies.data.reading.files import read_table
    from studies.data.table_report import describe_table
    from studies.data.task import explain_task, settle_task

    console = open_console()
    if rules:
        console.print(RULES)
    if file is None:
        if not rules:
            raise typer.BadParameter("is missing. Give the path of a file.", param_hint="FILE")
        return
    training = configure(file, tuple(target or ()), overrides or [])
    config = settle_task(training)
    report = None
    beside = (Path(file).parent,) if Path(file).suffix == ".toml" else ()
    has_columns = config.is_table and not is_array_file(config.file)
    if not target and has_columns and config.target == DataConfig().target:
        table = read_table(Places(beside, data_dir).find(config.file), config)
        if config.target not in table.columns:
            report = describe_table(table, config)
    if report is None:
        folder = prepare_data(config, data_dir=data_dir, beside=beside)
        report = read_report(folder)
        if report is None and config.is_table:
            dataset = open_cached(folder)
            size = f"{len(dataset.inputs):,} rows, {len(dataset.test_inputs):,} more for the test"
            print_line(console, f"{config.file}: {size}, {dataset.inputs.shape[1]:,} inputs, {dataset.task}.")
            return
    if report is None:
        print_line(console, f"{config.name} is a published data set, whose form is known.")
        return
    console.print(data_view(explain_task(report, training) if report.is_decided else report))
    if not report.is_decided:
        print_line(console, "Choose the column to predict with --target COLUMN.")


def configure(file: str, target: tuple[str, ...], overrides: list[str]) -> TrainConfig:
    """Return the configuration in a study file or for a file of columns, with the options of the command line."""
    from mlp.config import TrainConfig
    from mlp.data_config import current_changes
    from mlp.paths import merge
    from studies.models.export import read_config
    from studies.search.spec import parse_override

    if Path(file).suffix == ".toml":
        config, _ = read_config(file)
    else:
        config = TrainConfig.from_mapping({"data": {"name": file}})
    config = TrainConfig.from_mapping(
        merge(config.to_mapping(), current_changes(dict(parse_override(text) for text in overrides)))
    )
    if target:
        config = replace(config, data=replace(config.data, target=target[0] if len(target) == 1 else target))
    return config
