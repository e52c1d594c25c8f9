"""Clipping of gradients by value and by norm, as an optimizer applies it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp.optimizers import Sgd
from tests.mlp_data import quick


def clipped(gradient: Any, dtype: Any = np.float64, **fields: float) -> Any:
    gradient = np.array(gradient, dtype)
    Sgd(**fields).clip(gradient)
    return gradient


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_only_a_gradient_longer_than_the_limit_is_scaled_down(dtype: Any) -> None:
    np.testing.assert_allclose(clipped([3.0, -4.0], dtype, clip_norm=1.0), [0.6, -0.8], rtol=1e-6)
    for norm in (0.0, 5.0, 6.0):
        assert clipped([3.0, -4.0], dtype, clip_norm=norm).tolist() == [3.0, -4.0]
    assert clipped([0.0, -0.0], dtype, clip_norm=1e-30).tolist() == [0.0, 0.0]


def test_each_derivative_is_clipped_by_value_before_the_norm_is_computed() -> None:
    assert clipped([3.0, -4.0, 0.5], clip_value=1.0).tolist() == [1.0, -1.0, 0.5]
    assert clipped([3.0, -4.0, 0.5], clip_value=4.0).tolist() == [3.0, -4.0, 0.5]
    assert clipped([3.0, -4.0, 0.5], clip_value=0.0).tolist() == [3.0, -4.0, 0.5]
    np.testing.assert_allclose(clipped([30.0, -40.0], clip_value=1.0, clip_norm=1.0), [0.5**0.5, -(0.5**0.5)])


@quick
@given(exponent=st.integers(-37, 37), limit=st.integers(-10, 37))
def test_the_norm_of_a_huge_or_tiny_gradient_does_not_overflow_or_vanish(exponent: int, limit: int) -> None:
    gradient = np.array([3.0, -4.0, 0.0], np.float32) * np.float32(10.0**exponent)
    scale = min(1.0, 10.0**limit / (5.0 * 10.0**exponent))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        result = clipped(gradient, np.float32, clip_norm=10.0**limit)
    np.testing.assert_allclose(result, np.float64([3.0, -4.0, 0.0]) * 10.0**exponent * scale, rtol=1e-5, atol=1e-43)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_clipping_does_not_hide_a_gradient_that_is_not_finite(bad: float, dtype: Any) -> None:
    for fields in ({"clip_norm": 1.0}, {"clip_value": 1.0}, {"clip_norm": 1.0, "clip_value": 1.0}):
        np.testing.assert_array_equal(clipped([1.0, bad, -3.0], dtype, **fields)[1], dtype(bad))
