"""The publisher as a real process beside a driver: finished, interrupted, killed, orphaned and without a server."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from studies.records.home import Home
from studies.tracking.mlflow_store import sync
from studies.tracking.publisher import Publisher, PublishOutcome
from tests.studies.tracking.test_mlflow_store import serving
from tests.tracking_data import (
    COMPLETE,
    PRUNED,
    FakeStudy,
    dump,
    four_trials,
    runs,
)

DRIVER = """
import sys, time
from pathlib import Path
from studies.records.home import Home
from studies.tracking.publisher import Publisher
home = Home(Path(sys.argv[1]))
publisher = Publisher.start(home, home.study("digits"))
while publisher.state["state"] != sys.argv[2]:
    time.sleep(0.05)
print(publisher.process.pid, flush=True)
time.sleep(1000)
"""


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> float:
    """Wait until a condition holds; return the seconds it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it took too long"
        time.sleep(0.02)
    return time.monotonic() - started


def is_alive(pid: int) -> bool:
    """Return whether a process is running; a zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def publishing(home: Home, study: FakeStudy) -> Publisher:
    """Return a publisher that has reached its store."""
    publisher = Publisher.start(home, study.folder)
    wait_until(lambda: publisher.state["state"] == "publishing")
    return publisher


def statuses(home: Home) -> dict[str, tuple[str, str]]:
    """Return the status of each run, and its tag for an interruption."""
    return {name: (run.info.status, run.data.tags.get("interrupted", "")) for name, run in runs(home).items()}


def test_the_handle_of_the_publisher_loads_no_heavy_library() -> None:
    heavy = "{'mlflow', 'optuna', 'matplotlib', 'pandas', 'numpy.testing'}"
    program = f"import studies.tracking.publisher, sys; print(sorted({heavy} & sys.modules.keys()))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


@pytest.mark.slow
def test_a_study_is_published_while_it_runs_and_completely_when_it_finishes(home: Home) -> None:
    study = FakeStudy(home, trials=3)
    study.advance(0, 1)
    publisher = publishing(home, study)
    wait_until(lambda: "trial 0000" in runs(home))
    assert statuses(home) == {"digits": ("RUNNING", ""), "trial 0000": ("RUNNING", "")}
    study.advance(0, 3, COMPLETE)
    study.advance(1, 2, PRUNED)
    study.advance(2, 3, COMPLETE)
    study.folder.best.write_text("seed = 3\n")
    assert publisher.finish() == PublishOutcome(drained=True)
    assert publisher.process.returncode == 0
    assert {name: status for name, (status, _) in statuses(home).items()} == {
        "digits": "FINISHED",
        "trial 0000": "FINISHED",
        "trial 0001": "KILLED",
        "trial 0002": "FINISHED",
    }
    assert len(list(home.artifacts.rglob("best.toml"))) == 1
    assert study.folder.publisher_log.read_text() == ""
    before = dump(home.mlflow_db)
    assert sync(home, study.folder) == 0
    assert dump(home.mlflow_db) == before


@pytest.mark.slow
def test_a_finished_study_has_its_configuration_table_and_plots_as_artifacts(home: Home) -> None:
    study = FakeStudy(home, trials=8)
    for number in range(3):
        study.advance(number, 1, COMPLETE)
    publisher = publishing(home, study)
    for number in range(3, 8):
        study.advance(number, 2, COMPLETE)
    study.folder.best.write_text("seed = 3\n")
    assert publisher.finish() == PublishOutcome(drained=True)
    assert set(statuses(home).values()) == {("FINISHED", "")}
    for name in ("best.toml", "trials.csv", "history.png", "importance.png"):
        assert len(list(home.artifacts.rglob(name))) == 1


@pytest.mark.slow
def test_an_interrupted_study_is_marked(home: Home) -> None:
    study = FakeStudy(home, trials=3)
    study.advance(0, 1)
    publisher = publishing(home, study)
    study.advance(1, 2, COMPLETE)
    study.advance(2, 2)
    started = time.monotonic()
    assert publisher.interrupt() == PublishOutcome(drained=True)
    assert time.monotonic() - started < 5
    beside = home.mlflow_db.with_name("mlflow.db-wal")
    assert not beside.exists() or not beside.stat().st_size, "the database is complete without SQLite's side files"
    assert statuses(home) == {
        "digits": ("KILLED", "true"),
        "trial 0000": ("KILLED", "true"),
        "trial 0001": ("FINISHED", ""),
        "trial 0002": ("KILLED", "true"),
    }


@pytest.mark.slow
def test_a_server_that_is_down_does_not_delay_the_end_of_a_study(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    study = four_trials(home)
    publisher = Publisher.start(home, study.folder)
    wait_until(lambda: publisher.state["state"] == "pending")
    started = time.monotonic()
    outcome = publisher.finish()
    assert time.monotonic() - started < 3
    assert not outcome.drained
    assert "no server answers" in outcome.error
    assert publisher.process.returncode == 3


@pytest.mark.slow
def test_the_publisher_exits_when_its_driver_dies(home: Home) -> None:
    study = FakeStudy(home, trials=2)
    study.advance(0, 1)
    command = [sys.executable, "-c", DRIVER, str(home.root), "publishing"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        pid = int(driver.stdout.readline())
        study.advance(1, 1)
        driver.kill()
    assert wait_until(lambda: not is_alive(pid)) < 4
    assert set(statuses(home).values()) == {("KILLED", "true")}


@pytest.mark.slow
def test_the_publisher_exits_when_its_driver_dies_even_if_the_server_hangs(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = four_trials(home)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts connections and never answers
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        command = [sys.executable, "-c", DRIVER, str(home.root), "starting"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
            assert driver.stdout is not None
            pid = int(driver.stdout.readline())
            connection = silent.accept()[0]
            driver.kill()
        with connection:
            assert wait_until(lambda: not is_alive(pid)) < 4
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert sync(home, study.folder) == 5


@pytest.mark.slow
@pytest.mark.parametrize("order", ["finish", "interrupt"])
def test_a_server_that_hangs_does_not_block_the_driver(home: Home, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    study = four_trials(home)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        publisher = Publisher.start(home, study.folder)
        with silent.accept()[0]:
            started = time.monotonic()
            outcome = publisher.finish() if order == "finish" else publisher.interrupt()
        assert time.monotonic() - started < (10 if order == "finish" else 6)
    assert not outcome.drained
    assert outcome.error


@pytest.mark.slow
def test_a_publisher_that_is_killed_leaves_no_duplicate_runs(home: Home) -> None:
    study = FakeStudy(home, trials=4)
    for number in range(3):
        study.advance(number, 3, COMPLETE)
        publisher = Publisher.start(home, study.folder)
        if number:
            wait_until(lambda publisher=publisher: publisher.state["state"] == "publishing")
            time.sleep(0.1 * (number - 1))
        publisher.process.kill()
        outcome = publisher.finish()
        assert not outcome.drained
        assert outcome.error == "the publisher ended with exit code -9"
    study.advance(3, 3, COMPLETE)
    publisher = publishing(home, study)
    assert publisher.finish() == PublishOutcome(drained=True)
    names = ["digits", *(f"trial {number:04d}" for number in range(4))]
    assert statuses(home) == dict.fromkeys(names, ("FINISHED", ""))


@pytest.mark.slow
def test_the_runs_of_a_resumed_study_are_running_again(home: Home) -> None:
    study = FakeStudy(home, trials=2)
    study.advance(0, 1)
    assert publishing(home, study).interrupt().drained
    publisher = publishing(home, study)
    wait_until(lambda: set(statuses(home).values()) == {("RUNNING", "")})
    study.advance(0, 2, COMPLETE)
    study.advance(1, 2, COMPLETE)
    assert publisher.finish().drained
    assert set(statuses(home).values()) == {("FINISHED", "")}


@pytest.mark.slow
def test_the_publisher_ignores_ctrl_c(home: Home) -> None:
    study = FakeStudy(home, trials=1)
    publisher = publishing(home, study)
    assert os.getpgid(publisher.process.pid) != os.getpgid(0)
    publisher.process.send_signal(signal.SIGINT)
    study.advance(0, 1, COMPLETE)
    assert publisher.finish().drained


@pytest.mark.slow
def test_publishing_resumes_when_the_server_comes_up(
    new_home: Callable[[str], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, server = new_home("home"), new_home("server")
    port = 20_000 + os.getpid() % 10_000
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    study = four_trials(home)
    publisher = Publisher.start(home, study.folder)
    wait_until(lambda: publisher.state["state"] == "pending")
    with serving(server, port):
        wait_until(lambda: publisher.state["state"] == "publishing")
        assert publisher.finish().drained
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert statuses(server)["digits"] == ("FINISHED", "")
    assert len(list(server.artifacts.rglob("history.png"))) == 1


@pytest.mark.slow
def test_a_publisher_that_does_not_exit_in_time_is_killed(home: Home) -> None:
    study = four_trials(home)
    publisher = publishing(home, study)
    publisher.process.send_signal(signal.SIGSTOP)
    outcome = publisher.interrupt(1.0)
    assert outcome == PublishOutcome(drained=False, error="the publisher did not finish within 1 s")
    assert not is_alive(publisher.process.pid)
