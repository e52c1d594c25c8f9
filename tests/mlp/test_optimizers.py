"""Optimizers against the equations of their papers: golden steps, plain transcriptions, and decoupled weight decay.

The transcriptions work on single Python floats and follow the papers literally, including the bias corrections and the
order of operations. The code under test rearranges both, which must not change the results.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp import Training, advance
from mlp.arrays import digest
from mlp.optimizers import (
    AbstractOptimizer,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    Adamw,
    Amsgrad,
    Lion,
    Momentum,
    Nadam,
    Nesterov,
    Rmsprop,
    Sgd,
    nadam_product,
    optimizers,
)
from mlp.paths import merge
from tests.mlp_data import quick, small_config, small_split

PARTS: list[AbstractOptimizer] = [
    *(optimizers.decode(name) for name in optimizers),
    Sgd(momentum=0.9),
    Sgd(momentum=0.9, nesterov=True),
    Rmsprop(momentum=0.9),
]
GRADIENTS = (0.5, -0.25, 1.0)


def walk(part: AbstractOptimizer, theta: float, gradients: Any, rate: float, dtype: Any = np.float64) -> list[float]:
    """Return the value of a parameter after each gradient; all three elements of the vector must have that value."""
    vector, slots = np.full(3, theta, dtype), tuple(np.zeros((part.n_slots, 3), dtype))
    path = []
    for step, gradient in enumerate(gradients, 1):
        part.update(vector, np.full(3, gradient, dtype), slots, np.empty(3, dtype), step, rate)
        assert len(set(vector.tolist())) == 1
        path.append(float(vector[0]))
    return path


def sutskever(theta: float, slope: Any, epsilon: float, mu: float, steps: int, *, nesterov: bool) -> list[float]:
    """Sutskever et al. 2013, equations 1 and 2 (momentum) and 3 and 4 (Nesterov): where each gradient is taken."""
    v, points = 0.0, []
    for _ in range(steps):
        v = mu * v - epsilon * slope(theta + mu * v if nesterov else theta)
        theta = theta + v
        points.append(theta + mu * v if nesterov else theta)
    return points


def kingma_ba(theta: float, gradients: Any, alpha: float, beta1: float, beta2: float, epsilon: float) -> list[float]:
    """Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1."""
    m, v, path = 0.0, 0.0, []
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1.0 - beta1) * g
        v = beta2 * v + (1.0 - beta2) * g * g
        m_hat = m / (1.0 - beta1**t)
        v_hat = v / (1.0 - beta2**t)
        theta = theta - alpha * m_hat / (sqrt(v_hat) + epsilon)
        path.append(theta)
    return path


GOLDEN = [
    # theta <- theta - 0.1 g
    (Sgd(), (0.95, 0.975, 0.875)),
    # Sutskever et al. 2013, equations 1 and 2, mu = 0.9: v = -0.05, -0.02, -0.118
    (Sgd(momentum=0.9), (0.95, 0.93, 0.812)),
    # Their equations 3 and 4, written for the point theta + mu v at which the gradient is taken: the same v, and that
    # point moves by mu v - 0.1 g: -0.045 - 0.05, then -0.018 + 0.025, then -0.1062 - 0.1
    (Sgd(momentum=0.9, nesterov=True), (0.905, 0.912, 0.7058)),
    (Momentum(), (0.95, 0.93, 0.812)),
    (Nesterov(), (0.905, 0.912, 0.7058)),
    # The numbers of the next six were computed from the equations of the papers in 50 decimal digits.
    # Figure 1 of Duchi et al. 2011, eps = 1e-10. The first step is 0.1 · 0.5 / (0.5 + 1e-10).
    (Adagrad(), (0.90000000001999999999, 0.94472135956199579393, 0.85743420347521788903)),
    # Slide 29 of Tieleman & Hinton 2012, rho = 0.99, eps = 1e-8: g / (sqrt(0.01 · 0.25) + 1e-8) is nearly 10.
    (Rmsprop(), (1.999999600000079999984e-07, 0.44901337442175044576, -0.42572621607140542107)),
    # The same with momentum 0.9 over the scaled gradients.
    (Rmsprop(momentum=0.9), (1.999999600000079999984e-07, -0.45098644557828555422, -1.73161401709186241988)),
    # Algorithm 1 of Zeiler 2012, rho = 0.9, eps = 1e-6, the step times 0.1.
    (Adadelta(), (0.99968377855834875206, 0.99989228726112788644, 0.99946161569990814210)),
    # Algorithm 2 of Chen et al. 2023: the signs of 0.1 · 0.5, 0.9 · 0.005 - 0.025 and 0.9 · 0.00245 + 0.1.
    (Lion(), (0.9, 1.0, 0.9)),
    # Algorithm 2 of Kingma & Ba 2015, with eps = 1e-8 added to the absolute value of each gradient.
    (Adamax(), (0.90000000199999996000, 0.87892629713724245723, 0.83538386214831256358)),
    # Algorithm 1 of Kingma & Ba 2015 in 50 decimal digits. The first step is 0.1 · 0.5 / (0.5 + 1e-8).
    (Adam(), (0.900000001999999960000, 0.873366298707846162556, 0.807555139677089615574)),
    # By hand, with an eps large enough to show where it is added.
    # t = 1: m_hat = 1/2, v_hat = 1/4, a step of 0.1 · 1/2 / (1/2 + 1/8) = 0.08.
    # t = 2: m = 1/8 - 1/8 = 0, no step.
    # t = 3: m_hat = (1/2) / (7/8) = 4/7, v_hat = (19/64) / (37/64) = 19/37.
    (Adam(beta1=0.5, beta2=0.75, eps=0.125), (0.92, 0.92, 0.92 - 0.4 / 7 / (sqrt(19 / 37) + 0.125))),
    (Adamw(beta1=0.5, beta2=0.75, eps=0.125), (0.92, 0.92, 0.92 - 0.4 / 7 / (sqrt(19 / 37) + 0.125))),
    # Algorithm 2 of Reddi et al. 2018, m = g: v = 3/16, 3/32, 99/128, of which the largest so far are 3/16, 3/16 and
    # 99/128, corrected by 3/4, 15/16 and 63/64 to 1/4, 1/5 and 11/14. The first step is 0.1 · 1/2 / (1/2 + 1/8).
    (
        Amsgrad(beta1=0.0, beta2=0.25, eps=0.125),
        (
            0.92,
            0.92 + 0.025 / (sqrt(1 / 5) + 0.125),
            0.92 + 0.025 / (sqrt(1 / 5) + 0.125) - 0.1 / (sqrt(11 / 14) + 0.125),
        ),
    ),
    # Algorithm 2 of Dozat 2016, the momentum always 1/4, its product 1/4, 1/16, 1/64: m = 1/4, 0, 1/2 and v_hat = 1/4,
    # 1/7, 19/37. The gradient counts (3/4) / (1 - product) = 1, 4/5, 16/21, m counts (1/4) / (1 - next product) = 4/15
    # at first and 64/255 at last.
    (
        Nadam(beta1=0.5, beta2=0.75, eps=0.125, momentum_decay=0.0),
        (
            1.0 - 0.1 * (1 / 2 + 1 / 15) / 0.625,
            1.0 - 0.1 * (1 / 2 + 1 / 15) / 0.625 + 0.02 / (sqrt(1 / 7) + 0.125),
            1.0
            - 0.1 * (1 / 2 + 1 / 15) / 0.625
            + 0.02 / (sqrt(1 / 7) + 0.125)
            - 0.1 * (16 / 21 + 32 / 255) / (sqrt(19 / 37) + 0.125),
        ),
    ),
]


@pytest.mark.parametrize(("part", "expected"), GOLDEN, ids=[repr(part) for part, _ in GOLDEN])
def test_three_steps_give_the_numbers_computed_from_the_paper(
    part: AbstractOptimizer, expected: tuple[float, ...]
) -> None:
    assert walk(part, 1.0, GRADIENTS, rate=0.1) == pytest.approx(expected, rel=1e-14)
    assert walk(part, 1.0, GRADIENTS, rate=0.1, dtype=np.float32) == pytest.approx(expected, rel=5e-7, abs=5e-7)


@quick
@given(rate=st.floats(1e-4, 0.5), momentum=st.floats(0.01, 0.99), curvature=st.floats(0.1, 2.0))
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_with_momentum_follows_the_equations_of_sutskever_on_a_parabola(
    nesterov: bool, rate: float, momentum: float, curvature: float
) -> None:
    expected = sutskever(1.0, lambda point: curvature * point, rate, momentum, 20, nesterov=nesterov)
    gradients = [curvature * point for point in (1.0, *expected[:-1])]
    path = walk(Sgd(momentum=momentum, nesterov=nesterov), 1.0, gradients, rate)
    np.testing.assert_allclose(path, expected, rtol=1e-12, atol=1e-12)


@quick
@given(
    rate=st.floats(1e-4, 1.0),
    beta1=st.floats(0.0, 0.99),
    beta2=st.floats(0.0, 0.9999),
    eps=st.floats(1e-10, 1.0),
    gradients=st.lists(st.floats(1e-3, 1e3).flatmap(lambda g: st.sampled_from([g, -g])), min_size=1, max_size=8),
)
def test_adam_follows_algorithm_1_of_kingma_and_ba(
    rate: float, beta1: float, beta2: float, eps: float, gradients: list[float]
) -> None:
    expected = kingma_ba(1.0, gradients, rate, beta1, beta2, eps)
    path = walk(Adam(beta1=beta1, beta2=beta2, eps=eps), 1.0, gradients, rate)
    np.testing.assert_allclose(path, expected, rtol=1e-10, atol=1e-10 * max(1.0, *map(abs, expected)))


@pytest.mark.parametrize(
    ("beta1", "decay"), [(0.9, 0.004), (0.999, 1.0), (0.9, 0.0), (0.0, 0.004), (0.99, 100.0), (0.9999, 0.3)]
)
def test_the_product_of_the_momenta_of_nadam_is_accurate_at_any_step(beta1: float, decay: float) -> None:
    product, points = 1.0, {1, 2, 3, 10, 500, 3000, 20_000}
    for step in range(1, max(points) + 1):
        product *= beta1 * (1.0 - 0.5 * 0.96 ** (step * decay))
        if step in points:
            nadam_product.cache_clear()
            assert nadam_product(beta1, decay, step) == pytest.approx(product, rel=1e-11, abs=1e-17)


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_the_slots_of_an_optimizer_start_at_zero(part: AbstractOptimizer) -> None:
    config = replace(small_config(), optimizer=part)
    training = Training(config, small_split(config))
    assert training.slots.shape == (part.n_slots, len(training.network.theta))
    assert not training.slots.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_a_step_allocates_no_array(part: AbstractOptimizer, dtype: Any) -> None:
    part = replace(part, clip_value=0.5, clip_norm=0.5, l2=0.1, weight_decay=0.1)
    theta, grad, scratch, *slots = np.ones((3 + part.n_slots, 10_000), dtype)

    def step() -> None:
        part.clip(grad)
        part.step(theta, grad, tuple(slots), scratch, 7, 0.1, decay=1.0)

    step()
    tracemalloc.start()
    try:
        step()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000  # the smallest possible array, one of booleans, has 10,000 bytes


def test_a_training_clips_the_gradient_before_it_is_cut_into_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlp.batch_steps.CHUNK", 7)
    paths = {"batch_size": "full", "dtype": "float64"}
    config = replace(small_config(paths), optimizer=Sgd(learning_rate=1.0, clip_norm=1e-3))
    training = Training(config, small_split(config))
    start = training.network.theta.copy()
    training.run_epoch()
    assert np.linalg.norm(training.network.theta - start) == pytest.approx(1e-3, rel=1e-9)


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_an_l2_penalty_adds_its_derivative_to_the_gradient_of_weights_only(part: AbstractOptimizer) -> None:
    rng = np.random.default_rng(0)
    start, gradient = rng.normal(size=(2, 20))
    results = {}
    for l2, decay in ((0.3, 1.0), (0.3, 0.0), (0.0, 1.0)):
        theta, slots = start.copy(), tuple(np.zeros((part.n_slots, 20)))
        grad = gradient + (0.3 * start if l2 == 0.0 else 0.0)
        replace(part, l2=l2, weight_decay=0.0).step(theta, grad, slots, np.empty(20), 1, 0.1, decay)
        results[l2, decay] = theta
    np.testing.assert_array_equal(results[0.3, 1.0], results[0.0, 1.0])
    theta, slots = start.copy(), tuple(np.zeros((part.n_slots, 20)))
    part.update(theta, gradient.copy(), slots, np.empty(20), 1, 0.1)
    np.testing.assert_array_equal(results[0.3, 0.0], theta)


def test_the_penalty_uses_the_weights_before_they_decay() -> None:
    theta = np.ones(1)
    Sgd(l2=1.0, weight_decay=0.5).step(theta, np.zeros(1), (), np.empty(1), 1, 1.0, decay=1.0)
    assert theta[0] == 1.0 * 0.5 - 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_size_of_a_step_of_lion_does_not_depend_on_the_size_of_the_gradient(dtype: Any) -> None:
    gradient = np.array([1e-28, 1e-10, 1.0, 1e10, 1e30, 0.0], dtype)
    gradient = np.concatenate([gradient, -gradient])
    theta = np.zeros_like(gradient)
    Lion().update(theta, gradient.copy(), (np.zeros_like(theta),), np.empty_like(theta), 1, 0.5)
    np.testing.assert_array_equal(theta, -0.5 * np.sign(gradient))


def test_a_change_of_the_rate_acts_at_once_because_the_velocity_does_not_contain_it() -> None:
    part, theta, slots = Sgd(momentum=0.5), np.zeros(1), (np.zeros(1),)
    part.update(theta, np.ones(1), slots, np.empty(1), 1, rate=1.0)
    assert (theta[0], slots[0][0]) == (-1.0, 1.0)
    part.update(theta, np.ones(1), slots, np.empty(1), 2, rate=0.125)
    assert theta[0] == -1.0 - 0.125 * (0.5 + 1.0)


def train_step(part: AbstractOptimizer, weight_decay: float) -> tuple[Training, Any]:
    """Return a training after one step on all examples, and its initial parameters."""
    part = replace(part, learning_rate=0.01, weight_decay=weight_decay)
    paths = {"batch_size": "full", "epochs": 4, "schedule": "cosine", "dtype": "float64"}
    config = replace(small_config(paths), optimizer=part)
    training = Training(config, small_split(config))
    training.network.theta[...] += 0.5  # biases start at 0, where decay would not show
    start = training.network.theta.copy()
    training.run_epoch()
    return training, start


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_weight_decay_shrinks_weights_by_rate_times_decay_and_does_not_change_biases(part: AbstractOptimizer) -> None:
    decayed, start = train_step(part, 2.0)
    plain, _ = train_step(part, 0.0)
    n = plain.network.n_weights
    shrunk = decayed.network.theta[:n] - plain.network.theta[:n]
    np.testing.assert_allclose(shrunk, -0.01 * 2.0 * start[:n], rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(decayed.network.theta[n:], plain.network.theta[n:])


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_weight_decay_does_not_enter_the_slots(part: AbstractOptimizer) -> None:
    # Only from the second step on do the gradients of the two trainings differ.
    decayed, _ = train_step(part, 2.0)
    plain, _ = train_step(part, 0.0)
    np.testing.assert_array_equal(decayed.slots, plain.slots)


def test_weight_decay_follows_the_schedule() -> None:
    training, _ = train_step(Sgd(), 2.0)
    decaying = training.state()
    plain = replace(decaying, config=merge(decaying.config, {"optimizer.weight_decay": 0.0}))
    first, second = advance(decaying, training.data, 1), advance(plain, training.data, 1)
    n, rate = training.network.n_weights, training.config.schedule.rate(0.01, 1.0, 4)
    assert rate < 0.01
    np.testing.assert_allclose(first.theta[:n] - second.theta[:n], -rate * 2.0 * decaying.theta[:n], rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_the_result_does_not_depend_on_the_size_of_the_pieces_of_theta(
    part: AbstractOptimizer, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(small_config({"schedule": "cosine", "dtype": dtype}), optimizer=replace(part, weight_decay=0.1))
    digests = set()
    for chunk in (1, 7, 16, 50, 65_536):
        monkeypatch.setattr("mlp.batch_steps.CHUNK", chunk)
        training = Training(config, small_split(config))
        training.run_epoch()
        training.run_epoch()
        digests.add(digest(training.network.theta, training.slots))
    assert len(digests) == 1
