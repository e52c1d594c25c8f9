"""Configurations and data of the tests of trainings."""

from __future__ import annotations

from typing import Any

from mlp import (
    TrainConfig,
    Training,
    TrainingState,
)
from mlp.optimizers import optimizers
from tests.mlp_data import (
    small_split,
)

OPTIMIZERS: list[Any] = [
    *optimizers,
    {"name": "sgd", "momentum": 0.9},
    {"name": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
]


STOPPING: list[Any] = [None, {"patience": 3, "metric": "validation/accuracy"}]


def start(config: TrainConfig) -> Training:
    return Training(config, small_split(config))


def run(training: Training, epochs: int) -> Training:
    training.run(epochs)
    return training


def save_and_load(state: TrainingState) -> TrainingState:
    return TrainingState.from_bytes(state.to_bytes())
