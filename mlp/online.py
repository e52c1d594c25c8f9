"""Gradient descent by single examples, its updates of the weights put off and made many at a time.

The gradient of one example is an outer product. To add it, a step would go through all weights three times over,
while the products of the example itself go through them once. So the last few inputs `X` and scaled gradients `D` of
each layer stay apart, W + X'D stands for its weights, and X'D is added when there are `RANK` of them. That is the
same rule, its sums in another order.
"""

from __future__ import annotations

import math

import numpy as np

from mlp.arrays import Array, aligned_empty, aligned_zeros
from mlp.config import TrainConfig
from mlp.layers import NoNormalization
from mlp.losses import AbstractLoss
from mlp.network import Network
from mlp.optimizers import Sgd

RANK = 32  # outer products of a layer that are added at once


def is_online(config: TrainConfig) -> bool:
    """Return whether a training is plain gradient descent by single examples."""
    plain = Sgd(learning_rate=config.optimizer.learning_rate)
    network = config.network
    if network.dropout or network.input_noise or config.diagnostics or network.normalization != NoNormalization():
        return False
    return config.batch_size == 1 and config.optimizer == plain


class OnlineSteps:
    """Steps by single examples; between them the network's weights are behind by what has been put off.

    Args:
        network: whose parameters are trained.
        loss: what is learnt from.
    """

    def __init__(self, network: Network, loss: AbstractLoss) -> None:
        self._network = network
        self._loss = loss
        self._space = network.workspace(1)
        parts = zip(network.weights, network.d_weights, network.biases, strict=True)
        self._layers = [_PutOff(w, scratch, bias) for w, scratch, bias in parts]
        self._n_put_off = 0

    def step(self, x: Array, outputs: Array, targets: Array, weights: Array | None, rate: float) -> bool:
        """Learn from one example, write its raw outputs, and return whether its gradient is finite.

        Args:
            x: shape (1, d).
            outputs: shape (1, k), to be written.
            targets: of the example, its first axis of length 1.
            weights: of the example in the loss, shape (1,), or None.
            rate: the learning rate.
        """
        space, activations, layers = self._space, self._network.activations, self._layers
        inputs = [x, *space.a]
        for layer, activation in enumerate(activations):
            layers[layer].forward(inputs[layer], space.z[layer])
            activation.forward(space.z[layer], space.a[layer])
        layers[-1].forward(inputs[-1], outputs)
        dz = space.dz
        self._loss.gradient(outputs, targets, dz, weights)
        if not math.isfinite(dz[0, 0]):
            return False
        for layer in range(len(activations), -1, -1):
            if layer:
                da = space.da[layer - 1]
                layers[layer].backward(dz, da)
            layers[layer].put_off(self._n_put_off, inputs[layer], dz, -rate)
            if layer:
                activations[layer - 1].backward(space.z[layer - 1], space.a[layer - 1], da)
                dz = da
        self._n_put_off += 1
        if self._n_put_off == RANK:
            self.catch_up()
        return True

    def catch_up(self) -> None:
        """Add to the weights all that has been put off."""
        for layer in self._layers:
            layer.add()
        self._n_put_off = 0


class _PutOff:
    """The weights of a layer as W + X'D, and its bias, which is never behind."""

    def __init__(self, w: Array, scratch: Array, bias: Array | None) -> None:
        n_in, n_out = w.shape
        self._w, self._scratch, self._bias = w, scratch, bias
        # Rows of D that are not in use are zero: whole arrays are multiplied, for to cut them costs more.
        self._x, self._d = aligned_zeros((RANK, n_in), w.dtype), aligned_zeros((RANK, n_out), w.dtype)
        self._w_t, self._x_t, self._d_t = w.T, self._x.T, self._d.T
        self._rows = list(zip(np.split(self._x, RANK), np.split(self._d, RANK), strict=True))
        self._shares, self._more_out, self._more_in = (aligned_empty((1, n), w.dtype) for n in (RANK, n_out, n_in))

    def forward(self, a: Array, z: Array) -> None:
        np.dot(a, self._w, out=z)
        np.dot(a, self._x_t, out=self._shares)
        np.dot(self._shares, self._d, out=self._more_out)
        np.add(z, self._more_out, out=z)
        if self._bias is not None:
            np.add(z, self._bias, out=z)

    def backward(self, dz: Array, da: Array) -> None:
        np.dot(dz, self._w_t, out=da)
        np.dot(dz, self._d_t, out=self._shares)
        np.dot(self._shares, self._x, out=self._more_in)
        np.add(da, self._more_in, out=da)

    def put_off(self, n: int, a: Array, dz: Array, scale: float) -> None:
        x, d = self._rows[n]
        np.copyto(x, a)
        np.multiply(dz, scale, out=d)
        if self._bias is not None:
            np.add(self._bias, d[0], out=self._bias)

    def add(self) -> None:
        np.dot(self._x_t, self._d, out=self._scratch)
        np.add(self._w, self._scratch, out=self._w)
        self._d[...] = 0.0
