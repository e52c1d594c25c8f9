"""A network worked by hand, the layout of its parameters, and what must not change its outputs or its loss."""

from __future__ import annotations

import copy
import pickle
from math import log
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp.activations import Relu, Tanh, activations
from mlp.initializers import Normal, Zeros, initializers
from mlp.losses import AbstractLoss, SoftmaxCrossEntropy, losses
from mlp.network import Network
from mlp.normalizations import BatchNormalization
from mlp.optimizers import Sgd
from tests.mlp_data import quick

SIZES = (4, 6, 5, 3)
CROSS_ENTROPY = SoftmaxCrossEntropy()


def random_network(seed: int, activation: str = "tanh") -> Network:
    network = Network(SIZES, activations.decode(activation), dtype=np.float64)
    network.theta[...] = np.random.default_rng(seed).normal(0.0, 0.7, network.theta.shape)
    return network


def compute_outputs(network: Network, x: Any) -> Any:
    outputs = np.empty((len(x), network.sizes[-1]), network.dtype)
    network.forward(x, outputs)
    return outputs


def compute_gradient(network: Network, x: Any, y: Any, loss: AbstractLoss = CROSS_ENTROPY) -> Any:
    outputs = compute_outputs(network, x)
    dz = np.empty_like(outputs)
    loss.gradient(outputs, y, dz)
    network.backward(x, dz)
    return network.grad.copy()


