"""Pictures of a training and of its network. Each returns a matplotlib figure; `figure.savefig(file)` keeps it."""

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
from mlp.scores import PARTS
from mlp.state import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, FAINT = "#1f2933", "#6b7785", "#dde3e9"
COLOURS = {"train": "#9aa5b1", "validation": "#0b3d66"}
RATE = "#e08b2c"
RIGHT, WRONG = "#1b7f3b", "#c8372d"
DPI = 150
BLUES = LinearSegmentedColormap.from_list("share", ["#ffffff", "#3b7dbf", "#0b3d66"])
SIGNED = LinearSegmentedColormap.from_list("signed", ["#c8372d", "#ffffff", "#0b3d66"])
FEW_CLASSES = 15  # up to which a confusion matrix has its counts written into it
MANY_CLASSES = 60  # above which not every one of them is named


def plot_history(history: History, config: TrainConfig, *, kept_epoch: int = 0) -> Figure:
    """Draw every metric of training and validation by epoch, and the learning rate.

    Args:
        history: a value an epoch, by metric key.
        config: of the training; the rate follows from its schedule.
        kept_epoch: the epoch whose weights were kept, to be marked; 0 for none.
    """
    names = list(dict.fromkeys(key.split("/", 1)[1] for key in history if key.split("/")[0] in PARTS))
    figure, axes = _grid(len(names) + 1, columns=2 if len(names) == 3 else 3, cell=(4.6, 3.3))
    for name, place in zip(names, axes, strict=False):
        for part in PARTS:
            if values := history.get(f"{part}/{name}"):
                _curve(place, values, COLOURS[part], part)
        if kept_epoch:
            place.axvline(kept_epoch, color=MUTED, linewidth=0.8, linestyle=":", zorder=0, label="kept")
        _decorate(place, name.replace("_", " "))
    if names:  # above the axes, where no curve runs
        look = {"frameon": False, "labelcolor": INK, "fontsize": 9, "handlelength": 1.4, "columnspacing": 1.2}
        axes[0].legend(loc="lower right", bbox_to_anchor=(1.02, 0.98), ncols=len(PARTS) + 1, **look)
    rates = axes[len(names)]
    _curve(rates, learning_rates(history, config), RATE)
    rates.set_ylim(bottom=0.0)
    _decorate(rates, "learning rate")
    return figure


def _curve(axes: Axes, values: Sequence[float], colour: str, name: str | None = None) -> None:
    marker = "o" if len(values) == 1 else None  # of one point there is no line to see
    axes.plot(range(1, len(values) + 1), values, color=colour, linewidth=1.8, marker=marker, label=name)


def learning_rates(history: History, config: TrainConfig) -> list[float]:
    """Return the learning rate at the first step of each epoch that has been run."""
    n = max(map(len, history.values()), default=0)
    rates = []
    for epoch in range(n):
        past = {key: values[:epoch] for key, values in history.items()}
        base = config.optimizer.learning_rate * config.schedule.reduction(past)
        rates.append(config.schedule.rate(base, epoch, config.epochs))
    return rates


def plot_confusion(true: Array, predicted: Array, classes: Sequence[str]) -> Figure:
    """Draw how often examples of each class were taken for each class; the darker, the larger a share of its row.

    Args:
        true: classes, shape (n,), integers in 0..k-1.
        predicted: what they were taken for, likewise.
        classes: the k names.
    """
    k = len(classes)
    counts = confusion_matrix(true, predicted, k)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(2.0, (0.5 if k <= FEW_CLASSES else 0.2) * min(k, MANY_CLASSES))
    names = 0.075 * max(map(len, classes))  # roughly, in inches; below they are turned by 45 degrees
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
    _decorate(axes, f"{accuracy:.2%} of {counts.sum():,} right", grid=False)
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
    """Draw examples with what they were taken for: green where that is right, red with the truth where it is not.

    Args:
        images: raw inputs, shape (n, d).
        true: classes, shape (n,).
        predicted: what they were taken for, likewise.
        classes: the k names.
        image_shape: of one example as a picture, (height, width).
        columns: pictures in a row.

    Raises:
        ConfigError: when examples are no pictures of that shape.
    """
    _check_pictures(images.shape[1], image_shape)
    figure, axes = _grid(len(images), columns=columns, cell=(1.15, 1.45))
    for place, image, is_class, taken_for in zip(axes, images, true, predicted, strict=False):
        place.imshow(image.reshape(image_shape), cmap="gray_r")
        is_right = is_class == taken_for
        text = classes[taken_for] if is_right else f"{classes[taken_for]}\n(is {classes[is_class]})"
        place.set_title(text, color=RIGHT if is_right else WRONG, fontsize=8)
    for place in axes:
        place.set_axis_off()
    return figure


def plot_first_weights(weights: Array, image_shape: tuple[int, ...], *, most: int = 64) -> Figure:
    """Draw what each unit of the first layer looks for: its weights as a picture, blue for positive, red for negative.

    Args:
        weights: of the first layer, shape (d, units).
        image_shape: of one example as a picture, (height, width).
        most: how many units at most, the strongest first.

    Raises:
        ConfigError: when inputs are no pictures of that shape.
    """
    _check_pictures(len(weights), image_shape)
    order = np.argsort(-np.linalg.norm(weights, axis=0), kind="stable")[:most]
    figure, axes = _grid(len(order), columns=min(len(order), math.ceil(math.sqrt(len(order) * 1.6))), cell=(0.95, 0.95))
    for place, unit in zip(axes, order, strict=False):
        limit = float(np.abs(weights[:, unit]).max()) or 1.0
        place.imshow(weights[:, unit].reshape(image_shape), cmap=SIGNED, vmin=-limit, vmax=limit)
    for place in axes:
        place.set_axis_off()
    title = f"{len(order)} of {weights.shape[1]} units, largest weights first"
    figure.suptitle(title, x=0.02, ha="left", color=INK, fontsize=9)
    return figure


def _check_pictures(n_features: int, image_shape: tuple[int, ...]) -> None:
    if len(image_shape) != 2 or math.prod(image_shape) != n_features:
        raise ConfigError(
            f"examples of {n_features} features are no pictures of shape {image_shape}. Give height and width."
        )


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
