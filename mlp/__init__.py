"""A multi-layer perceptron in NumPy, and its training as a fold that can stop and go on anywhere."""

from mlp.config import EarlyStopping, NetworkConfig, Taper, TrainConfig
from mlp.data import DataConfig, Dataset, Examples, Split
from mlp.network import Network
from mlp.registry import ConfigError
from mlp.state import TrainingState
from mlp.training import EpochMetrics, Training, advance, train

__all__ = [
    "ConfigError",
    "DataConfig",
    "Dataset",
    "EarlyStopping",
    "EpochMetrics",
    "Examples",
    "Network",
    "NetworkConfig",
    "Split",
    "Taper",
    "TrainConfig",
    "Training",
    "TrainingState",
    "advance",
    "train",
]
