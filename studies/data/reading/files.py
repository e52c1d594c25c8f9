"""The entry to the reading of files: `read_table`."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from mlp.data_config import DataConfig
from mlp.errors import errors_in
from studies.data.reading.content import open_content
from studies.data.reading.csv_file import read_csv
from studies.data.reading.parquet_file import read_parquet
from studies.data.table import Table


def read_table(file: Path | BinaryIO, config: DataConfig, *, name: str = "") -> Table:
    """Return the table in a CSV file, compressed or not, or in a Parquet file; which of them it is, its content says.

    Args:
        file: the path of a regular file, or a stream such as standard input.
        config: `header`, `separator` and `encoding` say how a CSV file is read.
        name: how the user named the file; by default its path, or `standard input`.

    Raises:
        ConfigError: if it is not a table; the message starts with the name.
    """
    name = name or (str(file) if isinstance(file, Path) else "standard input")
    with errors_in(f"{name}:"), open_content(file) as content:
        if content.format == "parquet":
            return read_parquet(content, name)
        return read_csv(content, config, name)
