"""The predicted memory of a training is that of a real one, within a factor of one and a half."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from typing import Any

import pytest

from mlp.folds import advance, open_training
from mlp.memory import DataSize, count_parameters, predict_memory
from mlp.network import Network
from mlp.state import TrainingState
from tests.mlp_data import blobs, small_config

# Two segments of a training as a worker computes them, and how much the memory of the process grew.
PROCESS = """
import sys, json
from mlp.folds import advance, open_training
from mlp.memory import DataSize, predict_memory
from mlp.state import TrainingState
from tests.mlp_data import blobs, small_config

def most():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

config, data = small_config(json.loads(sys.argv[1])), blobs(2000, 500, 10)
open("/proc/self/clear_refs", "w").write("5")  # what it took to make the data is not counted
before = most() - data.inputs.nbytes
split = data.splits(config.data, config.seed)
state = open_training(config, split).state().to_bytes()
for _ in range(2):
    state = advance(TrainingState.from_bytes(state), split, 1).to_bytes()
print(predict_memory(config, DataSize.of(split[0])), most() - before)
"""

LARGE: list[dict[str, Any]] = [
    {"network.hidden": [1024, 512]},
    {"network.hidden": [1024], "optimizer": "sgd", "early_stopping": {"patience": 2}},
    {"network.hidden": [512], "dtype": "float64", "data.folds": 3},
    {"network.hidden": [256, 256], "network.normalization": "batch", "batch_size": "full", "network.dropout": 0.2},
]


def measured(changes: dict[str, Any]) -> tuple[int, int]:
    """Return the predicted memory and the measured peak of two segments, with the data."""
    config, data = small_config(changes), blobs(2000, 500, 10)
    splits = data.splits(config.data, config.seed)
    size = DataSize.of(splits[0])
    tracemalloc.start()
    try:
        state = open_training(config, splits).state().to_bytes()
        for _ in range(2):
            state = advance(TrainingState.from_bytes(state), splits, 1).to_bytes()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return predict_memory(config, size), peak + data.inputs.nbytes


@pytest.mark.parametrize("changes", LARGE)
def test_the_prediction_is_within_a_factor_of_one_and_a_half_of_what_is_allocated(changes: dict[str, Any]) -> None:
    predicted, peak = measured(changes)
    assert peak > 20e6
    assert peak / 1.5 < predicted < 1.5 * peak


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("changes", LARGE)
def test_the_prediction_is_within_a_factor_of_one_and_a_half_of_what_a_process_takes(changes: dict[str, Any]) -> None:
    import json

    command = [sys.executable, "-c", PROCESS, json.dumps(changes)]
    predicted, peak = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert peak / 1.5 < predicted < 1.5 * peak


@pytest.mark.parametrize(
    "changes",
    [
        {"network.hidden": [32]},
        {"optimizer": "adam"},
        {"early_stopping": {"patience": 3}},
        {"dtype": "float64"},
        {"data.folds": 5},
        {"batch_size": "full", "network.normalization": "batch"},
    ],
)
def test_whatever_takes_memory_raises_the_prediction(changes: dict[str, Any]) -> None:
    plain = {"network.hidden": [16], "optimizer": "sgd", "network.normalization": "batch"}
    size = DataSize.of(blobs(2000).split(small_config().data, 0))
    assert predict_memory(small_config(plain | changes), size) > predict_memory(small_config(plain), size)


def test_parameters_are_counted_as_the_network_has_them() -> None:
    config = small_config({"network.normalization": "batch", "network.input_scale": True})
    size = DataSize.of(blobs().split(config.data, 0))
    network: Network = config.network.build((6, 5, 4, 3), dtype="float32")
    assert count_parameters(config, size) == len(network.theta)
