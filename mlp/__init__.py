"""A multi-layer perceptron in NumPy, and its training as a fold that can stop and go on anywhere.

What is public is imported when it is first used: a hundred frozen dataclasses take a while to make, and who asks for
one error class need not wait for them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlp.config import EarlyStopping as EarlyStopping
    from mlp.config import NetworkConfig as NetworkConfig
    from mlp.config import Taper as Taper
    from mlp.config import TrainConfig as TrainConfig
    from mlp.data import DataConfig as DataConfig
    from mlp.data import Dataset as Dataset
    from mlp.data import Examples as Examples
    from mlp.data import Split as Split
    from mlp.errors import ConfigError as ConfigError
    from mlp.errors import DivergedError as DivergedError
    from mlp.network import Network as Network
    from mlp.scaling import Scaling as Scaling
    from mlp.state import TrainingState as TrainingState
    from mlp.training import EpochMetrics as EpochMetrics
    from mlp.training import Training as Training
    from mlp.training import advance as advance
    from mlp.training import train as train

_MODULES = {
    "mlp.config": ("EarlyStopping", "NetworkConfig", "Taper", "TrainConfig"),
    "mlp.data": ("DataConfig", "Dataset", "Examples", "Split"),
    "mlp.network": ("Network",),
    "mlp.errors": ("ConfigError", "DivergedError"),
    "mlp.scaling": ("Scaling",),
    "mlp.state": ("TrainingState",),
    "mlp.training": ("EpochMetrics", "Training", "advance", "train"),
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
