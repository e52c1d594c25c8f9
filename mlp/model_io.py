"""Models on disk: a readable manifest and one array, written whole or not at all, and read without trust.

A model is a folder of `model.json` and `weights.npz`. Nothing in it is executed, and no more memory is taken than
the files themselves are long.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, Self

import numpy as np

from mlp.arrays import Array, digest
from mlp.config import TrainConfig
from mlp.data import Examples, check_inputs
from mlp.network import Network
from mlp.registry import AbstractRecord, ConfigError, number
from mlp.scaling import Scaling
from mlp.training import Training, compute_outputs

MODEL_FORMAT = "mlp-model"
MODEL_VERSION = 2
MANIFEST = "model.json"
WEIGHTS = "weights.npz"
MEMBER = "theta.npy"


@dataclass(frozen=True, kw_only=True)
class Manifest(AbstractRecord):
    """The manifest: everything of a model but its parameters.

    Attributes:
        sizes: widths of all layers, inputs and outputs included.
        task: what it predicts.
        classes: the names of the k classes, or of the m labels or values.
        scaling: what is done to raw inputs.
        weight_digest: the SHA-256 of the parameters, as `mlp.arrays.digest` gives it.
        epochs: after how many epochs these were the parameters.
        config: of the training.
    """

    sizes: tuple[int, ...] = number(at_least=1)
    task: Literal["classes", "labels", "values"]
    classes: tuple[str, ...]
    scaling: Scaling
    weight_digest: str
    epochs: int = number(at_least=0)
    config: TrainConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.sizes) < 2:
            raise ConfigError(f"must hold the inputs and the outputs at least, got {list(self.sizes)}.", path="sizes")
        expected = self.config.layer_sizes(self.sizes[0], len(self.classes), self.task)
        if self.sizes != expected:
            problem = f"must be {list(expected)} by config and classes, got {list(self.sizes)}."
            raise ConfigError(problem, path="sizes")
        if self.scaling.centre and len(self.scaling.centre) != self.sizes[0]:
            problem = f"must hold {self.sizes[0]} centres, one an input, got {len(self.scaling.centre)}."
            raise ConfigError(problem, path="scaling")

    @property
    def n_parameters(self) -> int:
        """The length of the parameter vector, as `mlp.network.Network` lays it out."""
        return self.config.network.count_parameters(self.sizes)


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network that takes raw inputs, as the data set has them.

    Attributes:
        theta: the parameters, shape (p,).
        metrics: what it scored, by key.
    """

    manifest: Manifest
    theta: Array
    metrics: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, training: Training, classes: Sequence[str], *, metrics: Mapping[str, float] | None = None) -> Self:
        """Return the model of the parameters that a training keeps.

        Args:
            training: one that has run.
            classes: the names of the k classes, or of the m labels or values.
            metrics: what to record beside it; those of the kept epoch unless given.
        """
        epoch = training.kept_epoch
        manifest = Manifest(
            sizes=training.network.sizes,
            task=training.data.task,
            classes=tuple(classes),
            scaling=training.data.train.scaling,
            weight_digest=training.weight_digest(),
            epochs=epoch,
            config=training.config,
        )
        kept = {key: values[epoch - 1] for key, values in training.history.items()}
        return cls(manifest, training.kept_theta.copy(), kept if metrics is None else dict(metrics))

    @property
    def classes(self) -> tuple[str, ...]:
        """The k names, by label."""
        return self.manifest.classes

    def build_network(self) -> Network:
        """Return a network with these parameters, a new one at each call."""
        config = self.manifest.config
        network = config.network.build(self.manifest.sizes, dtype=config.dtype)
        np.copyto(network.theta, self.theta)
        return network

    def outputs(self, inputs: Any) -> Array:
        """Return the network's raw outputs, shape (n, k), for raw inputs of shape (n, d).

        It may be called from several threads at once.

        Raises:
            ValueError: when the inputs have another shape.
        """
        inputs = np.asarray(inputs)
        sizes = self.manifest.sizes
        if inputs.ndim != 2 or inputs.shape[1] != sizes[0]:
            raise ValueError(f"inputs must have shape (n, {sizes[0]}), one row an example, got {inputs.shape}.")
        check_inputs(inputs)
        rows = np.arange(len(inputs))
        return compute_outputs(self.build_network(), Examples(inputs, rows, rows, self.manifest.scaling))

    def predict_proba(self, inputs: Any) -> Array:
        """Return the probability of each class or label, or the values: shape (n, k), for inputs of shape (n, d)."""
        loss, outputs = self.manifest.config.loss, self.outputs(inputs)
        return loss.probabilities(outputs) if self.manifest.task == "classes" else loss.predictions(outputs)

    def predict(self, inputs: Any) -> Array:
        """Return the likeliest class of each example, shape (n,), or its labels or values, shape (n, m)."""
        return self.manifest.config.loss.decide(self.outputs(inputs), self.manifest.task)


