"""Agreement with PyTorch, an implementation that shares no line with ours: optimizers over ten steps, and schedules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp.optimizers import (
    AbstractOptimizer,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    Adamw,
    Amsgrad,
    Momentum,
    Nadam,
    Nesterov,
    Rmsprop,
    Sgd,
    optimizers,
)
from mlp.schedules import (
    AbstractSchedule,
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    OneCycle,
    Polynomial,
    ReduceOnPlateau,
    Step,
)
from tests.mlp_data import quick

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
lr_scheduler = torch.optim.lr_scheduler


def torch_adam(p: Any, lr: float) -> Any:
    return torch.optim.Adam(p, lr)


CASES: list[tuple[AbstractOptimizer, Any]] = [
    (Sgd(), lambda p, lr: torch.optim.SGD(p, lr)),
    (Sgd(momentum=0.9), lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9)),
    (Sgd(momentum=0.9, nesterov=True), lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9, nesterov=True)),
    (Sgd(l2=0.3), lambda p, lr: torch.optim.SGD(p, lr, weight_decay=0.3)),
    (Momentum(), lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9)),
    (Momentum(l2=0.3), lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9, weight_decay=0.3)),
    (Nesterov(), lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9, nesterov=True)),
    (Adagrad(), lambda p, lr: torch.optim.Adagrad(p, lr)),
    (Rmsprop(), lambda p, lr: torch.optim.RMSprop(p, lr)),
    (Rmsprop(momentum=0.9), lambda p, lr: torch.optim.RMSprop(p, lr, momentum=0.9)),
    (Rmsprop(l2=0.3), lambda p, lr: torch.optim.RMSprop(p, lr, weight_decay=0.3)),
    (Adadelta(), lambda p, lr: torch.optim.Adadelta(p, lr)),
    (Adamax(), lambda p, lr: torch.optim.Adamax(p, lr)),
    (Adam(), torch_adam),
    (Adam(l2=0.3), lambda p, lr: torch.optim.Adam(p, lr, weight_decay=0.3)),
    (Adam(weight_decay=0.3), lambda p, lr: torch.optim.AdamW(p, lr, weight_decay=0.3)),
    (Adamw(), lambda p, lr: torch.optim.AdamW(p, lr)),
    (Amsgrad(), lambda p, lr: torch.optim.Adam(p, lr, amsgrad=True)),
    (Amsgrad(beta2=0.5), lambda p, lr: torch.optim.Adam(p, lr, betas=(0.9, 0.5), amsgrad=True)),
    (Nadam(), lambda p, lr: torch.optim.NAdam(p, lr)),
    (Nadam(momentum_decay=0.5), lambda p, lr: torch.optim.NAdam(p, lr, momentum_decay=0.5)),
    (Nadam(l2=0.3), lambda p, lr: torch.optim.NAdam(p, lr, weight_decay=0.3)),
]
WITHOUT_PYTORCH = {"lion"}  # PyTorch has none


def walk_both(
    part: AbstractOptimizer, make: Any, clip: Any = None, size: float = 1.0
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return where ten steps on the same gradients lead ours and theirs, weights whose start is random."""
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=200), size * rng.normal(size=(10, 200))
    theirs = torch.nn.Parameter(torch.tensor(start))
    optimizer = make([theirs], 0.01)
    theta, slots = start.copy(), tuple(np.zeros((part.n_slots, 200)))
    for step, gradient in enumerate(gradients, 1):
        grad = gradient.copy()
        part.clip(grad)
        part.step(theta, grad, slots, np.empty(200), step, 0.01, decays=True)
        theirs.grad = torch.tensor(gradient)
        if clip:
            clip(theirs)
        optimizer.step()
    return theta, theirs.detach().numpy()


def test_every_optimizer_that_pytorch_has_is_compared() -> None:
    assert {part.name for part, _ in CASES} == set(optimizers) - WITHOUT_PYTORCH


