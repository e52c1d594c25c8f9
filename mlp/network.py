"""The network: one flat vector of parameters, and the forward and backward pass over views into it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from mlp.activations import AbstractActivation
from mlp.arrays import (
    Array,
    aligned_empty,
    aligned_zeros,
    stream,
)
from mlp.dropout import draw_mask
from mlp.initializers import AbstractInitializer
from mlp.normalizations import (
    AbstractNormalization,
    NoNormalization,
    NormSpace,
)


class Network:
    """A multi-layer perceptron: linear layers, between them normalisation, activation and dropout; raw outputs.

    Args:
        sizes: widths of all layers, inputs and outputs included.
        activation: of every hidden layer, or one for each.
        normalization: of every hidden layer.
        dropout: the share of hidden units dropped at each training step.
        input_noise: the deviation of the normal noise added to the inputs at each training step.
        bias: whether layers have one: all of them, or each, the last included.
        dtype: the type of all arithmetic.

    Attributes:
        theta: all parameters, shape (p,): every weight matrix, every bias, every scale, and then, for inference,
            the running statistics. What decays is a prefix, and so is what is trained.
        grad: the gradient of the last `backward` by the trained part of theta, laid out like it.
        n_weights, n_trained: the lengths of these prefixes.
        weights: views into theta, of shape (n_in, n_out).
        biases: views of shape (n_out,), or None where a layer has none.
        scales, statistics: views of what normalises each layer, empty where nothing does.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: AbstractActivation | Sequence[AbstractActivation],
        *,
        normalization: AbstractNormalization = NoNormalization(),  # noqa: B008 - a frozen value
        dropout: float = 0.0,
        input_noise: float = 0.0,
        bias: bool | Sequence[bool] = True,
        dtype: Any = np.float32,
    ) -> None:
        self.sizes = tuple(sizes)
        n_hidden = len(self.sizes) - 2
        self.activations = (activation,) * n_hidden if isinstance(activation, AbstractActivation) else tuple(activation)
        self.normalization = normalization
        self.normalizations = (normalization,) * n_hidden + (NoNormalization(),)
        self.dropout, self.input_noise = dropout, input_noise
        self.has_bias = (bias,) * (n_hidden + 1) if isinstance(bias, bool) else tuple(bias)
        self.dtype = np.dtype(dtype)
        units = list(zip(self.normalizations, self.sizes[1:], strict=True))
        self.n_weights, self.n_trained, n = count_parameters(self.sizes, self.normalizations, self.has_bias)
        self.theta = aligned_zeros((n,), dtype)
        self.grad = aligned_zeros((self.n_trained,), dtype)
        self.weights, self.biases, self.scales = self._views(self.theta)
        self.d_weights, self.d_biases, self.d_scales = self._views(self.grad)
        take = _Cutter(self.theta[self.n_trained :])
        self.statistics = [take(norm.n_statistics, width) for norm, width in units]
        self._workspaces: dict[int, Workspace] = {}

    def _views(self, vector: Array) -> tuple[list[Array], list[Array | None], list[Array]]:
        take = _Cutter(vector)
        widths = self.sizes[1:]
        weights = [take(*shape) for shape in pairwise(self.sizes)]
        biases = [take(n) if has else None for n, has in zip(widths, self.has_bias, strict=True)]
        scales = [take(norm.n_scales * n) for norm, n in zip(self.normalizations, widths, strict=True)]
        return weights, biases, scales

    def initialize(self, weights: AbstractInitializer, biases: AbstractInitializer, *, seed: int) -> None:
        """Draw all parameters anew; the last layer has no activation, so its gain is 1."""
        gains = [*(activation.init_gain() for activation in self.activations), 1.0]
        for layer, (w, b, scale) in enumerate(zip(self.weights, self.biases, self.scales, strict=True)):
            n_in, n_out = w.shape
            w[...] = weights.sample(n_in, n_out, gain=gains[layer], rng=stream(seed, "init", layer))
            if b is not None:
                b[...] = biases.sample(n_out, 1, gain=gains[layer], rng=stream(seed, "init bias", layer))[:, 0]
            scale[...] = 1.0
        for norm, statistics in zip(self.normalizations, self.statistics, strict=True):
            norm.start(statistics)

    def __reduce__(self) -> tuple[Any, ...]:
        options = {
            "normalization": self.normalization,
            "dropout": self.dropout,
            "input_noise": self.input_noise,
            "bias": self.has_bias,
            "dtype": self.dtype,
        }
        return _rebuild, (self.sizes, self.activations, options, self.theta)

    def workspace(self, b: int) -> Workspace:
        """Return the memory of a batch of `b` examples, made when a size is first seen."""
        if b not in self._workspaces:
            self._workspaces[b] = Workspace(b, self)
        return self._workspaces[b]

    def forward(self, x: Array, outputs: Array, noise: np.random.Generator | None = None) -> None:
        """Write the raw outputs for `x`, shape (b, d), into `outputs`, shape (b, k).

        Args:
            x: the inputs.
            outputs: to be written.
            noise: the random stream of a training pass; None for inference, where nothing is dropped and batch
                normalisation goes by its running statistics.
        """
        space, training = self.workspace(len(x)), noise is not None
        a = x
        if noise is not None and self.input_noise:
            a = space.add_noise(x, self.input_noise, noise)
        for layer, (linear, activation, z, a_next) in enumerate(space.hidden):
            linear.forward(a, z, training)
            activation.forward(z, a_next)
            a = a_next
            if noise is not None and self.dropout:
                a = space.drop(layer, a, self.dropout, noise)
        space.last.forward(a, outputs, training)

    def backward(self, x: Array, dz: Array) -> None:
        """Write into `grad` the gradient that follows from `dz`, that of the loss by the outputs, shape (b, k).

        It follows a training `forward` of the same `x`, and spends what that has left in the workspace.
        """
        space = self.workspace(len(x))
        inputs = space.inputs(x, self)
        linear = space.last
        for layer in range(len(space.hidden) - 1, -1, -1):
            before, activation, z, a = space.hidden[layer]
            da = space.da[layer]
            linear.backward(inputs[layer + 1], dz)
            np.dot(dz, linear.w_t, out=da)
            if self.dropout:
                np.multiply(da, space.masks[layer], out=da)
            activation.backward(z, a, da)
            linear, dz = before, da
        linear.backward(inputs[0], dz)


