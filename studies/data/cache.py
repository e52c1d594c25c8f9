"""The cache of data sets: each is a folder of arrays, written once and mapped into the memory of every worker.

A folder is named after the digest of its data set, so different content never shares one. Opening a folder imports
nothing but NumPy, because every worker does it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlp.columns import Schema
from mlp.data import Dataset
from mlp.errors import ConfigError
from mlp.untrusted import open_npy, open_regular, read_regular
from studies.data.data_report import DataReport

ARRAYS = ("inputs", "targets", "test_inputs", "test_targets")
OPTIONAL_ARRAYS = ("weights", "groups", "order")  # of tables whose configuration names such a column
RECORD = "dataset.json"
FIELDS = ("name", "largest", "digest", "n_given", "classes", "image_shape", "columns", "schema")
REPORT = "report.json"
MAX_RECORD = 6_000_000  # bytes; the names of a hundred thousand columns


@functools.lru_cache(maxsize=4)
def open_cached(folder: Path) -> Dataset:
    """Return the data set in a folder of the cache; inputs are mapped into memory instead of being read.

    The record and the sizes of the arrays are checked. Their content is not, because every worker opens the folder;
    `prepare_data` checks it once per launch.

    Args:
        folder: what `prepare_data` returned.

    Raises:
        ConfigError: if the folder does not contain a complete data set.
    """
    return _open(folder)


def check_cached(folder: Path) -> None:
    """Check that a folder of the cache still contains a complete data set, also if it has been opened before.

    Raises:
        ConfigError: if it does not.
    """
    _open(folder)


def _open(folder: Path) -> Dataset:
    try:
        record = _read_record(folder)
        known = {key: record[key] for key in ("name", "largest", "digest", "n_given")}
        known |= {key: tuple(record[key]) for key in ("classes", "image_shape", "columns")}
        known["schema"] = None if record["schema"] is None else Schema.from_mapping(record["schema"])
        for name in (*ARRAYS, *(name for name in OPTIONAL_ARRAYS if f"{name}.npy" in record["sizes"])):
            mapped = open_npy(folder / f"{name}.npy")
            known[name] = mapped if "inputs" in name else np.array(mapped)
        return Dataset(**known)
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"{folder} is not a complete cached data set: {error}. Prepare the data set on this machine."
        raise ConfigError(problem) from error


def read_report(folder: Path) -> DataReport | None:
    """Return the report on the data set in a folder of the cache; None for a published data set.

    Raises:
        ConfigError: if the folder does not contain a complete data set.
    """
    try:
        if REPORT not in _read_record(folder)["sizes"]:
            return None
        return DataReport.from_mapping(json.loads(read_regular(folder / REPORT, MAX_RECORD)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"{folder} is not a complete cached data set: {error}. Prepare the data set on this machine."
        raise ConfigError(problem) from error


def _read_record(folder: Path) -> dict[str, Any]:
    """Return the record of a data set.

    Raises:
        OSError: if a file is missing.
        ValueError: if the record is damaged, or an array has another size than the record states.
    """
    try:
        record = json.loads(read_regular(folder / RECORD, MAX_RECORD))
    except RecursionError:
        raise ValueError(f"{RECORD} is damaged") from None
    if not isinstance(record, dict) or record.pop("seal", None) != _seal(record):
        raise ValueError(f"{RECORD} is damaged")
    if not {*FIELDS, "sizes", "sha256"} <= record.keys():
        raise ValueError(f"{RECORD} was written by another version")
    for name, size in record["sizes"].items():
        if (folder / name).stat().st_size != size:
            raise ValueError(f"{name} has another size than it was stored with")
    return record


def _seal(record: dict[str, Any]) -> str:
    """Return the SHA-256 of a record, which contains those of the arrays."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class CacheEntry:
    """The place of one data set in the cache.

    Attributes:
        name: the name of the data set, for people who look into the cache.
        digest: a SHA-256 that identifies the content of the data set.
    """

    name: str
    digest: str

    @property
    def folder(self) -> Path:
        """The folder of the arrays, whether or not it exists yet."""
        return cache_folder() / "arrays" / f"{self.name}-{self.digest[:12]}"

    def find_damage(self) -> str:
        """Return why the folder cannot be used, or an empty string; all arrays are read and compared with the record.

        This takes 0.05 s for MNIST, which has 55 MB.
        """
        try:
            record = _read_record(self.folder)
            if record["digest"] != self.digest:
                return f"{RECORD} belongs to another data set"
            for name, sha256 in record["sha256"].items():
                if _file_digest(self.folder / name) != sha256:
                    return f"{name} is damaged"
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"{error}"
        return ""

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Exclude other processes that want to store the same data set while the block runs.

        A source is read inside the block too, because it may be a download of minutes that only one process should do.
        The others wait, and find the data set complete when they get the lock.

        Raises:
            ConfigError: if the cache is not writable.
        """
        from filelock import FileLock

        folder = self.folder
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder.parent):
                pass  # a FileLock would wait for ever in a folder that is not writable
            with FileLock(folder.with_name(f"{folder.name}.lock")):
                yield
        except OSError as error:
            problem = f"the cache {cache_folder()} is not writable: {error}. Set STUDIES_CACHE to a writable folder."
            raise ConfigError(problem) from error

    def write(self, dataset: Dataset, report: DataReport | None = None) -> None:
        """Store a data set; call it inside `lock`.

        The arrays are written to a draft, which gets its final name when it is complete. A process that is killed
        leaves only a draft behind, and the next one replaces it.

        Args:
            dataset: the data set.
            report: what was found in its file, if it is a table.

        Raises:
            ConfigError: if there is no room for it; no draft is left then.
        """
        folder = self.folder
        draft = folder.with_name(f"{folder.name}.draft")
        for leftover in (draft, folder):
            shutil.rmtree(leftover, ignore_errors=True)
        draft.mkdir()
        try:
            self._fill(draft, dataset, report)
        except ConfigError:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            size = sum(getattr(dataset, name).nbytes for name in ARRAYS) / 1e6
            reason = error.strerror or "No space left on device"  # NumPy says how many bytes it has written
            raise ConfigError(
                f"the data set cannot be stored in the cache {cache_folder()}: {reason}. It takes {size:.1f} MB. Make "
                "room for it, or set STUDIES_CACHE to another folder."
            ) from error
        draft.rename(folder)
        open_cached.cache_clear()  # it may have mapped the files that were replaced

    def _fill(self, draft: Path, dataset: Dataset, report: DataReport | None) -> None:
        files = []
        for name in (*ARRAYS, *OPTIONAL_ARRAYS):
            if (array := getattr(dataset, name)) is not None:
                files.append(f"{name}.npy")
                np.save(draft / files[-1], array)
        if report is not None:
            files.append(REPORT)
            (draft / REPORT).write_text(json.dumps(report.to_mapping()), encoding="utf-8")
        record = {
            "name": dataset.name,
            "classes": list(dataset.classes),
            "image_shape": list(dataset.image_shape),
            "columns": list(dataset.columns),
            "schema": None if dataset.schema is None else dataset.schema.to_mapping(),
            "largest": dataset.largest,
            "n_given": dataset.n_given,
            "digest": self.digest,
            "sizes": {file: (draft / file).stat().st_size for file in files},
            "sha256": {file: _file_digest(draft / file) for file in files},
        }
        text = json.dumps(record | {"seal": _seal(record)}, indent=1)
        if len(text) > MAX_RECORD:
            problem = (
                f"the names and the levels of its columns take {len(text)} bytes, at most {MAX_RECORD} are allowed"
            )
            raise ConfigError(f"{dataset.name}: {problem}. Drop columns of long texts with data.drop.")
        (draft / RECORD).write_text(text, encoding="utf-8")


def downloads_folder() -> Path:
    """Return the folder in which downloaded files are kept."""
    return cache_folder() / "downloads"


def cache_folder() -> Path:
    """Return the folder of the cache: `STUDIES_CACHE`, or the operating system's folder for caches."""
    if chosen := os.environ.get("STUDIES_CACHE"):
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("mlp-studies")


def _file_digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with open_regular(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
