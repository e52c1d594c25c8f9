"""Agreement of every loss with PyTorch, values and gradients, plain and weighted: to 1e-5 relative."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp.losses import Task, losses
from tests.mlp.torch_counterparts import torch, torch_loss
from tests.mlp_data import learnable, quick, records

LOSS_TASKS = [(name, task) for name in losses for task in losses.lookup(name).tasks]


@settings(quick, max_examples=10)  # there are 48 variants of this test
@given(data=st.data(), seed=st.integers(0, 1000))
@pytest.mark.parametrize("is_weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "task"), LOSS_TASKS)
def test_values_and_gradient_of_a_loss_agree_with_pytorch(
    name: str, task: Task, dtype: Any, is_weighted: bool, data: Any, seed: int
) -> None:
    drawn = data.draw(records(losses.lookup(name)))
    part, outputs, targets = learnable(drawn, task, dtype, n=50, seed=seed)
    weights = np.random.default_rng(seed).uniform(0.0, 3.0, 50) if is_weighted else None
    z = torch.tensor(outputs, requires_grad=True)
    costs = torch_loss(part, z, torch.tensor(targets))
    w = torch.ones(50, dtype=z.dtype) if weights is None else torch.tensor(weights)
    ((costs * w).sum() / w.sum()).backward()
    expected = z.grad.numpy()
    dz = np.full_like(outputs, np.nan)
    part.gradient(outputs, targets, dz, weights)
    np.testing.assert_allclose(part.values(outputs, targets), costs.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dz, expected, rtol=1e-5, atol=1e-5 * float(np.abs(expected).max()) + 1e-37)
