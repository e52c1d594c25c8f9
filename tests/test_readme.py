"""Every command and every snippet of the README runs as it is pasted."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from studies.commands.app import app

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.M | re.S)
SNIPPETS = [code for language, code in BLOCKS if language == "python"]
SHELL_LINES = [line for language, code in BLOCKS if language == "sh" for line in code.splitlines()]
SET_UP = [line for line in SHELL_LINES if "pip install" in line]
ACTIVATE = ". .venv/bin/activate"
NEEDS_MNIST = [line for line in SHELL_LINES if "experiments/reference" in line or "benchmarks/" in line]
LINES = [line for line in SHELL_LINES if line not in (*SET_UP, *NEEDS_MNIST)]
# `experiments/digits.toml` takes a minute; a study of this size takes seconds.
SMALLER = {"budget      = 20": "budget      = 4", "epochs     = 40": "epochs     = 6"}


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: Path, migrated_db: Path) -> Path:
    """Return a folder like a fresh copy of the project, with a smaller study of the digits, and the set-up done."""
    if not (Path(sys.prefix) / "bin/activate").exists():
        pytest.skip("the tests do not run in a virtual environment")
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments", ignore=shutil.ignore_patterns("best"))
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks")
    digits = tmp_path / "experiments/digits.toml"
    text = digits.read_text(encoding="utf-8")
    for old, new in SMALLER.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    digits.write_text(text, encoding="utf-8")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "mlruns").mkdir()
    shutil.copy(migrated_db, tmp_path / "mlruns/mlflow.db")
    return tmp_path


def environment() -> dict[str, str]:
    """Return the environment of a newcomer: no settings of this program, no activated environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("STUDIES_HOME", "MLFLOW_"))}
    folders = [folder for folder in clean["PATH"].split(os.pathsep) if not (Path(folder) / "studies").exists()]
    return clean | {"PATH": os.pathsep.join(folders)}


def run(command: list[str], folder: Path) -> str:
    """Run a command; return its output, or fail with it."""
    answer = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert answer.returncode == 0, f"{command}\n{answer.stdout}\n{answer.stderr}"
    assert "Traceback" not in answer.stderr
    return answer.stdout


def bash(line: str, folder: Path) -> str:
    """Run a line in a shell whose environment is activated."""
    return run(["bash", "-c", f"{ACTIVATE}\n{line}"], folder)


def test_every_block_has_a_language_that_is_tested() -> None:
    assert {language for language, _ in BLOCKS} == {"sh", "python", "toml", "text"}  # text is output
    assert SNIPPETS
    assert LINES
    assert NEEDS_MNIST


def test_ci_runs_the_set_up_commands_as_they_are() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"set_up < <\(grep '(.*)' README.md\)", script)
    assert re.findall(f"{pattern}.*", TEXT, re.M) == SET_UP
    assert [f'bash -c "${{set_up[{n}]}}"' in script for n in range(len(SET_UP))] == [True, True]


def test_the_environment_is_activated_before_the_first_command_that_needs_it() -> None:
    first = next(line for line in LINES if line.startswith(("studies ", "python ")))
    assert LINES.index(ACTIVATE) < LINES.index(first)


def test_commands_that_the_text_mentions_exist() -> None:
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    mentioned = set(re.findall(r"`studies ([a-z]+)", TEXT))
    assert mentioned
    assert mentioned <= names


@pytest.mark.slow
@pytest.mark.parametrize(
    "snippet",
    [
        pytest.param(code, id=f"snippet {n}", marks=[pytest.mark.slow] if "run_study" in code else [])
        for n, code in enumerate(SNIPPETS, start=1)
    ],
)
def test_a_python_snippet_runs_as_a_script(snippet: str, folder: Path) -> None:
    (folder / "snippet.py").write_text(snippet, encoding="utf-8")
    assert bash("python snippet.py", folder)


@pytest.mark.slow
def test_the_shell_commands_run_in_order(folder: Path) -> None:
    (file,) = re.findall(r"save it as `(\S+)`", TEXT)
    (study,) = [code for language, code in BLOCKS if language == "toml"]
    (folder / file).write_text(study, encoding="utf-8")
    for line in LINES:
        if line.startswith("studies ui"):
            serve(line.partition("#")[0], folder)
        else:
            bash(line, folder)
    assert (folder / "predictions.csv").read_text().count("\n") == 1 + 178
    assert list((folder / "pictures").glob("*.png"))


def serve(line: str, folder: Path) -> None:
    """Start the UI on a free port, open the address that it prints, and press Ctrl-C."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    script = f"{ACTIVATE}\nexec {line.strip()} --port {port}"
    with subprocess.Popen(
        ["bash", "-c", script], cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        assert server.stdout is not None
        address = re.search(r"http://\S+", server.stdout.readline())
        assert address
        with urllib.request.urlopen(address[0], timeout=30) as page:
            assert b"<title>MLflow</title>" in page.read()
        os.killpg(server.pid, signal.SIGINT)
    assert server.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("STUDIES_DATA"), reason="STUDIES_DATA is not set, so MNIST is not at hand")
@pytest.mark.parametrize("line", NEEDS_MNIST)
def test_the_commands_on_mnist_run(line: str, folder: Path) -> None:
    # The benchmark trains seven networks with five seeds each; one of them is enough here.
    shorter = " --systems layer_stack_narrow --seeds 0" if "benchmarks/" in line else ""
    output = bash(line + shorter, folder)
    assert re.search(r"test/accuracy +0\.9\d|layer_stack_narrow .* [89]\d\.\d\d ", output)
