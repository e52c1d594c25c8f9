"""The entry to data: find the source of a data set, read it once, and open it from the cache.

A source is a published data set, a file of columns, or a file of arrays. It reads its files into a `Dataset`, and the
cache stores that.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlp.data import DataConfig, Dataset
from mlp.errors import ConfigError, errors_in
from studies.data import published
from studies.data.array_source import ArraySource, is_array_file
from studies.data.cache import CacheEntry, downloads_folder, open_cached
from studies.data.data_report import DataReport
from studies.data.file_search import Places
from studies.data.sources import AbstractSource, FileSearch, find_data_dir
from studies.data.table_source import TableSource


def open_dataset(
    data: str | Path | DataConfig,
    *,
    data_dir: Path | str | None = None,
    beside: Iterable[Path | str] = (),
    progress: bool = False,
) -> Dataset:
    """Return a data set; if the cache does not have it yet, it is found, verified and stored there first.

    Args:
        data: the name of a data set, the path of a file, or the `data` of a training configuration.
        data_dir: a folder with `mnist/*.gz`, `fashion-mnist/*.gz` or files of your own; by default `STUDIES_DATA`.
        beside: folders in which a relative path is looked up before the working folder and `data_dir`.
        progress: whether to show a progress bar during downloads.

    Raises:
        ConfigError: if the data is missing or invalid, or the cache is not writable.
    """
    return open_cached(prepare_data(data, data_dir=data_dir, beside=beside, progress=progress))


def prepare_data(
    data: str | Path | DataConfig,
    *,
    data_dir: Path | str | None = None,
    beside: Iterable[Path | str] = (),
    download: bool = True,
    progress: bool = False,
    path: str = "data",
) -> Path:
    """Make sure that the cache has a data set, and return its folder for `open_cached`.

    A published data set that is in the cache needs neither `data_dir` nor a network. A file is read again when
    its content changes.

    Args:
        data: the name of a data set, the path of a file, or the `data` of a training configuration.
        data_dir: a folder with `mnist/*.gz`, `fashion-mnist/*.gz` or files of your own; by default `STUDIES_DATA`.
        beside: folders in which a relative path is looked up before the working folder and `data_dir`.
        download: whether to download files that are not on this machine.
        progress: whether to show a progress bar during downloads.
        path: the dotted path of the data in the configuration, for errors.

    Raises:
        ConfigError: if the data is missing or invalid, or the cache is not writable.
    """
    config = data if isinstance(data, DataConfig) else DataConfig(str(data))
    search = FileSearch(find_data_dir(data_dir), downloads_folder(), download, progress)
    with errors_in(path=path):
        source = find_source(config, Places(tuple(map(Path, beside)), data_dir))
        entry = CacheEntry(source.name, source.digest)
        if entry.find_damage():
            with entry.lock():
                # Another process may have stored the data set while this one waited for the lock.
                if damage := entry.find_damage():
                    entry.write(*_read_again(source, search, entry, damage))
    return entry.folder


def _read_again(
    source: AbstractSource, search: FileSearch, entry: CacheEntry, damage: str
) -> tuple[Dataset, DataReport | None]:
    """Return the data set of a source and the report on it; an error says what is wrong with the cached one, if any."""
    try:
        return source.read_with_report(search)
    except ConfigError as error:
        if entry.folder.exists():
            error.problem += f" The cached copy in {entry.folder} cannot be used: {damage}."
        raise


def find_source(config: DataConfig, places: Places) -> AbstractSource:
    """Return the source that a configuration names; nothing is downloaded yet.

    Raises:
        ConfigError: if there is no such data set or file.
    """
    if config.is_table:
        return _find_file(config, places)
    if not config.name:
        names = ", ".join(published.SOURCES)
        raise ConfigError(f"is empty. Give the path of a file or one of: {names}.", path="name")
    return published.find_source(config.name)


def _find_file(config: DataConfig, places: Places) -> AbstractSource:
    if is_array_file(config.file):
        return ArraySource.of(places.find(config.file), config)
    named = {name: value for name in ("test", "validation") if isinstance(value := getattr(config, name), str)}
    parts = {name: places.find(value, path=name) for name, value in named.items()}
    return TableSource.of(places.find(config.file), parts, config)
