"""Metrics against scikit-learn, and the values they take where scikit-learn warns or has none."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st

from mlp import ConfigError
from mlp.losses import (
    AbstractLoss,
    BinaryCrossEntropy,
    MeanSquaredError,
    SoftmaxCrossEntropy,
    losses,
)
from mlp.metrics import TopKAccuracy, confusion_matrix, metrics
from mlp.scores import direction, evaluate, standard
from tests.mlp_data import learnable, quick

SOFTMAX, BINARY, SQUARED = SoftmaxCrossEntropy(), BinaryCrossEntropy(), MeanSquaredError()


def metric(name: str, outputs: Any, targets: Any, loss: AbstractLoss) -> float:
    return metrics.decode(name).compute(np.asarray(outputs), np.asarray(targets), loss)


def logits_of(p: Any) -> Any:
    """Return softmax logits with these probabilities."""
    return np.log(np.asarray(p))


@st.composite
def classified(draw: Any, k: int | None = None) -> Any:
    """Draw logits on a coarse grid, so that there are ties, and classes, of which some may be absent."""
    n, k, seed = draw(st.integers(1, 40)), k or draw(st.integers(2, 6)), draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    present = rng.permutation(k)[: draw(st.integers(1, k))]
    return rng.integers(-3, 4, (n, k)) / 2.0, rng.choice(present, n)


@st.composite
def labelled(draw: Any) -> Any:
    n, m, seed = draw(st.integers(1, 40)), draw(st.integers(1, 5)), draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    return rng.integers(-3, 4, (n, m)) / 2.0, (rng.random((n, m)) < rng.random(m)).astype(np.uint8)


@st.composite
def measured(draw: Any) -> Any:
    n, m, seed = draw(st.integers(2, 40)), draw(st.integers(1, 5)), draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, m)), np.round(rng.normal(size=(n, m)), draw(st.integers(0, 3)))


def quietly(function: Callable[..., Any], *arguments: Any, **options: Any) -> float:
    """Return what scikit-learn gives, its warnings aside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(function(*arguments, **options))


def ratios_of_counts(true: Any, predicted: Any) -> dict[str, float]:
    """Return scikit-learn's precision, recall and F1 in both averages, by our names."""
    scores = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}
    return {
        f"{name}_{average}": score(true, predicted, average=average, zero_division=0.0)
        for name, score in scores.items()
        for average in ("macro", "micro")
    }


# Against scikit-learn


@quick
@given(case=classified())
def test_counts_of_classes_are_those_of_scikit_learn(case: Any) -> None:
    outputs, classes = case
    predicted = outputs.argmax(axis=1)
    expected = {
        "accuracy": sk.accuracy_score(classes, predicted),
        "balanced_accuracy": quietly(sk.balanced_accuracy_score, classes, predicted),
        **ratios_of_counts(classes, predicted),
    }
    assert {name: metric(name, outputs, classes, SOFTMAX) for name in expected} == pytest.approx(expected)


@quick
@given(case=labelled())
def test_counts_of_labels_are_those_of_scikit_learn(case: Any) -> None:
    outputs, labels = case
    predicted = (outputs > 0).astype(np.uint8)
    true = labels
    if labels.shape[1] == 1:  # scikit-learn takes one column for two classes
        true, predicted = np.repeat(labels, 2, axis=1), np.repeat(predicted, 2, axis=1)
    expected = {
        "accuracy": sk.accuracy_score(true, predicted),
        "label_accuracy": 1.0 - sk.hamming_loss(true, predicted),
        **ratios_of_counts(true, predicted),
    }
    assert {name: metric(name, outputs, labels, BINARY) for name in expected} == pytest.approx(expected)


