"""The network: one flat vector of parameters, and the forward and backward pass over views into it.

All parameters of a network are one contiguous vector, `theta`. Each weight matrix and each bias is a view into it:
writing to the view writes to the vector, and no copy is ever made. The gradient is laid out in the same way. So an
optimizer is a rule over one vector and never sees a layer; a snapshot of the weights, a checkpoint, a saved model, a
digest and a gradient check each handle one array; and an optimizer's pass over the parameters costs a few NumPy calls,
however many layers there are. The order is

    [ weight matrices | biases | scales | input scale | alphas ] [ running statistics ]
      weight decay applies here only
      ---------- trained: n_trained ---------------------------   used by inference only

with the parts that decay, and the parts that are trained, in front, so that each of them is one slice of the vector.
"""

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
from mlp.parametric import ParametricActivation


class Network:
    """A multi-layer perceptron: linear layers with normalisation, activation and dropout between them; raw outputs.

    Args:
        sizes: the widths of all layers, inputs and outputs included.
        activation: one for all hidden layers, or one per hidden layer.
        normalization: the normalisation of every hidden layer.
        dropout: the share of hidden units dropped at each training step.
        input_noise: the standard deviation of the normal noise added to the inputs at each training step.
        bias: whether layers have a bias: one value for all, or one per layer, the last one included.
        input_scale: whether each input is multiplied by a trained scale, which starts from 1.
        parametric_activation: whether each hidden unit has a trained alpha, which starts from 1; see `mlp.parametric`.
        dtype: the type of all arithmetic.

    Attributes:
        theta: all parameters, shape (p,), in the order that the module describes.
        grad: the gradient of the last `backward`, shape (n_trained,), laid out like the trained part of theta.
        n_weights: the number of weights; they come first in theta.
        n_trained: the number of trained parameters; they come before the running statistics.
        weights: one view into theta per layer, shape (n_in, n_out).
        biases: one view per layer, shape (n_out,), or None for a layer without bias.
        scales: one view per layer of its normalisation's scale, empty without normalisation.
        statistics: one view per layer of its normalisation's running statistics, empty without any.
        input_scale: the view of the scale of each input, shape (d,), or (0,) without scales.
        alphas: one view per hidden layer, shape (width,), or (0,) without parametric activations.
        d_weights, d_biases, d_scales, d_input_scale, d_alphas: the same views into grad.
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
        input_scale: bool = False,
        parametric_activation: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        self.sizes = tuple(sizes)
        n_hidden = len(self.sizes) - 2
        self.activations = (activation,) * n_hidden if isinstance(activation, AbstractActivation) else tuple(activation)
        self.normalization = normalization
        self.normalizations = (normalization,) * n_hidden + (NoNormalization(),)
        self.dropout, self.input_noise = dropout, input_noise
        self.has_bias = (bias,) * (n_hidden + 1) if isinstance(bias, bool) else tuple(bias)
        self.has_input_scale, self.has_alphas = input_scale, parametric_activation
        self.dtype = np.dtype(dtype)
        units = list(zip(self.normalizations, self.sizes[1:], strict=True))
        self.n_weights, self.n_trained, n = count_parameters(
            self.sizes,
            self.normalizations,
            self.has_bias,
            input_scale=input_scale,
            parametric_activation=parametric_activation,
        )
        self.theta = aligned_zeros((n,), dtype)
        self.grad = aligned_zeros((self.n_trained,), dtype)
        self.weights, self.biases, self.scales, self.input_scale, self.alphas = self._views(self.theta)
        self.d_weights, self.d_biases, self.d_scales, self.d_input_scale, self.d_alphas = self._views(self.grad)
        next_view = _ViewCutter(self.theta[self.n_trained :])
        self.statistics = [next_view(norm.n_statistics, width) for norm, width in units]
        self._workspaces: dict[int, Workspace] = {}

    def _views(self, vector: Array) -> tuple[list[Array], list[Array | None], list[Array], Array, list[Array]]:
        next_view = _ViewCutter(vector)
        widths = self.sizes[1:]
        weights = [next_view(*shape) for shape in pairwise(self.sizes)]
        biases = [next_view(n) if has else None for n, has in zip(widths, self.has_bias, strict=True)]
        scales = [next_view(norm.n_scales * n) for norm, n in zip(self.normalizations, widths, strict=True)]
        input_scale = next_view(self.sizes[0] if self.has_input_scale else 0)
        alphas = [next_view(n if self.has_alphas else 0) for n in widths[:-1]]
        return weights, biases, scales, input_scale, alphas

    def initialize(
        self,
        weights: AbstractInitializer,
        biases: AbstractInitializer,
        *,
        seed: int,
        last: AbstractInitializer | None = None,
    ) -> None:
        """Draw the initial value of all parameters; the last layer has no activation, so its gain is 1.

        Args:
            weights: the initializer of the weights.
            biases: the initializer of the biases.
            seed: the seed of the random streams, one per layer.
            last: the initializer of the weights of the last layer; None for `weights`.
        """
        gains = [*(activation.init_gain() for activation in self.activations), 1.0]
        initializers = [weights] * len(self.activations) + [last or weights]
        for layer, (w, b, scale) in enumerate(zip(self.weights, self.biases, self.scales, strict=True)):
            n_in, n_out = w.shape
            w[...] = initializers[layer].sample(n_in, n_out, gain=gains[layer], rng=stream(seed, "init", layer))
            if b is not None:
                b[...] = biases.sample(n_out, 1, gain=gains[layer], rng=stream(seed, "init bias", layer))[:, 0]
            scale[...] = 1.0
        for starting_from_1 in (self.input_scale, *self.alphas):
            starting_from_1[...] = 1.0
        for norm, statistics in zip(self.normalizations, self.statistics, strict=True):
            norm.start(statistics)

    def __reduce__(self) -> tuple[Any, ...]:
        options = {
            "normalization": self.normalization,
            "dropout": self.dropout,
            "input_noise": self.input_noise,
            "bias": self.has_bias,
            "input_scale": self.has_input_scale,
            "parametric_activation": self.has_alphas,
            "dtype": self.dtype,
        }
        return _rebuild, (self.sizes, self.activations, options, self.theta)

    def workspace(self, b: int) -> Workspace:
        """Return the preallocated memory for a batch of `b` examples, which is created when a size is first used."""
        if b not in self._workspaces:
            self._workspaces[b] = Workspace(b, self)
        return self._workspaces[b]

    def forward(self, x: Array, outputs: Array, noise: np.random.Generator | None = None) -> None:
        """Compute the raw outputs.

        Args:
            x: the inputs, shape (b, d).
            outputs: where the outputs are written, shape (b, k).
            noise: the random stream of a training pass; None for inference, in which nothing is dropped and batch
                normalisation uses its running statistics.
        """
        space, training = self.workspace(len(x)), noise is not None
        a = x
        if noise is not None and self.input_noise:
            a = space.add_noise(x, self.input_noise, noise)
        if self.has_input_scale:
            a = np.multiply(a, self.input_scale, out=space.scaled)
        for layer, (linear, activation, z, a_next) in enumerate(space.hidden):
            linear.forward(a, z, training)
            activation.forward(z, a_next)
            a = a_next
            if noise is not None and self.dropout:
                a = space.drop(layer, a, self.dropout, noise)
        space.last.forward(a, outputs, training)

    def backward(self, x: Array, dz: Array) -> None:
        """Compute the gradient with respect to the parameters, and write it into `grad`.

        It must follow a training `forward` of the same `x`, and it overwrites what that left in the workspace.

        Args:
            x: the inputs, shape (b, d).
            dz: the gradient of the loss with respect to the outputs, shape (b, k).
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
        if self.has_input_scale:
            # Input j times its scale s_j times row j of W is also the input times row j of s_j W. What the layer has
            # just written, for inputs without scale, is the gradient G with respect to that product. So row j of the
            # gradient of W is s_j times that of G, and the gradient of s_j is the dot product of both rows.
            np.einsum("ij,ij->i", linear.w, linear.d_w, out=self.d_input_scale)
            np.multiply(linear.d_w, self.input_scale[:, None], out=linear.d_w)


