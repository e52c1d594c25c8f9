"""Data of the tests of the estimators."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp.estimators import MLPClassifier, MLPRegressor

SMALL: dict[str, Any] = {"hidden": [6], "epochs": 4, "batch_size": 16, "random_state": 3}


ESTIMATORS = [MLPClassifier, MLPRegressor]


def clouds(n: int = 90, d: int = 4, k: int = 3, *, seed: int = 0) -> tuple[Any, Any]:
    """Return points around one centre per class, and their classes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    return 2.0 * rng.normal(size=(k, d))[y] + rng.normal(size=(n, d)), y


def digest(estimator: Any) -> str:
    """Return a digest of the fitted parameters; equal digests mean equal bits."""
    return str(estimator.model_.manifest.weight_digest)
