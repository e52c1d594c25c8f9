"""Models: trained parameters together with all that is needed to predict from raw inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from mlp.arrays import Array
from mlp.config import TrainConfig
from mlp.data import Examples, check_inputs
from mlp.errors import ConfigError
from mlp.network import Network
from mlp.records import AbstractRecord, number
from mlp.scaling import Scaling
from mlp.training import Training, compute_outputs


@dataclass(frozen=True, kw_only=True)
class Manifest(AbstractRecord):
    """The manifest: everything of a model but its parameters.

    Attributes:
        sizes: widths of all layers, inputs and outputs included.
        task: what it predicts.
        classes: the names of the k classes, or of the m labels or values.
        columns: the names of the inputs, or none where they have none.
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
    columns: tuple[str, ...] = ()

    @classmethod
    def error_name(cls) -> str:
        return "a model's manifest"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.sizes) < 2:
            raise ConfigError(f"must hold the inputs and the outputs at least, got {list(self.sizes)}.", path="sizes")
        expected = self.config.layer_sizes(self.sizes[0], len(self.classes), self.task)
        if self.sizes != expected:
            problem = f"must be {list(expected)} by config and classes, got {list(self.sizes)}."
            raise ConfigError(problem, path="sizes")
        if self.columns and len(self.columns) != self.sizes[0]:
            problem = f"must name {self.sizes[0]} inputs, or none, got {len(self.columns)}."
            raise ConfigError(problem, path="columns")
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
    def of(
        cls,
        training: Training,
        classes: Sequence[str],
        *,
        columns: Sequence[str] = (),
        metrics: Mapping[str, float] | None = None,
    ) -> Self:
        """Return the model of the parameters that a training keeps.

        Args:
            training: one that has run.
            classes: the names of the k classes, or of the m labels or values.
            columns: the names of the inputs, if they have any.
            metrics: what to record beside it; those of the kept epoch unless given.
        """
        manifest = Manifest(
            sizes=training.network.sizes,
            task=training.data.task,
            classes=tuple(classes),
            scaling=training.data.train.scaling,
            weight_digest=training.weight_digest(),
            epochs=training.kept_epoch,
            config=training.config,
            columns=tuple(columns),
        )
        return cls(manifest, training.kept_theta.copy(), training.kept_scores() if metrics is None else dict(metrics))

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
