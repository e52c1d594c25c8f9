"""Agreement with PyTorch, an implementation that shares no line with ours: to 1e-5 relative."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlp.activations import AbstractActivation, activations

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")

ACTIVATIONS: dict[str, Any] = {
    "identity": torch.nn.Identity(),
    "relu": torch.nn.ReLU(),
    "leaky_relu": torch.nn.LeakyReLU(0.01),
    "elu": torch.nn.ELU(),
    "selu": torch.nn.SELU(),
    "sigmoid": torch.nn.Sigmoid(),
    "tanh": torch.nn.Tanh(),
    "softplus": torch.nn.Softplus(),
    "silu": torch.nn.SiLU(),
    "mish": torch.nn.Mish(),
    "gelu": torch.nn.GELU(),
    "gelu of tanh": torch.nn.GELU(approximate="tanh"),
}


def part_of(name: str) -> AbstractActivation:
    return activations.decode({"name": "gelu", "form": "tanh"} if name == "gelu of tanh" else name)


def test_every_activation_is_compared() -> None:
    assert {part_of(name).name for name in ACTIVATIONS} == set(activations)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_an_activation_and_its_derivative_are_those_of_pytorch(name: str) -> None:
    part, values = part_of(name), np.linspace(-6.0, 6.0, 10_001, dtype=np.float32)
    theirs = torch.tensor(values, requires_grad=True)
    ACTIVATIONS[name](theirs).sum().backward()
    z = values.copy()
    a = z if part.in_place else np.empty_like(z)
    part.forward(z, a)
    np.testing.assert_allclose(a, ACTIVATIONS[name](theirs).detach().numpy(), rtol=1e-5, atol=2e-6)
    da = np.ones_like(z)
    part.backward(z, a, da)
    smooth = np.abs(values) > 1e-6  # at 0 a kink has no derivative to agree on
    np.testing.assert_allclose(da[smooth], theirs.grad.numpy()[smooth], rtol=1e-5, atol=2e-6)