def examples(seed: int, b: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(0.0, 1.0, (b, SIZES[0])), rng.integers(0, SIZES[-1], b)


def test_a_network_worked_by_hand() -> None:
    # Two inputs, two ReLU units, two classes; two examples, x1 of class 1 and x2 of class 0.
    #
    #   x = [ 1  2 ]   W1 = [  1   -1 ]   b1 = [ -1 -2 ]   W2 = [ ln 3    0  ]   b2 = [ 0  0 ]   y = [ 1 ]
    #       [-1  2 ]        [ 1/2   1 ]                         [  0    ln 2 ]                       [ 0 ]
    #
    # Forward.   x1: z = [ 1+1-1, -1+2-2 ] = [ 1, -1 ], a = [ 1, 0 ], outputs [ ln 3, 0 ], softmax [ 3/4, 1/4 ]
    #            x2: z = [-1+1-1,  1+2-2 ] = [-1,  1 ], a = [ 0, 1 ], outputs [ 0, ln 2 ], softmax [ 1/3, 2/3 ]
    # Loss.      x1: -ln 1/4 = ln 4;  x2: -ln 1/3 = ln 3;  mean (ln 12) / 2
    # Backward.  (softmax - onehot) / 2:  dz = [ 3/8 -3/8 ]   so dW2 = aT dz = [ 3/8 -3/8 ]   db2 = [ 1/24 -1/24 ]
    #                                         [-1/3  1/3 ]                     [-1/3  1/3 ]
    #            dz W2T:  [ 3/8 ln 3  -3/8 ln 2 ]   where z > 0:  [ 3/8 ln 3      0    ]
    #                     [-1/3 ln 3   1/3 ln 2 ]                 [    0      1/3 ln 2 ]
    #            dW1 = xT of that = [ 3/8 ln 3  -1/3 ln 2 ]   db1 = [ 3/8 ln 3  1/3 ln 2 ]
    #                               [ 3/4 ln 3   2/3 ln 2 ]
    # One step of gradient descent at rate 1/2: each parameter less half its gradient.
    ln2, ln3 = log(2.0), log(3.0)
    network = Network((2, 2, 2), Relu(), dtype=np.float64)
    network.weights[0][...] = [[1.0, -1.0], [0.5, 1.0]]
    network.biases[0][...] = [-1.0, -2.0]
    network.weights[1][...] = [[ln3, 0.0], [0.0, ln2]]
    x, y = np.array([[1.0, 2.0], [-1.0, 2.0]]), np.array([1, 0])

    outputs = compute_outputs(network, x)
    np.testing.assert_allclose(outputs, [[ln3, 0.0], [0.0, ln2]], rtol=1e-14)
    np.testing.assert_allclose(CROSS_ENTROPY.values(outputs, y), [log(4.0), ln3], rtol=1e-14)
    assert np.mean(CROSS_ENTROPY.values(outputs, y)) == pytest.approx(log(12.0) / 2.0, rel=1e-14)

    compute_gradient(network, x, y)
    np.testing.assert_allclose(network.d_weights[1], [[3 / 8, -3 / 8], [-1 / 3, 1 / 3]], rtol=1e-14)
    np.testing.assert_allclose(network.d_biases[1], [1 / 24, -1 / 24], rtol=1e-14)
    np.testing.assert_allclose(network.d_weights[0], [[3 / 8 * ln3, -ln2 / 3], [3 / 4 * ln3, 2 / 3 * ln2]], rtol=1e-14)
    np.testing.assert_allclose(network.d_biases[0], [3 / 8 * ln3, ln2 / 3], rtol=1e-14)

    Sgd().update(network.theta, network.grad, (), np.empty_like(network.theta), step=1, rate=0.5)
    stepped = [
        *(1 - 3 / 16 * ln3, -1 + ln2 / 6, 1 / 2 - 3 / 8 * ln3, 1 - ln2 / 3),
        *(ln3 - 3 / 16, 3 / 16, 1 / 6, ln2 - 1 / 6),
        *(-1 - 3 / 16 * ln3, -2 - ln2 / 6),
        *(-1 / 48, 1 / 48),
    ]
    np.testing.assert_allclose(network.theta, stepped, rtol=1e-14)


def test_theta_holds_every_weight_matrix_by_rows_and_then_every_bias() -> None:
    network = Network((2, 3, 1), Tanh())
    network.theta[...] = np.arange(13)
    assert network.n_weights == 2 * 3 + 3 * 1
    np.testing.assert_array_equal(network.weights[0], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(network.weights[1], [[6], [7], [8]])
    np.testing.assert_array_equal(network.biases[0], [9, 10, 11])
    np.testing.assert_array_equal(network.biases[1], [12])


def test_weights_and_biases_are_views_into_theta_and_their_gradients_into_grad() -> None:
    network = Network(SIZES, Tanh())
    for vector, views in (
        (network.theta, network.weights + network.biases),
        (network.grad, network.d_weights + network.d_biases),
    ):
        assert vector.flags.c_contiguous
        assert sum(view.size for view in views) == len(vector)
        for number, view in enumerate(views):
            view[...] = number + 1
        assert sorted(set(vector.tolist())) == list(range(1, len(views) + 1))


def test_a_network_without_hidden_layers_is_softmax_regression() -> None:
    network = Network((4, 3), Tanh(), dtype=np.float64)
    network.theta[...] = np.random.default_rng(0).normal(size=15)
    x, y = examples(0, 7)
    outputs = x @ network.weights[0] + network.biases[0]
    np.testing.assert_allclose(compute_outputs(network, x), outputs, rtol=1e-13)
    softmax = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    compute_gradient(network, x, y)
    np.testing.assert_allclose(network.d_weights[0], x.T @ (softmax - np.eye(3)[y]) / 7, rtol=1e-12, atol=1e-15)


def test_the_inputs_are_not_changed() -> None:
    x, y = examples(0, 5)
    before = x.copy()
    compute_gradient(random_network(0), x, y)
    np.testing.assert_array_equal(x, before)


def test_batches_of_different_sizes_do_not_disturb_each_other() -> None:
    network, sizes = random_network(0), (5, 1, 5, 8, 1)
    fresh = [compute_gradient(random_network(0), *examples(seed, b)) for seed, b in enumerate(sizes)]
    reused = [compute_gradient(network, *examples(seed, b)) for seed, b in enumerate(sizes)]
    np.testing.assert_array_equal(reused, fresh)


def test_initial_parameters_depend_on_the_seed_and_the_layer_only() -> None:
    def draw(sizes: tuple[int, ...], seed: int) -> Network:
        network = Network(sizes, Tanh())
        network.initialize(Normal(std=1.0), Normal(std=1.0), seed=seed)
        return network

    first, again, other, deeper = draw((4, 4, 4), 0), draw((4, 4, 4), 0), draw((4, 4, 4), 1), draw((4, 4, 4, 2), 0)
    np.testing.assert_array_equal(first.theta, again.theta)
    assert not (first.theta == other.theta).any()
    assert not (first.weights[0] == first.weights[1]).any()
    assert not (first.weights[0][0] == first.biases[0]).any()
    np.testing.assert_array_equal(first.weights[1], deeper.weights[1])


def test_the_last_layer_is_initialised_with_gain_1() -> None:
    drawn = {}
    for activation in (Relu(), Tanh()):
        network = Network((50, 50, 50), activation, dtype=np.float64)
        network.initialize(initializers.decode("he_normal"), Zeros(), seed=0)
        drawn[activation.name] = network.weights
    ratio = Relu().init_gain() / Tanh().init_gain()
    np.testing.assert_allclose(drawn["relu"][0], drawn["tanh"][0] * ratio, rtol=1e-12)
    np.testing.assert_array_equal(drawn["relu"][1], drawn["tanh"][1])


def test_the_last_layer_may_have_an_initializer_of_its_own() -> None:
    first, second = Network(SIZES, Tanh()), Network(SIZES, Tanh())
    first.initialize(Normal(), Normal(), seed=0)
    second.initialize(Normal(), Normal(), seed=0, last=Zeros())
    for ours, theirs in zip(first.weights[:-1] + first.biases, second.weights[:-1] + second.biases, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (first.weights[-1] != 0.0).all()
    assert not second.weights[-1].any()


def with_parameters(*, input_scale: bool = False, parametric_activation: bool = False) -> Network:
    """Return a network whose weights and biases are those of `random_network(0)`, the other parameters at the start."""
    options = {"input_scale": input_scale, "parametric_activation": parametric_activation}
    network, plain = Network(SIZES, Tanh(), dtype=np.float64, **options), random_network(0)
    network.initialize(Zeros(), Zeros(), seed=0)
    network.theta[: len(plain.theta)] = plain.theta
    return network


def test_scales_of_inputs_and_alphas_come_after_the_biases_and_start_from_1() -> None:
    network, n = with_parameters(input_scale=True, parametric_activation=True), len(random_network(0).theta)
    np.testing.assert_array_equal(network.theta[n:], np.ones(4 + 6 + 5))
    network.theta[n:] = np.arange(15)
    np.testing.assert_array_equal(network.input_scale, np.arange(4))
    for alphas, expected in zip(network.alphas, (np.arange(4, 10), np.arange(10, 15)), strict=True):
        np.testing.assert_array_equal(alphas, expected)


def test_scales_of_inputs_and_alphas_of_1_do_not_change_the_outputs() -> None:
    network, (x, _) = with_parameters(input_scale=True, parametric_activation=True), examples(0, 5)
    np.testing.assert_allclose(compute_outputs(network, x), compute_outputs(random_network(0), x), rtol=1e-12)


def test_the_scales_multiply_the_inputs() -> None:
    network, (x, _) = with_parameters(input_scale=True), examples(0, 5)
    network.input_scale[...] = [2.0, 0.0, -1.0, 0.5]
    expected = compute_outputs(random_network(0), x * network.input_scale)
    np.testing.assert_array_equal(compute_outputs(network, x), expected)


def test_an_alpha_of_0_turns_a_unit_into_a_linear_one() -> None:
    network, (x, _) = with_parameters(parametric_activation=True), examples(0, 5)
    for alpha in network.alphas:
        alpha[...] = 0.0
    a = x
    for w, b in zip(network.weights, network.biases, strict=True):
        a = a @ w + b
    np.testing.assert_allclose(compute_outputs(network, x), a, rtol=1e-12)


@quick
@given(seed=st.integers(0, 1000), layer=st.integers(0, 1), data=st.data())
@pytest.mark.parametrize("activation", list(activations))
def test_permuting_the_units_of_a_hidden_layer_does_not_change_the_outputs(
    activation: str, seed: int, layer: int, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(SIZES[layer + 1])))
    network, (x, _) = random_network(seed, activation), examples(seed + 1, 5)
    before = compute_outputs(network, x)
    network.weights[layer][...] = network.weights[layer][:, order]
    network.biases[layer][...] = network.biases[layer][order]
    network.weights[layer + 1][...] = network.weights[layer + 1][order]
    np.testing.assert_allclose(compute_outputs(network, x), before, rtol=1e-10, atol=1e-12)


@quick
@given(seed=st.integers(0, 1000), shift=st.floats(-100.0, 100.0))
def test_adding_a_constant_to_all_logits_does_not_change_the_loss_and_its_gradient(seed: int, shift: float) -> None:
    network, (x, y) = random_network(seed), examples(seed + 1, 5)
    values, grad = CROSS_ENTROPY.values(compute_outputs(network, x), y), compute_gradient(network, x, y)
    network.biases[-1][...] += shift
    np.testing.assert_allclose(CROSS_ENTROPY.values(compute_outputs(network, x), y), values, rtol=1e-10)
    np.testing.assert_allclose(compute_gradient(network, x, y), grad, rtol=1e-10, atol=1e-13)


@quick
@given(seed=st.integers(0, 1000), order=st.permutations(range(7)))
@pytest.mark.parametrize("loss", list(losses))
def test_permuting_the_examples_of_a_batch_permutes_the_outputs_and_does_not_change_the_gradient(
    loss: str, seed: int, order: list[int]
) -> None:
    network, (x, y), part = random_network(seed), examples(seed + 1, 7), losses.decode(loss)
    outputs, grad = compute_outputs(network, x), compute_gradient(network, x, y, part)
    permuted = compute_outputs(network, x[order])
    np.testing.assert_allclose(permuted, outputs[order], rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(part.values(permuted, y[order]), part.values(outputs, y)[order], rtol=1e-10)
    np.testing.assert_allclose(compute_gradient(network, x[order], y[order], part), grad, rtol=1e-10, atol=1e-13)


@quick
@given(seed=st.integers(0, 1000))
@pytest.mark.parametrize("activation", list(activations))
def test_the_gradient_of_a_batch_is_the_mean_of_the_gradients_of_its_examples(activation: str, seed: int) -> None:
    network, (x, y) = random_network(seed, activation), examples(seed + 1, 5)
    single = [compute_gradient(network, x[i : i + 1], y[i : i + 1]) for i in range(5)]
    np.testing.assert_allclose(compute_gradient(network, x, y), np.mean(single, axis=0), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_a_copy_has_its_own_parameters_and_views_into_them(again: Any) -> None:
    options = {"input_scale": True, "parametric_activation": True, "bias": [True, False]}
    network = Network((4, 6, 3), [Tanh()], normalization=BatchNormalization(), dtype=np.float64, **options)
    network.initialize(Normal(), Zeros(), seed=1)
    other = again(network)
    x, _ = examples(0, 5)
    np.testing.assert_array_equal(compute_outputs(other, x), compute_outputs(network, x))
    other.theta[...] = 0.0
    assert (network.theta != 0.0).any()
    np.testing.assert_array_equal(compute_outputs(other, x), 0.0)
