"""Metrics: agreement with scikit-learn, results worked by hand, and values where a formula divides zero by zero."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlp import ConfigError
from mlp.losses import (
    AbstractLoss,
    BinaryCrossEntropy,
    MeanSquaredError,
    SoftmaxCrossEntropy,
    Task,
    losses,
)
from mlp.metrics import AbstractMetric, TopKAccuracy, confusion_matrix, metrics
from mlp.scores import direction, evaluate, standard
from tests.mlp_data import learnable, quick, records

SOFTMAX, BINARY, SQUARED = SoftmaxCrossEntropy(), BinaryCrossEntropy(), MeanSquaredError()
LOSSES: dict[Task, AbstractLoss] = {"classes": SOFTMAX, "labels": BINARY, "values": SQUARED}
METRIC_TASKS = [(name, task) for name in metrics for task in metrics.lookup(name).tasks]


def metric(name: str, outputs: Any, targets: Any, loss: AbstractLoss) -> float:
    return metrics.decode(name).compute(np.asarray(outputs), np.asarray(targets), loss)


def logits_of(p: Any) -> Any:
    """Return softmax logits with these probabilities."""
    return np.log(np.asarray(p))


@st.composite
def outputs_and_classes(draw: Any, k: int | None = None) -> Any:
    """Draw logits on a coarse grid, so that there are ties, and classes, some of which may be absent."""
    n, k, seed = draw(st.integers(1, 40)), k or draw(st.integers(2, 6)), draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    present = rng.permutation(k)[: draw(st.integers(1, k))]
    return rng.integers(-3, 4, (n, k)) / 2.0, rng.choice(present, n)


@st.composite
def outputs_and_labels(draw: Any) -> Any:
    n, m, seed = draw(st.integers(1, 40)), draw(st.integers(1, 5)), draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    return rng.integers(-3, 4, (n, m)) / 2.0, (rng.random((n, m)) < rng.random(m)).astype(np.uint8)


@st.composite
def outputs_and_values(draw: Any) -> Any:
    n, m, seed = draw(st.integers(2, 40)), draw(st.integers(1, 5)), draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, m)), np.round(rng.normal(size=(n, m)), draw(st.integers(0, 3)))


EXAMPLES: dict[Task, st.SearchStrategy[Any]] = {
    "classes": outputs_and_classes(),
    "labels": outputs_and_labels(),
    "values": outputs_and_values(),
}


# Against scikit-learn. The counterpart of a metric is found by its name: `accuracy` is `accuracy_score`, `f1_macro` is
# `f1_score(average="macro")`, `matthews_corrcoef` is itself. The tables are for metrics with another name or arguments.

OTHER_NAMES = {
    "mse": "mean_squared_error",
    "rmse": "root_mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
}


def reference_ranking(outputs: Any, targets: Any, loss: AbstractLoss, function: Callable[..., Any]) -> float:
    """Return the mean over the columns that have both a true and another example, which scikit-learn demands."""
    scores, is_true = outputs, targets
    if targets.ndim == 1:
        scores, is_true = loss.probabilities(outputs), targets[:, None] == np.arange(outputs.shape[1])
        if outputs.shape[1] == 2:
            scores, is_true = scores[:, 1:], is_true[:, 1:]
    mixed = [j for j in range(scores.shape[1]) if 0 < is_true[:, j].sum() < len(is_true)]
    return float(np.mean([function(is_true[:, j], scores[:, j]) for j in mixed])) if mixed else np.nan


def reference_of_positives(outputs: Any, targets: Any, loss: AbstractLoss, function: Callable[..., Any]) -> float:
    """Return a score of the second class, nan where it divides zero by zero."""
    return float(function(targets == 1, loss.decide(outputs, "classes") == 1, zero_division=np.nan))


def reference_log_loss(outputs: Any, targets: Any, loss: AbstractLoss) -> float:
    p = loss.predictions(outputs)
    if targets.ndim == 1:
        return float(sk.log_loss(targets, p, labels=np.arange(outputs.shape[1])))
    return float(sk.log_loss(targets.ravel(), p.ravel(), labels=[0, 1]))


def reference_brier(outputs: Any, targets: Any, loss: AbstractLoss) -> float:
    p = loss.predictions(outputs)
    if targets.ndim == 2:
        return float(sk.brier_score_loss(targets.ravel(), p.ravel(), pos_label=1))
    scores = [sk.brier_score_loss(targets == j, p[:, j], pos_label=True) for j in range(p.shape[1])]
    return float(np.sum(scores))


def reference_calibration_error(outputs: Any, targets: Any, loss: AbstractLoss) -> float:
    p = loss.probabilities(outputs)
    confidence, is_right = p.max(axis=1), outputs.argmax(axis=1) == targets
    total = 0.0
    for m in range(1, 16):
        inside = (confidence > (m - 1) / 15) & (confidence <= m / 15)
        if inside.any():
            total += inside.sum() / len(targets) * abs(is_right[inside].mean() - confidence[inside].mean())
    return total


def reference_top_k_accuracy(outputs: Any, targets: Any, loss: AbstractLoss, *, k: int) -> float:
    """Return the fraction found by a stable sort: scikit-learn sorts ties the other way round."""
    first = np.argsort(-loss.predictions(outputs), axis=1, kind="stable")[:, :k]
    return float((first == targets[:, None]).any(axis=1).mean())


REFERENCES: dict[str, Callable[..., float]] = {
    "loss": lambda outputs, targets, loss: float(loss.values(outputs, targets).mean()),
    "label_accuracy": lambda outputs, targets, loss: (
        1.0 - float(sk.hamming_loss(targets, loss.decide(outputs, "labels")))
    ),
    "log_loss": reference_log_loss,
    "brier": reference_brier,
    "calibration_error": reference_calibration_error,
    "roc_auc": partial(reference_ranking, function=sk.roc_auc_score),
    "average_precision": partial(reference_ranking, function=sk.average_precision_score),
    "precision": partial(reference_of_positives, function=sk.precision_score),
    "recall": partial(reference_of_positives, function=sk.recall_score),
    "f1": partial(reference_of_positives, function=sk.f1_score),
    "top_k_accuracy": reference_top_k_accuracy,
}


def counterpart(name: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the function of scikit-learn that a metric is named after, and the options that make it comparable.

    Raises:
        LookupError: if there is none; the message says what to do.
    """
    stem, _, average = name.rpartition("_")
    stem, options = (stem, {"average": average}) if average in ("macro", "micro", "weighted") else (name, {})
    stem = OTHER_NAMES.get(stem, stem)
    for spelling in (stem, f"{stem}_score", f"{stem}_loss", f"{stem}_error"):
        function = getattr(sk, spelling, None)
        if function is not None:
            parameters = inspect.signature(function).parameters
            return function, options | ({"zero_division": 0.0} if "zero_division" in parameters else {})
    raise LookupError(
        f'scikit-learn has no metric called "{name}": add its name to OTHER_NAMES, or a formula to REFERENCES, in '
        "tests/mlp/test_metrics.py."
    )


