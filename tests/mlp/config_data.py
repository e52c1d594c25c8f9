"""Configurations of the tests of configurations."""

from __future__ import annotations

from typing import Any

from mlp import (
    TrainConfig,
)
from tests.mlp_data import (
    records,
)

configs = records(TrainConfig)


def from_mapping(**changes: Any) -> TrainConfig:
    return TrainConfig.from_mapping({"data": {"name": "digits"}, **changes})
