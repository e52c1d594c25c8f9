"""The gradient of the whole network against central differences of the loss, for every activation, loss and depth.

A derivative along a direction u is (f(theta + h u) - f(theta - h u)) / 2h, in float64. One direction goes through all
parameters, and one through each weight matrix and each bias alone, so that no small part hides behind a large one.

Where an activation has a kink, as ReLU at 0, a difference across it means nothing. The inputs are therefore drawn
until no pre-activation is nearer than `MARGIN` to an integer, for that is where kinks lie (0, but also ±1 or 6 in
functions that are clipped), and a step moves pre-activations by far less than `MARGIN`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, pairwise
from typing import Any

import numpy as np
import pytest

from mlp.activations import AbstractActivation, activations
from mlp.losses import AbstractLoss, losses
from mlp.network import Network

STEP = 1e-5
MARGIN = 1e-3
TOLERANCE = 1e-6
WIDTHS = (6, 5, 4)
BATCH, FEATURES, CLASSES = 5, 4, 3
DEPTHS = range(len(WIDTHS) + 1)


def clearance(network: Network, x: Any) -> float:
    """Return how near any pre-activation comes to an integer."""
    nearest, a = 1.0, x
    for w, b in list(zip(network.weights, network.biases, strict=True))[:-1]:
        z = a @ w + b
        nearest = min(nearest, float(np.abs(z - np.round(z)).min()))
        a = z.copy()
        network.activation.forward(a if network.activation.in_place else z, a)
    return nearest


def smooth_point(activation: AbstractActivation, depth: int, dtype: Any = np.float64) -> tuple[Network, Any, Any]:
    """Return a random network, inputs and labels away from all kinks."""
    network = Network((FEATURES, *WIDTHS[:depth], CLASSES), activation, dtype=np.float64)
    for seed in count():
        rng = np.random.default_rng(seed)
        network.theta[...] = rng.normal(0.0, 0.7, network.theta.shape)
        x = rng.normal(0.0, 1.0, (BATCH, FEATURES))
        if clearance(network, x) > MARGIN:
            break
    narrow = Network(network.sizes, activation, dtype=dtype)
    narrow.theta[...] = network.theta
    return narrow, x.astype(dtype), rng.integers(0, CLASSES, BATCH)


def mean_loss(network: Network, loss: AbstractLoss, x: Any, y: Any) -> float:
    outputs = np.empty((len(x), CLASSES), network.dtype)
    network.forward(x, outputs)
    return float(np.mean(loss.values(outputs, y)))


def compute_gradient(network: Network, loss: AbstractLoss, x: Any, y: Any) -> Any:
    outputs = np.empty((len(x), CLASSES), network.dtype)
    dz = np.empty_like(outputs)
    network.forward(x, outputs)
    loss.gradient(outputs, y, dz)
    network.backward(x, dz)
    return network.grad.copy()


def directions(network: Network) -> list[Any]:
    """Return unit vectors: one through all of theta, then one through each weight matrix and each bias."""
    rng = np.random.default_rng(1)
    found = []
    ends = np.cumsum([0, *(view.size for view in network.weights + network.biases)])
    for start, stop in [(0, len(network.theta)), *pairwise(ends)]:
        u = np.zeros_like(network.theta)
        u[start:stop] = rng.normal(size=stop - start)
        found.append(u / np.linalg.norm(u))
    return found


def worst_error(network: Network, loss: AbstractLoss, x: Any, y: Any) -> float:
    """Return the largest relative error of the gradient along any of the directions."""
    grad, theta = compute_gradient(network, loss, x, y), network.theta.copy()
    worst = 0.0
    for u in directions(network):
        network.theta[...] = theta + STEP * u
        above = mean_loss(network, loss, x, y)
        network.theta[...] = theta - STEP * u
        slope = (above - mean_loss(network, loss, x, y)) / (2.0 * STEP)
        worst = max(worst, abs(grad @ u - slope) / abs(slope))
    network.theta[...] = theta
    return worst


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("loss", list(losses))
@pytest.mark.parametrize("activation", list(activations))
def test_the_gradient_is_the_slope_of_the_loss(activation: str, loss: str, depth: int) -> None:
    network, x, y = smooth_point(activations.decode(activation), depth)
    assert worst_error(network, losses.decode(loss), x, y) < TOLERANCE


@pytest.mark.parametrize("loss", list(losses))
@pytest.mark.parametrize("activation", list(activations))
def test_the_gradient_in_float32_is_that_in_float64_to_rounding(activation: str, loss: str) -> None:
    gradients = []
    for dtype in (np.float32, np.float64):
        network, x, y = smooth_point(activations.decode(activation), len(WIDTHS), dtype)
        gradients.append(compute_gradient(network, losses.decode(loss), x, y))
        assert gradients[-1].dtype == dtype
    narrow, wide = gradients
    assert np.linalg.norm(narrow - wide) < 1e-5 * np.linalg.norm(wide)


# From here on: the check must notice a derivative that is off by a thousandth.


def scale_call(method: Callable[..., None], argument: int, call: int) -> Callable[..., None]:
    """Return `method`, but with what it wrote into one of its arguments scaled at one of its calls."""
    calls = count()

    def scaled(*arguments: Any) -> None:
        method(*arguments)
        if next(calls) == call:
            arguments[argument][...] *= 1.001

    return scaled


@pytest.mark.parametrize("layer", range(len(WIDTHS)))
@pytest.mark.parametrize("activation", list(activations))
def test_the_check_notices_a_wrong_derivative_of_an_activation_in_any_layer(
    activation: str, layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = activations.decode(activation)
    network, x, y = smooth_point(part, len(WIDTHS))
    # Layers are gone through from the last to the first, so call 0 is that of the last hidden layer.
    wrong = scale_call(type(part).backward, argument=3, call=len(WIDTHS) - 1 - layer)
    monkeypatch.setattr(type(part), "backward", wrong)
    assert worst_error(network, losses.decode("softmax_cross_entropy"), x, y) > TOLERANCE


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("loss", list(losses))
def test_the_check_notices_a_wrong_gradient_of_a_loss(loss: str, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    part = losses.decode(loss)
    network, x, y = smooth_point(activations.decode("tanh"), depth)
    monkeypatch.setattr(type(part), "gradient", scale_call(type(part).gradient, argument=3, call=0))
    assert worst_error(network, part, x, y) > TOLERANCE


@pytest.mark.parametrize("layer", range(len(WIDTHS) + 1))
@pytest.mark.parametrize("views", ["d_weights", "d_biases"])
def test_the_check_notices_a_wrong_gradient_of_any_layer(
    views: str, layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, x, y = smooth_point(activations.decode("tanh"), len(WIDTHS))
    backward = network.backward

    def wrong(x: Any, dz: Any) -> None:
        backward(x, dz)
        getattr(network, views)[layer][...] *= 1.001

    monkeypatch.setattr(network, "backward", wrong)
    assert worst_error(network, losses.decode("softmax_cross_entropy"), x, y) > TOLERANCE
