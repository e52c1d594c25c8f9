"""Diagnostics of a training, layer by layer: sizes of gradients and steps, and units that have stopped learning."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp.arrays import Array
from mlp.network import Network

PREFIX = "diagnostics/"
FLAT = 1e-3  # the size of a derivative below which a unit passes almost no gradient on
N_EXAMPLES = 512  # the examples of the last batch on which units are examined


def diagnose(network: Network, before: Array, x: Array) -> dict[str, float]:
    """Return the diagnostics of the step that was just taken, keyed `diagnostics/...`.

    `gradient_norm` is the length of the full gradient. Each layer, counted from 1, has `layer_1/gradient_norm`, the
    length of the gradient of its weights, and `layer_1/update_ratio`, the length of the step divided by the length of
    the weights. Each hidden layer also has `layer_1/dead_units`, the share of units whose derivative is almost 0 for
    every example, and `layer_1/saturation`, the share of all derivatives that are almost 0.

    Args:
        network: the network after the step, with the gradient of the step.
        before: the trained part of theta before the step, shape (n_trained,).
        x: the inputs of the step, shape (b, d).
    """
    norms, ratios, start = [], [], 0
    for w, d_w in zip(network.weights, network.d_weights, strict=True):
        w_before = before[start : start + w.size]
        norms.append(_norm(d_w))
        ratios.append(_norm(w.reshape(-1) - w_before) / max(_norm(w_before), float(np.finfo(w.dtype).tiny)))
        start += w.size
    values = {"gradient_norm": _norm(network.grad)}
    for layer, (norm, ratio) in enumerate(zip(norms, ratios, strict=True), 1):
        values |= {f"layer_{layer}/gradient_norm": norm, f"layer_{layer}/update_ratio": ratio}
    for layer, derivative in enumerate(_derivatives(network, x[:N_EXAMPLES]), 1):
        is_flat = np.abs(derivative) < FLAT
        values[f"layer_{layer}/dead_units"] = float(is_flat.all(axis=0).mean())
        values[f"layer_{layer}/saturation"] = float(is_flat.mean())
    return {PREFIX + name: value for name, value in values.items()}


def _norm(values: Array) -> float:
    flat = values.reshape(-1)
    return float(np.sqrt(np.dot(flat, flat)))


def _derivatives(network: Network, x: Array) -> list[Any]:
    """Return the derivative of each hidden unit's activation for each example: one array (b, width) per layer."""
    space = network.workspace(len(x))
    network.forward(x, np.empty((len(x), network.sizes[-1]), network.dtype))
    derivatives = []
    for _, activation, z, a in space.hidden:
        ones = np.ones_like(z)
        activation.backward(z, a, ones)
        derivatives.append(ones)
    return derivatives
