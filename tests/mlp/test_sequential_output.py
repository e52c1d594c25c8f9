"""What a `Sequential` saves, draws and prints, and how callbacks follow its training."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlp import (
    Model,
    TrainConfig,
    Training,
    save_model,
)
from mlp.activations import LeakyRelu
from mlp.sequential import Callback, Dense, EarlyStopping, Sequential
from mlp.training import train
from tests.mlp.sequential_data import (
    FIT,
    ONE_HOT,
    VALUES,
    X_TEST,
    Y_TEST,
    X,
    Y,
    config_of,
    dataset,
    last_rows,
    stack,
)


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
