"""Metrics of classes and labels."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlp.arrays import Array
from mlp.losses import AbstractLoss, Task
from mlp.metric import AbstractMetric, Direction, metrics
from mlp.records import number

N_BINS = 15  # of the calibration error


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


class AbstractPositiveMetric(AbstractMetric):
    """A metric of the positive class, which is the second of two: `data.positive`, or the second in order."""

    direction: ClassVar[Direction] = "maximize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes",)
    may_be_undefined: ClassVar[bool] = True
    needs_two_classes: ClassVar[bool] = True

    @abstractmethod
    def summarize(self, right: float, predicted: float, true: float) -> float:
        """Return the metric, given how often the positive class is predicted rightly, predicted, and true."""

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        predicted, true = loss.decide(outputs, "classes") == 1, targets == 1
        return self.summarize(*(float(np.count_nonzero(of)) for of in (predicted & true, predicted, true)))


@metrics.register("precision")
@dataclass(frozen=True)
class Precision(AbstractPositiveMetric):
    """The fraction of the examples predicted as positive that are; undefined if none is predicted as positive."""

    def summarize(self, right: float, predicted: float, true: float) -> float:
        return right / predicted if predicted else math.nan


@metrics.register("recall")
@dataclass(frozen=True)
class Recall(AbstractPositiveMetric):
    """The fraction of the positive examples that are predicted as positive; undefined if there is none."""

    def summarize(self, right: float, predicted: float, true: float) -> float:
        return right / true if true else math.nan


@metrics.register("f1")
@dataclass(frozen=True)
class F1(AbstractPositiveMetric):
    """The harmonic mean of precision and recall; undefined if no example is positive or predicted as positive."""

    def summarize(self, right: float, predicted: float, true: float) -> float:
        return 2 * right / (predicted + true) if predicted + true else math.nan


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


class AbstractRankingMetric(AbstractMetric):
    """A metric of how examples are ranked, averaged over labels or over each class against the rest.

    Of two classes only the second counts. Labels and classes that all or none of the examples have are left out; if
    none is left, the metric is undefined.
    """

    direction: ClassVar[Direction] = "maximize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes", "labels")
    may_be_undefined: ClassVar[bool] = True

    @abstractmethod
    def area(self, scores: Array, is_true: Array) -> float:
        """Return the metric of one class or label, given scores and truth of each example, both of shape (n,)."""

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        scores = _probabilities(outputs, targets, loss)
        is_true = targets > 0 if targets.ndim == 2 else targets[:, None] == np.arange(scores.shape[1])
        if targets.ndim == 1 and scores.shape[1] == 2:
            scores, is_true = scores[:, 1:], is_true[:, 1:]
        areas = [
            self.area(column, own)
            for column, own in zip(scores.T, is_true.T, strict=True)
            if own.any() and not own.all()
        ]
        return float(np.mean(areas)) if areas else math.nan


@metrics.register("roc_auc")
@dataclass(frozen=True)
class RocAuc(AbstractRankingMetric):
    """The area under the ROC curve: how likely a true example has a larger output than another one; ties count half."""

    def area(self, scores: Array, is_true: Array) -> float:
        return _area_under_roc(scores[is_true], scores[~is_true])


@metrics.register("average_precision")
@dataclass(frozen=True)
class AveragePrecision(AbstractRankingMetric):
    """The mean of the precision at the score of each true example, over the examples with at least this score."""

    def area(self, scores: Array, is_true: Array) -> float:
        order = np.argsort(-scores, kind="stable")
        sorted_scores, hits = scores[order], np.cumsum(is_true[order])
        ends = np.append(np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1)  # equal scores share a threshold
        gained = np.diff(hits[ends], prepend=0)
        return float(np.sum(gained * hits[ends] / (ends + 1.0)) / hits[-1])


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