def count_parameters(
    sizes: Sequence[int], normalizations: Sequence[AbstractNormalization], has_bias: Sequence[bool]
) -> tuple[int, int, int]:
    """Return how many weights there are, how many trained parameters, and how many with what inference remembers."""
    n_weights = sum(n_in * n_out for n_in, n_out in pairwise(sizes))
    units = list(zip(normalizations, sizes[1:], strict=True))
    n_biases = sum(n_out for n_out, has in zip(sizes[1:], has_bias, strict=True) if has)
    n_trained = n_weights + n_biases + sum(norm.n_scales * width for norm, width in units)
    return n_weights, n_trained, n_trained + sum(norm.n_statistics * width for norm, width in units)


def _rebuild(
    sizes: tuple[int, ...], activations: tuple[AbstractActivation, ...], options: dict[str, Any], theta: Array
) -> Network:
    """Return a copy of a network: views that are copied one by one would no longer look into one vector."""
    network = Network(sizes, activations, **options)
    np.copyto(network.theta, theta)
    return network


class Linear(NamedTuple):
    """A product and what normalises it, for one size of batch: what its passes read and write, at hand."""

    w: Array
    w_t: Array
    scale: Array
    shift: Array | None
    statistics: Array
    d_w: Array
    d_scale: Array
    d_shift: Array | None
    normalization: AbstractNormalization
    space: NormSpace

    @classmethod
    def of(cls, network: Network, layer: int, b: int) -> Linear:
        """Return a layer of a network, for batches of `b` examples."""
        w, normalization = network.weights[layer], network.normalizations[layer]
        return cls(
            w,
            w.T,
            network.scales[layer],
            network.biases[layer],
            network.statistics[layer],
            network.d_weights[layer],
            network.d_scales[layer],
            network.d_biases[layer],
            normalization,
            normalization.space(b, w.shape[1], network.dtype),
        )

    def forward(self, a: Array, z: Array, training: bool) -> None:
        """Write into `z` what follows from the inputs `a`."""
        np.dot(a, self.w, out=z)
        self.normalization.forward(z, self.scale, self.shift, self.statistics, self.space, training=training)

    def backward(self, a: Array, dz: Array) -> None:
        """Write the gradients of the parameters, given that by the result, and turn it into that by the product."""
        self.normalization.backward(dz, self.scale, self.d_scale, self.d_shift, self.space)
        np.dot(a.T, dz, out=self.d_w)


class Workspace:
    """What a pass over a batch of `b` examples writes: `z`, `a` and `da` of each hidden layer, shape (b, width)."""

    def __init__(self, b: int, network: Network) -> None:
        hidden, dtype = network.sizes[1:-1], network.dtype
        self.z = [aligned_empty((b, width), dtype) for width in hidden]
        self.a = [
            z if activation.in_place else aligned_empty(z.shape, dtype)
            for z, activation in zip(self.z, network.activations, strict=True)
        ]
        self.da = [aligned_empty((b, width), dtype) for width in hidden]
        self.dz = aligned_empty((b, network.sizes[-1]), dtype)
        *linears, self.last = [Linear.of(network, layer, b) for layer in range(len(network.weights))]
        self.hidden = list(zip(linears, network.activations, self.z, self.a, strict=True))
        self.masks = [np.ones(z.shape, dtype) for z in self.z] if network.dropout else []
        self.dropped = [aligned_empty(z.shape, dtype) for z in self.z] if network.dropout else []
        self.noisy = aligned_empty((b, network.sizes[0]), dtype) if network.input_noise else np.empty(0, dtype)

    def add_noise(self, x: Array, deviation: float, rng: np.random.Generator) -> Array:
        """Return `x` with normal noise."""
        rng.standard_normal(dtype=self.noisy.dtype.type, out=self.noisy)
        np.multiply(self.noisy, deviation, out=self.noisy)
        np.add(self.noisy, x, out=self.noisy)
        return self.noisy

    def drop(self, layer: int, a: Array, rate: float, rng: np.random.Generator) -> Array:
        """Return what is left of a layer's result; the result itself stays for its activation's way back."""
        draw_mask(self.masks[layer], rate, rng)
        return np.multiply(a, self.masks[layer], out=self.dropped[layer])

    def inputs(self, x: Array, network: Network) -> list[Array]:
        """Return what each layer was given by the last training pass."""
        return [self.noisy if network.input_noise else x, *(self.dropped if network.dropout else self.a)]


class _Cutter:
    """Cuts views from the front of a vector, one after the other."""

    def __init__(self, vector: Array) -> None:
        self._rest = vector

    def __call__(self, *shape: int) -> Array:
        n = math.prod(shape)
        view, self._rest = self._rest[:n].reshape(shape), self._rest[n:]
        return view
