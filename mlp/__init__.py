"""A multi-layer perceptron in NumPy, whose training can be stopped and resumed after any epoch.

    dataset = Dataset.from_arrays(x, y, test=(x_test, y_test))
    training = train(TrainConfig(epochs=20), dataset)
    model = Model.of(training, dataset)

The public names are imported when they are first used, because importing everything at once is slow: `import mlp` takes
as long as `import numpy`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlp.columns import Column as Column
    from mlp.columns import Schema as Schema
    from mlp.config import EarlyStopping as EarlyStopping
    from mlp.config import NetworkConfig as NetworkConfig
    from mlp.config import Taper as Taper
    from mlp.config import TrainConfig as TrainConfig
    from mlp.data import Dataset as Dataset
    from mlp.data import Examples as Examples
    from mlp.data import Split as Split
    from mlp.data_config import DataConfig as DataConfig
    from mlp.encoding import TableEncoding as TableEncoding
    from mlp.ensemble import Ensemble as Ensemble
    from mlp.epochs import EpochMetrics as EpochMetrics
    from mlp.errors import ConfigError as ConfigError
    from mlp.errors import CorruptStateError as CorruptStateError
    from mlp.errors import DivergedError as DivergedError
    from mlp.folds import CrossValidation as CrossValidation
    from mlp.folds import advance as advance
    from mlp.model import Model as Model
    from mlp.model_io import load_model as load_model
    from mlp.model_io import save_model as save_model
    from mlp.network import Network as Network
    from mlp.scaling import Scaling as Scaling
    from mlp.state import TrainingState as TrainingState
    from mlp.training import Training as Training
    from mlp.training import train as train

_NAMES_BY_MODULE = {
    "mlp.config": ("EarlyStopping", "NetworkConfig", "Taper", "TrainConfig"),
    "mlp.columns": ("Column", "Schema"),
    "mlp.data": ("Dataset", "Examples", "Split"),
    "mlp.data_config": ("DataConfig",),
    "mlp.encoding": ("TableEncoding",),
    "mlp.ensemble": ("Ensemble",),
    "mlp.epochs": ("EpochMetrics",),
    "mlp.errors": ("ConfigError", "CorruptStateError", "DivergedError"),
    "mlp.folds": ("CrossValidation", "advance"),
    "mlp.model": ("Model",),
    "mlp.model_io": ("load_model", "save_model"),
    "mlp.network": ("Network",),
    "mlp.scaling": ("Scaling",),
    "mlp.state": ("TrainingState",),
    "mlp.training": ("Training", "train"),
}
_MODULE_BY_NAME = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}

__all__ = sorted(_MODULE_BY_NAME)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_MODULE_BY_NAME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_BY_NAME})
