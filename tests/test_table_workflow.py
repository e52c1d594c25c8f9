"""Own tables from the CSV file to predictions, with the commands that a user types.

The tables have numbers, dates in five formats, categories, booleans, and cells that are missing.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlp import load_model
from studies.models.predict import read_inputs
from tests.mlp_data import NUMPY_ONLY
from tests.studies.commands.shell import Answer, Shell

FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%Y-%m-%dT%H:%M:%S", "%d-%b-%Y")


@pytest.fixture(name="shell")
def shell_fixture(tmp_path: Path) -> Iterator[Shell]:
    """Return a shell in an empty folder, with an empty cache."""
    shell = Shell(tmp_path / "a folder", tmp_path / "cache")
    yield shell
    shell.close()


def untidy(n: int, *, n_levels: int, missing: float) -> pd.DataFrame:
    """Return a table of texts, whose columns `kind` and `price` can be predicted from the others.

    Args:
        n: the number of rows.
        n_levels: the number of levels of the column `code`, at most n.
        missing: the share of the cells that are missing, except in the columns to predict.
    """
    rng = np.random.default_rng(0)
    size, weight = rng.normal(size=(2, n))
    shop = rng.integers(0, 5, n)
    moments = np.datetime64("2019-01-01T00:00:00") + rng.integers(0, 10**8, size=(5, n))
    columns: dict[str, list[str]] = {
        "size": [f"{x:.4f}" for x in size],
        "weight": [f"{x:.3f}" for x in weight],
        "shop": [("Köln", "007", "None", "St. Gallen", "a, b")[i] for i in shop],
        "is_new": [("yes", "no")[i] for i in rng.integers(0, 2, n)],
        "code": [f"c{i}" for i in rng.permutation(np.arange(n) % n_levels)],
    }
    for i, form in enumerate(FORMATS):
        columns[f"day{i}"] = [moment.strftime(form) for moment in moments[i].tolist()]
    frame = pd.DataFrame(columns).mask(rng.random((n, len(columns))) < missing, "")
    score = 2 * size + weight + shop
    return frame.assign(
        kind=np.where(score > np.median(score), "dear", "cheap"), price=[f"{1e5 + 1e4 * y:.2f}" for y in score]
    )


def later_rows(n: int) -> pd.DataFrame:
    """Return rows as they come later: in another order of columns, with unseen levels and an unused column."""
    frame = untidy(n, n_levels=n, missing=0.2).drop(columns=["kind", "price"])[lambda frame: frame.columns[::-1]]
    changed = frame.assign(order=[f"{i:05}" for i in range(n)])
    changed.loc[0, ["code", "shop"]] = ["never seen", "Atlantis"]
    return changed


def run(shell: Shell, *arguments: str, notices: bool = False) -> str:
    """Run a command that must succeed, in this process; return what it prints."""
    answer = shell.refusal_of(*arguments)
    assert answer.returncode == 0, answer
    assert notices or answer.stderr == "", answer
    return answer.stdout


def predictions(shell: Shell, monkeypatch: pytest.MonkeyPatch, model: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Predict from rows in a CSV file, from standard input and in Parquet, which must agree; return what is printed."""
    rows.to_csv(shell.folder / "later.csv", index=False)
    typed = rows.assign(**{name: pd.to_numeric(rows[name]) for name in ("size", "weight")})
    typed.to_parquet(shell.folder / "later.parquet")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((shell.folder / "later.csv").read_bytes())))
    command = ("predict", model, "--id", "order")
    answers: list[Answer] = [shell.refusal_of(*command, file) for file in ("later.csv", "-", "later.parquet")]
    for answer in answers:
        assert answer.returncode == 0, answer
        assert re.search(r"levels that the training data did not have count as no level: .*shop \(1 of", answer.stderr)
    assert answers[0].stdout == answers[1].stdout == answers[2].stdout
    run(shell, *command, "later.csv", "-o", "out.parquet", notices=True)
    table = pd.read_csv(io.StringIO(answers[0].stdout), dtype={"order": str})
    assert table["order"].tolist() == rows["order"].tolist()
    written = pd.read_parquet(shell.folder / "out.parquet")
    assert written.columns.tolist() == table.columns.tolist()
    np.testing.assert_allclose(written.select_dtypes("number"), table.select_dtypes("number"), rtol=1e-5)
    return table


