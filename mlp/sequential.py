"""A network as a stack of layers: the manner of Keras, over the same configuration, training and model.

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

from mlp.activations import AbstractActivation, Identity
from mlp.arrays import Array
from mlp.config import EarlyStopping, NetworkConfig, TrainConfig
from mlp.data import Dataset, Examples, Split
from mlp.errors import ConfigError, errors_in
from mlp.keras_names import (
    SOFTMAX,
    count_targets,
    find_activation,
    find_loss,
    find_metrics,
    find_optimizer,
    find_task,
    metrics_for,
    output_of,
    read_targets,
    to_targets,
)
from mlp.losses import AbstractLoss, Task
from mlp.metrics import AbstractMetric
from mlp.model import Model
from mlp.model_io import load_model, save_model
from mlp.network import Network
from mlp.optimizers import AbstractOptimizer
from mlp.records import (
    AbstractRecord,
    decode,
    label,
    number,
)
from mlp.schedules import AbstractSchedule
from mlp.scores import evaluate
from mlp.state import History
from mlp.training import EpochMetrics, Training

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dense(AbstractRecord):
    """A layer: every unit sees all that the layer before it gives.

    Attributes:
        units: how many.
        activation: by name, as a table with a name, or as a part of `mlp.activations`; `linear` for none. `softmax` is
            for the last layer only.
        input_dim: the number of features of an example; needed in the first layer, elsewhere only checked.
        bias: whether each unit adds one.
    """

    units: int = number(at_least=1, at_most=65536)
    activation: str | AbstractActivation = Identity()
    input_dim: int | None = number(None, at_least=1)
    bias: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation", find_activation(self.activation))
        for name in ("units", "input_dim"):
            if isinstance(value := getattr(self, name), np.integer):  # such as y.max() + 1
                object.__setattr__(self, name, int(value))
        super().__post_init__()
        if self.activation == SOFTMAX and self.units == 1:
            raise ConfigError("softmax of a single unit is always 1; take sigmoid.", path="activation")


@dataclass(frozen=True)
class _Compiled:
    """How a stack is to be trained."""

    loss: AbstractLoss
    optimizer: AbstractOptimizer
    schedule: AbstractSchedule
    early_stopping: EarlyStopping | None
    metrics: tuple[AbstractMetric, ...]

    @property
    def needs_validation(self) -> str:
        """The metric of held-out examples on which the course of the training depends, or nothing."""
        watched = (self.early_stopping.metric if self.early_stopping else "", self.schedule.watched)
        return next((metric for metric in watched if metric.startswith("validation/")), "")


class Sequential:
    """A stack of layers, to be compiled, fitted, evaluated and saved.

    Args:
        layers: to begin with; more can be added.
        initializer: of all weights.
        normalization: of all hidden layers, before their activation.
        dropout: the share of hidden units dropped at each training step.
        scale: what is done to inputs: `none`; `standard` gives each feature mean 0 and deviation 1 on the training
            part, `example` each example; `unit` divides integers by the largest of their type, bytes by 255.
        seed: of the split, the initialisation and the shuffling.
        dtype: of all arithmetic.

    Attributes:
        layers: what has been added.
        history: of the last fit: a value an epoch, by metric key such as `validation/loss`.
    """

    def __init__(
        self,
        layers: Iterable[Dense] = (),
        *,
        initializer: Any = "he_normal",
        normalization: Any = "none",
        dropout: float = 0.0,
        scale: Literal["none", "unit", "standard", "example"] = "none",
        seed: int = 0,
        dtype: Literal["float32", "float64"] = "float32",
    ) -> None:
        network = {"initializer": initializer, "normalization": normalization, "dropout": dropout}
        data = {"name": "arrays", "scale": scale, "validation": 0}
        self._base = TrainConfig.from_mapping({"data": data, "network": network, "seed": seed, "dtype": dtype})
        self._compiled: _Compiled | None = None
        self._model: Model | None = None
        self.layers: list[Dense] = []
        self.history: History = {}
        for layer in layers:
            self.add(layer)

    def add(self, layer: Dense) -> None:
        """Put a layer on top; what was compiled and fitted before is forgotten.

        Raises:
            ConfigError: when it does not fit onto the layer before it.
        """
        if not isinstance(layer, Dense):
            raise ConfigError(f"a layer must be a Dense, such as Dense(10), got {layer!r}.")
        if self.layers:
            self._check_fits(layer, self.layers[-1])
        elif layer.input_dim is None:
            problem = "the first layer needs the number of features of an example, as in Dense(100, input_dim=784)."
            raise ConfigError(problem, path="input_dim")
        self.layers.append(layer)
        self._compiled = self._model = None
        self.history = {}

    def _check_fits(self, layer: Dense, below: Dense) -> None:
        n = len(self.layers)
        if below.activation == SOFTMAX:
            problem = f"softmax is for the last layer only, and layer {n} has it; give that another one first."
            raise ConfigError(problem, path="activation")
        if layer.input_dim not in (None, below.units):
            problem = f"must be the {below.units} units of layer {n} in layer {n + 1}, got {layer.input_dim}."
            raise ConfigError(f"{problem} Leave it out.", path="input_dim")

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
        """Say how the stack is to be trained.

        Each part is given by its name, as a table with a name and its fields, or as the part itself.

        Args:
            loss: `categorical_crossentropy`, `binary_crossentropy`, `mse`, ..., which must fit the last activation.
            optimizer: `sgd`, `momentum`, `rmsprop`, `adagrad`, `adam`, `adamax`, `adadelta`, ...
            learning_rate: instead of the optimizer's own.
            metrics: `accuracy`, `mse`, `cross_entropy`, ...; of classes, `mse` is `brier`, which sums over them.
            schedule: of the learning rate.
            early_stopping: when to stop before the last epoch, and which weights to keep.

        Raises:
            ConfigError: on an unknown name, a value out of bounds, or a loss that does not fit the last layer.
        """
        self._compiled = _Compiled(
            find_loss(loss, self._output),
            find_optimizer(optimizer, learning_rate),
            decode(AbstractSchedule, schedule, path="schedule"),
            decode(EarlyStopping | None, early_stopping, path="early_stopping"),
            find_metrics(metrics),
        )

    def summary(self) -> str:
        """Return the stack layer by layer, as a table to be printed."""
        from mlp.summary import summary_text  # here, for pandas is slow to load

        output = self._output
        return summary_text(self._network(), output=output)

    def summary_frame(self) -> pd.DataFrame:
        """Return the same as a frame, a row a layer."""
        from mlp.summary import summary

        output = self._output
        return summary(self._network(), output=output)

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
        """Train anew, from the weights that the seed gives, so that the same call always gives the same bits.

        Examples are shuffled for every epoch.

        Args:
            x: inputs, shape (n, input_dim).
            y: targets: classes as whole numbers, shape (n,), or as one-hot rows; else labels or values, a row each.
            epochs: how many passes.
            batch_size: examples a step, or `full` for all of them.
            validation_split: the fraction of the examples, drawn at random, that is held out to judge by.
            validation_data: inputs and targets to judge by instead.
            report: is given lines of text, one an epoch; `print`, say. They are logged otherwise.
            report_every: so many epochs one line; the last has one in any case.
            on_epoch: is given what each epoch gave.

        Returns:
            A value an epoch, by metric key: `train/loss`, `validation/accuracy`, ...

        Raises:
            ConfigError: when something does not fit, with what must hold.
            DivergedError: when the training diverges.
        """
        if self._compiled is None:
            raise ConfigError('the stack is not compiled. Call compile(loss="...") first.')
        if not isinstance(report_every, int) or report_every < 1:
            raise ConfigError(f"must be a whole number, at least 1, got {report_every!r}.", path="report_every")
        x, y = self._inputs(x), read_targets(y, len(x))
        if not len(x):
            raise ConfigError("there is no example to train on.")
        task = find_task(y, self._compiled.loss, self.layers[-1].units)
        targets = self._targets(y, task)
        judges = None
        if validation_data is not None:
            if validation_split:
                raise ConfigError("is given besides validation_split; give one of them.", path="validation_data")
            judges = self._judges(validation_data, task)
        held_out = _held_out(validation_split, judges)
        if (watched := self._compiled.needs_validation) and not held_out:
            raise ConfigError(f'"{watched}" is watched, so give validation_split or validation_data.')
        config = replace(
            self._base,
            data=replace(self._base.data, validation=held_out),
            network=self._network_config(),
            epochs=epochs,
            batch_size=batch_size,
            loss=self._compiled.loss,
            optimizer=self._compiled.optimizer,
            schedule=self._compiled.schedule,
            early_stopping=self._compiled.early_stopping,
            metrics=metrics_for(task, self._compiled.metrics),
        )
        names = self._names(task)
        training = Training(config, _split(config, x, targets, judges, names))

        def report_epoch(epoch: EpochMetrics) -> None:
            if on_epoch is not None:
                on_epoch(epoch)
            if epoch.epoch % report_every == 0 or not training.is_running:
                report(_line(epoch, epochs))

        training.run(on_epoch=report_epoch)
        self._model, self.history = Model.of(training, names), training.history
        return self.history

    def predict(self, x: Any) -> Array:
        """Return what the last layer gives, shape (n, units), for inputs of shape (n, input_dim).

        Raises:
            ConfigError: when the stack has not been fitted, or the inputs have another shape.
        """
        model = self.model
        with np.errstate(all="ignore"):
            return model.manifest.config.loss.predictions(model.outputs(self._inputs(x)))

    def evaluate(self, x: Any, y: Any) -> dict[str, float]:
        """Return the loss and all metrics for some examples, by name.

        Raises:
            ConfigError: when the stack has not been fitted, or the examples are none, or of another shape or task.
        """
        model, x = self.model, self._inputs(x)
        task, config = model.manifest.task, model.manifest.config
        targets = self._targets(read_targets(y, len(x)), task)
        if not len(x):
            raise ConfigError("there is no example to evaluate on.")
        outputs = model.outputs(x)
        with np.errstate(all="ignore"):
            found = evaluate(outputs, targets, config.loss, "test", task, config.metrics)
        return {key.removeprefix("test/"): value for key, value in found.items()}

    def visualize(self) -> Figure:
        """Return a figure of the loss, the accuracy and all other metrics by epoch; `savefig(file)` keeps it.

        Raises:
            ConfigError: when nothing has been fitted here; a model that was saved has no history.
        """
        from mlp.plots import plot_history  # here, for matplotlib is slow to load

        if not self.history:
            raise ConfigError("there is no history to draw. Call fit first.")
        manifest = self.model.manifest
        is_early = manifest.config.early_stopping is not None
        return plot_history(self.history, manifest.config, kept_epoch=manifest.epochs if is_early else 0)

    @property
    def model(self) -> Model:
        """What was fitted, or loaded.

        Raises:
            ConfigError: when nothing was.
        """
        if self._model is None:
            raise ConfigError("there are no weights yet. Call fit first.")
        return self._model

    def save(self, path: str | Path) -> Path:
        """Write what was fitted as one file, if the path ends in `.json`, or as a folder.

        Raises:
            ConfigError: when nothing was, or something else is in that place.
        """
        return save_model(Path(path), self.model)

    @classmethod
    def load(cls, path: str | Path) -> Sequential:
        """Return the stack of a saved model, ready to predict; to train it anew, compile it first.

        Raises:
            ConfigError: when the files are missing, damaged, or do not belong together.
        """
        model = load_model(Path(path))
        config, network = model.manifest.config, model.build_network()
        stack = cls(scale=config.data.scale, seed=config.seed, dtype=config.dtype)
        stack._base = replace(stack._base, network=config.network)
        n_in, *widths = network.sizes
        activations: list[str | AbstractActivation] = [*network.activations, output_of(config.loss)]
        for units, activation, bias in zip(widths, activations, network.has_bias, strict=True):
            stack.add(Dense(units, activation, None if stack.layers else n_in, bias))
        stack._model = model
        return stack

    @property
    def _output(self) -> str:
        """The name of the last layer's activation."""
        if not self.layers:
            raise ConfigError("there is no layer yet. Call add(Dense(...)) first.")
        return str(label(self.layers[-1].activation))

    def _network_config(self) -> NetworkConfig:
        hidden = self.layers[:-1]
        return replace(
            self._base.network,
            hidden=tuple(layer.units for layer in hidden),
            activation=_one_or_each([layer.activation for layer in hidden]),
            bias=_one_or_each([layer.bias for layer in self.layers]),
        )

    def _network(self) -> Network:
        widths = [layer.units for layer in self.layers]
        return self._network_config().build((self.layers[0].input_dim or 0, *widths), dtype=self._base.dtype)

    def _names(self, task: Task) -> tuple[str, ...]:
        return tuple(map(str, range(count_targets(task, self.layers[-1].units))))

    def _inputs(self, x: Any) -> Array:
        inputs, d = np.asarray(x), self.layers[0].input_dim
        if inputs.ndim != 2 or inputs.shape[1] != d:
            raise ConfigError(f"inputs must have shape (n, {d}), for input_dim = {d}, got {inputs.shape}.")
        return inputs

    def _targets(self, y: Array, task: Task) -> Array:
        return to_targets(y, task, self.layers[-1].units, self._base.dtype)

    def _judges(self, validation_data: tuple[Any, Any], task: Task) -> tuple[Array, Array]:
        if not isinstance(validation_data, tuple | list) or len(validation_data) != 2:
            raise ConfigError("must be inputs and targets, a pair (x, y).", path="validation_data")
        with errors_in(path="validation_data"):
            x, y = self._inputs(validation_data[0]), validation_data[1]
            if not len(x):
                raise ConfigError("must hold an example at least.")
            return x, self._targets(read_targets(y, len(x)), task)


