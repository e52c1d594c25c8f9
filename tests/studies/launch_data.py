"""Studies of the tests of `run_study`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studies.launch import (
    Launch,
    run_study,
)
from studies.records.home import Home
from tests.study_data import (
    NAME,
    empty_database,
)

STUDY = f"""
[study]
name = "{NAME}"
trials = 8
seed = 1
parallelism = 3
sampler = {{ name = "tpe", startup_trials = 3 }}
pruner = {{ name = "median", startup_trials = 2 }}

[confirm]
enabled = false

[base]
epochs = 3
batch_size = 128
data = {{ name = "digits" }}
network = {{ hidden = [8] }}
optimizer = {{ name = "adam", learning_rate = 0.01 }}

[space]
"network.activation" = ["relu", "tanh"]
"optimizer.learning_rate" = {{ low = 1e-4, high = 0.1, log = true }}
"""


Run = Callable[..., Launch]


@pytest.fixture(name="file")
def file_fixture(tmp_path: Path) -> Path:
    """The file of a small study."""
    file = tmp_path / "small.toml"
    file.write_text(STUDY)
    return file


@pytest.fixture(name="root")
def root_fixture(tmp_path: Path) -> Path:
    """A home with an empty database, because creating one takes a while."""
    home = Home(tmp_path / "home")
    home.create()
    (home.root / "optuna.db").write_bytes(empty_database())
    return home.root


@pytest.fixture(name="run")
def run_fixture(file: Path, root: Path) -> Run:
    """A function that launches the small study in this process, without MLflow."""

    def run(**options: Any) -> Launch:
        return run_study(file, **({"home": root, "engine": "in-process", "publish": False} | options))

    return run
