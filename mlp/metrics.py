"""Metrics: what a training is judged by. Each knows which way is better, and which tasks it judges.

A metric is finite wherever the outputs are, also where its formula divides zero by zero: it then takes the value
that its docstring names, so that a value that is not finite always means divergence. All sums are in float64.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError
from mlp.losses import AbstractLoss, Task
from mlp.records import number
from mlp.registry import AbstractPart, Registry

Direction = Literal["minimize", "maximize"]

N_BINS = 15


class AbstractMetric(AbstractPart):
    """A number that sums up the outputs for a set of examples.

    Attributes:
        direction: which way is better.
        tasks: what it judges.
    """

    direction: ClassVar[Direction]
    tasks: ClassVar[tuple[Task, ...]]

    @abstractmethod
    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        """Return the metric of raw outputs.

        Args:
            outputs: raw outputs, shape (n, width), at least one row.
            targets: integers of shape (n,) for classes, else rows of shape (n, m).
            loss: what the outputs were learnt with, which knows what they mean.
            weights: of the examples in the loss, shape (n,); no other metric looks at them.
        """

    def check_task(self, task: Task) -> None:
        """Refuse a task that this metric does not judge.

        Raises:
            ConfigError: with the metrics that would.
        """
        if task not in self.tasks:
            fitting = [name for name in metrics if task in metrics.lookup(name).tasks]
            raise ConfigError(
                f'the metric "{self.name}" judges {" or ".join(self.tasks)}, but the targets are {task}, '
                f"which these judge: {', '.join(fitting)}."
            )


metrics: Registry[AbstractMetric] = Registry("metric")
AbstractMetric.family = metrics


@metrics.register("loss")
@dataclass(frozen=True)
class Loss(AbstractMetric):
    """The mean of the training's own loss, weighted where examples have weights; 0 where all of those are 0."""

    direction: ClassVar[Direction] = "minimize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes", "labels", "values")

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        values = loss.values(outputs, targets)
        if weights is None:
            return float(np.mean(values, dtype=np.float64))
        total = weights.sum(dtype=np.float64)
        return float(np.sum(values * weights, dtype=np.float64) / total) if total else 0.0


@metrics.register("accuracy")
@dataclass(frozen=True)
class Accuracy(AbstractMetric):
    """The fraction of examples that are right, the first of equal outputs winning; of labels, all must be right."""

    direction: ClassVar[Direction] = "maximize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes", "labels")

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        if targets.ndim == 1:
            return float(np.mean(loss.decide(outputs, "classes") == targets))
        return float(np.mean((loss.decide(outputs, "labels") == targets).all(axis=1)))


@metrics.register("label_accuracy")
@dataclass(frozen=True)
class LabelAccuracy(AbstractMetric):
    """The fraction of all labels of all examples that are right: 1 less the Hamming loss."""

    direction: ClassVar[Direction] = "maximize"
    tasks: ClassVar[tuple[Task, ...]] = ("labels",)

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        return float(np.mean(loss.decide(outputs, "labels") == targets))


@metrics.register("top_k_accuracy")
@dataclass(frozen=True)
class TopKAccuracy(AbstractMetric):
    """The fraction of examples whose class is among the k likeliest, the first of equal outputs winning."""

    direction: ClassVar[Direction] = "maximize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes",)
    k: int = number(5, at_least=1)

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        scores = outputs if outputs.shape[1] > 1 else loss.probabilities(outputs)
        own = scores[np.arange(len(targets)), targets][:, None]
        is_earlier = np.arange(scores.shape[1]) < targets[:, None]
        n_before = ((scores > own) | ((scores == own) & is_earlier)).sum(axis=1)
        return float(np.mean(n_before < self.k))


class AbstractCounting(AbstractMetric):
    """A metric of how often each class or label is right, predicted and true; 0 / 0 counts as 0.

    A class that is neither true nor predicted anywhere has no part in an average; a label always has.
    """

    direction: ClassVar[Direction] = "maximize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes", "labels")

    @abstractmethod
    def summarize(self, right: Array, predicted: Array, true: Array) -> float:
        """Return the metric of three counts for each class or label."""

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        if targets.ndim == 2:
            decided, true = loss.decide(outputs, "labels") > 0, targets > 0
            return self.summarize((decided & true).sum(axis=0), decided.sum(axis=0), true.sum(axis=0))
        matrix = confusion_matrix(targets, loss.decide(outputs, "classes"), max(2, outputs.shape[1]))
        right, predicted, true = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)
        occurs = predicted + true > 0
        return self.summarize(right[occurs], predicted[occurs], true[occurs])


