"""A study that is killed at any of its durable writes, and run again, is the undisturbed study."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from studies.check import check_study
from studies.records.confirmation_record import read_confirm_trainings
from studies.records.home import Home
from studies.records.results import load_study
from tests.kill_points import LAST
from tests.study_data import prepared_digits  # noqa: F401 - a fixture
from tests.tracking_data import content, home_with, migrated_db_fixture  # noqa: F401 - fixtures

CHILD = Path(__file__).parent / "kill_points.py"
STUDY = f"""
[study]
name = "digits"
trials = {LAST + 1}
seed = 1
parallelism = 2
sampler = {{ name = "tpe", startup_trials = 3 }}
pruner = {{ name = "asha", min_epochs = 1, factor = 2 }}

[confirm]
top = 1
seeds = 2

[base]
epochs = 2
batch_size = 256
data = {{ name = "digits" }}
network = {{ hidden = [8] }}
optimizer = {{ name = "sgd", learning_rate = 0.01 }}

[space]
"optimizer.learning_rate" = [0.01, 0.1, 1e30]
"""
EVERY = int(os.environ.get("STUDIES_TEST_EVERY", "9"))  # 1 kills the study at every write, which takes minutes


def kill_at(mode: str, source: Path, folder: Path, first: int) -> list[dict[str, Any]]:
    """Kill a study at every ninth write from `first` on; return what happened, the end excluded."""
    folder.mkdir()
    command = [sys.executable, "-P", str(CHILD), mode, str(source), str(folder), str(first), str(EVERY)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=3000)
    *kills, end = map(json.loads, answer.stdout.splitlines())
    assert end["end"].endswith(" writes"), end
    assert len(kills) == len(range(first, int(end["end"].split()[0]) + 1, EVERY)) > 3
    return kills


def table(home: Home) -> list[Any]:
    """Return everything that the logs record, except times, and that Optuna's rows are the same is in `check_study`."""
    results = load_study("digits", home.root)
    return [
        (trial.number, trial.params, trial.state, trial.value, trial.history, trial.place, trial.attributes)
        for trial in (*results.trials, *read_confirm_trainings(home.study("digits"), results))
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize("first", range(1, EVERY + 1, 3))
def test_a_study_that_is_killed_at_a_durable_write_and_run_again_is_the_undisturbed_study(
    tmp_path: Path, first: int
) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    kills = kill_at("run", tmp_path / "study.toml", tmp_path / "homes", first)
    undisturbed = table(Home(tmp_path / "homes" / "undisturbed"))
    verdict = Home(tmp_path / "homes" / "undisturbed").study("digits").confirmation.read_bytes()
    assert {trial[2] for trial in undisturbed} >= {"complete", "failed"}
    for kill in kills:
        assert kill["then"] in ("complete", "already complete"), kill
        home = Home(tmp_path / "homes" / str(kill["number"]))
        assert table(home) == undisturbed, kill
        assert check_study(home, "digits").differences == [], kill
        assert home.study("digits").best.is_file(), kill
        assert home.study("digits").confirmation.read_bytes() == verdict, kill
        left = [path.name for path in home.study("digits").root.rglob("*.npz")]
        assert left == [], kill


@pytest.mark.slow
@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize("first", range(1, EVERY + 1, 3))
def test_a_publisher_that_is_killed_at_a_durable_write_and_started_again_publishes_the_same(
    tmp_path: Path, migrated_db: Path, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "study.toml").write_text(STUDY)
    source = home_with(migrated_db, tmp_path)
    command = [sys.executable, "-P", "-m", "studies", "run", str(tmp_path / "study.toml"), "--no-publish"]
    subprocess.run([*command, "--home", str(source.root)], check=True, capture_output=True)
    kills = kill_at("publish", source.root, tmp_path / "homes", first)
    undisturbed = content(Home(tmp_path / "homes" / "undisturbed"))
    for kill in kills:
        assert kill["then"] == "0", kill
        home = Home(tmp_path / "homes" / str(kill["number"]))
        assert content(home) == undisturbed, kill
        assert check_study(home, "digits").differences == [], kill
    shutil.rmtree(tmp_path / "homes")
