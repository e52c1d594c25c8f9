"""Models on disk: readable, written atomically, validated on reading.

A model is a folder with a manifest and an array, `model.json` and `weights.npz`. If its path ends in `.json`, it is a
single file, which contains the parameters as numbers. Both forms restore the same bits. Nothing in them is executed,
and the sizes that they state are compared with the size of the file before memory is allocated.

The manifest contains a digest of itself and of the parameters, so that a damaged or edited model is never used. That of
an ensemble has the manifests of its networks as `members`, and the array contains their parameters one after another.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mlp.arrays import Array
from mlp.ensemble import Ensemble
from mlp.errors import ConfigError, errors_in
from mlp.model import AbstractModel, Model
from mlp.model_contents import (
    MAX_FILE,
    MAX_MANIFEST,
    MEMBERS,
    MODEL_FORMAT,
    MODEL_VERSION,
    THETA,
    content_digest,
    parse_manifest,
    parse_theta,
    read_json,
)
from mlp.untrusted import check_size, open_npz

MANIFEST = "model.json"
WEIGHTS = "weights.npz"


def check_writable(path: str | Path) -> None:
    """Check that a model can be saved in a place: that nothing is there, or an earlier model, which is replaced.

    Missing parent folders are created.

    Args:
        path: a folder, or a file whose name ends in `.json`.

    Raises:
        ConfigError: if something else is there, the place cannot be written, or the name is that of another kind of
            file.
    """
    place = Path(path)
    with _write_errors(place):
        if place.exists() and not _is_empty(place):
            is_model = _is_model_file(place) if _is_one_file(place) else _is_model_folder(place)
            if not is_model:
                problem = "already exists and is not a saved model. Choose another place, or remove it"
                raise ConfigError(f"{place}: {problem}.")
        if not place.exists() and not _is_one_file(place) and re.match(r"\.[A-Za-z]", place.suffix):
            problem = f"a model is a folder or a .json file, not a {place.suffix} file"
            raise ConfigError(f"{place}: {problem}. Choose {place.with_suffix('.json').name}, for example.")
        draft = _draft(place.resolve())
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.touch()
        draft.unlink()


@contextmanager
def _write_errors(place: Path) -> Iterator[None]:
    """Say which place cannot be written, and why."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{place}: cannot be written: {error.strerror or error}. Choose another place.") from None


def _draft(target: Path) -> Path:
    """Return the place of a model that is not written completely yet."""
    return target.with_name(f".{target.name}.draft.{os.getpid()}")


def _is_one_file(place: Path) -> bool:
    """Return whether the name of a place is that of a model in one file."""
    return place.suffix == ".json"


def _is_empty(place: Path) -> bool:
    """Return whether the file has no content, or the folder no entries; False for a file where a folder is needed."""
    if _is_one_file(place):
        return place.is_file() and not place.stat().st_size
    return place.is_dir() and not any(place.iterdir())


def _is_model_folder(place: Path) -> bool:
    """Return whether a folder contains a model and nothing else, so that replacing the folder loses nothing else."""
    if not place.is_dir() or {file.name for file in place.iterdir()} != {MANIFEST, WEIGHTS}:
        return False
    return _is_model_json(place / MANIFEST)


def _is_model_file(place: Path) -> bool:
    """Return whether a file is a model in one file, as opposed to the manifest of a model in a folder."""
    return place.is_file() and _is_model_json(place, THETA)


def _is_model_json(file: Path, *required: str) -> bool:
    """Return whether a JSON file states the format of a model and has the required keys."""
    try:
        content, _ = read_json(file)
    except ConfigError:
        return False
    return content.get("format") == MODEL_FORMAT and all(key in content for key in required)


