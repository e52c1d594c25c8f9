"""What a source of examples is, and the search for its files: in the user's folder, in the cache, and on mirrors."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mlp.arrays import Array
from mlp.data import Dataset
from mlp.errors import ConfigError
from studies.data.data_report import DataReport
from studies.data.idx import IdxFile

TIMEOUTS = (5.0, 30.0)  # seconds to connect, and between two packets
CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class AbstractSource(ABC):
    """A data set that can be read from files.

    Attributes:
        name: the name of the data set.
        digest: a SHA-256 that identifies its content; the cache is searched for it before anything is read.
    """

    name: str
    digest: str

    @abstractmethod
    def read(self, search: FileSearch) -> Dataset:
        """Return the data set.

        Args:
            search: where to find files that have not been found yet.

        Raises:
            ConfigError: if files are missing or do not contain what they should.
        """

    def read_with_report(self, search: FileSearch) -> tuple[Dataset, DataReport | None]:
        """Return the data set, and the report on it if it is a file of columns; arguments and errors as for `read`."""
        return self.read(search), None


@dataclass(frozen=True)
class FileSearch:
    """The places to search for the files of a data set.

    Attributes:
        data_dir: the user's own files, searched first; None if there are none.
        downloads: the folder in which downloaded files are kept.
        download: whether to download files that are in neither.
        progress: whether to show a progress bar during downloads.
    """

    data_dir: Path | None
    downloads: Path
    download: bool
    progress: bool

    def find(self, file: IdxFile, folder: str, mirrors: Sequence[str]) -> Array:
        """Return the array of a file from the first place that has it.

        Args:
            file: the file to find, compressed or not.
            folder: the subfolder of `data_dir` and `downloads` that would contain it.
            mirrors: the addresses to download it from, tried in this order.

        Raises:
            ConfigError: if the user's own file differs from the published one.
            FileNotFoundError: if no place has it; the message lists the places.
        """
        downloads = self.downloads / folder
        folders = [downloads] if self.data_dir is None else [self.data_dir / folder, downloads]
        mirrors = mirrors if self.download else ()
        failures = []
        for candidate in (place / name for place in folders for name in (f"{file.name}.gz", file.name)):
            try:
                return file.read(candidate)
            except FileNotFoundError:
                continue
            except ConfigError:
                # The user's file must be reported. A download was verified when it was stored, so it is damaged now
                # and can be downloaded again.
                if candidate.parent != downloads or not mirrors:
                    raise
                failures.append(f"{candidate} (damaged)")
        for mirror in mirrors:
            try:
                return self._download(file, f"{mirror}{file.name}.gz", downloads)
            except (OSError, ConfigError) as error:
                failures.append(f"{mirror} ({_download_failure(error)})")
        searched = " nor in ".join(map(str, folders))
        tried = f"tried {', '.join(failures)}" if failures else "downloading was not requested"
        raise FileNotFoundError(f"{file.name}.gz is not in {searched}; {tried}.")

    def _download(self, file: IdxFile, url: str, folder: Path) -> Array:
        """Download a file, verify it, store it in a folder, and return its array."""
        from pooch import HTTPDownloader  # imports requests, which takes 0.2 s
        from tqdm import tqdm  # type: ignore[import-untyped]

        folder.mkdir(parents=True, exist_ok=True)
        bar: Any = tqdm(desc=file.name, total=file.n_bytes, unit="B", unit_scale=True) if self.progress else False
        draft = folder / f"{file.name}.draft"
        try:
            with draft.open("wb") as stream:
                writer = _BoundedWriter(stream, file.n_bytes + 4096)  # gzip makes incompressible data a little longer
                HTTPDownloader(progressbar=bar, chunk_size=CHUNK_BYTES, timeout=TIMEOUTS)(url, writer, None)
            array = file.read(draft)
            draft.replace(folder / f"{file.name}.gz")
        finally:
            draft.unlink(missing_ok=True)
            if self.progress:
                bar.close()
        return array


class _BoundedWriter:
    """A file that refuses more than a number of bytes, because a mirror may send any amount."""

    def __init__(self, file: BinaryIO, n_bytes: int) -> None:
        self.file = file
        self.n_left = n_bytes

    def write(self, chunk: bytes) -> None:
        self.n_left -= len(chunk)
        if self.n_left < 0:
            raise ConfigError("the file is larger than expected.")
        self.file.write(chunk)

    def flush(self) -> None:
        self.file.flush()


def _download_failure(error: Exception) -> str:
    """Return why a download failed, in a few words; the messages of requests would fill the screen."""
    if isinstance(error, ConfigError):
        return "sent a file that differs from the published one"
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code}"
    return getattr(error, "strerror", "") or type(error).__name__


def find_data_dir(data_dir: Path | str | None) -> Path | None:
    """Return the folder of the user's own files: the given one, or `STUDIES_DATA`, or None."""
    chosen = data_dir or os.environ.get("STUDIES_DATA")
    return Path(chosen) if chosen else None
