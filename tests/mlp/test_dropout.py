"""Dropout masks, and dropout and input noise in a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlp.activations import Identity
from mlp.dropout import draw_mask
from mlp.network import Network


def run_forward(network: Network, x: Any, *, training: bool) -> Any:
    outputs = np.empty((len(x), network.sizes[-1]), network.dtype)
    network.forward(x, outputs, np.random.default_rng(1) if training else None)
    return outputs


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_mask_drops_the_given_fraction_and_keeps_the_mean(rate: float) -> None:
    mask = np.empty((300, 301), np.float32)
    draw_mask(mask, rate, np.random.default_rng(0))
    assert set(np.unique(mask)) == {np.float32(0.0), mask.max()}
    assert np.mean(mask == 0.0) == pytest.approx(rate, abs=0.005)
    assert mask.mean() == pytest.approx(1.0, abs=0.02 / (1 - rate))


def test_a_mask_depends_only_on_the_random_stream_and_changes_with_each_draw() -> None:
    first, again, other = (np.empty((7, 5), np.float32) for _ in range(3))
    rng = np.random.default_rng(0)
    draw_mask(first, 0.5, rng)
    draw_mask(other, 0.5, rng)
    draw_mask(again, 0.5, np.random.default_rng(0))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_dropout_and_noise_apply_in_training_only() -> None:
    noisy = Network((6, 8, 3), Identity(), dropout=0.5, input_noise=1.0, dtype=np.float64)
    plain = Network((6, 8, 3), Identity(), dtype=np.float64)
    noisy.theta[...] = plain.theta[...] = np.random.default_rng(0).normal(size=plain.theta.shape)
    x = np.random.default_rng(1).normal(size=(9, 6))
    expected = run_forward(plain, x, training=False)
    np.testing.assert_array_equal(run_forward(noisy, x, training=False), expected)
    assert (run_forward(noisy, x, training=True) != expected).all()


def test_noise_does_not_change_the_inputs_themselves() -> None:
    network = Network((6, 8, 3), Identity(), input_noise=1.0, dtype=np.float64)
    x = np.random.default_rng(1).normal(size=(9, 6))
    before = x.copy()
    run_forward(network, x, training=True)
    np.testing.assert_array_equal(x, before)
