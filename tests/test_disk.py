"""A study whose disk is full, read-only or gone ends with one line, and resumes to the undisturbed table."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studies.data.prepare import prepare_data
from studies.records.home import Home
from studies.records.results import load_study
from tests.disk_data import mount, small_disk
from tests.studies.commands.shell import Answer, Shell, alive, children, outcome, wait_until

STUDY = """
[study]
name = "full"
trials = 8
pruner = "none"
seed = 1
parallelism = 2

[confirm]
enabled = false

[base]
epochs = 3
batch_size = 128
data = { name = "digits" }
network = { hidden = [64] }

[space]
"network.activation" = ["relu", "tanh"]
"optimizer.learning_rate" = { low = 1e-4, high = 0.1, log = true }
"""
PUBLISHED = [False, False, True, False, True, False, False, True, False, True]
SIZES = [16, 150, 300, 400, 450, 500, 600, 3100, 680, 3500]  # KB; about 800 KB are needed, 4 MB if it is published


@pytest.fixture(scope="module", name="cache")
def cache_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIES_CACHE", str(cache))
        prepare_data("digits")
    return cache


@pytest.fixture(name="shell")
def shell_fixture(tmp_path: Path, cache: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path / "shell", cache)
    (shell.folder / "full.toml").write_text(STUDY)
    yield shell
    shell.close()


def table(home: Path) -> Any:
    return outcome(load_study("full", home))


@pytest.fixture(scope="module", name="undisturbed")
def undisturbed_fixture(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Any:
    shell = Shell(tmp_path_factory.mktemp("undisturbed"), cache)
    (shell.folder / "full.toml").write_text(STUDY)
    assert shell.studies("run", "full.toml", "--no-publish", "--workers", "2").returncode == 0
    return table(shell.home.root)


def assert_one_line(answer: Answer, text: str) -> None:
    assert answer.returncode == 1, answer
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1, answer.stderr
    assert text in answer.stderr
    assert answer.stderr.endswith("run the study again to resume it.\n")


def drafts(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.name.startswith(".") or path.name.endswith(".draft")]


def run(shell: Shell, home: Path, *options: str) -> Answer:
    return shell.studies("run", "full.toml", "--workers", "2", "--home", str(home), *options)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "is_published"), [*zip(SIZES, PUBLISHED, strict=True)])
def test_a_full_disk_ends_a_study_with_one_line_and_it_resumes(
    shell: Shell, migrated_db: Path, undisturbed: Any, size: int, is_published: bool
) -> None:
    options = [] if is_published else ["--no-publish"]
    with small_disk(shell.folder / "disk", f"{size}k") as disk:
        home = Home(disk / "home")
        if is_published:
            mount(disk, "remount,size=8m")
            home.create()
            shutil.copy(migrated_db, home.mlflow_db)
            used = shutil.disk_usage(disk).used // 1024
            mount(disk, f"remount,size={used + size % 1000}k")
        answer = run(shell, home.root, *options)
        assert_one_line(answer, "make room for 20 MB")
        assert drafts(home.root) == []
        mount(disk, "remount,size=64m")
        answer = run(shell, home.root, *options)
        assert answer.returncode == 0, answer
        assert table(home.root) == undisturbed
        assert drafts(home.root) == []


@pytest.mark.slow
@pytest.mark.parametrize("is_published", [False, True])
def test_a_home_that_disappears_ends_a_study_with_one_line_and_its_processes(
    shell: Shell, migrated_db: Path, is_published: bool
) -> None:
    shell.home.create()
    shutil.copy(migrated_db, shell.home.mlflow_db)
    driver = shell.start_long("--workers", "2", *([] if is_published else ["--no-publish"]))
    wait_until(lambda: len(children(driver.pid)) == 2 + is_published)
    found = children(driver.pid)
    shutil.rmtree(shell.home.root, ignore_errors=True)
    _, errors = driver.communicate(timeout=60)
    ended = time.monotonic()
    assert driver.returncode == 1
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1, errors
    assert "Its folder is gone." in errors
    wait_until(lambda: not alive(found), 5 - (time.monotonic() - ended))


@pytest.mark.slow
def test_a_folder_that_becomes_read_only_ends_a_study_with_one_line_and_it_resumes(
    shell: Shell, undisturbed: Any
) -> None:
    home = shell.home
    driver = shell.start("run", "full.toml", "--workers", "2", "--no-publish")
    trials = home.study("full").trials
    wait_until(lambda: len(list(trials.glob("*.npz"))) > 0)
    with small_disk(trials, "1m", "ro"):
        output, errors = driver.communicate(timeout=60)
    assert_one_line(Answer(driver.args, driver.returncode, output, errors), "Make sure that it can be written.")
    assert str(trials) in errors
    assert run(shell, home.root, "--no-publish").returncode == 0
    assert table(home.root) == undisturbed
