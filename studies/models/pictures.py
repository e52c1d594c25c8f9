"""Pictures of one training: its curves, and what its network makes of the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlp.arrays import Array
from mlp.data import Dataset, Examples
from mlp.plots import (
    plot_confusion,
    plot_first_weights,
    plot_history,
    plot_predictions,
)
from mlp.training import Training

SHOWN = 48  # examples, up to half of them wrong ones


def write_pictures(training: Training, dataset: Dataset, examples: Examples, folder: Path) -> list[Path]:
    """Write what there is to see of a training as PNG files, and return them.

    Args:
        training: one that has run, with the parameters that are kept in its network.
        dataset: what it learnt.
        examples: the part of it that the network is judged by.
        folder: where to; it must exist.
    """
    figures = {"curves": plot_history(training.history, training.config, kept_epoch=training.kept_epoch)}
    if dataset.task == "classes" and len(examples):
        predicted = training.config.loss.decide(training.outputs(examples), "classes")
        true = examples.own_targets
        figures["confusion"] = plot_confusion(true, predicted, dataset.classes)
        if dataset.image_shape:
            some = _some(true == predicted)
            images = np.asarray(examples.inputs)[examples.rows[some]]
            figures["predictions"] = plot_predictions(
                images, true[some], predicted[some], dataset.classes, dataset.image_shape
            )
    if dataset.image_shape:
        figures["first_layer"] = plot_first_weights(training.network.weights[0], dataset.image_shape)
    files = []
    for name, figure in figures.items():
        files.append(folder / f"{name}.png")
        figure.savefig(files[-1])
    return files


def _some(is_right: Array) -> Array:
    """Return which examples to show: the first wrong ones, up to half of them, among the first right ones."""
    wrong = np.flatnonzero(~is_right)[: SHOWN // 2]
    right = np.flatnonzero(is_right)[: SHOWN - len(wrong)]
    return np.sort(np.concatenate([wrong, right]))