@quick
@given(case=classified())
def test_log_loss_and_brier_of_classes_are_those_of_scikit_learn(case: Any) -> None:
    outputs, classes = case
    p, known = SOFTMAX.probabilities(outputs), np.arange(outputs.shape[1])
    assert metric("log_loss", outputs, classes, SOFTMAX) == pytest.approx(sk.log_loss(classes, p, labels=known))
    brier = np.square(p - np.eye(len(known))[classes]).sum(axis=1).mean()
    assert metric("brier", outputs, classes, SOFTMAX) == pytest.approx(brier)


@quick
@given(case=classified(k=2))
def test_brier_of_two_classes_is_twice_the_customary_score(case: Any) -> None:
    outputs, classes = case
    p = SOFTMAX.probabilities(outputs)[:, 1]
    score = quietly(sk.brier_score_loss, classes, p, pos_label=1)
    assert metric("brier", outputs, classes, SOFTMAX) == pytest.approx(2.0 * score)


@quick
@given(case=labelled())
def test_log_loss_and_brier_of_labels_are_those_of_all_labels_in_one_column(case: Any) -> None:
    outputs, labels = case
    p = BINARY.predictions(outputs).ravel()
    assert metric("log_loss", outputs, labels, BINARY) == pytest.approx(sk.log_loss(labels.ravel(), p, labels=[0, 1]))
    score = quietly(sk.brier_score_loss, labels.ravel(), p, pos_label=1)
    assert metric("brier", outputs, labels, BINARY) == pytest.approx(score)


def areas_of(scores: Any, is_true: Any) -> Any:
    """Return what scikit-learn gives for each column that has a true and another example."""
    mixed = [j for j in range(scores.shape[1]) if 0 < is_true[:, j].sum() < len(is_true)]
    return [sk.roc_auc_score(is_true[:, j], scores[:, j]) for j in mixed] or [0.5]


@quick
@given(case=classified())
def test_the_area_under_the_roc_curve_of_classes_is_that_of_scikit_learn(case: Any) -> None:
    outputs, classes = case
    k = outputs.shape[1]
    p, is_true = SOFTMAX.probabilities(outputs), classes[:, None] == np.arange(k)
    found = metric("roc_auc", outputs, classes, SOFTMAX)
    if k == 2:
        assert found == pytest.approx(areas_of(p[:, 1:], is_true[:, 1:])[0])
    else:
        assert found == pytest.approx(np.mean(areas_of(p, is_true)))
        if len(np.unique(classes)) == k:
            assert found == pytest.approx(sk.roc_auc_score(classes, p, multi_class="ovr"))


@quick
@given(case=labelled())
def test_the_area_under_the_roc_curve_of_labels_is_that_of_scikit_learn(case: Any) -> None:
    outputs, labels = case
    assert metric("roc_auc", outputs, labels, BINARY) == pytest.approx(np.mean(areas_of(outputs, labels)))


@quick
@given(case=classified(), k=st.integers(1, 8))
def test_top_k_accuracy_is_the_fraction_of_examples_found_in_a_stable_sort(case: Any, k: int) -> None:
    outputs, classes = case
    first = np.argsort(-outputs, axis=1, kind="stable")[:, :k]
    expected = (first == classes[:, None]).any(axis=1).mean()
    assert TopKAccuracy(k).compute(outputs, classes, SOFTMAX) == pytest.approx(expected)
    if k == 1:
        assert expected == metric("accuracy", outputs, classes, SOFTMAX)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_top_k_accuracy_is_that_of_scikit_learn_where_nothing_ties(k: int) -> None:
    rng = np.random.default_rng(0)
    outputs, classes = rng.normal(size=(200, 6)), rng.integers(0, 6, 200)
    expected = sk.top_k_accuracy_score(classes, outputs, k=k)
    assert TopKAccuracy(k).compute(outputs, classes, SOFTMAX) == pytest.approx(expected)


@quick
@given(case=measured())
def test_errors_of_values_are_those_of_scikit_learn(case: Any) -> None:
    outputs, targets = case
    expected = {
        "mse": sk.mean_squared_error(targets, outputs),
        "rmse": sk.root_mean_squared_error(targets, outputs),
        "mae": sk.mean_absolute_error(targets, outputs),
        "r2": sk.r2_score(targets, outputs),
    }
    assert {name: metric(name, outputs, targets, SQUARED) for name in expected} == pytest.approx(expected)


