"""Studies that are interrupted, killed or out of time, and resumed."""

from __future__ import annotations

import os
import re
import shlex
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from studies.records.home import Home
from studies.records.results import load_study
from tests.studies.commands.shell import (
    SLOW_EPOCHS,
    Shell,
    alive,
    children,
    interrupt,
    optuna_states,
    outcome,
    query,
    run_statuses,
    wait_until,
    workers,
)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_study_stops_soon_and_prints_how_to_resume(
    shell: Shell, number: signal.Signals, code: int
) -> None:
    driver = shell.start_long("--no-publish", "--workers", "9")
    wait_until(lambda: len(list(shell.long.trials.glob("*.npz"))) == 2)
    found = workers(driver)
    assert len(found) == 2, "the study has a parallelism of 2"
    output, seconds = interrupt(driver, number)
    assert driver.returncode == code
    assert seconds < 10
    assert "(interrupted). Nothing is lost.\nResume with: studies run long.toml --no-publish --workers 9\n" in output
    assert optuna_states(shell.home) == Counter(RUNNING=2)
    wait_until(lambda: not alive(found), 5)


@pytest.mark.slow
def test_a_second_ctrl_c_stops_the_study_at_once(shell: Shell) -> None:
    driver = shell.start_long("--no-publish", "--workers", "1", *SLOW_EPOCHS)
    found = workers(driver)
    os.killpg(driver.pid, signal.SIGINT)
    time.sleep(1)
    assert driver.poll() is None, "the first Ctrl-C waits for the running epoch"
    started = time.monotonic()
    os.killpg(driver.pid, signal.SIGINT)
    output, errors = driver.communicate(timeout=60)
    assert time.monotonic() - started < 2
    assert (driver.returncode, output, "Traceback" in errors) == (130, "", False)
    assert len(found) == 1
    wait_until(lambda: not alive(found), 5)


@pytest.mark.slow
def test_workers_and_publisher_end_when_the_driver_is_killed(published: Shell) -> None:
    driver = published.start_long("--workers", "2", *SLOW_EPOCHS)
    wait_until(lambda: len(children(driver.pid)) == 3)  # two workers and the publisher
    others = children(driver.pid)
    driver.kill()
    wait_until(lambda: not alive(others), 5)


def interrupted_runs(home: Home) -> set[str]:
    """Return the runs with the tag `interrupted`."""
    marked = "SELECT name FROM runs JOIN tags USING (run_uuid) WHERE tags.key = 'interrupted' AND tags.value = 'true'"
    return {name for (name,) in query(home.mlflow_db, marked)}


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_study_is_marked_in_mlflow_until_it_is_resumed(
    published: Shell, number: signal.Signals, code: int
) -> None:
    driver = published.start_long("--trials", "2", "--workers", "2")
    wait_until(lambda: len(list(published.long.trials.glob("*.npz"))) == 2)
    found = workers(driver)
    for pid in found:
        os.kill(pid, signal.SIGSTOP)  # so that no trial finishes before MLflow shows all of them
    runs = {"long", "trial 0000", "trial 0001"}
    wait_until(lambda: run_statuses(published.home) == dict.fromkeys(runs, "RUNNING"), 180)
    for pid in found:
        os.kill(pid, signal.SIGCONT)
    output, seconds = interrupt(driver, number)
    assert (driver.returncode, "Not everything is in MLflow" in output) == (code, False)
    assert seconds < 10
    assert run_statuses(published.home) == dict.fromkeys(runs, "KILLED")
    assert interrupted_runs(published.home) == runs
    assert optuna_states(published.home) == Counter(RUNNING=2)
    again = re.search(r"^Resume with: studies (.+)$", output, re.M)
    assert again
    answer = published.studies(*shlex.split(again[1]))
    assert (answer.returncode, answer.stderr) == (0, "")
    assert optuna_states(published.home) == Counter(COMPLETE=2)
    assert run_statuses(published.home) == dict.fromkeys(runs, "FINISHED")
    assert interrupted_runs(published.home) == set()


@pytest.mark.slow
def test_a_study_out_of_time_is_resumed_by_the_command_that_it_prints(shell: Shell, finished_once: Path) -> None:
    answer = shell.studies("run", "study.toml", "--no-publish", "--timeout", "0.01s")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert optuna_states(shell.home) == Counter(RUNNING=2)
    again = re.search(
        r"^The study stopped \(out of time\). Nothing is lost\.\nResume with: studies (.+)$", answer.stdout, re.M
    )
    assert again
    answer = shell.studies(*shlex.split(again[1].replace("0.01s", "10m")))
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "6 of 6 trials," in answer.stdout
    undisturbed = load_study("digits", finished_once / "mlruns")
    assert outcome(load_study("digits", shell.home.root)) == outcome(undisturbed)


@pytest.mark.slow
def test_a_killed_study_is_shown_as_interrupted(shell: Shell) -> None:
    driver = shell.start_long("--no-publish", "--workers", "1")
    assert re.search(r"\d running", shell.studies("show", "long").stdout)
    assert "/40, running" in shell.studies("list").stdout
    driver.kill()
    driver.wait()
    shown = shell.studies("show", "long").stdout
    assert re.search(r"\d interrupted", shown)
    assert "running" not in shown
    assert "/40, interrupted" in shell.studies("list").stdout
    assert "trial 0 of long: interrupted" in shell.studies("show", "long", "0").stdout


@pytest.mark.slow
def test_a_run_in_which_no_epoch_fits_says_so(shell: Shell) -> None:
    slow = ("--set", "network.hidden=[8192, 8192]", "--set", "batch_size=1")
    answer = shell.studies("run", "long.toml", "--no-publish", "--workers", "1", "--timeout", "1s", *slow)
    assert "The study stopped (out of time). Not even one epoch was finished in that time" in answer.stdout
    assert "Nothing is lost" not in answer.stdout
    assert "Raise --timeout." in answer.stdout
