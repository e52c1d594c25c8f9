"""Five tables as CSV files, with nothing but `studies init` and `studies run`, against scikit-learn.

    python benchmarks/csv_workflow.py [--tables iris wine] [--files 5] [--jobs 1]

Each table is written several times, with its rows in another order, so that each file has other rows in its test part.
The study file is run as `init` wrote it, and the best trial is trained again with `studies train --refit --test`. The
peers are trained on the same rows: all but those of the test part. They are scikit-learn's network after a standard
scaler, and histogram gradient boosting, both with their defaults. A study takes about 40 CPU seconds, the whole
comparison about 20 minutes. The exit status is 1 if a bound at the end of the report does not hold.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from table_contestants import fit_boosting, fit_sklearn, score

TABLES = {
    "wine": "classes",
    "breast_cancer": "classes",
    "iris": "classes",
    "diabetes": "values",
    "diabetes_thousands": "values",  # its target is 1,000 times as large
}
PEERS = {"sklearn": fit_sklearn, "boosting": fit_boosting}
NAMES = ("ours", *PEERS)
BOUNDS = {"classes": 1.0, "values": 2.0}  # points of accuracy, or of R², that the mean may be below the best peer
METRICS = {"classes": "accuracy", "values": "r2"}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES, metavar="TABLE")
    parser.add_argument("--files", type=int, default=5, metavar="N", help="files of each table (default 5)")
    parser.add_argument("--jobs", type=int, default=1, help="studies at the same time (default 1)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # scikit-learn says so if a network has not converged
    runs = [(table, order) for table in options.tables for order in range(options.files)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        os.environ |= {"STUDIES_HOME": str(Path(folder) / "mlruns"), "STUDIES_CACHE": str(Path(folder) / "cache")}
        scores: dict[str, list[dict[str, float]]] = {}
        for (table, order), found in zip(runs, pool.map(lambda run: compare(*run, Path(folder)), runs), strict=True):
            scores.setdefault(table, []).append(found)
            print(f"{table:20}{order:3}" + "".join(f"  {name} {found[name]:.2f}" for name in NAMES), flush=True)
    print("\n".join(report(scores)))
    checked = bounds(scores)
    for sentence, holds in checked:
        print(f"{'holds' if holds else 'FAILS'}: {sentence}")
    return 0 if all(holds for _, holds in checked) else 1


def compare(table: str, order: int, folder: Path) -> dict[str, float]:
    """Return the score of each contestant on one file, in percent.

    Args:
        table: the name of a table.
        order: the seed of the order of its rows.
        folder: where the file and the study are written.
    """
    from studies.data.prepare import open_dataset
    from studies.search.spec import read_spec

    task, name = TABLES[table], f"{table}-{order}"
    rows = read_table(table).sample(frac=1, random_state=order)
    rows.to_csv(folder / f"{name}.csv", index=False)
    studies("init", "--data", f"{name}.csv", "--target", "target", folder=folder)
    studies("run", f"{name}.toml", "--no-publish", "--workers", "1", folder=folder)
    printed = studies("train", f"mlruns/studies/{name}/best.toml", "--refit", "--test", folder=folder)
    shown = re.findall(rf"^test/{METRICS[task]} +(\S+)", printed, re.M)
    scores = {"ours": 100.0 * float(shown[0])}
    dataset = open_dataset(read_spec(folder / f"{name}.toml").base.data, beside=[folder])
    if len(dataset.columns) != rows.shape[1] - 1:
        sys.exit(f"{name}: the study uses only the columns {', '.join(dataset.columns)}.")
    train, test = (pd.DataFrame(np.asarray(part, float)) for part in (dataset.inputs, dataset.test_inputs))
    targets, answers = dataset.targets.reshape(-1), dataset.test_targets.reshape(-1)
    for peer, fit in PEERS.items():
        scores[peer] = score(fit(train, targets, task, order)(test), answers, task)
    return scores


def read_table(name: str) -> pd.DataFrame:
    """Return a table of scikit-learn, with its target in the column `target`."""
    from sklearn import datasets

    bundled = name.removesuffix("_thousands")
    frame: pd.DataFrame = getattr(datasets, f"load_{bundled}")(as_frame=True).frame
    return frame if bundled == name else frame.assign(target=1000 * frame["target"])


def studies(*arguments: str, folder: Path) -> str:
    """Run a command in a folder; return what it prints, or exit with its error."""
    command = [sys.executable, "-m", "studies", *arguments]
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if answer.returncode:
        sys.exit(f"studies {' '.join(arguments)}: {answer.stderr}")
    return answer.stdout


def report(scores: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    """Return the lines of the comparison.

    Args:
        scores: the score of each contestant on each file, by table.
    """
    lines = ["", f"{'table':20}" + "".join(f"{name:>10}" for name in NAMES) + f"{'difference':>12}"]
    for table, files in scores.items():
        best = best_peer(files)
        differences = [found["ours"] - found[best] for found in files]
        error = statistics.stdev(differences) / math.sqrt(len(files)) if len(files) > 1 else math.nan
        means = "".join(f"{mean(files, name):10.2f}" for name in NAMES)
        lines.append(f"{table:20}{means}{statistics.mean(differences):+12.2f} ± {error:.2f}")
    note = "The difference is to the best peer, with its standard error."
    return [*lines, f"Mean accuracy or R² on the test part in percent. {note}"]


def bounds(scores: Mapping[str, Sequence[Mapping[str, float]]]) -> list[tuple[str, bool]]:
    """Return what must hold, as a sentence with the measured numbers, and whether it does."""
    found = []
    for table, files in scores.items():
        peer, bound = best_peer(files), BOUNDS[TABLES[table]]
        own, theirs = mean(files, "ours"), mean(files, peer)
        sentence = f"{table}: mean score {own:.2f} at most {bound:g} below that of {peer}, {theirs:.2f}"
        found.append((sentence, own >= theirs - bound))
    return found


def best_peer(files: Sequence[Mapping[str, float]]) -> str:
    """Return the peer with the best mean score."""
    return max(PEERS, key=lambda name: mean(files, name))


def mean(files: Sequence[Mapping[str, float]], name: str) -> float:
    """Return the mean score of a contestant."""
    return statistics.mean(found[name] for found in files)


if __name__ == "__main__":
    sys.exit(main())
