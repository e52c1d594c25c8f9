"""Agreement with PyTorch, an independent implementation: every optimizer over ten steps, clipping, and schedules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp.optimizers import AbstractOptimizer, Adam, Momentum, Rmsprop, Sgd, optimizers
from mlp.records import field_types
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
from tests.mlp.test_optimizers import GOLDEN
from tests.mlp.torch_counterparts import torch, torch_optimizer
from tests.mlp_data import quick

lr_scheduler = torch.optim.lr_scheduler


def variants(name: str) -> Iterator[AbstractOptimizer]:
    """Yield an optimizer with its defaults, then with each number of its rule and the L2 penalty changed in turn."""
    part = optimizers.lookup(name)()
    yield part
    if not part.weight_decay:  # PyTorch's optimizers have either this or the penalty
        yield replace(part, l2=0.3)
    for field, (annotation, bounds) in field_types(type(part)).items():
        if annotation is float and field not in field_types(AbstractOptimizer):
            yield replace(part, **{field: 0.5 if bounds.below == 1.0 else 0.1})


COMBINED = [Sgd(momentum=0.9, nesterov=True), Rmsprop(momentum=0.9, l2=0.3), Momentum(momentum=0.5, l2=0.3)]


def ten_steps(
    part: AbstractOptimizer,
    theirs: Callable[[Any], Any],
    clip: Callable[[Any], Any] = lambda _: None,
    size: float = 1.0,
) -> tuple[Any, Any]:
    """Return the weights after ten steps of ours and of theirs, from the same weights along the same gradients.

    Args:
        part: our optimizer.
        theirs: makes PyTorch's optimizer for a list of parameters.
        clip: clips the gradient of PyTorch's parameter.
        size: the standard deviation of the gradients.
    """
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=200), size * rng.normal(size=(10, 200))
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer = theirs([parameter])
    theta, slots = start.copy(), tuple(np.zeros((part.n_slots, 200)))
    for step, gradient in enumerate(gradients, 1):
        grad = gradient.copy()
        part.clip(grad)
        part.step(theta, grad, slots, np.empty(200), step, 0.01, decay=1.0)
        parameter.grad = torch.tensor(gradient)
        clip(parameter)
        optimizer.step()
    return theta, parameter.detach().numpy()


def has_counterpart(name: str) -> bool:
    try:
        torch_optimizer(optimizers.decode(name), [torch.nn.Parameter(torch.zeros(1))], 0.01)
    except LookupError:
        return False
    return True


COMPARED = [name for name in optimizers if has_counterpart(name)]


def test_an_optimizer_that_pytorch_lacks_has_golden_steps() -> None:
    lacking = set(optimizers) - set(COMPARED) - {part.name for part, _ in GOLDEN}
    assert lacking == set(), (
        "not compared with anything: name the counterpart in tests/mlp/torch_counterparts.py, or add three steps "
        "computed from the paper to GOLDEN in tests/mlp/test_optimizers.py"
    )


@pytest.mark.parametrize("part", [*(part for name in COMPARED for part in variants(name)), *COMBINED], ids=repr)
def test_ten_steps_of_an_optimizer_agree_with_pytorch(part: AbstractOptimizer) -> None:
    ours, theirs = ten_steps(part, lambda parameters: torch_optimizer(part, parameters, 0.01))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_adam_with_weight_decay_agrees_with_adamw_of_pytorch() -> None:
    ours, theirs = ten_steps(
        Adam(weight_decay=0.3), lambda parameters: torch.optim.AdamW(parameters, 0.01, weight_decay=0.3)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_clipping_by_norm_agrees_with_pytorch(size: float) -> None:
    ours, theirs = ten_steps(
        Momentum(clip_norm=2.0),
        lambda parameters: torch_optimizer(Momentum(), parameters, 0.01),
        lambda parameter: torch.nn.utils.clip_grad_norm_([parameter], 2.0),
        size,
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_clipping_by_value_agrees_with_pytorch(size: float) -> None:
    ours, theirs = ten_steps(
        Adam(clip_value=0.5),
        lambda parameters: torch_optimizer(Adam(), parameters, 0.01),
        lambda parameter: torch.nn.utils.clip_grad_value_([parameter], 0.5),
        size,
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


# A scheduler of PyTorch counts steps; here one step is one epoch. Its OneCycleLR ends at the last step, ours after it.
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
def test_a_schedule_agrees_with_pytorch(part: AbstractSchedule, epochs: int, make: Any) -> None:
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
def test_reduce_on_plateau_agrees_with_pytorch(
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
