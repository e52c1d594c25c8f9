"""The memory of a training, predicted from its configuration and its data before anything is allocated.

The prediction is what a process holds beyond Python and the libraries, which take about 60 MB: the data, the parameters
with their gradient and the memory of the optimizer, the work arrays of a pass over a batch, and the copies of a
checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from mlp.activations import AbstractActivation
from mlp.batch_steps import CHUNK, rows_at_once
from mlp.batches import MAX_ENCODED, PAGE_ROWS
from mlp.config import TrainConfig
from mlp.data import Split
from mlp.encoding import TableEncoding
from mlp.losses import Task
from mlp.normalizations import NoNormalization

# While a checkpoint is written, the old state, the new state and the bytes of both are in memory; closing the file
# copies the bytes of the new state.
CHECKPOINT_COPIES = 7
BYTES_PER_ROW = 64  # row numbers, their order, targets and weights, in several copies
OVERHEAD = 1 << 20  # bytes of everything that is small and does not grow
OUTPUT_COPIES = 4  # copies of the outputs of all examples of a part, which the metrics are computed from


@dataclass(frozen=True)
class DataSize:
    """The size of the data of a training.

    Attributes:
        n_train: examples of the training part.
        n_validation: examples of the validation part; 0 without one.
        n_features: inputs of the network.
        n_targets: classes, labels or values to predict.
        task: what is predicted.
        row_bytes: bytes of the inputs of one example, as they are stored.
        is_table: whether the inputs are columns of a table, which are encoded.
    """

    n_train: int
    n_validation: int
    n_features: int
    n_targets: int
    task: Task
    row_bytes: int
    is_table: bool = False

    @classmethod
    def of(cls, split: Split) -> Self:
        """Return the size of a split."""
        inputs = split.train.inputs
        return cls(
            n_train=len(split.train),
            n_validation=len(split.validation) if split.validation else 0,
            n_features=split.n_features,
            n_targets=split.n_targets,
            task=split.task,
            row_bytes=int(inputs.shape[1] * inputs.itemsize),
            is_table=isinstance(split.train.encoding, TableEncoding),
        )


def count_parameters(config: TrainConfig, data: DataSize) -> int:
    """Return the number of parameters of a configuration's network."""
    return config.network.count_parameters(config.layer_sizes(data.n_features, data.n_targets, data.task))


def predict_memory(config: TrainConfig, data: DataSize) -> int:
    """Return the bytes that a training needs at its peak, the data and all folds of a cross-validation included.

    The measured peak is between two thirds of the prediction and one and a half times as much
    (`tests/mlp/test_memory.py`).

    Args:
        config: what is trained.
        data: the size of its data.
    """
    n_folds, number = len(config.data.by_fold()), np.dtype(config.dtype).itemsize
    n_parameters = count_parameters(config, data)
    state = n_parameters * (1 + config.optimizer.n_slots + (config.early_stopping is not None))
    b, n_steps = config.steps(data.n_train)
    rows = rows_at_once(config, b)
    gradient = n_parameters * (2 if b > rows else 1) + min(CHUNK, n_parameters)
    # A pass has its own work arrays for each number of rows: those of a batch, the last batch, and the validation.
    passes = {rows, (data.n_train - (n_steps - 1) * b) % rows, min(PAGE_ROWS, data.n_validation)}
    passes.add(data.n_validation % PAGE_ROWS)
    work = sum(passes) * _units_per_row(config, data)
    readers = (_page_rows(rows) + _page_rows(min(PAGE_ROWS, data.n_validation))) * data.n_features
    width = config.loss_for(data.task).n_outputs(data.task, data.n_targets)
    outputs = OUTPUT_COPIES * max(data.n_train, data.n_validation) * width
    encoded = 0
    for n in (data.n_train, data.n_validation):
        n_bytes = n * data.n_features * number
        encoded += n_bytes if data.is_table and n_bytes <= MAX_ENCODED else _page_rows(rows) * data.row_bytes
    in_training = number * (state + gradient + work + readers) + encoded
    shared = OVERHEAD + (data.n_train + data.n_validation) * (data.row_bytes + BYTES_PER_ROW) + number * outputs
    copies = number * state * n_folds
    return shared + max(n_folds * in_training + 3 * copies, CHECKPOINT_COPIES * copies)


def _units_per_row(config: TrainConfig, data: DataSize) -> int:
    """Return how many numbers a pass writes for each example."""
    network, widths = config.network, config.network.sizes()
    norm = 0 if isinstance(network.normalization, NoNormalization) else 2
    given = network.activation
    parts = (given,) * len(widths) if isinstance(given, AbstractActivation) else given
    total = data.n_targets
    for part, width in zip(parts, widths, strict=True):
        arrays = 2 + norm + (not part.in_place or network.parametric_activation) + 2 * (network.dropout > 0)
        if network.parametric_activation:
            arrays += 2 + (not part.in_place)
        total += arrays * width
    return total + data.n_features * ((network.input_noise > 0) + network.input_scale)


def _page_rows(rows: int) -> int:
    """Return how many rows a reader holds when the largest batch has `rows`."""
    return rows * max(1, PAGE_ROWS // max(1, rows))
