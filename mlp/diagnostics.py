"""What goes on inside a training, layer by layer: sizes of gradients and steps, units that have stopped learning."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp.arrays import Array
from mlp.network import Network

PREFIX = "diagnostics/"
FLAT = 1e-3  # a derivative below that passes next to nothing on
EXAMPLES = 512  # of the last batch, on which units are judged


def diagnose(network: Network, before: Array, x: Array) -> dict[str, float]:
    """Return the diagnostics of a step that has just been made.

    For each layer, counted from 1: `gradient_norm`, of its weights; `update_ratio`, the length of the step over that
    of the weights; for hidden layers `dead_units`, the share of units whose derivative is nothing for every example,
    and `saturation`, the share of all derivatives that are nothing. `gradient_norm` is that of the whole gradient.

    Args:
        network: after the step, its gradient still there.
        before: the trained part of theta before it, shape (n_trained,).
        x: inputs of the step, shape (b, d).
    """
    norms, ratios, start = [], [], 0
    for w, d_w in zip(network.weights, network.d_weights, strict=True):
        was = before[start : start + w.size]
        norms.append(_norm(d_w))
        ratios.append(_norm(w.reshape(-1) - was) / max(_norm(was), float(np.finfo(w.dtype).tiny)))
        start += w.size
    found = {"gradient_norm": _norm(network.grad)}
    for layer, (norm, ratio) in enumerate(zip(norms, ratios, strict=True), 1):
        found |= {f"layer_{layer}/gradient_norm": norm, f"layer_{layer}/update_ratio": ratio}
    for layer, derivative in enumerate(_derivatives(network, x[:EXAMPLES]), 1):
        is_flat = np.abs(derivative) < FLAT
        found[f"layer_{layer}/dead_units"] = float(is_flat.all(axis=0).mean())
        found[f"layer_{layer}/saturation"] = float(is_flat.mean())
    return {PREFIX + name: value for name, value in found.items()}


def _norm(values: Array) -> float:
    flat = values.reshape(-1)
    return float(np.sqrt(np.dot(flat, flat)))


def _derivatives(network: Network, x: Array) -> list[Any]:
    """Return the derivative of every hidden unit's activation for every example, by layer, shape (b, width)."""
    space = network.workspace(len(x))
    network.forward(x, np.empty((len(x), network.sizes[-1]), network.dtype))
    derivatives = []
    for activation, z, a in zip(network.activations, space.z, space.a, strict=True):
        ones = np.ones_like(z)
        activation.backward(z, a, ones)
        derivatives.append(ones)
    return derivatives
