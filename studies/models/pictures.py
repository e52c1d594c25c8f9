"""Figures of one training: its curves, and the predictions of its network."""

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

N_EXAMPLES = 48  # the number of examples in the figure of predictions


def write_pictures(training: Training, dataset: Dataset, examples: Examples, folder: Path) -> list[Path]:
    """Write a training's figures as PNG files and return the files.

    `curves.png` is always written, `confusion.png` for classes, `first_layer.png` for images, and `predictions.png` for
    images in classes.

    Args:
        training: a training that has run, with the kept parameters in its network.
        dataset: the data set that it was trained on.
        examples: the part of the data set to predict.
        folder: the folder to write to; it must exist.
    """
    figures = {"curves": plot_history(training.history, training.config, kept_epoch=training.kept_epoch)}
    if dataset.task == "classes" and len(examples):
        true = examples.row_targets
        predicted = training.loss.decide(training.outputs(examples), "classes")
        figures["confusion"] = plot_confusion(true, predicted, dataset.classes)
        if dataset.image_shape:
            shown = _choose_examples(true == predicted)
            images = np.asarray(examples.inputs)[examples.rows[shown]]
            figures["predictions"] = plot_predictions(
                images, true[shown], predicted[shown], dataset.classes, dataset.image_shape
            )
    if dataset.image_shape:
        network = training.network
        weights = network.weights[0] * network.input_scale[:, None] if network.has_input_scale else network.weights[0]
        figures["first_layer"] = plot_first_weights(weights, dataset.image_shape)
    files = []
    for name, figure in figures.items():
        file = folder / f"{name}.png"
        figure.savefig(file)
        files.append(file)
    return files


def _choose_examples(is_correct: Array) -> Array:
    """Return the indices of the examples to show: at most half of them wrong, the rest correct, in order."""
    wrong = np.flatnonzero(~is_correct)[: N_EXAMPLES // 2]
    correct = np.flatnonzero(is_correct)[: N_EXAMPLES - len(wrong)]
    return np.sort(np.concatenate([wrong, correct]))
