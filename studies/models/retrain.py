"""Training one configuration again: whether it comes out as recorded, how it does on the test set, and the model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlp.config import TrainConfig
from mlp.data import Dataset, Split
from mlp.errors import ConfigError
from mlp.model import Model
from mlp.model_io import check_writable, save_model
from mlp.training import EpochMetrics, Training
from studies.data.prepare import open_dataset
from studies.models.export import Provenance
from studies.models.machine import machine, versions

OnEpoch = Callable[[EpochMetrics], None]


@dataclass(frozen=True)
class RetrainResult:
    """What a training came to.

    Attributes:
        config: what was trained, the seed replaced if one was given; after a refit without early stopping.
        n_train: examples that it learnt from.
        epochs: epochs run; `kept_epoch` is the one whose weights are kept.
        scores: all metrics of the kept epoch, by key.
        test: the metrics of the test part, keyed `test/...`, or None where they were not asked for.
        weight_digest: the SHA-256 of the weights that are kept.
        seconds: time spent training; of a refit, also on finding out for how long.
        reproduced: whether it came out exactly as recorded; None where nothing comparable is recorded.
        differences: how it came out otherwise although machine and versions are those recorded: failures.
        warnings: what a person should know, such as differences that another machine explains.
        saved: the folder of the model, if it was to be saved.
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
    config: TrainConfig,
    provenance: Provenance | None = None,
    *,
    data_dir: Path | None = None,
    test: bool = False,
    refit: bool = False,
    seed: int | None = None,
    save: Path | None = None,
    pictures: Path | None = None,
    on_epoch: OnEpoch | None = None,
    progress: bool = False,
) -> RetrainResult:
    """Train a configuration to the end.

    Args:
        config: what to train.
        provenance: what is recorded of an earlier training of it; compared unless `seed` or `refit` change it.
        data_dir: where `mnist/*.gz` and the like are; `STUDIES_DATA` unless given.
        test: whether to judge the weights that are kept by the test part.
        refit: whether to train on the training and the validation part together, for as many epochs as the
            recorded training kept; without a record it is first trained normally to find out. Schedules span
            `config.epochs` as before, and nothing stops early.
        seed: replaces that of the configuration.
        save: the folder, or the JSON file, to write the model to.
        pictures: the folder to draw the training into, judged by the test part with `test`, else by validation.
        on_epoch: called with the metrics of every epoch; those of a refit count from 1 again.
        progress: whether to show a bar while downloading data.

    Raises:
        ConfigError: when the data is missing or does not fit, `save` or `pictures` is taken, or the training diverges
            (then a `DivergedError`).
    """
    if seed is not None:
        config = replace(config, seed=seed)
    if save is not None:
        check_writable(save)
    if pictures is not None:
        make_folder(pictures)
    dataset = open_dataset(config.data, data_dir=data_dir, progress=progress)
    if test and not len(dataset.test_inputs):
        raise ConfigError(f'sets nothing of "{dataset.name}" aside to judge by.', path="data.test")
    seconds = 0.0
    if refit:
        epochs, seconds = _epochs_to_refit(config, provenance, dataset, on_epoch)
        nothing = replace(config.data, validation=0, folds=0, fold=0)
        whole = replace(config, data=nothing, early_stopping=None)
        training = _train(whole, dataset.whole(config.data), epochs, on_epoch)
    else:
        training = _train(config, dataset.split(config.data, config.seed), config.epochs, on_epoch)
    scores = training.kept_scores()
    found = training.evaluate(dataset.test(training.data.train.scaling), "test") if test else None
    comparison = _Comparison.of(training, dataset, provenance, is_same=seed is None and not refit)
    if save is not None:
        save_model(Model.of(training, dataset, metrics=scores | (found or {})), save)
    if pictures is not None:
        from studies.models.pictures import write_pictures

        held_out = training.data.validation or training.data.train
        judge = dataset.test(training.data.train.scaling) if test else held_out
        write_pictures(training, dataset, judge, pictures)
    return RetrainResult(
        config=training.config,
        n_train=len(training.data.train),
        epochs=training.epoch,
        kept_epoch=training.kept_epoch,
        scores=scores,
        test=found,
        weight_digest=training.weight_digest(),
        seconds=seconds + training.seconds,
        reproduced=comparison.reproduced,
        differences=comparison.differences,
        warnings=comparison.warnings,
        saved=save,
    )


def make_folder(folder: Path) -> None:
    """Make a folder for pictures before there are any, and see that they can be written.

    Raises:
        ConfigError: when they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}. Choose another folder.") from None


def _train(config: TrainConfig, data: Split, epochs: int, on_epoch: OnEpoch | None) -> Training:
    """Return a training after at most `epochs` epochs, with the parameters that are kept in its network."""
    training = Training(config, data)
    training.run(epochs, on_epoch)
    training.restore_kept()
    return training


def _epochs_to_refit(
    config: TrainConfig, provenance: Provenance | None, dataset: Dataset, on_epoch: OnEpoch | None
) -> tuple[int, float]:
    """Return for how many epochs to refit, and the seconds that finding out has taken."""
    if config.early_stopping is None:
        return config.epochs, 0.0
    if provenance is None:
        training = _train(config, dataset.split(config.data, config.seed), config.epochs, on_epoch)
        return training.kept_epoch, training.seconds
    if not 1 <= provenance.kept_epoch <= config.epochs:
        problem = f"must be from 1 to epochs = {config.epochs}, got {provenance.kept_epoch}."
        raise ConfigError(problem, path="provenance.kept_epoch")
    return provenance.kept_epoch, 0.0


@dataclass(frozen=True)
class _Comparison:
    """How a training came out beside what is recorded."""

    reproduced: bool | None = None
    differences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, training: Training, dataset: Dataset, provenance: Provenance | None, *, is_same: bool) -> _Comparison:
        """Compare; only where the same was trained again (`is_same`) must the same come out."""
        if provenance is None:
            return cls()
        data = tuple(_data_differences(dataset, provenance))
        if not is_same:
            return cls(warnings=data)
        outcome = tuple(_outcome_differences(training, provenance))
        elsewhere = tuple(_machine_differences(provenance))
        if outcome and elsewhere and not data:
            return cls(False, warnings=outcome + elsewhere)
        return cls(not data and not outcome, differences=data + outcome)


def _data_differences(dataset: Dataset, provenance: Provenance) -> Iterator[str]:
    if dataset.digest != provenance.data_digest:
        yield f'the data set "{dataset.name}" has the digest {dataset.digest}, recorded is {provenance.data_digest}.'


def _outcome_differences(training: Training, provenance: Provenance) -> Iterator[str]:
    key, got = provenance.metric, training.kept_scores().get(provenance.metric)
    if got != provenance.value:
        yield f"{key} is {got!r}, recorded is {provenance.value!r}."
    if training.kept_epoch != provenance.kept_epoch:
        yield f"epoch {training.kept_epoch} is kept, recorded is {provenance.kept_epoch}."
    if (digest := training.weight_digest()) != provenance.weight_digest:
        yield f"the weights have the digest {digest}, recorded is {provenance.weight_digest}."


def _machine_differences(provenance: Provenance) -> Iterator[str]:
    """Yield what explains other bits: sums are cut, and functions approximated, as processor and library like."""
    here = machine()
    recorded = {"cpu": provenance.cpu, "blas": provenance.blas, **provenance.versions}
    for name, now in {"cpu": here["cpu"], "blas": here["blas"], **versions()}.items():
        if name in recorded and recorded[name] != now:
            yield f"{name} is {now} here, recorded is {recorded[name]}: the last bits may differ."