def reference(part: AbstractMetric, outputs: Any, targets: Any, loss: AbstractLoss) -> float:
    """Return what an independent implementation gives for a metric; nan where it has no value."""
    fields = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
    if part.name in REFERENCES:
        return REFERENCES[part.name](outputs, targets, loss, **fields)
    function, options = counterpart(part.name)
    task: Task = "classes" if targets.ndim == 1 else "labels" if targets.dtype == np.uint8 else "values"
    given = list(inspect.signature(function).parameters)[1]
    predicted = loss.decide(outputs, task) if given == "y_pred" else loss.predictions(outputs)
    if task == "labels" and targets.shape[1] == 1:  # scikit-learn takes one column for two classes
        targets, predicted = np.repeat(targets, 2, axis=1), np.repeat(predicted, 2, axis=1)
    return float(function(targets, predicted, **options, **fields))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true:UserWarning")
@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")
@settings(quick, max_examples=20)  # there are some 30 variants of this test
@given(data=st.data())
@pytest.mark.parametrize(("name", "task"), METRIC_TASKS)
def test_a_metric_agrees_with_an_independent_implementation(name: str, task: Task, data: Any) -> None:
    part = data.draw(records(metrics.lookup(name)))
    outputs, targets = data.draw(EXAMPLES[task])
    expected = reference(part, outputs, targets, LOSSES[task])
    # Where a formula has no value, ours is undefined, or takes the one that its docstring states.
    assume(np.isfinite(expected) or part.may_be_undefined)
    assert part.compute(outputs, targets, LOSSES[task]) == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True)


def test_a_metric_unknown_to_scikit_learn_is_reported_with_the_table_to_edit() -> None:
    with pytest.raises(LookupError, match=r'no metric called "luck": add .* in tests/mlp/test_metrics\.py'):
        counterpart("luck")


@quick
@given(case=outputs_and_classes(k=2))
def test_the_brier_score_of_two_classes_is_twice_that_of_the_second_class(case: Any) -> None:
    outputs, classes = case
    score = sk.brier_score_loss(classes, SOFTMAX.probabilities(outputs)[:, 1], pos_label=1)
    assert metric("brier", outputs, classes, SOFTMAX) == pytest.approx(2.0 * score)


