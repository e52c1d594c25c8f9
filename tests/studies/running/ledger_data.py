"""Studies of the tests of the ledger."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.study_data import (
    run,
    run_until,
    small_study,
)


@pytest.fixture(name="complete_home", scope="module")
def complete_home_fixture(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the complete small study; tests must not change it."""
    root = tmp_path_factory.mktemp("complete")
    run(small_study(), root, digits)
    return root


@pytest.fixture(name="stopped_home", scope="module")
def stopped_home_fixture(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the small study, stopped halfway; tests must not change it."""
    root = tmp_path_factory.mktemp("stopped")
    run_until(12, small_study(), root, digits)
    return root


@pytest.fixture(name="complete")
def complete_fixture(complete_home: Path, tmp_path: Path) -> Path:
    """A complete study that a test may change."""
    return shutil.copytree(complete_home, tmp_path / "complete")


@pytest.fixture(name="stopped")
def stopped_fixture(stopped_home: Path, tmp_path: Path) -> Path:
    """A stopped study that a test may change or resume."""
    return shutil.copytree(stopped_home, tmp_path / "stopped")
