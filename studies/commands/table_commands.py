"""The command that starts a study of a table: `init`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from studies.commands.options import DataDirOption
from studies.commands.terminal import open_console, print_line


def init(
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="The table.")],
    target: Annotated[list[str], typer.Option(metavar="COLUMN", help="The column to predict. May be repeated.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="STUDY", help="The study file to write. Default: named like the table."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a study file that exists.")] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Write a study file for a table."""
    from mlp.data_config import DataConfig
    from studies.data.file_search import Places
    from studies.data.prepare import open_dataset
    from studies.hints import command_line, short_path
    from studies.search.starter import Starter, study_name, write_starter

    file = output or Path(f"{study_name(str(data))}.toml")
    # As the study file names it, so that the study runs from any folder.
    name = Places(data_dir=data_dir).name_from(file.parent, str(data))
    config = DataConfig(file=name, target=target[0] if len(target) == 1 else tuple(target))
    console = open_console()
    dataset = open_dataset(replace(config, file=str(data)), data_dir=data_dir, progress=console.is_terminal)
    write_starter(Starter.of(config, dataset, name=study_name(str(file))), file, replace=force)
    print_line(console, f"study file  {short_path(file)}")
    print_line(console, f"search      {command_line('run', short_path(file))}")
    print_line(console, f"no search   {command_line('train', short_path(file), '--refit', '--test')}")
