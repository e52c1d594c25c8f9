"""Small data sets, small configurations, and Hypothesis strategies for the tests of `mlp`."""

from __future__ import annotations

import functools
import math
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
from hypothesis import reject, settings
from hypothesis import strategies as st

from mlp import (
    ConfigError,
    DataConfig,
    Dataset,
    EarlyStopping,
    NetworkConfig,
    Split,
    TrainConfig,
    TrainingState,
)
from mlp.activations import activations
from mlp.arrays import digest
from mlp.initializers import initializers
from mlp.losses import AbstractLoss, Task, losses
from mlp.metrics import metrics
from mlp.normalizations import normalizations
from mlp.optimizers import optimizers
from mlp.paths import merge
from mlp.records import (
    AbstractRecord,
    Bounds,
    field_types,
    union_members,
)
from mlp.registry import AbstractPart, Registry
from mlp.schedules import ReduceOnPlateau, schedules
from mlp.scores import PARTS, standard

# Predicts from a model file and a JSON file of rows, in a process that can import nothing but the standard library,
# NumPy, `mlp` and threadpoolctl; prints what is predicted from rows and from columns.
NUMPY_ONLY = """
import json, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in {*sys.stdlib_module_names, "numpy", "mlp", "threadpoolctl"}:
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from mlp import load_model
rows = json.load(open(sys.argv[2], encoding="utf-8"))
model = load_model(sys.argv[1])
print(json.dumps({"rows": model.predict_proba(rows).tolist(), "columns": model.predict_proba(
    {name: [row[name] for row in rows] for name in rows[0]}).tolist()}))
"""

FAMILIES: tuple[Registry[Any], ...] = (
    activations,
    initializers,
    losses,
    metrics,
    normalizations,
    optimizers,
    schedules,
)
EVERY_PART = [pytest.param(family, name, id=f"{family.kind}-{name}") for family in FAMILIES for name in family]
METRIC_KEYS = [f"{part}/{metric.name}" for part in PARTS for metric in standard("classes")]

# Other tests run at the same time, so that the time of a single example means nothing.
quick = settings(deadline=None, max_examples=30)
thorough = settings(deadline=None, max_examples=150)

SMALL: dict[str, Any] = {
    "data": {"name": "blobs"},
    "seed": 3,
    "epochs": 6,
    "batch_size": 16,
    "network": {"hidden": [5, 4], "activation": "tanh", "initializer": "glorot_normal"},
    "optimizer": {"name": "adam", "learning_rate": 0.01, "weight_decay": 0.01},
}


def small_config(changes: dict[str, Any] | None = None) -> TrainConfig:
    """Return a configuration that trains in milliseconds, with some dotted paths replaced."""
    return TrainConfig.from_mapping(merge(SMALL, changes or {}))


