"""Plain transcriptions of the training loops of the five systems that this project started from.

Each takes float64 inputs of shape (n, d) and labels of shape (n,), and runs one epoch of the original on them. The code
is our own, with the arithmetic and the memory traffic of the originals: one example at a time and `np.outer` in systems
1 and 4, minibatches and fresh arrays in the others. System 3 is also written with matrices, its fastest form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

Array = Any
Parameters = list[Array]


def relu(z: Array) -> Array:
    return np.maximum(0, z)


def relu_slope(a: Array) -> Array:
    return (a > 0).astype(float)


def leaky_relu(z: Array) -> Array:
    return np.where(z > 0, z, 0.01 * z)


def leaky_relu_slope(a: Array) -> Array:
    return np.where(a > 0, 1.0, 0.01)


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def sigmoid_slope(a: Array) -> Array:
    return a * (1 - a)


def softmax(z: Array) -> Array:
    exponentials = np.exp(z - z.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


SLOPES: dict[Callable[[Array], Array], Callable[[Array], Array]] = {
    relu: relu_slope,
    leaky_relu: leaky_relu_slope,
    sigmoid: sigmoid_slope,
}
Draw = Callable[[np.random.Generator, int, int], Array]


def he_normal(rng: np.random.Generator, n_in: int, n_out: int) -> Array:
    return rng.normal(size=(n_in, n_out)) * np.sqrt(2 / n_in)


def standard_normal(rng: np.random.Generator, n_in: int, n_out: int) -> Array:
    return rng.normal(size=(n_in, n_out))


def small_normal(rng: np.random.Generator, n_in: int, n_out: int) -> Array:
    return rng.normal(size=(n_in, n_out)) * 0.01


def half_uniform(rng: np.random.Generator, n_in: int, n_out: int) -> Array:
    return rng.uniform(-0.5, 0.5, size=(n_in, n_out))


class Transcription:
    """A network as lists of weights and biases.

    Args:
        sizes: the widths of all layers.
        draw: returns the initial weights of a layer.
        activation: the activation of the hidden layers.
        rate: the learning rate.
        batch: examples per step.
        clip: the lower bound of predictions in the loss.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        draw: Draw,
        activation: Callable[[Array], Array],
        rate: float,
        *,
        batch: int = 1,
        clip: float = 1e-15,
    ) -> None:
        rng = np.random.default_rng(0)
        self.sizes, self.rate, self.batch, self.clip = sizes, rate, batch, clip
        self.activation, self.slope = activation, SLOPES[activation]
        self.weights: Parameters = [draw(rng, *shape) for shape in pairwise(sizes)]
        self.biases: Parameters = [np.zeros(n) for n in sizes[1:]]
        self.rng = rng

    def run(self, x: Array, labels: Array) -> float:
        """Train for one pass over the examples and return the mean loss during the pass."""
        raise NotImplementedError

    def forward(self, x: Array) -> list[Array]:
        activations = [x]
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            activations.append(self.activation(np.dot(activations[-1], w) + b))
        return [*activations, softmax(np.dot(activations[-1], self.weights[-1]) + self.biases[-1])]

    def backward(self, activations: list[Array], d_output: Array) -> Iterator[tuple[int, Array, Array]]:
        """Yield the index, the input and the gradient of each layer, from the last to the first.

        The caller may change the weights of a layer as soon as it is yielded: they are not used again.
        """
        d = d_output
        for layer in range(len(self.weights) - 1, -1, -1):
            below = np.dot(d, self.weights[layer].T) * self.slope(activations[layer]) if layer else None
            yield layer, activations[layer], d
            d = below

    def loss(self, predicted: Array, one_hot: Array) -> float:
        return float(-np.sum(one_hot * np.log(np.clip(predicted, self.clip, 1 - self.clip))))


class OneByOne(Transcription):
    """System 1: one step of plain SGD per example."""

    def run(self, x: Array, labels: Array) -> float:
        total = 0.0
        for i in self.rng.permutation(len(x)):
            activations = self.forward(x[i])
            output = activations[-1]
            total -= np.log(np.clip(output, self.clip, 1 - self.clip))[labels[i]]
            d_output = output.copy()
            d_output[labels[i]] -= 1
            for layer, a, d in self.backward(activations, d_output):
                self.weights[layer] -= self.rate * np.outer(a, d)
                self.biases[layer] -= self.rate * d
        return float(total / len(x))