def check_bits(shell: Shell, model: str, rows: pd.DataFrame) -> None:
    """Assert that a process that can import NumPy only computes the bits of this one, which reads the file."""
    loaded = load_model(shell.folder / model)
    expected = loaded.probabilities_of(loaded.outputs_of_cells(read_inputs(shell.folder / "later.csv", loaded).cells))
    (shell.folder / "rows.json").write_text(json.dumps(rows.to_dict("records")), encoding="utf-8")
    command = [sys.executable, "-c", NUMPY_ONLY, model, "rows.json"]
    found = subprocess.run(command, cwd=shell.folder, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout)["rows"] == expected.tolist()


def test_a_table_is_described_learnt_predicted_and_evaluated(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    untidy(80, n_levels=30, missing=0.1).drop(columns="price").to_csv(shell.folder / "shops.csv", index=False)
    assert "to predict" in run(shell, "data", "shops.csv", "--target", "kind")
    run(shell, "init", "--data", "shops.csv", "--target", "kind")
    printed = run(shell, "train", "shops.toml", "--refit", "--test", "--save", "model.json")
    table = predictions(shell, monkeypatch, "model.json", later_rows(20))
    assert table.columns.tolist() == ["order", "label", "cheap", "dear"]
    assert set(table["label"]) <= {"cheap", "dear"}
    (accuracy,) = re.findall(r"^test/accuracy +(\S+)", printed, re.M)
    assert re.search(rf"^test/accuracy +{float(accuracy):.4g}", run(shell, "evaluate", "model.json", "shops.csv"), re.M)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "n", "n_levels", "missing", "least"),
    [
        ("kind", 600, 40, 0.3, 0.7),
        ("price", 600, 40, 0.3, 0.3),
        ("kind", 4000, 2000, 0.0, 0.85),
        ("price", 4000, 2000, 0.0, 0.8),
    ],
    ids=["classes, 30 % missing", "values, 30 % missing", "classes, 2,000 levels", "values, 2,000 levels"],
)
def test_the_whole_workflow_on_an_untidy_table(
    target: str, n: int, n_levels: int, missing: float, least: float, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"kind": "price", "price": "kind"}[target]
    table = untidy(n, n_levels=n_levels, missing=missing).drop(columns=other)
    table.to_csv(shell.folder / "shops.csv", index=False)
    described = run(shell, "data", "shops.csv", "--target", target)
    for i in range(len(FORMATS)):
        assert re.search(rf"^ *day{i} +date", described, re.M), described
    run(shell, "init", "--data", "shops.csv", "--target", target)
    answer = shell.studies("run", "shops.toml", "--trials", "3", "--no-publish", "--workers", "1")
    assert answer.returncode == 0, answer
    run(shell, "export", "shops")
    export = "experiments/best/shops.toml"
    printed = run(shell, "train", export, "--refit", "--test", "--save", "model.json")
    metric = {"kind": "accuracy", "price": "r2"}[target]
    score = float(re.findall(rf"^test/{metric} +(\S+)", printed, re.M)[0])
    assert score > least
    evaluated = run(shell, "evaluate", "model.json", "shops.csv")
    assert float(re.findall(rf"^test/{metric} +(\S+)", evaluated, re.M)[0]) == pytest.approx(score, abs=1e-4)
    rows = later_rows(50)
    found = predictions(shell, monkeypatch, "model.json", rows)
    if target == "price":
        assert found.columns.tolist() == ["order", "price"]
        assert found["price"].between(2e4, 2.5e5).all()
    check_bits(shell, "model.json", rows)


@pytest.mark.slow
def test_a_study_of_a_permuted_target_ends_with_the_accuracy_of_chance(shell: Shell) -> None:
    table = untidy(1000, n_levels=40, missing=0.1).drop(columns="price")
    table["kind"] = np.random.default_rng(1).permutation(table["kind"])
    table.to_csv(shell.folder / "shops.csv", index=False)
    run(shell, "init", "--data", "shops.csv", "--target", "kind")
    answer = shell.studies("run", "shops.toml", "--trials", "4", "--no-publish", "--workers", "1")
    assert answer.returncode == 0, answer
    printed = run(shell, "train", "mlruns/studies/shops/best.toml", "--refit", "--test")
    assert abs(float(re.findall(r"^test/accuracy +(\S+)", printed, re.M)[0]) - 0.5) < 0.12  # 3.4 deviations of 200 rows
