"""Spaces for the tests of samplers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import pytest

from mlp.config import TrainConfig
from mlp.errors import ConfigError
from studies.search.samplers import AbstractSampler, samplers
from studies.search.space import Space

FLAT: dict[str, Any] = {"network.dropout": {"low": 0.0, "high": 0.5}, "network.activation": ["relu", "tanh"]}
FLAT_FINITE = FLAT | {"network.dropout": {"low": 0.0, "high": 0.5, "step": 0.05}}

CONDITIONAL: dict[str, Any] = {
    "network.dropout": {"low": 0.0, "high": 0.5},
    "network.activation": ["relu", "tanh"],
    "optimizer": ["adam", "sgd"],
    "optimizer.learning_rate": {"low": 1e-4, "high": 0.3, "log": True},
    "optimizer.momentum": {"low": 0.1, "high": 0.9, "when": {"optimizer": "sgd"}},
}
CONDITIONAL_FINITE: dict[str, Any] = {
    "network.dropout": {"low": 0.0, "high": 0.5, "step": 0.25},
    "network.activation": ["relu", "tanh"],
    "optimizer": ["adam", "sgd"],
    "optimizer.momentum": {"low": 0.1, "high": 0.9, "step": 0.4, "when": {"optimizer": "sgd"}},
}


def _marks(name: str) -> list[pytest.MarkDecorator]:
    if name != "gp":
        return []
    is_missing = not all(find_spec(package) for package in ("torch", "greenlet"))
    return [pytest.mark.slow, pytest.mark.skipif(is_missing, reason="gp needs torch and greenlet")]


SAMPLERS = [pytest.param(name, marks=_marks(name)) for name in samplers]


def space_of(table: Mapping[str, Any]) -> Space:
    """Return a space around a base with a dropout of 0.25."""
    return Space(table, TrainConfig.from_mapping({"data": {"name": "digits"}, "network": {"dropout": 0.25}}))


def suitable(sampler: AbstractSampler, *tables: dict[str, Any]) -> dict[str, Any]:
    """Return the first table of a space that a sampler can search."""
    for table in tables:
        try:
            sampler.check(space_of(table))
        except ConfigError:
            continue
        return table
    raise AssertionError(f"no space suits {sampler}.")
