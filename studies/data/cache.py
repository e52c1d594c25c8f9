"""Data sets by name: verified once, cached as arrays, and mapped into the memory of every worker.

What a data set is, is pinned here by SHA-256 and checked when its arrays are written; from then on the cached folder
is all that is needed. Nothing but NumPy is imported to open one.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mlp.data import Dataset
from mlp.errors import ConfigError, errors_in

ARRAYS = ("inputs", "targets", "test_inputs", "test_targets")


def find_data_dir(data_dir: Path | str | None) -> Path | None:
    """Return where the user's own files are: the folder given, or `STUDIES_DATA`."""
    chosen = data_dir or os.environ.get("STUDIES_DATA")
    return Path(chosen) if chosen else None


def keep(name: str, digest: str, read: Callable[[], Dataset], *, path: str) -> Path:
    """Return the folder in the cache that holds a data set as arrays, written first unless it is there.

    Args:
        name: of the data set.
        digest: a SHA-256 that identifies its content.
        read: gives it.
        path: where it is named in the configuration, for the error.

    Raises:
        ConfigError: when it cannot be read, or the cache not be written.
    """
    cache = cache_folder()
    folder = cache / "arrays" / f"{name}-{digest[:12]}"
    if not _is_whole(folder, digest):
        try:
            with errors_in(path=path):
                _write(folder, digest, read)
        except OSError as error:
            problem = f"the cache {cache} cannot be written: {error}. Set STUDIES_CACHE to a folder that can."
            raise ConfigError(problem, path=path) from error
    return folder


@functools.lru_cache(maxsize=4)
def open_cached(folder: Path) -> Dataset:
    """Return the data set in a cache folder that `prepare_data` returned; inputs are mapped into memory, not read.

    Raises:
        ConfigError: if the folder does not contain a complete data set.
    """
    try:
        record = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        known = {key: record[key] for key in ("name", "largest", "digest")}
        known |= {key: tuple(record[key]) for key in ("classes", "image_shape")}
        known["columns"] = tuple(record.get("columns", ()))  # caches from before there were any
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r" if "inputs" in name else None) for name in ARRAYS}
        return Dataset(**arrays, **known)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{folder} is not a complete cached data set: {error}. Prepare the data set on this machine."
        ) from error


def cache_folder() -> Path:
    """Return where downloads and arrays are kept: STUDIES_CACHE, or the place that the system has for caches."""
    if chosen := os.environ.get("STUDIES_CACHE"):
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("mlp-studies")


def _is_whole(folder: Path, digest: str) -> bool:
    """Return whether a folder holds a data set whole: its arrays were verified when they were written."""
    try:
        record = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        return bool(record["digest"] == digest and record["sizes"] == _sizes(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _sizes(folder: Path) -> dict[str, int]:
    return {f"{name}.npy": (folder / f"{name}.npy").stat().st_size for name in ARRAYS}


def _write(folder: Path, digest: str, read: Callable[[], Dataset]) -> None:
    """Write a cache folder, whole or not at all."""
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder.parent):
        pass  # where nothing can be written, a FileLock would wait for ever
    draft = folder.with_name(f"{folder.name}.draft")
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if _is_whole(folder, digest):
            return
        dataset = read()
        for leftover in (draft, folder):
            shutil.rmtree(leftover, ignore_errors=True)
        draft.mkdir()
        for name in ARRAYS:
            np.save(draft / f"{name}.npy", getattr(dataset, name))
        record = {
            "name": dataset.name,
            "classes": list(dataset.classes),
            "image_shape": list(dataset.image_shape),
            "columns": list(dataset.columns),
            "largest": dataset.largest,
            "digest": digest,
            "sizes": _sizes(draft),
        }
        (draft / "dataset.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
        draft.rename(folder)
