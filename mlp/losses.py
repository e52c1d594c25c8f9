"""Losses, by what they can learn. They take the network's raw outputs, so that no output activation is paired wrongly.

The shape of the targets says what an example is compared with: one integer of shape (b,) is its class, a row of
shape (b, m) is its labels or its values.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from mlp.activations import (
    AbstractActivation,
    Relu,
    Sigmoid,
    Softplus,
    Tanh,
)
from mlp.arrays import Array
from mlp.errors import ConfigError
from mlp.records import number
from mlp.registry import AbstractPart, Registry

Task = Literal["classes", "labels", "values"]
Output = Literal["identity", "sigmoid", "tanh", "relu", "softplus", "softmax"]

ELEMENTWISE: dict[str, AbstractActivation] = {
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "relu": Relu(),
    "softplus": Softplus(),
}
SAFE = 1e37  # the largest sum of squares that is trusted, below the largest number of float32


class AbstractLoss(AbstractPart):
    """A loss over a batch of `b` outputs of some width, and its gradient.

    Attributes:
        tasks: what it can learn: `classes` (one of k, targets integers in 0..k-1 of shape (b,)), `labels` (any of m,
            targets 0 or 1 of shape (b, m)) or `values` (m numbers, targets of shape (b, m)).
    """

    tasks: ClassVar[tuple[Task, ...]]

    def n_outputs(self, task: Task, n_targets: int) -> int:
        """Return the width of the network's last layer for `n_targets` classes, labels or values.

        Raises:
            ConfigError: when the loss cannot learn the task.
        """
        if task not in self.tasks:
            fitting = [name for name in losses if task in losses.lookup(name).tasks]
            raise ConfigError(
                f'the loss "{self.name}" learns {" or ".join(self.tasks)}, but the targets are {task}, '
                f"which {', '.join(fitting)} would learn."
            )
        return n_targets

    @abstractmethod
    def values(self, outputs: Array, targets: Array) -> Array:
        """Return the loss of each example, shape (b,)."""

    @abstractmethod
    def gradient(self, outputs: Array, targets: Array, dz: Array, weights: Array | None = None) -> None:
        """Write the gradient of the mean loss by `outputs` into `dz`, contiguous and of their shape and type.

        What overflows on the way is mended, but may be reported: call it within `np.errstate(all="ignore")`.

        Args:
            outputs: raw outputs, shape (b, width).
            targets: integers of shape (b,), or rows of shape (b, m).
            dz: is overwritten.
            weights: at least 0 each, shape (b,), for the gradient of the weighted mean sum(w l) / sum(w); where all
                are 0, so is the gradient.
        """

    @abstractmethod
    def predictions(self, outputs: Array) -> Array:
        """Return the outputs in the scale of the targets, in their own shape: probabilities, or values."""

    def probabilities(self, outputs: Array) -> Array:
        """Return the probability of each class, shape (n, k); each row adds up to 1. For `classes` only."""
        return self.predictions(outputs)

    @abstractmethod
    def decide(self, outputs: Array, task: Task) -> Array:
        """Return what is predicted: classes (n,) as integers, labels (n, m) as 0 or 1 in uint8, or values (n, m)."""


losses: Registry[AbstractLoss] = Registry("loss")
AbstractLoss.family = losses


@losses.register("softmax_cross_entropy")
@dataclass(frozen=True)
class SoftmaxCrossEntropy(AbstractLoss):
    """-sum of q log softmax(z), where q is 1 at the class and 0 elsewhere; its gradient is softmax(z) - q.

    Attributes:
        label_smoothing: the part of q that is spread evenly over all k classes, the true one included: section 7 of
            Szegedy et al. 2016, arXiv:1512.00567.
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
        # Logits are nearly always small enough for exp as they are; that none was too large or all of a row's too
        # small shows in the sums, which are far fewer. The method `dot` spends half a microsecond less than np.dot.
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

    def decide(self, outputs: Array, task: Task) -> Array:
        classes: Array = outputs.argmax(axis=1)
        return classes


@losses.register("binary_cross_entropy")
@dataclass(frozen=True)
class BinaryCrossEntropy(AbstractLoss):
    """-t log s(z) - (1 - t) log(1 - s(z)) of the sigmoid s, averaged over the labels; its gradient is s(z) - t.

    Two classes take one output, which says how likely class 1 is.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("classes", "labels")

    def n_outputs(self, task: Task, n_targets: int) -> int:
        width = super().n_outputs(task, n_targets)
        if task == "classes" and n_targets != 2:
            raise ConfigError(
                f'the loss "{self.name}" tells two classes apart, but there are {n_targets}, '
                f"which softmax_cross_entropy would learn."
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

    def probabilities(self, outputs: Array) -> Array:
        return activate("sigmoid", np.concatenate([-outputs, outputs], axis=1))

    def decide(self, outputs: Array, task: Task) -> Array:
        labels = (outputs > 0).astype(np.uint8)
        return labels[:, 0].astype(np.intp) if task == "classes" else labels


@dataclass(frozen=True)
class AbstractResidualLoss(AbstractLoss):
    """A loss that is a mean, over the outputs, of some cost of the residual f(z) - t.

    A class is compared with 1 at its own output and 0 at all others.

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
        """Put the derivative of the cost in the place of each residual, but for a factor, which is returned."""

    def values(self, outputs: Array, targets: Array) -> Array:
        residual = activate(self.output, outputs)
        _subtract_targets(residual, targets, out=residual)
        with np.errstate(over="ignore"):  # a cost that exceeds the type is infinite
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
            _pull_back(self.output, z, a, dz)
        _average(dz, weights, factor)

    def predictions(self, outputs: Array) -> Array:
        return activate(self.output, outputs)

    def probabilities(self, outputs: Array) -> Array:
        """Return the outputs cut to what is at least 0, as fractions of their sum; where that is 0, all are alike."""
        shares = np.maximum(self.predictions(outputs), 0)
        sums = shares.sum(axis=1, keepdims=True)
        return np.where(sums > 0, shares, 1) / np.where(sums > 0, sums, shares.shape[1])  # type: ignore[no-any-return]

    def decide(self, outputs: Array, task: Task) -> Array:
        if task == "classes":
            classes: Array = outputs.argmax(axis=1)  # every output function keeps the order
            return classes
        predictions = self.predictions(outputs)
        return (predictions > 0.5).astype(np.uint8) if task == "labels" else predictions


