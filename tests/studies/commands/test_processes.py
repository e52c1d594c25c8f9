"""The processes of a command: what they import, how scripts start them, and what they print when they are stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.process_data import lay_traps
from tests.studies.commands.shell import COMMAND, Shell, alive, children, wait_until

RUN = 'from studies import run_study\nprint(run_study("study.toml", workers=2, publish=False).status)\n'


@pytest.mark.slow
def test_no_command_imports_anything_from_the_working_directory(published: Shell) -> None:
    notes = lay_traps(published.folder)
    assert published.studies("run", "study.toml", "--workers", "2").returncode == 0
    assert published.studies("sync", "digits").returncode == 0
    server = published.start("ui", "digits", "--port", "5993")
    assert server.stdout is not None
    assert any("http://" in line for line in server.stdout)  # after a notice about the copied home
    os.killpg(server.pid, signal.SIGINT)
    server.communicate(timeout=60)
    assert published.studies("delete", "digits", "--yes").returncode == 0
    assert not notes.exists(), notes.read_text()


def test_the_program_run_as_a_module_imports_nothing_else_from_the_working_directory(shell: Shell) -> None:
    notes = lay_traps(shell.folder)
    for name in ("studies", "types"):  # Python imports these before this program runs
        (shell.folder / f"{name}.py").unlink()
        shutil.rmtree(shell.folder / name)
    command = [sys.executable, "-m", "studies", "list"]
    environment = shell.environment({})
    answer = subprocess.run(command, cwd=shell.folder, env=environment, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert not notes.exists(), notes.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["a file", "standard input", "-c", "an interactive session"])
def test_a_study_runs_from_a_script_without_a_main_guard(shell: Shell, way: str) -> None:
    script = shell.folder / "script.py"
    script.write_text(RUN)
    interactive = "import code; code.interact()" if way == "an interactive session" else RUN
    arguments = {"a file": ["script.py"], "standard input": ["-"]}.get(way, ["-c", interactive])
    answer = subprocess.run(
        [sys.executable, *arguments],
        cwd=shell.folder,
        env=shell.environment({}),
        input="" if arguments == ["script.py"] else RUN,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer
    assert answer.stdout.count("complete") == 1, "a worker ran the script again"
    assert "Traceback" not in answer.stderr


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.0, 0.05, 0.5])
def test_two_interrupts_leave_no_message_and_no_process(shell: Shell, pause: float) -> None:
    driver = shell.start_long("--no-publish", "--workers", "2")
    found = children(driver.pid)
    os.killpg(driver.pid, signal.SIGINT)
    time.sleep(pause)
    os.killpg(driver.pid, signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert (driver.returncode, errors) == (130, "")
    assert len(found) == 2
    wait_until(lambda: not alive(found), 5)


@pytest.mark.slow
def test_timeout_with_sigint_leaves_no_message(shell: Shell) -> None:
    command = ["timeout", "-s", "INT", "4", str(COMMAND), "run", "long.toml", "--no-publish", "--workers", "2"]
    answer = subprocess.run(
        command, cwd=shell.folder, env=shell.environment({}), capture_output=True, text=True, timeout=90, check=False
    )
    assert answer.stderr == ""