@pytest.mark.parametrize("k", [3, 5])
def test_the_area_under_the_roc_curve_of_many_classes_is_the_mean_of_each_against_the_rest(k: int) -> None:
    rng = np.random.default_rng(0)
    outputs, classes = rng.normal(size=(200, k)), rng.integers(0, k, 200)
    expected = sk.roc_auc_score(classes, SOFTMAX.probabilities(outputs), multi_class="ovr")
    assert metric("roc_auc", outputs, classes, SOFTMAX) == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_top_k_accuracy_agrees_with_scikit_learn_where_there_are_no_ties(k: int) -> None:
    rng = np.random.default_rng(0)
    outputs, classes = rng.normal(size=(200, 6)), rng.integers(0, 6, 200)
    expected = sk.top_k_accuracy_score(classes, outputs, k=k)
    assert TopKAccuracy(k).compute(outputs, classes, SOFTMAX) == pytest.approx(expected)


@quick
@given(case=outputs_and_classes())
def test_the_confusion_matrix_agrees_with_scikit_learn(case: Any) -> None:
    outputs, classes = case
    k, predicted = outputs.shape[1], outputs.argmax(axis=1)
    found = confusion_matrix(classes.astype(np.uint8), predicted, k)
    np.testing.assert_array_equal(found, sk.confusion_matrix(classes, predicted, labels=range(k)))


# By hand


def test_the_calibration_error_matches_a_result_worked_by_hand() -> None:
    # Two examples are in the bin (0.8, 0.8667], one of them right: |1 - 0.83 - 0.85| = 0.68. The third is in the bin
    # (0.9333, 1] and right: 1 - 0.96 = 0.04.
    outputs = logits_of([[0.83, 0.17], [0.15, 0.85], [0.96, 0.04]])
    assert metric("calibration_error", outputs, [0, 0, 0], SOFTMAX) == pytest.approx((0.68 + 0.04) / 3)


def test_accuracy_resolves_a_tie_in_favour_of_the_first_class() -> None:
    outputs, classes = [[1.0, 1.0], [0.0, 0.0], [0.0, 1.0], [2.0, 1.0]], [0, 1, 1, 1]
    assert metric("accuracy", outputs, classes, SOFTMAX) == 0.5


def test_a_network_whose_outputs_are_all_equal_scores_no_better_than_chance() -> None:
    outputs, classes = np.zeros((10, 10)), np.arange(10)
    assert metric("accuracy", outputs, classes, SOFTMAX) == 0.1
    assert metric("top_k_accuracy", outputs, classes, SOFTMAX) == 0.5
    assert metric("roc_auc", outputs, classes, SOFTMAX) == 0.5
    assert metric("brier", outputs, classes, SOFTMAX) == pytest.approx(0.9)


@pytest.mark.parametrize("name", [name for name in metrics if "classes" in metrics.lookup(name).tasks])
def test_a_metric_is_the_same_for_one_output_as_for_two_outputs_of_two_classes(name: str) -> None:
    _, outputs, classes = learnable(BINARY, "classes", np.float64, n=50)
    both = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    assert metric(name, outputs, classes, BINARY) == pytest.approx(metric(name, both, classes, SOFTMAX))


# Where a formula divides zero by zero, or there are too few examples


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("roc_auc", np.nan),
        ("average_precision", np.nan),
        ("balanced_accuracy", 1.0),
        ("f1_macro", 1.0),
        ("log_loss", np.log(1.25)),
    ],
)
def test_with_only_one_class_a_metric_has_its_documented_value(name: str, value: float) -> None:
    outputs = logits_of([[0.1, 0.8, 0.1], [0.1, 0.8, 0.1]])
    assert metric(name, outputs, [1, 1], SOFTMAX) == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_a_score_of_the_positive_class_is_undefined_without_positives(name: str) -> None:
    outputs = [[-1.0], [-1.0]]
    assert np.isnan(metric(name, outputs, [0, 0], BINARY))
    assert metric(name, outputs, [0, 1], BINARY) == pytest.approx(np.nan if name == "precision" else 0.0, nan_ok=True)
    with pytest.raises(ConfigError, match=f'the metric "{name}" needs exactly 2 classes, got 3; use "{name}_macro"'):
        metrics.decode(name).check_targets("classes", 3)


@pytest.mark.parametrize("name", ["precision_macro", "recall_macro", "f1_macro", "precision_micro", "f1_micro"])
def test_a_label_that_is_neither_true_nor_predicted_counts_as_0(name: str) -> None:
    assert metric(name, [[-1.0], [-1.0]], [[0], [0]], BINARY) == 0.0


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e30])
def test_r2_of_equal_targets_is_1_for_exact_outputs_and_0_otherwise(constant: float) -> None:
    targets = np.full((7, 2), constant)
    assert metric("r2", targets, targets, SQUARED) == 1.0
    assert metric("r2", targets + np.array([0.0, constant + 1.0]), targets, SQUARED) == 0.5
    assert metric("r2", targets[:1] + constant + 1.0, targets[:1], SQUARED) == 0.0


