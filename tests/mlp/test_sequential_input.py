"""The names that a `Sequential` knows, and the errors that explain invalid input."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlp import (
    ConfigError,
)
from mlp.activations import LeakyRelu, activations
from mlp.keras_names import (
    ACTIVATIONS,
    LOSSES,
    METRICS,
    OPTIMIZERS,
)
from mlp.losses import losses
from mlp.metrics import metrics
from mlp.optimizers import optimizers
from mlp.sequential import Callback, Dense, EarlyStopping, Sequential
from tests.mlp.sequential_data import LABELS, VALUES, X, Y, stack


@pytest.mark.parametrize("name", [*activations, *ACTIVATIONS, "ReLU", "Linear"])
def test_every_activation_is_found_by_both_of_its_names(name: str) -> None:
    assert Dense(2, name) == Dense(2, {"name": ACTIVATIONS.get(name.lower(), name.lower())})


@pytest.mark.parametrize("name", [*optimizers, *OPTIMIZERS, "Adam", "RMSprop"])
def test_every_optimizer_is_found_by_both_of_its_names(name: str) -> None:
    model = stack(optimizer=name, learning_rate=1e-4)
    model.fit(X, Y, epochs=1)
    optimizer = model.model.manifest.config.optimizer
    assert (optimizer.name, optimizer.learning_rate) == (OPTIMIZERS.get(name, name.lower()), 1e-4)


def test_the_default_learning_rate_is_that_of_the_optimizer() -> None:
    model = stack(optimizer="adadelta", learning_rate=None)
    model.fit(X, Y, epochs=1)
    assert model.model.manifest.config.optimizer.learning_rate == 1.0


@pytest.mark.parametrize("name", [*losses, *LOSSES])
def test_every_loss_fits_an_activation_of_the_last_layer(name: str) -> None:
    ours = LOSSES.get(name, name)
    output = {"softmax_cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}.get(ours, "linear")
    model = stack(loss=name, output=output)
    model.fit(X, Y if "softmax" in output else X[:, :3] > 0.5, epochs=1)
    assert model.model.manifest.config.loss.name == ours


@pytest.mark.parametrize("name", [*metrics, *METRICS])
def test_every_metric_is_computed_for_a_task_that_it_supports(name: str) -> None:
    ours = METRICS.get(name, name)
    is_for_values = "classes" not in metrics.lookup(ours).tasks and "labels" not in metrics.lookup(ours).tasks
    if ours == "label_accuracy":
        model = stack(loss="binary_crossentropy", output="sigmoid", units=2, metrics=[name])
        history = model.fit(X, LABELS, epochs=1)
    elif is_for_values:
        model = stack(loss="mse", output="linear", units=2, metrics=[name])
        history = model.fit(X, VALUES, epochs=1)
    elif metrics.lookup(ours).needs_two_classes:
        model = stack(units=2, metrics=[name])
        history = model.fit(X, Y > 0, epochs=1)
    else:
        model = stack(metrics=[name])
        history = model.fit(X, Y, epochs=1)
    assert list(history.history) == list(dict.fromkeys(["loss", name.lower()]))


def test_accuracy_and_squared_error_of_labels_are_label_accuracy_and_brier() -> None:
    model = stack(
        loss="binary_crossentropy", output="sigmoid", units=2, metrics=["accuracy", "mse", "mean_squared_error"]
    )
    model.fit(X, LABELS, epochs=2)
    scores, predicted = model.evaluate(X, LABELS, return_dict=True), model.predict(X)
    assert list(scores) == ["loss", "accuracy", "brier"]
    assert scores["accuracy"] == pytest.approx(np.mean((predicted > 0.5) == LABELS))
    assert scores["brier"] == pytest.approx(np.mean((predicted - LABELS) ** 2), rel=1e-5)


def empty() -> Sequential:
    return Sequential()


def fitted(**compiled: Any) -> Sequential:
    model = stack(**compiled)
    model.fit(X, Y, epochs=1)
    return model


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "no units": (lambda: Dense(0), '"units": must be at least 1'),
    "half units": (lambda: Dense(2.5), '"units": must be a whole number, got 2.5'),  # type: ignore[arg-type]
    "misspelt activation": (
        lambda: Dense(3, "sofmax"),
        'activation": there is no activation called "sofmax". Did you mean "softmax"?',
    ),
    "an activation of the wrong type": (
        lambda: Dense(3, 3),  # type: ignore[arg-type]
        '"activation": must be the name of an activation or a table with a name, got 3',
    ),
    "an activation with an unknown field": (
        lambda: Dense(3, {"name": "leaky_relu", "slop": 1}),  # type: ignore[arg-type]
        '"activation.slop": is not a field of the activation "leaky_relu". Did you mean "slope"?',
    ),
    "softmax of one unit": (lambda: Dense(1, "softmax"), '"activation": softmax of a single unit is always 1'),
    "no layer": (lambda: empty().add("relu"), "a layer must be a Dense"),  # type: ignore[arg-type]
    "no input_dim": (lambda: Sequential([Dense(3)]), '"input_dim": the first layer needs the number of features'),
    "an input_dim that does not fit": (
        lambda: Sequential([Dense(3, input_dim=2), Dense(4, input_dim=5)]),
        '"input_dim": layer 2 must take the 3 units of layer 1, got 5. Leave it out.',
    ),
    "softmax in a hidden layer": (
        lambda: Sequential([Dense(3, "softmax", 2), Dense(4)]),
        '"activation": softmax is for the last layer only, but layer 1 has it',
    ),
    "an unknown initializer": (
        lambda: Sequential(initializer="glorot"),
        '"network.initializer": there is no initializer called "glorot"',
    ),
    "compile without layers": (
        lambda: empty().compile(loss="mse"),
        "there is no layer yet. Call add(Dense(...)) first",
    ),
    "summary without layers": (lambda: empty().summary(), "there is no layer yet"),
    "an unknown loss": (lambda: stack(loss="msee"), '"loss": there is no loss called "msee". Did you mean "mse"?'),
    "a loss for softmax": (
        lambda: stack(output="linear"),
        'needs a last layer with activation="softmax", got identity. For identity, use mean_squared_error.',
    ),
    "a loss for sigmoid": (
        lambda: stack(loss="binary_crossentropy"),
        "got softmax. For softmax, use softmax_cross_entropy or mean_squared_error.",
    ),
    "a last activation that no loss has": (
        lambda: stack(loss="mse", output="gelu"),
        '"loss": "mean_squared_error" needs a last layer with one of identity, sigmoid',
    ),
    "an unknown optimizer": (
        lambda: stack(optimizer="adamm"),
        '"optimizer": there is no optimizer called "adamm". Did you mean "adam"?',
    ),
    "an optimizer of the wrong type": (lambda: stack(optimizer=LeakyRelu()), '"optimizer": must be the name of an'),
    "a negative rate": (lambda: stack(learning_rate=-1.0), '"learning_rate": must be above 0, got -1.0'),
    "an unknown metric": (
        lambda: stack(metrics=["acuracy"]),
        '"metrics": there is no metric called "acuracy". Did you mean "accuracy"?',
    ),
    "metrics that are not a list": (
        lambda: stack(metrics="accuracy"),
        '"metrics": must be a list, such as ["accuracy"]',
    ),
    "a metric for other targets": (
        lambda: stack(loss="mse", output="linear", units=2, metrics=["accuracy"]).fit(X, VALUES),
        '"metrics": the metric "accuracy" is for classes and labels, but the targets are values',
    ),
    "an unknown schedule": (lambda: stack(schedule="cosin"), '"schedule": there is no schedule called "cosin"'),
    "early stopping without validation": (
        lambda: stack().fit(X, Y, callbacks=[EarlyStopping()]),
        '"monitor": "val_loss" is not computed. Did you mean "loss"? Available: loss. For metrics of validation, give',
    ),
    "early stopping on a metric that is not compiled": (
        lambda: stack().fit(X, Y, validation_split=0.2, callbacks=[EarlyStopping("val_accuracy")]),
        '"monitor": "val_accuracy" is not computed.',
    ),
    "half a patience": (lambda: EarlyStopping(patience=0.5), '"patience": must be a whole number, at least 0'),  # type: ignore[arg-type]
    "an unknown mode": (lambda: EarlyStopping(mode="up"), '"mode": must be "auto", "min" or "max"'),  # type: ignore[arg-type]
    "a callback that is none": (
        lambda: stack().fit(X, Y, callbacks=[print]),  # type: ignore[list-item]
        '"callbacks": must be a list of callbacks, each an EarlyStopping or another mlp.sequential.Callback, got',
    ),
    "callbacks that are no list": (
        lambda: stack().fit(X, Y, callbacks=3),  # type: ignore[arg-type]
        '"callbacks": must be a list of callbacks, such as [EarlyStopping()], got 3',
    ),
    "a callback with a method that is never called": (
        lambda: stack().fit(X, Y, callbacks=[type("Batches", (Callback,), {"on_train_batch_end": print})()]),
        '"callbacks": Batches.on_train_batch_end would never be called',
    ),
    "a schedule without validation": (
        lambda: stack(schedule="reduce_on_plateau").fit(X, Y),
        '"validation/loss" is watched. Give validation_split or validation_data.',
    ),
    "no shuffling": (lambda: stack().fit(X, Y, shuffle=False), '"shuffle": must be True: examples are always'),
    "an argument of Keras": (
        lambda: stack().fit(X, Y, steps_per_epoch=3),
        '"steps_per_epoch": is not supported by fit. An epoch is one pass over all examples. Use batch_size.',
    ),
    "an argument of nobody": (lambda: stack().fit(X, Y, epoch=3), '"epoch": fit has no such argument.'),
    "steps of a prediction": (lambda: fitted().predict(X, steps=1), '"steps": is not supported by predict.'),
    "callbacks of an evaluation": (
        lambda: fitted().evaluate(X, Y, callbacks=[]),
        '"callbacks": is not supported by evaluate. Callbacks are for fit only.',
    ),
    "weights of losses": (lambda: stack(loss_weights=[1]), '"loss_weights": is not supported by compile.'),
    "no loss": (lambda: stack(loss=None), '"loss": must be given, such as "categorical_crossentropy"'),
    "unknown verbosity": (lambda: stack().fit(X, Y, verbose=3), '"verbose": must be 0 (silent), 1 (bar)'),  # type: ignore[arg-type]
    "class weights of values": (
        lambda: stack(loss="mse", output="linear", units=2).fit(X, VALUES, class_weight={0: 1}),
        '"class_weight": needs classes, but the targets are values. Use sample_weight.',
    ),
    "balanced class weights": (
        lambda: stack().fit(X, Y, class_weight="balanced"),  # type: ignore[arg-type]
        '"class_weight": must be a mapping of classes to weights',
    ),
    "the weight of a fourth class": (
        lambda: stack().fit(X, Y, class_weight={3: 1.0}),
        '"class_weight": must have classes from 0 to 2, got 3.',
    ),
    "a negative class weight": (
        lambda: stack().fit(X, Y, class_weight={1: -1.0}),
        '"class_weight": must have weights of at least 0, got -1.0 for class 1.',
    ),
    "too few sample weights": (lambda: stack().fit(X, Y, sample_weight=[1, 2]), '"sample_weight": '),
    "a validation part that is empty": (
        lambda: stack().fit(X[:1], Y[:1], validation_split=0.5),
        '"validation_split": = 0.5 of 1 examples leaves 0 to train on and 1 for validation. Both',
    ),
    "fit before compile": (
        lambda: Sequential([Dense(3, "softmax", 6)]).fit(X, Y),
        'the stack is not compiled. Call compile(loss="...") first.',
    ),
    "fit after adding a layer": (
        lambda: [model := stack(loss="mse", output="linear"), model.add(Dense(3)), model.fit(X, Y)],
        "the stack is not compiled",
    ),
    "predict before fit": (lambda: stack().predict(X), "there are no weights yet. Call fit first."),
    "evaluate before fit": (lambda: stack().evaluate(X, Y), "there are no weights yet"),
    "save before fit": (lambda: stack().save("nowhere.json"), "there are no weights yet"),
    "visualize before fit": (lambda: stack().visualize(), "there is no history to draw. Call fit first."),
    "no epochs": (lambda: stack().fit(X, Y, epochs=0), '"epochs": must be at least 1, got 0'),
    "no batch": (lambda: stack().fit(X, Y, batch_size=0), '"batch_size": must be at least 1'),
    "inputs of another width": (
        lambda: stack().fit(X[:, :5], Y),
        "inputs must have shape (n, 6), because input_dim = 6, got (90, 5)",
    ),
    "flat inputs": (lambda: stack().fit(X[0], Y), "inputs must have shape (n, 6)"),
    "one input": (lambda: fitted().predict(X[0]), "inputs must have shape (n, 6), because input_dim = 6, got (6,)"),
    "strings as inputs": (lambda: stack().fit(X.astype(str), Y), '"data": inputs must be numbers'),
    "nan among inputs": (lambda: stack().fit(X * np.nan, Y), '"data": inputs must be finite'),
    "no examples": (lambda: stack().fit(X[:0], Y[:0]), "there is no example to train on"),
    "fewer targets": (
        lambda: stack().fit(X, Y[1:]),
        "targets must have one row for each of the 90 inputs, got shape (89,)",
    ),
    "strings as targets": (
        lambda: stack().fit(X, np.array(list("abc"))[Y]),
        "targets must be numbers, got the type <U1. Number the classes from 0.",
    ),
    "a class too large": (
        lambda: stack().fit(X, Y + 1),
        "targets must be whole numbers from 0 to 2 for a last layer of 3 units, got 3 in row",
    ),
    "a class below 0": (lambda: stack().fit(X, Y.astype(int) - 1), "targets must be whole numbers from 0 to 2"),
    "a fractional class": (lambda: stack().fit(X, Y + 0.5), "targets must be whole numbers from 0 to 2"),
    "one-hot of another width": (
        lambda: stack().fit(X, np.eye(4)[Y]),
        "one-hot targets must be 3 wide for a last layer of 3 units, got 4",
    ),
    "two-hot": (
        lambda: stack().fit(X, np.ones((90, 3))),
        "targets must be one-hot, with a single 1 and otherwise 0, got [1.0, 1.0, 1.0] in row 0",
    ),
    "labels of another width": (
        lambda: stack(loss="binary_crossentropy", output="sigmoid").fit(X, LABELS),
        "targets must be 3 wide for a last layer of 3 units, got 2",
    ),
    "labels between 0 and 1": (
        lambda: stack(loss="binary_crossentropy", output="sigmoid", units=2).fit(X, LABELS * 0.5),
        "targets must be 0 or 1, got [",
    ),
    "three classes for one unit": (
        lambda: stack(loss="binary_crossentropy", output="sigmoid", units=1).fit(X, Y),
        "targets must be whole numbers from 0 to 1 for a last layer of 1 unit, got 2",
    ),
    "values of another width": (
        lambda: stack(loss="mse", output="linear").fit(X, VALUES),
        "targets must be 3 wide for a last layer of 3 units, got 2",
    ),
    "a value that is nan": (
        lambda: stack(loss="mse", output="linear", units=2).fit(X, VALUES * np.nan),
        '"data": targets must be finite',
    ),
    "evaluate on unknown classes": (lambda: fitted().evaluate(X, Y + 3), "targets must be whole numbers from 0 to 2"),
    "evaluate on nothing": (lambda: fitted().evaluate(X[:0], Y[:0]), "there is no example to evaluate on"),
    "validation given twice": (
        lambda: stack().fit(X, Y, validation_split=0.1, validation_data=(X, Y)),
        '"validation_data": cannot be combined with validation_split. Give one of them.',
    ),
    "all held out": (
        lambda: stack().fit(X, Y, validation_split=1.0),
        '"validation_split": must be a fraction, at least 0 and below 1, got 1.0',
    ),
    "validation of another width": (
        lambda: stack().fit(X, Y, validation_data=(X[:, :5], Y)),
        '"validation_data": inputs must have shape (n, 6)',
    ),
    "empty validation data": (
        lambda: stack().fit(X, Y, validation_data=(X[:0], Y[:0])),
        '"validation_data": must have at least one example.',
    ),
    "validation data that is not a pair": (
        lambda: stack().fit(X, Y, validation_data=X),
        '"validation_data": must be a pair of inputs and targets, (x, y), or (x, y, sample_weight).',
    ),
    "unit scale of fractions": (
        lambda: unit_scaled().fit(X, Y),
        '"scale": "unit" is for integers, got the type float64',
    ),
    "divergence": (
        lambda: stack(loss="mse", output="linear", units=2, optimizer="sgd", learning_rate=1e9).fit(X, VALUES * 1e9),
        '"optimizer.learning_rate": the training diverged in epoch 1, so no weights were kept. Try a value below',
    ),
}


def unit_scaled() -> Sequential:
    model = Sequential([Dense(3, "softmax", 6)], scale="unit")
    model.compile(loss="categorical_crossentropy")
    return model


@pytest.mark.parametrize(("act", "message"), REFUSED.values(), ids=REFUSED)
def test_invalid_input_is_refused_with_an_explanation(act: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        act()
    assert message in str(refused.value)


def test_a_refused_layer_is_not_added() -> None:
    model = stack()
    with pytest.raises(ConfigError):
        model.add(Dense(2, input_dim=9))
    model.fit(X, Y, epochs=1)
    assert len(model.layers) == 3


def test_a_failed_fit_keeps_the_earlier_model() -> None:
    model = fitted()
    before = model.predict(X)
    with pytest.raises(ConfigError):
        model.fit(X, Y + 7)
    assert model.predict(X).tobytes() == before.tobytes()


def test_importing_sequential_does_not_import_pandas_or_matplotlib() -> None:
    program = "import sys, mlp.sequential; print(sorted({'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
