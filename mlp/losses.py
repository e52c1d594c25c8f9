"""Losses and their gradients.

A loss takes the raw outputs of the network and applies the output function itself, so that the two always match.
Targets of shape (b,) are one class per example; targets of shape (b, m) are the labels or the values of an example.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from mlp.activations import activations
from mlp.arrays import Array
from mlp.errors import ConfigError
from mlp.records import number
from mlp.registry import AbstractPart, Registry

Task = Literal["classes", "labels", "values"]
Output = Literal["identity", "sigmoid", "tanh", "relu", "softplus", "softmax"]

# All output functions but softmax are activations.
ELEMENTWISE = {name: activations.decode(name) for name in get_args(Output) if name != "softmax"}
SAFE = 1e37  # a sum of squares below this has not overflowed, even in float32 (3.4e38 at most)


class AbstractLoss(AbstractPart):
    """A loss over a batch of `b` outputs of some width, and its gradient.

    Attributes:
        tasks: the supported kinds of targets: `classes` (one of k classes; integers in 0..k-1, shape (b,)), `labels`
            (any of m labels; 0 or 1, shape (b, m)) or `values` (m numbers, shape (b, m)).
    """

    tasks: ClassVar[tuple[Task, ...]]

    def n_outputs(self, task: Task, n_targets: int) -> int:
        """Return the width of the network's last layer for `n_targets` classes, labels or values.

        Raises:
            ConfigError: if the loss does not support the task.
        """
        if task not in self.tasks:
            fitting = [name for name in losses if task in losses.lookup(name).tasks]
            raise ConfigError(
                f'the loss "{self.name}" supports {" and ".join(self.tasks)}, but the targets are {task}; '
                f"use one of {', '.join(fitting)}."
            )
        return n_targets

    @abstractmethod
    def values(self, outputs: Array, targets: Array) -> Array:
        """Return the loss of each example, shape (b,)."""

    @abstractmethod
    def gradient(self, outputs: Array, targets: Array, dz: Array, weights: Array | None = None) -> None:
        """Write the gradient of the mean loss with respect to `outputs` into `dz`.

        Overflow is handled, but NumPy may warn of it: call this within `np.errstate(all="ignore")`.

        Args:
            outputs: raw outputs, shape (b, width).
            targets: integers of shape (b,), or rows of shape (b, m).
            dz: a contiguous array of the shape and type of `outputs`, overwritten.
            weights: the weight of each example, not negative, shape (b,). The mean is then sum(w l) / sum(w); if all
                weights are 0, the gradient is 0.
        """

    @abstractmethod
    def predictions(self, outputs: Array) -> Array:
        """Return the outputs on the scale of the targets, as probabilities or values; the shape does not change."""

    @abstractmethod
    def outputs_for(self, predictions: Array, task: Task) -> Array:
        """Return raw outputs, shape (n, width), that lead to some predictions, such as the mean of several networks.

        Args:
            predictions: float64 numbers of the shape and meaning of `probabilities` for the task `classes`, and of
                `predictions` for other tasks.
            task: the task.
        """

    def probabilities(self, outputs: Array) -> Array:
        """Return the probability of each class, shape (n, k), for the task `classes`; each row sums to 1."""
        return self.predictions(outputs)

    @abstractmethod
    def decide(self, outputs: Array, task: Task) -> Array:
        """Return the predicted classes (integers, shape (n,)), labels (0 or 1 in uint8, (n, m)) or values ((n, m))."""


losses: Registry[AbstractLoss] = Registry("loss")
AbstractLoss.family = losses


@losses.register("softmax_cross_entropy")
@dataclass(frozen=True)
class SoftmaxCrossEntropy(AbstractLoss):
    """-sum of q log softmax(z), where q is 1 at the class and 0 elsewhere; its gradient is softmax(z) - q.

    Attributes:
        label_smoothing: the fraction of q that is spread evenly over all k classes, the true one included (section 7
            of Szegedy et al. 2016, arXiv:1512.00567).
    """

    tasks: ClassVar[tuple[Task, ...]] = ("classes",)
    label_smoothing: float = number(0.0, at_least=0.0, below=1.0)

    def values(self, outputs: Array, targets: Array) -> Array:
        b, k = outputs.shape
        columns = _shifted_columns(outputs)
        cost = columns.ravel()[np.arange(b) + targets.astype(np.intp, copy=False) * b]
        if self.label_smoothing:
            cost = (1.0 - self.label_smoothing) * cost + self.label_smoothing * np.dot(_mean_of(k, cost.dtype), columns)
        np.exp(columns, out=columns)
        values: Array = np.log(columns.sum(axis=0)) - cost
        return values

    def gradient(self, outputs: Array, targets: Array, dz: Array, weights: Array | None = None) -> None:
        b, k = outputs.shape
        starts, shares, ones = _constants(b, k, outputs.dtype)
        if weights is not None:
            shares = _weighted_shares(weights).astype(dz.dtype, copy=False)
        # Subtracting the largest logit of each row first costs more than all the rest, and is nearly never necessary.
        # So exp is taken directly, and the sums of the rows, which are far fewer, show whether a logit was too large
        # or all logits of a row were too small. The method `dot` takes half a microsecond less than np.dot.
        np.exp(outputs, out=dz)
        sums = dz.dot(ones)
        factors = shares / sums
        if not (sums.dot(sums) < SAFE and factors.dot(factors) < SAFE):
            np.copyto(dz, _shifted_columns(outputs).T)
            np.exp(dz, out=dz)
            factors = shares / dz.dot(ones)
        np.multiply(dz, factors[:, None], out=dz)
        if self.label_smoothing:
            np.subtract(dz, (shares * (self.label_smoothing / k))[:, None], out=dz)
            shares = shares * (1.0 - self.label_smoothing)
        np.subtract.at(dz.ravel(), starts + targets.astype(np.intp, copy=False), shares)

    def predictions(self, outputs: Array) -> Array:
        return softmax(outputs)

    def outputs_for(self, predictions: Array, task: Task) -> Array:
        return INVERSES["softmax"](predictions)

    def decide(self, outputs: Array, task: Task) -> Array:
        classes: Array = outputs.argmax(axis=1)
        return classes


@losses.register("binary_cross_entropy")
@dataclass(frozen=True)
class BinaryCrossEntropy(AbstractLoss):
    """-t log s(z) - (1 - t) log(1 - s(z)), s the sigmoid, averaged over the labels; its gradient is s(z) - t.

    For two classes the network has one output, the log-odds of class 1.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("classes", "labels")

    def n_outputs(self, task: Task, n_targets: int) -> int:
        width = super().n_outputs(task, n_targets)
        if task == "classes" and n_targets != 2:
            raise ConfigError(
                f'the loss "{self.name}" needs exactly 2 classes, got {n_targets}; use "softmax_cross_entropy".'
            )
        return 1 if task == "classes" else width

    def values(self, outputs: Array, targets: Array) -> Array:
        tail = np.log1p(np.exp(-np.abs(outputs)))
        costs = np.maximum(outputs, 0) - (outputs * _rows(targets)).astype(outputs.dtype, copy=False) + tail
        return np.dot(costs, _mean_of(costs.shape[1], costs.dtype))  # type: ignore[no-any-return]

    def gradient(self, outputs: Array, targets: Array, dz: Array, weights: Array | None = None) -> None:
        np.negative(outputs, out=dz)
        np.exp(dz, out=dz)
        np.add(dz, 1, out=dz)
        np.divide(1, dz, out=dz)
        np.subtract(dz, _rows(targets), out=dz)
        _average(dz, weights)

    def predictions(self, outputs: Array) -> Array:
        return activate("sigmoid", outputs)

    def outputs_for(self, predictions: Array, task: Task) -> Array:
        return INVERSES["sigmoid"](predictions[:, 1:] if task == "classes" else predictions)

    def probabilities(self, outputs: Array) -> Array:
        return activate("sigmoid", np.concatenate([-outputs, outputs], axis=1))

    def decide(self, outputs: Array, task: Task) -> Array:
        labels = (outputs > 0).astype(np.uint8)
        return labels[:, 0].astype(np.intp) if task == "classes" else labels


