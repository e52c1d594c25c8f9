"""The command that starts a study of a table: `init`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from studies.commands.options import DataDirOption
from studies.commands.terminal import open_console, print_line


def init(
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="The table, or a file of arrays.")],
    target: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="The column to predict (tables). May be repeated.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="STUDY", help="The study file to write. Default: named like the table."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Set an option such as data.decimal=, in the file."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a study file that exists.")] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Write a study file for a table or a file of arrays."""
    from studies.commands.data_commands import configure
    from studies.data.array_source import is_array_file
    from studies.data.cache import open_cached, read_report
    from studies.data.file_search import Places
    from studies.data.prepare import prepare_data
    from studies.data.task import settle_task
    from studies.hints import command_line, short_path
    from studies.search.starter import Starter, study_name, write_starter

    if not target and not is_array_file(str(data)):
        raise typer.BadParameter("is missing. Name the column to predict.", param_hint="--target")
    file = output or Path(f"{study_name(str(data))}.toml")
    config = settle_task(configure(str(data), tuple(target or ()), overrides or []))
    folder = prepare_data(config, data_dir=data_dir)
    named = replace(config, file=Places(data_dir=data_dir).name_from(file.parent, config.file))
    write_starter(Starter.of(named, open_cached(folder), name=study_name(str(file))), file, replace=force)
    console = open_console()
    report = read_report(folder)
    for warning in report.warnings if report else ():
        print_line(console, warning, style="yellow")
    print_line(console, f"study file  {short_path(file)}")
    print_line(console, f"search      {command_line('run', short_path(file))}")
    print_line(console, f"no search   {command_line('train', short_path(file), '--refit', '--test')}")
