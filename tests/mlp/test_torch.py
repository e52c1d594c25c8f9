"""Agreement of every activation with PyTorch, an independent implementation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp.activations import Relu, activations
from tests.mlp.torch_counterparts import torch, torch_activation
from tests.mlp_data import quick, records


@quick
@given(data=st.data())
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-11)])
@pytest.mark.parametrize("name", list(activations))
def test_an_activation_and_its_derivative_agree_with_pytorch(
    name: str, dtype: Any, tolerance: float, data: Any
) -> None:
    part = data.draw(records(activations.lookup(name)))
    values = np.linspace(-6.0, 6.0, 2_001, dtype=dtype)
    inputs = torch.tensor(values, requires_grad=True)
    expected = torch_activation(part)(inputs)
    expected.sum().backward()
    z = values.copy()
    a = z if part.in_place else np.empty_like(z)
    part.forward(z, a)
    scale = max(1.0, float(expected.detach().abs().max()) / 6.0)
    np.testing.assert_allclose(a, expected.detach().numpy(), rtol=tolerance, atol=0.2 * tolerance * scale)
    da = np.ones_like(z)
    part.backward(z, a, da)
    smooth = np.abs(values - np.round(values)) > 1e-6  # at a kink, which lies at an integer, there is no derivative
    theirs = inputs.grad.numpy()[smooth]
    np.testing.assert_allclose(da[smooth], theirs, rtol=tolerance, atol=0.2 * tolerance * scale)


def test_an_activation_unknown_to_pytorch_is_reported_with_the_table_to_edit() -> None:
    class SquaredRelu(Relu):
        name = "squared_relu"

    with pytest.raises(
        LookupError, match=r"'squared_relu'\): add .* to COUNTERPARTS in tests/mlp/torch_counterparts\.py"
    ):
        torch_activation(SquaredRelu())
