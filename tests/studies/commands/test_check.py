"""The command `check`, a study that waits for a locked database, and what a power cut or a kill leaves behind."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing

import pytest

from studies.records.results import load_study
from tests.studies.commands.shell import Shell, optuna_states, outcome, wait_until


@pytest.mark.slow
def test_check_lists_differences_from_mlflow_and_repairs_them(finished: Shell) -> None:
    answer = finished.studies("check", "digits")
    assert (answer.returncode, answer.stdout) == (0, "Study digits: everything that is recorded of it agrees.\n"), (
        answer
    )
    with closing(sqlite3.connect(finished.home.mlflow_db)) as database, database:
        database.execute("UPDATE runs SET status = 'RUNNING' WHERE name = 'trial 0002'")
        database.execute("UPDATE runs SET status = 'FAILED' WHERE name = 'digits'")
    answer = finished.studies("check", "digits")
    assert answer.returncode == 1
    assert "the study: MLflow shows FAILED instead of FINISHED\n" in answer.stdout
    assert "trial 2: MLflow shows RUNNING instead of " in answer.stdout
    answer = finished.studies("check", "digits", "--repair")
    assert answer.returncode == 0, answer
    assert answer.stdout.count("(published again)") == 2
    answer = finished.studies("check", "digits", "--repair")
    assert (answer.returncode, answer.stdout.count("\n")) == (0, 1), answer


@pytest.mark.slow
def test_a_damaged_database_ends_commands_with_one_line(finished: Shell) -> None:
    finished.home.root.joinpath("optuna.db").write_bytes(b"garbage")
    for command in (("run", "study.toml"), ("delete", "digits", "--yes")):
        answer = finished.studies(*command)
        assert answer.returncode == 1, answer
        assert answer.stderr.count("\n") == 1
        assert "optuna.db is damaged: file is not a database." in answer.stderr
        assert "studies check digits --repair" in answer.stderr
    assert finished.studies("check", "digits", "--repair").returncode == 0
    assert optuna_states(finished.home).total() == 6


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_study_that_waits_for_a_locked_database_says_so_and_can_be_interrupted(
    published: Shell, number: signal.Signals, code: int
) -> None:
    assert published.studies("run", "study.toml", "--no-publish", "--trials", "2").returncode == 0
    before = outcome(load_study("digits", published.home.root))
    with closing(sqlite3.connect(published.home.root / "optuna.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        driver = published.start("run", "study.toml", "--no-publish")
        assert driver.stdout is not None
        assert "Another process has locked" in driver.stdout.readline()
        driver.send_signal(number)
        wait_until(lambda: driver.poll() is not None, 15)
    output, errors = driver.communicate()
    assert (driver.returncode, errors) == (code, "")
    assert "The study stopped (interrupted). Nothing is lost." in output
    assert outcome(load_study("digits", published.home.root)) == before
    assert published.studies("run", "study.toml", "--no-publish").returncode == 0
    assert published.studies("check", "digits").returncode == 0
