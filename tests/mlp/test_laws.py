"""Laws for every registered part, family by family. A new part is found through its registry and tested at once.

Agreement with PyTorch and scikit-learn is tested in `test_torch*.py` and `test_metrics.py`, gradients of a network with
each activation, loss and normalization in `test_gradients.py`. Both find new parts in the same way.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlp.activations import LeakyRelu, Relu, activations
from mlp.arrays import stream
from mlp.initializers import initializers
from mlp.losses import Task, losses
from mlp.metrics import metrics
from mlp.optimizers import Sgd, optimizers
from mlp.records import (
    decode,
    encode,
    field_types,
    label,
)
from mlp.registry import AbstractPart, Registry
from mlp.schedules import schedules
from mlp.scores import (
    PARTS,
    best_epoch,
    direction,
)
from tests.mlp_data import (
    EVERY_PART,
    FAMILIES,
    METRIC_KEYS,
    learnable,
    parts,
    quick,
    records,
)

DTYPES = [np.float32, np.float64]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_part = pytest.mark.parametrize(("family", "name"), EVERY_PART)
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.kind)


def families_below(part: type[AbstractPart]) -> set[Registry[Any]]:
    """Return the families of a class and of all its subclasses in `mlp`."""
    own = {part.family} if part.__module__.startswith("mlp.") and hasattr(part, "family") else set()
    return own.union(*(families_below(subclass) for subclass in part.__subclasses__()))


def test_every_family_of_mlp_is_tested_here() -> None:
    assert families_below(AbstractPart) == set(FAMILIES)


def annotation_of(family: Registry[Any]) -> type[AbstractPart]:
    """Return the abstract class of a family, which is how a field of a configuration is annotated."""
    first = family.lookup(next(iter(family)))
    return [cls for cls in first.__mro__ if inspect.isabstract(cls) and cls.__dict__.get("family") is family][-1]


# All parts


@each_part
def test_a_part_is_a_documented_frozen_dataclass_with_a_name(family: Registry[Any], name: str) -> None:
    cls = family.lookup(name)
    assert cls.name == name
    assert cls.family is family
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}(")  # the docstring of a dataclass that has none
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen
    assert not inspect.isabstract(cls)


@each_part
def test_a_bare_name_gives_a_part_with_every_default(family: Registry[Any], name: str) -> None:
    assert family.decode(name) == family.lookup(name)() == family.decode({"name": name})


@quick
@given(data=st.data())
@each_family
def test_a_part_survives_a_round_trip_through_its_encoded_form(family: Registry[Any], data: st.DataObject) -> None:
    part = data.draw(parts(family))
    encoded = encode(part)
    annotation = annotation_of(family)
    assert decode(annotation, encoded, path="") == part
    assert decode(annotation, json.loads(json.dumps(encoded)), path="") == part
    assert encode(decode(annotation, encoded, path="")) == encoded
    assert decode(annotation, part, path="") is part
    assert pickle.loads(pickle.dumps(part)) == part
    assert hash(part) == hash(decode(annotation, encoded, path=""))


@quick
@given(data=st.data())
@each_family
def test_the_label_of_a_part_contains_its_name_and_every_field_that_is_not_at_its_default(
    family: Registry[Any], data: st.DataObject
) -> None:
    part = data.draw(parts(family))
    text = label(part)
    assert isinstance(text, str)
    assert text.split("(")[0] == part.name
    default = type(part)()
    for field in field_types(type(part)):
        assert (f"{field}=" in text) == (getattr(part, field) != getattr(default, field))


# Activations


def apply(part: Any, z: Any) -> Any:
    z, a = z.copy(), np.empty_like(z)
    a = z if part.in_place else a
    part.forward(z, a)
    return a


def differentiate(part: Any, z: Any) -> Any:
    """Return f'(z) as `backward` computes it."""
    z, da = z.copy(), np.ones_like(z)
    a = z if part.in_place else np.empty_like(z)
    part.forward(z, a)
    part.backward(z, a, da)
    return da


def extremes(dtype: Any) -> Any:
    info = np.finfo(dtype)
    sizes = np.array(
        [0.0, info.smallest_subnormal, info.tiny, info.eps, 1.0, 20.0, 89.0, 711.0, 1e6, info.max / 4], dtype
    )
    return np.concatenate([sizes, -sizes])


@each_dtype
@pytest.mark.parametrize("name", list(activations))
def test_an_activation_is_finite_and_does_not_warn_for_extreme_inputs(name: str, dtype: Any) -> None:
    part = activations.decode(name)
    a, derivative = apply(part, extremes(dtype)), differentiate(part, extremes(dtype))
    assert a.dtype == derivative.dtype == dtype
    assert np.isfinite(a).all()
    assert np.isfinite(derivative).all()


