"""The trial table is the same, bit for bit, for every engine, and however often processes are killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from studies.records.home import Home
from studies.records.results import load_study
from studies.records.trial_log import read_log
from studies.running.storage import open_storage
from tests.tracking_data import home_fixture, migrated_db_fixture  # noqa: F401 - fixtures

CHILD = Path(__file__).parent / "crash_child.py"

STUDY = """
[study]
name = "crash"
trials = 32
parallelism = 4
seed = 3
sampler = { name = "tpe", startup_trials = 8 }
pruner = { name = "median", startup_trials = 4, min_epochs = 3 }

[confirm]
enabled = false

[base]
epochs = 24
batch_size = 32
data = { name = "digits", validation = 0.2 }
network = { hidden = { depth = 2, width = 64 } }
optimizer = { name = "adam", learning_rate = 1e-3 }
early_stopping = { patience = 6 }

[space]
"network.hidden.depth" = { low = 1, high = 3 }
"network.hidden.width" = { low = 16, high = 512, log = true }
"network.activation" = ["relu", "tanh"]
optimizer = ["adam", { name = "sgd", momentum = 0.9 }]
"optimizer.learning_rate" = { low = 1e-4, high = 3.0, log = true }
schedule = ["constant", "exponential"]
"schedule.factor" = { low = 0.8, high = 0.99, when = { schedule = "exponential" } }
batch_size = [8, 16, 32]
"""

Table = list[tuple[Any, ...]]


def write_study(folder: Path) -> Path:
    file = folder / "crash.toml"
    file.write_text(STUDY)
    return file


def start(file: Path, home: Path, segments: Path, *arguments: str) -> subprocess.Popen[str]:
    # With -P the child's own folder is not searched for modules: it has folders named like the packages.
    command = [sys.executable, "-P", str(CHILD), str(file), str(home), str(segments), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def finish(child: subprocess.Popen[str]) -> str:
    output, _ = child.communicate(timeout=300)
    assert child.returncode == 0
    return output.strip()


def bits(value: Any) -> Any:
    return value.hex() if isinstance(value, float) else value


def trial_table(home: Path) -> Table:
    """Return number, parameters, state, value and every intermediate value of each trial, floats to the last bit."""
    import optuna

    study = optuna.load_study(study_name="crash", storage=open_storage(Home(home).optuna_url))
    return [
        (
            trial.number,
            tuple(sorted((path, bits(value)) for path, value in trial.params.items())),
            trial.state.name,
            bits(trial.value),
            tuple(sorted((step, bits(value)) for step, value in trial.intermediate_values.items())),
        )
        for trial in study.get_trials(deepcopy=False)
    ]


def epoch_costs(home: Path) -> list[int]:
    import optuna

    study = optuna.load_study(study_name="crash", storage=open_storage(Home(home).optuna_url))
    return [trial.user_attrs["epoch_cost"] for trial in study.get_trials(deepcopy=False)]


def unfinished(home: Path) -> list[int]:
    """Return the trials that have a checkpoint and have not ended."""
    folder = Home(home).study("crash")
    found = []
    for checkpoint in folder.trials.glob("*.npz"):
        record = read_log(folder.log(int(checkpoint.stem)), folder.read_record().identity)
        if record is not None and record.ending is None:
            found.append(record.number)
    return found


def check_mlflow(home: Path) -> None:
    """Check that each trial has one run, that no run is RUNNING, and that every epoch is published exactly once."""
    from mlflow.tracking import MlflowClient

    results = load_study("crash", home)
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("crash")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert [run.info.status for run in runs].count("RUNNING") == 0
    by_trial = {run.data.tags["trial"]: run for run in runs if "trial" in run.data.tags}
    assert len(runs) == len(results.trials) + 1
    assert sorted(map(int, by_trial)) == [trial.number for trial in results.trials]
    statuses = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
    for trial in results.trials:
        run = by_trial[str(trial.number)]
        assert run.info.status == statuses[trial.state]
        for key, values in trial.history.items():
            logged = client.get_metric_history(run.info.run_id, key)
            assert [(metric.step, metric.value) for metric in sorted(logged, key=lambda m: m.step)] == list(
                enumerate(values, start=1)
            )


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """The table that the in-process engine computes without interruption."""
    folder = tmp_path_factory.mktemp("reference")
    assert finish(start(write_study(folder), folder / "home", folder / "segments", "in-process")) == "complete"
    return trial_table(folder / "home")


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_table_is_the_same_for_any_number_of_workers(tmp_path: Path, reference: Table, workers: str) -> None:
    assert finish(start(write_study(tmp_path), tmp_path / "home", tmp_path / "segments", workers)) == "complete"
    assert trial_table(tmp_path / "home") == reference


@pytest.mark.slow
def test_the_study_of_these_tests_has_many_pruned_and_complete_trials(reference: Table) -> None:
    states = [state for _, _, state, _, _ in reference]
    assert len(states) >= 30
    assert states.count("PRUNED") >= 5
    assert states.count("COMPLETE") >= 5


@pytest.mark.slow
def test_a_study_killed_ten_times_has_the_same_table(home: Home, tmp_path: Path, reference: Table) -> None:
    segments, file = tmp_path / "segments", write_study(tmp_path)
    dice = random.Random(11)
    kills, marks = 0, []
    for _ in range(40):
        marks.append(len(segments.read_text().splitlines()) if segments.exists() else 0)
        child = start(file, home.root, segments, "2")
        deadline = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < deadline and not progressed(segments, marks[-1]):
            time.sleep(0.01)
        time.sleep(dice.uniform(0.0, 0.7))
        if kills >= 12 or child.poll() is not None:
            break
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        kills += bool(unfinished(home.root))
    assert kills >= 10, "the study ended before it was killed ten times during an unfinished trial"
    assert finish(child) == "complete"
    assert trial_table(home.root) == reference
    costs = epoch_costs(home.root)
    assert max(costs) >= 5 * min(costs)
    assert_little_is_repeated(segments, marks)
    check_mlflow(home.root)


def progressed(segments: Path, mark: int) -> bool:
    """Return whether this launch has submitted more segments than it has workers, so that some have returned."""
    return segments.exists() and len(segments.read_text().splitlines()) >= mark + 4


def assert_little_is_repeated(segments: Path, marks: list[int]) -> None:
    """Check that no trial lost more than one segment: it resumes where its last segment began, or later."""
    lines = [tuple(map(int, line.split())) for line in segments.read_text().splitlines()]
    last_start: dict[int, int] = defaultdict(int)
    for begin, end in zip(marks, [*marks[1:], len(lines)], strict=True):
        for trial, first, _ in lines[begin:end]:
            assert first >= last_start[trial], f"trial {trial} lost more than a segment"
            last_start[trial] = first


@pytest.mark.slow
def test_killed_workers_do_not_change_the_table(tmp_path: Path, reference: Table) -> None:
    segments = tmp_path / "segments"
    assert finish(start(write_study(tmp_path), tmp_path / "home", segments, "2", "10")) == "complete"
    assert len(Path(f"{segments}.kills").read_text().splitlines()) >= 5
    assert trial_table(tmp_path / "home") == reference
