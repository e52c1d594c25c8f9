"""Training an ensemble: the networks of one configuration with several seeds, whose predictions are averaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mlp.arrays import Array
from mlp.config import TrainConfig
from mlp.data import Dataset
from mlp.ensemble import Ensemble
from mlp.errors import ConfigError, errors_in
from mlp.folds import CrossValidation
from mlp.model import Model
from mlp.model_io import save_model
from mlp.scores import evaluate, without_folds
from mlp.training import Training
from studies.models.comparison import environment_differences
from studies.models.export import Provenance, read_config
from studies.models.retrain import OnPlan, check_outputs, open_data, train_or_refit, without_validation

MAX_NETWORKS = 100


@dataclass(frozen=True)
class MemberScores:
    """The result of training one configuration with one seed of an ensemble.

    Attributes:
        seed: the seed.
        scores: all metrics of the kept epoch, by key.
        test: the metrics on the test part, with keys `test/...`, the mean over folds; None if they were not asked for.
        weight_digest: the SHA-256 of the kept weights.
    """

    seed: int
    scores: Mapping[str, float]
    test: Mapping[str, float] | None
    weight_digest: str


@dataclass(frozen=True)
class EnsembleResult:
    """The result of `train_ensemble`.

    Attributes:
        members: the results of the single seeds.
        n_networks: the number of networks: one per seed, or one per seed and fold.
        validation: the metrics of the ensemble on the validation part, with keys `validation/...`; None if the seeds
            do not share one, because the examples that one network is evaluated on have then trained another.
        test: the metrics of the ensemble on the test part, with keys `test/...`; None if `test` was not set.
        seconds: the time spent training, in seconds.
        differences: weights that are not as recorded, which nothing explains; empty if all are reproduced.
        warnings: differences of the machine and of versions that explain other weights.
        n_reproduced: how many seeds have led to exactly the recorded weights.
        saved: the path of the saved model, or None if `save` was not set.
    """

    members: tuple[MemberScores, ...]
    n_networks: int
    validation: Mapping[str, float] | None
    test: Mapping[str, float] | None
    seconds: float
    differences: tuple[str, ...]
    warnings: tuple[str, ...]
    n_reproduced: int
    saved: Path | None


def train_ensemble(
    config: TrainConfig | str | Path,
    n: int,
    provenance: Provenance | None = None,
    *,
    data_dir: str | Path | None = None,
    beside: str | Path | None = None,
    test: bool = False,
    refit: bool = False,
    save: str | Path | None = None,
    on_member: Callable[[MemberScores], object] | None = None,
    on_plan: OnPlan | None = None,
    progress: bool = False,
) -> EnsembleResult:
    """Train a configuration with several seeds; their networks are an ensemble.

    The seeds are those with which a study has confirmed the configuration, if it is an export; its weights are then
    compared with the recorded ones. Otherwise, and if these are too few, they are the seed of the configuration and
    the numbers after it. Each seed draws a split of its own. A cross-validation adds the network of each fold.

    Args:
        config: the configuration, or the path of a file with one, as for `retrain`.
        n: the number of seeds.
        provenance: what is recorded of the configuration; by default what is in the file.
        data_dir: a folder with data files; by default the environment variable `STUDIES_DATA`.
        beside: the folder in which the file of the data is looked up first; by default that of the file `config`.
        test: whether to evaluate the ensemble and each network on the test part.
        refit: whether to train on the training and validation parts together.
        save: where to save the ensemble: a folder, or a file whose name ends in `.json`.
        on_member: called with the result of each seed.
        on_plan: called before the training with what is learnt from the data.
        progress: whether to show a progress bar during downloads.

    Raises:
        ConfigError: if the configuration is not valid, the data is missing or does not fit it, `save` cannot be
            written, or `n` is not from 2 to 100.
        DivergedError: if a training diverges.
    """
    if not 2 <= n <= MAX_NETWORKS:
        raise ConfigError(f"an ensemble must have 2 to {MAX_NETWORKS} seeds, got {n}.")
    check_outputs(save, None)
    place, beside = (f"{config}:", beside or Path(config).parent) if isinstance(config, str | Path) else ("", beside)
    if not isinstance(config, TrainConfig):
        config, recorded = read_config(config)
        provenance = provenance or recorded
    with errors_in(place):
        dataset = open_data(
            config,
            provenance,
            data_dir=data_dir,
            beside=beside,
            test=test,
            refit=refit,
            on_plan=on_plan,
            progress=progress,
        )
        refit_config = without_validation(config) if refit else None
        known = {} if provenance is None or refit else provenance.confirmed
        networks: list[Model] = []
        members: list[MemberScores] = []
        held_out: list[Array | None] = []
        seconds, differences, n_reproduced = 0.0, list[str](), 0
        for seed in seeds_of(config, provenance, n):
            own = None if refit_config is None else refit_config.with_seed(seed)
            training, spent = train_or_refit(config.with_seed(seed), provenance, dataset, None, own)
            seconds += spent
            networks += models_of(training, dataset)
            held_out.append(_validation_rows(training))
            members.append(_scores(training, dataset, seed, test=test))
            if str(seed) in known:
                now, then = training.weight_digest(), known[str(seed)]
                n_reproduced += now == then
                if now != then:
                    differences.append(f"The digest of the weights of seed {seed} is {now}, recorded as {then}.")
            if on_member is not None:
                on_member(members[-1])
    ensemble = Ensemble.of(networks)
    validation = _evaluate_validation(ensemble, dataset, held_out)
    scores = evaluate_test(ensemble, dataset) if test else None
    if save is not None:
        metrics = mean_scores([member.scores for member in members]) | (validation or {}) | (scores or {})
        defined = {key: value for key, value in without_folds(metrics).items() if not math.isnan(value)}
        save_model(replace(ensemble, metrics=defined), save)
    warnings = _explanations(provenance) if differences else []
    return EnsembleResult(
        members=tuple(members),
        n_networks=len(networks),
        validation=validation,
        test=scores,
        seconds=seconds,
        differences=() if warnings else tuple(differences),
        warnings=(*differences, *warnings) if warnings else (),
        n_reproduced=n_reproduced,
        saved=None if save is None else Path(save),
    )


def seeds_of(config: TrainConfig, provenance: Provenance | None, n: int) -> list[int]:
    """Return the seeds of an ensemble: those of the confirmation first, then that of the configuration and the next."""
    found = [] if provenance is None else [int(seed) for seed in provenance.confirmed]
    following = (config.seed + i for i in range(n + len(found)))
    return [*found, *(seed for seed in following if seed not in found)][:n]


def models_of(training: Training | CrossValidation, dataset: Dataset) -> list[Model]:
    """Return the network of a training, or the networks of a cross-validation, as models."""
    trainings = training.trainings if isinstance(training, CrossValidation) else (training,)
    return [Model.of(each, dataset) for each in trainings]


def evaluate_test(model: Ensemble, dataset: Dataset) -> dict[str, float]:
    """Return the metrics of an ensemble on the test part, with keys `test/...`."""
    return _evaluate(model, dataset.test_inputs, dataset.test_targets, "test")


def _evaluate_validation(
    model: Ensemble, dataset: Dataset, held_out: Sequence[Array | None]
) -> dict[str, float] | None:
    """Return the metrics of an ensemble on the validation part; None unless all its networks share one."""
    rows = held_out[0]
    if rows is None or not all(other is not None and np.array_equal(rows, other) for other in held_out):
        return None
    weights = None if dataset.weights is None else dataset.weights[rows]
    return _evaluate(model, dataset.inputs[rows], dataset.targets[rows], "validation", weights)


def _validation_rows(training: Training | CrossValidation) -> Array | None:
    """Return the rows of the validation part; None without one, and for a cross-validation, which has several."""
    if isinstance(training, CrossValidation) or training.data.validation is None:
        return None
    return training.data.validation.rows


def _evaluate(
    model: Ensemble, cells: Array, targets: Array, part: str, weights: Array | None = None
) -> dict[str, float]:
    manifest = model.manifest
    with np.errstate(all="ignore"):
        metrics, scaling = manifest.config.metrics, manifest.target_scaling
        outputs = model.outputs_of_cells(cells)
        return evaluate(outputs, targets, model.loss, part, manifest.task, metrics, weights, scaling)


def mean_scores(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over several trainings that have the same metrics."""
    return {key: float(np.mean([each[key] for each in scores])) for key in scores[0]}


def _scores(training: Training | CrossValidation, dataset: Dataset, seed: int, *, test: bool) -> MemberScores:
    trainings = training.trainings if isinstance(training, CrossValidation) else (training,)
    tests = [each.evaluate(dataset.test(each.data.train.encoding), "test") for each in trainings] if test else []
    return MemberScores(seed, training.kept_scores(), mean_scores(tests) if tests else None, training.weight_digest())


def _explanations(provenance: Provenance | None) -> list[str]:
    if provenance is None:
        return []
    return list(environment_differences({"cpu": provenance.cpu, "blas": provenance.blas, **provenance.versions}))
