"""Agreement with PyTorch, an implementation that shares no line with ours: to 1e-5 relative, over ten steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlp.activations import AbstractActivation, activations
from mlp.optimizers import AbstractOptimizer, Adadelta, Adagrad, Adam, Adamax, Rmsprop, Sgd

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


OPTIMIZERS: list[tuple[AbstractOptimizer, Any]] = [
    (Sgd(), lambda p, lr: torch.optim.SGD(p, lr)),
    (Sgd(momentum=0.9), lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9)),
    (Sgd(momentum=0.9, nesterov=True), lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9, nesterov=True)),
    (Adagrad(), lambda p, lr: torch.optim.Adagrad(p, lr)),
    (Rmsprop(), lambda p, lr: torch.optim.RMSprop(p, lr)),
    (Rmsprop(momentum=0.9), lambda p, lr: torch.optim.RMSprop(p, lr, momentum=0.9)),
    (Adadelta(), lambda p, lr: torch.optim.Adadelta(p, lr)),
    (Adamax(), lambda p, lr: torch.optim.Adamax(p, lr)),
    (Adam(), lambda p, lr: torch.optim.Adam(p, lr)),
]


@pytest.mark.parametrize(("part", "make"), OPTIMIZERS, ids=[repr(part) for part, _ in OPTIMIZERS])
def test_ten_steps_of_an_optimizer_are_those_of_pytorch(part: AbstractOptimizer, make: Any) -> None:
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=200), rng.normal(size=(10, 200))
    theirs = torch.nn.Parameter(torch.tensor(start))
    optimizer = make([theirs], 0.01)
    theta, slots = start.copy(), tuple(np.zeros((part.n_slots, 200)))
    for step, gradient in enumerate(gradients, 1):
        part.update(theta, gradient.copy(), slots, np.empty(200), step, 0.01)
        theirs.grad = torch.tensor(gradient)
        optimizer.step()
    np.testing.assert_allclose(theta, theirs.detach().numpy(), rtol=1e-5)
