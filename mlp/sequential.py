"""A network as a stack of layers, in the style of Keras.

Behind it are the same configuration, training and model as everywhere else in this package.

    model = Sequential()
    model.add(Dense(100, activation="sigmoid", input_dim=784))
    model.add(Dense(10, activation="softmax"))
    model.compile(loss="categorical_crossentropy", optimizer="adam", learning_rate=0.01, metrics=["accuracy"])
    print(model.summary())
    history = model.fit(x, y, epochs=10, validation_split=0.1, callbacks=[EarlyStopping(patience=2)])
    print(history.history["val_loss"])
    loss, accuracy = model.evaluate(x_test, y_test)
    model.save("digits.json")

Names, defaults and rules are those of Keras 3, with these differences. A mini-batch's loss is the mean weighted by
`class_weight` and `sample_weight`, so only the ratios of weights matter. `mse` of classes is `brier`, the sum over the
classes. An optimizer has its defaults from this package, and its memory is not saved with the model. What Keras has and
this class does not is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlp.arrays import Array
from mlp.config import TrainConfig
from mlp.data_config import Scale
from mlp.errors import ConfigError
from mlp.keras_arguments import (
    count_training_rows,
    read_callbacks,
    read_class_weight,
    read_sample_weight,
    read_verbose,
    refuse,
)
from mlp.keras_callbacks import Callback as Callback  # users import these from here
from mlp.keras_callbacks import EarlyStopping as EarlyStopping
from mlp.keras_callbacks import History, ProgressLines
from mlp.keras_data import DataReader, split_rows
from mlp.keras_fit import Compiled, Past, RunningFit, start_training
from mlp.keras_names import find_loss, find_metrics, find_optimizer, metric_keys, metrics_for
from mlp.keras_targets import count_targets, find_task, read_targets
from mlp.layers import Dense as Dense
from mlp.layers import check_next, layers_of, network_config
from mlp.model import Model
from mlp.model_io import load_model, save_model
from mlp.network import Network
from mlp.records import decode, label
from mlp.schedules import AbstractSchedule
from mlp.scores import evaluate, score_text, standard

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


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
        seed: the seed of initialization, shuffling and dropout.
        dtype: the type of all arithmetic.

    Attributes:
        layers: the layers in order.
        history: what the last fit returned; None before.
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
        self._compiled: Compiled | None = None
        self._model: Model | None = None
        self._past: Past | None = None
        self.layers: list[Dense] = []
        self.history: History | None = None
        for layer in layers:
            self.add(layer)

    def add(self, layer: Dense) -> None:
        """Add a layer on top. This resets `compile` and `fit`.

        Raises:
            ConfigError: if the layer does not fit the layer before it.
        """
        check_next(layer, self.layers)
        self.layers.append(layer)
        self._compiled = self._model = self._past = self.history = None

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        *,
        learning_rate: float | None = None,
        metrics: Sequence[Any] = (),
        schedule: Any = "constant",
        **unsupported: Any,
    ) -> None:
        """Choose how to train. Each part is a name, a table with a name and its fields, or the part itself.

        The weights stay as they are; the optimizer starts afresh.

        Args:
            optimizer: `sgd`, `momentum`, `rmsprop`, `adagrad`, `adam`, `adamax`, `adadelta`, ...
            loss: `categorical_crossentropy`, `binary_crossentropy`, `mse`, ...; it must fit the last activation.
            learning_rate: the learning rate; None for the optimizer's own.
            metrics: `accuracy`, `mse`, `cross_entropy`, ...; `mse` of classes is `brier`, the sum over the classes.
            schedule: the schedule of the learning rate. It spans all epochs since `compile`.
            unsupported: other arguments of Keras, which are refused.

        Raises:
            ConfigError: if a name is unknown, a value is out of bounds, or the loss does not fit the last layer.
        """
        refuse(unsupported, "compile")
        if loss is None:
            raise ConfigError('must be given, such as "categorical_crossentropy" or "mse".', path="loss")
        self._compiled = Compiled(
            find_loss(loss, self._output),
            find_optimizer(optimizer, learning_rate),
            decode(AbstractSchedule, schedule, path="schedule"),
            find_metrics(metrics),
        )
        self._past = None

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
        batch_size: int | Literal["full"] | None = None,
        epochs: int = 1,
        verbose: Literal["auto", 0, 1, 2] = "auto",
        callbacks: Sequence[Callback] | Callback | None = None,
        validation_split: float = 0.0,
        validation_data: tuple[Any, ...] | None = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        **unsupported: Any,
    ) -> History:
        """Train for some epochs and return their history.

        The first fit starts from initial weights that the seed determines. Each further fit continues from the current
        weights, and unless `compile` was called in between, also from the optimizer's memory. The examples are shuffled
        before each epoch in an order that depends on the seed and on the number of epochs since `compile`, so that two
        fits of 5 epochs give the same weights as one of 10 with the same data.

        Args:
            x: inputs, shape (n, input_dim).
            y: targets: classes as whole numbers, shape (n,), or as one-hot rows, shape (n, k); labels or values,
                shape (n, m).
            batch_size: the number of examples per step, 32 by default; `full` for all examples.
            epochs: the number of passes over the examples.
            verbose: 0 for silence, 1 for a bar, 2 for a line per epoch; `auto` is 1.
            callbacks: such as `[EarlyStopping(patience=3)]`.
            validation_split: the fraction of the examples that is held out for validation: the last ones.
            validation_data: inputs and targets for validation, and optionally their weights, instead of
                `validation_split`.
            shuffle: True; nothing else is supported.
            class_weight: the weight of classes in the training loss, by class; 1 for a class that is not mentioned.
            sample_weight: the weight of each example in the loss, shape (n,).
            unsupported: other arguments of Keras, which are refused.

        Returns:
            Its `history` has one value per epoch, by name: `loss`, the compiled metrics, and `val_loss`, ...

        Raises:
            ConfigError: if the stack is not compiled, or an argument is not valid.
            DivergedError: if the training diverges; the weights are those before this fit.
        """
        refuse(unsupported, "fit")
        if shuffle is not True:
            raise ConfigError("must be True: examples are always shuffled before each epoch.", path="shuffle")
        if self._compiled is None:
            raise ConfigError('the stack is not compiled. Call compile(loss="...") first.')
        level, given, reader = read_verbose(verbose), read_callbacks(callbacks), self._reader
        x, y = reader.inputs(x), read_targets(y, len(x))
        if not len(x):
            raise ConfigError("there is no example to train on.")
        task = find_task(y, self._compiled.loss, self.layers[-1].units)
        weights = read_sample_weight(sample_weight, len(x))
        n_train = count_training_rows(validation_split, len(x))
        if validation_data is not None and n_train < len(x):
            raise ConfigError("cannot be combined with validation_split. Give one of them.", path="validation_data")
        validation = None if validation_data is None else reader.validation(validation_data, task)
        n_held_out = len(validation.rows) if validation else len(x) - n_train
        if (watched := self._compiled.schedule.watched).startswith("validation/") and not n_held_out:
            raise ConfigError(f'"{watched}" is watched. Give validation_split or validation_data.')
        chosen = metrics_for(task, self._compiled.metrics)
        done = self._past.state.epoch if self._past else 0
        config = replace(
            self._base,
            data=replace(self._base.data, validation=n_held_out),
            network=network_config(self.layers, self._base.network),
            epochs=replace(self._base, epochs=epochs).epochs + done,  # checked before it is added
            batch_size=32 if batch_size is None else batch_size,
            loss=self._compiled.loss,
            optimizer=self._compiled.optimizer,
            schedule=self._compiled.schedule,
            class_weights=read_class_weight(class_weight, count_targets(task, self.layers[-1].units), task),
            metrics=tuple(dict.fromkeys(metric for metric in chosen.values() if metric not in standard(task))),
        )
        dataset = reader.dataset(x, y, task, weights)
        training = start_training(config, split_rows(config, dataset, n_train, validation), self._model, self._past)
        history, fit = History(), RunningFit(training, metric_keys(chosen, has_validation=n_held_out > 0))
        callbacks = [history, *([ProgressLines(level)] if level else []), *given]
        fit.run(callbacks, {"epochs": epochs, "steps": training.n_steps, "verbose": level})
        # Only a complete fit replaces the earlier model and history.
        self._model, self._past, self.history = fit.model(dataset), fit.past(), history
        return history

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: Literal["auto", 0, 1, 2] = "auto", **unsupported: Any
    ) -> Array:
        """Return the activations of the last layer, such as the probability of each class. Nothing is printed.

        Args:
            x: inputs, shape (n, input_dim).
            batch_size: has no effect on the result.
            verbose: has no effect.
            unsupported: other arguments of Keras, which are refused.

        Returns:
            One row per example, shape (n, units).

        Raises:
            ConfigError: if the stack is not fitted, or the inputs have another shape.
        """
        refuse(unsupported, "predict")
        read_verbose(verbose)
        model = self.model
        with np.errstate(all="ignore"):
            outputs = model.loss.predictions(model.outputs(self._reader.inputs(x)))
        return model.manifest.target_scaling.invert(outputs)

    def evaluate(
        self,
        x: Any,
        y: Any,
        batch_size: int | None = None,
        verbose: Literal["auto", 0, 1, 2] = "auto",
        sample_weight: Any = None,
        return_dict: bool = False,
        **unsupported: Any,
    ) -> Any:
        """Return the loss and the compiled metrics on some examples.

        Args:
            x: inputs, shape (n, input_dim).
            y: targets, as for `fit`.
            batch_size: has no effect on the result.
            verbose: 0 for silence; otherwise the result is printed on one line.
            sample_weight: the weight of each example in the loss, shape (n,).
            return_dict: whether to return a dictionary by name.
            unsupported: other arguments of Keras, which are refused.

        Returns:
            The loss as a float if no metrics are compiled, otherwise a list of the loss and the metrics in their order;
            or the same as a dictionary. A loaded stack that is not compiled has all metrics of its training.

        Raises:
            ConfigError: if the stack is not fitted, there are no examples, or they do not fit the model.
        """
        refuse(unsupported, "evaluate")
        level, model, reader = read_verbose(verbose), self.model, self._reader
        x = reader.inputs(x)
        task, config = model.manifest.task, model.manifest.config
        targets = reader.targets(read_targets(y, len(x)), task)
        weights = read_sample_weight(sample_weight, len(x))
        if not len(x):
            raise ConfigError("there is no example to evaluate on.")
        if self._compiled is None:
            chosen = {metric.name: metric for metric in (*standard(task), *config.metrics) if metric.name != "loss"}
        else:
            chosen = metrics_for(task, self._compiled.metrics)
        outputs = model.outputs(x)
        with np.errstate(all="ignore"):
            extra, scaling = tuple(chosen.values()), model.manifest.target_scaling
            scores = evaluate(outputs, targets, model.loss, "test", task, extra, weights, scaling)
        shown = {"loss": scores["test/loss"]} | {name: scores[f"test/{of.name}"] for name, of in chosen.items()}
        if level:
            sys.stdout.write(" - ".join(f"{name}: {score_text(value)}" for name, value in shown.items()) + "\n")
        if return_dict:
            return shown
        return list(shown.values()) if len(shown) > 1 else shown["loss"]

    def visualize(self) -> Figure:
        """Return a figure of loss, metrics and learning rate since `compile`; `savefig(file)` saves it.

        Raises:
            ConfigError: if nothing has been fitted since; a loaded model has no history.
        """
        from mlp.plots import plot_history  # matplotlib is slow to import

        if self._past is None:
            raise ConfigError("there is no history to draw. Call fit first.")
        past, config = self._past, self.model.manifest.config
        return plot_history(past.state.history, config, kept_epoch=max(0, past.kept_epoch - past.n_missing))

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
        """Return the stack of a saved model. It can predict; `compile` and `fit` continue from its weights.

        Raises:
            ConfigError: if the files are missing, damaged, do not belong together, or are an ensemble.
        """
        model = load_model(path)
        if not isinstance(model, Model):
            raise ConfigError(f"{path}: is an ensemble of several networks. Read it with mlp.load_model.")
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

    @property
    def _reader(self) -> DataReader:
        base = self._base
        return DataReader(self.layers[0].input_dim, self.layers[-1].units, base.dtype, base.data.scale)
