"""The workflow as a person goes through it: the real command, in processes of its own, in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import resource
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mlp.model_io import load_model
from studies.commands.app import parse_duration
from studies.data.cache import open_cached
from studies.data.prepare import prepare_data
from studies.models.export import read_config
from studies.models.retrain import retrain
from studies.records.home import Home, StudyFolder
from studies.records.results import StudyResults, load_study
from tests.tracking_data import dump, migrated_db_fixture  # noqa: F401 - a fixture

COMMAND = Path(sys.executable).with_name("studies")
NOWHERE = "http://127.0.0.1:9"  # nobody listens there
OURS = ("STUDIES_", "MLFLOW_", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

STUDY = """
[study]
name = "digits"
trials = 6
seed = 1
parallelism = 2
sampler = { name = "tpe", startup_trials = 3 }
pruner = { name = "median", startup_trials = 1 }

[base]
epochs = 3
batch_size = 128
data = { name = "digits" }
network = { hidden = [16] }
optimizer = { name = "adam", learning_rate = 0.01 }

[space]
"network.activation" = ["relu", "tanh"]
"optimizer.learning_rate" = { low = 1e-4, high = 0.1, log = true }
"""

# A trial of it takes some seconds, so that there is time to disturb it.
LONG = """
[study]
name = "long"
trials = 40
parallelism = 2

[base]
epochs = 100
batch_size = 32
data = { name = "digits" }
network = { hidden = [256, 256] }

[space]
"network.activation" = ["relu", "tanh"]
"""
SLOW_EPOCHS = ("--set", "network.hidden=[2048, 2048]", "--set", "batch_size=1")  # each takes several seconds

Answer = subprocess.CompletedProcess[str]


class Shell:
    """Runs `studies` as a person would: in a folder, where study files are and runs go.

    Args:
        folder: that folder.
        cache: where data sets are kept.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.home = Home(folder / "mlruns")
        self._cache = cache
        self._started: list[subprocess.Popen[str]] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "study.toml").write_text(STUDY)
        (folder / "long.toml").write_text(LONG)

    def studies(self, *arguments: str, typed: str = "", **variables: str) -> Answer:
        """Run a command to its end."""
        return subprocess.run(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(variables),
            input=typed,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command, in a process group of its own as a terminal would."""
        process = subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def start_long(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the long study; return once it computes."""
        driver = self.start("run", "long.toml", *arguments)
        wait_until(lambda: bool(self.long.logs()) or driver.poll() is not None)
        assert driver.poll() is None, driver.communicate()
        return driver

    @property
    def long(self) -> StudyFolder:
        """The files of the long study."""
        return self.home.study("long")

    def environment(self, variables: dict[str, str]) -> dict[str, str]:
        """Return the environment of a command."""
        clean = {name: value for name, value in os.environ.items() if not name.upper().startswith(OURS)}
        return clean | {"STUDIES_CACHE": str(self._cache)} | variables

    def files(self) -> dict[str, bytes]:
        """Return the content of every file in the folder but the databases."""
        found = (file for file in self.folder.rglob("*") if file.is_file() and ".db" not in file.name)
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in found}

    def close(self) -> None:
        """End what was started and still runs."""
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> float:
    """Wait until a condition holds; return how long that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it took too long"
        time.sleep(0.02)
    return time.monotonic() - started


def parents() -> dict[int, int]:
    """Return the parent of each process that runs."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = file.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it has just ended
        if state != "Z":
            found[int(file.parent.name)] = int(parent)
    return found


def children(pid: int) -> set[int]:
    """Return the processes that a process has started and that still run."""
    return {child for child, parent in parents().items() if parent == pid}


def workers(driver: subprocess.Popen[str]) -> set[int]:
    """Return the processes of a driver that compute."""
    return {pid for pid in children(driver.pid) if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()}


def descendants(pid: int) -> set[int]:
    """Return all that a process has started, directly or not, and that still runs."""
    found = children(pid)
    return found.union(*(descendants(child) for child in found))


def alive(pids: set[int]) -> set[int]:
    """Return those of some processes that still run."""
    return pids & parents().keys()


