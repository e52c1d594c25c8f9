"""Models: trained parameters with everything needed to predict from raw inputs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np

from mlp.arrays import Array, digest
from mlp.columns import Schema
from mlp.config import TrainConfig
from mlp.conversion import column_names
from mlp.data import Dataset, Examples
from mlp.data_checks import check_inputs
from mlp.encoding import TableEncoding
from mlp.errors import ConfigError
from mlp.losses import AbstractLoss
from mlp.network import Network
from mlp.records import AbstractRecord, number
from mlp.scaling import Scaling
from mlp.targets import TargetScaling
from mlp.training import Training, compute_outputs


@dataclass(frozen=True, kw_only=True)
class Manifest(AbstractRecord):
    """Everything in a model except its parameters.

    Attributes:
        sizes: the widths of all layers, including inputs and outputs.
        task: what the model predicts: one of k classes, any of m labels, or m values.
        classes: the names of the k classes, m labels or m values.
        columns: the names of the raw inputs of an array; empty if they have no names, and for a table.
        schema: the columns of a table; None for images and other arrays.
        encoding: how raw inputs become inputs of the network.
        target_scaling: how values to predict were scaled for the network.
        data_digest: the SHA-256 of the data set that it was trained on; empty if it has none.
        weight_digest: the SHA-256 of the parameters, computed by `mlp.arrays.digest`.
        epochs: the epoch after which the training had these parameters.
        config: the configuration of the training.
    """

    sizes: tuple[int, ...] = number(at_least=1)
    task: Literal["classes", "labels", "values"]
    classes: tuple[str, ...]
    encoding: TableEncoding | Scaling
    weight_digest: str
    epochs: int = number(at_least=0)
    config: TrainConfig
    columns: tuple[str, ...] = ()
    schema: Schema | None = None
    target_scaling: TargetScaling = TargetScaling()
    data_digest: str = ""

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
        self._check_encoding()
        width = len(self.target_scaling.centre)
        if width not in (0, len(self.classes)) or (width and self.task != "values"):
            problem = f"must have a centre for each of {len(self.classes)} values, or none, got {width}."
            raise ConfigError(problem, path="target_scaling")

    def _check_encoding(self) -> None:
        n_inputs = self.sizes[0]
        if isinstance(self.encoding, TableEncoding):
            self._check_table(self.encoding)
        elif self.schema is not None:
            raise ConfigError("must be None, because the encoding is that of an array.", path="schema")
        elif self.encoding.centre and len(self.encoding.centre) != n_inputs:
            problem = f"must have {n_inputs} centres, one per input, got {len(self.encoding.centre)}."
            raise ConfigError(problem, path="encoding")
        if self.columns and (self.schema is not None or len(self.columns) != self.n_columns):
            problem = f"must be empty or name the {self.n_columns} inputs, got {len(self.columns)} names."
            raise ConfigError(problem, path="columns")

    def _check_table(self, encoding: TableEncoding) -> None:
        if (n_inputs := encoding.n_inputs(len(encoding.columns))) != self.sizes[0]:
            raise ConfigError(f"must lead to {self.sizes[0]} inputs, got {n_inputs}.", path="encoding")
        if self.schema is None:
            if any(column.number is None for column in encoding.columns):
                raise ConfigError("must have numbers only, because there is no schema.", path="encoding")
        elif not encoding.fits(self.schema):
            raise ConfigError("must have the columns of the schema, in the same order.", path="encoding")

    @property
    def n_columns(self) -> int:
        """The number of raw inputs."""
        return len(self.encoding.columns) if isinstance(self.encoding, TableEncoding) else self.sizes[0]

    @property
    def n_parameters(self) -> int:
        """The length of the parameter vector theta of a `mlp.network.Network` with these layers."""
        return self.config.network.count_parameters(self.sizes)


@dataclass(frozen=True, eq=False)
class AbstractModel(ABC):
    """What predicts from raw inputs: one trained network (`Model`), or the average of several (`mlp.Ensemble`).

    Attributes:
        manifest: everything except the parameters; for an ensemble that of the first network.
        metrics: the scores to save with the model, by metric key; undefined ones are left out.
    """

    manifest: Manifest
    metrics: Mapping[str, float] = field(default_factory=dict, kw_only=True)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the k classes, m labels or m values, in the order of the outputs."""
        return self.manifest.classes

    @property
    def loss(self) -> AbstractLoss:
        """The loss that the network was trained with, which includes the function of its outputs."""
        return self.manifest.config.loss_for(self.manifest.task)

    def read_cells(self, inputs: Any) -> Array:
        """Return raw inputs as the array that the encoding takes, shape (n, c): the cells of a table, or numbers.

        Args:
            inputs: as for `outputs`.

        Raises:
            ConfigError: if a column is missing, the inputs have another shape, or a value cannot be read.
        """
        if self.manifest.schema is not None:
            return self.manifest.schema.read(inputs)
        d, columns = self.manifest.n_columns, self.manifest.columns
        names = column_names(inputs)
        if names and columns and names != columns:
            raise ConfigError(f"inputs must have the columns {', '.join(columns)}, got {', '.join(names)}.")
        array: Array = np.asarray(inputs)
        if array.ndim != 2 or array.shape[1] != d:
            raise ConfigError(f"inputs must have shape (n, {d}), one row per example, got {array.shape}.")
        check_inputs(array, path="", columns=columns)
        return array

    def outputs(self, inputs: Any) -> Array:
        """Return the raw outputs of the network, shape (n, k).

        Several threads may call this at the same time.

        Args:
            inputs: raw inputs, as in the training data: pixels are not divided by 255, for example. For a model of a
                table: a pandas frame, a mapping of column names to values, a list of such mappings, or rows of values
                in the order of the columns. For any other model: an array of shape (n, d), or a frame with the columns
                of the training data, in the same order.

        Raises:
            ConfigError: if a column is missing, the inputs have another shape, or a value cannot be read.
        """
        return self.outputs_of_cells(self.read_cells(inputs))

    @abstractmethod
    def outputs_of_cells(self, cells: Array) -> Array:
        """Return the raw outputs, shape (n, k), for what `read_cells` returns or a data set contains."""

    def predict_proba(self, inputs: Any) -> Array:
        """Return probabilities or values.

        Args:
            inputs: raw inputs, as for `outputs`.

        Returns:
            The probability of each class, shape (n, k), in the order of `classes`; the probability of each label,
            shape (n, m); or the values in their own units, shape (n, m).

        Raises:
            ConfigError: as for `outputs`.
        """
        return self.probabilities_of(self.outputs(inputs))

    def probabilities_of(self, outputs: Array) -> Array:
        """Return what `predict_proba` returns, given the raw outputs of the network."""
        if self.manifest.task == "classes":
            return self.loss.probabilities(outputs)
        return self.manifest.target_scaling.invert(self.loss.predictions(outputs))

    def predict(self, inputs: Any) -> Array:
        """Return the predicted class of each example, its labels or its values.

        Args:
            inputs: raw inputs, as for `outputs`.

        Returns:
            The indices of the most probable classes, integers in 0..k-1 of shape (n,), where `classes[i]` is the name
            of class i; the labels, 0 or 1 of shape (n, m); or the values in their own units, shape (n, m), where m is 1
            for a single target.

        Raises:
            ConfigError: as for `outputs`.
        """
        return self.decisions_of(self.outputs(inputs))

    def decisions_of(self, outputs: Array) -> Array:
        """Return what `predict` returns, given the raw outputs of the network."""
        decided = self.loss.decide(outputs, self.manifest.task)
        return self.manifest.target_scaling.invert(decided)


