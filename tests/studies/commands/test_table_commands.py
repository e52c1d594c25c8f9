"""`studies init`, run as a person would run it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from studies.search.spec import read_spec
from tests.studies.commands.shell import Shell


@pytest.fixture(name="table")
def table_fixture(shell: Shell) -> Shell:
    """Return a shell in a folder with a table of 60 rows."""
    rows = [f"{i % 7},{(i * i) % 11},{'high' if i % 7 > 3 else 'low'}" for i in range(60)]
    (shell.folder / "Wine list.csv").write_text("\n".join(["acid,sugar,quality", *rows, ""]))
    return shell


def test_init_writes_a_study_file_named_after_the_table(table: Shell) -> None:
    answer = table.refusal_of("init", "--data", "Wine list.csv", "--target", "quality")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.search(r"^search +studies run Wine-list\.toml$", answer.stdout, re.M)
    spec = read_spec(table.folder / "Wine-list.toml")
    assert (spec.study.name, spec.base.data.target, spec.base.data.task) == ("Wine-list", "quality", "classes")


def test_init_does_not_replace_a_file_unless_forced(table: Shell) -> None:
    arguments = ("init", "--data", "Wine list.csv", "--target", "quality", "-o", "study.toml")
    answer = table.refusal_of(*arguments)
    assert answer.returncode == 2
    assert answer.stderr == (
        "error: study.toml: exists already. Choose another file with -o, or replace it with --force.\n"
    )
    assert table.refusal_of(*arguments, "--force").returncode == 0
    assert read_spec(table.folder / "study.toml").base.data.file == "Wine list.csv"


def test_init_refuses_a_column_that_the_table_does_not_have(table: Shell) -> None:
    answer = table.refusal_of("init", "--data", "Wine list.csv", "--target", "qualty")
    assert (answer.returncode, answer.stderr.count("\n")) == (2, 1)
    assert '"quality"' in answer.stderr
    assert not (table.folder / "Wine-list.toml").exists()


def test_init_names_the_table_as_seen_from_the_study_file_and_keeps_options(table: Shell) -> None:
    arguments = ("init", "--data", "Wine list.csv", "--target", "quality", "-o", "studies/wine.toml")
    answer = table.refusal_of(*arguments, "--set", 'data.drop=["acid"]')
    assert (answer.returncode, answer.stderr) == (0, "")
    data = read_spec(table.folder / "studies" / "wine.toml").base.data
    assert (data.file, data.drop) == ("../Wine list.csv", ("acid",))


def test_init_of_arrays_needs_no_column_and_init_of_a_table_asks_for_one(table: Shell) -> None:
    rng = np.random.default_rng(0)
    np.savez(table.folder / "own.npz", x=rng.normal(size=(60, 3)), y=rng.integers(0, 3, 60))
    answer = table.refusal_of("init", "--data", "own.npz")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert table.refusal_of("run", "own.toml", "--dry-run").returncode == 0
    assert "--target" in table.refusal_of("init", "--data", "Wine list.csv").stderr


@pytest.mark.slow
def test_the_study_of_init_runs_as_it_stands(table: Shell) -> None:
    assert table.refusal_of("init", "--data", "Wine list.csv", "--target", "quality").returncode == 0
    answer = table.studies("run", "Wine-list.toml", "--trials", "3", "--no-publish")
    assert answer.returncode == 0, answer.stderr
    answer = table.studies("train", "mlruns/studies/Wine-list/best.toml", "--refit", "--test")
    assert answer.returncode == 0, answer.stderr
    assert "test/accuracy" in answer.stdout