def query(database: Path, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows that a database answers with."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(statement).fetchall()


def optuna_states(home: Home) -> Counter[str]:
    """Return how many trials Optuna has in each state."""
    return Counter(state for (state,) in query(home.root / "optuna.db", "SELECT state FROM trials"))


def run_statuses(home: Home) -> dict[str, str]:
    """Return the status of each run in MLflow."""
    return dict(query(home.mlflow_db, "SELECT name, status FROM runs"))


def interrupted_runs(home: Home) -> set[str]:
    """Return the runs that are marked as interrupted."""
    marked = "SELECT name FROM runs JOIN tags USING (run_uuid) WHERE tags.key = 'interrupted' AND tags.value = 'true'"
    return {name for (name,) in query(home.mlflow_db, marked)}


def outcome(results: StudyResults) -> list[tuple[Any, ...]]:
    """Return what each trial came to."""
    return [(t.number, t.params, t.state, t.value, t.history) for t in results.trials]


@pytest.fixture(scope="session", name="cache")
def cache_fixture(migrated_db: Path) -> Path:
    """Return a cache with the digits in it, the same for all processes of a test session."""
    cache = migrated_db.parents[1] / "cli-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIES_CACHE", str(cache))
        prepare_data("digits")
    return cache


@pytest.fixture(scope="session", name="finished_once")
def finished_once_fixture(migrated_db: Path, cache: Path) -> Path:
    """Return a folder where a study has run to its end, and what that printed. It is for copying only."""
    folder = migrated_db.parents[1] / "finished"
    with FileLock(f"{folder}.lock"):
        if not (folder / "printed.json").exists():
            shell = Shell(folder, cache)
            shell.home.create()
            shutil.copy(migrated_db, shell.home.mlflow_db)
            answer = shell.studies("run", "study.toml")
            printed = {"code": answer.returncode, "stdout": answer.stdout, "stderr": answer.stderr}
            (folder / "printed.json").write_text(json.dumps(printed))
    return folder


@pytest.fixture(name="shell")
def shell_fixture(tmp_path: Path, cache: Path) -> Iterator[Shell]:
    """Return a shell in a folder with study files and nothing else."""
    shell = Shell(tmp_path / "a folder", cache)
    yield shell
    shell.close()


@pytest.fixture(name="finished")
def finished_fixture(shell: Shell, finished_once: Path) -> Shell:
    """Return a shell in a folder where a study has run to its end."""
    shutil.copytree(finished_once, shell.folder, dirs_exist_ok=True)
    return shell


@pytest.fixture(name="published")
def published_fixture(shell: Shell, migrated_db: Path) -> Shell:
    """Return a shell in a folder whose MLflow database is ready."""
    shell.home.create()
    shutil.copy(migrated_db, shell.home.mlflow_db)
    return shell


def test_a_study_runs_to_its_end_and_says_what_came_out(finished: Shell) -> None:
    printed = json.loads((finished.folder / "printed.json").read_text())
    said, results = printed["stdout"], load_study("digits", finished.home.root)
    assert (printed["code"], printed["stderr"]) == (0, "")
    assert "\x1b" not in said
    assert re.search(r"^6/6 trials · 0 running · .*best 0\.\d{4} \(trial \d\)", said, re.M)
    assert "Study digits: 6 of 6 trials have ended" in said
    best, default = results.ranked()[0], results.trials[0]
    assert best.value is not None
    assert default.value is not None
    assert re.search(rf"best \(trial {best.number}\) +default \(trial 0\)", said)
    assert re.search(rf"validation/accuracy +{best.value:.4f} +{default.value:.4f}", said)
    assert re.search(rf"network.activation +{best.params['network.activation']} +relu", said)
    export = re.search(r"^best configuration  (.+)$", said, re.M)
    assert export
    config, provenance = read_config(finished.folder / export[1])
    assert config == results.config(best.number)
    assert provenance is not None
    assert (provenance.trial, provenance.value) == (best.number, best.value)


