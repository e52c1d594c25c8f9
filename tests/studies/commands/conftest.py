"""Fixtures: a shell in an empty folder, and one in a folder where a study has finished."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from studies.data.prepare import prepare_data
from studies.tracking.own_store import relocate
from tests.studies.commands.shell import (
    Shell,
)
from tests.tracking_data import dump, migrated_db_fixture  # noqa: F401 - a fixture


@pytest.fixture(scope="session", name="cache")
def cache_fixture(migrated_db: Path) -> Path:
    """Return a cache that contains the digits; all processes of a test session share it."""
    cache = migrated_db.parents[1] / "cli-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIES_CACHE", str(cache))
        prepare_data("digits")
    return cache


@pytest.fixture(scope="session", name="finished_once")
def finished_once_fixture(migrated_db: Path, cache: Path) -> Path:
    """Return a folder in which a study has finished, and `printed.json` with its output. Tests must copy it."""
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
    """Return a shell in a folder with two study files and nothing else."""
    shell = Shell(tmp_path / "a folder", cache)
    yield shell
    shell.close()


@pytest.fixture(name="finished")
def finished_fixture(shell: Shell, finished_once: Path) -> Shell:
    """Return a shell in a folder in which a study has finished."""
    shutil.copytree(finished_once, shell.folder, dirs_exist_ok=True)
    relocate(shell.home)  # because it was copied, and the commands would say so
    return shell


@pytest.fixture(name="published")
def published_fixture(shell: Shell, migrated_db: Path) -> Shell:
    """Return a shell in a folder whose MLflow database has its tables already."""
    shell.home.create()
    shutil.copy(migrated_db, shell.home.mlflow_db)
    return shell
