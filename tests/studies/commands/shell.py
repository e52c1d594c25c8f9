"""Runs `studies` in processes and a folder of its own, as a person would, and looks at what it leaves."""

from __future__ import annotations

import io
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import chdir, closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from studies.commands.app import main
from studies.records.home import Home, StudyFolder
from studies.records.results import StudyResults

COMMAND = Path(sys.executable).with_name("studies")
NO_SERVER = "http://127.0.0.1:9"  # nothing listens on this port
# Environment variables that change what `studies` does or prints.
CLEARED = ("STUDIES_", "MLFLOW_", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

STUDY = """
[study]
name = "digits"
trials = 6
seed = 1
parallelism = 2
sampler = { name = "tpe", startup_trials = 3 }
pruner = { name = "median", startup_trials = 1 }

[confirm]
enabled = false

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

# Each of its trials takes a few seconds, so that there is time to interrupt it.
LONG = """
[study]
name = "long"
trials = 40
parallelism = 2
pruner = "none"

[confirm]
enabled = false

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
    """Runs `studies` in a folder with two study files.

    Args:
        folder: the working directory of the commands; runs go to `mlruns` in it.
        cache: the cache of data sets.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.home = Home(folder / "mlruns")
        self._cache = cache
        self._started: list[subprocess.Popen[str]] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "study.toml").write_text(STUDY)
        (folder / "long.toml").write_text(LONG)

    def studies(self, *arguments: str, typed: str = "", prefix: Sequence[str] = (), **variables: str) -> Answer:
        """Run a command, after the words of `prefix` if there are any, and return its exit code and output."""
        return subprocess.run(
            [*prefix, COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment(variables),
            input=typed,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def refusal_of(self, *arguments: str) -> Answer:
        """Run a command that does no work in this process, which saves its start; return its exit code and output."""
        output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        code = 0
        with (
            chdir(self.folder),
            patch.dict(os.environ, self.environment({}), clear=True),
            patch.object(sys, "argv", [str(COMMAND), *arguments]),
            redirect_stdout(output),
            redirect_stderr(errors),
        ):
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
        texts = (stream.buffer.getvalue().decode() for stream in (output, errors))  # type: ignore[attr-defined]
        return Answer(list(arguments), code, *texts)

    def start(self, *arguments: str, prefix: Sequence[str] = (), **variables: str) -> subprocess.Popen[str]:
        """Start a command in a new process group, as a terminal does."""
        process = subprocess.Popen(
            [*prefix, COMMAND, *arguments],
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
        """Start the long study; return when its first trial has started."""
        driver = self.start("run", "long.toml", *arguments)
        wait_until(lambda: bool(self.long.logs()) or driver.poll() is not None)
        assert driver.poll() is None, driver.communicate()
        return driver

    @property
    def long(self) -> StudyFolder:
        """The folder of the long study."""
        return self.home.study("long")

    def environment(self, variables: dict[str, str]) -> dict[str, str]:
        """Return the environment of a command."""
        clean = {name: value for name, value in os.environ.items() if not name.upper().startswith(CLEARED)}
        path = f"{COMMAND.parent}{os.pathsep}{clean['PATH']}"
        return clean | {"PATH": path, "STUDIES_CACHE": str(self._cache)} | variables

    def files(self) -> dict[str, bytes]:
        """Return the content of every file in the folder, except databases."""
        found = (file for file in self.folder.rglob("*") if file.is_file() and ".db" not in file.name)
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in found}

    def close(self) -> None:
        """Kill the started processes that still run."""
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
    """Return the parent of every running process."""
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
    """Return the running processes that a process started."""
    return {child for child, parent in parents().items() if parent == pid}


def workers(driver: subprocess.Popen[str]) -> set[int]:
    """Return the worker processes of a driver."""
    return {pid for pid in children(driver.pid) if "studies.running.worker" in Path(f"/proc/{pid}/cmdline").read_text()}


def descendants(pid: int) -> set[int]:
    """Return the running processes that a process started, directly or indirectly."""
    found = children(pid)
    return found.union(*(descendants(child) for child in found))


def alive(pids: set[int]) -> set[int]:
    """Return which of these processes still run."""
    return pids & parents().keys()


def query(database: Path, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(statement).fetchall()


def optuna_states(home: Home) -> Counter[str]:
    """Return how many trials Optuna has in each state."""
    return Counter(state for (state,) in query(home.root / "optuna.db", "SELECT state FROM trials"))


def run_statuses(home: Home) -> dict[str, str]:
    """Return the status of each run in MLflow."""
    return dict(query(home.mlflow_db, "SELECT name, status FROM runs"))


def outcome(results: StudyResults) -> list[tuple[Any, ...]]:
    """Return parameters, state, value and history of each trial."""
    return [(t.number, t.params, t.state, t.value, t.history) for t in results.trials]


def assert_refused(answer: Answer, text: str) -> None:
    """Assert that a command ended with exit code 2 and one line that contains a text."""
    assert answer.returncode == 2, answer
    assert answer.stdout == ""
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1
    assert text in answer.stderr


def interrupt(driver: subprocess.Popen[str], number: signal.Signals) -> tuple[str, float]:
    """Interrupt a driver; return its output and how long it took to end.

    SIGINT goes to the process group, as from Ctrl-C in a terminal; any other signal goes to the driver only.
    """
    started = time.monotonic()
    if number == signal.SIGINT:
        os.killpg(driver.pid, number)
    else:
        driver.send_signal(number)
    output, errors = driver.communicate(timeout=60)
    assert errors == ""
    return output, time.monotonic() - started


def read_only(folder: Path) -> list[str]:
    """Return the words before a command for which a folder is on a read-only disk; nothing else notices."""
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(folder)]