@pytest.mark.parametrize(("part", "make"), CASES, ids=[repr(part) for part, _ in CASES])
def test_ten_steps_of_an_optimizer_are_those_of_pytorch(part: AbstractOptimizer, make: Any) -> None:
    ours, theirs = walk_both(part, make)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_a_clipped_norm_is_that_of_pytorch(size: float) -> None:
    ours, theirs = walk_both(
        Momentum(clip_norm=2.0),
        lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9),
        lambda p: torch.nn.utils.clip_grad_norm_([p], 2.0),
        size,
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_clipped_values_are_those_of_pytorch(size: float) -> None:
    part = replace(Adam(), clip_value=0.5)
    ours, theirs = walk_both(part, torch_adam, lambda p: torch.nn.utils.clip_grad_value_([p], 0.5), size)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


# A scheduler of PyTorch counts steps; here a step is an epoch, and its cycle of 20 steps ends at the 20th, not after.
SCHEDULES: list[tuple[AbstractSchedule, int, Any]] = [
    (Constant(warmup=5.0), 20, lambda o: lr_scheduler.LinearLR(o, start_factor=0.01, total_iters=5)),
    (Step(factor=0.3, every=4), 20, lambda o: lr_scheduler.StepLR(o, 4, gamma=0.3)),
    (Exponential(factor=0.8), 20, lambda o: lr_scheduler.ExponentialLR(o, 0.8)),
    (Polynomial(power=1.7), 20, lambda o: lr_scheduler.PolynomialLR(o, total_iters=20, power=1.7)),
    (Cosine(final=0.1), 20, lambda o: lr_scheduler.CosineAnnealingLR(o, 20, eta_min=0.02)),
    (
        CosineRestarts(period=3, multiplier=2, final=0.1),
        20,
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3, 2, eta_min=0.02),
    ),
    (
        CosineRestarts(period=3, multiplier=1),
        20,
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    ),
    (OneCycle(rise=(0.3 * 20 - 1) / 19), 19, lambda o: lr_scheduler.OneCycleLR(o, 0.2, total_steps=20)),
    (
        OneCycle(rise=(0.5 * 20 - 1) / 19, start=0.1, final=0.01),
        19,
        lambda o: lr_scheduler.OneCycleLR(
            o, 0.2, total_steps=20, pct_start=0.5, div_factor=10.0, final_div_factor=10.0
        ),
    ),
]


@pytest.mark.parametrize(("part", "epochs", "make"), SCHEDULES, ids=[repr(part) for part, _, _ in SCHEDULES])
def test_a_schedule_is_that_of_pytorch(part: AbstractSchedule, epochs: int, make: Any) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.2)
    scheduler = make(optimizer)
    for epoch in range(20):
        assert part.rate(0.2, epoch, epochs) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        scheduler.step()


@quick
@given(
    values=st.lists(st.integers(0, 12).map(lambda n: n / 8.0), max_size=40),
    factor=st.sampled_from([0.1, 0.5, 0.9]),
    patience=st.integers(0, 4),
    min_delta=st.sampled_from([0.0, 0.125, 0.3]),
    least=st.sampled_from([0.0, 0.3]),
    metric=st.sampled_from(["validation/loss", "validation/accuracy"]),
)
def test_a_plateau_is_that_of_pytorch(
    values: list[float], factor: float, patience: int, min_delta: float, least: float, metric: str
) -> None:
    part = ReduceOnPlateau(factor=factor, patience=patience, metric=metric, min_delta=min_delta, least=least)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.2)
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer,
        "min" if metric.endswith("loss") else "max",
        factor=factor,
        patience=patience,
        threshold=min_delta,
        threshold_mode="abs",
        min_lr=0.2 * least,
        eps=0.0,
    )
    for epoch, value in enumerate(values, 1):
        scheduler.step(value)
        rate = 0.2 * part.reduction({metric: values[:epoch]})
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