def _held_out(validation_split: float, judges: tuple[Array, Array] | None) -> int | float:
    """Return how many examples a training is judged by, or which fraction."""
    if not 0 <= validation_split < 1:
        problem = f"must be a fraction, at least 0 and below 1, got {validation_split!r}."
        raise ConfigError(problem, path="validation_split")
    return len(judges[0]) if judges else validation_split or 0


def _split(
    config: TrainConfig, x: Array, targets: Array, judges: tuple[Array, Array] | None, names: tuple[str, ...]
) -> Split:
    largest = 1.0
    if config.data.scale == "unit":
        if x.dtype.kind not in "iu":
            raise ConfigError(f'"unit" is for integers, got the type {x.dtype}. Scale them yourself.', path="scale")
        largest = float(np.iinfo(x.dtype).max)
    dataset = Dataset("arrays", x, targets, x[:0], targets[:0], names, largest, digest="")
    if judges is None:
        return dataset.split(config.data, config.seed)
    split = dataset.whole(config.data)
    return replace(split, validation=Examples(*judges, np.arange(len(judges[0])), split.train.scaling))


def _one_or_each(values: list[Any]) -> Any:
    """Return the value that all layers share, or else that of each."""
    return values[0] if values and all(value == values[0] for value in values) else tuple(values)


def _line(epoch: EpochMetrics, epochs: int) -> str:
    """Return what an epoch gave as a line of text."""
    values = "  ".join(f"{key} {value:.4f}" for key, value in epoch.values.items())
    return f"epoch {epoch.epoch:{len(str(epochs))}}/{epochs}  {values}"