@quick
@given(case=classified())
def test_the_confusion_matrix_is_that_of_scikit_learn(case: Any) -> None:
    outputs, classes = case
    k, predicted = outputs.shape[1], outputs.argmax(axis=1)
    found = confusion_matrix(classes.astype(np.uint8), predicted, k)
    np.testing.assert_array_equal(found, sk.confusion_matrix(classes, predicted, labels=range(k)))


# By hand


def test_the_calibration_error_is_worked_by_hand() -> None:
    # Two in the bin (0.8, 0.8667], one of them right: |1 - 0.83 - 0.85| = 0.68; one in (0.9333, 1], right: 0.04.
    outputs = logits_of([[0.83, 0.17], [0.15, 0.85], [0.96, 0.04]])
    assert metric("calibration_error", outputs, [0, 0, 0], SOFTMAX) == pytest.approx((0.68 + 0.04) / 3)


@quick
@given(case=classified())
def test_the_calibration_error_is_the_sum_over_bins_of_its_equation(case: Any) -> None:
    outputs, classes = case
    p = SOFTMAX.probabilities(outputs)
    confidence, is_right = p.max(axis=1), outputs.argmax(axis=1) == classes
    total = 0.0
    for m in range(1, 16):
        inside = (confidence > (m - 1) / 15) & (confidence <= m / 15)
        if inside.any():
            total += inside.sum() / len(classes) * abs(is_right[inside].mean() - confidence[inside].mean())
    assert metric("calibration_error", outputs, classes, SOFTMAX) == pytest.approx(total, abs=1e-12)


def test_accuracy_gives_a_tie_to_the_first() -> None:
    outputs, classes = [[1.0, 1.0], [0.0, 0.0], [0.0, 1.0], [2.0, 1.0]], [0, 1, 1, 1]
    assert metric("accuracy", outputs, classes, SOFTMAX) == 0.5


def test_a_network_whose_outputs_are_all_alike_is_not_taken_for_a_good_one() -> None:
    outputs, classes = np.zeros((10, 10)), np.arange(10)
    assert metric("accuracy", outputs, classes, SOFTMAX) == 0.1
    assert metric("top_k_accuracy", outputs, classes, SOFTMAX) == 0.5
    assert metric("roc_auc", outputs, classes, SOFTMAX) == 0.5
    assert metric("brier", outputs, classes, SOFTMAX) == pytest.approx(0.9)


@pytest.mark.parametrize("name", [name for name in metrics if "classes" in metrics.lookup(name).tasks])
def test_one_output_for_two_classes_is_judged_as_two_outputs_are(name: str) -> None:
    _, outputs, classes = learnable(BINARY, "classes", np.float64, n=50)
    both = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    assert metric(name, outputs, classes, BINARY) == pytest.approx(metric(name, both, classes, SOFTMAX))


# Where a formula divides zero by zero, or more examples would be needed


@pytest.mark.parametrize(
    ("name", "value"), [("roc_auc", 0.5), ("balanced_accuracy", 1.0), ("f1_macro", 1.0), ("log_loss", np.log(1.25))]
)
def test_of_one_class_only_a_metric_has_its_documented_value(name: str, value: float) -> None:
    outputs = logits_of([[0.1, 0.8, 0.1], [0.1, 0.8, 0.1]])
    assert metric(name, outputs, [1, 1], SOFTMAX) == pytest.approx(value)


