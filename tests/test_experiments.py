"""The files in experiments/: all of them are valid, and the reference systems can be trained."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlp.config import TrainConfig
from mlp.data import DataConfig, Dataset
from mlp.training import Training
from studies import plan
from studies.data import published
from studies.data.bundled import BundledTable
from studies.data.sources import FileSearch
from studies.models.export import read_config
from studies.models.retrain import retrain
from studies.plan import plan_study
from studies.records.files import read_toml
from studies.search.spec import read_spec

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
FILES = sorted(file for file in EXPERIMENTS.rglob("*.toml") if file.parent.name != "best")
STUDIES = [file for file in FILES if "study" in read_toml(file)]
TRAININGS = [file for file in FILES if file not in STUDIES]
ORIGINS = {
    "deep_relu": (784, 512, 256, 128, 10),
    "fashion_batchnorm": (784, 32, 64, 10),
    "layer_stack_hidden": (784, 100, 10),
    "layer_stack_narrow": (784, 10, 10),
    "layer_stack_softmax": (784, 10),
    "sigmoid_full_batch": (784, 16, 16, 10),
    "tiny_relu": (784, 7, 10),
}

parametrize_studies = pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
parametrize_trainings = pytest.mark.parametrize("file", TRAININGS, ids=lambda file: file.stem)


def sizes(config: TrainConfig) -> tuple[int, ...]:
    return config.layer_sizes(784, 10, "classes")


def made_up(config: DataConfig) -> Dataset:
    """Return a table as it is, or a data set with the shape and type of MNIST, all of whose pixels are equal."""
    if isinstance(source := published.SOURCES[config.name], BundledTable):
        return source.read(FileSearch(None, Path(), download=False, progress=False))
    inputs, test_inputs = (np.broadcast_to(np.uint8(7), (n, 784)) for n in (60_000, 10_000))
    targets, test_targets = (np.arange(n) % 10 for n in (60_000, 10_000))
    classes = tuple("0123456789")
    return Dataset(config.name, inputs, targets, test_inputs, test_targets, classes, 255.0, "made up", (28, 28))


@pytest.fixture(name="offline")
def data_without_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace images by those of `made_up`, so that nothing is downloaded."""
    monkeypatch.setattr(plan, "prepare_data", lambda config, **_: config)
    monkeypatch.setattr(plan, "open_cached", made_up)
    monkeypatch.setattr(plan, "read_report", lambda _: None)


@parametrize_studies
@pytest.mark.usefixtures("offline")
def test_a_study_file_is_valid_and_its_base_is_in_its_space(file: Path) -> None:
    plan = plan_study(file)
    assert plan.spec.space.params_of_base() is not None
    for config in (plan.spec.base, *(example.config for example in plan.spec.space.examples)):
        assert plan.epoch_cost(config) > 0


@parametrize_studies
def test_a_study_has_the_name_of_its_file(file: Path) -> None:
    assert read_spec(file).study.name == file.stem.removesuffix("_study")


@parametrize_trainings
def test_a_configuration_can_be_trained_on_data_of_its_size(file: Path) -> None:
    config, provenance = read_config(file)
    assert provenance is None
    Training(config, made_up(config.data).split(config.data, config.seed))


@pytest.mark.parametrize("name", ORIGINS)
def test_a_reference_system_and_the_trials_of_its_study_have_the_published_layers(name: str) -> None:
    folder = EXPERIMENTS / "reference"
    config, _ = read_config(folder / f"{name}.toml")
    spec = read_spec(folder / f"{name}_study.toml")
    examples = (example.config for example in spec.space.examples)
    assert {sizes(trial) for trial in (config, spec.base, *examples)} == {ORIGINS[name]}


@pytest.mark.parametrize("name", ORIGINS)
def test_trial_0_of_a_reference_study_differs_from_the_system_only_in_the_images_used(name: str) -> None:
    folder = EXPERIMENTS / "reference"
    config, _ = read_config(folder / f"{name}.toml")
    base, _ = read_config(folder / f"{name}_study.toml")
    same = replace(base.data, subset=config.data.subset, validation=config.data.validation)
    assert replace(base, data=same) == config


def test_every_reference_system_has_a_file() -> None:
    assert {file.stem for file in TRAININGS if file.parent.name == "reference"} == set(ORIGINS)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("STUDIES_DATA"), reason="STUDIES_DATA is not set, so MNIST is missing")
@parametrize_trainings
def test_one_epoch_on_2000_images_is_better_than_chance(file: Path) -> None:
    config, _ = read_config(file)
    data = replace(config.data, subset=2_000, validation=500 if config.data.validation else 0)
    n_epochs = 100 if config.batch_size == "full" else 1  # an epoch is a single step
    result = retrain(replace(config, data=data, epochs=n_epochs), test=True)
    assert result.test is not None
    assert result.test["test/accuracy"] > 0.15
