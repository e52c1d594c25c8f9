"""Figures of a training and its network. Each function returns a matplotlib figure; `figure.savefig(file)` saves it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from mlp.arrays import Array
from mlp.config import TrainConfig
from mlp.errors import ConfigError
from mlp.metrics import confusion_matrix
from mlp.scores import PARTS, SPREAD, without_folds
from mlp.state import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, FAINT = "#1f2933", "#6b7785", "#dde3e9"
COLOURS = {"train": "#9aa5b1", "validation": "#0b3d66"}
RATE = "#e08b2c"
CORRECT, WRONG = "#1b7f3b", "#c8372d"
DPI = 150
BLUES = LinearSegmentedColormap.from_list("share", ["#ffffff", "#3b7dbf", "#0b3d66"])
SIGNED = LinearSegmentedColormap.from_list("signed", ["#c8372d", "#ffffff", "#0b3d66"])
FEW_CLASSES = 15  # a confusion matrix of up to this many classes shows the count in each cell
MANY_CLASSES = 60  # a confusion matrix of more classes names only some of them


def plot_history(history: History, config: TrainConfig, *, kept_epoch: int = 0) -> Figure:
    """Draw every metric of training and validation by epoch, with its spread over folds, and the learning rate.

    Args:
        history: one value per epoch, by metric key.
        config: the configuration of the training; its schedule gives the learning rates.
        kept_epoch: the epoch to mark as kept, counted from 1; 0 to mark none.
    """
    scored = [key for key in without_folds(history) if key.split("/")[0] in PARTS and not key.endswith(SPREAD)]
    names = list(dict.fromkeys(key.split("/", 1)[1] for key in scored))
    figure, axes = _grid(len(names) + 1, columns=2 if len(names) == 3 else 3, cell=(4.6, 3.3))
    for name, panel in zip(names, axes, strict=False):
        for part in PARTS:
            values, spread = history.get(f"{part}/{name}"), history.get(f"{part}/{name}{SPREAD}")
            if values:
                _curve(panel, values, COLOURS[part], part)
            if values and spread:
                _band(panel, values, spread, COLOURS[part])
        if kept_epoch:
            panel.axvline(kept_epoch, color=MUTED, linewidth=0.8, linestyle=":", zorder=0, label="kept")
        _decorate(panel, name.replace("_", " "))
    if names:  # above the axes, where it covers no curve
        style = {"frameon": False, "labelcolor": INK, "fontsize": 9, "handlelength": 1.4, "columnspacing": 1.2}
        axes[0].legend(loc="lower right", bbox_to_anchor=(1.02, 0.98), ncols=len(PARTS) + 1, **style)
    rates = axes[len(names)]
    _curve(rates, learning_rates(history, config), RATE)
    rates.set_ylim(bottom=0.0)
    _decorate(rates, "learning rate")
    return figure


def _curve(axes: Axes, values: Sequence[float], colour: str, name: str | None = None) -> None:
    marker = "o" if len(values) == 1 else None  # a line of one point is invisible
    axes.plot(range(1, len(values) + 1), values, color=colour, linewidth=1.8, marker=marker, label=name)


def _band(axes: Axes, values: Sequence[float], spread: Sequence[float], colour: str) -> None:
    """Shade one standard deviation over the folds on both sides of a curve."""
    mean, deviation = np.array(values), np.array(spread)
    epochs = range(1, len(values) + 1)
    axes.fill_between(epochs, mean - deviation, mean + deviation, color=colour, alpha=0.15, linewidth=0)


def learning_rates(history: History, config: TrainConfig) -> list[float]:
    """Return the learning rate at the first step of each epoch in the history."""
    n = max(map(len, history.values()), default=0)
    rates = []
    for epoch in range(n):
        past = {key: values[:epoch] for key, values in history.items()}
        base = config.optimizer.learning_rate * config.schedule.reduction(past)
        rates.append(config.schedule.rate(base, epoch, config.epochs))
    return rates


def plot_confusion(true: Array, predicted: Array, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix; the colour of a cell is its share of its row, and darker is more.

    Args:
        true: the true classes, shape (n,), integers in 0..k-1.
        predicted: the predicted classes, shape (n,), integers in 0..k-1.
        classes: the names of the k classes.
    """
    k = len(classes)
    counts = confusion_matrix(true, predicted, k)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(2.0, (0.5 if k <= FEW_CLASSES else 0.2) * min(k, MANY_CLASSES))
    names = 0.075 * max(map(len, classes))  # rough width in inches; the names on the x axis are rotated by 45 degrees
    figure, (axes,) = _grid(1, columns=1, cell=(side + names + 0.5, side + 0.7 * names + 0.9))
    axes.imshow(shares, cmap=BLUES, vmin=0.0, vmax=1.0)
    named = range(0, k, -(-k // MANY_CLASSES))
    axes.set_xticks(named, [classes[i] for i in named], rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(named, [classes[i] for i in named])
    axes.set_xlabel("predicted", color=MUTED)
    axes.set_ylabel("true", color=MUTED)
    if k <= FEW_CLASSES:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else INK
            axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=colour, fontsize=7.5)
    accuracy = np.trace(counts) / max(1, counts.sum())
    _decorate(axes, f"{accuracy:.2%} of {counts.sum():,} correct", grid=False)
    return figure


def plot_predictions(
    images: Array,
    true: Array,
    predicted: Array,
    classes: Sequence[str],
    image_shape: tuple[int, ...],
    *,
    columns: int = 8,
) -> Figure:
    """Draw examples with their predicted classes: green if correct, otherwise red with the true class.

    Args:
        images: raw inputs, shape (n, d).
        true: the true classes, shape (n,), integers in 0..k-1.
        predicted: the predicted classes, shape (n,), integers in 0..k-1.
        classes: the names of the k classes.
        image_shape: the shape of one image, (height, width).
        columns: the number of images per row.

    Raises:
        ConfigError: if an example does not have height times width features.
    """
    _check_image_shape(images.shape[1], image_shape)
    figure, axes = _grid(len(images), columns=columns, cell=(1.15, 1.45))
    for panel, image, true_class, predicted_class in zip(axes, images, true, predicted, strict=False):
        panel.imshow(image.reshape(image_shape), cmap="gray_r")
        is_correct = true_class == predicted_class
        title = classes[predicted_class] if is_correct else f"{classes[predicted_class]}\n(is {classes[true_class]})"
        panel.set_title(title, color=CORRECT if is_correct else WRONG, fontsize=8)
    for panel in axes:
        panel.set_axis_off()
    return figure


def plot_first_weights(weights: Array, image_shape: tuple[int, ...], *, max_units: int = 64) -> Figure:
    """Draw the weights of each unit of the first layer as an image: blue is positive, red is negative.

    Args:
        weights: the weights of the first layer, shape (d, units).
        image_shape: the shape of one image, (height, width).
        max_units: the largest number of units to draw; those with the largest weights come first.

    Raises:
        ConfigError: if an example does not have height times width features.
    """
    _check_image_shape(len(weights), image_shape)
    order = np.argsort(-np.linalg.norm(weights, axis=0), kind="stable")[:max_units]
    figure, axes = _grid(len(order), columns=min(len(order), math.ceil(math.sqrt(len(order) * 1.6))), cell=(0.95, 0.95))
    for panel, unit in zip(axes, order, strict=False):
        limit = float(np.abs(weights[:, unit]).max()) or 1.0
        panel.imshow(weights[:, unit].reshape(image_shape), cmap=SIGNED, vmin=-limit, vmax=limit)
    for panel in axes:
        panel.set_axis_off()
    title = f"{len(order)} of {weights.shape[1]} units, largest weights first"
    figure.suptitle(title, x=0.02, ha="left", color=INK, fontsize=9)
    return figure


def _check_image_shape(n_features: int, image_shape: tuple[int, ...]) -> None:
    if len(image_shape) != 2 or math.prod(image_shape) != n_features:
        problem = f"must be a height and a width whose product is the {n_features} features of an example"
        raise ConfigError(f"{problem}, got {image_shape}.", path="image_shape")


def _grid(n: int, *, columns: int, cell: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    columns = max(1, min(columns, n))
    rows = max(1, -(-n // columns))
    figure = Figure(
        (columns * cell[0], rows * cell[1]), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06)
    )
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in axes[n:]:
        unused.remove()
    return figure, axes[: max(1, n)]


def _decorate(axes: Axes, title: str, *, grid: bool = True) -> None:
    axes.set_title(title, loc="left", color=INK, fontsize=11)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.tick_params(colors=MUTED, length=0, labelsize=9)
    if grid:
        axes.grid(axis="y", color=FAINT, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel("epoch", color=MUTED, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