def check_writable(folder: Path) -> None:
    """Refuse a place for a model where something else is; a model that is there would be replaced.

    Raises:
        ConfigError: naming the folder and what to do.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not _is_model(folder):
        raise ConfigError(f"{folder}: is there already and is no saved model. Choose another folder, or remove it.")


def _is_model(folder: Path) -> bool:
    """Return whether a folder holds a model and nothing else, so that replacing it loses nothing else."""
    if not folder.is_dir() or {file.name for file in folder.iterdir()} != {MANIFEST, WEIGHTS}:
        return False
    try:
        return _read_json(folder / MANIFEST).get("format") == MODEL_FORMAT
    except ConfigError:
        return False


def save_model(folder: Path, model: Model) -> Path:
    """Write a model as a folder: under another name beside it first, so that it is there whole or not at all.

    Args:
        folder: to be made, together with those above it; an earlier model there is replaced.
        model: what to write.

    Raises:
        ConfigError: when something else is in that place.
    """
    check_writable(folder)
    place = folder.resolve()  # through a link: its target is replaced, not the link
    place.parent.mkdir(parents=True, exist_ok=True)
    draft, old = (place.with_name(f".{place.name}.{what}.{os.getpid()}") for what in ("draft", "old"))
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        content = {"format": MODEL_FORMAT, "version": MODEL_VERSION, **model.manifest.to_mapping()}
        text = json.dumps(content | {"metrics": dict(model.metrics)}, indent=1, allow_nan=False)
        (draft / MANIFEST).write_text(text + "\n", encoding="utf-8")
        np.savez(draft / WEIGHTS, theta=model.theta)
        if place.exists():
            place.replace(old)
        draft.replace(place)
    finally:
        if old.exists() and not place.exists():
            old.replace(place)
        for leftover in (draft, old):
            shutil.rmtree(leftover, ignore_errors=True)
    return folder


def load_model(folder: Path) -> Model:
    """Return the model that `save_model` wrote.

    Raises:
        ConfigError: when the files are missing, damaged, of another version, or do not belong together; it says
            which file, and what about it.
    """
    file = folder / MANIFEST
    content = _read_json(file)
    if content.pop("format", None) != MODEL_FORMAT:
        raise ConfigError(f'{file}: "format" must be "{MODEL_FORMAT}". Is {folder} a saved model?')
    if (version := content.pop("version", None)) != MODEL_VERSION:
        raise ConfigError(f'{file}: "version" must be {MODEL_VERSION}, the one this program reads, got {version!r}.')
    try:
        metrics = _metrics(content.pop("metrics", None))
        manifest = Manifest.from_mapping(content)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    theta = _read_weights(folder / WEIGHTS, manifest)
    return Model(manifest, theta, metrics)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file. Is {file.parent} a saved model?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: must hold a table, got {type(content).__name__}.")
    return content


def _metrics(value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or not all(type(item) in (int, float) for item in value.values()):
        raise ConfigError(f"must be a table of numbers, got {value!r}.", path="metrics")
    return {key: float(item) for key, item in value.items()}


def _read_weights(file: Path, manifest: Manifest) -> Array:
    """Return the parameters, of exactly the shape, type and digest that the manifest states."""
    try:
        theta = _read_member(file, manifest)
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file. Is {file.parent} a saved model?") from None
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    except Exception as error:  # the readers of zip and npy raise a dozen kinds on hostile bytes
        raise ConfigError(f"{file}: cannot be read: {error}.") from error
    if (got := digest(theta)) != manifest.weight_digest:
        problem = f"the parameters must have the digest {manifest.weight_digest} that {MANIFEST} states, got {got}"
        raise ConfigError(f"{file}: {problem}. The file is damaged, or belongs to another model.")
    return theta


def _read_member(file: Path, manifest: Manifest) -> Array:
    """Return the array of an archive, having checked what it declares before any memory is taken for it.

    An `.npz` of 200 bytes can claim an array of 128 GiB, and a compressed one can really hold it.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if [member.filename for member in members] != [MEMBER]:
            names = [member.filename for member in members[:5]]
            raise ConfigError(f"must hold {MEMBER} and nothing else, got {names}.")
        if members[0].compress_type != zipfile.ZIP_STORED:
            raise ConfigError(f"{MEMBER} must not be compressed.")
        with archive.open(members[0]) as stream:
            shape, dtype = _read_header(stream)
            if (shape, dtype) != ((manifest.n_parameters,), np.dtype(manifest.config.dtype)):
                problem = f"must have shape ({manifest.n_parameters},) and type {manifest.config.dtype} by {MANIFEST}"
                raise ConfigError(f"{MEMBER} {problem}, got {shape} and {dtype}.")
            n_bytes = manifest.n_parameters * dtype.itemsize
            if n_bytes > (n_there := file.stat().st_size):
                raise ConfigError(f"{MEMBER} claims {n_bytes} bytes in a file of {n_there}.")
            data = stream.read(n_bytes + 1)
    if len(data) != n_bytes:
        raise ConfigError(f"{MEMBER} must hold {n_bytes} bytes of values, and holds {len(data)}.")
    return np.frombuffer(data, dtype)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):  # the later ones are for types with many fields, and their headers may be 4 GiB long
        raise ConfigError(f"{MEMBER} must be of the .npy version 1.0, got {version[0]}.{version[1]}.")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    return shape, dtype