def test_a_finished_study_is_whole_in_optuna_and_in_mlflow(finished: Shell) -> None:
    results = load_study("digits", finished.home.root)
    counts = results.counts()
    assert counts["pruned"], "these tests want a study with a pruned trial"
    assert optuna_states(finished.home) == Counter(COMPLETE=counts["complete"], PRUNED=counts["pruned"])
    told = {"complete": "FINISHED", "pruned": "KILLED"}
    expected = {f"trial {trial.number:04d}": told[trial.state] for trial in results.trials}
    assert run_statuses(finished.home) == {"digits": "FINISHED"} | expected
    assert not list(finished.home.study("digits").trials.glob("*.npz"))


def test_a_complete_study_that_is_run_again_says_so_and_nothing_changes(finished: Shell) -> None:
    databases = [finished.home.root / "optuna.db", finished.home.mlflow_db]
    before = finished.files(), [dump(database) for database in databases]
    answer = finished.studies("run", "study.toml")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("Study digits is complete: all 6 trials have ended. Nothing was changed.")
    assert (finished.files(), [dump(database) for database in databases]) == before


@pytest.mark.slow
def test_a_raised_total_keeps_every_trial_and_adds_the_rest(finished: Shell) -> None:
    before = outcome(load_study("digits", finished.home.root))
    answer = finished.studies("run", "study.toml", "--trials", "8", "--no-publish")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "8 of 8 trials have ended" in answer.stdout
    after = outcome(load_study("digits", finished.home.root))
    assert (len(after), after[:6]) == (8, before)
    assert optuna_states(finished.home).total() == 8


@pytest.mark.slow
def test_a_name_and_a_change_of_base_make_a_study_of_their_own(finished: Shell) -> None:
    before = outcome(load_study("digits", finished.home.root))
    changes = ["--set", "network.activation=tanh", "--set", "network.hidden=[12]", "--trials", "1"]
    answer = finished.studies("run", "study.toml", "--name", "other", *changes, "--no-publish")
    assert (answer.returncode, answer.stderr) == (0, "")
    other = load_study("other", finished.home.root)
    assert list(other.record["space"]) == ["optimizer.learning_rate"], "a searched path that is set is fixed"
    assert other.config(0).network.to_mapping()["activation"] == "tanh"
    assert other.config(0).network.hidden == (12,)
    assert outcome(load_study("digits", finished.home.root)) == before


@pytest.mark.slow
def test_in_a_terminal_the_progress_stays_in_place(shell: Shell) -> None:
    terminal, inside = pty.openpty()
    command = [COMMAND, "run", "study.toml", "--trials", "2", "--no-publish"]
    environment = shell.environment({"TERM": "xterm-256color"})
    with os.fdopen(terminal, "rb", buffering=0) as screen:
        process = subprocess.Popen(command, cwd=shell.folder, env=environment, stdout=inside, stderr=inside)
        os.close(inside)
        shown = b""
        with contextlib.suppress(OSError):  # that is how a terminal says that everyone has left it
            while part := screen.read(4096):
                shown += part
        assert process.wait(60) == 0
    assert b"\x1b[2K" in shown, "lines are drawn again"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(r"^.*\d/2 trials · \d running", plain, re.M)
    assert "Study digits: 2 of 2 trials have ended" in plain


@pytest.mark.slow
def test_a_study_that_is_out_of_time_goes_on_with_the_command_that_it_prints(shell: Shell, finished_once: Path) -> None:
    answer = shell.studies("run", "study.toml", "--no-publish", "--timeout", "0.01s")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert optuna_states(shell.home) == Counter(RUNNING=2)
    again = re.search(r"out of time; nothing is lost\nGo on with: studies (.+)$", answer.stdout, re.M)
    assert again
    answer = shell.studies(*shlex.split(again[1].replace("0.01s", "10m")))
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "6 of 6 trials have ended" in answer.stdout
    undisturbed = load_study("digits", finished_once / "mlruns")
    assert outcome(load_study("digits", shell.home.root)) == outcome(undisturbed)


