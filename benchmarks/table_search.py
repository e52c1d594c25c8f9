"""How our network takes part in `tables.py`: as `studies init` sets it up, with and without a search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mlp import Dataset, DivergedError, Model, TrainConfig, Training
from mlp.data_config import DataConfig
from mlp.epochs import EpochMetrics
from mlp.folds import open_training
from studies.records.files import parse_toml
from studies.search.spec import StudySpec, make_spec
from studies.search.starter import Starter


def read_starter(frame: Any, target: Any, task: str, seed: int) -> tuple[Dataset, StudySpec]:
    """Return the training rows as a data set, and the study of a new study file for them.

    Args:
        frame: the inputs.
        target: the classes, or the values.
        task: `classes` or `values`.
        seed: the seed of the search and of every training.
    """
    dataset = Dataset.from_arrays(frame, target, task=task)
    starter = Starter.of(DataConfig(file="table.csv", target="target", test=0), dataset)
    return dataset, make_spec(parse_toml(starter.text().replace("seed        = 0", f"seed = {seed}")), [f"seed={seed}"])


def refit(config: TrainConfig, dataset: Dataset) -> Callable[[Any], Any]:
    """Train on all rows, and return how to predict."""
    alone = replace(config, data=replace(config.data, validation=0, folds=0), early_stopping=None)
    training = Training(alone, dataset.without_validation(alone.data))
    training.run()
    model = Model.of(training, dataset)
    if dataset.task == "classes":
        return lambda rows: np.asarray(dataset.classes)[model.predict(rows)]
    return model.predict


def search(spec: StudySpec, dataset: Dataset, *, trainings: int) -> TrainConfig:
    """Return the best configuration of a search.

    Trial 0 is base, and trials end one after another, as in a study with parallelism 1.

    Args:
        spec: the study.
        dataset: the rows to train and validate on.
        trainings: the number of trainings of base whose epochs may be spent.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction=spec.direction,
        sampler=spec.study.sampler.build(spec.space, spec.study.seed, 0, 1),
        pruner=spec.study.pruner.build(spec.base.epochs),
    )
    study.enqueue_trial(dict(spec.space.params_of_base() or {}))
    left = trainings * spec.base.epochs

    def objective(trial: optuna.Trial) -> float:
        nonlocal left
        config = spec.space.configure(spec.space.suggest(trial))
        training = open_training(config, dataset.splits(config.data, config.seed))

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
    return spec.space.configure(study.best_trial.params)
