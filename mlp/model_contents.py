"""The content of a model's files, parsed and validated. The files come from anywhere, so nothing in them is trusted."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mlp.arrays import Array, digest
from mlp.ensemble import Ensemble
from mlp.errors import ConfigError, errors_in, listed, shown
from mlp.model import AbstractModel, Manifest, Model
from mlp.untrusted import check_size, read_regular

MODEL_FORMAT = "mlp-model"
MODEL_VERSION = 4
THETA = "theta"
MEMBERS = "members"
MAX_MANIFEST = 6_000_000  # bytes; parsed JSON needs up to thirty times as much memory
MAX_FILE = 100_000_000  # bytes of a model in one file, which is about five million parameters
CHUNK = 1 << 20  # bytes of numbers that are parsed at once
_THETA_START = re.compile(rf'"{THETA}"\s*+:\s*+\['.encode())  # only a key: inside a text the quotes are escaped


@dataclass(frozen=True)
class Contents:
    """What `model.json` states: the manifests of the networks, and the metrics."""

    manifests: tuple[Manifest, ...]
    is_ensemble: bool
    metrics: dict[str, float]

    @property
    def n_parameters(self) -> int:
        return sum(manifest.n_parameters for manifest in self.manifests)

    @property
    def dtype(self) -> str:
        return self.manifests[0].config.dtype

    def model(self, theta: Array, file: Path) -> AbstractModel:
        """Return the model with some parameters, which must be those that the manifests state."""
        ends = np.cumsum([manifest.n_parameters for manifest in self.manifests])
        parts = np.split(theta, ends[:-1])
        for part, manifest in zip(parts, self.manifests, strict=True):
            _check_theta(part, manifest, file)
        if not self.is_ensemble:
            return Model(self.manifests[0], theta, metrics=self.metrics)
        with errors_in(f"{file}:"):
            members = [Model(manifest, part) for part, manifest in zip(parts, self.manifests, strict=True)]
            return Ensemble.of(members, metrics=self.metrics)


def content_digest(content: dict[str, Any]) -> str:
    """Return the SHA-256 of a manifest, which contains that of the parameters; layout and order do not matter."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))  # a damaged file may contain 1e999, infinity
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(file: Path) -> tuple[dict[str, Any], bytes]:
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


def parse_manifest(content: dict[str, Any], file: Path) -> Contents:
    """Return what the manifest in a file states, apart from the parameters.

    Raises:
        ConfigError: if it is not a manifest of this version, or was changed.
    """
    if content.pop("format", None) != MODEL_FORMAT:
        raise ConfigError(f'{file}: "format" must be "{MODEL_FORMAT}". Is this a saved model?')
    with errors_in(f"{file}:"):
        if (version := content.pop("version", None)) != MODEL_VERSION:
            problem = f'"version" must be {MODEL_VERSION}, the version that this program reads, got {shown(version)}.'
            raise ConfigError(f"{problem} Train and save the model again.")
        stated = content.pop("digest", None)
        actual = content_digest({"format": MODEL_FORMAT, "version": MODEL_VERSION, **content})
        metrics = _parse_metrics(content.pop("metrics", None))
        is_ensemble = MEMBERS in content
        manifests = _parse_members(content) if is_ensemble else (Manifest.from_mapping(content),)
        if stated != actual:
            problem = f'"digest" must be {actual}, that of the other values in the file, got {shown(stated)}.'
            raise ConfigError(f"{problem} The file is damaged or was edited.")
        return Contents(manifests, is_ensemble, metrics)


def _parse_members(content: dict[str, Any]) -> tuple[Manifest, ...]:
    members = content[MEMBERS]
    if content.keys() != {MEMBERS}:
        raise ConfigError(f'must have no keys beside "{MEMBERS}", got {listed(content.keys() - {MEMBERS})}.')
    if not isinstance(members, list) or not members or not all(isinstance(member, dict) for member in members):
        raise ConfigError(f"must be a list of tables, one per network, got {shown(members)}.", path=MEMBERS)
    manifests = []
    for index, member in enumerate(members):
        with errors_in(path=f"{MEMBERS}[{index}]"):
            manifests.append(Manifest.from_mapping(member))
    return tuple(manifests)


def _parse_metrics(value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or not all(type(item) in (int, float) for item in value.values()):
        raise ConfigError(f"must be a table of numbers, got {shown(value)}.", path="metrics")
    return {key: float(item) for key, item in value.items()}


def parse_theta(value: Any, numbers: bytes, n: int, dtype: str) -> Array:
    """Return the parameters from the text of a list of numbers, whose length and type the manifest states.

    Args:
        value: what the JSON file contains in place of the list; an empty list if it contains a list.
        numbers: the text of the list, without brackets.
        n: the number of parameters.
        dtype: their type.
    """
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