@dataclass(frozen=True)
class AbstractResidualLoss(AbstractLoss):
    """The mean, over the outputs, of a cost of the residual f(z) - t.

    For classes, t is 1 at the output of the true class and 0 at all others.

    Attributes:
        output: the function f.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("classes", "labels", "values")
    output: Output = "identity"

    @abstractmethod
    def cost(self, residual: Array) -> Array:
        """Return the cost of each residual."""

    @abstractmethod
    def slope(self, residual: Array) -> float:
        """Replace each residual by the derivative of its cost, up to a constant factor; return that factor."""

    def values(self, outputs: Array, targets: Array) -> Array:
        residual = activate(self.output, outputs)
        _subtract_targets(residual, targets, out=residual)
        with np.errstate(over="ignore"):  # a cost beyond the largest number of the type is infinite
            return np.dot(self.cost(residual), _mean_of(residual.shape[1], residual.dtype))  # type: ignore[no-any-return]

    def gradient(self, outputs: Array, targets: Array, dz: Array, weights: Array | None = None) -> None:
        if self.output == "identity":
            _subtract_targets(outputs, targets, out=dz)
            factor = self.slope(dz)
        else:
            z = outputs.copy()
            a = _activate_in_place(self.output, z)
            _subtract_targets(a, targets, out=dz)
            factor = self.slope(dz)
            _backward(self.output, z, a, dz)
        _average(dz, weights, factor)

    def predictions(self, outputs: Array) -> Array:
        return activate(self.output, outputs)

    def outputs_for(self, predictions: Array, task: Task) -> Array:
        return INVERSES[self.output](predictions)

    def probabilities(self, outputs: Array) -> Array:
        """Return the predictions, negative ones set to 0, divided by their sum; if it is 0, all are equally likely."""
        shares = np.maximum(self.predictions(outputs), 0)
        sums = shares.sum(axis=1, keepdims=True)
        return np.where(sums > 0, shares, 1) / np.where(sums > 0, sums, shares.shape[1])  # type: ignore[no-any-return]

    def decide(self, outputs: Array, task: Task) -> Array:
        if task == "classes":
            classes: Array = outputs.argmax(axis=1)  # every output function is monotonic
            return classes
        predictions = self.predictions(outputs)
        return (predictions > 0.5).astype(np.uint8) if task == "labels" else predictions


@losses.register("mean_squared_error")
@dataclass(frozen=True)
class MeanSquaredError(AbstractResidualLoss):
    """The cost r²."""

    def cost(self, residual: Array) -> Array:
        return np.square(residual)

    def slope(self, residual: Array) -> float:
        return 2.0


@losses.register("mean_absolute_error")
@dataclass(frozen=True)
class MeanAbsoluteError(AbstractResidualLoss):
    """The cost |r|; the derivative at 0 is taken as 0."""

    def cost(self, residual: Array) -> Array:
        return np.abs(residual)

    def slope(self, residual: Array) -> float:
        np.sign(residual, out=residual)
        return 1.0


@losses.register("huber")
@dataclass(frozen=True)
class Huber(AbstractResidualLoss):
    """The cost r² / 2 where |r| <= delta, else delta (|r| - delta / 2): Huber 1964, doi:10.1214/aoms/1177703732."""

    delta: float = number(1.0, above=0.0, at_most=1e6)

    def cost(self, residual: Array) -> Array:
        size = np.abs(residual)
        near = np.minimum(size, self.delta)
        return near * (size - 0.5 * near)

    def slope(self, residual: Array) -> float:
        np.maximum(residual, -self.delta, out=residual)
        np.minimum(residual, self.delta, out=residual)
        return 1.0


def softmax(z: Array) -> Array:
    """Return exp(z) divided by the sum of its row, shape (n, k)."""
    a = z - z.max(axis=1, keepdims=True)
    np.exp(a, out=a)
    np.divide(a, a.sum(axis=1, keepdims=True), out=a)
    return a  # type: ignore[no-any-return]


def activate(output: Output, outputs: Array) -> Array:
    """Return the output function applied to raw outputs, as a new array."""
    return _activate_in_place(output, outputs.copy())


def _log(a: Array) -> Array:
    logarithm: Array = np.log(np.maximum(a, np.finfo(np.float64).tiny))
    return logarithm


# The inverses of the output functions. A probability of 0 or 1 becomes a large number instead of infinity.
INVERSES: dict[Output, Callable[[Array], Array]] = {
    "identity": np.copy,
    "sigmoid": lambda a: _log(a) - _log(1.0 - a),
    "tanh": lambda a: 0.5 * (_log(1.0 + a) - _log(1.0 - a)),
    "relu": np.copy,
    "softplus": lambda a: a + _log(-np.expm1(-a)),
    "softmax": _log,
}


def _activate_in_place(output: Output, z: Array) -> Array:
    """Return the output function applied to `z`, which may be overwritten."""
    if output == "softmax":
        return softmax(z)
    part = ELEMENTWISE[output]
    a = z if part.in_place else np.empty_like(z)
    part.forward(z, a)
    return a


def _backward(output: Output, z: Array, a: Array, da: Array) -> None:
    """Turn `da` into the gradient with respect to `z`; `z` and `a` are as `_activate_in_place` left them."""
    if output == "softmax":
        _, _, ones = _constants(*a.shape, a.dtype)
        np.subtract(da, np.dot(da * a, ones)[:, None], out=da)
        np.multiply(da, a, out=da)
    else:
        ELEMENTWISE[output].backward(z, a, da)


def _subtract_targets(a: Array, targets: Array, out: Array) -> None:
    """Write `a` minus the targets into `out`; a class stands for the row that is 1 at the class and 0 elsewhere."""
    if targets.ndim == 2:
        np.subtract(a, targets, out=out)
    else:
        np.copyto(out, a)
        starts, _, _ = _constants(*a.shape, a.dtype)
        out.reshape(-1)[starts + targets.astype(np.intp, copy=False)] -= 1


def _rows(targets: Array) -> Array:
    """Return the targets as one row per example."""
    return targets if targets.ndim == 2 else targets[:, None]


def _shifted_columns(outputs: Array) -> Array:
    """Return the outputs minus the largest of their row, as a new array of shape (k, b).

    Rows are usually narrow, and reducing along a narrow axis is several times slower than transposing first.
    """
    columns = outputs.T.copy()
    np.subtract(columns, np.maximum.reduce(columns, axis=0), out=columns)
    return columns


# The loss of a task that `loss = "auto"` means.
USUAL_LOSSES: dict[Task, AbstractLoss] = {
    "classes": SoftmaxCrossEntropy(),
    "labels": BinaryCrossEntropy(),
    "values": MeanSquaredError(),
}


@functools.lru_cache(maxsize=32)
def _constants(b: int, k: int, dtype: np.dtype[Any]) -> tuple[Array, Array, Array]:
    """Return the start of each row in the flat outputs, the share 1/b of each example in a mean, and k ones."""
    return np.arange(0, b * k, k), np.full(b, 1.0 / b, dtype), np.ones(k, dtype)


@functools.lru_cache(maxsize=32)
def _mean_of(m: int, dtype: np.dtype[Any]) -> Array:
    """Return a vector of m times 1/m; a product with it is a mean.

    It divides before it adds, because a sum may overflow where the mean does not.
    """
    return np.full(m, 1.0 / m, dtype)


def _weighted_shares(weights: Array) -> Array:
    """Return the weights divided by their sum; unchanged if all are 0."""
    total = weights.sum(dtype=np.float64)
    return weights / total if total else weights


def _average(dz: Array, weights: Array | None, factor: float = 1.0) -> None:
    """Turn the gradient of a sum over outputs and examples into the gradient of their mean, in place."""
    b, m = dz.shape
    if weights is None:
        np.multiply(dz, factor / (b * m), out=dz)
    else:
        np.multiply(dz, (_weighted_shares(weights) * (factor / m))[:, None], out=dz)