def test_a_dry_run_shows_the_plan_and_writes_nothing(shell: Shell) -> None:
    before = shell.files()
    answer = shell.studies("run", "study.toml", "--dry-run", "--name", "another", "--trials", "9")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.search(r"^study +another: 9 trials, 2 in parallel", answer.stdout, re.M)
    assert re.search(r"^ *optimizer.learning_rate +0.01 +0.0001 to 0.1, log", answer.stdout, re.M)
    assert "Nothing was run." in answer.stdout
    assert shell.files() == before
    assert not shell.home.root.exists()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90.0), ("10m", 600.0), ("1h30m", 5400.0), ("1h1m1.5s", 3661.5), ("45", 45.0), (" 0.5s ", 0.5)],
)
def test_a_duration_is_read_as_a_person_writes_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def assert_refused(answer: Answer, said: str) -> None:
    """Assert that a command was refused in one line."""
    assert answer.returncode == 2, answer
    assert answer.stdout == ""
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1
    assert said in answer.stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epochs = 3", "epoch = 3", 'study.toml: [base] "epoch": is not a field of a training configuration. Did you'),
        ("epochs = 3", 'epochs = "3"', "study.toml: [base] \"epochs\": must be a whole number, got '3'."),
        (
            "low = 1e-4",
            "low = 0.5",
            '"optimizer.learning_rate": low must not be above high, got low = 0.5 and high = 0.1.',
        ),
        ('["relu", "tanh"]', '["relu", "tan"]', 'there is no activation called "tan". Did you mean "tanh"?'),
        (
            '"network.activation" =',
            "network.activation =",
            'is "network.activation" meant? Then quote the dotted path.',
        ),
        ("[space]", "[spaces]", 'study.toml: [spaces] is no table of a study file. Did you mean "space"?'),
    ],
)
def test_a_mistake_in_the_file_is_explained_in_a_line_before_anything_is_written(
    shell: Shell, old: str, new: str, said: str
) -> None:
    file = shell.folder / "study.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    before = shell.files()
    assert_refused(shell.studies("run", "study.toml"), said)
    assert shell.files() == before
    assert not shell.home.root.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.toml"], "nowhere.toml: there is no such file."),
        (
            ["study.toml", "--set", "networ.hidden=3"],
            '"networ.hidden" is not a field of [base]. Did you mean "network"?',
        ),
        (
            ["study.toml", "--set", "epochs"],
            "--set takes path=value, such as optimizer.learning_rate=0.01, got 'epochs'.",
        ),
        (["study.toml", "--timeout", "soon"], "--timeout takes a duration such as 90s, 10m or 1h30m, got 'soon'."),
        (["study.toml", "--trials", "0"], '"trials": must be at least 1'),
        (
            ["study.toml", "--home", "study.toml"],
            "study.toml cannot be written: Not a directory. Choose another with --home.",
        ),
    ],
)
def test_a_mistake_in_the_command_is_explained_in_a_line_before_anything_is_written(
    shell: Shell, arguments: list[str], said: str
) -> None:
    before = shell.files()
    assert_refused(shell.studies("run", *arguments), said)
    assert shell.files() == before
    assert not shell.home.root.exists()


def test_data_that_is_nowhere_is_said_to_be_missing_and_where_to_put_it(shell: Shell) -> None:
    unreachable = {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "STUDIES_CACHE": str(shell.folder / "empty cache")}
    answer = shell.studies("run", "study.toml", "--set", "data.name=mnist", **unreachable)
    assert_refused(answer, "Put its four files into DIR/mnist/ and point to them: --data-dir DIR or STUDIES_DATA=DIR.")
    assert "train-images-idx3-ubyte.gz is not in" in answer.stderr
    assert not shell.home.root.exists()


def test_another_study_under_a_name_that_is_taken_is_refused_with_the_differences(finished: Shell) -> None:
    before = finished.files()
    answer = finished.studies("run", "study.toml", "--set", "epochs=5", "--set", "network.hidden=[9]")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert 'error: study "digits" already exists with different settings:\n' in answer.stderr
    assert re.search(r"^  base\.epochs: was 3, is 5$", answer.stderr, re.M)
    assert re.search(r"^  base\.network\.hidden: was .*16.*, is .*9", answer.stderr, re.M)
    assert len(answer.stderr.splitlines()) == 4
    assert "Run it under a new name with --name" in answer.stderr
    assert finished.files() == before


def test_a_study_or_a_trial_that_is_not_there_is_named_with_those_that_are(finished: Shell) -> None:
    assert_refused(finished.studies("show", "digit"), 'Did you mean "digits"? There are: digits.')
    assert_refused(finished.studies("show", "digits", "6"), 'study "digits" has no trial 6. It has: 0 to 5.')


