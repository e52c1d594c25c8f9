"""Metrics. Each states whether it is minimised or maximised, and which tasks it is for.

A metric is finite for all finite outputs. Where its formula divides zero by zero, it takes the value that its docstring
states, so that a value that is not finite always means divergence. All sums are in float64.
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

N_BINS = 15  # of the calibration error


class AbstractMetric(AbstractPart):
    """A number that summarises how well outputs match targets.

    Attributes:
        direction: whether lower or higher values are better.
        tasks: the kinds of targets that it is for.
    """

    direction: ClassVar[Direction]
    tasks: ClassVar[tuple[Task, ...]]

    @abstractmethod
    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        """Return the metric of raw outputs.

        Args:
            outputs: raw outputs, shape (n, width), at least one row.
            targets: integers of shape (n,) for classes, otherwise rows of shape (n, m).
            loss: the loss that the network was trained with; it turns raw outputs into probabilities and decisions.
            weights: the weight of each example, shape (n,); only the metric `loss` uses them.
        """

    def check_task(self, task: Task) -> None:
        """Check that the metric is for the task.

        Raises:
            ConfigError: if it is not; the message names the metrics that are.
        """
        if task not in self.tasks:
            fitting = [name for name in metrics if task in metrics.lookup(name).tasks]
            raise ConfigError(
                f'the metric "{self.name}" is for {" and ".join(self.tasks)}, but the targets are {task}; '
                f"use one of {', '.join(fitting)}."
            )


metrics: Registry[AbstractMetric] = Registry("metric")
AbstractMetric.family = metrics


@metrics.register("loss")
@dataclass(frozen=True)
class Loss(AbstractMetric):
    """The mean of the loss of the training, weighted if examples have weights; 0 if all weights are 0."""

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
    """The fraction of examples whose class, or all of whose labels, are right; the first of equal outputs wins."""

    direction: ClassVar[Direction] = "maximize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes", "labels")

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        if targets.ndim == 1:
            return float(np.mean(loss.decide(outputs, "classes") == targets))
        return float(np.mean((loss.decide(outputs, "labels") == targets).all(axis=1)))


@metrics.register("label_accuracy")
@dataclass(frozen=True)
class LabelAccuracy(AbstractMetric):
    """The fraction of labels, over all examples, that are right: 1 minus the Hamming loss."""

    direction: ClassVar[Direction] = "maximize"
    tasks: ClassVar[tuple[Task, ...]] = ("labels",)

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        return float(np.mean(loss.decide(outputs, "labels") == targets))


@metrics.register("top_k_accuracy")
@dataclass(frozen=True)
class TopKAccuracy(AbstractMetric):
    """The fraction of examples whose class is among the k most likely; the first of equal outputs wins."""

    direction: ClassVar[Direction] = "maximize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes",)
    k: int = number(5, at_least=1)

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        scores = outputs if outputs.shape[1] > 1 else loss.probabilities(outputs)
        own = scores[np.arange(len(targets)), targets][:, None]
        is_earlier = np.arange(scores.shape[1]) < targets[:, None]
        # The rank of the own class in a stable descending sort, without sorting.
        n_before = ((scores > own) | ((scores == own) & is_earlier)).sum(axis=1)
        return float(np.mean(n_before < self.k))


class AbstractCountMetric(AbstractMetric):
    """A metric of three counts per class or label: how often it is true, predicted, and both; 0 / 0 counts as 0.

    A class that is neither true nor predicted anywhere is left out of averages; a label never is. Counts are float64,
    because the product of four counts of a large data set overflows int64.
    """

    direction: ClassVar[Direction] = "maximize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes", "labels")

    @abstractmethod
    def summarize(self, right: Array, predicted: Array, true: Array) -> float:
        """Return the metric, given three counts for each class or label, each of shape (k,) and float64."""

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        if targets.ndim == 2:
            decided, true = loss.decide(outputs, "labels") > 0, targets > 0
            counts = [of.sum(axis=0, dtype=np.float64) for of in (decided & true, decided, true)]
            return self.summarize(*counts)
        matrix = confusion_matrix(targets, loss.decide(outputs, "classes"), max(2, outputs.shape[1])).astype(np.float64)
        right, predicted, true = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)
        occurs = predicted + true > 0
        return self.summarize(right[occurs], predicted[occurs], true[occurs])


@metrics.register("balanced_accuracy")
@dataclass(frozen=True)
class BalancedAccuracy(AbstractCountMetric):
    """The mean recall of the classes that occur in the targets."""

    tasks: ClassVar[tuple[Task, ...]] = ("classes",)

    def summarize(self, right: Array, predicted: Array, true: Array) -> float:
        return float(np.mean(right[true > 0] / true[true > 0]))


@metrics.register("precision_macro")
@dataclass(frozen=True)
class PrecisionMacro(AbstractCountMetric):
    """The mean over classes or labels of the precision: the fraction of the predicted examples that are true."""

    def summarize(self, right: Array, predicted: Array, true: Array) -> float:
        return float(np.mean(_ratio(right, predicted)))


@metrics.register("precision_micro")
@dataclass(frozen=True)
class PrecisionMicro(AbstractCountMetric):
    """The fraction of all predictions that are true; for classes the same as accuracy."""

    def summarize(self, right: Array, predicted: Array, true: Array) -> float:
        return float(_ratio(right.sum(), predicted.sum()))


@metrics.register("recall_macro")
@dataclass(frozen=True)
class RecallMacro(AbstractCountMetric):
    """The mean over classes or labels of the recall: the fraction of the true examples that are predicted."""

    def summarize(self, right: Array, predicted: Array, true: Array) -> float:
        return float(np.mean(_ratio(right, true)))


@metrics.register("recall_micro")
@dataclass(frozen=True)
class RecallMicro(AbstractCountMetric):
    """The fraction of all true classes or labels that are predicted; for classes the same as accuracy."""

    def summarize(self, right: Array, predicted: Array, true: Array) -> float:
        return float(_ratio(right.sum(), true.sum()))


@metrics.register("f1_macro")
@dataclass(frozen=True)
class F1Macro(AbstractCountMetric):
    """The mean over classes or labels of the harmonic mean of precision and recall."""

    def summarize(self, right: Array, predicted: Array, true: Array) -> float:
        return float(np.mean(_ratio(2 * right, predicted + true)))


@metrics.register("f1_micro")
@dataclass(frozen=True)
class F1Micro(AbstractCountMetric):
    """The harmonic mean of micro precision and micro recall; for classes the same as accuracy."""

    def summarize(self, right: Array, predicted: Array, true: Array) -> float:
        return float(_ratio(2 * right.sum(), predicted.sum() + true.sum()))


@metrics.register("log_loss")
@dataclass(frozen=True)
class LogLoss(AbstractMetric):
    """The mean of -log p, where p is the probability of the true class, or of the true state of each label.

    Probabilities are clipped to [eps, 1 - eps], with the eps of float64, so that one confident error costs 36, not
    infinity.
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
    """The mean over examples of the sum over classes of (p - t)², where t is 1 for the true class and 0 for others.

    This is the definition of Brier 1950, Monthly Weather Review 78(1), equation 2. It ranges from 0 to 2; for two
    classes it is twice the score (p - t)² of one class. For labels it is the mean of (p - t)² over all of them.
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

    Examples are binned by the probability of the predicted class; a bin includes its upper edge, not its lower one.
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
    """The area under the ROC curve: how likely a true example has a larger output than another one; ties count half.

    It is the mean over labels, or over each class against the rest (for two classes, of the second class). Labels and
    classes that all or none of the examples have are left out; if none is left, the value is 0.5.
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
    """The root of the mean squared error of each output, averaged over the outputs."""

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
    """The coefficient of determination: 1 - squared error / variance of the targets, averaged over the outputs.

    An output whose targets are all equal counts as 1 if it is exact, otherwise as 0.
    """

    direction: ClassVar[Direction] = "maximize"

    def summarize(self, errors: Array, targets: Array) -> float:
        error = np.square(errors).sum(axis=0)
        # The rounded mean of equal numbers may differ from them, but not if they are all 0.
        shifted = targets - targets[0]
        spread = np.square(shifted - shifted.mean(axis=0)).sum(axis=0)
        ratio = np.divide(error, spread, out=(error > 0).astype(np.float64), where=spread > 0)
        return float(np.mean(1.0 - ratio))


def confusion_matrix(true: Array, predicted: Array, k: int) -> Array:
    """Return how many examples of each true class (row) are predicted as each class (column), shape (k, k)."""
    pairs = true.astype(np.intp) * k + predicted.astype(np.intp)
    return np.bincount(pairs, minlength=k * k).reshape(k, k)


def _ratio(part: Array, whole: Array) -> Array:
    """Return part / whole, and 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)


def _probabilities(outputs: Array, targets: Array, loss: AbstractLoss) -> Array:
    """Return the probability of each class or label in float64, in which unequal outputs rarely round to a tie."""
    wide = outputs.astype(np.float64)
    return loss.probabilities(wide) if targets.ndim == 1 else np.clip(loss.predictions(wide), 0.0, 1.0)


def _area_under_roc(true: Array, others: Array) -> float:
    """Return the fraction of pairs in which the true example has the larger score: Mann & Whitney 1947."""
    # Half the sum of two counts counts ties half; sorting makes it n log n instead of a comparison of all pairs.
    others = np.sort(others)
    n_below, n_not_above = (np.searchsorted(others, true, side).mean() for side in ("left", "right"))
    return float((n_below + n_not_above) / (2 * len(others)))