@pytest.mark.parametrize("name", ["precision_macro", "recall_macro", "f1_macro", "precision_micro", "f1_micro"])
def test_a_label_that_is_neither_true_nor_predicted_counts_as_0(name: str) -> None:
    assert metric(name, [[-1.0], [-1.0]], [[0], [0]], BINARY) == 0.0


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e30])
def test_r2_of_targets_all_alike_is_1_where_they_are_met_and_else_0(constant: float) -> None:
    targets = np.full((7, 2), constant)
    assert metric("r2", targets, targets, SQUARED) == 1.0
    assert metric("r2", targets + np.array([0.0, constant + 1.0]), targets, SQUARED) == 0.5
    assert metric("r2", targets[:1] + constant + 1.0, targets[:1], SQUARED) == 0.0


def test_a_sure_error_costs_a_finite_log_loss() -> None:
    outputs = [[1e4, -1e4], [-1e4, 1e4]]
    eps = np.finfo(np.float64).eps
    assert metric("log_loss", outputs, [1, 1], SOFTMAX) == pytest.approx(-np.log(eps) / 2)
    assert metric("log_loss", [[1e4, -1e4]], [[0, 0]], BINARY) == pytest.approx(-np.log(eps) / 2)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("loss", list(losses))
@pytest.mark.parametrize("name", list(metrics))
def test_a_metric_of_very_few_examples_or_of_huge_outputs_is_finite_and_silent(name: str, loss: str, n: int) -> None:
    part = losses.decode(loss)
    for task in set(metrics.lookup(name).tasks) & set(part.tasks):
        _, outputs, targets = learnable(part, task, np.float32, n=n)
        for scale in (0.0, 1.0, 1e15):
            assert np.isfinite(metric(name, outputs * np.float32(scale), targets, part))


def test_ranks_are_not_lost_where_float32_probabilities_saturate() -> None:
    outputs = np.array([[20.0], [25.0], [30.0], [22.0]], np.float32)
    assert metric("roc_auc", outputs, [0, 1, 1, 0], BINARY) == 1.0


# Evaluation and keys


def test_what_is_computed_without_being_asked_for_depends_on_the_task() -> None:
    assert [metric.name for metric in standard("classes")] == ["loss", "accuracy"]
    assert [metric.name for metric in standard("labels")] == ["loss", "label_accuracy"]
    assert [metric.name for metric in standard("values")] == ["loss", "r2"]


def test_an_evaluation_names_each_metric_by_its_part_once() -> None:
    _, outputs, classes = learnable(SOFTMAX, "classes", np.float32)
    extra = tuple(map(metrics.decode, ("f1_macro", "accuracy")))
    found = evaluate(outputs, classes, SOFTMAX, "validation", "classes", extra)
    assert list(found) == ["validation/loss", "validation/accuracy", "validation/f1_macro"]
    assert found["validation/f1_macro"] == metric("f1_macro", outputs, classes, SOFTMAX)


def test_weights_count_in_the_loss_and_in_nothing_else() -> None:
    _, outputs, classes = learnable(SOFTMAX, "classes", np.float64)
    weights = np.array([0.0, 1.0, 2.0, 0.0, 0.5, 0.0, 1.0])
    plain = evaluate(outputs, classes, SOFTMAX, "train", "classes")
    found = evaluate(outputs, classes, SOFTMAX, "train", "classes", (), weights)
    assert found["train/accuracy"] == plain["train/accuracy"]
    expected = np.average(SOFTMAX.values(outputs, classes), weights=weights)
    assert found["train/loss"] == pytest.approx(expected) != pytest.approx(plain["train/loss"])
    assert evaluate(outputs, classes, SOFTMAX, "train", "classes", (), 0.0 * weights)["train/loss"] == 0.0


def test_a_metric_that_does_not_fit_the_task_names_those_that_do() -> None:
    metrics.decode("r2").check_task("values")
    with pytest.raises(ConfigError) as error:
        metrics.decode("accuracy").check_task("values")
    assert str(error.value) == (
        'the metric "accuracy" judges classes or labels, but the targets are values, '
        "which these judge: loss, mse, rmse, mae, r2."
    )


@pytest.mark.parametrize("key", ["accuracy", "test/accuracy", "train/f2", "train/", "train/accuracy/x", ""])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f'there is no metric "{key}"'):
        direction(key)