@dataclass(frozen=True, eq=False)
class Model(AbstractModel):
    """A trained network that predicts from raw inputs, scaled the same way as in training.

    Attributes:
        theta: the parameters, shape (p,).

    Example:
        >>> from mlp import Dataset, Model, TrainConfig, train
        >>> x = [[0, 0], [0, 1], [1, 0], [1, 1]]
        >>> dataset = Dataset.from_arrays(x, ["no", "yes", "yes", "yes"])
        >>> config = TrainConfig.from_mapping({"data": {"validation": 0}, "epochs": 300})
        >>> model = Model.of(train(config, dataset), dataset)
        >>> [model.classes[i] for i in model.predict(x)]
        ['no', 'yes', 'yes', 'yes']
    """

    theta: Array

    @classmethod
    def of(cls, training: Training, dataset: Dataset, *, metrics: Mapping[str, float] | None = None) -> Self:
        """Return the model with the parameters that a training kept.

        Args:
            training: a training; before its first epoch, the model has the initial parameters.
            dataset: the data set that it was trained on; the model takes the names of classes and columns from it.
            metrics: the scores to save with the model, by metric key; by default all metrics of the kept epoch.
        """
        manifest = Manifest(
            sizes=training.network.sizes,
            task=training.data.task,
            classes=dataset.classes,
            encoding=training.data.train.encoding,
            weight_digest=training.weight_digest(),
            epochs=training.kept_epoch,
            config=training.config,
            columns=() if dataset.schema else dataset.columns,
            schema=dataset.schema,
            target_scaling=training.target_scaling,
            data_digest=dataset.digest,
        )
        # A copy, because a further epoch would overwrite the parameters of the training.
        scores = training.kept_scores() if metrics is None else metrics
        defined = {key: of for key, of in scores.items() if not math.isnan(of)}
        return cls(manifest, training.kept_theta.copy(), metrics=defined)

    def with_theta(self, theta: Array, *, epochs: int, metrics: Mapping[str, float] | None = None) -> Self:
        """Return the same model with other parameters.

        Args:
            theta: the parameters, shape (p,).
            epochs: the epoch after which the training had them.
            metrics: the scores to save with the model, by metric key.
        """
        manifest = replace(self.manifest, weight_digest=digest(theta), epochs=epochs)
        return type(self)(manifest, theta, metrics=metrics or {})

    def build_network(self) -> Network:
        """Return a new network with these parameters."""
        config = self.manifest.config
        network = config.network.build(self.manifest.sizes, dtype=config.dtype)
        np.copyto(network.theta, self.theta)
        return network

    def outputs_of_cells(self, cells: Array) -> Array:
        """Return the raw outputs of the network, shape (n, k), for what `read_cells` returns or a data set contains."""
        rows = np.arange(len(cells))
        # Each call builds a network of its own, because threads cannot share a network's work memory.
        return compute_outputs(self.build_network(), Examples(cells, rows, rows, self.manifest.encoding))
