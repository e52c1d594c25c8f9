"""A network as a stack of layers, in the style of Keras.

Behind it are the same configuration, training and model as everywhere else in this package.

    model = Sequential()
    model.add(Dense(100, activation="sigmoid", input_dim=784))
    model.add(Dense(10, activation="softmax"))
    model.compile(loss="categorical_crossentropy", optimizer="adam", learning_rate=0.01, metrics=["accuracy"])
    print(model.summary())
    model.fit(x, y, epochs=10, batch_size=32, validation_split=0.1)
    print(model.evaluate(x_test, y_test))
    model.save("digits.json")
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlp.arrays import Array
from mlp.config import EarlyStopping, TrainConfig
from mlp.data import Dataset, Examples, Split
from mlp.data_config import Scale
from mlp.epochs import EpochMetrics
from mlp.errors import ConfigError, errors_in
from mlp.keras_names import find_loss, find_metrics, find_optimizer, metrics_for
from mlp.keras_targets import count_targets, find_task, read_targets, to_targets
from mlp.layers import Dense as Dense  # users import both classes from here
from mlp.layers import check_next, layers_of, network_config
from mlp.losses import AbstractLoss, Task
from mlp.metrics import AbstractMetric
from mlp.model import Model
from mlp.model_io import load_model, save_model
from mlp.network import Network
from mlp.optimizers import AbstractOptimizer
from mlp.records import decode, label
from mlp.schedules import AbstractSchedule
from mlp.scores import evaluate, score_text
from mlp.state import History
from mlp.training import Training

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Compiled:
    """The parts that `compile` chose."""

    loss: AbstractLoss
    optimizer: AbstractOptimizer
    schedule: AbstractSchedule
    early_stopping: EarlyStopping | None
    metrics: tuple[AbstractMetric, ...]

    @property
    def watched_validation_metric(self) -> str:
        """The validation metric that early stopping or the schedule depends on; empty if there is none."""
        watched = (self.early_stopping.metric if self.early_stopping else "", self.schedule.watched)
        return next((metric for metric in watched if metric.startswith("validation/")), "")


class Sequential:
    """A stack of layers that can be compiled, fitted, evaluated and saved.

    Args:
        layers: the first layers; `add` adds more.
        initializer: the initializer of all weights.
        normalization: the normalization of all hidden layers, applied before the activation.
        dropout: the fraction of hidden units that is dropped at each training step.
        scale: how inputs are scaled. `none` leaves them as they are; `unit` divides integers by the largest value of
            their type (bytes by 255); `standard` gives each feature mean 0 and standard deviation 1 on the training
            part; `example` gives each example mean 0 and standard deviation 1; `robust`, `min_max`, `quantile` and
            `auto` are those of `mlp.DataConfig`.
        seed: the seed of split, initialization and shuffling.
        dtype: the type of all arithmetic.

    Attributes:
        layers: the layers in order.
        history: the history of the last fit: one value per epoch, by metric key such as `validation/loss`.
    """

    def __init__(
        self,
        layers: Iterable[Dense] = (),
        *,
        initializer: Any = "he_normal",
        normalization: Any = "none",
        dropout: float = 0.0,
        scale: Scale = "none",
        seed: int = 0,
        dtype: Literal["float32", "float64"] = "float32",
    ) -> None:
        # A configuration without layers checks these settings now. `fit` adds the layers and the rest.
        network = {"initializer": initializer, "normalization": normalization, "dropout": dropout}
        data = {"name": "arrays", "scale": scale, "target_scale": "none", "validation": 0}
        self._base = TrainConfig.from_mapping({"data": data, "network": network, "seed": seed, "dtype": dtype})
        self._compiled: _Compiled | None = None
        self._model: Model | None = None
        self.layers: list[Dense] = []
        self.history: History = {}
        for layer in layers:
            self.add(layer)

    def add(self, layer: Dense) -> None:
        """Add a layer on top. This resets `compile` and `fit`.

        Raises:
            ConfigError: if the layer does not fit the layer before it.
        """
        check_next(layer, self.layers)
        self.layers.append(layer)
        self._compiled = self._model = None
        self.history = {}

    def compile(
        self,
        *,
        loss: Any,
        optimizer: Any = "adam",
        learning_rate: float | None = None,
        metrics: Sequence[Any] = (),
        schedule: Any = "constant",
        early_stopping: EarlyStopping | Mapping[str, Any] | None = None,
    ) -> None:
        """Choose how to train. Each part is a name, a table with a name and its fields, or the part itself.

        Args:
            loss: `categorical_crossentropy`, `binary_crossentropy`, `mse`, ...; it must fit the last activation.
            optimizer: `sgd`, `momentum`, `rmsprop`, `adagrad`, `adam`, `adamax`, `adadelta`, ...
            learning_rate: the learning rate; None for the optimizer's own.
            metrics: `accuracy`, `mse`, `cross_entropy`, ...; `mse` of classes is `brier`, the sum over the classes.
            schedule: the schedule of the learning rate.
            early_stopping: when to stop before the last epoch; the weights of the best epoch are kept.

        Raises:
            ConfigError: if a name is unknown, a value is out of bounds, or the loss does not fit the last layer.
        """
        self._compiled = _Compiled(
            find_loss(loss, self._output),
            find_optimizer(optimizer, learning_rate),
            decode(AbstractSchedule, schedule, path="schedule"),
            decode(EarlyStopping | None, early_stopping, path="early_stopping"),
            find_metrics(metrics),
        )

    def summary(self) -> str:
        """Return a table with one line per layer, as text to print."""
        from mlp.summary import summary_text  # pandas is slow to import

        output = self._output
        return summary_text(self._build_network(), output=output)

    def summary_frame(self) -> pd.DataFrame:
        """Return the same table as a frame with one row per layer."""
        from mlp.summary import summary

        output = self._output
        return summary(self._build_network(), output=output)

    def fit(
        self,
        x: Any,
        y: Any,
        *,
        epochs: int = 10,
        batch_size: int | Literal["full"] = 32,
        validation_split: float = 0.0,
        validation_data: tuple[Any, Any] | None = None,
        report: Callable[[str], object] = logger.info,
        report_every: int = 1,
        on_epoch: Callable[[EpochMetrics], object] | None = None,
    ) -> History:
        """Train from new initial weights and return the history.

        The seed determines the weights and the order of the examples, which are shuffled before each epoch. The same
        call therefore always gives the same result.

        Args:
            x: inputs, shape (n, input_dim).
            y: targets: classes as whole numbers, shape (n,), or as one-hot rows, shape (n, k); labels or values,
                shape (n, m).
            epochs: the number of passes over the examples.
            batch_size: the number of examples per step, or `full` for all examples.
            validation_split: the fraction of the examples, chosen at random, that is held out for validation.
            validation_data: inputs and targets for validation, instead of `validation_split`.
            report: called with a line of text per epoch, such as `print`; by default the lines are logged.
            report_every: report only every so many epochs, and the last one.
            on_epoch: called with the metrics of each epoch.

        Returns:
            One value per epoch, by metric key: `train/loss`, `validation/accuracy`, ...

        Raises:
            ConfigError: if the stack is not compiled, or an argument is not valid.
            DivergedError: if the training diverges.
        """
        if self._compiled is None:
            raise ConfigError('the stack is not compiled. Call compile(loss="...") first.')
        if not isinstance(report_every, int) or report_every < 1:
            raise ConfigError(f"must be a whole number, at least 1, got {report_every!r}.", path="report_every")
        x, y = self._inputs(x), read_targets(y, len(x))
        if not len(x):
            raise ConfigError("there is no example to train on.")
        task = find_task(y, self._compiled.loss, self.layers[-1].units)
        validation = self._validation_arrays(validation_split, validation_data, task)
        n_held_out = len(validation[0]) if validation else validation_split or 0
        if (watched := self._compiled.watched_validation_metric) and not n_held_out:
            raise ConfigError(f'"{watched}" is watched. Give validation_split or validation_data.')
        config = replace(
            self._base,
            data=replace(self._base.data, validation=n_held_out),
            network=network_config(self.layers, self._base.network),
            epochs=epochs,
            batch_size=batch_size,
            loss=self._compiled.loss,
            optimizer=self._compiled.optimizer,
            schedule=self._compiled.schedule,
            early_stopping=self._compiled.early_stopping,
            metrics=metrics_for(task, self._compiled.metrics),
        )
        dataset = self._dataset(x, self._targets(y, task), task)
        training = Training(config, _split(config, dataset, validation))

        def on_each_epoch(metrics: EpochMetrics) -> None:
            if on_epoch is not None:
                on_epoch(metrics)
            if metrics.epoch % report_every == 0 or not training.is_running:
                report(_line(metrics, epochs))

        training.run(on_epoch=on_each_epoch)
        # Only a complete training replaces the earlier model and history.
        self._model, self.history = Model.of(training, dataset), training.history
        return self.history

    def predict(self, x: Any) -> Array:
        """Return the activations of the last layer, such as the probability of each class.

        Args:
            x: inputs, shape (n, input_dim).

        Returns:
            One row per example, shape (n, units).

        Raises:
            ConfigError: if the stack is not fitted, or the inputs have another shape.
        """
        model = self.model
        with np.errstate(all="ignore"):
            return model.manifest.config.loss.predictions(model.outputs(self._inputs(x)))

    def evaluate(self, x: Any, y: Any) -> dict[str, float]:
        """Return the loss and all metrics on some examples, by name.

        Args:
            x: inputs, shape (n, input_dim).
            y: targets, as for `fit`.

        Raises:
            ConfigError: if the stack is not fitted, there are no examples, or they do not fit the model.
        """
        model, x = self.model, self._inputs(x)
        task, config = model.manifest.task, model.manifest.config
        targets = self._targets(read_targets(y, len(x)), task)
        if not len(x):
            raise ConfigError("there is no example to evaluate on.")
        outputs = model.outputs(x)
        with np.errstate(all="ignore"):
            scores = evaluate(outputs, targets, config.loss, "test", task, config.metrics)
        return {key.removeprefix("test/"): value for key, value in scores.items()}

    def visualize(self) -> Figure:
        """Return a figure of loss, metrics and learning rate by epoch; `savefig(file)` saves it.

        Raises:
            ConfigError: if nothing has been fitted here; a loaded model has no history.
        """
        from mlp.plots import plot_history  # matplotlib is slow to import

        if not self.history:
            raise ConfigError("there is no history to draw. Call fit first.")
        manifest = self.model.manifest
        is_early = manifest.config.early_stopping is not None
        return plot_history(self.history, manifest.config, kept_epoch=manifest.epochs if is_early else 0)

    @property
    def model(self) -> Model:
        """The fitted or loaded model.

        Raises:
            ConfigError: if there is none.
        """
        if self._model is None:
            raise ConfigError("there are no weights yet. Call fit first.")
        return self._model

    def save(self, path: str | Path) -> Path:
        """Save the fitted model as one file, if the path ends in `.json`, otherwise as a folder.

        Raises:
            ConfigError: if the stack is not fitted, or something else is in that place.
        """
        return save_model(self.model, path)

    @classmethod
    def load(cls, path: str | Path) -> Sequential:
        """Return the stack of a saved model. It can predict; to train it, call `compile` and `fit`.

        Raises:
            ConfigError: if the files are missing, damaged, or do not belong together.
        """
        model = load_model(path)
        config = model.manifest.config
        stack = cls(layers_of(model), scale=config.data.scale, seed=config.seed, dtype=config.dtype)
        stack._base = replace(stack._base, network=config.network)
        stack._model = model
        return stack

    @property
    def _output(self) -> str:
        """The name of the last layer's activation."""
        if not self.layers:
            raise ConfigError("there is no layer yet. Call add(Dense(...)) first.")
        return str(label(self.layers[-1].activation))

    def _build_network(self) -> Network:
        sizes = (self.layers[0].input_dim or 0, *(layer.units for layer in self.layers))
        return network_config(self.layers, self._base.network).build(sizes, dtype=self._base.dtype)

    def _inputs(self, x: Any) -> Array:
        inputs, d = np.asarray(x), self.layers[0].input_dim
        if inputs.ndim != 2 or inputs.shape[1] != d:
            raise ConfigError(f"inputs must have shape (n, {d}), because input_dim = {d}, got {inputs.shape}.")
        return inputs

    def _targets(self, y: Array, task: Task) -> Array:
        return to_targets(y, task, self.layers[-1].units, self._base.dtype)

    def _validation_arrays(
        self, validation_split: float, validation_data: tuple[Any, Any] | None, task: Task
    ) -> tuple[Array, Array] | None:
        """Return the inputs and targets of `validation_data`, or None if it is not given."""
        if not 0 <= validation_split < 1:
            problem = f"must be a fraction, at least 0 and below 1, got {validation_split!r}."
            raise ConfigError(problem, path="validation_split")
        if validation_data is None:
            return None
        with errors_in(path="validation_data"):
            if validation_split:
                raise ConfigError("cannot be combined with validation_split. Give one of them.")
            if not isinstance(validation_data, tuple | list) or len(validation_data) != 2:
                raise ConfigError("must be a pair of inputs and targets, (x, y).")
            x, y = self._inputs(validation_data[0]), validation_data[1]
            if not len(x):
                raise ConfigError("must have at least one example.")
            return x, self._targets(read_targets(y, len(x)), task)

    def _dataset(self, x: Array, targets: Array, task: Task) -> Dataset:
        largest = 1.0
        if self._base.data.scale == "unit":
            if x.dtype.kind not in "iu":
                raise ConfigError(f'"unit" is for integers, got the type {x.dtype}. Scale them yourself.', path="scale")
            largest = float(np.iinfo(x.dtype).max)
        classes = tuple(map(str, range(count_targets(task, self.layers[-1].units))))
        return Dataset("arrays", x, targets, x[:0], targets[:0], classes, largest, digest="")


def _split(config: TrainConfig, dataset: Dataset, validation: tuple[Array, Array] | None) -> Split:
    """Return the training and validation parts; the latter are the given arrays, or are held out from the data set."""
    if validation is None:
        return dataset.split(config.data, config.seed)
    # All examples are for training, and the validation examples are scaled in the same way as these.
    split = dataset.without_validation(config.data)
    return replace(split, validation=Examples(*validation, np.arange(len(validation[0])), split.train.encoding))


def _line(metrics: EpochMetrics, epochs: int) -> str:
    """Return the metrics of an epoch as a line of text."""
    values = "  ".join(f"{key} {score_text(value)}" for key, value in metrics.values.items())
    return f"epoch {metrics.epoch:{len(str(epochs))}}/{epochs}  {values}"