@quick
@given(data=st.data())
def test_an_activation_gives_the_same_in_float32_as_in_float64(data: st.DataObject) -> None:
    part = data.draw(parts(activations))
    z = np.random.default_rng(0).normal(0.0, 3.0, (31, 17)).astype(np.float32)
    for function in (apply, differentiate):
        narrow, wide = function(part, z), function(part, z.astype(np.float64))
        assert narrow.dtype == np.float32
        assert narrow.shape == wide.shape == z.shape
        np.testing.assert_allclose(narrow, wide, rtol=1e-5, atol=1e-6)


@quick
@given(data=st.data())
def test_the_derivative_of_an_activation_agrees_with_central_differences(data: st.DataObject) -> None:
    part = data.draw(parts(activations))
    z = np.random.default_rng(0).normal(0.0, 2.0, 500)
    z = z[np.abs(z - np.round(z)) > 1e-3]  # a kink, if there is one, lies at an integer
    slope = (apply(part, z + 1e-5) - apply(part, z - 1e-5)) / 2e-5
    np.testing.assert_allclose(differentiate(part, z), slope, rtol=1e-6, atol=1e-8)


@each_dtype
@pytest.mark.parametrize("name", list(activations))
def test_an_activation_does_not_hide_a_nan(name: str, dtype: Any) -> None:
    assert np.isnan(apply(activations.decode(name), np.full(37, np.nan, dtype))).all()


@each_dtype
def test_relu_passes_no_gradient_at_zero_of_either_sign(dtype: Any) -> None:
    z = np.tile(np.array([0.0, -0.0, 1.0, -1.0], dtype), 9)
    np.testing.assert_array_equal(differentiate(Relu(), z), np.tile([0.0, 0.0, 1.0, 0.0], 9))


@pytest.mark.parametrize("part", [Relu(), LeakyRelu(), LeakyRelu(slope=0.3), LeakyRelu(slope=1.0)], ids=repr)
def test_the_gain_of_a_rectifier_keeps_the_mean_square_of_a_signal(part: Any) -> None:
    z = np.random.default_rng(0).normal(0.0, 1.0, 200_000)
    z = np.concatenate([z, -z])
    assert part.init_gain() ** 2 * np.mean(apply(part, z) ** 2) == pytest.approx(np.mean(z**2), rel=1e-9)


# Losses, each with every task that it supports

LOSS_TASKS = [(name, task) for name in losses for task in losses.lookup(name).tasks]
METRIC_TASKS = [(name, task) for name in metrics for task in metrics.lookup(name).tasks]
METRIC_LOSS_TASKS = [(loss, name, task) for name, task in METRIC_TASKS for loss, fit in LOSS_TASKS if fit == task]
each_loss = pytest.mark.parametrize(("name", "task"), LOSS_TASKS)


def slope_of(part: Any, outputs: Any, targets: Any) -> Any:
    dz = np.full_like(outputs, np.nan)
    with np.errstate(all="ignore"):  # `gradient` may warn of overflow
        part.gradient(outputs, targets, dz)
    return dz


@each_dtype
@each_loss
def test_a_loss_keeps_type_and_shape_and_does_not_change_its_arguments(name: str, task: Task, dtype: Any) -> None:
    part, outputs, targets = learnable(losses.decode(name), task, dtype)
    before = outputs.copy(), targets.copy()
    values, gradient = part.values(outputs, targets), slope_of(part, outputs, targets)
    predictions = part.predictions(outputs)
    assert (values.dtype, values.shape) == (dtype, (7,))
    for array in (gradient, predictions):
        assert (array.dtype, array.shape) == (dtype, outputs.shape)
    assert part.decide(outputs, task).shape == targets.shape
    np.testing.assert_array_equal(outputs, before[0])
    np.testing.assert_array_equal(targets, before[1])


@each_dtype
@each_loss
def test_a_loss_is_not_negative_and_does_not_warn_for_extreme_outputs(name: str, task: Task, dtype: Any) -> None:
    part, z = losses.decode(name), extremes(dtype)
    width = part.n_outputs(task, 2)
    outputs = np.stack(np.meshgrid(*[z] * width), axis=-1).reshape(-1, width)
    for target in range(2):
        targets = np.full((len(outputs),) if task == "classes" else outputs.shape, target)
        values = part.values(outputs, targets)
        exact = part.values(outputs.astype(np.longdouble), targets)
        assert np.isfinite(values[exact < np.finfo(dtype).max / 2]).all()
        assert (values >= 0.0).all()
        assert np.isfinite(slope_of(part, outputs, targets)).all()
        assert np.isfinite(part.predictions(outputs)).all()
        if task == "classes":
            np.testing.assert_allclose(part.probabilities(outputs).sum(axis=1), 1.0, rtol=1e-6)


