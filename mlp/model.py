"""Models: trained parameters with everything needed to predict from raw inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from mlp.arrays import Array
from mlp.config import TrainConfig
from mlp.conversion import column_names
from mlp.data import Dataset, Examples
from mlp.data_checks import check_inputs
from mlp.errors import ConfigError
from mlp.network import Network
from mlp.records import AbstractRecord, number
from mlp.scaling import Scaling
from mlp.training import Training, compute_outputs


@dataclass(frozen=True, kw_only=True)
class Manifest(AbstractRecord):
    """Everything in a model except its parameters.

    Attributes:
        sizes: the widths of all layers, including inputs and outputs.
        task: what the model predicts: one of k classes, any of m labels, or m values.
        classes: the names of the k classes, m labels or m values.
        columns: the names of the d inputs; empty if they have no names.
        scaling: how raw inputs are scaled.
        weight_digest: the SHA-256 of the parameters, computed by `mlp.arrays.digest`.
        epochs: the epoch after which the training had these parameters.
        config: the configuration of the training.
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
            raise ConfigError(f"must include the inputs and the outputs, got {list(self.sizes)}.", path="sizes")
        expected = self.config.layer_sizes(self.sizes[0], len(self.classes), self.task)
        if self.sizes != expected:
            problem = f"must be {list(expected)} according to config and classes, got {list(self.sizes)}."
            raise ConfigError(problem, path="sizes")
        if self.columns and len(self.columns) != self.sizes[0]:
            problem = f"must be empty or name the {self.sizes[0]} inputs, got {len(self.columns)} names."
            raise ConfigError(problem, path="columns")
        if self.scaling.centre and len(self.scaling.centre) != self.sizes[0]:
            problem = f"must have {self.sizes[0]} centres, one per input, got {len(self.scaling.centre)}."
            raise ConfigError(problem, path="scaling")

    @property
    def n_parameters(self) -> int:
        """The length of the parameter vector theta of a `mlp.network.Network` with these layers."""
        return self.config.network.count_parameters(self.sizes)


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network that predicts from raw inputs, scaled the same way as in training.

    Attributes:
        manifest: everything except the parameters.
        theta: the parameters, shape (p,).
        metrics: the scores to save with the model, by metric key.

    Example:
        >>> from mlp import Dataset, Model, TrainConfig, train
        >>> x = [[0, 0], [0, 1], [1, 0], [1, 1]]
        >>> dataset = Dataset.from_arrays(x, ["no", "yes", "yes", "yes"])
        >>> config = TrainConfig.from_mapping({"data": {"validation": 0}, "epochs": 300})
        >>> model = Model.of(train(config, dataset), dataset)
        >>> [model.classes[i] for i in model.predict(x)]
        ['no', 'yes', 'yes', 'yes']
    """

    manifest: Manifest
    theta: Array
    metrics: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, training: Training, dataset: Dataset, *, metrics: Mapping[str, float] | None = None) -> Self:
        """Return the model with the parameters that a training kept.

        Args:
            training: a training that has run at least one epoch.
            dataset: the data set that it was trained on; the model takes the names of classes and columns from it.
            metrics: the scores to save with the model, by metric key; by default all metrics of the kept epoch.
        """
        manifest = Manifest(
            sizes=training.network.sizes,
            task=training.data.task,
            classes=dataset.classes,
            scaling=training.data.train.scaling,
            weight_digest=training.weight_digest(),
            epochs=training.kept_epoch,
            config=training.config,
            columns=dataset.columns,
        )
        # A copy, because a further epoch would overwrite the parameters of the training.
        return cls(manifest, training.kept_theta.copy(), training.kept_scores() if metrics is None else dict(metrics))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the k classes, m labels or m values, in the order of the outputs."""
        return self.manifest.classes

    def build_network(self) -> Network:
        """Return a new network with these parameters."""
        config = self.manifest.config
        network = config.network.build(self.manifest.sizes, dtype=config.dtype)
        np.copyto(network.theta, self.theta)
        return network

    def outputs(self, inputs: Any) -> Array:
        """Return the raw outputs of the network, shape (n, k).

        Several threads may call this at the same time.

        Args:
            inputs: raw inputs, shape (n, d), as in the training data: pixels are not divided by 255, for example. The
                columns of a pandas frame must be those of the training data, in the same order.

        Raises:
            ConfigError: if the inputs have another shape or other columns, or are not finite numbers.
        """
        d, columns = self.manifest.sizes[0], self.manifest.columns
        names = column_names(inputs)
        if names and columns and names != columns:
            raise ConfigError(f"inputs must have the columns {', '.join(columns)}, got {', '.join(names)}.")
        inputs = np.asarray(inputs)
        if inputs.ndim != 2 or inputs.shape[1] != d:
            raise ConfigError(f"inputs must have shape (n, {d}), one row per example, got {inputs.shape}.")
        check_inputs(inputs, path="", columns=columns)
        rows = np.arange(len(inputs))
        # Each call builds a network of its own, because threads cannot share a network's work memory.
        return compute_outputs(self.build_network(), Examples(inputs, rows, rows, self.manifest.scaling))

    def predict_proba(self, inputs: Any) -> Array:
        """Return probabilities or values.

        Args:
            inputs: raw inputs, shape (n, d), as for `outputs`.

        Returns:
            The probability of each class, shape (n, k), in the order of `classes`; the probability of each label,
            shape (n, m); or the values, shape (n, m).

        Raises:
            ConfigError: if the inputs have another shape or other columns, or are not finite numbers.
        """
        loss, outputs = self.manifest.config.loss, self.outputs(inputs)
        return loss.probabilities(outputs) if self.manifest.task == "classes" else loss.predictions(outputs)

    def predict(self, inputs: Any) -> Array:
        """Return the predicted class of each example, its labels or its values.

        Args:
            inputs: raw inputs, shape (n, d), as for `outputs`.

        Returns:
            The indices of the most probable classes, integers in 0..k-1 of shape (n,), where `classes[i]` is the name
            of class i; the labels, 0 or 1 of shape (n, m); or the values, shape (n, m), where m is 1 for a single
            target.

        Raises:
            ConfigError: if the inputs have another shape or other columns, or are not finite numbers.
        """
        return self.manifest.config.loss.decide(self.outputs(inputs), self.manifest.task)