def blobs(n: int = 70, d: int = 6, k: int = 3, *, seed: int = 0, noise: int = 60) -> Dataset:
    """Return a data set of uint8 inputs scattered around one point per class; more noise makes it harder."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 256, (k, d))

    def scatter(n: int) -> tuple[Any, Any]:
        labels = rng.integers(0, k, n, dtype=np.uint8)
        inputs = centres[labels] + rng.integers(-noise, noise + 1, (n, d))
        return np.clip(inputs, 0, 255).astype(np.uint8), labels

    inputs, labels = scatter(n)
    test_inputs, test_labels = scatter(20)
    content = digest(inputs, labels, test_inputs, test_labels)
    return Dataset("blobs", inputs, labels, test_inputs, test_labels, tuple("abcdefghij"[:k]), 255.0, content)


def learnable(
    loss: AbstractLoss, task: Task, dtype: Any, *, n: int = 7, seed: int = 0
) -> tuple[AbstractLoss, Any, Any]:
    """Return the loss with random outputs and targets of a task: four classes, or two if it supports no more."""
    try:
        n_targets, width = 4, loss.n_outputs(task, 4)
    except ConfigError:
        n_targets, width = 2, loss.n_outputs(task, 2)
    rng = np.random.default_rng(seed)
    outputs = rng.normal(0.0, 2.0, (n, width)).astype(dtype)
    if task == "classes":
        return loss, outputs, rng.integers(0, n_targets, n)
    if task == "labels":
        return loss, outputs, rng.integers(0, 2, (n, width), dtype=np.uint8)
    return loss, outputs, rng.normal(0.0, 2.0, (n, width)).astype(dtype)


def small_split(config: TrainConfig, dataset: Dataset | None = None) -> Split:
    """Return the blobs, or another data set, split according to a configuration."""
    return (dataset or blobs()).split(config.data, config.seed)


def bits(state: TrainingState) -> tuple[Any, ...]:
    """Return everything in which two equal states agree to the last bit, which is all but the time they took."""
    arrays = (state.theta, state.slots, state.best_theta)
    history = {key: [value.hex() for value in values] for key, values in state.history.items()}
    return state.config, state.epoch, state.status, *map(digest, arrays), history


@functools.cache  # building a strategy takes longer than drawing from it
def values(annotation: Any, bounds: Bounds) -> st.SearchStrategy[Any]:
    """Return a strategy for the values that a field of a record may have."""
    return st.one_of([_values(member, bounds) for member in union_members(annotation)])


def _values(member: Any, bounds: Bounds) -> st.SearchStrategy[Any]:
    if member is type(None):
        return st.none()
    if get_origin(member) is Literal:
        return st.sampled_from(get_args(member))
    if get_origin(member) is tuple:
        return st.lists(values(get_args(member)[0], bounds), max_size=4).map(tuple)
    if issubclass(member, AbstractPart):
        return parts(member.family)
    if issubclass(member, AbstractRecord):
        return records(member)
    low, high = max(bounds.above, bounds.at_least), min(bounds.below, bounds.at_most)
    low, high = (limit if math.isfinite(limit) else None for limit in (low, high))
    if member is int:
        return st.integers(low, high)
    if member is float:
        exclude = {"exclude_min": low is not None and low == bounds.above}
        exclude |= {"exclude_max": high is not None and high == bounds.below}
        return st.floats(low, high, allow_nan=False, allow_infinity=False, **exclude)
    return {bool: st.booleans(), str: st.text()}[member]


SPECIAL = {
    (EarlyStopping, "metric"): st.sampled_from(METRIC_KEYS),
    (ReduceOnPlateau, "metric"): st.sampled_from(METRIC_KEYS),
    (DataConfig, "validation"): st.integers(0, 10**6) | st.floats(0.0, 1.0),
    (DataConfig, "name"): st.just(""),
    (DataConfig, "file"): st.just("own.csv"),
    (DataConfig, "target"): st.text(min_size=1) | st.lists(st.text(), min_size=1, max_size=3).map(tuple),
    (DataConfig, "numeric"): st.just(()),
    (DataConfig, "order"): st.just(""),
    (DataConfig, "folds"): st.sampled_from([0, 3]),
    (DataConfig, "fold"): st.sampled_from([0, 0, 2]),
}


def _field(cls: type[AbstractRecord], name: str) -> st.SearchStrategy[Any]:
    annotation, bounds = field_types(cls)[name]
    if cls is NetworkConfig and name in ("activation", "bias"):
        annotation = union_members(annotation)[0]  # one for all layers; a list would have to match the depth
    return SPECIAL.get((cls, name), values(annotation, bounds))


@functools.cache
def records(cls: type[AbstractRecord]) -> st.SearchStrategy[Any]:
    """Return a strategy for the records of a class, with fields anywhere within their bounds."""

    def make(fields: dict[str, Any]) -> AbstractRecord:
        try:
            return cls(**fields)
        except ConfigError:  # each field is valid, but two of them contradict each other
            reject()

    return st.fixed_dictionaries({name: _field(cls, name) for name in field_types(cls)}).map(make)


@functools.cache
def parts(family: Registry[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for the parts of a family."""
    return st.one_of([records(family.lookup(name)) for name in family])
