"""Models on disk: readable, written atomically, validated on reading.

A model is a folder with a manifest and an array, `model.json` and `weights.npz`. If its path ends in `.json`, it is a
single file, which contains the parameters as numbers. Both forms restore the same bits. Nothing in them is executed,
and the sizes that they state are compared with the size of the file before memory is allocated.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mlp.arrays import Array, digest
from mlp.errors import ConfigError, errors_in
from mlp.model import Manifest, Model
from mlp.untrusted import open_npz

MODEL_FORMAT = "mlp-model"
MODEL_VERSION = 2
MANIFEST = "model.json"
WEIGHTS = "weights.npz"
THETA = "theta"


def check_writable(path: str | Path) -> None:
    """Check that a model can be saved in a place: that nothing is there, or an earlier model, which is replaced.

    Args:
        path: a folder, or a file whose name ends in `.json`.

    Raises:
        ConfigError: if something else is there.
    """
    place = Path(path)
    if not place.exists() or _is_empty(place):
        return
    is_model = _is_model_file(place) if _is_one_file(place) else _is_model_folder(place)
    if not is_model:
        raise ConfigError(f"{place}: already exists and is not a saved model. Choose another place, or remove it.")


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
        content = _read_json(file)
    except ConfigError:
        return False
    return content.get("format") == MODEL_FORMAT and all(key in content for key in required)


def save_model(model: Model, path: str | Path) -> Path:
    """Write a model and return its path.

    The model is written atomically: after a crash, the path has the earlier model or the new one, never a part of one.

    Args:
        model: the model, such as `Model.of(training, dataset)`.
        path: a folder, or a file whose name ends in `.json`. Missing parent folders are created; an earlier model is
            replaced.

    Raises:
        ConfigError: if something else is in that place, or the parameters are not finite.
    """
    place = Path(path)
    check_writable(place)
    if not np.isfinite(model.theta).all():
        raise ConfigError(f"{place}: cannot save: the parameters are not finite. Has the training diverged?")
    target = place.resolve()  # replace what a link points to, not the link
    target.parent.mkdir(parents=True, exist_ok=True)
    draft, old = (target.with_name(f".{target.name}.{suffix}.{os.getpid()}") for suffix in ("draft", "old"))
    # The draft is complete before it gets its final name. A file replaces the earlier one in a single step. A folder
    # cannot, so the earlier folder is renamed first; if the second renaming fails, it gets its name back.
    try:
        _remove(draft)
        write = _write_file if _is_one_file(place) else _write_folder
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


def _write_folder(folder: Path, model: Model) -> None:
    folder.mkdir()
    (folder / MANIFEST).write_text(_manifest_text(model) + "\n", encoding="utf-8")
    np.savez(folder / WEIGHTS, theta=model.theta)


def _write_file(file: Path, model: Model) -> None:
    # JSON writes the shortest digits that restore the same float64, and every float32 is exactly a float64.
    theta = json.dumps(model.theta.tolist(), allow_nan=False)
    text = _manifest_text(model).removesuffix("\n}")
    file.write_text(f'{text},\n "{THETA}": {theta}\n}}\n', encoding="utf-8")


def _manifest_text(model: Model) -> str:
    content = {"format": MODEL_FORMAT, "version": MODEL_VERSION, **model.manifest.to_mapping()}
    return json.dumps(content | {"metrics": dict(model.metrics)}, indent=1, allow_nan=False)


def load_model(path: str | Path) -> Model:
    """Return the model that `save_model` wrote.

    Args:
        path: its folder, or its file if the name ends in `.json`.

    Raises:
        ConfigError: if a file is missing, damaged or of another version, or if the files do not belong together; the
            message names the file.
    """
    place = Path(path)
    return _load_file(place) if _is_one_file(place) else _load_folder(place)


def _load_file(file: Path) -> Model:
    content = _read_json(file)
    numbers = content.pop(THETA, None)
    manifest, metrics = _parse_manifest(content, file)
    with errors_in(f"{file}:"):
        theta = _parse_theta(numbers, manifest)
    _check_theta(theta, manifest, file)
    return Model(manifest, theta, metrics)


def _load_folder(folder: Path) -> Model:
    for file in (folder / MANIFEST, folder / WEIGHTS):
        if not file.exists():
            raise ConfigError(f"{file}: there is no such file. Is {folder} a saved model?")
    manifest, metrics = _parse_manifest(_read_json(folder / MANIFEST), folder / MANIFEST)
    theta = _read_weights(folder / WEIGHTS, manifest)
    _check_theta(theta, manifest, folder / WEIGHTS)
    return Model(manifest, theta, metrics)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: must be a table, got {type(content).__name__}.")
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _parse_manifest(content: dict[str, Any], file: Path) -> tuple[Manifest, dict[str, float]]:
    if content.pop("format", None) != MODEL_FORMAT:
        raise ConfigError(f'{file}: "format" must be "{MODEL_FORMAT}". Is this a saved model?')
    if (version := content.pop("version", None)) != MODEL_VERSION:
        problem = f'"version" must be {MODEL_VERSION}, the version that this program reads, got {version!r}.'
        raise ConfigError(f"{file}: {problem}")
    with errors_in(f"{file}:"):
        metrics = _parse_metrics(content.pop("metrics", None))
        return Manifest.from_mapping(content), metrics


def _parse_metrics(value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or not all(type(item) in (int, float) for item in value.values()):
        raise ConfigError(f"must be a table of numbers, got {value!r}.", path="metrics")
    return {key: float(item) for key, item in value.items()}


def _parse_theta(numbers: Any, manifest: Manifest) -> Array:
    """Return the parameters from a list of numbers, whose length and type the manifest states."""
    n, dtype = manifest.n_parameters, manifest.config.dtype
    largest = float(np.finfo(dtype).max)
    if numbers is None:
        raise ConfigError("is missing. If the model is a folder, give the path of the folder.", path=THETA)
    if not isinstance(numbers, list) or len(numbers) != n:
        got = f"{len(numbers)} numbers" if isinstance(numbers, list) else type(numbers).__name__
        raise ConfigError(f"must be a list of {n} numbers according to sizes and config, got {got}.", path=THETA)
    for index, item in enumerate(numbers):
        if type(item) not in (int, float) or not abs(item) <= largest:
            raise ConfigError(f"must contain numbers of type {dtype}, got {item!r:.50} at index {index}.", path=THETA)
    return np.array(numbers, dtype)


def _check_theta(theta: Array, manifest: Manifest, file: Path) -> None:
    if (got := digest(theta)) != manifest.weight_digest:
        problem = f"the parameters must have the digest {manifest.weight_digest} that the manifest states, got {got}"
        raise ConfigError(f"{file}: {problem}. The file is damaged or belongs to another model.")
    if not np.isfinite(theta).all():
        raise ConfigError(f"{file}: the parameters must be finite.")


def _read_weights(file: Path, manifest: Manifest) -> Array:
    """Return the parameters from an archive, of exactly the shape and type that the manifest states."""
    with open_npz(file) as archive:
        if archive.names != [THETA]:
            got = ", ".join(archive.names[:5]) or "none"
            raise ConfigError(f'must contain the array "{THETA}" only, got {got}.')
        shape, dtype = (manifest.n_parameters,), manifest.config.dtype
        return archive.read(THETA, shape=shape, dtype=dtype, allow_compressed=False)
