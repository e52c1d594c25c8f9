"""The network: one flat vector of parameters, and the forward and backward pass over views into it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from mlp.activations import AbstractActivation
from mlp.arrays import Array, aligned_empty, aligned_zeros, stream
from mlp.initializers import AbstractInitializer


class Network:
    """A multi-layer perceptron: linear layers with an activation between them, and raw outputs at the end.

    Attributes:
        sizes: widths of all layers, inputs and outputs included.
        theta: all parameters, shape (p,): first every weight matrix, then every bias. What decays is a prefix.
        grad: the gradient of the last `backward`, laid out like theta.
        n_weights: the length of that prefix.
        weights, biases: views into theta, of shapes (n_in, n_out) and (n_out,).
    """

    def __init__(self, sizes: tuple[int, ...], activation: AbstractActivation, *, dtype: Any = np.float32) -> None:
        self.sizes = sizes
        self.activation = activation
        self.dtype = np.dtype(dtype)
        shapes = list(pairwise(sizes))
        self.n_weights = sum(n_in * n_out for n_in, n_out in shapes)
        self.theta = aligned_zeros((self.n_weights + sum(sizes[1:]),), dtype)
        self.grad = aligned_zeros(self.theta.shape, dtype)
        self.weights, self.biases = self._views(self.theta)
        self.d_weights, self.d_biases = self._views(self.grad)
        self._workspaces: dict[int, Workspace] = {}

    def _views(self, vector: Array) -> tuple[list[Array], list[Array]]:
        weights, biases, start = [], [], 0
        for n_in, n_out in pairwise(self.sizes):
            weights.append(vector[start : start + n_in * n_out].reshape(n_in, n_out))
            start += n_in * n_out
        for n_out in self.sizes[1:]:
            biases.append(vector[start : start + n_out])
            start += n_out
        return weights, biases

    def initialize(self, weights: AbstractInitializer, biases: AbstractInitializer, *, seed: int) -> None:
        """Draw all parameters anew; the last layer has no activation, so its gain is 1."""
        for layer, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            n_in, n_out = w.shape
            gain = self.activation.init_gain() if layer < len(self.weights) - 1 else 1.0
            w[...] = weights.sample(n_in, n_out, gain=gain, rng=stream(seed, "init", layer))
            b[...] = biases.sample(n_out, 1, gain=gain, rng=stream(seed, "init bias", layer))[:, 0]

    def workspace(self, b: int) -> Workspace:
        """Return the memory of a batch of `b` examples, made when a size is first seen."""
        if b not in self._workspaces:
            self._workspaces[b] = Workspace(b, self.sizes, self.activation.in_place, self.dtype)
        return self._workspaces[b]

    def forward(self, x: Array, outputs: Array) -> None:
        """Write the raw outputs for `x`, shape (b, d), into `outputs`, shape (b, k)."""
        space = self.workspace(len(x))
        a = x
        for layer, (z, a_next) in enumerate(zip(space.z, space.a, strict=True)):
            np.dot(a, self.weights[layer], out=z)
            np.add(z, self.biases[layer], out=z)
            self.activation.forward(z, a_next)
            a = a_next
        np.dot(a, self.weights[-1], out=outputs)
        np.add(outputs, self.biases[-1], out=outputs)

    def backward(self, x: Array, dz: Array) -> None:
        """Write into `grad` the gradient that follows from `dz`, that of the loss by the outputs, shape (b, k).

        It follows a `forward` of the same `x`, and spends what that has left in the workspace.
        """
        space = self.workspace(len(x))
        for layer in range(len(self.weights) - 1, 0, -1):
            z, a, da = space.z[layer - 1], space.a[layer - 1], space.da[layer - 1]
            np.dot(a.T, dz, out=self.d_weights[layer])
            np.dot(space.ones, dz, out=self.d_biases[layer])
            np.dot(dz, self.weights[layer].T, out=da)
            self.activation.backward(z, a, da)
            dz = da
        np.dot(x.T, dz, out=self.d_weights[0])
        np.dot(space.ones, dz, out=self.d_biases[0])


class Workspace:
    """What a pass over a batch of `b` examples writes: `z`, `a` and `da` of each hidden layer, shape (b, width)."""

    def __init__(self, b: int, sizes: tuple[int, ...], in_place: bool, dtype: Any) -> None:
        hidden = sizes[1:-1]
        self.z = [aligned_empty((b, width), dtype) for width in hidden]
        self.a = self.z if in_place else [aligned_empty((b, width), dtype) for width in hidden]
        self.da = [aligned_empty((b, width), dtype) for width in hidden]
        self.dz = aligned_empty((b, sizes[-1]), dtype)
        self.ones = np.ones(b, dtype)