@metrics.register("balanced_accuracy")
@dataclass(frozen=True)
class BalancedAccuracy(AbstractCounting):
    """The mean, over the classes that occur in the targets, of the fraction of their examples that are right."""

    tasks: ClassVar[tuple[Task, ...]] = ("classes",)

    def summarize(self, right: Array, predicted: Array, true: Array) -> float:
        return float(np.mean(right[true > 0] / true[true > 0]))


@metrics.register("precision_macro")
@dataclass(frozen=True)
class PrecisionMacro(AbstractCounting):
    """The mean over classes or labels of how many of the predicted are true."""

    def summarize(self, right: Array, predicted: Array, true: Array) -> float:
        return float(np.mean(_ratio(right, predicted)))


@metrics.register("precision_micro")
@dataclass(frozen=True)
class PrecisionMicro(AbstractCounting):
    """How many of all predicted are true; for classes the same as accuracy."""

    def summarize(self, right: Array, predicted: Array, true: Array) -> float:
        return float(_ratio(right.sum(), predicted.sum()))


@metrics.register("recall_macro")
@dataclass(frozen=True)
class RecallMacro(AbstractCounting):
    """The mean over classes or labels of how many of the true are predicted."""

    def summarize(self, right: Array, predicted: Array, true: Array) -> float:
        return float(np.mean(_ratio(right, true)))


@metrics.register("recall_micro")
@dataclass(frozen=True)
class RecallMicro(AbstractCounting):
    """How many of all true are predicted; for classes the same as accuracy."""

    def summarize(self, right: Array, predicted: Array, true: Array) -> float:
        return float(_ratio(right.sum(), true.sum()))


@metrics.register("f1_macro")
@dataclass(frozen=True)
class F1Macro(AbstractCounting):
    """The mean over classes or labels of the harmonic mean of precision and recall."""

    def summarize(self, right: Array, predicted: Array, true: Array) -> float:
        return float(np.mean(_ratio(2 * right, predicted + true)))


@metrics.register("f1_micro")
@dataclass(frozen=True)
class F1Micro(AbstractCounting):
    """The harmonic mean of micro precision and micro recall; for classes the same as accuracy."""

    def summarize(self, right: Array, predicted: Array, true: Array) -> float:
        return float(_ratio(2 * right.sum(), predicted.sum() + true.sum()))


@metrics.register("log_loss")
@dataclass(frozen=True)
class LogLoss(AbstractMetric):
    """The mean of -log of the probability given to what is true, for labels over all of them.

    Probabilities are cut to float64's eps and 1 - eps, so that one sure error costs 36 and not everything.
    """

    direction: ClassVar[Direction] = "minimize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes", "labels")

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        p = _probabilities(outputs, targets, loss)
        true = p[np.arange(len(targets)), targets] if targets.ndim == 1 else np.where(targets > 0, p, 1.0 - p)
        eps = np.finfo(np.float64).eps
        return float(np.mean(-np.log(np.clip(true, eps, 1.0 - eps))))


@metrics.register("brier")
@dataclass(frozen=True)
class Brier(AbstractMetric):
    """The mean over examples of the sum, over all classes, of (p - 1)^2 for the true one and p^2 for the others.

    This is the definition of Brier 1950, Monthly Weather Review 78(1), equation 2, from 0 to 2: for two classes twice
    the customary (p - t)^2. For labels it is the mean of (p - t)^2 over all of them.
    """

    direction: ClassVar[Direction] = "minimize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes", "labels")

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        p = _probabilities(outputs, targets, loss)
        if targets.ndim == 2:
            return float(np.mean(np.square(p - targets)))
        p[np.arange(len(targets)), targets] -= 1.0
        return float(np.mean(np.square(p).sum(axis=1)))


@metrics.register("calibration_error")
@dataclass(frozen=True)
class CalibrationError(AbstractMetric):
    """The expected calibration error: equation 3 of Guo et al. 2017, arXiv:1706.04599, with 15 bins of equal width.

    Examples are binned by the probability of the predicted class, each bin open below and closed above.
    """

    direction: ClassVar[Direction] = "minimize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes",)

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        confidence = _probabilities(outputs, targets, loss).max(axis=1)
        is_right = loss.decide(outputs, "classes") == targets
        bins = np.clip(np.ceil(confidence * N_BINS), 1, N_BINS).astype(np.intp)
        return float(np.abs(np.bincount(bins, weights=is_right - confidence)).sum() / len(targets))


