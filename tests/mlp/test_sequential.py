"""`Sequential` gives the same bits as the configuration it describes, and explains invalid input."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlp import (
    ConfigError,
    Dataset,
    Examples,
    Model,
    Split,
    TrainConfig,
    Training,
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
from mlp.sequential import Callback, Dense, EarlyStopping, Sequential
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
    model.compile(loss=loss, **({"optimizer": "adam", "learning_rate": 0.01} | compiled))
    return model


def config_of(changes: dict[str, Any] | None = None) -> TrainConfig:
    """Return the configuration that is equivalent to a small stack."""
    return TrainConfig.from_mapping(
        {
            "data": {"name": "arrays", "scale": "none", "target_scale": "none", "validation": 18},
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


def last_rows(targets: Any, x: Any = X) -> Split:
    """Return the split of `FIT`: the last 18 of 90 examples are the validation part."""
    data, rows = dataset(targets, x), np.arange(90)
    train, validation = Examples(x, targets, rows[:72]), Examples(x, targets, rows[72:])
    return Split(train, validation, len(data.classes), data.task, data.classes)


FIT: dict[str, Any] = {"epochs": 4, "batch_size": 16, "validation_split": 0.2, "verbose": 0}


def test_the_keras_style_workflow_takes_eight_lines(tmp_path: Path) -> None:
    model = Sequential()
    model.add(Dense(8, activation="sigmoid", input_dim=6))
    model.add(Dense(3, activation="softmax"))
    model.compile(loss="categorical_crossentropy", optimizer="adam", learning_rate=0.05, metrics=["accuracy"])
    summary = model.summary()
    history = model.fit(X, Y, epochs=40, validation_split=0.1, verbose=0)
    loss, accuracy = model.evaluate(X_TEST, Y_TEST, verbose=0)
    model.save(tmp_path / "digits.json")
    assert [line.split()[:4] for line in summary.splitlines()[2:4]] == [
        ["1", "6", "8", "sigmoid"],
        ["2", "8", "3", "softmax"],
    ]
    assert list(history.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history.epoch == list(range(40))
    assert history["validation/loss"] == history.history["val_loss"]
    assert model.history is history
    assert loss < history.history["val_loss"][0]
    assert accuracy > 0.9


@pytest.mark.parametrize("targets", [Y, Y[:, None], Y.astype(float), Y.tolist(), ONE_HOT, ONE_HOT.astype(int)])
def test_fit_gives_the_same_bits_as_the_equivalent_configuration(targets: Any) -> None:
    model = stack(metrics=["acc"])
    history = model.fit(X, targets, **FIT)
    training = train(config_of({"loss": "softmax_cross_entropy"}), last_rows(Y))
    assert model.model.theta.tobytes() == training.kept_theta.tobytes()
    assert list(history.history) == ["loss", "acc", "val_loss", "val_acc"]
    assert list(history.history.values()) == list(training.history.values())
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
    training = train(config_of({"loss": own_loss}), last_rows(ours.astype(np.float32) if ours.dtype == float else ours))
    assert model.model.theta.tobytes() == training.kept_theta.tobytes()
    assert model.model.manifest.task == training.data.task


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "linear"])
@pytest.mark.parametrize("targets", [Y, ONE_HOT])
def test_squared_error_of_classes_compares_with_one_hot_targets(output: str, targets: Any) -> None:
    model = stack(loss="mse", output=output, metrics=["accuracy", "mse"])
    model.fit(X, targets, **FIT)
    scores = model.evaluate(X_TEST, Y_TEST, return_dict=True)
    wanted = np.mean((model.predict(X_TEST) - np.eye(3)[Y_TEST]) ** 2)
    assert scores["loss"] == pytest.approx(wanted, rel=1e-5)
    assert scores["accuracy"] == np.mean(model.predict(X_TEST).argmax(axis=1) == Y_TEST)
    if output == "softmax":
        assert scores["brier"] == pytest.approx(3 * wanted, rel=1e-5)


@pytest.mark.parametrize("targets", [Y > 0, (Y > 0)[:, None], (Y > 0).astype(float), np.eye(2)[(Y > 0).astype(int)]])
def test_a_single_sigmoid_unit_distinguishes_two_classes(targets: Any) -> None:
    model = stack(loss="binary_crossentropy", output="sigmoid", units=1, learning_rate=0.1, metrics=["accuracy"])
    model.fit(X, targets, epochs=30, verbose=0)
    assert model.model.manifest.task == "classes"
    accuracy = model.evaluate(X_TEST, Y_TEST > 0)[1]
    predicted = model.predict(X_TEST)
    assert predicted.shape == (20, 1)
    assert ((predicted > 0) & (predicted < 1)).all()
    assert accuracy == np.mean((predicted[:, 0] > 0.5) == (Y_TEST > 0))
    assert accuracy > 0.9


def test_a_single_value_per_example_can_be_a_flat_array() -> None:
    flat, column = stack(loss="mse", output="linear", units=1), stack(loss="mse", output="linear", units=1)
    flat.fit(X, VALUES[:, 0], **FIT)
    column.fit(X, VALUES[:, :1], **FIT)
    assert flat.model.theta.tobytes() == column.model.theta.tobytes()
    assert flat.evaluate(X, VALUES[:, 0]) == column.evaluate(X, VALUES[:, :1])
    assert flat.predict(X).shape == (90, 1)


def test_predictions_are_the_activations_of_the_last_layer() -> None:
    model = stack()
    model.fit(X, Y, **FIT)
    predicted = model.predict(X_TEST.tolist())
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted.sum(axis=1), 1.0, rtol=1e-6)
    assert predicted.argmax(axis=1).tolist() == model.model.predict(X_TEST).tolist()
    assert model.predict(X_TEST[:0]).shape == (0, 3)


def test_two_fits_are_one_long_fit() -> None:
    once, twice = stack(metrics=["accuracy"]), stack(metrics=["accuracy"])
    whole = once.fit(X, Y, **FIT | {"epochs": 7})
    first = twice.fit(X, Y, **FIT | {"epochs": 3})
    second = twice.fit(X, Y, **FIT | {"epochs": 4})
    assert twice.model.theta.tobytes() == once.model.theta.tobytes()
    for name, values in whole.history.items():
        assert first.history[name] + second.history[name] == values
    assert (first.epoch, second.epoch) == ([0, 1, 2], [0, 1, 2, 3])
    assert twice.history is second
    assert [len(axes.lines[0].get_xdata()) for axes in twice.visualize().axes] == [7, 7, 7]
    other = stack(seed=4)
    other.fit(X, Y, **FIT | {"epochs": 7})
    assert other.model.theta.tobytes() != once.model.theta.tobytes()


def test_a_further_fit_may_have_other_data_batches_and_validation() -> None:
    model = stack()
    model.fit(X, Y, epochs=3, batch_size=8, verbose=0)
    first = Training(model.model.manifest.config, Split(Examples(X, Y, np.arange(90)), None, 3))
    first.run()
    history = model.fit(X[:40], Y[:40], epochs=2, batch_size=40, validation_data=(X_TEST, Y_TEST), verbose=0)
    assert {len(values) for values in history.history.values()} == {2}
    manifest = model.model.manifest
    assert (manifest.epochs, manifest.config.epochs, manifest.config.batch_size) == (5, 5, 40)
    validation = Examples(X_TEST, Y_TEST, np.arange(20))
    second = Training(manifest.config, Split(Examples(X[:40], Y[:40], np.arange(40)), validation, 3))
    np.copyto(second.network.theta, first.network.theta)
    np.copyto(second.slots, first.slots)
    second.epoch, second.steps = first.epoch, first.steps
    second.run()
    assert model.model.theta.tobytes() == second.network.theta.tobytes()
    assert history.history["val_loss"] == second.history["validation/loss"]
    assert model.model.metrics["validation/loss"] == history.history["val_loss"][-1]


def test_compile_keeps_the_weights_and_starts_the_optimizer_afresh() -> None:
    model = stack()
    model.fit(X, Y, **FIT)
    weights = model.model.theta
    model.compile("sgd", "categorical_crossentropy", learning_rate=1e-12)
    assert model.predict(X).shape == (90, 3)
    model.fit(X, Y, **FIT)
    np.testing.assert_allclose(model.model.theta, weights, atol=1e-6)
    assert model.model.manifest.config.optimizer == Sgd(1e-12)


def test_inputs_of_a_further_fit_are_scaled_as_in_the_first() -> None:
    model = Sequential([Dense(3, "softmax", input_dim=6)], scale="standard")
    model.compile("adam", "categorical_crossentropy")
    model.fit(X, Y, verbose=0)
    encoding = model.model.manifest.encoding
    model.fit(X[:30] * 9, Y[:30], verbose=0)
    assert model.model.manifest.encoding == encoding


def test_validation_data_is_evaluated_but_not_trained_on() -> None:
    model = stack(learning_rate=0.05)
    model.fit(X, Y, epochs=4, batch_size=16, validation_data=(X_TEST, np.eye(3)[Y_TEST]), verbose=0)
    split = Split(Examples(X, Y, np.arange(90)), Examples(X_TEST, Y_TEST, np.arange(20)), 3)
    training = train(config_of({"optimizer": {"name": "adam", "learning_rate": 0.05}}), split)
    assert model.model.theta.tobytes() == training.kept_theta.tobytes()
    assert model.history is not None
    assert model.history["validation/loss"] == training.history["validation/loss"]
    assert model.evaluate(X_TEST, Y_TEST) == training.history["validation/loss"][-1]


@pytest.mark.parametrize(("share", "n"), [(0.1, 9), (0.2, 18), (0.25, 23), (0.01, 1)])
def test_the_validation_split_is_the_last_rows_as_in_keras(share: float, n: int) -> None:
    given, split = stack(), stack()
    given.fit(X[:-n], Y[:-n], epochs=3, validation_data=(X[-n:], Y[-n:]), verbose=0)
    split.fit(X, Y, epochs=3, validation_split=share, verbose=0)
    assert split.model.theta.tobytes() == given.model.theta.tobytes()
    assert split.history is not None
    assert given.history is not None
    assert split.history.history == given.history.history


def test_weights_of_classes_are_weights_of_their_examples() -> None:
    by_class, by_example = stack(metrics=["accuracy"]), stack(metrics=["accuracy"])
    weights = np.where(Y == 1, 5.0, np.where(Y == 2, 0.5, 1.0))
    first = by_class.fit(X, ONE_HOT, epochs=3, class_weight={1: 5, np.int64(2): 0.5}, verbose=0)
    second = by_example.fit(X, Y, epochs=3, sample_weight=weights, verbose=0)
    assert by_class.model.theta.tobytes() == by_example.model.theta.tobytes()
    assert first.history == second.history
    assert by_class.model.manifest.config.class_weights == (1.0, 5.0, 0.5)
    plain = stack()
    plain.fit(X, Y, epochs=3, verbose=0)
    assert plain.model.theta.tobytes() != by_class.model.theta.tobytes()


def test_sample_weights_of_validation_and_evaluation_weigh_the_loss_only() -> None:
    model, weights = stack(metrics=["accuracy"]), np.arange(20.0)
    history = model.fit(X, Y, epochs=2, validation_data=(X_TEST, Y_TEST, weights), verbose=0)
    probabilities = model.predict(X_TEST)[np.arange(20), Y_TEST]
    loss, accuracy = model.evaluate(X_TEST, Y_TEST, sample_weight=weights)
    assert loss == pytest.approx(np.average(-np.log(probabilities), weights=weights), rel=1e-5)
    assert [values[-1] for values in history.history.values()][2:] == [loss, accuracy]
    assert accuracy == model.evaluate(X_TEST, Y_TEST)[1]


def test_without_validation_the_history_has_training_metrics_only() -> None:
    assert list(stack().fit(X, Y, verbose=0).history) == ["loss"]
    assert list(stack(metrics=["accuracy"]).fit(X, Y, verbose=0).history) == ["loss", "accuracy"]


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
    changes["loss"] = "softmax_cross_entropy"
    training = train(config_of(changes), last_rows(Y))
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
    scores = loaded.evaluate(X, y, return_dict=True)
    assert scores["loss"] == model.evaluate(X, y)
    assert len(scores) == 2
    assert loaded.summary() == model.summary()
    assert loaded.layers == model.layers
    loaded.save(tmp_path / "again.json")
    for each in (model, loaded):
        each.compile(loss=loss, learning_rate=0.01)
        each.fit(X, y, epochs=3)
    assert loaded.model.theta.tobytes() == model.model.theta.tobytes()


def test_a_model_with_every_kind_of_parameters_is_loaded_as_a_stack_that_continues_from_it(
    tmp_path: Path,
) -> None:
    network = {"hidden": [5], "input_scale": True, "parametric_activation": True, "normalization": "layer"}
    config, split = config_of({"network": network, "optimizer": "sgd"}), last_rows(Y)
    training = train(config, split)
    model = Model.of(training, dataset(Y))
    loaded = Sequential.load(save_model(model, tmp_path / "model.json"))
    assert loaded.predict(X).tobytes() == model.predict_proba(X).tobytes()
    assert loaded.summary_frame()["parameters"].sum() == len(training.network.theta)
    loaded.compile(loss="categorical_crossentropy", optimizer=config.optimizer)
    loaded.fit(X, Y, **FIT)
    again = Training(config, split)
    np.copyto(again.network.theta, training.kept_theta)
    again.run()
    assert loaded.model.theta.tobytes() == again.kept_theta.tobytes()


def test_a_loaded_model_of_scaled_values_predicts_and_continues_in_their_units(tmp_path: Path) -> None:
    config = TrainConfig.from_mapping(
        {"epochs": 30, "loss": "mean_squared_error", "optimizer": {"name": "adam", "learning_rate": 0.03}}
    )
    data = dataset((VALUES * 1000 + 5000).astype(np.float32))
    model = Model.of(train(config, data), data)
    assert model.manifest.target_scaling
    loaded = Sequential.load(save_model(model, tmp_path / "model.json"))
    assert loaded.predict(X).tobytes() == model.predict(X).tobytes()
    before = loaded.evaluate(X, data.targets, return_dict=True)["r2"]
    loaded.compile("adam", "mse", metrics=["r2"])
    loaded.fit(X, data.targets, epochs=20)
    assert loaded.evaluate(X, data.targets)[1] > before > 0


def test_summary_works_before_fit() -> None:
    model = Sequential([Dense(16, "relu", input_dim=784, bias=False), Dense(10)])
    frame = model.summary_frame()
    assert frame["parameters"].tolist() == [784 * 16, 16 * 10 + 10]
    assert frame["activation"].tolist() == ["relu", "identity"]
    assert model.summary().splitlines()[-1].split()[1] == "12,714"


def test_visualize_draws_loss_and_metrics() -> None:
    model = stack(metrics=["cross-entropy"], optimizer="adam")
    model.fit(X, Y, **FIT)
    titles = [axes.get_title(loc="left") for axes in model.visualize().axes]
    assert titles == ["loss", "accuracy", "log loss", "learning rate"]


def test_verbose_prints_a_line_per_epoch_or_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    model = stack(metrics=["accuracy"])
    model.fit(X, Y, epochs=2, verbose=0)
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=1)
    assert capsys.readouterr().out == ""
    for verbose in ("auto", 1, 2):
        model.fit(X, Y, epochs=2, validation_split=0.2, verbose=verbose)
        lines = capsys.readouterr().out.splitlines()
        assert [line[:9] for line in lines] == ["Epoch 1/2", "Epoch 2/2"]
        names = [part.split(":")[0] for part in lines[1].split(" - ")[2:]]
        assert names == ["loss", "accuracy", "val_loss", "val_accuracy"]
    model.evaluate(X, Y)
    assert capsys.readouterr().out.startswith("loss: ")


def test_in_a_terminal_one_line_is_redrawn_with_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    stack().fit(X, Y, epochs=4)
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert [part.split(" - ")[0].count("━") for part in text.split("\r")[1:]] == [5, 10, 15, 20]


class Recorder(Callback):
    """Notes its calls, and stops after an epoch."""

    def __init__(self, stop_after: int = 99) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.stop_after = stop_after

    def on_train_begin(self, logs: Any = None) -> None:
        self.calls.append(("train begin", self.params["epochs"], self.params["steps"]))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.calls.append(("begin", epoch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.calls.append(("end", epoch, list(logs)))
        self.model.stop_training = epoch == self.stop_after

    def on_train_end(self, logs: Any = None) -> None:
        self.calls.append(("train end",))


def test_callbacks_are_called_around_every_epoch_and_may_stop_the_fit() -> None:
    for epochs, stop_after in ((2, 99), (9, 1)):
        callback, model = Recorder(stop_after), stack()
        for _ in range(2):  # epochs are counted from 0 in each fit
            callback.calls.clear()
            history = model.fit(X, Y, epochs=epochs, callbacks=callback, verbose=0)
            calls = [("begin", 0), ("end", 0, ["loss"]), ("begin", 1), ("end", 1, ["loss"])]
            assert callback.calls == [("train begin", epochs, 3), *calls, ("train end",)]
            assert history.epoch == [0, 1]


def watch(values: list[float], **options: Any) -> tuple[int, int | None]:
    """Return after how many epochs early stopping ends a fit with these values of val_loss, and what it puts back."""
    callback, restored = EarlyStopping(**options), []
    name = options.get("monitor", "val_loss")
    keys = {"val_loss": "validation/loss", "val_accuracy": "validation/accuracy"}
    fit = SimpleNamespace(
        stop_training=False,
        theta=np.zeros(1),
        metric_keys=keys,
        restore_weights=lambda theta, epoch: restored.append((theta.item(), epoch)),
    )
    callback.model, n = fit, 0
    callback.on_train_begin()
    for n, value in enumerate(values, start=1):
        fit.theta[0] = n
        callback.on_epoch_end(n - 1, {name: value})
        if fit.stop_training:
            break
    callback.on_train_end({})
    assert all(theta == epoch + 1 for theta, epoch in restored)
    return n, restored[0][1] if restored else None


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([3, 2, 2.5, 2.4, 1], {"patience": 2}, (4, None)),
        ([3, 2, 2.5, 2.4, 1], {"patience": 2, "restore_best_weights": True}, (4, 1)),
        ([3, 2, 2.5, 1], {"patience": 2, "restore_best_weights": True}, (4, 3)),
        ([3, 2, 1], {}, (3, None)),
        ([3, 3, 2], {}, (2, None)),
        ([3, 2.95, 2.9, 2.8], {"min_delta": 0.1, "patience": 2}, (3, None)),
        ([0.1, 0.2, 0.15, 0.1], {"monitor": "val_accuracy", "patience": 1}, (3, None)),
        ([0.1, 0.2, 0.3], {"mode": "max"}, (3, None)),
        ([0.3, 0.2, 0.1], {"mode": "max"}, (2, None)),
        ([5, 4, 3, 2], {"baseline": 1.0, "patience": 3, "restore_best_weights": True}, (4, 3)),
        ([5, 6, 7, 3, 3.5, 9], {"start_from_epoch": 2, "patience": 1}, (5, None)),
        ([math.nan, 2, math.nan, 3], {"patience": 2, "restore_best_weights": True}, (4, 1)),
    ],
)
def test_early_stopping_follows_the_rules_of_keras(
    values: list[float], options: dict[str, Any], expected: tuple[int, int | None]
) -> None:
    assert watch(values, **options) == expected


def test_early_stopping_puts_the_best_weights_back_and_the_model_has_their_metrics(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stopping = EarlyStopping(patience=2, restore_best_weights=True, verbose=1)
    model, noise = stack(learning_rate=0.1, metrics=["accuracy"]), np.random.default_rng(0).permutation(Y)
    for _ in range(2):  # a callback can be used again
        history = model.fit(X, noise, epochs=60, validation_data=(X_TEST, Y_TEST), callbacks=[stopping], verbose=0)
        losses = history.history["val_loss"]
        best = int(np.argmin(losses))
        assert len(losses) == best + 3 < 60
        assert model.evaluate(X_TEST, Y_TEST, verbose=0)[0] == losses[best]
        assert model.model.metrics["validation/loss"] == losses[best]
        printed = capsys.readouterr().out
        assert printed.startswith(f"Epoch {best + 3}: early stopping\nThe weights of epoch {best + 1}, the best one")
    first, *_ = model.visualize().axes
    assert first.lines[-1].get_xdata()[0] == model.model.manifest.epochs


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
