"""The program's own processes import nothing from the working directory, and nothing of the caller's main module."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import studies
from studies.processes import child_environment, python_command
from studies.running.engines import LocalProcesses
from tests.process_data import lay_traps


def test_a_worker_imports_nothing_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = lay_traps(tmp_path)
    monkeypatch.chdir(tmp_path)
    with LocalProcesses(1) as engine:
        assert engine.submit(os.getcwd).result(30) == str(tmp_path)
        assert engine.submit(os.getenv, "PYTHONSAFEPATH").result(30) == "1"
    assert not notes.exists()


def write_checkout(folder: Path) -> None:
    """Make a folder that contains this program, as a checkout that is not installed does."""
    for package in ("studies", "mlp"):
        (folder / package).symlink_to(Path(studies.__file__).parents[1] / package)


@pytest.mark.parametrize("place", ["the folder of the script", "PYTHONPATH"])
def test_a_worker_finds_the_program_and_the_callers_modules_where_the_caller_does(tmp_path: Path, place: str) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    write_checkout(checkout)
    (checkout / "neighbour.py").write_text("ANSWER = 42\n")
    (checkout / "mine.py").write_text(
        "import mlp, neighbour, studies\ndef where():\n    return studies.__file__, mlp.__file__, neighbour.ANSWER\n"
    )
    script = checkout / "script.py" if place == "the folder of the script" else tmp_path / "script.py"
    script.write_text(
        "from mine import where\n"
        "from studies.running.engines import LocalProcesses\n"
        "with LocalProcesses(1) as engine:\n"
        "    assert engine.submit(where).result(30) == where(), (engine.submit(where).result(), where())\n"
        "print(where())\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if place == "PYTHONPATH":
        environment["PYTHONPATH"] = str(checkout)
    answer = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert str(checkout) in answer.stdout


def test_what_the_main_module_defines_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "from studies.errors import ConfigError\n"
        "from studies.running.engines import LocalProcesses\n"
        "def work(): pass\n"
        "with LocalProcesses(1) as engine:\n"
        "    try:\n"
        "        engine.submit(work)\n"
        "    except ConfigError as error:\n"
        "        print(error)\n"
    )
    answer = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.stdout.startswith("work is defined in the main module, which worker processes do not import. Define")
    assert answer.stderr == ""


def test_settings_for_the_callers_code_do_not_reach_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("KEPT", "yes")
    environment = child_environment(MORE="1")
    assert "PYTHONWARNINGS" not in environment
    assert (environment["KEPT"], environment["MORE"], environment["PYTHONSAFEPATH"]) == ("yes", "1", "1")


def test_a_worker_whose_driver_is_gone_ends_in_silence() -> None:
    ours, theirs = os.pipe()
    os.close(theirs)
    command = python_command("studies.running.worker", str(ours), str(os.getpid()), "0")
    worker = subprocess.run(command, pass_fds=[ours], capture_output=True, text=True, timeout=60, check=False)
    os.close(ours)
    assert (worker.returncode, worker.stdout, worker.stderr) == (0, "", "")
