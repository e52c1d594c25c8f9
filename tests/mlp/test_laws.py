"""Laws for every registered part, family by family. A new part is found through its registry and tested at once.

Agreement with PyTorch and scikit-learn is tested in `test_torch*.py` and `test_metrics.py`, gradients of a network with
each activation, loss and normalization in `test_gradients.py`. Both find new parts in the same way.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlp.activations import LeakyRelu, Relu, activations
from mlp.losses import Task, losses
from mlp.metrics import metrics
from mlp.records import (
    decode,
    encode,
    field_types,
    label,
)
from mlp.registry import AbstractPart, Registry
from mlp.scores import (
    PARTS,
    best_epoch,
    direction,
)
from tests.mlp.law_data import each_dtype
from tests.mlp_data import (
    EVERY_PART,
    FAMILIES,
    learnable,
    parts,
    quick,
)

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


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
