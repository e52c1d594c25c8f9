"""The cache of data sets: each is a folder of arrays, written once and mapped into the memory of every worker.

A folder is named after the digest of its data set, so different content never shares one. Opening a folder imports
nothing but NumPy, because every worker does it.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlp.data import Dataset
from mlp.errors import ConfigError

ARRAYS = ("inputs", "targets", "test_inputs", "test_targets")
RECORD = "dataset.json"


@functools.lru_cache(maxsize=4)
def open_cached(folder: Path) -> Dataset:
    """Return the data set in a folder of the cache; inputs are mapped into memory instead of being read.

    Args:
        folder: what `prepare_data` returned.

    Raises:
        ConfigError: if the folder does not contain a complete data set.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        known = {key: record[key] for key in ("name", "largest", "digest")}
        known |= {key: tuple(record[key]) for key in ("classes", "image_shape")}
        known["columns"] = tuple(record.get("columns", ()))  # absent in caches of older versions
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r" if "inputs" in name else None) for name in ARRAYS}
        return Dataset(**arrays, **known)
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"{folder} is not a complete cached data set: {error}. Prepare the data set on this machine."
        raise ConfigError(problem) from error


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

    def is_complete(self) -> bool:
        """Return whether the data set is stored with all its arrays; their content was verified before."""
        try:
            record = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
            return bool(record["digest"] == self.digest and record["sizes"] == _sizes(self.folder))
        except (OSError, ValueError, KeyError, TypeError):
            return False

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

    def write(self, dataset: Dataset) -> None:
        """Store a data set; call it inside `lock`.

        The arrays are written to a draft, which gets its final name when it is complete. A process that is killed
        leaves only a draft behind, and the next one replaces it.
        """
        folder = self.folder
        draft = folder.with_name(f"{folder.name}.draft")
        for leftover in (draft, folder):
            shutil.rmtree(leftover, ignore_errors=True)
        draft.mkdir()
        try:
            self._fill(draft, dataset)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        draft.rename(folder)

    def _fill(self, draft: Path, dataset: Dataset) -> None:
        for name in ARRAYS:
            np.save(draft / f"{name}.npy", getattr(dataset, name))
        record = {
            "name": dataset.name,
            "classes": list(dataset.classes),
            "image_shape": list(dataset.image_shape),
            "columns": list(dataset.columns),
            "largest": dataset.largest,
            "digest": self.digest,
            "sizes": _sizes(draft),
        }
        (draft / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")


def downloads_folder() -> Path:
    """Return the folder in which downloaded files are kept."""
    return cache_folder() / "downloads"


def cache_folder() -> Path:
    """Return the folder of the cache: `STUDIES_CACHE`, or the operating system's folder for caches."""
    if chosen := os.environ.get("STUDIES_CACHE"):
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("mlp-studies")


def _sizes(folder: Path) -> dict[str, int]:
    """Return the size of each array's file in bytes."""
    return {f"{name}.npy": (folder / f"{name}.npy").stat().st_size for name in ARRAYS}
