"""Training one configuration again, outside a study: reproduce its result, evaluate it, save the model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlp.config import TrainConfig
from mlp.data import Dataset, Examples
from mlp.epochs import OnEpoch
from mlp.errors import ConfigError, errors_in
from mlp.folds import CrossValidation, open_training
from mlp.model import Model
from mlp.model_io import check_writable, save_model
from mlp.training import Training
from studies.data.cache import open_cached, read_report
from studies.data.data_plan import DataPlan
from studies.data.file_search import Places
from studies.data.prepare import prepare_data
from studies.data.task import explain_task, settle_task
from studies.models.comparison import compare
from studies.models.export import Provenance, read_config

OnPlan = Callable[[DataPlan], object]


@dataclass(frozen=True)
class RetrainResult:
    """The result of `retrain`.

    Attributes:
        config: the configuration that was trained: with the new seed if one was given; for a refit without validation
            and early stopping.
        n_train: the number of training examples; of a cross-validation that of the first fold.
        n_folds: the number of folds of a cross-validation, of all repeats together; 1 if one network was trained.
        n_refit: the number of training examples of the one network that was trained after a cross-validation, on all of
            them, for `kept_epoch` epochs, to be evaluated on the test part, saved or drawn; 0 if there is none.
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
    n_folds: int
    n_refit: int
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
    beside: str | Path | None = None,
    test: bool = False,
    refit: bool = False,
    seed: int | None = None,
    save: str | Path | None = None,
    pictures: str | Path | None = None,
    on_epoch: OnEpoch | None = None,
    on_notice: Callable[[str], object] | None = None,
    on_plan: OnPlan | None = None,
    progress: bool = False,
) -> RetrainResult:
    """Train a configuration to the end and compare the result with what is recorded of it.

    A cross-validation trains a network on each fold, and its result is the mean over the folds. If `test`, `save` or
    `pictures` needs one network, it is then trained on all training examples, for as many epochs as the mean was best
    after.

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
        beside: the folder in which the file of the data is looked up first; by default that of the file `config`.
        test: whether to evaluate the kept weights on the test part.
        refit: whether to train on the training and validation parts together. The number of epochs is the recorded kept
            epoch; without a record, a normal training finds it first. The schedule still spans `config.epochs`, and
            there is no early stopping.
        seed: a seed that replaces that of the configuration.
        save: where to save the model: a folder, or a file whose name ends in `.json`.
        pictures: the folder to write figures to; they show predictions on the test part if `test` is set, otherwise on
            the validation part.
        on_epoch: called with the metrics of each epoch. A refit after another training counts its epochs from 1 again.
        on_notice: called with a sentence before a cross-validation is followed by the training of one network.
        on_plan: called before the training with what is learnt from the data.
        progress: whether to show a progress bar during downloads.

    Raises:
        ConfigError: if the configuration is not valid, the data is missing or does not fit it, or `save` or `pictures`
            cannot be written. An error in a field names the file, if `config` is one.
        DivergedError: if the training diverges.
    """
    check_outputs(save, pictures)  # before the training rather than after hours of it
    place, beside = (f"{config}:", beside or Path(config).parent) if isinstance(config, str | Path) else ("", beside)
    if not isinstance(config, TrainConfig):
        config, recorded = read_config(config)
        provenance = provenance or recorded
    with errors_in(place):
        if seed is not None:
            config = replace(config, seed=seed)
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
        needs_network = test or save is not None or pictures is not None
        # Made before any training, because a configuration may not work without a validation part.
        is_refit = refit or (config.data.is_cross_validation and needs_network)
        refit_config = without_validation(config) if is_refit else None
        training, seconds = train_or_refit(config, provenance, dataset, on_epoch, refit_config if refit else None)
        network: Training | None = training if isinstance(training, Training) else None
        if network is None and refit_config is not None:
            if on_notice is not None:
                n_epochs = f"{training.kept_epoch} epoch{'s' if training.kept_epoch > 1 else ''}"
                on_notice(f"Now one network is trained on all training examples, for {n_epochs}, without validation.")
            network = _refit(refit_config, config, dataset, training.kept_epoch, on_epoch)
            seconds += network.seconds
    scores, test_part, test_scores = training.kept_scores(), None, None
    if network is not None:
        if test:
            test_part = dataset.test(network.data.train.encoding)
            test_scores = network.evaluate(test_part, "test")
        if save is not None:
            save_model(Model.of(network, dataset, metrics=scores | (test_scores or {})), save)
        if pictures is not None:
            _write_pictures(network, dataset, test_part, Path(pictures))
    trainings = training.trainings if isinstance(training, CrossValidation) else (training,)
    comparison = compare(training, dataset, provenance, is_same=seed is None and not refit)
    return RetrainResult(
        config=training.config,
        n_train=len(trainings[0].data.train),
        n_folds=len(trainings),
        n_refit=len(network.data.train) if network is not None and network is not training else 0,
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


def open_data(
    config: TrainConfig,
    provenance: Provenance | None,
    *,
    data_dir: str | Path | None,
    beside: str | Path | None,
    test: bool,
    refit: bool,
    on_plan: OnPlan | None,
    progress: bool,
) -> Dataset:
    """Return the data set of a configuration; the arguments are those of `retrain`.

    Raises:
        ConfigError: if the data is missing or does not fit the configuration.
    """
    folders = [] if beside is None else [Path(beside)]
    if provenance is not None and provenance.data_folder:
        folders.insert(0, Path(provenance.data_folder))
    folder = prepare_data(settle_task(config), data_dir=data_dir, beside=folders, progress=progress)
    dataset, report = open_cached(folder), read_report(folder)
    if test and not len(dataset.test_inputs):
        raise ConfigError(f'leaves no test rows in "{dataset.name}".', path="data.test")
    if on_plan is not None:
        splits = dataset.splits(config.data, config.seed)
        used = [dataset.without_validation(config.data)] if refit else splits
        namesakes = Places(tuple(folders), data_dir).find_namesakes(config.data)
        on_plan(DataPlan.of(report and explain_task(report, config), used, namesakes))
    return dataset


def train_or_refit(
    config: TrainConfig,
    provenance: Provenance | None,
    dataset: Dataset,
    on_epoch: OnEpoch | None,
    refit_config: TrainConfig | None,
) -> tuple[Training | CrossValidation, float]:
    """Return the training that was asked for, with the kept parameters in its network, and the seconds it took.

    Args:
        config: the configuration.
        provenance: the recorded result of an earlier training, which a refit takes the number of epochs from.
        dataset: the data set.
        on_epoch: called with the metrics of each epoch.
        refit_config: what `without_validation(config)` returns, for a refit; None to train on the training part.
    """
    if refit_config is None:
        training = _train(config, dataset, on_epoch)
        return training, training.seconds
    epochs, seconds = _epochs_of_refit(config, provenance, dataset, on_epoch)
    refit = _refit(refit_config, config, dataset, epochs, on_epoch)
    return refit, seconds + refit.seconds


def _train(config: TrainConfig, dataset: Dataset, on_epoch: OnEpoch | None) -> Training | CrossValidation:
    """Return a training that has run to its end, with the kept parameters in its network."""
    training = open_training(config, dataset.splits(config.data, config.seed))
    training.run(on_epoch=on_epoch)
    training.restore_kept()
    return training


def without_validation(config: TrainConfig) -> TrainConfig:
    """Return the configuration of a refit, which has no validation part and no early stopping.

    Raises:
        ConfigError: if the schedule depends on the validation part.
    """
    if (watched := config.schedule.watched).startswith("validation/"):
        problem = f'needs "{watched}", which a network that is trained on all examples does not have'
        raise ConfigError(f"{problem}. Use another schedule, or one that watches a metric of train/.", path="schedule")
    data = replace(config.data, validation=0, folds=0, fold=None, repeats=1)
    return replace(config, data=data, early_stopping=None)


def _refit(
    refit_config: TrainConfig, config: TrainConfig, dataset: Dataset, epochs: int, on_epoch: OnEpoch | None
) -> Training:
    """Return a training on the training and validation parts.

    The schedule spans `config.epochs`, so the refit has the same configuration and is stopped from outside.
    """
    training = Training(refit_config, dataset.without_validation(config.data))
    training.run(epochs, on_epoch)
    return training


def _epochs_of_refit(
    config: TrainConfig, provenance: Provenance | None, dataset: Dataset, on_epoch: OnEpoch | None
) -> tuple[int, float]:
    """Return the number of epochs of a refit, and the seconds that finding it took."""
    if config.early_stopping is None:
        return config.epochs, 0.0
    if provenance is None:
        training = _train(config, dataset, on_epoch)
        return training.kept_epoch, training.seconds
    if not 1 <= provenance.kept_epoch <= config.epochs:
        problem = f"must be from 1 to epochs = {config.epochs}, got {provenance.kept_epoch}."
        raise ConfigError(problem, path="provenance.kept_epoch")
    return provenance.kept_epoch, 0.0


def _write_pictures(training: Training, dataset: Dataset, test_part: Examples | None, folder: Path) -> None:
    from studies.models.pictures import write_pictures  # matplotlib is slow to import

    examples = test_part or training.data.validation or training.data.train
    write_pictures(training, dataset, examples, folder)