@quick
@given(data=st.data(), seed=st.integers(0, 1000))
def test_the_gradient_of_a_loss_agrees_with_central_differences_of_its_mean(data: st.DataObject, seed: int) -> None:
    drawn = data.draw(parts(losses))
    task = data.draw(st.sampled_from(drawn.tasks))
    part, outputs, targets = learnable(drawn, task, np.float64, seed=seed)
    gradient, step = slope_of(part, outputs, targets), 1e-5
    compared = np.eye(4)[targets] if task == "classes" and outputs.shape[1] == 4 else targets.reshape(7, -1)
    residual = np.abs(part.predictions(outputs) - compared)
    delta = getattr(part, "delta", 1.0)
    smooth = (np.abs(outputs) > 1e-4) & (residual > 1e-4) & (np.abs(residual - delta) > 1e-4)
    assume(smooth.all())  # at a kink the differences mean nothing
    for index in np.ndindex(outputs.shape):
        nudge = np.zeros_like(outputs)
        nudge[index] = step
        above, below = (part.values(outputs + sign * nudge, targets).mean() for sign in (1.0, -1.0))
        assert gradient[index] == pytest.approx((above - below) / (2.0 * step), rel=1e-6, abs=1e-9 * max(1.0, delta))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", [name for name, task in LOSS_TASKS if task == "classes"])
def test_classes_may_be_of_any_integer_type(name: str, dtype: str) -> None:
    part, outputs, targets = learnable(losses.decode(name), "classes", np.float32)
    labels = targets.astype(dtype)
    np.testing.assert_array_equal(part.values(outputs, labels), part.values(outputs, targets))
    np.testing.assert_array_equal(slope_of(part, outputs, labels), slope_of(part, outputs, targets))
    for metric in (metrics.decode(metric) for metric, task in METRIC_TASKS if task == "classes"):
        assert metric.compute(outputs, labels, part) == metric.compute(outputs, targets, part)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "float32", "float64"])
@pytest.mark.parametrize("name", [name for name, task in LOSS_TASKS if task == "labels"])
def test_labels_may_be_of_any_type_that_holds_0_and_1(name: str, dtype: str) -> None:
    part, outputs, targets = learnable(losses.decode(name), "labels", np.float32)
    labels = targets.astype(dtype)
    np.testing.assert_allclose(part.values(outputs, labels), part.values(outputs, targets), rtol=1e-6)
    np.testing.assert_allclose(slope_of(part, outputs, labels), slope_of(part, outputs, targets), rtol=1e-6)
    for metric in (metrics.decode(metric) for metric, task in METRIC_TASKS if task == "labels"):
        assert metric.compute(outputs, labels, part) == pytest.approx(metric.compute(outputs, targets, part), rel=1e-6)


# Metrics


@each_dtype
@pytest.mark.parametrize(("loss", "name", "task"), METRIC_LOSS_TASKS)
def test_a_metric_is_a_finite_float_and_does_not_depend_on_the_order_of_the_examples(
    loss: str, name: str, task: Task, dtype: Any
) -> None:
    metric = metrics.decode(name)
    part, outputs, targets = learnable(losses.decode(loss), task, dtype)
    value = metric.compute(outputs, targets, part)
    assert type(value) is float
    assert np.isfinite(value)
    assert metric.compute(outputs[::-1].copy(), targets[::-1], part) == pytest.approx(value, rel=1e-6)
    assert metric.direction in ("minimize", "maximize")


@pytest.mark.parametrize(("name", "task"), METRIC_TASKS)
def test_a_metric_prefers_perfect_outputs_in_its_direction(name: str, task: Task) -> None:
    metric, rng = metrics.decode(name), np.random.default_rng(0)
    classes, labels, values = rng.integers(0, 8, 50), rng.integers(0, 2, (50, 8)), rng.normal(size=(50, 8))
    loss, targets, perfect = {
        "classes": (losses.decode("softmax_cross_entropy"), classes, 50.0 * np.eye(8)[classes]),
        "labels": (losses.decode("binary_cross_entropy"), labels, 100.0 * labels - 50.0),
        "values": (losses.decode("mean_squared_error"), values, values),
    }[task]
    best, random = (metric.compute(outputs, targets, loss) for outputs in (perfect, rng.normal(size=(50, 8))))
    assert best > random if metric.direction == "maximize" else best < random


@pytest.mark.parametrize(("name", "task"), METRIC_TASKS)
def test_a_metric_of_the_same_examples_many_times_is_the_same(name: str, task: Task) -> None:
    metric, repeats = metrics.decode(name), 10_000
    loss = next(loss for loss, supported in LOSS_TASKS if supported == task)
    part, outputs, targets = learnable(losses.decode(loss), task, np.float64)
    many_targets = np.tile(targets, (repeats,) + (1,) * (targets.ndim - 1))
    value = metric.compute(outputs, targets, part)
    assert metric.compute(np.tile(outputs, (repeats, 1)), many_targets, part) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("key", [f"{part}/{metric}" for part in PARTS for metric in metrics])
def test_the_best_epoch_is_the_first_of_equal_ones_in_the_direction_of_the_metric(key: str) -> None:
    assert direction(key) == metrics.lookup(key.partition("/")[2]).direction
    best = {"maximize": 2, "minimize": 3}[direction(key)]
    assert best_epoch(key, {key: [2.0, 3.0, 1.0, 3.0, 1.0]}) == best


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