@pytest.mark.slow
def test_a_study_that_runs_has_one_driver_and_cannot_be_deleted(shell: Shell) -> None:
    driver = shell.start_long("--no-publish")
    owner = rf'study "long" is being run by process {driver.pid} on {socket.gethostname()}, started 20\d\d-'
    for command in (["run", "long.toml"], ["delete", "long", "--yes"]):
        answer = shell.studies(*command)
        assert answer.returncode == 2
        assert re.fullmatch(rf"error: {owner}\S+ \S+\.\n", answer.stderr)
    assert driver.poll() is None
    assert shell.long.record.exists()


@pytest.mark.slow
def test_a_study_whose_every_trial_fails_ends_with_1_and_keeps_the_reasons(shell: Shell) -> None:
    limit = 4 << 30
    answer = subprocess.run(
        [COMMAND, "run", "study.toml", "--set", "network.hidden=[60000, 60000]", "--trials", "2", "--no-publish"],
        cwd=shell.folder,
        env=shell.environment({}),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),  # not even half of the weights fit
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
    assert "MemoryError: Unable to allocate" in shown.stdout
    assert_refused(shell.studies("export", "digits"), 'study "digits" has no complete trial yet')


def interrupt(driver: subprocess.Popen[str], number: signal.Signals) -> tuple[str, float]:
    """Press Ctrl-C, which reaches the whole process group, or ask the driver to end; return what it said, and when."""
    started = time.monotonic()
    if number == signal.SIGINT:
        os.killpg(driver.pid, number)
    else:
        driver.send_signal(number)
    said, complaints = driver.communicate(timeout=60)
    assert complaints == ""
    return said, time.monotonic() - started


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_study_that_is_interrupted_stops_soon_and_says_how_to_go_on(
    shell: Shell, number: signal.Signals, code: int
) -> None:
    driver = shell.start_long("--no-publish", "--workers", "9")
    wait_until(lambda: len(list(shell.long.trials.glob("*.npz"))) == 2)
    found = workers(driver)
    assert len(found) == 2, "more could not be of use"
    said, seconds = interrupt(driver, number)
    assert driver.returncode == code
    assert seconds < 10
    assert "interrupted; nothing is lost\nGo on with: studies run long.toml --no-publish --workers 9\n" in said
    assert optuna_states(shell.home) == Counter(RUNNING=2)
    wait_until(lambda: not alive(found), 5)


@pytest.mark.slow
def test_a_second_ctrl_c_ends_it_at_once(shell: Shell) -> None:
    driver = shell.start_long("--no-publish", "--workers", "1", *SLOW_EPOCHS)
    found = workers(driver)
    os.killpg(driver.pid, signal.SIGINT)
    time.sleep(1)
    assert driver.poll() is None, "it waits for the epoch that is being computed"
    started = time.monotonic()
    os.killpg(driver.pid, signal.SIGINT)
    said, complaints = driver.communicate(timeout=60)
    assert time.monotonic() - started < 2
    assert (driver.returncode, said, "Traceback" in complaints) == (130, "", False)
    assert len(found) == 1
    wait_until(lambda: not alive(found), 5)


