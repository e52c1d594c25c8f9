"""The parameters of an estimator, translated to a training configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mlp.config import TrainConfig
from mlp.losses import Task
from mlp.paths import merge
from mlp.records import AbstractRecord, encode

SECTIONS = {
    "network": ("hidden", "activation", "initializer", "normalization", "dropout"),
    "optimizer": ("learning_rate", "weight_decay", "l2"),
    "data": ("validation",),
}
# The dotted path in a `TrainConfig` of each parameter that is not at its top level.
PATHS = {name: f"{section}.{name}" for section, names in SECTIONS.items() for name in names}
DEFAULT_VALIDATION = 0.1  # the fraction held out if something watches the validation part


def to_config(settings: Mapping[str, Any], task: Task, *, dtype: str, seed: int) -> TrainConfig:
    """Return the training configuration that some parameters describe.

    Args:
        settings: the parameters that are given, as plain values, by name.
        task: what the estimator predicts.
        dtype: the type of the arithmetic.
        seed: the seed of split, initialization and shuffling.

    Raises:
        ConfigError: if a parameter is not valid.
    """
    base = {
        "data": {"name": "X", "scale": "none", "stratify": task == "classes", "validation": DEFAULT_VALIDATION},
        "dtype": dtype,
        "seed": seed,
    }
    config = TrainConfig.from_mapping(merge(base, {PATHS.get(name, name): value for name, value in settings.items()}))
    needs_validation = any(metric.startswith("validation/") for metric in config.watched().values())
    if "validation" not in settings and not needs_validation:
        config = replace(config, data=replace(config.data, validation=0))
    return config


def plain_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that are not None, as plain Python values."""
    settings = {name: _plain(value) for name, value in parameters.items() if value is not None}
    if settings.get("early_stopping") in (True, False):
        settings["early_stopping"] = {} if settings["early_stopping"] else None
    return settings


def _plain(value: Any) -> Any:
    """Return parts as tables, and NumPy numbers and arrays as Python numbers and lists."""
    if isinstance(value, AbstractRecord):
        return encode(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {(name.item() if isinstance(name, np.generic) else name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
