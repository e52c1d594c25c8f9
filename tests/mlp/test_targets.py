"""Values to predict: learnt near 0, predicted and scored in their own units."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp import ConfigError, DataConfig, Dataset, Model, TrainConfig, train
from mlp.estimators import MLPRegressor
from mlp.targets import TargetScaling
from tests.mlp_data import quick

CONFIG = TrainConfig.from_mapping(
    {
        "epochs": 40,
        "batch_size": 16,
        "network": {"hidden": [16]},
        "loss": "mean_squared_error",
        "optimizer": {"name": "adam", "learning_rate": 0.01},
        "metrics": ["mse", "mae", "rmse"],
    }
)


def prices(scale: float = 1e9, n: int = 200) -> Dataset:
    """Return a data set of large values that depend on their inputs linearly."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3))
    y = scale * (1.5 + x @ [0.1, -0.2, 0.05])
    return Dataset.from_arrays(x[:150], y[:150], test=(x[150:], y[150:]))


def test_large_values_are_learnt_and_predicted_in_their_own_units() -> None:
    dataset = prices()
    training = train(CONFIG, dataset)
    scores = training.evaluate(dataset.test(training.data.train.encoding), "test")
    assert scores["test/r2"] > 0.95
    predicted = Model.of(training, dataset).predict(dataset.test_inputs)
    errors = predicted - dataset.test_targets
    assert scores["test/mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-9)
    assert scores["test/mse"] == pytest.approx(np.square(errors).mean(), rel=1e-9)
    assert scores["test/loss"] == pytest.approx(scores["test/mse"] * training.target_scaling.factor[0] ** 2, rel=1e-4)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_unit_of_the_values_changes_no_score_but_the_errors(factor: float) -> None:
    first, second = (train(CONFIG, prices(scale)).kept_scores() for scale in (1.0, factor))
    assert second["validation/r2"] == pytest.approx(first["validation/r2"], rel=1e-3)
    assert second["validation/loss"] == pytest.approx(first["validation/loss"], rel=1e-3)
    assert second["validation/mae"] == pytest.approx(factor * first["validation/mae"], rel=1e-3)


def test_the_scaling_of_values_is_fitted_on_the_training_part_only() -> None:
    dataset = prices()
    config = replace(CONFIG, epochs=1)
    split = dataset.split(config.data, 0)
    assert split.validation is not None
    changed = dataset.targets.copy()
    changed[split.validation.rows] *= 100.0
    first, second = (train(config, data) for data in (dataset, replace(dataset, targets=changed)))
    assert first.target_scaling == second.target_scaling
    assert first.weight_digest() == second.weight_digest()
    expected = TargetScaling.fit(split.train.row_targets)
    np.testing.assert_allclose(first.target_scaling.centre, expected.centre)


@quick
@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=20), st.booleans())
def test_scaled_values_return_to_their_units(numbers: list[float], log: bool) -> None:
    values = np.array(numbers)[:, None]
    if log:
        values = np.abs(values)
    scaling = TargetScaling.fit(values, log=log)
    assert TargetScaling.from_mapping(json.loads(json.dumps(scaling.to_mapping()))) == scaling
    scaled = scaling.apply(values, np.float64)
    assert np.abs(scaled).max() < 10
    tolerance = 1e-9 * np.abs(values).max() if not log else 0.0
    np.testing.assert_allclose(scaling.invert(scaled), values, rtol=1e-9, atol=tolerance + 1e-9)


def test_values_that_differ_by_rounding_only_become_0() -> None:
    values = np.array([[2.3283064365384152e20], [2.3283064365384194e20], [2.3283064365384152e20]])
    scaled = TargetScaling.fit(values).apply(values, np.float64)
    np.testing.assert_allclose(scaled, 0.0, atol=1e-12)


def test_weights_count_like_repeated_rows() -> None:
    values, weights = np.array([[1.0], [5.0], [9.0]]), np.array([1.0, 2.0, 3.0])
    weighted, repeated = TargetScaling.fit(values, weights=weights), TargetScaling.fit(values.repeat([1, 2, 3], axis=0))
    np.testing.assert_allclose(weighted.centre, repeated.centre)
    np.testing.assert_allclose(weighted.factor, repeated.factor)


def test_the_logarithm_needs_values_above_minus_1() -> None:
    with pytest.raises(ConfigError, match=r'"data.target_scale": is "log", which needs values above -1, got -1\.'):
        TargetScaling.fit(np.array([[-1.0], [2.0]]), log=True)
    scaling = TargetScaling.fit(np.array([[0.0], [2.0]]), log=True)
    assert np.isfinite(scaling.apply(np.array([[-5.0]]), np.float64)).all()
    assert np.isfinite(np.square(scaling.invert(np.array([[1e9]])))).all()


def test_values_can_be_learnt_as_logarithms_or_as_they_are() -> None:
    dataset = prices(1e4)
    for scale, shape in (("log", True), ("standard", False)):
        training = train(replace(CONFIG, data=DataConfig(target_scale=scale)), dataset)  # type: ignore[arg-type]
        assert training.target_scaling.log == shape
        assert training.kept_scores()["validation/r2"] > 0.9
    plain = train(replace(CONFIG, data=DataConfig(target_scale="none"), epochs=1), dataset)
    assert not plain.target_scaling
    assert plain.kept_scores()["train/loss"] == pytest.approx(plain.kept_scores()["train/mse"], rel=1e-5)


def test_the_range_of_an_output_function_is_that_of_unscaled_values() -> None:
    mapping = {"loss": {"name": "mean_squared_error", "output": "softplus"}, "epochs": 1}
    config = TrainConfig.from_mapping(mapping)
    assert not train(config, prices(1.0)).target_scaling
    with pytest.raises(ConfigError, match=r'"data.target_scale": is "standard", but the loss has an output function'):
        train(TrainConfig.from_mapping({**mapping, "data": {"target_scale": "standard"}}), prices(1.0))


def test_several_values_are_scaled_one_by_one() -> None:
    x = np.random.default_rng(0).normal(size=(100, 2))
    dataset = Dataset.from_arrays(x, np.column_stack([x[:, 0] * 1e6, x[:, 1] * 1e-3]))
    assert train(CONFIG, dataset).kept_scores()["validation/r2"] > 0.9


def test_a_regressor_predicts_large_values_and_accepts_texts() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.normal(size=200), "town": rng.choice(["a", "b", "c"], 200)})
    frame.loc[3, "town"] = None
    y = 1e6 * (frame["size"] + frame["town"].map({"a": 1.0, "b": 2.0, "c": 3.0}).fillna(0.0)).to_numpy()
    regressor = MLPRegressor(hidden=[16], epochs=60, batch_size=16, learning_rate=0.01, random_state=0).fit(frame, y)
    assert regressor.score(frame, y) > 0.95
    swapped: Any = frame[["town", "size"]].assign(more=1)
    assert regressor.predict(swapped).tolist() == regressor.predict(frame).tolist()
