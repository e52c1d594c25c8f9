"""Agreement of every loss with PyTorch, values and gradients, plain and weighted: to 1e-5 relative."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlp.losses import (
    AbstractLoss,
    BinaryCrossEntropy,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    SoftmaxCrossEntropy,
    Task,
    losses,
)
from tests.mlp_data import learnable

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
functional = torch.nn.functional


def cross_entropy(smoothing: float) -> Any:
    return lambda z, t: functional.cross_entropy(z, t, reduction="none", label_smoothing=smoothing)


def binary(z: Any, t: Any) -> Any:
    rows = t.reshape(len(t), -1).to(z.dtype)
    return functional.binary_cross_entropy_with_logits(z, rows, reduction="none").mean(dim=1)


def residual(function: Any, activation: Any = torch.nn.Identity(), **options: float) -> Any:  # noqa: B008
    def compare(z: Any, t: Any) -> Any:
        rows = functional.one_hot(t, z.shape[1]) if t.ndim == 1 else t
        return function(activation(z), rows.to(z.dtype), reduction="none", **options).mean(dim=1)

    return compare


CASES: list[tuple[AbstractLoss, Any]] = [
    (SoftmaxCrossEntropy(), cross_entropy(0.0)),
    (SoftmaxCrossEntropy(label_smoothing=0.1), cross_entropy(0.1)),
    (SoftmaxCrossEntropy(label_smoothing=0.75), cross_entropy(0.75)),
    (BinaryCrossEntropy(), binary),
    (MeanSquaredError(), residual(functional.mse_loss)),
    (MeanSquaredError(output="sigmoid"), residual(functional.mse_loss, torch.nn.Sigmoid())),
    (MeanSquaredError(output="tanh"), residual(functional.mse_loss, torch.nn.Tanh())),
    (MeanSquaredError(output="relu"), residual(functional.mse_loss, torch.nn.ReLU())),
    (MeanSquaredError(output="softplus"), residual(functional.mse_loss, torch.nn.Softplus())),
    (MeanSquaredError(output="softmax"), residual(functional.mse_loss, torch.nn.Softmax(dim=1))),
    (MeanAbsoluteError(), residual(functional.l1_loss)),
    (MeanAbsoluteError(output="softmax"), residual(functional.l1_loss, torch.nn.Softmax(dim=1))),
    (Huber(), residual(functional.huber_loss)),
    (Huber(delta=0.25), residual(functional.huber_loss, delta=0.25)),
    (Huber(delta=3.0, output="softplus"), residual(functional.huber_loss, torch.nn.Softplus(), delta=3.0)),
]
ON_TASKS = [pytest.param(part, theirs, task, id=f"{part} {task}") for part, theirs in CASES for task in part.tasks]


def test_every_loss_is_compared() -> None:
    assert {part.name for part, _ in CASES} == set(losses)


@pytest.mark.parametrize("is_weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("part", "compare", "task"), ON_TASKS)
def test_values_and_gradient_of_a_loss_are_those_of_pytorch(
    part: AbstractLoss, compare: Any, task: Task, dtype: Any, is_weighted: bool
) -> None:
    _, outputs, targets = learnable(part, task, dtype, n=200)
    weights = np.random.default_rng(1).uniform(0.0, 2.0, 200).astype(dtype) if is_weighted else None
    z = torch.tensor(outputs, requires_grad=True)
    costs = compare(z, torch.tensor(targets))
    w = torch.ones(200, dtype=z.dtype) if weights is None else torch.tensor(weights)
    ((costs * w).sum() / w.sum()).backward()
    expected = z.grad.numpy()
    dz = np.full_like(outputs, np.nan)
    part.gradient(outputs, targets, dz, weights)
    np.testing.assert_allclose(part.values(outputs, targets), costs.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dz, expected, rtol=1e-5, atol=1e-5 * float(np.abs(expected).max()))