def count_parameters(
    sizes: Sequence[int],
    normalizations: Sequence[AbstractNormalization],
    has_bias: Sequence[bool],
    *,
    input_scale: bool,
    parametric_activation: bool,
) -> tuple[int, int, int]:
    """Return the number of weights, of trained parameters, and of all parameters with the running statistics."""
    n_weights = sum(n_in * n_out for n_in, n_out in pairwise(sizes))
    units = list(zip(normalizations, sizes[1:], strict=True))
    n_biases = sum(n_out for n_out, has in zip(sizes[1:], has_bias, strict=True) if has)
    n_trained = n_weights + n_biases + sum(norm.n_scales * width for norm, width in units)
    n_trained += (sizes[0] if input_scale else 0) + (sum(sizes[1:-1]) if parametric_activation else 0)
    return n_weights, n_trained, n_trained + sum(norm.n_statistics * width for norm, width in units)


def _rebuild(
    sizes: tuple[int, ...], activations: tuple[AbstractActivation, ...], options: dict[str, Any], theta: Array
) -> Network:
    """Return a copy of a network. Views that are copied one by one would no longer share one vector."""
    network = Network(sizes, activations, **options)
    np.copyto(network.theta, theta)
    return network


class Linear(NamedTuple):
    """A matrix product and its normalisation, for one batch size.

    The views that its passes read and write are attributes, because looking them up in the network at every step takes
    as long as a small matrix product.
    """

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
        """Return one layer of a network, for batches of `b` examples."""
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
        """Compute the result for the inputs `a`, and write it into `z`."""
        np.dot(a, self.w, out=z)
        self.normalization.forward(z, self.scale, self.shift, self.statistics, self.space, training=training)

    def backward(self, a: Array, dz: Array) -> None:
        """Write the gradients of the parameters, given `dz`, the gradient with respect to the layer's result.

        `dz` becomes the gradient with respect to the matrix product, before normalisation and bias.
        """
        self.normalization.backward(dz, self.scale, self.d_scale, self.d_shift, self.space)
        np.dot(a.T, dz, out=self.d_w)


