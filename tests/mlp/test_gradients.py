"""The gradient of a network against central differences of the loss, for every activation, loss, depth,
normalisation and dropout.

A derivative along a direction u is (f(theta + h u) - f(theta - h u)) / 2h, in float64. One direction involves all
parameters, and one each weight matrix and each bias alone, so that an error in a small part is not hidden by a large
one.

A central difference across a kink of an activation, such as that of ReLU at 0, is not a derivative. The inputs are
therefore drawn until every pre-activation is at least `MARGIN` away from an integer, because kinks are at integers (0,
but also ±1 or 6 in clipped functions). A step moves pre-activations by far less than `MARGIN`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Any

import numpy as np
import pytest

from mlp.activations import AbstractActivation, activations
from mlp.losses import AbstractLoss, SoftmaxCrossEntropy, losses
from mlp.network import Network
from mlp.normalizations import normalizations

CROSS_ENTROPY = SoftmaxCrossEntropy()
STEP = 1e-5
MARGIN = 1e-3
TOLERANCE = 1e-6
WIDTHS = (6, 5, 4)
BATCH, FEATURES, OUTPUTS = 5, 4, 3
DEPTHS = range(len(WIDTHS) + 1)


class Watched(AbstractActivation):
    """An activation that records the distance of its inputs to the nearest integer."""

    def __init__(self, part: AbstractActivation, seen: list[float]) -> None:
        self.part = part
        self.seen = seen
        self.in_place = part.in_place  # type: ignore[misc] - a class attribute elsewhere, here copied from the watched activation

    def forward(self, z: Any, a: Any) -> None:
        self.seen.append(float(np.abs(z - np.round(z)).min()))
        self.part.forward(z, a)

    def backward(self, z: Any, a: Any, da: Any) -> None:
        self.part.backward(z, a, da)


@dataclass(frozen=True)
class Point:
    """A network, a loss and a batch at which the gradient is checked."""

    network: Network
    loss: AbstractLoss
    x: Any
    targets: Any

    def outputs(self) -> Any:
        """Return the outputs of a training pass, with the same noise each time."""
        outputs = np.empty((BATCH, OUTPUTS), self.network.dtype)
        self.network.forward(self.x, outputs, np.random.default_rng(7))
        return outputs

    def mean_loss(self) -> float:
        return float(np.mean(self.loss.values(self.outputs(), self.targets)))

    def gradient(self) -> Any:
        outputs = self.outputs()
        dz = np.empty_like(outputs)
        self.loss.gradient(outputs, self.targets, dz)
        self.network.backward(self.x, dz)
        return self.network.grad.copy()


def clearance(network: Network, x: Any) -> float:
    """Return the smallest distance of any pre-activation to an integer."""
    parts, seen = network.activations, [1.0]
    network.activations = tuple(Watched(part, seen) for part in parts)
    network.forward(x, np.empty((BATCH, OUTPUTS), network.dtype), np.random.default_rng(7))
    network.activations = parts
    return min(seen)


def draw_targets(loss: AbstractLoss, rng: np.random.Generator) -> Any:
    """Return targets that the loss supports: one of three classes, three labels, or three values."""
    if "classes" in loss.tasks and loss.name != "binary_cross_entropy":
        return rng.integers(0, OUTPUTS, BATCH)
    return rng.integers(0, 2, (BATCH, OUTPUTS)) if "labels" in loss.tasks else rng.normal(size=(BATCH, OUTPUTS))


def smooth_point(
    activation: AbstractActivation, depth: int, loss: AbstractLoss, dtype: Any = np.float64, **options: Any
) -> Point:
    """Return a random network with inputs and targets at which no pre-activation is near a kink."""
    network = Network((FEATURES, *WIDTHS[:depth], OUTPUTS), activation, dtype=np.float64, **options)
    for seed in count():
        rng = np.random.default_rng(seed)
        network.theta[...] = rng.normal(0.0, 0.7, network.theta.shape)
        x = rng.normal(0.0, 1.0, (BATCH, FEATURES))
        if clearance(network, x) > MARGIN:
            break
    narrow = Network(network.sizes, activation, dtype=dtype, **options)
    narrow.theta[...] = network.theta
    return Point(narrow, loss, x.astype(dtype), draw_targets(loss, rng))


def directions(network: Network) -> list[Any]:
    """Return unit vectors: one for all trained parameters, then one for each matrix, bias, scale and alpha."""
    rng = np.random.default_rng(1)
    found = []
    views = (*network.weights, *network.biases, *network.scales, network.input_scale, *network.alphas)
    ends = np.cumsum([0, *(view.size for view in views if view is not None)])
    assert ends[-1] == network.n_trained
    for start, stop in [(0, network.n_trained), *pairwise(ends)]:
        if start < stop:
            u = np.zeros_like(network.grad)
            u[start:stop] = rng.normal(size=stop - start)
            found.append(u / np.linalg.norm(u))
    return found


def worst_error(point: Point) -> float:
    """Return the largest relative error of the gradient along any of the directions."""
    network = point.network
    grad, theta = point.gradient(), network.theta.copy()
    worst = 0.0
    for u in directions(network):
        trained = network.theta[: network.n_trained]
        trained[...] = theta[: network.n_trained] + STEP * u
        above = point.mean_loss()
        trained[...] = theta[: network.n_trained] - STEP * u
        slope = (above - point.mean_loss()) / (2.0 * STEP)
        network.theta[...] = theta
        # A bias before a normalisation that subtracts the mean has no effect; its slope is only rounding errors.
        worst = max(worst, abs(grad @ u - slope) / max(abs(slope), 1e-3 * np.linalg.norm(grad)))
    return worst


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("loss", list(losses))
@pytest.mark.parametrize("activation", list(activations))
def test_the_gradient_is_the_slope_of_the_loss(activation: str, loss: str, depth: int) -> None:
    assert worst_error(smooth_point(activations.decode(activation), depth, losses.decode(loss))) < TOLERANCE


@pytest.mark.parametrize(("dropout", "input_noise", "bias"), [(0.0, 0.0, True), (0.3, 0.5, True), (0.3, 0.0, False)])
@pytest.mark.parametrize("depth", [1, len(WIDTHS)])
@pytest.mark.parametrize("normalization", list(normalizations))
@pytest.mark.parametrize("activation", list(activations))
def test_the_gradient_is_the_slope_of_the_loss_with_normalisation_dropout_and_noise(
    activation: str, normalization: str, depth: int, dropout: float, input_noise: float, bias: bool
) -> None:
    options = {"dropout": dropout, "input_noise": input_noise, "bias": bias}
    part = normalizations.decode(normalization)
    point = smooth_point(activations.decode(activation), depth, CROSS_ENTROPY, normalization=part, **options)
    assert worst_error(point) < TOLERANCE


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("depth", [0, 1, len(WIDTHS)])
@pytest.mark.parametrize("normalization", list(normalizations))
@pytest.mark.parametrize("activation", list(activations))
def test_the_gradient_is_the_slope_of_the_loss_with_scaled_inputs_and_parametric_activations(
    activation: str, normalization: str, depth: int, noise: float
) -> None:
    options = {"dropout": noise, "input_noise": noise, "input_scale": True, "parametric_activation": True}
    part = normalizations.decode(normalization)
    point = smooth_point(activations.decode(activation), depth, CROSS_ENTROPY, normalization=part, **options)
    assert worst_error(point) < TOLERANCE


@pytest.mark.parametrize("normalization", list(normalizations))
@pytest.mark.parametrize("loss", list(losses))
@pytest.mark.parametrize("activation", list(activations))
def test_the_gradient_in_float32_equals_that_in_float64_up_to_rounding(
    activation: str, loss: str, normalization: str
) -> None:
    gradients = []
    part = normalizations.decode(normalization)
    for dtype in (np.float32, np.float64):
        point = smooth_point(
            activations.decode(activation), len(WIDTHS), losses.decode(loss), dtype, normalization=part
        )
        gradients.append(point.gradient())
        assert gradients[-1].dtype == dtype
    narrow, wide = gradients
    assert np.linalg.norm(narrow - wide) < 2e-5 * np.linalg.norm(wide)


# Tests of the check itself: it must notice a derivative that is wrong by a factor of 1.001.


def scale_call(method: Callable[..., None], argument: int, call: int) -> Callable[..., None]:
    """Return `method`, except that one of its calls scales what it wrote into one of its arguments."""
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
    point = smooth_point(part, len(WIDTHS), CROSS_ENTROPY)
    # The backward pass starts at the last layer, so call 0 is the call of the last hidden layer.
    wrong = scale_call(type(part).backward, argument=3, call=len(WIDTHS) - 1 - layer)
    monkeypatch.setattr(type(part), "backward", wrong)
    assert worst_error(point) > TOLERANCE


@pytest.mark.parametrize("argument", [1, 3, 4], ids=["products", "scale", "shift"])
@pytest.mark.parametrize("normalization", [name for name in normalizations if name != "none"])
def test_the_check_notices_a_wrong_derivative_of_a_normalisation(
    normalization: str, argument: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = normalizations.decode(normalization)
    point = smooth_point(activations.decode("tanh"), len(WIDTHS), CROSS_ENTROPY, normalization=part)
    monkeypatch.setattr(type(part), "backward", scale_call(type(part).backward, argument, call=0))
    assert worst_error(point) > TOLERANCE


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("loss", list(losses))
def test_the_check_notices_a_wrong_gradient_of_a_loss(loss: str, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    part = losses.decode(loss)
    point = smooth_point(activations.decode("tanh"), depth, part)
    monkeypatch.setattr(type(part), "gradient", scale_call(type(part).gradient, argument=3, call=0))
    assert worst_error(point) > TOLERANCE


@pytest.mark.parametrize("layer", range(len(WIDTHS) + 1))
@pytest.mark.parametrize("views", ["d_weights", "d_biases"])
def test_the_check_notices_a_wrong_gradient_of_any_layer(
    views: str, layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = smooth_point(activations.decode("tanh"), len(WIDTHS), CROSS_ENTROPY)
    backward = point.network.backward

    def wrong(x: Any, dz: Any) -> None:
        backward(x, dz)
        getattr(point.network, views)[layer][...] *= 1.001

    monkeypatch.setattr(point.network, "backward", wrong)
    assert worst_error(point) > TOLERANCE


@pytest.mark.parametrize("view", ["d_input_scale", "d_alphas"])
def test_the_check_notices_a_wrong_gradient_of_the_scales_of_inputs_or_of_the_alphas(
    view: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"input_scale": True, "parametric_activation": True}
    point = smooth_point(activations.decode("tanh"), len(WIDTHS), CROSS_ENTROPY, **options)
    backward = point.network.backward

    def wrong(x: Any, dz: Any) -> None:
        backward(x, dz)
        found = getattr(point.network, view)
        (found[0] if isinstance(found, list) else found)[...] *= 1.001

    monkeypatch.setattr(point.network, "backward", wrong)
    assert worst_error(point) > TOLERANCE
