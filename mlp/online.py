"""Gradient descent by single examples, its updates of the weights put off and made many at a time.

The gradient of one example is an outer product. To add it, a step would go through all weights three times over,
while the products of the example itself go through them once. So the inputs `X` and scaled gradients `D` of the last
few examples stay apart, W + X'D stands for a layer's weights, and X'D is added after a block of them. What enters the
first layer is known beforehand: its products with W, and with each other, are made for a whole block at once. That is
the same rule, its sums in another order.
"""

from __future__ import annotations

import math

import numpy as np

from mlp.arrays import Array, aligned_empty
from mlp.config import TrainConfig
from mlp.losses import AbstractLoss
from mlp.network import Network
from mlp.normalizations import NoNormalization
from mlp.optimizers import Sgd

BLOCK_EXAMPLES = 32


def is_online(config: TrainConfig) -> bool:
    """Return whether a training is plain gradient descent by single examples."""
    plain = Sgd(learning_rate=config.optimizer.learning_rate)
    network = config.network
    if network.dropout or network.input_noise or config.diagnostics or network.normalization != NoNormalization():
        return False
    return config.batch_size == 1 and config.optimizer == plain


class OnlineSteps:
    """Steps by single examples.

    Args:
        network: whose parameters are trained.
        loss: what is learnt from.
    """

    def __init__(self, network: Network, loss: AbstractLoss) -> None:
        self._loss = loss
        space = network.workspace(1)
        self._outputs, self._dz = aligned_empty(space.dz.shape, space.dz.dtype), space.dz
        self._z = [*space.z, self._outputs]
        parts = list(zip(network.weights, network.d_weights, network.biases, strict=True))
        self._first, later = _FirstLayer(*parts[0]), [_LaterLayer(*part) for part in parts[1:]]
        self._layers: list[_FirstLayer | _LaterLayer] = [self._first, *later]
        self._forward = list(zip(later, network.activations, self._z, space.a, self._z[1:], strict=False))
        self._backward = list(zip(later, network.activations, space.z, space.a, space.da, strict=True))[::-1]

    def run(self, x: Array, outputs: Array, targets: Array, weights: Array | None, rates: list[float]) -> bool:
        """Learn from a block of examples, one after the other; return False as soon as a gradient is not finite.

        Args:
            x: shape (b, d), of at most `BLOCK_EXAMPLES`.
            outputs: shape (b, k); the raw outputs of each example are written before it is learnt from.
            targets: of the examples, first axis b.
            weights: of the examples in the loss, shape (b,), or None.
            rates: the learning rate of each step.
        """
        self._first.begin(x)
        for i, rate in enumerate(rates):
            one = slice(i, i + 1)
            if not self._step(i, outputs[one], targets[one], None if weights is None else weights[one], -rate):
                return False
        for layer in self._layers:
            layer.catch_up(len(x))
        return True

    def _step(self, i: int, outputs: Array, targets: Array, weights: Array | None, scale: float) -> bool:
        self._first.forward(i, self._z[0])
        for layer, activation, z, a, z_next in self._forward:
            activation.forward(z, a)
            layer.forward(i, a, z_next)
        np.copyto(outputs, self._outputs)
        dz = self._dz
        self._loss.gradient(outputs, targets, dz, weights)
        if not math.isfinite(dz[0, 0]):
            return False
        for layer, activation, z, a, da in self._backward:
            layer.backward(i, dz, da)
            layer.put_off(i, a, dz, scale)
            activation.backward(z, a, da)
            dz = da
        self._first.put_off(i, dz, scale)
        return True


class _FirstLayer:
    """The weights of the first layer as W + X'D, and its bias as b + the sum of D."""

    def __init__(self, w: Array, scratch: Array, bias: Array | None) -> None:
        n_out = w.shape[1]
        self._w, self._scratch, self._bias = w, scratch, bias
        self._x = w[:0]
        self._z, self._d = (aligned_empty((BLOCK_EXAMPLES, n_out), w.dtype) for _ in range(2))
        self._products = aligned_empty((BLOCK_EXAMPLES, BLOCK_EXAMPLES), w.dtype)
        self._more = aligned_empty((1, n_out), w.dtype)
        # Cut beforehand: a step takes about as long to cut an array as to work on a small one.
        self._views = [
            (self._z[i : i + 1], self._products[i : i + 1, :i], self._d[:i], self._d[i : i + 1])
            for i in range(BLOCK_EXAMPLES)
        ]

    def begin(self, x: Array) -> None:
        """Take the inputs of a block, which are to stay as they are until it is done."""
        b = len(x)
        self._x = x
        np.dot(x, self._w, out=self._z[:b])
        self._products[:b, :b] = np.dot(x, x.T)
        if self._bias is not None:
            self._z[:b] += self._bias
            self._products[:b, :b] += 1.0

    def forward(self, i: int, z: Array) -> None:
        own, shares, earlier, _ = self._views[i]
        np.dot(shares, earlier, out=self._more)
        np.add(own, self._more, out=z)

    def put_off(self, i: int, dz: Array, scale: float) -> None:
        np.multiply(dz, scale, out=self._views[i][3])

    def catch_up(self, b: int) -> None:
        d = self._d[:b]
        np.dot(self._x.T, d, out=self._scratch)
        np.add(self._w, self._scratch, out=self._w)
        if self._bias is not None:
            self._bias += d.sum(axis=0)


class _LaterLayer:
    """The weights of a later layer as W + X'D, and its bias, which is never behind."""

    def __init__(self, w: Array, scratch: Array, bias: Array | None) -> None:
        n_in, n_out = w.shape
        self._w, self._w_t, self._scratch, self._bias = w, w.T, scratch, bias
        self._x, self._d = (aligned_empty((BLOCK_EXAMPLES, n), w.dtype) for n in (n_in, n_out))
        shares, self._more_out, self._more_in = (aligned_empty((1, n), w.dtype) for n in (BLOCK_EXAMPLES, n_out, n_in))
        self._views = [
            (shares[:, :i], self._x[:i], self._x[:i].T, self._d[:i], self._d[:i].T) for i in range(BLOCK_EXAMPLES)
        ]
        self._rows = [(self._x[i : i + 1], self._d[i : i + 1]) for i in range(BLOCK_EXAMPLES)]

    def forward(self, i: int, a: Array, z: Array) -> None:
        shares, _, x_t, d, _ = self._views[i]
        np.dot(a, self._w, out=z)
        np.dot(a, x_t, out=shares)
        np.dot(shares, d, out=self._more_out)
        np.add(z, self._more_out, out=z)
        if self._bias is not None:
            np.add(z, self._bias, out=z)

    def backward(self, i: int, dz: Array, da: Array) -> None:
        shares, x, _, _, d_t = self._views[i]
        np.dot(dz, self._w_t, out=da)
        np.dot(dz, d_t, out=shares)
        np.dot(shares, x, out=self._more_in)
        np.add(da, self._more_in, out=da)

    def put_off(self, i: int, a: Array, dz: Array, scale: float) -> None:
        x, d = self._rows[i]
        np.copyto(x, a)
        np.multiply(dz, scale, out=d)
        if self._bias is not None:
            np.add(self._bias, d[0], out=self._bias)

    def catch_up(self, b: int) -> None:
        np.dot(self._x[:b].T, self._d[:b], out=self._scratch)
        np.add(self._w, self._scratch, out=self._w)
