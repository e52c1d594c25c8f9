"""Eight processes that start different studies in one empty home at the same moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from studies.records.home import Home
from studies.running.storage import open_storage
from tests.studies.commands.shell import COMMAND, STUDY, optuna_states

OPEN_AT_ONCE = """
import multiprocessing, sys, traceback
from pathlib import Path

import optuna
import sqlalchemy
from studies.records.home import Home
from studies.running.storage import StudyTable, open_storage


def start(number, home, barrier, problems):
    barrier.wait()
    try:
        home.create()
        StudyTable(open_storage(home.optuna_url), f"study{number}", ["maximize"]).rows()
        problems.put("")
    except Exception:
        problems.put(traceback.format_exc())


context = multiprocessing.get_context("fork")
for round in range(int(sys.argv[2])):
    home = Home(Path(sys.argv[1]) / str(round))
    barrier, problems = context.Barrier(8), context.Queue()
    processes = [context.Process(target=start, args=(number, home, barrier, problems)) for number in range(8)]
    for process in processes:
        process.start()
    print(*{problems.get() for _ in processes}, flush=True)
"""


@pytest.mark.slow
def test_eight_processes_open_the_database_of_an_empty_home_at_once(tmp_path: Path) -> None:
    rounds = 4
    answer = subprocess.run(
        [sys.executable, "-c", OPEN_AT_ONCE, str(tmp_path), str(rounds)], capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout) == (0, "\n" * rounds), answer.stderr
    for number in range(rounds):
        storage = open_storage(Home(tmp_path / str(number)).optuna_url)
        assert {study.study_name for study in storage.get_all_studies()} == {f"study{n}" for n in range(8)}
        storage.engine.dispose()


@pytest.mark.slow
def test_eight_studies_start_in_an_empty_home_at_once(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    options = ["--trials", "2", "--workers", "1", "--set", "epochs=1", "--no-publish"]
    commands = [[str(COMMAND), "run", "study.toml", "--name", f"study{number}", *options] for number in range(8)]
    started = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    for process in started:
        output, errors = process.communicate(timeout=300)
        assert (process.returncode, errors) == (0, "")
        assert "2 of 2 trials," in output
    assert set(optuna_states(Home(tmp_path / "mlruns"))) <= {"COMPLETE", "PRUNED"}