@losses.register("mean_squared_error")
@dataclass(frozen=True)
class MeanSquaredError(AbstractResidualLoss):
    """The cost r^2."""

    def cost(self, residual: Array) -> Array:
        return np.square(residual)

    def slope(self, residual: Array) -> float:
        return 2.0


@losses.register("mean_absolute_error")
@dataclass(frozen=True)
class MeanAbsoluteError(AbstractResidualLoss):
    """The cost |r|, whose derivative at 0 is 0."""

    def cost(self, residual: Array) -> Array:
        return np.abs(residual)

    def slope(self, residual: Array) -> float:
        np.sign(residual, out=residual)
        return 1.0


@losses.register("huber")
@dataclass(frozen=True)
class Huber(AbstractResidualLoss):
    """The cost r^2 / 2 where |r| <= delta, else delta (|r| - delta / 2): Huber 1964, doi:10.1214/aoms/1177703732."""

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
    """Return exp(z) as fractions of each row's sum, shape (n, k)."""
    a = z - z.max(axis=1, keepdims=True)
    np.exp(a, out=a)
    np.divide(a, a.sum(axis=1, keepdims=True), out=a)
    return a  # type: ignore[no-any-return]


def activate(output: Output, outputs: Array) -> Array:
    """Return the output function of raw outputs, in a new array."""
    return _activate_in_place(output, outputs.copy())


def _activate_in_place(output: Output, z: Array) -> Array:
    """Return the output function of `z`, which it may overwrite, and return."""
    if output == "identity":
        return z
    if output == "softmax":
        return softmax(z)
    part = ELEMENTWISE[output]
    a = z if part.in_place else np.empty_like(z)
    part.forward(z, a)
    return a


def _pull_back(output: Output, z: Array, a: Array, da: Array) -> None:
    """Turn `da` into the gradient by `z`, given both as `_activate_in_place` left them; both are spent afterwards."""
    if output == "softmax":
        _, _, ones = _constants(*a.shape, a.dtype)
        np.subtract(da, np.dot(da * a, ones)[:, None], out=da)
        np.multiply(da, a, out=da)
    else:
        ELEMENTWISE[output].backward(z, a, da)


def _subtract_targets(a: Array, targets: Array, out: Array) -> None:
    """Write the residual, `a` less each example's targets, into `out`: its row, or 1 at its class."""
    if targets.ndim == 2:
        np.subtract(a, targets, out=out)
    else:
        np.copyto(out, a)
        starts, _, _ = _constants(*a.shape, a.dtype)
        out.reshape(-1)[starts + targets.astype(np.intp, copy=False)] -= 1


def _rows(targets: Array) -> Array:
    """Return targets as one row an example."""
    return targets if targets.ndim == 2 else targets[:, None]


def _shifted_columns(outputs: Array) -> Array:
    """Return the outputs less the largest of their row, as a new array of shape (k, b).

    The rows are narrow as a rule, and to reduce along them is several times slower than to turn them first.
    """
    columns = outputs.T.copy()
    np.subtract(columns, np.maximum.reduce(columns, axis=0), out=columns)
    return columns


@functools.lru_cache(maxsize=32)
def _constants(b: int, k: int, dtype: np.dtype[Any]) -> tuple[Array, Array, Array]:
    """Return where each row starts in the flat outputs, the share of each example in a mean, and k ones."""
    return np.arange(0, b * k, k), np.full(b, 1.0 / b, dtype), np.ones(k, dtype)


@functools.lru_cache(maxsize=32)
def _mean_of(m: int, dtype: np.dtype[Any]) -> Array:
    """Return m times 1/m. A product with it divides before it adds, for a sum may exceed what its mean does not."""
    return np.full(m, 1.0 / m, dtype)


def _weighted_shares(weights: Array) -> Array:
    """Return the weights as fractions of their sum, or as they are where all are 0."""
    total = weights.sum(dtype=np.float64)
    return weights / total if total else weights


def _average(dz: Array, weights: Array | None, factor: float = 1.0) -> None:
    """Turn the gradient of each example's sum over its outputs into that of the mean over outputs and examples."""
    b, m = dz.shape
    if weights is None:
        np.multiply(dz, factor / (b * m), out=dz)
    else:
        np.multiply(dz, (_weighted_shares(weights) * (factor / m))[:, None], out=dz)
