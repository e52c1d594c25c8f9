"""The estimators follow the conventions of scikit-learn, and are as accurate as its own."""

from __future__ import annotations

import doctest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import neural_network
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mlp.estimators
from mlp.activations import Tanh
from mlp.estimators import MLPClassifier, MLPRegressor
from mlp.model_io import load_model, save_model
from tests.mlp.estimator_data import ESTIMATORS, SMALL, clouds, digest


def test_the_random_state_determines_the_result() -> None:
    x, y = clouds()

    def fit(state: Any) -> str:
        return digest(MLPClassifier(**(SMALL | {"random_state": state})).fit(x, y))

    assert fit(1) == fit(1) != fit(2)
    assert fit(np.random.RandomState(1)) == fit(np.random.RandomState(1)) != fit(np.random.RandomState(2))
    assert fit(None) != fit(None)


def test_each_label_is_predicted_separately() -> None:
    x, y = clouds(200)
    table = np.stack([y == 0, y != 1, x[:, 0] > 0], axis=1).astype(int)
    classifier = MLPClassifier([16], learning_rate=0.02, epochs=100, random_state=0).fit(x, table)
    predicted = classifier.predict(x)
    assert classifier.score(x, table) > 0.85
    assert_array_equal(classifier.classes_, [0, 1, 2])
    assert_array_equal(predicted, classifier.predict_proba(x) > 0.5)
    assert_array_equal(predicted, classifier.decision_function(x) > 0)
    again = MLPClassifier(**SMALL).partial_fit(x, table).partial_fit(x, table)
    assert again.predict(x).shape == table.shape


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "binary_cross_entropy", "mean_squared_error"])
def test_two_classes_are_decided_by_the_sign_for_any_loss(loss: str) -> None:
    x, y = clouds(k=2)
    names = np.array(["no", "yes"])[y]
    classifier = MLPClassifier(**(SMALL | {"epochs": 60}), loss=loss).fit(x, names)
    probabilities = classifier.predict_proba(x)
    assert classifier.score(x, names) > 0.8
    assert classifier.decision_function(x).shape == (90,)
    assert_array_equal(classifier.predict(x) == "yes", classifier.decision_function(x) > 0)
    assert_array_equal(classifier.predict(x), classifier.classes_[probabilities.argmax(axis=1)])
    assert_allclose(probabilities.sum(axis=1), 1.0)


def test_predicted_values_have_the_shape_of_y() -> None:
    x, y = clouds()
    for targets in (y, y[:, None], np.stack([y, -y], axis=1)):
        assert MLPRegressor(**SMALL).fit(x, targets).predict(x).shape == targets.shape


@pytest.mark.slow
def test_estimators_work_inside_pipelines_and_searches() -> None:
    x, y = clouds(150)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**(SMALL | {"epochs": 20})))
    assert cross_val_score(pipeline, x, y, cv=3).min() > 0.6
    grid = {
        "mlpclassifier__hidden": [[8], [8, 8], {"depth": 2, "width": 4}],
        "mlpclassifier__activation": ["tanh", {"name": "leaky_relu", "slope": 0.1}, Tanh()],
        "mlpclassifier__learning_rate": np.geomspace(1e-9, 0.02, 2),
    }
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(x, y)
    assert search.best_params_["mlpclassifier__learning_rate"] == pytest.approx(0.02)
    assert search.best_estimator_.score(x, y) > 0.85


def test_several_threads_can_predict_at_once() -> None:
    x, y = clouds(2000)
    classifier = MLPClassifier(**(SMALL | {"hidden": [64, 64]})).fit(x, y)
    alone = classifier.predict_proba(x)
    with ThreadPoolExecutor(4) as pool:
        for together in pool.map(classifier.predict_proba, [x] * 16):
            assert_array_equal(together, alone)


def test_the_fitted_model_can_be_saved_without_pickle(tmp_path: Path) -> None:
    x, y = clouds()
    names = np.array(["ant", "bee", "cat"])[y]
    classifier = MLPClassifier(**SMALL).fit(x, names)
    model = load_model(save_model(classifier.model_, tmp_path / "model"))
    assert model.classes == ("ant", "bee", "cat")
    assert_array_equal(model.predict_proba(x), classifier.predict_proba(x))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_fitted_attributes_do_not_exist_before_fit(estimator: Any) -> None:
    unfitted = estimator()
    with pytest.raises(NotFittedError):
        unfitted.predict([[0.0]])
    assert not any(hasattr(unfitted, name) for name in ("network_", "model_", "history_", "loss_curve_", "n_iter_"))


@pytest.mark.slow
def test_the_classifier_is_as_accurate_as_that_of_scikit_learn_on_digits() -> None:
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x / 16.0, y, random_state=0)
    settings = {"batch_size": 64, "random_state": 0}
    mine = MLPClassifier([32], learning_rate=3e-3, epochs=30, **settings).fit(x_train, y_train)
    theirs = neural_network.MLPClassifier([32], learning_rate_init=3e-3, max_iter=30, n_iter_no_change=30, **settings)
    with pytest.warns(match="Maximum iterations"):
        theirs.fit(x_train, y_train)
    assert theirs.score(x_test, y_test) > 0.95
    assert mine.score(x_test, y_test) > theirs.score(x_test, y_test) - 0.015


def test_the_regressor_is_as_accurate_as_that_of_scikit_learn_on_diabetes() -> None:
    x, y = load_diabetes(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)
    settings = {"batch_size": 64, "random_state": 0}

    def score(regressor: Any) -> float:
        pipeline = make_pipeline(StandardScaler(), regressor)
        return float(
            TransformedTargetRegressor(pipeline, transformer=StandardScaler())
            .fit(x_train, y_train)
            .score(x_test, y_test)
        )

    theirs = neural_network.MLPRegressor(
        hidden_layer_sizes=[16],
        activation="tanh",
        alpha=0.0,
        learning_rate_init=3e-3,
        max_iter=30,
        n_iter_no_change=30,
        **settings,
    )
    with pytest.warns(match="Maximum iterations"):
        reference = score(theirs)
    assert reference > 0.3
    assert score(MLPRegressor([16], activation="tanh", learning_rate=3e-3, epochs=30, **settings)) > reference - 0.05


def test_the_docstring_examples_run() -> None:
    results = doctest.testmod(mlp.estimators)
    assert results.attempted > 8
    assert results.failed == 0
