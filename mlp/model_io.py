"""Models on disk: readable, written atomically, validated on reading.

A model is a folder with a manifest and an array, `model.json` and `weights.npz`. If its path ends in `.json`, it is a
single file, which contains the parameters as numbers. Both forms restore the same bits. Nothing in them is executed,
and the sizes that they state are compared with the size of the file before memory is allocated.

The manifest contains a digest of itself and of the parameters, so that a damaged or edited model is never used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mlp.arrays import Array, digest
from mlp.errors import ConfigError, errors_in, shown
from mlp.model import Manifest, Model
from mlp.untrusted import check_size, open_npz, read_regular

MODEL_FORMAT = "mlp-model"
MODEL_VERSION = 4
MANIFEST = "model.json"
WEIGHTS = "weights.npz"
THETA = "theta"
MAX_MANIFEST = 6_000_000  # bytes; parsed JSON needs up to thirty times as much memory
MAX_FILE = 100_000_000  # bytes of a model in one file, which is about five million parameters
CHUNK = 1 << 20  # bytes of numbers that are parsed at once
_THETA_START = re.compile(rf'"{THETA}"\s*+:\s*+\['.encode())  # only a key: inside a text the quotes are escaped


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
        content, _ = _read_json(file)
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
        ConfigError: if something else is in that place, it cannot be written, or the parameters are not finite.
    """
    place = Path(path)
    check_writable(place)
    if not np.isfinite(model.theta).all():
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


def _write_folder(folder: Path, model: Model) -> None:
    folder.mkdir()
    text = _manifest_text(model)
    with errors_in(f"{MANIFEST}:"):
        check_size(len(text), MAX_MANIFEST)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    np.savez(folder / WEIGHTS, theta=model.theta)


