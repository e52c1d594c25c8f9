"""Normalisation and dropout: what they compute, what they remember, and agreement with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlp import ConfigError
from mlp.activations import Identity
from mlp.dropout import draw_mask
from mlp.network import Network
from mlp.normalizations import (
    BatchNormalization,
    LayerNormalization,
    normalizations,
)
from tests.mlp_data import small_config

NAMES = [name for name in normalizations if name != "none"]


def wide_layer(normalization: Any, **options: Any) -> Network:
    """Return a network of one hidden layer, linear but for its normalisation, with random parameters."""
    network = Network((6, 8, 3), Identity(), normalization=normalization, dtype=np.float64, **options)
    network.theta[: network.n_trained] = np.random.default_rng(0).normal(size=network.n_trained)
    for statistics in network.statistics:
        normalization.start(statistics)
    return network


def run_forward(network: Network, x: Any, *, training: bool) -> Any:
    outputs = np.empty((len(x), network.sizes[-1]), network.dtype)
    network.forward(x, outputs, np.random.default_rng(1) if training else None)
    return outputs


def test_batch_normalisation_gives_each_unit_mean_0_and_deviation_1_over_the_batch() -> None:
    part, z = BatchNormalization(), np.random.default_rng(0).normal(3.0, 5.0, (50, 4))
    statistics = np.zeros((2, 4))
    part.forward(z, np.ones(4), np.zeros(4), statistics, part.space(50, 4, np.float64), training=True)
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0), 1.0, rtol=1e-6)


def test_layer_normalisation_gives_each_example_mean_0_and_deviation_1_over_its_units() -> None:
    part, z = LayerNormalization(), np.random.default_rng(0).normal(3.0, 5.0, (4, 50))
    part.forward(z, np.ones(50), np.zeros(50), np.zeros((0, 50)), part.space(4, 50, np.float64), training=True)
    np.testing.assert_allclose(z.mean(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=1), 1.0, rtol=1e-6)


def test_scale_and_shift_are_learnt_and_the_shift_stands_for_the_bias() -> None:
    network = wide_layer(BatchNormalization())
    assert network.n_trained == 6 * 8 + 8 * 3 + (8 + 3) + 8
    assert len(network.theta) == network.n_trained + 2 * 8
    assert [len(scale) for scale in network.scales] == [8, 0]


def test_a_batch_does_not_change_what_inference_says_of_an_example() -> None:
    network, x = wide_layer(BatchNormalization()), np.random.default_rng(2).normal(size=(30, 6))
    run_forward(network, x, training=True)
    whole = run_forward(network, x, training=False)
    np.testing.assert_allclose(run_forward(network, x[4:5], training=False), whole[4:5], rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_example_and_a_constant_unit_come_out_finite(name: str) -> None:
    network = wide_layer(normalizations.decode(name))
    for x in (np.ones((1, 6)), np.ones((5, 6))):
        outputs = run_forward(network, x, training=True)
        network.backward(x, np.ones_like(outputs))
        assert np.isfinite(outputs).all()
        assert np.isfinite(network.grad).all()


def test_batch_normalisation_of_single_examples_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'"batch_size": must be at least 2 for batch normalization'):
        small_config({"batch_size": 1, "network.normalization": "batch"})


@pytest.mark.parametrize("name", NAMES)
def test_ten_steps_with_a_normalisation_are_those_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
    rng = np.random.default_rng(3)
    network = wide_layer(normalizations.decode(name))
    norm = torch.nn.BatchNorm1d(8) if name == "batch" else torch.nn.LayerNorm(8)
    theirs = torch.nn.Sequential(torch.nn.Linear(6, 8, bias=False), norm, torch.nn.Linear(8, 3)).double()
    first, last = theirs[0], theirs[2]
    with torch.no_grad():
        first.weight.copy_(torch.tensor(network.weights[0].T))
        last.weight.copy_(torch.tensor(network.weights[1].T))
        last.bias.copy_(torch.tensor(network.biases[1]))
        norm.weight.copy_(torch.tensor(network.scales[0]))
        norm.bias.copy_(torch.tensor(network.biases[0]))
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1)
    for _ in range(10):
        x, slope = rng.normal(size=(12, 6)), rng.normal(size=(12, 3)) / 12
        run_forward(network, x, training=True)
        network.backward(x, slope.copy())
        network.theta[: network.n_trained] -= 0.1 * network.grad
        optimizer.zero_grad()
        theirs(torch.tensor(x)).backward(torch.tensor(slope))
        optimizer.step()
    np.testing.assert_allclose(network.weights[0], first.weight.detach().numpy().T, rtol=1e-5)
    np.testing.assert_allclose(network.scales[0], norm.weight.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(network.biases[0], norm.bias.detach().numpy(), rtol=1e-5)
    theirs.eval()
    x = rng.normal(size=(5, 6))
    expected = theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(run_forward(network, x, training=False), expected, rtol=1e-5)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_mask_drops_its_share_and_keeps_the_mean(rate: float) -> None:
    mask = np.empty((300, 301), np.float32)
    draw_mask(mask, rate, np.random.default_rng(0))
    assert set(np.unique(mask)) == {np.float32(0.0), mask.max()}
    assert np.mean(mask == 0.0) == pytest.approx(rate, abs=0.005)
    assert mask.mean() == pytest.approx(1.0, abs=0.02 / (1 - rate))


def test_a_mask_is_the_same_for_the_same_stream_and_differs_from_the_next() -> None:
    first, again, other = (np.empty((7, 5), np.float32) for _ in range(3))
    rng = np.random.default_rng(0)
    draw_mask(first, 0.5, rng)
    draw_mask(other, 0.5, rng)
    draw_mask(again, 0.5, np.random.default_rng(0))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_dropout_and_noise_are_for_training_only() -> None:
    noisy = Network((6, 8, 3), Identity(), dropout=0.5, input_noise=1.0, dtype=np.float64)
    plain = Network((6, 8, 3), Identity(), dtype=np.float64)
    noisy.theta[...] = plain.theta[...] = np.random.default_rng(0).normal(size=plain.theta.shape)
    x = np.random.default_rng(1).normal(size=(9, 6))
    expected = run_forward(plain, x, training=False)
    np.testing.assert_array_equal(run_forward(noisy, x, training=False), expected)
    assert (run_forward(noisy, x, training=True) != expected).all()


def test_inputs_are_not_changed_by_noise() -> None:
    network = Network((6, 8, 3), Identity(), input_noise=1.0, dtype=np.float64)
    x = np.random.default_rng(1).normal(size=(9, 6))
    before = x.copy()
    run_forward(network, x, training=True)
    np.testing.assert_array_equal(x, before)
