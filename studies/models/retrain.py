"""Training one configuration again, outside a study: reproduce its result, evaluate it, save the model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlp.config import TrainConfig
from mlp.data import Dataset, Examples, Split
from mlp.errors import ConfigError, errors_in
from mlp.model import Model
from mlp.model_io import check_writable, save_model
from mlp.training import EpochMetrics, Training
from studies.data.prepare import open_dataset
from studies.models.comparison import compare
from studies.models.export import Provenance, read_config

OnEpoch = Callable[[EpochMetrics], object]


@dataclass(frozen=True)
class RetrainResult:
    """The result of `retrain`.

    Attributes:
        config: the configuration that was trained: with the new seed if one was given; for a refit without validation
            and early stopping.
        n_train: the number of training examples.
        epochs: the number of epochs run.
        kept_epoch: the epoch whose weights are kept, counted from 1.
        scores: all metrics of the kept epoch, by key.
        test: the metrics on the test part, with keys `test/...`; None if `test` was not set.
        weight_digest: the SHA-256 of the kept weights.
        seconds: the time spent training, in seconds; for a refit including the search for its number of epochs.
        reproduced: whether the result is exactly as recorded; None if nothing was compared.
        differences: deviations from the record that nothing explains. These are failures.
        warnings: deviations that another machine or other versions explain, or data that has changed since.
        saved: the path of the saved model, or None if `save` was not set.
    """

    config: TrainConfig
    n_train: int
    epochs: int
    kept_epoch: int
    scores: Mapping[str, float]
    test: Mapping[str, float] | None
    weight_digest: str
    seconds: float
    reproduced: bool | None
    differences: tuple[str, ...]
    warnings: tuple[str, ...]
    saved: Path | None


def retrain(
    config: TrainConfig | str | Path,
    provenance: Provenance | None = None,
    *,
    data_dir: str | Path | None = None,
    test: bool = False,
    refit: bool = False,
    seed: int | None = None,
    save: str | Path | None = None,
    pictures: str | Path | None = None,
    on_epoch: OnEpoch | None = None,
    progress: bool = False,
) -> RetrainResult:
    """Train a configuration to the end and compare the result with what is recorded of it.

    Example:
        result = retrain("experiments/best/digits.toml", test=True, save="digits.json")
        print(result.reproduced, result.test["test/accuracy"])

    Args:
        config: the configuration to train; or the path of a file with one: an export, a training configuration, or a
            study file, of which `[base]` is trained.
        provenance: the recorded result of an earlier training; by default that in the file. With `seed` or `refit`
            only the data is compared with it, because these change the result.
        data_dir: a folder with `mnist/*.gz`, `fashion-mnist/*.gz` or CSV files; by default the environment variable
            `STUDIES_DATA`.
        test: whether to evaluate the kept weights on the test part.
        refit: whether to train on the training and validation parts together. The number of epochs is the recorded kept
            epoch; without a record, a normal training finds it first. The schedule still spans `config.epochs`, and
            there is no early stopping.
        seed: a seed that replaces that of the configuration.
        save: where to save the model: a folder, or a file whose name ends in `.json`.
        pictures: the folder to write figures to; they show predictions on the test part if `test` is set, otherwise on
            the validation part.
        on_epoch: called with the metrics of each epoch. A refit without a record counts its epochs from 1 again.
        progress: whether to show a progress bar during downloads.

    Raises:
        ConfigError: if the configuration is not valid, the data is missing or does not fit it, or `save` or `pictures`
            cannot be written. An error in a field names the file, if `config` is one.
        DivergedError: if the training diverges.
    """
    check_outputs(save, pictures)  # before the training rather than after hours of it
    place = ""
    if not isinstance(config, TrainConfig):
        place = f"{config}:"
        config, recorded = read_config(config)
        provenance = provenance or recorded
    with errors_in(place):
        if seed is not None:
            config = replace(config, seed=seed)
        dataset = open_dataset(config.data, data_dir=data_dir, progress=progress)
        if test and not len(dataset.test_inputs):
            raise ConfigError(f'leaves no test rows in "{dataset.name}".', path="data.test")
        if refit:
            training, seconds = _refit(config, provenance, dataset, on_epoch)
        else:
            training = _train(config, dataset.split(config.data, config.seed), config.epochs, on_epoch)
            seconds = training.seconds
    test_part = dataset.test(training.data.train.encoding) if test else None
    test_scores = training.evaluate(test_part, "test") if test_part is not None else None
    scores = training.kept_scores()
    comparison = compare(training, dataset, provenance, is_same=seed is None and not refit)
    if save is not None:
        save_model(Model.of(training, dataset, metrics=scores | (test_scores or {})), save)
    if pictures is not None:
        _write_pictures(training, dataset, test_part, Path(pictures))
    return RetrainResult(
        config=training.config,
        n_train=len(training.data.train),
        epochs=training.epoch,
        kept_epoch=training.kept_epoch,
        scores=scores,
        test=test_scores,
        weight_digest=training.weight_digest(),
        seconds=seconds,
        reproduced=comparison.reproduced,
        differences=comparison.differences,
        warnings=comparison.warnings,
        saved=None if save is None else Path(save),
    )


def check_outputs(save: str | Path | None, pictures: str | Path | None) -> None:
    """Check, before a training, that its model and its figures can be written. The folder of figures is created.

    Args:
        save: the place of the model, or None.
        pictures: the folder of the figures, or None.

    Raises:
        ConfigError: if something else is in the place of the model, or the folder cannot be written.
    """
    if save is not None:
        check_writable(save)
    if pictures is not None:
        folder = Path(pictures)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be written: {error.strerror}. Choose another folder.") from None


def _train(config: TrainConfig, data: Split, epochs: int, on_epoch: OnEpoch | None) -> Training:
    """Return a training after up to `epochs` epochs, with the kept parameters in its network."""
    training = Training(config, data)
    training.run(epochs, on_epoch)
    training.restore_kept()
    return training


def _refit(
    config: TrainConfig, provenance: Provenance | None, dataset: Dataset, on_epoch: OnEpoch | None
) -> tuple[Training, float]:
    """Return a training on the training and validation parts, and the seconds that it took."""
    epochs, seconds = _epochs_of_refit(config, provenance, dataset, on_epoch)
    no_validation = replace(config.data, validation=0, folds=0, fold=0)
    refit_config = replace(config, data=no_validation, early_stopping=None)
    # The schedule spans `config.epochs`, so the refit has the same configuration and is stopped from outside.
    training = _train(refit_config, dataset.without_validation(config.data), epochs, on_epoch)
    return training, seconds + training.seconds


def _epochs_of_refit(
    config: TrainConfig, provenance: Provenance | None, dataset: Dataset, on_epoch: OnEpoch | None
) -> tuple[int, float]:
    """Return the number of epochs of a refit, and the seconds that finding it took."""
    if config.early_stopping is None:
        return config.epochs, 0.0
    if provenance is None:
        training = _train(config, dataset.split(config.data, config.seed), config.epochs, on_epoch)
        return training.kept_epoch, training.seconds
    if not 1 <= provenance.kept_epoch <= config.epochs:
        problem = f"must be from 1 to epochs = {config.epochs}, got {provenance.kept_epoch}."
        raise ConfigError(problem, path="provenance.kept_epoch")
    return provenance.kept_epoch, 0.0


def _write_pictures(training: Training, dataset: Dataset, test_part: Examples | None, folder: Path) -> None:
    from studies.models.pictures import write_pictures  # matplotlib is slow to import

    examples = test_part or training.data.validation or training.data.train
    write_pictures(training, dataset, examples, folder)
