"""Stacks, configurations and data of the tests of `Sequential`."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp import (
    Dataset,
    Examples,
    Split,
    TrainConfig,
)
from mlp.sequential import Dense, Sequential
from tests.mlp_data import blobs

BLOBS = blobs(n=90)


X, Y = BLOBS.inputs / 255.0, BLOBS.targets


ONE_HOT = np.eye(3)[Y]


X_TEST, Y_TEST = BLOBS.test_inputs / 255.0, BLOBS.test_targets


VALUES = np.stack([X.sum(axis=1), X[:, 0] - X[:, 1]], axis=1)


LABELS = (X[:, :2] > 0.5).astype(int)


def stack(
    *, loss: Any = "categorical_crossentropy", output: Any = "softmax", units: int = 3, seed: int = 3, **compiled: Any
) -> Sequential:
    """Return a small compiled stack."""
    model = Sequential([Dense(5, "tanh", input_dim=6), Dense(4, "relu"), Dense(units, output)], seed=seed)
    model.compile(loss=loss, **({"optimizer": "adam", "learning_rate": 0.01} | compiled))
    return model


def config_of(changes: dict[str, Any] | None = None) -> TrainConfig:
    """Return the configuration that is equivalent to a small stack."""
    return TrainConfig.from_mapping(
        {
            "data": {"name": "arrays", "scale": "none", "target_scale": "none", "validation": 18},
            "seed": 3,
            "epochs": 4,
            "batch_size": 16,
            "network": {"hidden": [5, 4], "activation": ["tanh", "relu"]},
            "optimizer": {"name": "adam", "learning_rate": 0.01},
            **(changes or {}),
        }
    )


def dataset(targets: Any, x: Any = X) -> Dataset:
    names = tuple("abc"[: targets.shape[1] if targets.ndim == 2 else 3])
    return Dataset("arrays", x, targets, x[:0], targets[:0], names, 1.0, "")


def last_rows(targets: Any, x: Any = X) -> Split:
    """Return the split of `FIT`: the last 18 of 90 examples are the validation part."""
    data, rows = dataset(targets, x), np.arange(90)
    train, validation = Examples(x, targets, rows[:72]), Examples(x, targets, rows[72:])
    return Split(train, validation, len(data.classes), data.task, data.classes)


FIT: dict[str, Any] = {"epochs": 4, "batch_size": 16, "validation_split": 0.2, "verbose": 0}
