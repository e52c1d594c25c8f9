"""Studies whose driver is killed, or interrupted, while their end is published."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest

from studies.records.home import Home
from studies.tracking.mlflow_store import compare
from tests.studies.commands.shell import Shell, alive, descendants, interrupt, run_statuses, wait_until
from tests.studies.tracking.servers import Proxy, listening
from tests.studies.tracking.test_mlflow_store import serving


@pytest.mark.slow
def test_a_study_that_was_killed_while_its_end_was_published_is_completed_by_the_next_run(published: Shell) -> None:
    driver, folder = published.start("run", "study.toml"), published.home.study("digits")
    wait_until(folder.best.exists, 180)
    found = descendants(driver.pid) | {driver.pid}
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    driver.wait()
    wait_until(lambda: not alive(found), 5)
    assert not (folder.root / "published.json").exists()
    answer = published.studies("run", "study.toml")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("Study digits is complete. Publishing what MLflow does not have yet.\n")
    assert "complete: 6 of 6 trials. What MLflow did not have yet was published.\n" in answer.stdout
    assert len(run_statuses(published.home)) == 7
    assert compare(published.home, folder) == []
    assert len(list(published.home.artifacts.rglob("history.png"))) == 1
    answer = published.studies("run", "study.toml")
    assert answer.stdout.startswith("Study digits is complete: 6 of 6 trials. Nothing was changed.\n")


@pytest.mark.slow
def test_ctrl_c_ends_the_wait_for_a_slow_server_and_the_next_run_publishes_the_rest(published: Shell) -> None:
    server = Home(published.folder / "server")
    server.create()
    shutil.copy(published.home.mlflow_db, server.mlflow_db)
    with serving(server, 20_000 + os.getpid() % 10_000) as url:
        proxy = Proxy(url, seconds=1.0)
        with listening(proxy.answer) as address:
            driver = published.start("run", "study.toml", MLFLOW_TRACKING_URI=address)
            wait_until(published.home.study("digits").best.exists, 180)
            time.sleep(2.5)
            output, seconds = interrupt(driver, signal.SIGINT)
        assert driver.returncode == 0, "the study itself is complete"
        assert seconds < 15
        assert "\nPublishing to MLflow: " in output
        assert (
            "Not everything is in MLflow yet: waiting for it was interrupted\nThe next run will publish it." in output
        )
        answer = published.studies("run", "study.toml", MLFLOW_TRACKING_URI=url)
        assert "complete: 6 of 6 trials. What MLflow did not have yet was published.\n" in answer.stdout
    statuses = run_statuses(server)
    assert len(statuses) == 7
    assert "RUNNING" not in statuses.values()
