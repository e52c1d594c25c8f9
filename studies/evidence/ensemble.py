"""`export_ensemble`: the networks that a confirmation has trained, as one model whose predictions are their mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mlp.config import TrainConfig
from mlp.data import Dataset
from mlp.ensemble import Ensemble
from mlp.errors import ConfigError
from mlp.folds import CrossValidation, open_training
from mlp.model import Model
from mlp.model_io import check_writable, save_model
from studies.data.prepare import open_dataset
from studies.data.task import settle_task
from studies.evidence.confirmation import MAX_PAIRS, Confirmation, mean_of, read_confirmation, read_training
from studies.evidence.winner import EXPORTS, winner_of
from studies.models.ensemble import models_of
from studies.records.results import StudyResults
from studies.records.trial_record import TrialRecord
from studies.records.weights import read_weights


def export_ensemble(
    results: StudyResults,
    trial: int | None = None,
    file: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    on_notice: Callable[[str], object] | None = None,
) -> Path:
    """Save the networks that have confirmed a configuration as an ensemble, and return its path.

    The networks of the winner were stored when they were trained. Others are trained again.

    Args:
        results: the study, as `load_study(name)` returns it.
        trial: the number of a candidate of the confirmation; by default the winner.
        file: where to save it: a folder, or a file whose name ends in `.json`; by default
            `experiments/best/STUDY-ensemble`, or `STUDY-TRIAL-ensemble` if `trial` is given.
        data_dir: a folder with data files; by default the environment variable `STUDIES_DATA`.
        on_notice: called with a sentence if networks must be trained again.

    Raises:
        ConfigError: if the winner is not confirmed, the trial was not a candidate, the data cannot be found or has
            changed, the weights of a network that was trained again are not as recorded, or the file cannot be written.
    """
    if file is None:
        file = EXPORTS / (f"{results.name}-ensemble" if trial is None else f"{results.name}-{trial}-ensemble")
    confirmation = read_confirmation(results)
    number = _confirmed_trial(results, confirmation, trial)
    assert confirmation is not None
    check_writable(file)
    candidate, config = confirmation.candidate(number), results.config(number)
    place = results.record.data.folder
    dataset = open_dataset(settle_task(config), data_dir=data_dir, beside=[Path(place)] if place else ())
    if dataset.digest != results.record.data.digest:
        raise ConfigError(f'the content of the data of study "{results.name}", or how it is read, has changed since.')
    networks = [
        model
        for pair, value in candidate.values.items()
        if value is not None
        for model in _networks(results, number, pair, dataset, on_notice or _ignore)
    ]
    return save_model(Ensemble.of(networks, metrics={results.metric: mean_of(candidate)}), file)


def discard_leftovers(results: StudyResults) -> None:
    """Delete what a complete confirmation does not need: weights of other trials, checkpoints that a kill has left."""
    confirmation = read_confirmation(results)
    if results.folder is None or confirmation is None or not confirmation.is_complete:
        return
    for number, file in results.folder.confirm.stored_weights():
        if confirmation.verdict is None or number // MAX_PAIRS != confirmation.verdict.winner:
            file.unlink(missing_ok=True)
    for checkpoint in results.folder.confirm.checkpoints():
        checkpoint.unlink(missing_ok=True)


def _confirmed_trial(results: StudyResults, confirmation: Confirmation | None, trial: int | None) -> int:
    """Return the trial whose networks are averaged."""
    if confirmation is None or not confirmation.is_complete or confirmation.verdict is None:
        raise ConfigError(
            f'the winner of study "{results.name}" is not confirmed, so there are no networks to average. Run the '
            "study again to confirm it, or train an ensemble with: studies train FILE --ensemble 8 --save MODEL"
        )
    number = winner_of(results, confirmation) if trial is None else trial
    candidates = [each.trial for each in confirmation.candidates if mean_of(each) == mean_of(each)]
    if number is None or number not in candidates:
        problem = f"trial {number} was not confirmed. The candidates were {', '.join(map(str, candidates))}"
        raise ConfigError(f"{problem}. Export the trial, and train it with: studies train FILE --ensemble 8")
    return number


def _networks(
    results: StudyResults, trial: int, pair: int, dataset: Dataset, notify: Callable[[str], object]
) -> Iterator[Model]:
    """Yield the network of a pair, or with folds that of each fold: from the stored weights, or trained again."""
    record = read_training(results, trial, pair)
    assert record is not None
    assert record.ending is not None
    assert results.folder is not None
    config, ending = TrainConfig.from_mapping(record.config), record.ending
    training = open_training(config, dataset.splits(config.data, config.seed))
    theta = read_weights(results.folder.confirm.weights(record.number), ending.weight_digest)
    if theta is None:
        notify(f"The weights of pair {pair} are not stored, so it is trained again.")
        training.run()
        _check_weights(training.weight_digest(), record)
        theta = training.kept_theta
    trainings = training.trainings if isinstance(training, CrossValidation) else (training,)
    parts = np.split(theta, np.cumsum([len(each.network.theta) for each in trainings])[:-1])
    for model, part in zip(models_of(training, dataset), parts, strict=True):
        yield model.with_theta(part.copy(), epochs=ending.kept_epoch)


def _check_weights(digest: str, record: TrialRecord) -> None:
    if record.ending is not None and digest != record.ending.weight_digest:
        seed = record.config["seed"]
        raise ConfigError(
            f"the weights of seed {seed} have the digest {digest}, recorded as {record.ending.weight_digest}. "
            "Another processor or version of NumPy may explain it. Train an ensemble with `studies train` instead."
        )


def _ignore(_: str) -> None:
    """Drop a notice that nobody wants."""
