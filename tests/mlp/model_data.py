"""Models, and how the tests change their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlp import Model, Training, save_model
from tests.mlp_data import blobs, small_config

DATA = blobs()


def trained(changes: dict[str, Any] | None = None) -> Training:
    config = small_config({"epochs": 2} | (changes or {}))
    training = Training(config, DATA.split(config.data, config.seed))
    training.run()
    return training


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: Path) -> Path:
    """A model saved as a folder."""
    return save_model(Model.of(trained(), DATA), tmp_path / "model")


@pytest.fixture(name="file")
def file_fixture(tmp_path: Path) -> Path:
    """A model saved as one file."""
    return save_model(Model.of(trained(), DATA), tmp_path / "model.json")


@pytest.fixture(name="place", params=["model", "model.json"])
def place_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A saved model, of either form."""
    return save_model(Model.of(trained(), DATA), tmp_path / request.param)


def manifest_of(place: Path) -> Path:
    return place if place.is_file() else place / "model.json"
