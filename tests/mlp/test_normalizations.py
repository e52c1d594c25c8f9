"""Normalisations: what they compute, their running statistics, and agreement with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlp import ConfigError
from mlp.activations import Identity
from mlp.network import Network
from mlp.normalizations import (
    BatchNormalization,
    LayerNormalization,
    normalizations,
)
from tests.mlp_data import small_config

NAMES = [name for name in normalizations if name != "none"]


def wide_layer(normalization: Any, **options: Any) -> Network:
    """Return a network of one hidden layer, linear except for its normalisation, with random parameters."""
    network = Network((6, 8, 3), Identity(), normalization=normalization, dtype=np.float64, **options)
    network.theta[: network.n_trained] = np.random.default_rng(0).normal(size=network.n_trained)
    for statistics in network.statistics:
        normalization.start(statistics)
    return network


def run_forward(network: Network, x: Any, *, training: bool) -> Any:
    outputs = np.empty((len(x), network.sizes[-1]), network.dtype)
    network.forward(x, outputs, np.random.default_rng(1) if training else None)
    return outputs


def test_batch_normalisation_gives_each_unit_mean_0_and_standard_deviation_1_over_the_batch() -> None:
    part, z = BatchNormalization(), np.random.default_rng(0).normal(3.0, 5.0, (50, 4))
    statistics = np.zeros((2, 4))
    part.forward(z, np.ones(4), np.zeros(4), statistics, part.space(50, 4, np.float64), training=True)
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0), 1.0, rtol=1e-6)


def test_layer_normalisation_gives_each_example_mean_0_and_standard_deviation_1_over_its_units() -> None:
    part, z = LayerNormalization(), np.random.default_rng(0).normal(3.0, 5.0, (4, 50))
    part.forward(z, np.ones(50), np.zeros(50), np.zeros((0, 50)), part.space(4, 50, np.float64), training=True)
    np.testing.assert_allclose(z.mean(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=1), 1.0, rtol=1e-6)


def test_scale_and_shift_are_trained_and_the_shift_replaces_the_bias() -> None:
    network = wide_layer(BatchNormalization())
    assert network.n_trained == 6 * 8 + 8 * 3 + (8 + 3) + 8
    assert len(network.theta) == network.n_trained + 2 * 8
    assert [len(scale) for scale in network.scales] == [8, 0]


def test_inference_on_an_example_does_not_depend_on_its_batch() -> None:
    network, x = wide_layer(BatchNormalization()), np.random.default_rng(2).normal(size=(30, 6))
    run_forward(network, x, training=True)
    whole = run_forward(network, x, training=False)
    np.testing.assert_allclose(run_forward(network, x[4:5], training=False), whole[4:5], rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_example_and_a_constant_unit_give_finite_results(name: str) -> None:
    network = wide_layer(normalizations.decode(name))
    for x in (np.ones((1, 6)), np.ones((5, 6))):
        outputs = run_forward(network, x, training=True)
        network.backward(x, np.ones_like(outputs))
        assert np.isfinite(outputs).all()
        assert np.isfinite(network.grad).all()


def test_batch_normalisation_with_a_batch_size_of_1_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'"batch_size": must be at least 2 with batch normalization'):
        small_config({"batch_size": 1, "network.normalization": "batch"})


@pytest.mark.parametrize("name", NAMES)
def test_ten_steps_with_a_normalisation_agree_with_pytorch(name: str) -> None:
    counterparts = pytest.importorskip("tests.mlp.torch_counterparts")
    torch = counterparts.torch
    rng = np.random.default_rng(3)
    network = wide_layer(normalizations.decode(name))
    first, last = torch.nn.Linear(6, 8, bias=False).double(), torch.nn.Linear(8, 3).double()
    norm, shift = counterparts.torch_normalization(normalizations.decode(name), 8).double(), torch.zeros(8).double()
    with torch.no_grad():
        first.weight.copy_(torch.tensor(network.weights[0].T))
        last.weight.copy_(torch.tensor(network.weights[1].T))
        last.bias.copy_(torch.tensor(network.biases[1]))
        norm.weight.copy_(torch.tensor(network.scales[0]))
        shift.copy_(torch.tensor(network.biases[0]))
    shift.requires_grad_(True)

    def theirs(x: Any) -> Any:
        return last(norm(first(torch.tensor(x))) + shift)

    optimizer = torch.optim.SGD([*first.parameters(), norm.weight, shift, *last.parameters()], 0.1)
    for _ in range(10):
        x, slope = rng.normal(size=(12, 6)), rng.normal(size=(12, 3)) / 12
        run_forward(network, x, training=True)
        network.backward(x, slope.copy())
        network.theta[: network.n_trained] -= 0.1 * network.grad
        optimizer.zero_grad()
        theirs(x).backward(torch.tensor(slope))
        optimizer.step()
    np.testing.assert_allclose(network.weights[0], first.weight.detach().numpy().T, rtol=1e-5)
    np.testing.assert_allclose(network.scales[0], norm.weight.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(network.biases[0], shift.detach().numpy(), rtol=1e-5)
    norm.eval()
    x = rng.normal(size=(5, 6))
    np.testing.assert_allclose(run_forward(network, x, training=False), theirs(x).detach().numpy(), rtol=1e-5)