@metrics.register("roc_auc")
@dataclass(frozen=True)
class RocAuc(AbstractMetric):
    """The probability that a true example has a larger output than another one, a tie counting half.

    It is the mean over labels, or over each class against the rest (of two classes, the second); those that all or
    none of the examples have do not count, and where none counts, the value is 0.5.
    """

    direction: ClassVar[Direction] = "maximize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes", "labels")

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        scores = _probabilities(outputs, targets, loss)
        is_true = targets > 0 if targets.ndim == 2 else targets[:, None] == np.arange(scores.shape[1])
        if targets.ndim == 1 and scores.shape[1] == 2:
            scores, is_true = scores[:, 1:], is_true[:, 1:]
        areas = [
            _area_under_roc(column[own], column[~own])
            for column, own in zip(scores.T, is_true.T, strict=True)
            if own.any() and not own.all()
        ]
        return float(np.mean(areas)) if areas else 0.5


class AbstractErrorMetric(AbstractMetric):
    """A metric of the errors of predicted values."""

    direction: ClassVar[Direction] = "minimize"
    tasks: ClassVar[tuple[Task, ...]] = ("values",)

    @abstractmethod
    def summarize(self, errors: Array, targets: Array) -> float:
        """Return the metric of errors and targets, both of shape (n, m) and float64."""

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        targets = targets.astype(np.float64)
        return self.summarize(loss.predictions(outputs.astype(np.float64)) - targets, targets)


@metrics.register("mse")
@dataclass(frozen=True)
class Mse(AbstractErrorMetric):
    """The squared error, averaged over examples and outputs."""

    def summarize(self, errors: Array, targets: Array) -> float:
        return float(np.mean(np.square(errors)))


@metrics.register("rmse")
@dataclass(frozen=True)
class Rmse(AbstractErrorMetric):
    """The root of each output's mean squared error, averaged over the outputs."""

    def summarize(self, errors: Array, targets: Array) -> float:
        return float(np.mean(np.sqrt(np.mean(np.square(errors), axis=0))))


@metrics.register("mae")
@dataclass(frozen=True)
class Mae(AbstractErrorMetric):
    """The absolute error, averaged over examples and outputs."""

    def summarize(self, errors: Array, targets: Array) -> float:
        return float(np.mean(np.abs(errors)))


@metrics.register("r2")
@dataclass(frozen=True)
class R2(AbstractErrorMetric):
    """1 less the squared error as a fraction of the targets' variance, averaged over the outputs.

    An output whose targets are all alike counts as 1 where it is exact, else as 0.
    """

    direction: ClassVar[Direction] = "maximize"

    def summarize(self, errors: Array, targets: Array) -> float:
        error = np.square(errors).sum(axis=0)
        shifted = targets - targets[0]  # equal numbers may differ from their mean, but not where they are all 0
        spread = np.square(shifted - shifted.mean(axis=0)).sum(axis=0)
        ratio = np.divide(error, spread, out=(error > 0).astype(np.float64), where=spread > 0)
        return float(np.mean(1.0 - ratio))


def confusion_matrix(true: Array, predicted: Array, k: int) -> Array:
    """Return how many examples of each true class (row) are predicted as each class (column), shape (k, k)."""
    pairs = true.astype(np.intp) * k + predicted.astype(np.intp)
    return np.bincount(pairs, minlength=k * k).reshape(k, k)


def _ratio(part: Array, whole: Array) -> Array:
    """Return part / whole, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)


def _probabilities(outputs: Array, targets: Array, loss: AbstractLoss) -> Array:
    """Return the probability of each class or label, in float64, where few that differ are rounded to the same."""
    wide = outputs.astype(np.float64)
    return loss.probabilities(wide) if targets.ndim == 1 else np.clip(loss.predictions(wide), 0.0, 1.0)


def _area_under_roc(true: Array, others: Array) -> float:
    """Return in which fraction of all pairs the true example is ahead: the statistic of Mann & Whitney 1947."""
    others = np.sort(others)
    n_below, n_not_above = (np.searchsorted(others, true, side).mean() for side in ("left", "right"))
    return float((n_below + n_not_above) / (2 * len(others)))
