"""Seconds and memory of large, wide and untidy tables, from the file to predictions.

Each table is written to a folder, and `studies data`, `init`, `train` and `predict` are run on it, each in a process of
its own. `train` takes the study file that `init` has written, but one epoch of a small network for the million rows.
Run it with: python benchmarks/wide_tables.py [TABLE ...]

On two cores that were shared with other work, a million rows of 20 columns (182 MB) took 10 s of CPU and 0.8 GB for
`data`, and 10 s and 0.7 GB for `predict`.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

CONFIG = """\
epochs = 1
batch_size = 1024
loss = "mean_squared_error"
data = { file = "table.csv", target = "y" }
optimizer = { name = "adam", learning_rate = 0.003 }
"""
FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%Y-%m-%dT%H:%M:%S", "%d-%b-%Y")
Rows = Iterator[list[object]]


def million() -> tuple[list[str], Rows]:
    """Return a million rows of 20 columns: 14 numbers, 4 categories, a date and the target."""
    n, rng = 1_000_000, np.random.default_rng(0)
    numbers = rng.normal(size=(n, 14))
    levels = rng.integers(0, [2, 5, 40, 800], size=(n, 4))
    days = np.datetime64("2015-01-01") + rng.integers(0, 3650, n)
    y = numbers[:, :4].sum(axis=1) + levels[:, 1] + 0.1 * rng.normal(size=n)
    names = [*(f"x{i}" for i in range(14)), *(f"c{i}" for i in range(4)), "day", "y"]
    rows = (
        [*(f"{x:.6g}" for x in numbers[i]), *(f"level {c}" for c in levels[i]), days[i], f"{y[i]:.5g}"]
        for i in range(n)
    )
    return names, rows


def wide() -> tuple[list[str], Rows]:
    """Return 2,000 rows of 1,000 columns of numbers, of which five matter."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(2_000, 1_000))
    y = numbers[:, :5].sum(axis=1)
    rows = ([*(f"{x:.4f}" for x in numbers[i]), f"{y[i]:.4f}"] for i in range(2_000))
    return [*(f"x{i}" for i in range(1_000)), "y"], rows


def levels() -> tuple[list[str], Rows]:
    """Return 50,000 rows of three categories of 2,000 levels each."""
    rng = np.random.default_rng(0)
    codes = np.minimum(rng.zipf(1.2, size=(50_000, 3)), 2_000)
    effects = rng.normal(size=2_001)
    y = effects[codes].sum(axis=1)
    return ["a", "b", "c", "y"], ([*(f"l{c}" for c in codes[i]), f"{y[i]:.4f}"] for i in range(50_000))


def untidy() -> tuple[list[str], Rows]:
    """Return 20,000 rows of ten columns of mixed types, dates in five formats, with 30 % of the cells missing."""
    n, rng = 20_000, np.random.default_rng(0)
    numbers = rng.normal(size=(n, 3))
    moments = np.datetime64("2020-01-01T00:00:00") + rng.integers(0, 10**8, size=(n, 5))
    sorts = rng.integers(0, 6, size=(n, 2))
    is_missing = rng.random((n, 10)) < 0.3
    y = numbers.sum(axis=1) + sorts[:, 0]

    def rows() -> Rows:
        for i in range(n):
            dates = [moment.item().strftime(form) for moment, form in zip(moments[i], FORMATS, strict=True)]
            cells = [*(f"{x:.4f}" for x in numbers[i]), *dates, f"s{sorts[i, 0]}", ("yes", "no")[sorts[i, 1] % 2]]
            cells = ["" if gone else cell for cell, gone in zip(cells, is_missing[i], strict=True)]
            yield [*cells, f"{y[i]:.4f}"]

    return [*(f"x{i}" for i in range(3)), *(f"d{i}" for i in range(5)), "s", "b", "y"], rows()


TABLES: dict[str, Callable[[], tuple[list[str], Rows]]] = {
    "untidy": untidy,
    "levels": levels,
    "wide": wide,
    "million": million,
}


def main() -> None:
    """Run the tables that the command line names, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=", ".join(TABLES))
    chosen = parser.parse_args().tables or list(TABLES)
    print(f"{'table':8} {'command':8} {'seconds':>8} {'CPU':>8} {'MB':>8}")
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            run(name, Path(folder), *TABLES[name]())


def run(name: str, folder: Path, names: list[str], rows: Rows) -> None:
    """Write a table and run the commands on it."""
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        writer.writerows(rows)
    (folder / "short.toml").write_text(CONFIG)
    print(f"{name:8} {'file':8} {'':8} {'':8} {(folder / 'table.csv').stat().st_size / 1e6:8.0f}")
    for command in (
        ("data", "table.csv", "--target", "y"),
        ("init", "--data", "table.csv", "--target", "y", "-o", "study.toml"),
        ("train", "short.toml" if name == "million" else "study.toml", "--test", "--save", "model"),
        ("predict", "model", "table.csv", "-o", "out.csv"),
    ):
        started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        measured = [sys.executable, "-c", MEASURE, sys.executable, "-m", "studies", *command]
        answer = subprocess.run(
            measured,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "STUDIES_CACHE": str(folder / "cache")},
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if answer.returncode:
            sys.exit(f"{' '.join(command)}: {answer.stderr}")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        peak = int(answer.stderr.splitlines()[-1]) / 1e3
        print(f"{name:8} {command[0]:8} {time.monotonic() - started:8.1f} {cpu:8.1f} {peak:8.0f}", flush=True)
        if command[0] == "train":
            print("\n".join(line for line in answer.stdout.splitlines() if line.startswith("test/")))


# The peak of the memory of children is that of the largest one so far, so each command has a parent of its own.
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""

if __name__ == "__main__":
    main()
