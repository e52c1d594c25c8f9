"""`studies run`, `list`, `show`, `export` and `sync`, run as a person would run them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import resource
import shlex
import socket
import subprocess
import tomllib
from collections import Counter

import pytest

from studies.commands.study_commands import parse_duration
from studies.models.export import read_config
from studies.records.results import load_study
from tests.studies.commands.shell import (
    COMMAND,
    NO_SERVER,
    Shell,
    assert_refused,
    optuna_states,
    outcome,
    run_statuses,
)
from tests.tracking_data import dump


def test_a_study_runs_to_its_end_and_prints_its_result(finished: Shell) -> None:
    printed = json.loads((finished.folder / "printed.json").read_text())
    output, results = printed["stdout"], load_study("digits", finished.home.root)
    assert (printed["code"], printed["stderr"]) == (0, "")
    assert "\x1b" not in output
    assert re.search(r"^6/6 trials · 0 running · .*best 0\.\d{4} \(trial \d\)", output, re.M)
    assert "Study digits: 6 of 6 trials, " in output
    best, default = results.ranked()[0], results.trials[0]
    assert best.value is not None
    assert default.value is not None
    assert re.search(rf"best \(trial {best.number}\) +base \(trial 0\)", output)
    assert re.search(rf"validation/accuracy +{best.value:.4f} +{default.value:.4f}", output)
    assert re.search(rf"network.activation +{best.params['network.activation']} +relu", output)
    export = re.search(r"^best configuration  (.+)$", output, re.M)
    assert export
    config, provenance = read_config(finished.folder / export[1])
    assert config == results.config(best.number)
    assert provenance is not None
    assert (provenance.trial, provenance.value) == (best.number, best.value)


def test_a_finished_study_is_complete_in_optuna_and_in_mlflow(finished: Shell) -> None:
    results = load_study("digits", finished.home.root)
    counts = results.counts()
    assert counts["pruned"], "the tests need a study with a pruned trial"
    assert optuna_states(finished.home) == Counter(COMPLETE=counts["complete"], PRUNED=counts["pruned"])
    status = {"complete": "FINISHED", "pruned": "KILLED"}
    expected = {f"trial {trial.number:04d}": status[trial.state] for trial in results.trials}
    assert run_statuses(finished.home) == {"digits": "FINISHED"} | expected
    assert not list(finished.home.study("digits").trials.glob("*.npz"))


def test_running_a_complete_study_again_changes_nothing(finished: Shell) -> None:
    databases = [finished.home.root / "optuna.db", finished.home.mlflow_db]
    before = finished.files(), [dump(database) for database in databases]
    answer = finished.studies("run", "study.toml")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("Study digits is complete: 6 of 6 trials. Nothing was changed.")
    assert (finished.files(), [dump(database) for database in databases]) == before


@pytest.mark.slow
def test_a_raised_total_keeps_all_trials_and_adds_the_rest(finished: Shell) -> None:
    before = outcome(load_study("digits", finished.home.root))
    answer = finished.studies("run", "study.toml", "--trials", "8", "--no-publish")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "8 of 8 trials," in answer.stdout
    after = outcome(load_study("digits", finished.home.root))
    assert (len(after), after[:6]) == (8, before)
    assert optuna_states(finished.home).total() == 8


@pytest.mark.slow
def test_name_and_set_make_another_study(finished: Shell) -> None:
    before = outcome(load_study("digits", finished.home.root))
    changes = ["--set", "network.activation=tanh", "--set", "network.hidden=[12]", "--trials", "1"]
    answer = finished.studies("run", "study.toml", "--name", "other", *changes, "--no-publish")
    assert (answer.returncode, answer.stderr) == (0, "")
    other = load_study("other", finished.home.root)
    assert list(other.record.space) == ["optimizer.learning_rate"], "a searched path becomes fixed"
    assert other.config(0).network.to_mapping()["activation"] == "tanh"
    assert other.config(0).network.hidden == (12,)
    assert outcome(load_study("digits", finished.home.root)) == before


@pytest.mark.slow
def test_in_a_terminal_the_progress_is_redrawn_in_place(shell: Shell) -> None:
    terminal, inside = pty.openpty()
    command = [COMMAND, "run", "study.toml", "--trials", "2", "--no-publish"]
    environment = shell.environment({"TERM": "xterm-256color"})
    with os.fdopen(terminal, "rb", buffering=0) as screen:
        process = subprocess.Popen(command, cwd=shell.folder, env=environment, stdout=inside, stderr=inside)
        os.close(inside)
        shown = b""
        with contextlib.suppress(OSError):  # a terminal raises when its last process has ended
            while part := screen.read(4096):
                shown += part
        assert process.wait(60) == 0
    assert b"\x1b[2K" in shown, "lines are redrawn"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(r"^.*\d/2 trials · \d running", plain, re.M)
    assert "Study digits: 2 of 2 trials," in plain


def test_a_dry_run_shows_the_plan_and_writes_nothing(shell: Shell) -> None:
    before = shell.files()
    answer = shell.studies("run", "study.toml", "--dry-run", "--name", "another", "--trials", "9")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.search(r"^study +another: up to 9 trials, 2 in parallel", answer.stdout, re.M)
    assert re.search(r"^ *optimizer.learning_rate +0.01 +0.0001 to 0.1, log", answer.stdout, re.M)
    assert "Nothing was run." in answer.stdout
    assert shell.files() == before
    assert not shell.home.root.exists()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90.0), ("10m", 600.0), ("1h30m", 5400.0), ("1h1m1.5s", 3661.5), ("45", 45.0), (" 0.5s ", 0.5)],
)
def test_a_timeout_is_read_in_hours_minutes_and_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.slow
def test_a_running_study_cannot_be_run_again_or_deleted(shell: Shell) -> None:
    driver = shell.start_long("--no-publish")
    owner = rf'study "long" is being run by process {driver.pid} on {socket.gethostname()}, started 20\d\d-'
    for command in (["run", "long.toml"], ["delete", "long", "--yes"]):
        answer = shell.studies(*command)
        assert answer.returncode == 2
        assert re.fullmatch(rf"error: {owner}\S+ \S+\.\n", answer.stderr)
    assert driver.poll() is None
    assert shell.long.record.exists()


@pytest.mark.slow
def test_a_study_in_which_every_trial_fails_exits_with_1_and_keeps_the_reasons(shell: Shell) -> None:
    limit = 4 << 30
    answer = subprocess.run(
        [COMMAND, "run", "study.toml", "--set", "network.hidden=[60000, 60000]", "--trials", "2", "--no-publish"],
        cwd=shell.folder,
        env=shell.environment({}),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),  # whatever the machine has
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (answer.returncode, answer.stderr) == (1, "")
    assert "No trial is complete: 2 out_of_memory." in answer.stdout
    endings = [trial.ending for trial in load_study("digits", shell.home.root).trials]
    assert [(ending.state, ending.reason) for ending in endings if ending] == [("failed", "out_of_memory")] * 2
    assert optuna_states(shell.home) == Counter(FAIL=2)
    shown = shell.studies("show", "digits", "1")
    assert "failed (out_of_memory)" in shown.stdout
    assert "GB of memory, and this machine has " in shown.stdout
    assert_refused(shell.studies("export", "digits"), 'study "digits" has no complete trial yet')


def test_studies_are_listed_with_their_best_values(finished: Shell) -> None:
    best = load_study("digits", finished.home.root).ranked()[0]
    answer = finished.studies("list")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.search(
        rf"^ *digits +6/6 +{best.value:.4f} \(trial {best.number}\) +validation/accuracy +20", answer.stdout, re.M
    )


def test_listing_an_empty_home_prints_how_to_run_a_study_and_creates_nothing(shell: Shell) -> None:
    answer = shell.studies("list", STUDIES_HOME=str(shell.folder / "elsewhere"))
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == (
        f"There are no studies in {shell.folder / 'elsewhere'} yet.\nRun one with: studies run FILE\n"
    )
    assert not (shell.folder / "elsewhere").exists()


def test_a_study_is_shown_with_its_best_trials_in_order(finished: Shell) -> None:
    results = load_study("digits", finished.home.root)
    answer = finished.studies("show", "digits", "--top", "2")
    assert (answer.returncode, answer.stderr) == (0, "")
    counts = results.counts()
    assert f"6 of 6 trials: {counts['complete']} complete, {counts['pruned']} pruned" in answer.stdout
    rows = re.findall(r"^ +(\d+) +(0\.\d{4}) ", answer.stdout, re.M)
    assert rows == [(str(trial.number), f"{trial.value:.4f}") for trial in results.top(2)]


def test_a_trial_is_shown_in_full(finished: Shell) -> None:
    trial = load_study("digits", finished.home.root).ranked()[0]
    answer = finished.studies("show", "digits", str(trial.number))
    assert (answer.returncode, answer.stderr) == (0, "")
    assert f"trial {trial.number} of digits: complete, validation/accuracy {trial.value:.6g}" in answer.stdout
    assert trial.ending is not None
    assert trial.ending.weight_digest in answer.stdout
    assert re.search(rf"^ *network.activation +{trial.params['network.activation']} *$", answer.stdout, re.M)
    assert re.search(r"^ *batch_size +128 *$", answer.stdout, re.M)
    for epoch, value in enumerate(trial.history["validation/accuracy"], start=1):
        assert re.search(rf"^ +{epoch} .* {value:.4f} *$", answer.stdout, re.M)


def test_the_best_trial_is_exported_to_the_default_file_or_to_a_given_one(finished: Shell) -> None:
    best = load_study("digits", finished.home.root).ranked()[0].number
    answer = finished.studies("export", "digits")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.search(r"^configuration +experiments/best/digits.toml$", answer.stdout, re.M)
    assert finished.studies("export", "digits", "-o", "here.toml").returncode == 0
    for file in ("experiments/best/digits.toml", "here.toml"):
        assert tomllib.loads((finished.folder / file).read_text())["provenance"]["trial"] == best


@pytest.mark.slow
def test_a_complete_trial_can_be_exported_and_a_pruned_one_is_refused(finished: Shell) -> None:
    results = load_study("digits", finished.home.root)
    worst = results.ranked()[-1].number
    assert finished.studies("export", "digits", str(worst)).returncode == 0
    config, provenance = read_config(finished.folder / f"experiments/best/digits-{worst}.toml")
    assert config == results.config(worst)
    assert provenance is not None
    assert provenance.trial == worst
    pruned = next(trial.number for trial in results.trials if trial.state == "pruned")
    answer = finished.studies("export", "digits", str(pruned))
    assert_refused(
        answer, f'trial {pruned} of study "digits" is pruned (pruner). Only complete trials can be exported.'
    )
    assert not (finished.folder / f"experiments/best/digits-{pruned}.toml").exists()


@pytest.mark.slow
def test_a_study_finishes_without_its_mlflow_server_and_is_published_later(published: Shell) -> None:
    answer = published.studies("run", "study.toml", MLFLOW_TRACKING_URI=NO_SERVER)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "6 of 6 trials," in answer.stdout
    later = r"^Not everything is in MLflow yet: .+\nThe next run will publish it. To publish it now: studies (.+)$"
    pending = re.search(later, answer.stdout, re.M)
    assert pending
    assert run_statuses(published.home) == {}
    answer = published.studies(*shlex.split(pending[1]))
    assert (answer.returncode, answer.stderr) == (0, "")
    store = f"sqlite:///{published.home.mlflow_db}"
    assert answer.stdout == f"Study digits is up to date in {store}; runs written: 7.\n"
    states = [trial.state for trial in load_study("digits", published.home.root).trials]
    told = Counter("KILLED" if state == "pruned" else "FINISHED" for state in ["the study's", *states])
    assert Counter(run_statuses(published.home).values()) == told


def test_trials_are_compared_and_drawn(finished: Shell) -> None:
    answer = finished.studies(
        *("compare", "digits/0", "digits/1", "digits", "--seeds", "2", "--workers", "1", "-o", "figures/curves.png")
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "validation/accuracy after epoch" in answer.stdout
    assert "on 2 fresh seeds and splits" in answer.stdout
    assert (finished.folder / "figures" / "curves.png").read_bytes().startswith(b"\x89PNG")
    refused = finished.studies("compare", "digits/0", "digits/1", "-o", "curves.txt")
    assert refused.returncode == 2
    assert "the name of the figure must end in .png" in refused.stderr