def save_model(model: AbstractModel, path: str | Path) -> Path:
    """Write a model and return its path.

    The model is written atomically: after a crash, the path has the earlier model or the new one, never a part of one.

    Args:
        model: the model, such as `Model.of(training, dataset)`, or an ensemble.
        path: a folder, or a file whose name ends in `.json`. Missing parent folders are created; an earlier model is
            replaced.

    Raises:
        ConfigError: if something else is in that place, it cannot be written, or the parameters are not finite.
    """
    place = Path(path)
    check_writable(place)
    if not all(np.isfinite(network.theta).all() for network in _networks(model)):
        raise ConfigError(f"{place}: cannot save: the parameters are not finite. Has the training diverged?")
    target = place.resolve()  # replace what a link points to, not the link
    draft, old = _draft(target), target.with_name(f".{target.name}.old.{os.getpid()}")
    # The draft is complete before it gets its final name. A file replaces the earlier one in a single step. A folder
    # cannot, so the earlier folder is renamed first; if the second renaming fails, it gets its name back.
    with _write_errors(place):
        try:
            _remove(draft)
            write = _write_file if _is_one_file(place) else _write_folder
            with errors_in(f"{place}:"):
                write(draft, model)
            if target.is_dir():
                target.replace(old)
            draft.replace(target)
        finally:
            if old.exists() and not target.exists():
                old.replace(target)
            for leftover in (draft, old):
                _remove(leftover)
    return place


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _networks(model: AbstractModel) -> Sequence[Model]:
    """Return the networks of an ensemble, or the only one of a model."""
    if isinstance(model, Ensemble):
        return model.members
    assert isinstance(model, Model)
    return [model]


def _write_folder(folder: Path, model: AbstractModel) -> None:
    folder.mkdir()
    text = _manifest_text(model)
    with errors_in(f"{MANIFEST}:"):
        check_size(len(text), MAX_MANIFEST)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    np.savez(folder / WEIGHTS, theta=_theta_of(model))


def _write_file(file: Path, model: AbstractModel) -> None:
    # JSON writes the shortest digits that restore the same float64, and every float32 is exactly a float64.
    theta = json.dumps(_theta_of(model).tolist(), allow_nan=False)
    text = _manifest_text(model).removesuffix("\n}")
    if max(len(text) + len(theta), len(text) * MAX_FILE // MAX_MANIFEST) > MAX_FILE:
        raise ConfigError("the model is too large for a single file. Give the path of a folder, without .json.")
    file.write_text(f'{text},\n "{THETA}": {theta}\n}}\n', encoding="utf-8")


def _theta_of(model: AbstractModel) -> Array:
    """Return the parameters of all networks, one after another."""
    networks = _networks(model)
    return networks[0].theta if len(networks) == 1 else np.concatenate([network.theta for network in networks])


def _manifest_text(model: AbstractModel) -> str:
    content: dict[str, Any] = {"format": MODEL_FORMAT, "version": MODEL_VERSION}
    if isinstance(model, Ensemble):
        content |= {MEMBERS: [network.manifest.to_mapping() for network in model.members]}
    else:
        content |= model.manifest.to_mapping()
    content |= {"metrics": dict(model.metrics)}
    return json.dumps(content | {"digest": content_digest(content)}, indent=1, allow_nan=False)


def load_model(path: str | Path) -> AbstractModel:
    """Return the model that `save_model` wrote.

    Args:
        path: its folder, or its file if the name ends in `.json`.

    Raises:
        ConfigError: if a file is missing, damaged or of another version, or if the files do not belong together; the
            message names the file.
    """
    place = Path(path)
    return _load_file(place) if _is_one_file(place) else _load_folder(place)


def _load_file(file: Path) -> AbstractModel:
    content, numbers = read_json(file)
    value = content.pop(THETA, None)
    contents = parse_manifest(content, file)
    with errors_in(f"{file}:"):
        theta = parse_theta(value, numbers, contents.n_parameters, contents.dtype)
    return contents.model(theta, file)


def _load_folder(folder: Path) -> AbstractModel:
    for file in (folder / MANIFEST, folder / WEIGHTS):
        if not file.exists():
            raise ConfigError(f"{file}: there is no such file. Is {folder} a saved model?")
    content, _ = read_json(folder / MANIFEST)
    contents = parse_manifest(content, folder / MANIFEST)
    theta = _read_weights(folder / WEIGHTS, contents.n_parameters, contents.dtype)
    return contents.model(theta, folder / WEIGHTS)


def _read_weights(file: Path, n: int, dtype: str) -> Array:
    """Return the parameters from an archive, of exactly the shape and type that the manifest states."""
    with open_npz(file) as archive:
        if archive.names != [THETA]:
            got = ", ".join(archive.names[:5]) or "none"
            raise ConfigError(f'must contain the array "{THETA}" only, got {got}.')
        return archive.read(THETA, shape=(n,), dtype=dtype, allow_compressed=False)