@pytest.mark.slow
def test_a_killed_driver_takes_workers_and_publisher_with_it(published: Shell) -> None:
    driver = published.start_long("--workers", "2", *SLOW_EPOCHS)
    wait_until(lambda: len(children(driver.pid)) == 4)  # two workers, the publisher, multiprocessing's own process
    others = children(driver.pid)
    driver.kill()
    wait_until(lambda: not alive(others), 5)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_study_is_marked_in_mlflow_until_it_goes_on(
    published: Shell, number: signal.Signals, code: int
) -> None:
    driver = published.start_long("--trials", "2", "--workers", "2")
    wait_until(lambda: len(list(published.long.trials.glob("*.npz"))) == 2)
    found = workers(driver)
    for pid in found:
        os.kill(pid, signal.SIGSTOP)  # the study stands still until MLflow shows it, however slow the machine is
    runs = {"long", "trial 0000", "trial 0001"}
    wait_until(lambda: run_statuses(published.home) == dict.fromkeys(runs, "RUNNING"), 180)
    for pid in found:
        os.kill(pid, signal.SIGCONT)
    said, seconds = interrupt(driver, number)
    assert (driver.returncode, "pending" in said) == (code, False)
    assert seconds < 10
    assert run_statuses(published.home) == dict.fromkeys(runs, "KILLED")
    assert interrupted_runs(published.home) == runs
    assert optuna_states(published.home) == Counter(RUNNING=2)
    again = re.search(r"Go on with: studies (.+)$", said, re.M)
    assert again
    answer = published.studies(*shlex.split(again[1]))
    assert (answer.returncode, answer.stderr) == (0, "")
    assert optuna_states(published.home) == Counter(COMPLETE=2)
    assert run_statuses(published.home) == dict.fromkeys(runs, "FINISHED")
    assert interrupted_runs(published.home) == set()


def test_the_studies_of_a_home_are_listed_with_what_they_came_to(finished: Shell) -> None:
    best = load_study("digits", finished.home.root).ranked()[0]
    answer = finished.studies("list")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.search(
        rf"^ *digits +6/6 +{best.value:.4f} \(trial {best.number}\) +validation/accuracy +20", answer.stdout, re.M
    )


def test_an_empty_home_is_said_to_be_empty_and_stays_so(shell: Shell) -> None:
    answer = shell.studies("list", STUDIES_HOME=str(shell.folder / "elsewhere"))
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith(f"There are no studies in {shell.folder / 'elsewhere'} yet.")
    assert not (shell.folder / "elsewhere").exists()


def test_a_study_is_shown_with_its_best_trials_in_order(finished: Shell) -> None:
    results = load_study("digits", finished.home.root)
    answer = finished.studies("show", "digits", "--top", "2")
    assert (answer.returncode, answer.stderr) == (0, "")
    counts = results.counts()
    assert f"6 of 6 trials: {counts['complete']} complete, {counts['pruned']} pruned" in answer.stdout
    rows = re.findall(r"^ +(\d+) +(0\.\d{4}) ", answer.stdout, re.M)
    assert rows == [(str(trial.number), f"{trial.value:.4f}") for trial in results.top(2)]


def test_a_trial_is_shown_whole(finished: Shell) -> None:
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


