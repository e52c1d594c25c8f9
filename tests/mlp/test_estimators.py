"""The estimators give the same bits as the training behind them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlp import (
    ConfigError,
    DivergedError,
    EarlyStopping,
    Examples,
    Split,
    TrainConfig,
    Training,
    train,
)
from mlp.activations import LeakyRelu, Relu
from mlp.estimators import MLPClassifier, MLPRegressor
from mlp.initializers import GlorotUniform
from mlp.losses import SoftmaxCrossEntropy
from mlp.normalizations import BatchNormalization
from mlp.optimizers import Adam
from mlp.schedules import Cosine
from mlp.splits import Population, split_rows
from tests.mlp.estimator_data import ESTIMATORS, SMALL, clouds, digest


@pytest.mark.slow
@parametrize_with_checks([MLPClassifier(), MLPRegressor()])  # type: ignore[untyped-decorator]
def test_every_check_of_scikit_learn_passes(estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it, scikit-learn skips one of them
    check(estimator)


def test_fit_trains_the_configuration_that_the_parameters_describe() -> None:
    x, y = clouds()
    parts = {"activation": "tanh", "initializer": "glorot_normal", "normalization": "batch", "schedule": "cosine"}
    classifier = MLPClassifier(
        **SMALL,
        **parts,
        dropout=0.1,
        optimizer="sgd",
        learning_rate=0.1,
        l2=0.01,
        validation=20,
        class_weights=[1, 2, 3],
    ).fit(x, y)
    config = TrainConfig.from_mapping(
        {
            "data": {"name": "X", "scale": "none", "validation": 20, "stratify": True},
            "seed": 3,
            "epochs": 4,
            "batch_size": 16,
            "network": {
                "hidden": [6],
                "activation": "tanh",
                "initializer": "glorot_normal",
                "normalization": "batch",
                "dropout": 0.1,
            },
            "optimizer": {"name": "sgd", "learning_rate": 0.1, "l2": 0.01},
            "schedule": "cosine",
            "dtype": "float64",
            "class_weights": [1.0, 2.0, 3.0],
        }
    )
    rows, held_out = split_rows(config.data, 3, Population(len(y), y))
    training = train(config, Split(Examples(x, y, rows), Examples(x, y, held_out), 3))
    assert classifier.model_.manifest.config == config
    assert digest(classifier) == training.weight_digest()
    assert classifier.history_ == training.history
    assert classifier.loss_curve_ == training.history["train/loss"]
    assert classifier.n_iter_ == 4
    assert_array_equal(classifier.network_.theta, training.network.theta)


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        ("hidden", [[8, 8], (8, 8), np.array([8, 8]), {"depth": 2, "width": 8}]),
        ("activation", [{"name": "leaky_relu", "slope": 0.2}, LeakyRelu(slope=0.2), [LeakyRelu(np.float64(0.2))]]),
        ("activation", ["relu", Relu(), ["relu"], [Relu()]]),
        ("initializer", ["glorot_uniform", GlorotUniform(), {"name": "glorot_uniform"}]),
        ("normalization", ["batch", BatchNormalization()]),
        ("loss", [None, "softmax_cross_entropy", SoftmaxCrossEntropy()]),
        ("optimizer", ["adam", Adam(), {"name": "adam", "learning_rate": 1e-3}]),
        ("schedule", ["cosine", Cosine()]),
        ("batch_size", [90, "full", 1000]),
        ("epochs", [3, np.int64(3)]),
        ("early_stopping", [True, {}, {"patience": 5}, EarlyStopping()]),
        ("early_stopping", [False, None]),
        ("class_weights", [[1.0, 1.0, 2.0], np.array([1, 1, 2]), {2: 2.0}, {np.int64(2): 2, 0: 1}]),
        ("random_state", [5, np.int64(5)]),
    ],
)
def test_a_parameter_can_be_written_in_several_ways(name: str, spellings: list[Any]) -> None:
    x, y = clouds()
    fitted = [MLPClassifier(**(SMALL | {name: spelling})).fit(x, y) for spelling in spellings]
    assert {digest(estimator) for estimator in fitted} == {digest(fitted[0])}
    for estimator, spelling in zip(fitted, spellings, strict=True):
        assert getattr(estimator, name) is spelling
        assert digest(clone(estimator).fit(x, y)) == digest(estimator)


@pytest.mark.parametrize(
    "optimizer", ["sgd", {"name": "sgd", "learning_rate": 7.0, "momentum": 0.5}, Adam(0.2, l2=0.3)]
)
def test_learning_rate_and_weight_decay_override_those_of_the_optimizer(optimizer: Any) -> None:
    x, y = clouds()
    own, beside = (
        MLPClassifier(**SMALL, optimizer=optimizer, **rates).fit(x, y).model_.manifest.config.optimizer
        for rates in ({}, {"learning_rate": 0.01, "weight_decay": 0.02})
    )
    assert (beside.learning_rate, beside.weight_decay) == (0.01, 0.02)
    assert (type(beside), beside.l2) == (type(own), own.l2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": [0]}, r'"hidden": must be at least 1'),
        ({"activation": "rellu"}, r'"activation": there is no activation called "rellu". Did you mean "relu"\?'),
        ({"dropout": 1.0}, r'"dropout": must be at least 0 and below 1'),
        ({"optimizer": {"name": "sgd", "momentun": 0.9}}, r'"optimizer.momentun": .* Did you mean "momentum"\?'),
        ({"learning_rate": -1.0}, r'"optimizer.learning_rate": must be above 0'),
        ({"batch_size": "all"}, r'"batch_size": must be a whole number or "full"'),
        ({"epochs": 0}, r'"epochs": must be at least 1'),
        ({"validation": 1000}, r'"validation": must leave at least one of 90 training examples'),
        ({"early_stopping": True, "validation": 0}, r'"early_stopping": needs "validation/loss"'),
        ({"random_state": -1}, r'"random_state": must be at least 0'),
        ({"class_weights": [1.0]}, r'"class_weights": must have one number for each of the 3 classes'),
        ({"class_weights": {7: 1.0}}, r'"class_weights": 7 is not one of the classes: 0, 1, 2'),
    ],
)
def test_fit_refuses_an_invalid_parameter_by_its_name(change: dict[str, Any], message: str) -> None:
    estimator = MLPClassifier(**(SMALL | change))
    with pytest.raises(ConfigError, match=message):
        estimator.fit(*clouds())


def test_examples_are_held_out_only_if_something_needs_a_validation_part() -> None:
    x, y = clouds()
    plain = MLPClassifier(**SMALL).fit(x, y)
    assert set(plain.history_) == {"train/loss", "train/accuracy"}
    plateau = {"name": "reduce_on_plateau", "metric": "validation/loss"}
    for watching in ({"early_stopping": True}, {"schedule": plateau}, {"validation": 0.2}):
        assert "validation/loss" in MLPClassifier(**SMALL, **watching).fit(x, y).history_


def test_early_stopping_keeps_the_best_epoch() -> None:
    x, y = clouds(60)
    settings = SMALL | {"epochs": 300, "learning_rate": 0.1, "early_stopping": {"patience": 3}, "validation": 0.3}
    classifier = MLPClassifier(**settings).fit(x, y)
    losses = classifier.history_["validation/loss"]
    best = int(np.argmin(losses)) + 1
    assert classifier.n_iter_ == len(losses) == best + 3 < 300
    assert classifier.model_.manifest.epochs == best
    assert digest(MLPClassifier(**(settings | {"epochs": best})).fit(x, y)) == digest(classifier)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_arithmetic_has_the_type_of_the_inputs(estimator: Any) -> None:
    x, y = clouds()
    for given, wanted in (("float32", "float32"), ("float64", "float64"), ("int16", "float64"), ("float16", "float64")):
        fitted = estimator(**SMALL).fit(x.astype(given), y)
        outputs = getattr(fitted, "predict_proba", fitted.predict)(x)
        assert (fitted.network_.dtype, outputs.dtype) == (wanted, wanted)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_rows_of_weight_zero_are_left_out(estimator: Any) -> None:
    x, y = clouds()
    counts = np.arange(90) % 3 > 0
    weights = np.where(counts, 0.5 + np.arange(90), 0.0)
    with_them = estimator(**SMALL, early_stopping=True).fit(x, np.where(counts, y, 9), weights)
    without = estimator(**SMALL, early_stopping=True).fit(x[counts], y[counts], weights[counts])
    assert digest(with_them) == digest(without)
    assert 9 not in getattr(with_them, "classes_", ())


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_integer_weight_equals_repeated_rows_in_full_batches(estimator: Any) -> None:
    x, y = clouds()
    weights = 1 + np.arange(90) % 3
    settings = SMALL | {"batch_size": "full", "epochs": 30}
    weighted = estimator(**settings).fit(x, y, weights)
    repeated = estimator(**settings).fit(x.repeat(weights, axis=0), y.repeat(weights))
    assert_allclose(weighted.predict(x), repeated.predict(x), rtol=1e-9)
    assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-9)


def test_class_weights_equal_weights_of_the_examples() -> None:
    x, y = clouds()
    y[:40] = 0
    names = np.array(["ant", "bee", "cat"])[y]
    by_class = {"bee": 2.0, "cat": 0.5}
    own = 1.0 + np.arange(90) % 2
    by_name = MLPClassifier(**SMALL, class_weights=by_class).fit(x, names, own)
    by_row = MLPClassifier(**SMALL).fit(x, names, own * [by_class.get(name, 1.0) for name in names])
    assert digest(by_name) == digest(by_row)
    balanced = MLPClassifier(**SMALL, class_weights="balanced").fit(x, names)
    inverse = MLPClassifier(**SMALL).fit(x, names, 1.0 / np.bincount(y)[y])
    assert_allclose(balanced.predict_proba(x), inverse.predict_proba(x), rtol=1e-9)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_partial_fit_gives_the_same_bits_as_fit_even_when_pickled_between_epochs(estimator: Any, schedule: str) -> None:
    x, y = clouds()
    first = {"classes": [0, 1, 2]} if estimator is MLPClassifier else {}
    at_once = estimator(**SMALL, schedule=schedule).fit(x, y)
    stepwise = estimator(**SMALL, schedule=schedule).partial_fit(x, y, **first)
    for _ in range(3):
        stepwise = pickle.loads(pickle.dumps(stepwise)).partial_fit(x, y)
    assert digest(stepwise) == digest(at_once)
    assert stepwise.history_ == at_once.history_
    assert stepwise.partial_fit(x, y).n_iter_ == at_once.partial_fit(x, y).n_iter_ == 5
    assert digest(stepwise) == digest(at_once)


def test_partial_fit_continues_past_epochs_with_any_number_of_examples() -> None:
    x, y = clouds(400)
    classifier = MLPClassifier([16], batch_size=10, epochs=2, schedule="polynomial", learning_rate=0.02, random_state=0)
    accuracy = [
        classifier.partial_fit(x[start:stop], y[start:stop], classes=[0, 1, 2]).score(x, y)
        for start, stop in ((0, 40), (40, 41), (41, 200), (200, 400))
    ]
    assert accuracy[-1] > max(0.85, accuracy[0])
    assert classifier.n_iter_ == 4


def test_partial_fit_continues_from_the_best_epoch_of_early_stopping() -> None:
    x, y = clouds()
    classifier = MLPClassifier(**SMALL, early_stopping=True).fit(x, y)
    best = classifier.network_.theta
    classifier.set_params(early_stopping=False, learning_rate=1e-9).partial_fit(x, y).partial_fit(x, y)
    assert_allclose(classifier.network_.theta, best, atol=1e-6)
    assert classifier.n_iter_ == 6
    assert {key: len(values) for key, values in classifier.history_.items()} == {"train/loss": 2, "train/accuracy": 2}
    assert len(classifier.set_params(validation=0.2).partial_fit(x, y).history_["validation/loss"]) == 1


def test_partial_fit_counts_the_steps_of_all_calls() -> None:
    x, y = clouds(50)
    config = MLPRegressor(**SMALL).fit(x, y).model_.manifest.config
    data = Split(Examples(x, y[:, None] * 1.0, np.arange(50)), None, 1, "values")
    training = Training(config, data)
    training.run_epoch()
    assert training.steps == Training.resume(training.state(), data).steps == 4
    # Adam corrects its running means by the number of steps, so a constant gradient moves a parameter by the rate.
    one = np.ones((1, 1))
    regressor = MLPRegressor([], batch_size=1, learning_rate=0.1, random_state=0, loss="mean_absolute_error")
    regressor.partial_fit(one.repeat(7, axis=0), np.full(7, 1e6))
    before = regressor.predict(one)[0]
    after = regressor.partial_fit(one, [1e6]).predict(one)[0]
    assert after - before == pytest.approx(0.2 * 1e6, rel=1e-6)  # equal targets are scaled by their size


def test_partial_fit_explains_what_it_does_not_support() -> None:
    x, y = clouds()
    with pytest.raises(ValueError, match=r"classes must be given in the first call"):
        MLPClassifier(**SMALL).partial_fit(x, y)
    with pytest.raises(ValueError, match=r"classes must be the same as in the first call, \[0 1 2\], got \[0, 1\]"):
        MLPClassifier(**SMALL).fit(x, y).partial_fit(x, y, classes=[0, 1])
    with pytest.raises(ValueError, match="previously unseen"):
        MLPClassifier(**SMALL).partial_fit(x, y, classes=[0, 1])
    with pytest.raises(ConfigError, match='"early_stopping": cannot be used with partial_fit'):
        MLPRegressor(**SMALL, early_stopping=True).partial_fit(x, y)
    with pytest.raises(ConfigError, match=r"targets must have shape \(90, 1\)"):
        MLPRegressor(**SMALL).fit(x, y).partial_fit(x, np.stack([y, y], axis=1))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_divergence_is_an_error_and_leaves_the_fitted_state_unchanged(estimator: Any) -> None:
    x, y = clouds()
    fitted = estimator(**SMALL).fit(x, y)
    before = digest(fitted)
    fitted.set_params(learning_rate=1e300)
    with pytest.raises(DivergedError, match=r"diverged in epoch \d, so no weights were kept\. Try a value below"):
        fitted.fit(x, y)
    with pytest.raises(DivergedError, match="the training diverged in epoch"):
        fitted.partial_fit(x, y)
    assert digest(fitted) == before