class Workspace:
    """The memory that a pass over a batch of `b` examples writes to: `z`, `a` and `da` of each hidden layer, and more.

    Each has shape (b, width). It is allocated once per batch size, because allocating at every step would cost time.
    """

    def __init__(self, b: int, network: Network) -> None:
        hidden, dtype = network.sizes[1:-1], network.dtype
        activations: list[AbstractActivation | ParametricActivation] = [*network.activations]
        if network.has_alphas:
            parts = zip(network.activations, network.alphas, network.d_alphas, strict=True)
            activations = [ParametricActivation(activation, alpha, d, b) for activation, alpha, d in parts]
        self.z = [aligned_empty((b, width), dtype) for width in hidden]
        self.a = [
            z if activation.in_place else aligned_empty(z.shape, dtype)
            for z, activation in zip(self.z, activations, strict=True)
        ]
        self.da = [aligned_empty((b, width), dtype) for width in hidden]
        self.dz = aligned_empty((b, network.sizes[-1]), dtype)
        *linears, self.last = [Linear.of(network, layer, b) for layer in range(len(network.weights))]
        self.hidden = list(zip(linears, activations, self.z, self.a, strict=True))
        self.masks = [np.ones(z.shape, dtype) for z in self.z] if network.dropout else []
        self.dropped = [aligned_empty(z.shape, dtype) for z in self.z] if network.dropout else []
        inputs, nothing = (b, network.sizes[0]), (0,)
        self.noisy = aligned_empty(inputs if network.input_noise else nothing, dtype)
        self.scaled = aligned_empty(inputs if network.has_input_scale else nothing, dtype)

    def add_noise(self, x: Array, deviation: float, rng: np.random.Generator) -> Array:
        """Return `x` plus normal noise."""
        rng.standard_normal(dtype=self.noisy.dtype.type, out=self.noisy)
        np.multiply(self.noisy, deviation, out=self.noisy)
        np.add(self.noisy, x, out=self.noisy)
        return self.noisy

    def drop(self, layer: int, a: Array, rate: float, rng: np.random.Generator) -> Array:
        """Return a layer's result with some units set to 0; the result itself is kept for the backward pass."""
        draw_mask(self.masks[layer], rate, rng)
        return np.multiply(a, self.masks[layer], out=self.dropped[layer])

    def inputs(self, x: Array, network: Network) -> list[Array]:
        """Return the inputs of each layer in the last training pass, those of the first without their scale."""
        return [self.noisy if network.input_noise else x, *(self.dropped if network.dropout else self.a)]


class _ViewCutter:
    """Returns consecutive views into a vector: each call takes the next elements, in the given shape."""

    def __init__(self, vector: Array) -> None:
        self._rest = vector

    def __call__(self, *shape: int) -> Array:
        n = math.prod(shape)
        view, self._rest = self._rest[:n].reshape(shape), self._rest[n:]
        return view