def test_a_reader_that_leaves_early_is_no_failure_to_complain_of(finished: Shell) -> None:
    unread, written = os.pipe()
    os.close(unread)
    with os.fdopen(written, "wb") as stdout:
        answer = subprocess.run(
            [COMMAND, "show", "digits"],
            cwd=finished.folder,
            env=finished.environment({}),
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (answer.returncode, answer.stderr) == (1, "")


def test_the_best_is_exported_beside_the_study_files_or_wherever_one_says(finished: Shell) -> None:
    best = load_study("digits", finished.home.root).ranked()[0].number
    answer = finished.studies("export", "digits")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.search(r"^written +experiments/best/digits.toml$", answer.stdout, re.M)
    assert finished.studies("export", "digits", "-o", "here.toml").returncode == 0
    for file in ("experiments/best/digits.toml", "here.toml"):
        assert tomllib.loads((finished.folder / file).read_text())["provenance"]["trial"] == best


@pytest.mark.slow
def test_every_command_that_is_printed_runs_as_it_stands_whatever_the_folders_are_called(finished: Shell) -> None:
    finished.home.root.rename(finished.folder / "my runs [old]")
    said = finished.studies("run", "study.toml", "--home", "my runs [old]").stdout
    commands = re.findall(r"^[a-z -]+  studies (.+)$", said, re.M)
    assert [shlex.split(command) for command in commands] == [
        ["train", "my runs [old]/studies/digits/best.toml", "--test"],
        ["ui", "digits", "--home", "my runs [old]"],
    ]
    said = finished.studies("export", "digits", "--home", "my runs [old]", "-o", "my [best].toml").stdout
    (command,) = re.findall(r"^re-train it +studies (.+)$", said, re.M)
    assert finished.studies(*shlex.split(command)).returncode == 0


@pytest.mark.slow
def test_any_complete_trial_can_be_exported_but_no_pruned_one(finished: Shell) -> None:
    results = load_study("digits", finished.home.root)
    worst = results.ranked()[-1].number
    assert finished.studies("export", "digits", "--trial", str(worst)).returncode == 0
    config, provenance = read_config(finished.folder / f"experiments/best/digits-{worst}.toml")
    assert config == results.config(worst)
    assert provenance is not None
    assert provenance.trial == worst
    pruned = next(trial.number for trial in results.trials if trial.state == "pruned")
    answer = finished.studies("export", "digits", "--trial", str(pruned))
    assert_refused(
        answer, f'trial {pruned} of study "digits" is pruned (pruner); only complete trials can be exported.'
    )
    assert not (finished.folder / f"experiments/best/digits-{pruned}.toml").exists()


def test_an_export_trains_again_exactly_in_another_place(finished_once: Path, shell: Shell, tmp_path: Path) -> None:
    export = shell.folder / "best.toml"
    shutil.copy(finished_once / "mlruns/studies/digits/best.toml", export)
    answer = shell.studies("train", "best.toml", STUDIES_CACHE=str(tmp_path / "another cache"))
    assert (answer.returncode, answer.stderr) == (0, "")
    value = tomllib.loads(export.read_text())["provenance"]["value"]
    assert f"reproduced exactly: validation/accuracy {value!r} and the weights" in answer.stdout
    assert re.search(r"^epoch 3/3 .*validation/accuracy 0\.\d{4}$", answer.stdout, re.M)
    assert "test/accuracy" not in answer.stdout
    assert not shell.home.root.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "recorded", "said"),
    [
        ("value", "0.5", r"^different: validation/accuracy is 0\.\d+, recorded is 0\.5\.$"),
        (
            "weight_digest",
            f'"{"0" * 64}"',
            rf"^different: the weights have the digest [0-9a-f]{{64}}, recorded is {'0' * 64}\.$",
        ),
    ],
)
def test_an_export_that_comes_out_otherwise_ends_with_1_and_the_difference(
    finished: Shell, key: str, recorded: str, said: str
) -> None:
    export = finished.home.study("digits").best
    text, n = re.subn(rf"^{key} = .*$", f"{key} = {recorded}", export.read_text(), flags=re.M)
    assert n == 1
    export.write_text(text)
    answer = finished.studies("train", str(export))
    assert (answer.returncode, answer.stderr) == (1, "")
    assert re.search(said, answer.stdout, re.M)
    assert answer.stdout.count("different: ") == 1
    assert "reproduced exactly" not in answer.stdout


def test_a_model_that_is_saved_predicts_as_well_as_was_said(finished: Shell, cache: Path) -> None:
    export = str(finished.home.study("digits").best)
    answer = finished.studies("train", export, "--test", "--save", "model")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "reproduced exactly" in answer.stdout
    said = re.search(r"^test/accuracy +(0\.\d{4}) *$", answer.stdout, re.M)
    assert said
    (data,) = (cache / "arrays").glob("digits-*/")
    dataset = open_cached(data)
    predicted = load_model(finished.folder / "model").predict(dataset.test_inputs)
    assert f"{(predicted == dataset.test_targets).mean():.4f}" == said[1]


