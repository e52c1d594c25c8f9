"""Printed commands can be pasted into the shell that the program was started from."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from studies.hints import command_line, short_path
from studies.records.home import Home


@pytest.fixture(name="venv")
def venv_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the `bin` folder of an environment that is not on the PATH; the working directory contains it."""
    folder = tmp_path / ".venv/bin"
    folder.mkdir(parents=True)
    for name in ("python", "studies"):
        (folder / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("STUDIES_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_program_on_the_path_is_named_without_its_folder(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(venv))
    assert command_line("show", "digits") == "studies show digits"


def test_a_program_that_is_not_on_the_path_is_named_by_a_path_that_works_from_here(
    venv: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert command_line("show", "digits") == ".venv/bin/studies show digits"
    monkeypatch.chdir(venv)
    assert command_line("show", "digits") == "./studies show digits"
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert command_line("show", "digits") == f"{venv}/studies show digits"


def test_another_program_of_this_name_on_the_path_is_not_suggested(
    venv: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "studies").touch(mode=0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(other), str(venv)]))
    assert command_line("list") == ".venv/bin/studies list"


def test_a_program_without_a_script_is_started_as_a_module(venv: Path) -> None:
    (venv / "studies").unlink()
    assert command_line("list") == ".venv/bin/python -m studies list"


def test_home_is_added_only_if_the_command_would_not_find_it(
    venv: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(venv))
    assert command_line("list", home=Home.find()) == "studies list"
    assert command_line("list", home=Home.find(Path("my runs"))) == "studies list --home 'my runs'"
    monkeypatch.setenv("STUDIES_HOME", str(tmp_path / "my runs"))
    assert command_line("list", home=Home.find()) == "studies list"


def test_a_path_inside_the_working_directory_is_shortened(venv: Path, tmp_path: Path) -> None:
    assert short_path(venv / "studies") == ".venv/bin/studies"
    assert short_path(tmp_path.parent) == str(tmp_path.parent)
