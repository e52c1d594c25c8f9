"""Losses. They take the network's raw outputs, so that no output activation can be paired with the wrong loss."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from mlp.arrays import Array
from mlp.registry import AbstractPart, Registry


class AbstractLoss(AbstractPart):
    """A loss over a batch of `b` outputs of width `k`, and its gradient."""

    @abstractmethod
    def values(self, outputs: Array, targets: Array) -> Array:
        """Return the loss of each example, shape (b,)."""

    @abstractmethod
    def gradient(self, outputs: Array, targets: Array, dz: Array) -> None:
        """Write the gradient of the *mean* loss with respect to `outputs` into `dz`, of shape (b, k)."""


losses: Registry[AbstractLoss] = Registry("loss")
AbstractLoss.family = losses


@losses.register("softmax_cross_entropy")
@dataclass(frozen=True)
class SoftmaxCrossEntropy(AbstractLoss):
    """-log softmax(z)[y] for integer labels y in 0..k-1; its gradient is softmax(z) - onehot(y)."""

    def values(self, outputs: Array, targets: Array) -> Array:
        shifted = outputs - outputs.max(axis=1, keepdims=True)
        picked = shifted[np.arange(len(targets)), targets]
        values: Array = np.log(np.exp(shifted).sum(axis=1)) - picked
        return values

    def gradient(self, outputs: Array, targets: Array, dz: Array) -> None:
        b, k = outputs.shape
        np.subtract(outputs, outputs.max(axis=1, keepdims=True), out=dz)
        np.exp(dz, out=dz)
        scale = dz.sum(axis=1, keepdims=True)
        np.multiply(scale, b, out=scale)
        np.divide(dz, scale, out=dz)
        picked = np.arange(0, b * k, k) + targets.astype(np.intp, copy=False)
        flat = dz.reshape(-1)
        flat[picked] -= 1.0 / b