def _write_file(file: Path, model: Model) -> None:
    # JSON writes the shortest digits that restore the same float64, and every float32 is exactly a float64.
    theta = json.dumps(model.theta.tolist(), allow_nan=False)
    text = _manifest_text(model).removesuffix("\n}")
    if max(len(text) + len(theta), len(text) * MAX_FILE // MAX_MANIFEST) > MAX_FILE:
        raise ConfigError("the model is too large for a single file. Give the path of a folder, without .json.")
    file.write_text(f'{text},\n "{THETA}": {theta}\n}}\n', encoding="utf-8")


def _manifest_text(model: Model) -> str:
    content = {"format": MODEL_FORMAT, "version": MODEL_VERSION, **model.manifest.to_mapping()}
    content |= {"metrics": dict(model.metrics)}
    return json.dumps(content | {"digest": _content_digest(content)}, indent=1, allow_nan=False)


def _content_digest(content: dict[str, Any]) -> str:
    """Return the SHA-256 of a manifest, which contains that of the parameters; layout and order do not matter."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))  # a damaged file may contain 1e999, infinity
    return hashlib.sha256(text.encode()).hexdigest()


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
    content, numbers = _read_json(file)
    value = content.pop(THETA, None)
    manifest, metrics = _parse_manifest(content, file)
    with errors_in(f"{file}:"):
        theta = _parse_theta(value, numbers, manifest)
    _check_theta(theta, manifest, file)
    return Model(manifest, theta, metrics)


def _load_folder(folder: Path) -> Model:
    for file in (folder / MANIFEST, folder / WEIGHTS):
        if not file.exists():
            raise ConfigError(f"{file}: there is no such file. Is {folder} a saved model?")
    content, _ = _read_json(folder / MANIFEST)
    manifest, metrics = _parse_manifest(content, folder / MANIFEST)
    theta = _read_weights(folder / WEIGHTS, manifest)
    _check_theta(theta, manifest, folder / WEIGHTS)
    return Model(manifest, theta, metrics)


def _read_json(file: Path) -> tuple[dict[str, Any], bytes]:
    """Return the content of a JSON file, in which the list of parameters is left empty, and the text of that list.

    As Python objects the parameters would need several times the memory of their text.
    """
    with errors_in(f"{file}:"):
        try:
            text, numbers = read_regular(file, MAX_FILE), b""
            if start := _THETA_START.search(text):
                end = text.find(b"]", start.end())
                if end < 0:
                    raise ConfigError(f'cannot be read: the list "{THETA}" has no end.')
                numbers = text[start.end() : end]
                text = text[: start.end()] + text[end:]
            check_size(len(text), MAX_MANIFEST)
            content = _parse_json(text)
        except FileNotFoundError:
            raise ConfigError("there is no such file.") from None
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}.") from error
        if not isinstance(content, dict):
            raise ConfigError(f"must be a table, got {type(content).__name__}.")
        return content, numbers


def _parse_json(text: bytes) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"cannot be read: {error}.") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _parse_manifest(content: dict[str, Any], file: Path) -> tuple[Manifest, dict[str, float]]:
    if content.pop("format", None) != MODEL_FORMAT:
        raise ConfigError(f'{file}: "format" must be "{MODEL_FORMAT}". Is this a saved model?')
    with errors_in(f"{file}:"):
        if (version := content.pop("version", None)) != MODEL_VERSION:
            problem = f'"version" must be {MODEL_VERSION}, the version that this program reads, got {shown(version)}.'
            raise ConfigError(f"{problem} Train and save the model again.")
        stated = content.pop("digest", None)
        actual = _content_digest({"format": MODEL_FORMAT, "version": MODEL_VERSION, **content})
        metrics = _parse_metrics(content.pop("metrics", None))
        manifest = Manifest.from_mapping(content)
        if stated != actual:
            problem = f'"digest" must be {actual}, that of the other values in the file, got {shown(stated)}.'
            raise ConfigError(f"{problem} The file is damaged or was edited.")
        return manifest, metrics


def _parse_metrics(value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or not all(type(item) in (int, float) for item in value.values()):
        raise ConfigError(f"must be a table of numbers, got {shown(value)}.", path="metrics")
    return {key: float(item) for key, item in value.items()}


def _parse_theta(value: Any, numbers: bytes, manifest: Manifest) -> Array:
    """Return the parameters from the text of a list of numbers, whose length and type the manifest states.

    Args:
        value: what the JSON file contains in place of the list; an empty list if it contains a list.
        numbers: the text of the list, without brackets.
        manifest: the manifest.
    """
    n, dtype = manifest.n_parameters, manifest.config.dtype
    if value is None:
        raise ConfigError("is missing. If the model is a folder, give the path of the folder.", path=THETA)
    n_found = numbers.count(b",") + 1 if numbers.strip() else 0
    if not isinstance(value, list) or n_found != n:
        got = f"{n_found} numbers" if isinstance(value, list) else type(value).__name__
        raise ConfigError(f"must be a list of {n} numbers according to sizes and config, got {got}.", path=THETA)
    theta = np.empty(n, dtype)
    start = 0
    for chunk in _split(numbers):
        items = _parse_json(b"[" + chunk + b"]")
        _check_items(items, start, dtype)
        theta[start : start + len(items)] = items
        start += len(items)
    return theta


def _split(numbers: bytes) -> Iterator[bytes]:
    """Yield a list of numbers in stretches, each without the comma that follows it."""
    start = 0
    while start <= len(numbers):
        comma = numbers.find(b",", start + CHUNK)
        end = len(numbers) if comma < 0 else comma
        yield numbers[start:end]
        start = end + 1


def _check_items(items: list[Any], start: int, dtype: str) -> None:
    largest = float(np.finfo(dtype).max)
    for index, item in enumerate(items, start):
        if type(item) not in (int, float) or not abs(item) <= largest:
            raise ConfigError(f"must contain numbers of type {dtype}, got {shown(item)} at index {index}.", path=THETA)


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
