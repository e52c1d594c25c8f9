"""The processes of publishing and browsing, started where files have the names of modules, and with odd settings."""

import os
import subprocess
from pathlib import Path

import pytest

from studies.processes import child_environment
from studies.records.home import Home
from studies.tracking.children import module_command
from studies.tracking.mlflow_store import delete_experiment, sync
from studies.tracking.publisher import Publisher
from tests.studies.tracking.test_mlflow_store import serving
from tests.tracking_data import dump, four_trials, runs

MODULES = ("uuid", "json", "calendar", "locale", "mlflow", "sqlalchemy", "uvicorn", "studies/__init__", "mlp/__init__")


@pytest.fixture(name="trap")
def trap_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory whose modules leave a file when they are imported; return the path of that file."""
    trace, folder = tmp_path / "imported", tmp_path / "work"
    for name in MODULES:
        module = folder / f"{name}.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text(
            f"open({str(trace)!r}, 'a').write(__name__ + '\\n')\nraise SystemExit('imported ' + __name__)\n"
        )
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    return trace


def test_a_child_and_its_own_children_import_nothing_from_the_working_directory(trap: Path) -> None:
    environment = child_environment()
    subprocess.run(module_command("calendar", "2024"), env=environment, check=True, capture_output=True)
    grandchild = [module_command("calendar")[0], "-m", "calendar", "2024"]
    subprocess.run(grandchild, env=environment, check=True, capture_output=True)
    assert not trap.exists()


def test_a_child_inherits_the_environment_except_for_the_treatment_of_warnings(
    trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIES_HOME", "elsewhere")
    environment = child_environment(ADDED="1")
    assert environment["STUDIES_HOME"] == "elsewhere"
    assert environment["ADDED"] == "1"
    assert "PYTHONWARNINGS" not in environment
    assert not trap.exists()


@pytest.mark.slow
def test_publisher_server_and_deletion_ignore_the_working_directory_and_the_treatment_of_warnings(
    home: Home, trap: Path
) -> None:
    study = four_trials(home)
    publisher = Publisher.start(home, study.folder)
    outcome = publisher.finish()
    assert outcome.drained, outcome.error
    assert set(runs(home)) == {"digits", *(f"trial {number:04d}" for number in range(4))}
    with serving(home, 30_000 + os.getpid() % 10_000):
        pass
    assert sync(home, study.folder) == 0
    delete_experiment(home, "digits")
    assert not dump(home.mlflow_db)["runs"]
    assert not trap.exists()
