"""`Sequential` gives the same bits as the configuration it describes, and explains invalid input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp import (
    Examples,
    Split,
    Training,
)
from mlp.optimizers import Sgd
from mlp.scaling import Scaling
from mlp.sequential import Dense, Sequential
from mlp.training import train
from tests.mlp.sequential_data import (
    BLOBS,
    FIT,
    LABELS,
    ONE_HOT,
    VALUES,
    X_TEST,
    Y_TEST,
    X,
    Y,
    config_of,
    last_rows,
    stack,
)


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
