"""Losses: results worked by hand, equivalences, extreme numbers, weights, and tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp import ConfigError
from mlp.losses import (
    AbstractLoss,
    AbstractResidualLoss,
    BinaryCrossEntropy,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Output,
    SoftmaxCrossEntropy,
    losses,
)
from tests.mlp_data import learnable, parts, quick

RESIDUAL_LOSSES = [losses.decode(name) for name in losses if issubclass(losses.lookup(name), AbstractResidualLoss)]
OUTPUTS = get_args(Output)
each_residual_loss = pytest.mark.parametrize("part", RESIDUAL_LOSSES, ids=lambda part: part.name)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def slope(part: AbstractLoss, outputs: Any, targets: Any, weights: Any = None) -> Any:
    dz = np.full_like(outputs, np.nan)
    with np.errstate(all="ignore"):  # `gradient` may warn of overflow
        part.gradient(outputs, targets, dz, weights)
    return dz


# By hand


@each_dtype
def test_softmax_cross_entropy_matches_a_result_worked_by_hand(dtype: Any) -> None:
    outputs = np.log(np.array([[3.0, 1.0], [1.0, 1.0]], dtype))  # softmax [3/4 1/4], [1/2 1/2]
    targets = np.array([0, 1])
    part, smoothed = SoftmaxCrossEntropy(), SoftmaxCrossEntropy(label_smoothing=0.2)  # q = [0.9 0.1], [0.1 0.9]
    np.testing.assert_allclose(part.values(outputs, targets), np.log([4 / 3, 2.0]), rtol=1e-6)
    np.testing.assert_allclose(slope(part, outputs, targets), [[-1 / 8, 1 / 8], [1 / 4, -1 / 4]], rtol=1e-6)
    expected = [0.9 * np.log(4 / 3) + 0.1 * np.log(4.0), np.log(2.0)]
    np.testing.assert_allclose(smoothed.values(outputs, targets), expected, rtol=1e-6)
    np.testing.assert_allclose(slope(smoothed, outputs, targets), [[-0.075, 0.075], [0.2, -0.2]], rtol=1e-6)


def test_binary_cross_entropy_matches_a_result_worked_by_hand() -> None:
    part, outputs = BinaryCrossEntropy(), np.log([[3.0, 1.0]])  # sigmoid [3/4 1/2]
    targets = np.array([[1, 0]])
    np.testing.assert_allclose(part.values(outputs, targets), [(np.log(4 / 3) + np.log(2.0)) / 2])
    np.testing.assert_allclose(slope(part, outputs, targets), [[-1 / 8, 1 / 4]])
    np.testing.assert_allclose(part.values(outputs[:, :1], np.array([1])), [np.log(4 / 3)])
    np.testing.assert_allclose(part.probabilities(outputs[:, :1]), [[0.25, 0.75]])


@pytest.mark.parametrize(
    ("part", "value", "gradient"),
    [
        (MeanSquaredError(), (0.25 + 4.0) / 2, [0.5, -2.0]),
        (MeanAbsoluteError(), (0.5 + 2.0) / 2, [0.5, -0.5]),
        (Huber(), (0.125 + 1.5) / 2, [0.25, -0.5]),
        (Huber(delta=4.0), (0.125 + 2.0) / 2, [0.25, -1.0]),
    ],
    ids=repr,
)
def test_a_residual_loss_matches_a_result_worked_by_hand(
    part: AbstractLoss, value: float, gradient: list[float]
) -> None:
    outputs, targets = np.array([[1.5, -1.0]]), np.array([[1.0, 1.0]])
    np.testing.assert_allclose(part.values(outputs, targets), [value])
    np.testing.assert_allclose(slope(part, outputs, targets), [gradient])


@each_residual_loss
def test_the_gradient_of_a_residual_loss_is_0_where_the_error_is_0(part: AbstractLoss) -> None:
    outputs = np.array([[1.0, 2.0]])
    np.testing.assert_array_equal(slope(part, outputs, outputs), [[0.0, 0.0]])


# Equivalences


@pytest.mark.parametrize("output", OUTPUTS)
@each_residual_loss
@each_dtype
def test_a_class_counts_as_its_one_hot_row(part: Any, output: Any, dtype: Any) -> None:
    part, outputs, classes = learnable(replace(part, output=output), "classes", dtype)
    rows = np.eye(outputs.shape[1], dtype=dtype)[classes]
    np.testing.assert_array_equal(part.values(outputs, classes), part.values(outputs, rows))
    np.testing.assert_array_equal(slope(part, outputs, classes), slope(part, outputs, rows))


@each_dtype
def test_two_classes_with_one_output_count_as_one_label(dtype: Any) -> None:
    part, outputs, classes = learnable(BinaryCrossEntropy(), "classes", dtype)
    rows = classes[:, None].astype(np.uint8)
    np.testing.assert_array_equal(part.values(outputs, classes), part.values(outputs, rows))
    np.testing.assert_array_equal(slope(part, outputs, classes), slope(part, outputs, rows))


def test_one_sigmoid_output_is_equivalent_to_a_softmax_of_two_outputs() -> None:
    part, outputs, classes = learnable(BinaryCrossEntropy(), "classes", np.float64)
    both = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    softmax = SoftmaxCrossEntropy()
    np.testing.assert_allclose(part.values(outputs, classes), softmax.values(both, classes))
    np.testing.assert_allclose(slope(part, outputs, classes)[:, 0], slope(softmax, both, classes)[:, 1])
    np.testing.assert_allclose(part.probabilities(outputs), softmax.probabilities(both))
    np.testing.assert_array_equal(part.decide(outputs, "classes"), softmax.decide(both, "classes"))


@quick
@given(seed=st.integers(0, 1000), smoothing=st.floats(0.0, 0.99), shift=st.floats(-1e4, 1e4))
def test_softmax_cross_entropy_does_not_change_when_a_constant_is_added_to_all_logits(
    seed: int, smoothing: float, shift: float
) -> None:
    part, outputs, targets = learnable(SoftmaxCrossEntropy(smoothing), "classes", np.float64, seed=seed)
    moved = outputs + shift
    np.testing.assert_allclose(part.values(moved, targets), part.values(outputs, targets), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(slope(part, moved, targets), slope(part, outputs, targets), rtol=1e-9, atol=1e-10)


@quick
@given(data=st.data(), seed=st.integers(0, 1000))
def test_a_decision_is_the_most_likely_class_or_state_of_a_label(data: st.DataObject, seed: int) -> None:
    drawn = data.draw(parts(losses))
    for task in {"classes", "labels"} & set(drawn.tasks):
        part, outputs, targets = learnable(drawn, task, np.float64, seed=seed)
        decided = part.decide(outputs, task)
        if task == "labels":
            assert decided.dtype == np.uint8
            np.testing.assert_array_equal(decided, part.predictions(outputs) > 0.5)
        else:
            assert np.issubdtype(decided.dtype, np.integer)
            p = part.probabilities(outputs)
            np.testing.assert_array_equal(p[np.arange(len(targets)), decided], p.max(axis=1))


def test_outputs_that_are_not_probabilities_are_clipped_and_normalised() -> None:
    outputs = np.array([[-1.0, 3.0, 1.0], [-1.0, -2.0, 0.0]])
    expected = [[0.0, 0.75, 0.25], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(MeanSquaredError().probabilities(outputs), expected)


# Extreme numbers


def exact_softmax(outputs: Any) -> Any:
    wide = np.exp(outputs.astype(np.longdouble) - outputs.max(axis=1, keepdims=True))
    return (wide / wide.sum(axis=1, keepdims=True)).astype(np.float64)


@quick
@given(
    seed=st.integers(0, 1000),
    centre=st.sampled_from([0.0, 20.0, -35.0, -43.0, -60.0, 60.0, -88.0, 88.0, -100.0, 100.0, -1e4, 1e30]),
    spread=st.sampled_from([0.1, 3.0, 30.0, 200.0]),
    b=st.sampled_from([1, 2, 64]),
)
@each_dtype
def test_the_gradient_of_softmax_is_accurate_for_logits_of_any_size(
    dtype: Any, seed: int, centre: float, spread: float, b: int
) -> None:
    rng = np.random.default_rng(seed)
    outputs = rng.normal(0.0, spread, (b, 10)).astype(dtype)
    outputs[rng.integers(b)] += dtype(centre)  # one row is far from the others
    targets = rng.integers(0, 10, b)
    expected = (exact_softmax(outputs) - np.eye(10)[targets]) / b
    tolerance = 20 * float(np.finfo(dtype).eps) / b
    np.testing.assert_allclose(slope(SoftmaxCrossEntropy(), outputs, targets), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("n_bad", [1, 3])
def test_a_logit_that_is_not_a_number_makes_the_gradient_of_its_row_not_a_number(n_bad: int) -> None:
    outputs = np.zeros((4, 3), np.float32)
    outputs[:n_bad, 1] = np.nan
    dz = slope(SoftmaxCrossEntropy(), outputs, np.zeros(4, np.intp))
    np.testing.assert_array_equal(np.isnan(dz).all(axis=1), np.arange(4) < n_bad)


def test_a_small_cross_entropy_is_accurate() -> None:
    outputs = np.array([[30.0, 15.0]], np.float32)
    assert SoftmaxCrossEntropy().values(outputs, np.array([0]))[0] == pytest.approx(np.log1p(np.exp(-15.0)), rel=0.3)
    logit = np.array([[15.0]], np.float32)
    assert BinaryCrossEntropy().values(logit, np.array([1]))[0] == pytest.approx(np.log1p(np.exp(-15.0)), rel=1e-6)
    assert slope(BinaryCrossEntropy(), -logit, np.array([0]))[0, 0] == pytest.approx(1 / (1 + np.exp(15)), rel=1e-6)


@each_residual_loss
def test_a_mean_over_many_large_costs_does_not_overflow(part: Any) -> None:
    part = MeanAbsoluteError() if part.name == "mean_squared_error" else part
    outputs = np.full((2, 100), np.finfo(np.float32).max / 4)
    values = part.values(outputs.astype(np.float32), np.zeros((2, 100), np.float32))
    assert np.isfinite(values).all()


# Weights


@st.composite
def weighted(draw: Any) -> Any:
    part = draw(parts(losses))
    task = draw(st.sampled_from(part.tasks))
    weights = draw(st.lists(st.integers(0, 3), min_size=7, max_size=7).filter(any))
    return *learnable(part, task, np.float64, seed=draw(st.integers(0, 1000))), np.array(weights)


@quick
@given(case=weighted())
def test_an_integer_weight_counts_an_example_that_many_times(case: Any) -> None:
    part, outputs, targets, weights = case
    repeated = slope(part, outputs.repeat(weights, axis=0), targets.repeat(weights, axis=0))
    starts = np.flatnonzero(np.diff(np.arange(7).repeat(weights), prepend=-1))
    expected = np.zeros_like(outputs)
    expected[weights > 0] = np.add.reduceat(repeated, starts, axis=0)
    given_weights = slope(part, outputs, targets, weights.astype(np.float64))
    np.testing.assert_allclose(given_weights, expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())


@quick
@given(case=weighted())
def test_an_example_of_weight_0_is_ignored(case: Any) -> None:
    part, outputs, targets, weights = case
    weights, counts = weights.astype(np.float64), weights > 0
    weighted_slope = slope(part, outputs, targets, weights)
    np.testing.assert_array_equal(weighted_slope[~counts], 0.0)
    rest = slope(part, outputs[counts], targets[counts], weights[counts])
    np.testing.assert_allclose(weighted_slope[counts], rest, rtol=1e-10, atol=1e-14)


@quick
@given(case=weighted())
def test_equal_weights_change_nothing_and_zero_weights_give_a_zero_gradient(case: Any) -> None:
    part, outputs, targets, _ = case
    plain = slope(part, outputs, targets)
    scale = np.abs(plain).max()
    np.testing.assert_allclose(slope(part, outputs, targets, np.full(7, 2.5)), plain, rtol=1e-10, atol=1e-12 * scale)
    np.testing.assert_array_equal(slope(part, outputs, targets, np.zeros(7)), np.zeros_like(outputs))


# Tasks


@pytest.mark.parametrize(
    ("name", "task", "n_targets", "width"),
    [
        ("softmax_cross_entropy", "classes", 10, 10),
        ("softmax_cross_entropy", "classes", 2, 2),
        ("binary_cross_entropy", "classes", 2, 1),
        ("binary_cross_entropy", "labels", 5, 5),
        ("mean_squared_error", "classes", 3, 3),
        ("mean_squared_error", "values", 1, 1),
        ("huber", "labels", 4, 4),
    ],
)
def test_a_loss_determines_the_width_of_the_last_layer(name: str, task: Any, n_targets: int, width: int) -> None:
    assert losses.decode(name).n_outputs(task, n_targets) == width


def supporting(task: str) -> str:
    return ", ".join(name for name in losses if task in losses.lookup(name).tasks)


@pytest.mark.parametrize(
    ("name", "task", "n_targets", "message"),
    [
        (
            "softmax_cross_entropy",
            "values",
            1,
            (
                'the loss "softmax_cross_entropy" supports classes, but the targets are values; '
                f"use one of {supporting('values')}."
            ),
        ),
        (
            "binary_cross_entropy",
            "values",
            3,
            (
                'the loss "binary_cross_entropy" supports classes and labels, but the targets are values; '
                f"use one of {supporting('values')}."
            ),
        ),
        (
            "binary_cross_entropy",
            "classes",
            3,
            'the loss "binary_cross_entropy" needs exactly 2 classes, got 3; use "softmax_cross_entropy".',
        ),
    ],
)
def test_a_loss_that_does_not_support_the_task_names_those_that_do(
    name: str, task: Any, n_targets: int, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        losses.decode(name).n_outputs(task, n_targets)
    assert str(error.value) == message