def test_a_refit_with_another_seed_trains_on_all_examples_and_is_not_compared(
    finished: Shell, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIES_CACHE", str(cache))
    export = finished.home.study("digits").best
    answer = finished.studies("train", str(export), "--refit", "--seed", "7", "--test")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.search(r"^trained +1438 examples", answer.stdout, re.M)
    assert "reproduced" not in answer.stdout
    assert retrain(*read_config(export), refit=True, seed=7).weight_digest in answer.stdout


def test_of_a_study_file_the_base_is_trained(shell: Shell) -> None:
    answer = shell.studies("train", "study.toml")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.search(r"^epoch 3/3 ", answer.stdout, re.M)


@pytest.mark.slow
def test_a_study_without_its_server_ends_well_and_is_published_later(published: Shell) -> None:
    answer = published.studies("run", "study.toml", MLFLOW_TRACKING_URI=NOWHERE)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "6 of 6 trials have ended" in answer.stdout
    pending = re.search(
        r"^publishing to MLflow is pending: .+\nComplete it later with: studies (.+)$", answer.stdout, re.M
    )
    assert pending
    assert run_statuses(published.home) == {}
    answer = published.studies(*shlex.split(pending[1]))
    assert (answer.returncode, answer.stderr) == (0, "")
    store = f"sqlite:///{published.home.mlflow_db}"
    assert answer.stdout == f"Study digits is up to date in {store}: 7 runs were written.\n"
    states = [trial.state for trial in load_study("digits", published.home.root).trials]
    told = Counter("KILLED" if state == "pruned" else "FINISHED" for state in ["the study's", *states])
    assert Counter(run_statuses(published.home).values()) == told


def test_a_study_is_not_deleted_without_a_yes(finished: Shell) -> None:
    before = finished.files()
    answer = finished.studies("delete", "digits", typed="n\n")
    assert answer.returncode == 1
    assert "Delete study digits with its 6 trials? [y/N]" in answer.stdout
    assert finished.files() == before
    assert optuna_states(finished.home).total() == 6


@pytest.mark.slow
def test_a_deleted_study_leaves_nothing_and_its_name_is_free(published: Shell, finished_once: Path) -> None:
    shutil.copytree(finished_once / "mlruns/studies", published.home.root / "studies", dirs_exist_ok=True)
    shutil.copy(finished_once / "mlruns/optuna.db", published.home.root)
    empty = dump(published.home.mlflow_db)
    assert published.studies("sync", "digits").returncode == 0
    assert len(run_statuses(published.home)) == 7
    answer = published.studies("delete", "digits", "--yes")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "Study digits is deleted.\n", "")
    assert published.studies("list").stdout.startswith("There are no studies in ")
    left = {table for table, rows in dump(published.home.mlflow_db).items() if rows != empty[table]}
    assert left <= {"inputs", "input_tags"}, "of these, MLflow itself leaves rows of runs that are gone"
    rows = dump(published.home.root / "optuna.db")
    assert {table for table, content in rows.items() if content} == {"version_info", "alembic_version"}
    assert not published.home.study("digits").root.exists()
    assert not (published.home.artifacts / "digits").exists()
    answer = published.studies("run", "study.toml", "--no-publish", "--trials", "2")
    assert (answer.returncode, "2 of 2 trials have ended" in answer.stdout) == (0, True)


def fetch(url: str, **headers: str) -> tuple[int, bytes]:
    """Return the status and the content that a server answers with."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_ui_answers_this_machine_only_and_leaves_nothing_behind(finished: Shell, number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    ui = finished.start("ui", "digits", "--port", str(port))
    assert ui.stdout is not None
    address = re.fullmatch(
        rf"MLflow UI  (http://127\.0\.0\.1:{port})/#/experiments/\d+/runs\?\S+\n", ui.stdout.readline()
    )
    assert address, ui.communicate()
    assert ui.stdout.readline() == "Ctrl-C ends it.\n"
    status, page = fetch(address[1])
    assert (status, b"<title>MLflow</title>" in page) == (200, True)
    assert fetch(address[1], Host=f"evil.example:{port}")[0] == 403
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)  # as much this machine, but not where it listens
    servers = descendants(ui.pid)
    assert servers
    said, seconds = interrupt(ui, number)
    assert (ui.returncode, said) == (0, "")
    assert seconds < 15
    wait_until(lambda: not alive(servers), 5)


def test_the_ui_of_a_home_without_runs_says_what_to_do(shell: Shell) -> None:
    assert_refused(shell.studies("ui"), "nothing has been published in")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["ui", "--help"]])
def test_help_loads_nothing_heavy(shell: Shell, arguments: Sequence[str]) -> None:
    heavy = {"numpy", "optuna", "mlflow", "pandas", "matplotlib", "sklearn", "sqlalchemy"}
    program = (
        "import sys\nfrom studies.commands.app import main\n"
        "try:\n    main()\n"
        f"finally:\n    print(sorted({heavy} & sys.modules.keys()), file=sys.stderr)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=shell.environment({}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Usage:" in answer.stdout
    assert answer.stderr == "[]\n"
