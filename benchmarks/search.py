"""Searches of four kinds with equal epochs, compared by the test accuracy of the configuration that each one chooses.

    python benchmarks/search.py [--sets digits mnist] [--seeds 5] [--trainings 10] [--mnist-images 2000]

- ours: the defaults of a study (TPE, asha, four trials at the same time), without confirmation.
- Optuna: the defaults of Optuna in a plain script (TPE, median pruner), with our network, space and data.
- random: random search in the same script, without a pruner.
- scikit-learn: `HalvingRandomSearchCV` over `MLPClassifier`, with a space as close to ours as it allows. Halving starts
  every training again at each rung, and its epochs count.

All searches have the same split, and the epochs of the given number of full trainings. The chosen configuration is
trained with three fresh seeds on the training and the validation part, and evaluated on the test part. The time is the
wall time of the search; our study has one worker, like the others. MNIST is its first images, of which a quarter are to
validate on, with all 10,000 test images; `--mnist-images 60000` takes hours. What is in the cache is not run again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from mlp import Dataset, DivergedError, TrainConfig, Training
from mlp.epochs import EpochMetrics
from mlp.folds import open_training
from studies import run_study
from studies.data.prepare import open_dataset
from studies.search.spec import StudyConfig, StudySpec, read_spec

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
FRESH_SEEDS = (101, 102, 103)  # of the trainings of the chosen configuration
FACTOR = 3  # of HalvingRandomSearchCV, its default
OURS = "ours"


@dataclass(frozen=True)
class Task:
    """What is searched.

    Attributes:
        spec: the study.
        dataset: its data.
        epochs: the epochs that each search may spend.
    """

    spec: StudySpec
    dataset: Dataset
    epochs: int

    def test(self, config: TrainConfig) -> float:
        """Return the mean test accuracy of a configuration, trained with fresh seeds on all rows but the test part."""
        alone = replace(config, data=replace(config.data, validation=0))
        accuracies = []
        for seed in FRESH_SEEDS:
            training = Training(replace(alone, seed=seed), self.dataset.without_validation(alone.data))
            training.run()
            examples = self.dataset.test(training.data.train.encoding)
            accuracies.append(training.evaluate(examples, "test")["test/accuracy"])
        return float(np.mean(accuracies))


Search = Callable[[Task, int], tuple[float, float]]  # the seed -> test accuracy, seconds of the search


def main() -> None:
    from platformdirs import user_cache_path

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--sets", nargs="+", default=["digits", "mnist"], choices=["digits", "mnist"], metavar="SET")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="studies of each kind (default 5)")
    parser.add_argument("--trainings", type=int, default=10, metavar="N", help="the budget (default 10)")
    parser.add_argument("--mnist-images", type=int, default=2000, metavar="N", help="of MNIST (default 2000)")
    parser.add_argument("--cache", type=Path, default=user_cache_path("mlp-studies") / "search.jsonl")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    options.cache.parent.mkdir(parents=True, exist_ok=True)
    images = options.mnist_images
    subset = (f"data.subset={images}", f"data.validation={images // 4}", "epochs=12")
    for name, overrides in (("digits", ()), ("mnist", subset)):
        if name not in options.sets:
            continue
        spec = read_spec(EXPERIMENTS / f"{name}.toml", overrides=overrides)
        spec = replace(spec, study=replace(spec.study, trials=None, budget=float(options.trainings)))
        task = Task(spec, open_dataset(spec.base.data), options.trainings * spec.base.epochs)
        key = [name, *overrides, options.trainings]
        runs = {
            kind: [cached(options.cache, [kind, seed, *key], task, search, seed) for seed in range(options.seeds)]
            for kind, search in SEARCHES.items()
        }
        print(table(", ".join([name, *overrides, f"{options.trainings} trainings"]), runs))


def cached(file: Path, key: list[Any], task: Task, search: Search, seed: int) -> tuple[float, float]:
    """Return the result of a search, which is run and stored if the cache does not have it."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    for line in map(json.loads, lines):
        if line["key"] == key:
            return line["accuracy"], line["seconds"]
    accuracy, seconds = search(task, seed)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"key": key, "accuracy": accuracy, "seconds": seconds}) + "\n")
    return accuracy, seconds


def table(title: str, runs: dict[str, list[tuple[float, float]]]) -> str:
    """Return the results as a Markdown table: means over the study seeds with 95 % intervals, and ratios to ours."""
    lines = [f"{title}:", "", "| search | test accuracy | test errors, ours = 1 | seconds | seconds, ours = 1 |"]
    lines.append("|---|---|---|---|---|")
    own_accuracy, own_seconds = np.mean(runs[OURS], axis=0)
    for kind, results in runs.items():
        accuracy, seconds = np.mean(results, axis=0)
        spread = np.std([each[0] for each in results], ddof=1) if len(results) > 1 else 0.0
        half = 1.96 * spread / np.sqrt(len(results))
        errors = (1 - accuracy) / (1 - own_accuracy)
        cells = (f"{100 * accuracy:.2f} ± {100 * half:.2f} %", f"{errors:.2f}", f"{seconds:.0f}")
        lines.append(f"| {' | '.join((kind, *cells, f'{seconds / own_seconds:.2f}'))} |")
    return "\n".join(lines) + "\n"


