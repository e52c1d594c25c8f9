"""Figures of a training: their content, and that any training can be drawn."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from mlp import ConfigError, CrossValidation
from mlp.plots import (
    CORRECT,
    WRONG,
    learning_rates,
    plot_confusion,
    plot_first_weights,
    plot_history,
    plot_predictions,
)
from mlp.training import train
from tests.mlp_data import blobs, small_config

CLASSES = ("cat", "dog", "owl")


def draw(figure: Figure) -> list[Axes]:
    """Draw a figure, where any warning is an error, and return its axes that contain data."""
    file = io.BytesIO()
    figure.savefig(file, dpi=50)
    assert file.getvalue().startswith(b"\x89PNG")
    return [axes for axes in figure.axes if axes.has_data()]


def image_of(axes: Axes) -> AxesImage:
    (image,) = axes.get_images()
    return image


def heights(axes: Axes) -> dict[str, list[float]]:
    """Return the curves in some axes by name."""
    return {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in axes.lines}


@pytest.mark.slow
def test_every_metric_has_a_panel_and_the_learning_rate_is_last() -> None:
    config = small_config({"schedule": {"name": "exponential", "factor": 0.5}, "metrics": ["f1_macro"]})
    history = train(config, blobs()).history
    panels = draw(plot_history(history, config))
    assert [axes.get_title(loc="left") for axes in panels] == ["loss", "accuracy", "f1 macro", "learning rate"]
    for axes, name in zip(panels, ("loss", "accuracy", "f1_macro"), strict=False):
        assert heights(axes) == {part: history[f"{part}/{name}"] for part in ("train", "validation")}
    assert list(panels[3].lines[0].get_xdata()) == [1, 2, 3, 4, 5, 6]
    assert list(heights(panels[3]).values()) == [learning_rates(history, config)]
    assert not any(axes.collections for axes in panels)


@pytest.mark.slow
def test_the_spread_over_folds_is_a_band_around_the_curve_of_its_metric() -> None:
    config = small_config({"data.folds": 3})
    folds = CrossValidation(config, blobs().splits(config.data, config.seed))
    folds.run()
    panels = draw(plot_history(folds.history, config))
    assert [axes.get_title(loc="left") for axes in panels] == ["loss", "accuracy", "learning rate"]
    for axes, name in zip(panels, ("loss", "accuracy"), strict=False):
        (band,) = axes.collections
        mean, spread = (np.array(folds.history[f"validation/{key}"]) for key in (name, f"{name}_std"))
        edges = band.get_paths()[0].vertices[:, 1]
        np.testing.assert_allclose([edges.min(), edges.max()], [(mean - spread).min(), (mean + spread).max()])


@pytest.mark.slow
def test_there_is_one_legend_and_it_names_the_kept_epoch() -> None:
    config = small_config()
    first, *others = draw(plot_history(train(config, blobs()).history, config, kept_epoch=4))
    legend = first.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["train", "validation", "kept"]
    assert heights(first)["kept"] == [0, 1]
    assert [list(line.get_xdata()) for line in first.lines if line.get_label() == "kept"] == [[4, 4]]
    assert all(axes.get_legend() is None for axes in others)


@pytest.mark.parametrize(
    "history",
    [{}, {"train/loss": [1.0]}, {"train/loss": [2.0, 2.0], "diagnostics/gradient_norm": [1.0, 0.5]}],
)
def test_a_history_of_any_length_can_be_drawn(history: dict[str, list[float]]) -> None:
    config = small_config({"data.validation": 0})
    panels = draw(plot_history(history, config))
    titles = [axes.get_title(loc="left") for axes in panels if axes.lines]
    assert titles == ([] if not history else ["loss"]) + ["learning rate"]


def test_a_single_epoch_is_drawn_as_a_point() -> None:
    (loss, _) = draw(plot_history({"train/loss": [1.0]}, small_config()))
    assert loss.lines[0].get_marker() == "o"
    low, high = loss.get_xlim()
    assert [tick for tick in loss.get_xticks() if low <= tick <= high] == [1.0]


def test_the_learning_rates_follow_the_schedule_and_the_metric_it_watches() -> None:
    step = small_config({"schedule": {"name": "exponential", "factor": 0.5}})
    assert learning_rates({"train/loss": [1.0] * 3}, step) == pytest.approx([0.01, 0.005, 0.0025])
    plateau = small_config(
        {"schedule": {"name": "reduce_on_plateau", "metric": "train/loss", "factor": 0.1, "patience": 1}}
    )
    rates = learning_rates({"train/loss": [1.0, 2.0, 2.0, 2.0]}, plateau)
    assert rates[0] == pytest.approx(0.01)
    assert rates[-1] < 0.01
    assert learning_rates({}, step) == []


def test_a_confusion_matrix_shows_shares_and_counts() -> None:
    true, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 0])
    (axes,) = draw(plot_confusion(true, predicted, CLASSES))
    shares = np.asarray(image_of(axes).get_array())
    np.testing.assert_allclose(shares, [[2 / 3, 1 / 3, 0], [0, 1, 0], [1, 0, 0]])
    written = {tuple(map(round, text.get_position())): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "2", (1, 0): "1", (1, 1): "2", (0, 2): "1"}, "x is predicted, y is true"
    assert axes.get_title(loc="left") == "66.67% of 6 correct"
    assert [label.get_text() for label in axes.get_xticklabels()] == list(CLASSES)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 2, 15, 16, 61, 200])
def test_a_confusion_matrix_can_have_any_number_of_classes(k: int) -> None:
    true = np.arange(k)
    names = [f"class {i}" for i in range(k)]
    figure = plot_confusion(true, true[::-1], names)
    (axes,) = draw(figure)
    assert len(axes.texts) == (k if k <= 15 else 0)
    assert 0 < len(axes.get_yticks()) <= 60
    assert all(label.get_text() == names[round(label.get_position()[1])] for label in axes.get_yticklabels())
    assert max(figure.get_size_inches()) < 20


def test_a_class_that_never_occurs_has_an_empty_row() -> None:
    (axes,) = draw(plot_confusion(np.array([0]), np.array([0]), CLASSES))
    assert np.asarray(image_of(axes).get_array()).tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_correct_predictions_are_green_and_wrong_ones_red_with_the_true_class() -> None:
    images = np.arange(3 * 6, dtype=np.uint8).reshape(3, 6)
    panels = draw(plot_predictions(images, np.array([0, 1, 2]), np.array([0, 2, 2]), CLASSES, (2, 3)))
    assert [axes.get_title() for axes in panels] == ["cat", "owl\n(is dog)", "owl"]
    assert [axes.title.get_color() for axes in panels] == [CORRECT, WRONG, CORRECT]
    for axes, image in zip(panels, images, strict=True):
        assert np.asarray(image_of(axes).get_array()).tolist() == image.reshape(2, 3).tolist()


@pytest.mark.parametrize(("n", "columns"), [(0, 8), (1, 8), (9, 4)])
def test_any_number_of_predictions_can_be_drawn(n: int, columns: int) -> None:
    labels = np.zeros(n, int)
    figure = plot_predictions(np.zeros((n, 4)), labels, labels, CLASSES, (2, 2), columns=columns)
    assert len(draw(figure)) == n


def test_weights_are_drawn_as_images_largest_first() -> None:
    weights = np.array([[0.0, 3.0, -1.0], [0.0, -4.0, 0.5], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    figure = plot_first_weights(weights, (2, 2), max_units=2)
    panels = draw(figure)
    drawn = [np.asarray(image_of(axes).get_array()).ravel().tolist() for axes in panels]
    assert drawn == [weights[:, 1].tolist(), weights[:, 2].tolist()]
    assert [image_of(axes).get_clim() for axes in panels] == [(-4.0, 4.0), (-1.0, 1.0)], "white is 0"
    assert figure.get_suptitle() == "2 of 3 units, largest weights first"


def test_weights_of_zero_can_be_drawn() -> None:
    assert len(draw(plot_first_weights(np.zeros((4, 5)), (2, 2)))) == 5


@pytest.mark.parametrize("image_shape", [(), (4,), (2, 3), (1, 2, 2)])
def test_an_image_shape_that_does_not_fit_is_refused(image_shape: Any) -> None:
    with pytest.raises(
        ConfigError, match='"image_shape": must be a height and a width whose product is the 4 features'
    ):
        plot_first_weights(np.zeros((4, 5)), image_shape)
    with pytest.raises(
        ConfigError, match='"image_shape": must be a height and a width whose product is the 4 features'
    ):
        plot_predictions(np.zeros((1, 4)), np.zeros(1, int), np.zeros(1, int), CLASSES, image_shape)