def test_the_log_loss_of_a_confident_error_is_finite() -> None:
    outputs = [[1e4, -1e4], [-1e4, 1e4]]
    eps = np.finfo(np.float64).eps
    assert metric("log_loss", outputs, [1, 1], SOFTMAX) == pytest.approx(-np.log(eps) / 2)
    assert metric("log_loss", [[1e4, -1e4]], [[0, 0]], BINARY) == pytest.approx(-np.log(eps) / 2)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("loss", list(losses))
@pytest.mark.parametrize("name", list(metrics))
def test_a_metric_of_few_examples_or_huge_outputs_is_finite_and_does_not_warn(name: str, loss: str, n: int) -> None:
    part = losses.decode(loss)
    for task in set(metrics.lookup(name).tasks) & set(part.tasks):
        _, outputs, targets = learnable(part, task, np.float32, n=n)
        for scale in (0.0, 1.0, 1e15):
            value = metric(name, outputs * np.float32(scale), targets, part)
            assert np.isfinite(value) or (np.isnan(value) and metrics.lookup(name).may_be_undefined)


def test_the_area_under_the_roc_curve_is_exact_where_float32_probabilities_saturate() -> None:
    outputs = np.array([[20.0], [25.0], [30.0], [22.0]], np.float32)
    assert metric("roc_auc", outputs, [0, 1, 1, 0], BINARY) == 1.0


# Evaluation and keys


def test_the_standard_metrics_depend_on_the_task() -> None:
    assert [metric.name for metric in standard("classes")] == ["loss", "accuracy"]
    assert [metric.name for metric in standard("labels")] == ["loss", "label_accuracy"]
    assert [metric.name for metric in standard("values")] == ["loss", "r2"]


def test_an_evaluation_lists_each_metric_once_under_its_part_of_the_data() -> None:
    _, outputs, classes = learnable(SOFTMAX, "classes", np.float32)
    extra = tuple(map(metrics.decode, ("f1_macro", "accuracy")))
    found = evaluate(outputs, classes, SOFTMAX, "validation", "classes", extra)
    assert list(found) == ["validation/loss", "validation/accuracy", "validation/f1_macro"]
    assert found["validation/f1_macro"] == metric("f1_macro", outputs, classes, SOFTMAX)


def test_weights_affect_the_loss_and_no_other_metric() -> None:
    _, outputs, classes = learnable(SOFTMAX, "classes", np.float64)
    weights = np.array([0.0, 1.0, 2.0, 0.0, 0.5, 0.0, 1.0])
    plain = evaluate(outputs, classes, SOFTMAX, "train", "classes")
    found = evaluate(outputs, classes, SOFTMAX, "train", "classes", (), weights)
    assert found["train/accuracy"] == plain["train/accuracy"]
    expected = np.average(SOFTMAX.values(outputs, classes), weights=weights)
    assert found["train/loss"] == pytest.approx(expected) != pytest.approx(plain["train/loss"])
    assert evaluate(outputs, classes, SOFTMAX, "train", "classes", (), 0.0 * weights)["train/loss"] == 0.0


def test_a_metric_for_another_task_names_those_for_the_task() -> None:
    metrics.decode("r2").check_task("values")
    fitting = ", ".join(name for name in metrics if "values" in metrics.lookup(name).tasks)
    with pytest.raises(ConfigError) as error:
        metrics.decode("accuracy").check_task("values")
    assert str(error.value) == (
        f'the metric "accuracy" is for classes and labels, but the targets are values; use one of {fitting}.'
    )


@pytest.mark.parametrize("key", ["accuracy", "test/accuracy", "train/f2", "train/", "train/accuracy/x", ""])
def test_an_unknown_metric_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f'there is no metric "{key}"'):
        direction(key)


@pytest.mark.parametrize(
    ("key", "suggested"),
    [
        ("accuracy", "validation/accuracy"),
        ("test/accuracy", "validation/accuracy"),
        ("val_accuracy", "validation/accuracy"),
        ("acc", "validation/accuracy"),
        ("val_loss", "validation/loss"),
        ("train_loss", "train/loss"),
        ("train/acc", "train/accuracy"),
        ("AUC", "validation/roc_auc"),
        ("best/validation/f1_macro", "validation/f1_macro"),
    ],
)
def test_a_validation_metric_is_suggested_unless_the_key_names_the_training_part(key: str, suggested: str) -> None:
    with pytest.raises(ConfigError, match=rf'there is no metric "{key}"\. Did you mean "{suggested}"\?'):
        direction(key)