def search_ours(task: Task, seed: int) -> tuple[float, float]:
    """Run a study with our defaults, whatever sampler and pruner the study file has."""
    named = task.spec.study
    study = StudyConfig(named.name, metric=named.metric, budget=named.budget, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        spec = replace(task.spec, study=study)
        launch = run_study(spec, home=folder, workers=1, publish=False, confirm=False)
        seconds, best = time.perf_counter() - start, launch.results.best
    assert best is not None
    return task.test(launch.results.config(best.number)), seconds


def script(build: Callable[[int], optuna.Study]) -> Search:
    """Return a plain script around Optuna: one trial after another, reported epoch by epoch."""

    def search(task: Task, seed: int) -> tuple[float, float]:
        start, left, spec = time.perf_counter(), task.epochs, task.spec
        split = task.dataset.splits(spec.base.data, spec.base.seed)
        study = build(seed)

        def objective(trial: optuna.Trial) -> float:
            nonlocal left
            training = open_training(spec.space.configure(spec.space.suggest(trial)), split)

            def report(epoch: EpochMetrics) -> None:
                nonlocal left
                left -= 1
                trial.report(epoch.values[spec.study.metric], epoch.epoch)
                if training.is_running and (left <= 0 or trial.should_prune()):
                    raise optuna.TrialPruned

            try:
                training.run(on_epoch=report)
            except DivergedError as error:
                raise optuna.TrialPruned from error
            return training.kept_scores()[spec.study.metric]

        while left > 0:
            study.optimize(objective, n_trials=1)
        seconds = time.perf_counter() - start
        return task.test(spec.space.configure(study.best_trial.params)), seconds

    return search


def search_by_halving(task: Task, seed: int) -> tuple[float, float]:
    """Run HalvingRandomSearchCV on the same split; each of its rungs trains from the beginning."""
    from scipy.stats import loguniform
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - scikit-learn asks for it
    from sklearn.model_selection import HalvingRandomSearchCV, PredefinedSplit
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")  # about every training that ends at max_iter
    spec, start = task.spec, time.perf_counter()
    split = task.dataset.split(spec.base.data, spec.base.seed)
    assert split.validation is not None
    rows = np.concatenate([split.train.rows, split.validation.rows])
    top = float(split.train.inputs.max())
    x, y = split.train.inputs[rows] / top, split.train.targets[rows]
    is_validation = np.isin(np.arange(len(rows)), np.arange(len(split.train.rows)), invert=True)
    epochs = spec.base.epochs
    first = epochs // FACTOR**2  # rungs at this, FACTOR and FACTOR² times as many; each costs as much as the first
    network = MLPClassifier(tol=0.0, n_iter_no_change=10**6, random_state=seed)
    widths = (32, 64, 128, 256) if len(x) < 2000 else (256, 384, 512)
    space = {
        "hidden_layer_sizes": [(width,) * depth for width in widths for depth in (1, 2, 3)],
        "activation": ["relu", "tanh"],
        "learning_rate_init": loguniform(3e-4, 3e-2),
        "alpha": loguniform(1e-5, 1e-1),
        "batch_size": [16, 32, 64, 128] if len(x) < 2000 else [128, 256],
    }
    search = HalvingRandomSearchCV(
        network,
        space,
        n_candidates=task.epochs // (3 * first),
        factor=FACTOR,
        resource="max_iter",
        min_resources=first,
        max_resources=epochs,
        cv=PredefinedSplit(np.where(is_validation, 0, -1)),
        refit=False,
        random_state=seed,
    )
    search.fit(x, y)
    seconds = time.perf_counter() - start
    test, accuracies = task.dataset.test(split.train.encoding), []
    for fresh in FRESH_SEEDS:
        chosen = MLPClassifier(tol=0.0, n_iter_no_change=10**6, random_state=fresh, max_iter=epochs)
        chosen.set_params(**{key: value for key, value in search.best_params_.items() if key != "max_iter"})
        chosen.fit(x, y)
        accuracies.append(chosen.score(test.inputs[test.rows] / top, test.row_targets))
    return float(np.mean(accuracies)), seconds


SEARCHES: dict[str, Search] = {
    OURS: search_ours,
    "Optuna": script(
        lambda seed: optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed), pruner=optuna.pruners.MedianPruner()
        )
    ),
    "random": script(
        lambda seed: optuna.create_study(
            direction="maximize", sampler=optuna.samplers.RandomSampler(seed=seed), pruner=optuna.pruners.NopPruner()
        )
    ),
    "scikit-learn": search_by_halving,
}


if __name__ == "__main__":
    main()
