"""Figures of a training: which ones each task gives, and of which examples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from mlp.data import Dataset
from mlp.errors import ConfigError
from mlp.training import train
from studies.models import pictures
from studies.models.pictures import N_EXAMPLES, write_pictures
from studies.models.retrain import retrain
from tests.mlp_data import blobs, small_config
from tests.study_data import prepared_digits  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("digits")
DIGITS = small_config({"data": {"name": "digits"}, "epochs": 2})


def names(folder: Path) -> list[str]:
    """Return the names of the figures in a folder; each must be an image that is not blank."""
    for file in folder.iterdir():
        assert imread(file).std() > 0.01
    return sorted(file.stem for file in folder.iterdir())


@pytest.mark.slow
def test_images_in_classes_give_four_figures(tmp_path: Path) -> None:
    retrain(DIGITS, pictures=tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == ["confusion", "curves", "first_layer", "predictions"]


BLOBS = blobs()
TARGETS = {
    "softmax_cross_entropy": BLOBS.targets,
    "binary_cross_entropy": (BLOBS.inputs[:, :3] > 100).astype(np.uint8),
    "mean_squared_error": BLOBS.inputs[:, :3] / 255.0,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("softmax_cross_entropy", ["confusion", "curves"]),
        ("binary_cross_entropy", ["curves"]),
        ("mean_squared_error", ["curves"]),
    ],
)
def test_each_task_gives_the_figures_that_apply_to_it(tmp_path: Path, loss: str, expected: list[str]) -> None:
    inputs, targets = BLOBS.inputs, TARGETS[loss]
    data = Dataset("own", inputs, targets, inputs, targets, BLOBS.classes, 255.0, "")
    training = train(small_config({"loss": loss}), data)
    write_pictures(training, data, data.test(training.data.train.encoding), tmp_path)
    assert names(tmp_path) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("options", "n"), [({}, 288), ({"test": True}, 359), ({"refit": True}, 1438)])
def test_figures_show_examples_that_were_not_trained_on_if_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], n: int
) -> None:
    shown = []

    def plot_confusion(true: Any, predicted: Any, _: Any) -> Figure:
        shown.append(len(true))
        assert len(true) == len(predicted)
        return Figure()

    monkeypatch.setattr(pictures, "plot_confusion", plot_confusion)
    retrain(DIGITS, pictures=tmp_path, **options)
    assert shown == [n]


def test_at_most_half_of_the_examples_shown_are_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    def plot_predictions(images: Any, true: Any, predicted: Any, *_: Any) -> Figure:
        shown.append((true, predicted))
        assert images.shape == (N_EXAMPLES, 64)
        return Figure()

    monkeypatch.setattr(pictures, "plot_predictions", plot_predictions)
    retrain(DIGITS, pictures=tmp_path)
    ((true, predicted),) = shown
    assert np.count_nonzero(true != predicted) == N_EXAMPLES // 2


def test_a_folder_that_cannot_be_written_is_refused_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match=r"taken: cannot be written: File exists. Choose another folder."):
        retrain(DIGITS, pictures=tmp_path / "taken", on_epoch=lambda _: pytest.fail("the training has started"))


CONFIG = """
epochs = 3
batch_size = 4
loss = "mean_squared_error"
metrics = ["mae"]
data = { name = "own.csv", label = "y", test = 0 }
network = { hidden = [4] }
"""


@pytest.mark.slow
def test_the_command_trains_and_draws_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.csv").write_text("x,y\n" + "".join(f"{i / 2},{i / 7}\n" for i in range(20)))
    Path("own.toml").write_text(CONFIG)

    def train(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "studies", "train", "own.toml", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    trained = train("--pictures", "drawn", "--save", "model.json")
    assert (trained.returncode, trained.stderr) == (0, "")
    assert names(Path("drawn")) == ["curves"]
    first = next(line for line in trained.stdout.splitlines() if line.startswith("epoch"))
    assert [word for word in first.split() if "/" in word][1:] == [
        f"{part}/{metric}" for part in ("train", "validation") for metric in ("loss", "r2", "mae")
    ]
    untested = train("--test")
    assert (untested.returncode, untested.stdout) == (2, "")
    assert untested.stderr == 'error: own.toml: "data.test": leaves no test rows in "own.csv".\n'
    Path("own.toml").write_text(CONFIG.replace("mean_squared_error", "softmax_cross_entropy"))
    unfit = train()
    assert unfit.returncode == 2
    assert unfit.stderr.startswith(
        'error: own.toml: "loss": the loss "softmax_cross_entropy" supports classes, but the'
    )
