"""`Sequential` gives the same bits as the configuration it describes, and explains invalid input."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp import (
    ConfigError,
    Dataset,
    EarlyStopping,
    Examples,
    Model,
    Split,
    TrainConfig,
    save_model,
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
from mlp.optimizers import Sgd, optimizers
from mlp.scaling import Scaling
from mlp.sequential import Dense, Sequential
from mlp.training import train
from tests.mlp_data import blobs

BLOBS = blobs(n=90)
X, Y = BLOBS.inputs / 255.0, BLOBS.targets
ONE_HOT = np.eye(3)[Y]
X_TEST, Y_TEST = BLOBS.test_inputs / 255.0, BLOBS.test_targets
VALUES = np.stack([X.sum(axis=1), X[:, 0] - X[:, 1]], axis=1)
LABELS = (X[:, :2] > 0.5).astype(int)


def stack(
    *, loss: Any = "categorical_crossentropy", output: Any = "softmax", units: int = 3, seed: int = 3, **compiled: Any
) -> Sequential:
    """Return a small compiled stack."""
    model = Sequential([Dense(5, "tanh", input_dim=6), Dense(4, "relu"), Dense(units, output)], seed=seed)
    model.compile(loss=loss, **({"learning_rate": 0.01} | compiled))
    return model


def config_of(changes: dict[str, Any] | None = None) -> TrainConfig:
    """Return the configuration that is equivalent to a small stack."""
    return TrainConfig.from_mapping(
        {
            "data": {"name": "arrays", "scale": "none", "target_scale": "none", "validation": 0.2},
            "seed": 3,
            "epochs": 4,
            "batch_size": 16,
            "network": {"hidden": [5, 4], "activation": ["tanh", "relu"]},
            "optimizer": {"name": "adam", "learning_rate": 0.01},
            **(changes or {}),
        }
    )


def dataset(targets: Any, x: Any = X) -> Dataset:
    names = tuple("abc"[: targets.shape[1] if targets.ndim == 2 else 3])
    return Dataset("arrays", x, targets, x[:0], targets[:0], names, 1.0, "")


FIT: dict[str, Any] = {"epochs": 4, "batch_size": 16, "validation_split": 0.2}


def test_the_keras_style_workflow_takes_eight_lines(tmp_path: Path) -> None:
    model = Sequential()
    model.add(Dense(8, activation="sigmoid", input_dim=6))
    model.add(Dense(3, activation="softmax"))
    model.compile(loss="categorical_crossentropy", optimizer="adam", learning_rate=0.05, metrics=["accuracy"])
    summary = model.summary()
    history = model.fit(X, Y, epochs=40, batch_size=32, validation_split=0.1)
    scores = model.evaluate(X_TEST, Y_TEST)
    model.save(tmp_path / "digits.json")
    assert [line.split()[:4] for line in summary.splitlines()[2:4]] == [
        ["1", "6", "8", "sigmoid"],
        ["2", "8", "3", "softmax"],
    ]
    assert list(history) == ["train/loss", "train/accuracy", "validation/loss", "validation/accuracy"]
    assert list(scores) == ["loss", "accuracy"]
    assert scores["accuracy"] > 0.9


@pytest.mark.parametrize("targets", [Y, Y[:, None], Y.astype(float), Y.tolist(), ONE_HOT, ONE_HOT.astype(int)])
def test_fit_gives_the_same_bits_as_the_equivalent_configuration(targets: Any) -> None:
    model = stack()
    history = model.fit(X, targets, **FIT)
    training = train(config_of(), dataset(Y))
    assert model.model.theta.tobytes() == training.kept_theta.tobytes()
    assert history == training.history
    assert model.model.manifest.config == training.config


@pytest.mark.parametrize(
    ("loss", "output", "targets", "ours", "own_loss"),
    [
        ("mse", "linear", VALUES, VALUES, {"name": "mean_squared_error"}),
        ("mae", "linear", VALUES.astype(np.float32), VALUES, {"name": "mean_absolute_error"}),
        ("mse", "sigmoid", LABELS, LABELS.astype(np.uint8), {"name": "mean_squared_error", "output": "sigmoid"}),
        ("mse", "tanh", VALUES, VALUES, {"name": "mean_squared_error", "output": "tanh"}),
        ({"name": "huber", "delta": 0.5}, "linear", VALUES, VALUES, {"name": "huber", "delta": 0.5}),
        ("binary_crossentropy", "sigmoid", LABELS, LABELS.astype(np.uint8), {"name": "binary_cross_entropy"}),
        ("binary_cross_entropy", "sigmoid", LABELS > 0, LABELS.astype(np.uint8), {"name": "binary_cross_entropy"}),
    ],
)
def test_the_activation_of_the_last_layer_becomes_part_of_the_loss(
    loss: Any, output: str, targets: Any, ours: Any, own_loss: dict[str, Any]
) -> None:
    model = stack(loss=loss, output=output, units=2)
    model.fit(X, targets, **FIT)
    training = train(config_of({"loss": own_loss}), dataset(ours.astype(np.float32) if ours.dtype == float else ours))
    assert model.model.theta.tobytes() == training.kept_theta.tobytes()
    assert model.model.manifest.task == training.data.task


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "linear"])
@pytest.mark.parametrize("targets", [Y, ONE_HOT])
def test_squared_error_of_classes_compares_with_one_hot_targets(output: str, targets: Any) -> None:
    model = stack(loss="mse", output=output, metrics=["accuracy", "mse"])
    model.fit(X, targets, **FIT)
    scores = model.evaluate(X_TEST, Y_TEST)
    wanted = np.mean((model.predict(X_TEST) - np.eye(3)[Y_TEST]) ** 2)
    assert scores["loss"] == pytest.approx(wanted, rel=1e-5)
    assert scores["accuracy"] == np.mean(model.predict(X_TEST).argmax(axis=1) == Y_TEST)
    if output == "softmax":
        assert scores["brier"] == pytest.approx(3 * wanted, rel=1e-5)


@pytest.mark.parametrize("targets", [Y > 0, (Y > 0)[:, None], (Y > 0).astype(float), np.eye(2)[(Y > 0).astype(int)]])
def test_a_single_sigmoid_unit_distinguishes_two_classes(targets: Any) -> None:
    model = stack(loss="binary_crossentropy", output="sigmoid", units=1, learning_rate=0.1)
    model.fit(X, targets, epochs=30)
    assert model.model.manifest.task == "classes"
    scores = model.evaluate(X_TEST, Y_TEST > 0)
    predicted = model.predict(X_TEST)
    assert predicted.shape == (20, 1)
    assert ((predicted > 0) & (predicted < 1)).all()
    assert scores["accuracy"] == np.mean((predicted[:, 0] > 0.5) == (Y_TEST > 0))
    assert scores["accuracy"] > 0.9


def test_a_single_value_per_example_can_be_a_flat_array() -> None:
    flat, column = stack(loss="mse", output="linear", units=1), stack(loss="mse", output="linear", units=1)
    flat.fit(X, VALUES[:, 0], **FIT)
    column.fit(X, VALUES[:, :1], **FIT)
    assert flat.model.theta.tobytes() == column.model.theta.tobytes()
    assert list(flat.evaluate(X, VALUES[:, 0])) == ["loss", "r2"]
    assert flat.predict(X).shape == (90, 1)


def test_predictions_are_the_activations_of_the_last_layer() -> None:
    model = stack()
    model.fit(X, Y, **FIT)
    predicted = model.predict(X_TEST.tolist())
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted.sum(axis=1), 1.0, rtol=1e-6)
    assert predicted.argmax(axis=1).tolist() == model.model.predict(X_TEST).tolist()
    assert model.predict(X_TEST[:0]).shape == (0, 3)


def test_fitting_again_starts_from_new_weights() -> None:
    model = stack()
    model.fit(X, Y, **FIT)
    first = model.model.theta
    model.fit(X, Y, **FIT)
    assert model.model.theta.tobytes() == first.tobytes()
    other = stack(seed=4)
    other.fit(X, Y, **FIT)
    assert other.model.theta.tobytes() != first.tobytes()


def test_validation_data_is_evaluated_but_not_trained_on() -> None:
    model = stack(early_stopping={"patience": 2}, learning_rate=0.05)
    history = model.fit(X, Y, epochs=30, batch_size=16, validation_data=(X_TEST, np.eye(3)[Y_TEST]))
    rows = np.arange(20)
    split = Split(Examples(X, Y, np.arange(90)), Examples(X_TEST, Y_TEST, rows), 3)
    changes = {
        "data": {"name": "arrays", "scale": "none", "validation": 20},
        "epochs": 30,
        "early_stopping": {"patience": 2},
        "optimizer": {"name": "adam", "learning_rate": 0.05},
    }
    training = train(config_of(changes), split)
    assert model.model.theta.tobytes() == training.kept_theta.tobytes()
    assert history == training.history
    assert model.evaluate(X_TEST, Y_TEST)["loss"] == min(history["validation/loss"])


def test_without_validation_the_history_has_training_metrics_only() -> None:
    assert list(stack().fit(X, Y, epochs=2)) == ["train/loss", "train/accuracy"]


@pytest.mark.parametrize(
    ("scale", "x", "scaling"),
    [
        ("none", X, Scaling()),
        ("unit", BLOBS.inputs, Scaling((1 / 255,))),
        ("standard", X, Scaling.standard(X, np.arange(90))),
        ("example", X, Scaling(by_example=True)),
    ],
)
def test_the_model_scales_its_inputs(scale: Any, x: Any, scaling: Scaling, tmp_path: Path) -> None:
    model = Sequential([Dense(3, "softmax", input_dim=6)], scale=scale)
    model.compile(loss="categorical_crossentropy", optimizer="sgd")
    model.fit(x, Y, epochs=2, validation_data=(x, Y))
    assert model.model.manifest.encoding == scaling
    loaded = Sequential.load(model.save(tmp_path / "model.json"))
    assert loaded.predict(x).tobytes() == model.predict(x).tobytes()


def test_a_stack_can_use_every_setting_of_a_network() -> None:
    model = Sequential(
        [Dense(5, {"name": "leaky_relu", "slope": 0.1}, input_dim=6, bias=False), Dense(3, "softmax")],
        initializer={"name": "normal", "std": 1.0},
        normalization="batch",
        dropout=0.1,
        seed=3,
        dtype="float64",
    )
    model.compile(loss="categorical_crossentropy", optimizer=Sgd(0.1, momentum=0.9), schedule="cosine")
    model.fit(X, Y, **FIT)
    network = {
        "hidden": [5],
        "activation": {"name": "leaky_relu", "slope": 0.1},
        "bias": [False, True],
        "initializer": {"name": "normal", "std": 1.0},
        "normalization": "batch",
        "dropout": 0.1,
    }
    optimizer = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}
    changes = {"network": network, "optimizer": optimizer, "schedule": "cosine", "dtype": "float64"}
    training = train(config_of(changes), dataset(Y))
    assert model.model.manifest.config == training.config
    assert model.model.theta.tobytes() == training.kept_theta.tobytes()


@pytest.mark.parametrize("name", ["model.json", "model"])
@pytest.mark.parametrize(
    ("loss", "output", "y"),
    [
        ("categorical_crossentropy", "softmax", Y),
        ("mse", "sigmoid", ONE_HOT),
        ("mse", "linear", X[:, :3]),
        ("binary_crossentropy", "sigmoid", (X[:, :3] > 0.5)),
    ],
)
def test_a_saved_stack_predicts_the_same_bits(tmp_path: Path, name: str, loss: str, output: str, y: Any) -> None:
    model = Sequential(seed=5, initializer="glorot_uniform")
    model.add(Dense(5, LeakyRelu(0.2), input_dim=6))
    model.add(Dense(4, "tanh", bias=False))
    model.add(Dense(3, output))
    model.compile(loss=loss, learning_rate=0.01)
    model.fit(X, y, epochs=3)
    loaded = Sequential.load(model.save(str(tmp_path / name)))
    assert loaded.predict(X_TEST).tobytes() == model.predict(X_TEST).tobytes()
    assert loaded.evaluate(X, y) == model.evaluate(X, y)
    assert loaded.summary() == model.summary()
    assert loaded.layers == model.layers
    loaded.save(tmp_path / "again.json")
    loaded.compile(loss=loss, learning_rate=0.01)
    loaded.fit(X, y, epochs=3)
    assert loaded.model.theta.tobytes() == model.model.theta.tobytes()


def test_a_model_with_every_kind_of_parameters_is_loaded_as_a_stack_that_trains_to_the_same_bits(
    tmp_path: Path,
) -> None:
    network = {"hidden": [5], "input_scale": True, "parametric_activation": True, "normalization": "layer"}
    config = config_of({"network": network})
    data = dataset(Y)
    training = train(config, data)
    model = Model.of(training, data)
    loaded = Sequential.load(save_model(model, tmp_path / "model.json"))
    assert loaded.predict(X).tobytes() == model.predict_proba(X).tobytes()
    assert loaded.summary_frame()["parameters"].sum() == len(training.network.theta)
    loaded.compile(loss="categorical_crossentropy", optimizer=config.optimizer)
    loaded.fit(X, Y, **FIT)
    assert loaded.model.theta.tobytes() == training.kept_theta.tobytes()


def test_summary_works_before_fit() -> None:
    model = Sequential([Dense(16, "relu", input_dim=784, bias=False), Dense(10)])
    frame = model.summary_frame()
    assert frame["parameters"].tolist() == [784 * 16, 16 * 10 + 10]
    assert frame["activation"].tolist() == ["relu", "identity"]
    assert model.summary().splitlines()[-1].split()[1] == "12,714"


def test_visualize_draws_loss_and_metrics() -> None:
    model = stack(metrics=["cross-entropy"])
    model.fit(X, Y, **FIT)
    titles = [axes.get_title(loc="left") for axes in model.visualize().axes]
    assert titles == ["loss", "accuracy", "log loss", "learning rate"]


def test_report_is_called_every_so_many_epochs_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    epochs: list[int] = []
    model = stack()
    model.fit(X, Y, epochs=10, report_every=4, report=lines.append, on_epoch=lambda epoch: epochs.append(epoch.epoch))
    assert [line[:11] for line in lines] == ["epoch  4/10", "epoch  8/10", "epoch 10/10"]
    assert [part.split()[0] for part in lines[2].split("  ")[1:]] == ["train/loss", "train/accuracy"]
    assert epochs == list(range(1, 11))
    assert capsys.readouterr().out == ""
    model.fit(X, Y, epochs=1, report=print)
    assert capsys.readouterr().out.startswith("epoch 1/1  train/loss ")


def test_reports_are_logged_by_default(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mlp.sequential"):
        stack().fit(X, Y, epochs=2)
    assert len(caplog.messages) == 2
    assert caplog.messages[1].startswith("epoch 2/2")


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
    assert f"train/{ours}" in history


def test_accuracy_and_squared_error_of_labels_are_label_accuracy_and_brier() -> None:
    model = stack(
        loss="binary_crossentropy", output="sigmoid", units=2, metrics=["accuracy", "mse", "mean_squared_error"]
    )
    model.fit(X, LABELS, epochs=2)
    scores, predicted = model.evaluate(X, LABELS), model.predict(X)
    assert list(scores) == ["loss", "label_accuracy", "brier"]
    assert scores["label_accuracy"] == pytest.approx(np.mean((predicted > 0.5) == LABELS))
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
        lambda: stack(early_stopping=EarlyStopping()).fit(X, Y),
        '"validation/loss" is watched. Give validation_split or validation_data.',
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
    "report every 0 epochs": (
        lambda: stack().fit(X, Y, report_every=0),
        '"report_every": must be a whole number, at least 1',
    ),
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
        '"validation_data": must be a pair of inputs and targets',
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
