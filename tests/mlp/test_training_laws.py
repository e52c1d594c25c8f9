"""Laws for every registered initializer, schedule and optimizer. A new one is found through its registry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp.arrays import stream
from mlp.initializers import initializers
from mlp.optimizers import Sgd, optimizers
from mlp.schedules import schedules
from tests.mlp.law_data import each_dtype
from tests.mlp_data import (
    METRIC_KEYS,
    quick,
    records,
)

# Initializers


def variances(n_in: int, n_out: int, gain: float) -> dict[str, float]:
    """Return the variance of each initializer with its defaults, from the equation that its docstring cites."""
    return {
        "zeros": 0.0,
        "normal": 0.01**2,
        "uniform": (0.05 + 0.05) ** 2 / 12.0,
        "constant": 0.0,
        "truncated_normal": (0.01 * 0.8796256610342398) ** 2,  # truncated at two standard deviations
        "orthogonal": gain**2 / max(n_in, n_out),  # the length of its rows or columns is the gain
        "variance_scaling": gain**2 / n_in,
        "lecun_uniform": 1.0 / n_in,
        "lecun_normal": 1.0 / n_in,
        "glorot_normal": 2.0 / (n_in + n_out),
        "glorot_uniform": 2.0 / (n_in + n_out),
        "he_normal": gain**2 / n_in,
        "he_uniform": gain**2 / n_in,
    }


def test_every_initializer_has_its_variance_in_the_table_above() -> None:
    missing = set(initializers) - set(variances(1, 1, 1.0))
    assert missing == set(), "add the variance of each to `variances` in tests/mlp/test_laws.py"


@pytest.mark.parametrize(("n_in", "n_out", "gain"), [(500, 200, 1.0), (200, 500, 2.0**0.5)])
@pytest.mark.parametrize("name", list(initializers))
def test_an_initializer_has_mean_zero_and_the_variance_of_its_source(
    name: str, n_in: int, n_out: int, gain: float
) -> None:
    part = initializers.decode({"name": name, "value": 0.0} if name == "constant" else name)
    w = part.sample(n_in, n_out, gain=gain, rng=stream(0, "init"))
    variance = variances(n_in, n_out, gain)[name]
    # Five standard errors: sqrt(variance / n) for the mean, and at most variance sqrt(2 / n) for the variance.
    assert abs(w.mean()) <= 5.0 * (variance / w.size) ** 0.5
    assert abs(w.var() - variance) <= 5.0 * variance * (2.0 / w.size) ** 0.5


@pytest.mark.parametrize("name", [name for name in initializers if name.endswith("uniform")])
def test_a_uniform_initializer_is_bounded_by_root_three_standard_deviations(name: str) -> None:
    w = initializers.decode(name).sample(200, 100, gain=1.0, rng=stream(0, "init"))
    limit = (3.0 * variances(200, 100, 1.0)[name]) ** 0.5
    assert 0.99 * limit < np.abs(w).max() <= limit


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (30, 20)])
@pytest.mark.parametrize("name", list(initializers))
def test_an_initializer_gives_float64_of_the_given_shape_and_depends_only_on_the_random_stream(
    name: str, shape: tuple[int, int]
) -> None:
    part = initializers.decode(name)
    first, again = (part.sample(*shape, gain=1.0, rng=stream(0, "init")) for _ in range(2))
    assert (first.dtype, first.shape) == (np.float64, shape)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)


@quick
@given(data=st.data())
@pytest.mark.parametrize("name", list(initializers))
def test_an_initializer_is_finite_in_float32_and_does_not_warn_for_any_allowed_fields(
    name: str, data: st.DataObject
) -> None:
    part = data.draw(records(initializers.lookup(name)))
    w = part.sample(3, 2, gain=1.0, rng=stream(0, "init")).astype(np.float32)
    assert np.isfinite(w).all()


@pytest.mark.parametrize("fan", ["in", "out", "mean"])
@pytest.mark.parametrize("distribution", ["normal", "truncated_normal", "uniform"])
def test_variance_scaling_has_the_given_variance(fan: str, distribution: str) -> None:
    part = initializers.decode({"name": "variance_scaling", "scale": 3.0, "fan": fan, "distribution": distribution})
    w = part.sample(300, 500, gain=1.5, rng=stream(0, "init"))
    variance = 1.5**2 * 3.0 / {"in": 300, "out": 500, "mean": 400}[fan]
    assert w.var() == pytest.approx(variance, rel=0.02)
    furthest = {"normal": 3.5, "truncated_normal": 2.28, "uniform": 3.0**0.5}[distribution]
    assert (np.abs(w).max() > furthest * variance**0.5) == (distribution == "normal")


@pytest.mark.parametrize("name", [n for n in initializers if n.startswith(("lecun", "glorot", "he_"))])
def test_a_named_initializer_is_a_case_of_variance_scaling(name: str) -> None:
    source, distribution = name.split("_")
    fan = "mean" if source == "glorot" else "in"
    general = initializers.decode({"name": "variance_scaling", "fan": fan, "distribution": distribution})
    w = initializers.decode(name).sample(30, 21, gain=2.0**0.5, rng=stream(0, "init"))
    expected = general.sample(30, 21, gain=2.0**0.5 if source == "he" else 1.0, rng=stream(0, "init"))
    np.testing.assert_allclose(w, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(("n_in", "n_out"), [(30, 20), (20, 30), (20, 20)])
def test_orthogonal_weights_scale_every_length_by_the_gain(n_in: int, n_out: int) -> None:
    w = initializers.decode("orthogonal").sample(n_in, n_out, gain=1.5, rng=stream(0, "init"))
    gram = w.T @ w if n_in >= n_out else w @ w.T
    np.testing.assert_allclose(gram, 1.5**2 * np.eye(min(n_in, n_out)), atol=1e-12)


# Schedules


@quick
@given(data=st.data(), base=st.floats(1e-8, 1e3), epochs=st.integers(1, 1000))
@pytest.mark.parametrize("name", list(schedules))
def test_a_schedule_stays_between_0_and_the_base_rate(name: str, data: st.DataObject, base: float, epochs: int) -> None:
    part = data.draw(records(schedules.lookup(name)))
    for epoch in data.draw(st.lists(st.floats(0.0, epochs, exclude_max=True), max_size=10)):
        rate = part.rate(base, epoch, epochs)
        assert type(rate) is float
        assert 0.0 <= rate <= base * (1.0 + 1e-15)
        assert rate == part.rate(base, epoch, epochs)


@quick
@given(data=st.data(), base=st.floats(1e-8, 1e3), epochs=st.integers(1, 1000), warmup=st.floats(1e-3, 2000.0))
@pytest.mark.parametrize("name", list(schedules))
def test_a_schedule_warms_up_linearly_and_then_spans_the_remaining_epochs(
    name: str, data: st.DataObject, base: float, epochs: int, warmup: float
) -> None:
    part = replace(data.draw(records(schedules.lookup(name))), warmup=warmup)
    alone = replace(part, warmup=0.0)
    epoch = data.draw(st.floats(0.0, epochs, exclude_max=True))
    if epoch < warmup:
        expected = base * (0.01 + 0.99 * epoch / warmup)
    else:
        expected = alone.rate(base, epoch - warmup, epochs - warmup)
    assert part.rate(base, epoch, epochs) == pytest.approx(expected, rel=1e-14)


STARTING_BELOW_THE_BASE_RATE = {"one_cycle", "coslog"}


@pytest.mark.parametrize("name", list(schedules))
def test_a_schedule_with_defaults_starts_at_the_base_rate_or_is_known_to_start_below(name: str) -> None:
    start = schedules.decode(name).rate(0.8, 0.0, 10)
    assert (0.0 <= start < 0.8) if name in STARTING_BELOW_THE_BASE_RATE else (start == pytest.approx(0.8, rel=1e-15))


@quick
@given(data=st.data(), history=st.dictionaries(st.sampled_from(METRIC_KEYS), st.lists(st.floats(0.0, 9.0))))
@pytest.mark.parametrize("name", list(schedules))
def test_the_history_never_raises_a_rate_and_an_empty_one_does_not_change_it(
    name: str, data: st.DataObject, history: dict[str, list[float]]
) -> None:
    part = data.draw(records(schedules.lookup(name)))
    assert part.reduction({}) == 1.0
    assert 0.0 <= part.reduction(history) <= 1.0


# Optimizers


def fresh(part: Any, theta: Any) -> tuple[tuple[Any, ...], Any]:
    return tuple(np.zeros((part.n_slots, len(theta)), theta.dtype)), np.full_like(theta, np.nan)


OPTIMIZERS = [
    *(pytest.param(optimizers.decode(name), id=name) for name in optimizers),
    pytest.param(Sgd(momentum=0.9), id="sgd with momentum"),
    pytest.param(Sgd(momentum=0.9, nesterov=True), id="sgd with nesterov"),
]


each_optimizer = pytest.mark.parametrize("part", OPTIMIZERS)


@each_dtype
@each_optimizer
def test_an_optimizer_stays_finite_and_does_not_warn_for_extreme_gradients(part: Any, dtype: Any) -> None:
    sizes = np.array([0.0, np.finfo(dtype).smallest_subnormal, 1e-30, 1e-8, 1.0, 1e8, 1e15], dtype)
    gradient = np.concatenate([sizes, -sizes])
    theta = np.zeros_like(gradient)
    slots, scratch = fresh(part, theta)
    for step in range(1, 6):
        part.update(theta, gradient.copy(), slots, scratch, step, rate=1e-2)
    for array in (theta, *slots):
        assert (array.dtype, array.shape) == (dtype, gradient.shape)
        assert np.isfinite(array).all()


@each_dtype
@each_optimizer
def test_the_first_step_of_an_optimizer_is_against_the_gradient(part: Any, dtype: Any) -> None:
    gradient = np.array([1e-3, 1.0, 1e3, -1e-3, -1.0, -1e3, 0.0], dtype)
    theta = np.zeros_like(gradient)
    part.update(theta, gradient.copy(), *fresh(part, theta), 1, rate=1e-2)
    np.testing.assert_array_equal(np.sign(theta), -np.sign(gradient))


@each_optimizer
def test_an_optimizer_does_not_move_without_a_gradient(part: Any) -> None:
    theta = np.linspace(-1.0, 1.0, 9, dtype=np.float32)
    before, (slots, scratch) = theta.copy(), fresh(part, theta)
    for step in range(1, 5):
        part.update(theta, np.zeros_like(theta), slots, scratch, step, rate=1.0)
    np.testing.assert_array_equal(theta, before)


@quick
@given(seed=st.integers(0, 100), cut=st.integers(1, 39))
@each_optimizer
def test_an_optimizer_updates_each_parameter_independently_of_the_others(part: Any, seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    uncut, gradients = rng.normal(size=40).astype(np.float32), rng.normal(size=(4, 40)).astype(np.float32)
    pieces = uncut.copy()
    slots, scratch = fresh(part, uncut)
    cut_slots, _ = fresh(part, uncut)
    for step, gradient in enumerate(gradients, 1):
        part.update(uncut, gradient.copy(), slots, scratch, step, rate=0.1)
        for piece in (slice(0, cut), slice(cut, None)):
            sliced = tuple(slot[piece] for slot in cut_slots)
            part.update(pieces[piece], gradient[piece].copy(), sliced, scratch[piece], step, rate=0.1)
    np.testing.assert_array_equal(pieces, uncut)


@each_optimizer
def test_an_optimizer_uses_the_rate_it_is_given_and_not_its_base_rate(part: Any) -> None:
    # The schedule computes the rate of each step from the base rate.
    results = []
    for learning_rate in (1e-3, 10.0):
        theta = np.ones(5)
        slots, scratch = fresh(part, theta)
        replace(part, learning_rate=learning_rate).update(theta, np.ones(5), slots, scratch, 1, rate=0.25)
        results.append(theta)
    np.testing.assert_array_equal(*results)
