"""The contestants of `tables.py`: how each fits a table and predicts. Runs in the environment of a contestant.

    python benchmarks/table_contestants.py CONTESTANT CACHE --tables iris wine --seeds 3

Each fit adds one line to CACHE/results/CONTESTANT.jsonl: the score on the test part in percent (accuracy or R²) and the
CPU seconds of the fit. A fit that has its line already is not repeated, unless the table, a library or the starter has
changed. After any other change of `mlp` or `studies`, delete the file.
"""

from __future__ import annotations

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # read when a library is loaded, so set before the imports

import argparse  # noqa: E402
import hashlib  # noqa: E402
import itertools  # noqa: E402
import json  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from importlib.metadata import version  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from table_sources import Table, load  # noqa: E402

Predict = Callable[[pd.DataFrame], Any]
Fit = Callable[[pd.DataFrame, Any, str, int], Predict]


def fit_sklearn(frame: pd.DataFrame, target: Any, task: str, seed: int) -> Predict:
    """Fit scikit-learn's network with its defaults, and enough epochs that it stops by itself."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kind = MLPClassifier if task == "classes" else MLPRegressor
    pipeline = make_pipeline(_prepare_columns(frame), StandardScaler(), kind(max_iter=1000, random_state=seed))
    model = pipeline if task == "classes" else TransformedTargetRegressor(pipeline, transformer=StandardScaler())
    return model.fit(frame, target).predict


def _prepare_columns(frame: pd.DataFrame) -> Any:
    """Return the imputation of numbers by their median, and one input for each level of a category."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    numbers = [column for column in frame.columns if pd.api.types.is_numeric_dtype(frame[column])]
    categories = [column for column in frame.columns if column not in numbers]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((SimpleImputer(strategy="median"), numbers), (encoder, categories))


def fit_boosting(frame: pd.DataFrame, target: Any, task: str, seed: int) -> Predict:
    """Fit scikit-learn's histogram gradient boosting with its defaults; it reads categories and missing cells."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if task == "classes" else HistGradientBoostingRegressor
    as_categories = _with_categories(frame)
    model = kind(random_state=seed, categorical_features="from_dtype").fit(as_categories(frame), target)
    return lambda rows: model.predict(as_categories(rows))


def _with_categories(frame: pd.DataFrame) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return the function that makes columns of texts categories, with the levels of a frame."""
    texts = [column for column in frame.columns if not pd.api.types.is_numeric_dtype(frame[column])]
    types = {column: pd.CategoricalDtype(sorted(frame[column].dropna().unique())) for column in texts}
    return lambda rows: rows.astype(types)


def fit_realmlp(frame: pd.DataFrame, target: Any, task: str, seed: int) -> Predict:
    """Fit RealMLP-TD-S of Holzmüller et al. 2024, arXiv:2407.04491, as `pytabkit` provides it, with its defaults."""
    from pytabkit import RealMLP_TD_S_Classifier, RealMLP_TD_S_Regressor

    kind = RealMLP_TD_S_Classifier if task == "classes" else RealMLP_TD_S_Regressor
    numbers = frame.select_dtypes("number").columns
    medians, as_categories = frame[numbers].median(), _with_categories(frame)
    model = kind(random_state=seed, device="cpu", n_threads=1, verbosity=0)
    model.fit(as_categories(frame.fillna(medians)), np.asarray(target))
    return lambda rows: model.predict(as_categories(rows.fillna(medians)))


def fit_ours(frame: pd.DataFrame, target: Any, task: str, seed: int) -> Predict:
    """Train [base] of the study file that `studies init` writes, on all rows; nothing is searched."""
    from table_search import read_starter, refit

    dataset, spec = read_starter(frame, target, task, seed)
    return refit(spec.base, dataset)


def fit_searched(frame: pd.DataFrame, target: Any, task: str, seed: int) -> Predict:
    """Search the study that `studies init` writes for as many epochs as 20 trainings have, and train the best."""
    from table_search import read_starter, refit, search

    dataset, spec = read_starter(frame, target, task, seed)
    return refit(search(spec, dataset, trainings=20), dataset)


CONTESTANTS: dict[str, tuple[Fit, tuple[str, ...]]] = {
    "ours": (fit_ours, ("numpy",)),
    "searched": (fit_searched, ("numpy", "optuna")),
    "sklearn": (fit_sklearn, ("scikit-learn",)),
    "boosting": (fit_boosting, ("scikit-learn",)),
    "realmlp": (fit_realmlp, ("pytabkit", "torch")),
}


def score(predicted: Any, target: Any, task: str) -> float:
    """Return the accuracy, or R², in percent."""
    if task == "classes":
        return 100.0 * float(np.mean(np.asarray(predicted).astype(str) == np.asarray(target).astype(str)))
    target, predicted = np.asarray(target, float), np.asarray(predicted, float).ravel()
    return 100.0 * float(1.0 - np.sum((target - predicted) ** 2) / np.sum((target - target.mean()) ** 2))


def _starter_digest(contestant: str) -> list[str]:
    """Return the start of the SHA-256 of what decides our configurations; nothing for other contestants."""
    if contestant not in ("ours", "searched"):
        return []
    import table_search

    from studies.search import starter

    sources = [Path(module.__file__ or "").read_bytes() for module in (starter, table_search)]
    return [hashlib.sha256(b"".join(sources)).hexdigest()[:12]]


def run_fits(contestant: str, tables: list[Table], seeds: int, done: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Yield the result of each fit that is not done yet.

    Args:
        contestant: the name of a contestant.
        tables: the tables.
        seeds: the number of seeds.
        done: the table, the seed and the recipe of fits that have been run.
    """
    fit, packages = CONTESTANTS[contestant]
    versions = " ".join([f"{package}-{version(package)}" for package in packages] + _starter_digest(contestant))
    for table, seed in itertools.product(tables, range(seeds)):
        recipe = f"{table.digest} {versions}"
        if (table.name, seed, recipe) in done:
            continue
        is_test = np.isin(np.arange(len(table.frame)), table.test_rows[seed])
        train, test = (table.frame[mask].reset_index(drop=True) for mask in (~is_test, is_test))
        started = time.process_time()
        predict = fit(train, table.target[~is_test].reset_index(drop=True), table.task, seed)
        seconds = time.process_time() - started
        result = score(predict(test), table.target[is_test], table.task)
        yield {"table": table.name, "seed": seed, "recipe": recipe, "score": result, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--tables", nargs="+", required=True)
    parser.add_argument("--seeds", type=int, required=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    file = options.cache / "results" / f"{options.contestant}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    done = {(line["table"], line["seed"], line["recipe"]) for line in map(json.loads, lines)}
    tables = [load(options.cache / "tables" / name) for name in options.tables]
    with file.open("a", encoding="utf-8") as results:
        for result in run_fits(options.contestant, tables, options.seeds, done):
            results.write(json.dumps(result) + "\n")
            results.flush()


if __name__ == "__main__":
    main()
