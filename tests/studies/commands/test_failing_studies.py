"""Studies in which something goes wrong: each ends with an account and an exit code, and resumes once it is mended."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from studies.records.results import load_study
from tests.studies.commands.shell import STUDY, Shell, outcome, wait_until, workers

pytestmark = pytest.mark.slow

HUGE = "[[16], [65_000, 65_000, 65_000]]"


def write(shell: Shell, *changes: tuple[str, str]) -> None:
    """Write the study file with some changes."""
    text = STUDY
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (shell.folder / "study.toml").write_text(text)


def test_every_trial_diverges(shell: Shell) -> None:
    write(
        shell,
        ('"adam", learning_rate = 0.01', '"sgd", learning_rate = 1e30'),
        ("low = 1e-4, high = 0.1", "low = 1e20, high = 1e30"),
        ('"relu", "tanh"', '"relu", "softplus"'),
    )
    answer = shell.studies("run", "study.toml", "--no-publish")
    assert answer.returncode == 1, answer.stderr
    assert "No trial is complete: 6 diverged." in answer.stdout
    assert "6 trials ended with diverged: 0, 1, 2, 3, 4, 5" in answer.stdout
    assert "Lower the highest learning rate in [space]" in answer.stdout
    write(shell)
    refused = shell.studies("run", "study.toml", "--no-publish")
    assert refused.returncode == 2
    assert "already exists with different settings" in refused.stderr
    assert shell.studies("run", "study.toml", "--no-publish", "--name", "mended").returncode == 0


def test_a_trial_needs_all_memory(shell: Shell) -> None:
    write(shell, ('"network.activation" = ["relu", "tanh"]', f'"network.hidden" = {HUGE}'))
    answer = shell.studies("run", "study.toml", "--no-publish")
    assert answer.returncode == 0, answer.stderr
    assert "ended with out_of_memory" in answer.stdout
    assert "GB of memory, and this machine has" in answer.stdout
    results = load_study("digits", shell.home.root)
    failed = [trial for trial in results.trials if trial.state == "failed"]
    assert failed
    assert results.best is not None
    assert all(trial.n_epochs == 0 for trial in failed)
    assert shell.studies("run", "study.toml", "--no-publish", "--trials", "8").returncode == 0
    assert outcome(load_study("digits", shell.home.root))[:6] == outcome(results)


def test_a_worker_hangs(shell: Shell) -> None:
    text = (shell.folder / "long.toml").read_text()
    (shell.folder / "long.toml").write_text(text.replace("trials = 40", "trials = 3\ntrial_seconds = 10"))
    driver = shell.start_long("--no-publish", "--workers", "2", "--set", "epochs=20")
    wait_until(lambda: len(workers(driver)) == 2)
    hanging, _ = workers(driver)
    os.kill(hanging, signal.SIGSTOP)
    output, errors = driver.communicate(timeout=200)
    assert driver.returncode == 0, errors
    assert "1 trial ended with timeout" in output
    states = [trial.state for trial in load_study("long", shell.home.root).trials]
    assert sorted(states) == ["complete", "complete", "failed"]


def test_trials_take_too_long(shell: Shell) -> None:
    write(
        shell,
        ("trials = 6", "trials = 3\ntrial_seconds = 0.5"),
        ("epochs = 3\nbatch_size = 128", "epochs = 500\nbatch_size = 1"),
    )
    answer = shell.studies("run", "study.toml")
    assert answer.returncode == 1, answer.stderr
    assert "3 trials ended with timeout: 0, 1, 2" in answer.stdout
    assert "the training has taken more than trial_seconds = 0.5" in answer.stdout
    shown = shell.studies("show", "digits", "1").stdout
    assert "failed (timeout)" in shown
    assert "more than trial_seconds = 0.5" in shown


def test_the_data_vanish_midway(shell: Shell, tmp_path: Path, cache: Path) -> None:
    own = shutil.copytree(cache, tmp_path / "own cache")
    driver = shell.start("run", "long.toml", "--no-publish", STUDIES_CACHE=str(own))
    wait_until(lambda: bool(shell.long.checkpoints()) or driver.poll() is not None)
    shutil.rmtree(own)
    for worker in workers(driver):
        os.kill(worker, signal.SIGKILL)
    _, errors = driver.communicate(timeout=100)
    assert driver.returncode == 1
    assert errors.startswith("error: The data set is gone: ")
    assert errors.rstrip().endswith("Run the study again to prepare the data again and to resume.")
    interrupted = load_study("long", shell.home.root)
    assert interrupted.counts()["failed"] == 0
    own.mkdir()
    answer = shell.studies("run", "long.toml", "--no-publish", "--trials", "5", STUDIES_CACHE=str(own))
    assert answer.returncode == 0, answer.stderr
    assert {trial.state for trial in load_study("long", shell.home.root).trials} == {"complete"}


def test_an_impossible_constraint(shell: Shell) -> None:
    write(shell, ("trials = 6", "trials = 6\nmax_parameters = 10"))
    refused = shell.studies("run", "study.toml", "--no-publish")
    assert refused.returncode == 2
    assert "has 1,210 parameters, but max_parameters is 10" in refused.stderr
    assert not shell.home.study("digits").root.exists()
    write(shell, ("trials = 6", "trials = 6\nmax_parameters = 2000"))
    assert shell.studies("run", "study.toml", "--no-publish").returncode == 0