class SummedOneByOne(Transcription):
    """System 4: gradients of all examples are summed one by one, then one step is taken."""

    def run(self, x: Array, labels: Array) -> float:
        one_hot = np.eye(self.sizes[-1])[labels]
        total = 0.0
        d_weights = [np.zeros_like(w) for w in self.weights]
        d_biases = [np.zeros_like(b) for b in self.biases]
        for example, target in zip(x, one_hot, strict=True):
            activations = self.forward(example)
            total += self.loss(activations[-1], target)
            for layer, a, d in self.backward(activations, activations[-1] - target):
                d_weights[layer] += np.outer(a, d)
                d_biases[layer] += d
        for layer in range(len(self.weights)):
            self.weights[layer] -= self.rate * d_weights[layer] / len(x)
            self.biases[layer] -= self.rate * d_biases[layer] / len(x)
        return total / len(x)


class Minibatches(Transcription):
    """Systems 3 and 5: one step of plain SGD per minibatch."""

    def run(self, x: Array, labels: Array) -> float:
        one_hot = np.eye(self.sizes[-1])[labels]
        order = self.rng.permutation(len(x))
        x, one_hot = x[order], one_hot[order]
        total = 0.0
        for start in range(0, len(x), self.batch):
            part, target = x[start : start + self.batch], one_hot[start : start + self.batch]
            activations = self.forward(part)
            total += self.loss(activations[-1], target)
            for layer, a, d in self.backward(activations, self.d_output(activations[-1], target)):
                self.step(layer, np.dot(a.T, d), d.sum(axis=0))
        return total / len(x)

    def d_output(self, predicted: Array, target: Array) -> Array:
        return (predicted - target) / len(target)

    def step(self, layer: int, d_weights: Array, d_biases: Array) -> None:
        self.weights[layer] -= self.rate * d_weights
        self.biases[layer] -= self.rate * d_biases


class Normalized(Minibatches):
    """System 2: pre-activations are normalised over the batch, the backward pass ignores that, gradients are summed."""

    def forward(self, x: Array) -> list[Array]:
        activations = [x]
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            z = np.dot(activations[-1], w) + b
            z = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-8)
            activations.append(self.activation(z))
        return [*activations, softmax(np.dot(activations[-1], self.weights[-1]) + self.biases[-1])]

    def d_output(self, predicted: Array, target: Array) -> Array:
        return predicted - target


@dataclass
class Moments:
    """The moments that Adam keeps for one array."""

    first: Array
    second: Array
    n: int = field(default=0)

    def direction(self, gradient: Array) -> Array:
        self.n += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        return self.first / (1 - 0.9**self.n) / (np.sqrt(self.second / (1 - 0.999**self.n)) + 1e-8)


class WithAdam(Minibatches):
    """System 3 with its own Adam."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.moments = [
            [Moments(np.zeros_like(parameter), np.zeros_like(parameter)) for parameter in parameters]
            for parameters in (self.weights, self.biases)
        ]

    def step(self, layer: int, d_weights: Array, d_biases: Array) -> None:
        self.weights[layer] -= self.rate * self.moments[0][layer].direction(d_weights)
        self.biases[layer] -= self.rate * self.moments[1][layer].direction(d_biases)


TRANSCRIPTIONS: dict[str, Callable[[], Transcription]] = {
    "deep_relu": lambda: OneByOne((784, 512, 256, 128, 10), he_normal, relu, 0.01),
    "fashion_batchnorm": lambda: Normalized((784, 32, 64, 10), he_normal, leaky_relu, 0.01, batch=200, clip=1e-9),
    "layer_stack_softmax": lambda: Minibatches((784, 10), standard_normal, sigmoid, 0.01, batch=32),
    "layer_stack_hidden": lambda: WithAdam((784, 100, 10), standard_normal, sigmoid, 0.01, batch=32),
    "layer_stack_narrow": lambda: WithAdam((784, 10, 10), standard_normal, sigmoid, 0.01, batch=32),
    "sigmoid_full_batch": lambda: SummedOneByOne((784, 16, 16, 10), half_uniform, sigmoid, 0.8),
    "tiny_relu": lambda: Minibatches((784, 7, 10), small_normal, relu, 0.2, batch=64),
}
