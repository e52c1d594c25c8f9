"""Training a configuration again: the same bits, other seeds, a refit on all data, and how differences are reported."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from mlp import (
    ConfigError,
    Dataset,
    EpochMetrics,
    TrainConfig,
    Training,
)
from mlp.model_io import load_model
from mlp.paths import merge
from mlp.schedules import ReduceOnPlateau
from mlp.training import train
from studies.data.prepare import open_dataset
from studies.evidence.winner import export_trial
from studies.models.export import Provenance, read_config
from studies.models.machine import machine, versions
from studies.models.retrain import retrain
from studies.records.results import StudyResults
from studies.records.trial_log import TrialLog
from studies.records.trial_record import Ending
from tests.record_data import IDENTITY, RECORD, study_record

CONFIG = TrainConfig.from_mapping(
    {
        "data": {"name": "digits"},
        "seed": 1,
        "epochs": 40,
        "batch_size": 64,
        "network": {"hidden": [16]},
        "optimizer": {"name": "adam", "learning_rate": 0.03},
        "schedule": "cosine",
        "early_stopping": {"patience": 2, "metric": "validation/accuracy"},
    }
)


@pytest.fixture(autouse=True)
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The digits, in a cache of this test only."""
    monkeypatch.setenv("STUDIES_CACHE", str(tmp_path / "cache"))
    return open_dataset("digits")


@pytest.fixture
def original(digits: Dataset) -> Training:
    """A training that stops early, so that the kept epoch is neither the last nor `epochs`."""
    training = train(CONFIG, digits)
    assert training.kept_epoch < training.epoch < CONFIG.epochs
    return training


@pytest.fixture
def provenance(original: Training, digits: Dataset) -> Provenance:
    """What an export of that training records."""
    kept = original.kept_epoch
    scores = {key: values[kept - 1] for key, values in original.history.items()}
    return Provenance(
        study="digits",
        trial=0,
        metric="validation/accuracy",
        value=scores["validation/accuracy"],
        kept_epoch=kept,
        weight_digest=original.weight_digest(),
        data_digest=digits.digest,
        scores=scores,
        versions=versions(),
        **machine(),
    )


def varied(changes: dict[str, Any]) -> TrainConfig:
    return TrainConfig.from_mapping(merge(CONFIG.to_mapping(), changes))


def test_an_exported_trial_is_reproduced_bit_for_bit(tmp_path: Path, original: Training, digits: Dataset) -> None:
    log = TrialLog(tmp_path / "0000.jsonl", IDENTITY)
    log.asked(0, 0, {}, CONFIG.to_mapping())
    for epoch in range(original.epoch):
        log.epoch(epoch + 1, epoch + 1, {key: values[epoch] for key, values in original.history.items()})
    kept = original.kept_epoch
    value = original.history["validation/accuracy"][kept - 1]
    log.ended(1000, Ending("complete", "", value, kept, original.weight_digest()))
    assert log.record is not None
    record = study_record(data=RECORD["data"] | {"digest": digits.digest}, machine=machine(), versions=versions())
    file = export_trial(StudyResults(record, (log.record,)), None, tmp_path / "best.toml")
    result = retrain(*read_config(file))
    assert result.reproduced is True
    assert (result.differences, result.warnings) == ((), ())
    assert result.weight_digest == original.weight_digest()
    assert result.scores["validation/accuracy"] == value
    assert (result.epochs, result.kept_epoch) == (original.epoch, kept)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("value", 0.5, "validation/accuracy is .*, recorded as 0.5"),
        ("weight_digest", "0" * 64, "the digest of the weights is .*, recorded as 0000"),
        ("kept_epoch", 1, "the kept epoch is .*, recorded as 1"),
        ("metric", "validation/loss", "validation/loss is .*, recorded as"),
    ],
)
def test_another_result_on_the_same_machine_is_a_failure(
    provenance: Provenance, field: str, value: Any, message: str
) -> None:
    result = retrain(CONFIG, replace(provenance, **{field: value}))
    assert result.reproduced is False
    (difference,) = result.differences
    assert re.match(message, difference)
    assert result.warnings == ()


@pytest.mark.parametrize(
    ("elsewhere", "message"),
    [
        ({"cpu": "Z80"}, r"cpu is .*, recorded as Z80\. The last bits may differ\."),
        ({"blas": "atlas 3"}, "blas is .*, recorded as atlas 3"),
        ({"versions": versions() | {"numpy": "1.0"}}, r"numpy is .*, recorded as 1\.0"),
    ],
)
def test_another_result_on_another_machine_is_a_warning(
    provenance: Provenance, elsewhere: dict[str, Any], message: str
) -> None:
    result = retrain(CONFIG, replace(provenance, weight_digest="0" * 64, **elsewhere))
    assert result.reproduced is False
    assert result.differences == ()
    weights, environment = result.warnings
    assert weights.startswith("the digest of the weights is")
    assert re.match(message, environment)


def test_the_same_result_on_another_machine_is_reproduced(provenance: Provenance) -> None:
    result = retrain(CONFIG, replace(provenance, cpu="Z80"))
    assert result.reproduced is True
    assert (result.differences, result.warnings) == ((), ())


def test_other_data_is_a_failure_on_any_machine(provenance: Provenance) -> None:
    result = retrain(CONFIG, replace(provenance, data_digest="da", weight_digest="0" * 64, cpu="Z80"))
    assert result.reproduced is False
    assert result.differences[0].endswith("recorded as da.")
    assert len(result.differences) == 2
    assert result.warnings == ()


def test_a_file_is_trained_and_compared_with_its_provenance(tmp_path: Path, provenance: Provenance) -> None:
    file = tmp_path / "export.toml"
    file.write_text(tomli_w.dumps({**CONFIG.to_mapping(), "provenance": provenance.to_mapping()}))
    result = retrain(str(file))
    assert (result.reproduced, result.config) == (True, CONFIG)
    assert retrain(file, replace(provenance, value=0.5)).reproduced is False


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"data.name": "digit"}, {}, r'"data\.name": "digit" is not a data set'),
        ({"loss": "mean_squared_error", "metrics": ["r2"]}, {}, '"metrics": the metric "r2"'),
        ({"optimizer": {"name": "sgd", "learning_rate": 1e30}}, {}, '"optimizer.learning_rate": the training diverged'),
        ({}, {"seed": -1}, '"seed": must be at least 0'),
    ],
)
def test_an_error_in_a_field_names_the_file_once(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(tomli_w.dumps(varied(changes).to_mapping()))
    with pytest.raises(ConfigError, match=rf"^{file}: {message}"):
        retrain(file, **options)


def test_an_error_in_the_place_of_the_model_does_not_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "taken.json").write_text("{}")
    with pytest.raises(ConfigError, match=f"^{tmp_path}/taken.json: already exists"):
        retrain(tmp_path / "config.toml", save=str(tmp_path / "taken.json"))


def test_without_a_record_nothing_is_compared(original: Training) -> None:
    result = retrain(CONFIG)
    assert result.reproduced is None
    assert result.weight_digest == original.weight_digest()


def test_another_seed_replaces_the_configured_one_and_the_result_is_not_compared(
    provenance: Provenance, digits: Dataset
) -> None:
    result = retrain(CONFIG, provenance, seed=5)
    assert result.reproduced is None
    assert result.differences == ()
    assert result.config == replace(CONFIG, seed=5)
    assert result.weight_digest == train(replace(CONFIG, seed=5), digits).weight_digest() != provenance.weight_digest


def test_other_data_is_a_warning_if_the_result_is_not_compared(provenance: Provenance) -> None:
    result = retrain(CONFIG, replace(provenance, data_digest="da"), seed=5)
    assert result.reproduced is None
    assert [warning.partition(" is ")[0] for warning in result.warnings] == ['the digest of the data set "digits"']


def test_a_refit_trains_on_all_examples_until_the_recorded_kept_epoch(provenance: Provenance, digits: Dataset) -> None:
    epochs: list[EpochMetrics] = []
    result = retrain(CONFIG, provenance, refit=True, on_epoch=epochs.append)
    by_hand = Training(varied({"early_stopping": None, "data.validation": 0}), digits.without_validation(CONFIG.data))
    assert result.config == by_hand.config
    for _ in range(provenance.kept_epoch):
        by_hand.run_epoch()
    assert result.n_train == len(digits.inputs)
    assert result.epochs == result.kept_epoch == len(epochs) == provenance.kept_epoch
    assert result.weight_digest == by_hand.weight_digest()
    assert set(result.scores) == {"train/loss", "train/accuracy"}
    assert result.reproduced is None


def test_the_schedule_of_a_refit_spans_the_configured_epochs(provenance: Provenance, digits: Dataset) -> None:
    changes = {"early_stopping": None, "data.validation": 0, "epochs": provenance.kept_epoch}
    squeezed = train(varied(changes), digits)
    assert retrain(CONFIG, provenance, refit=True).weight_digest != squeezed.weight_digest()


def test_a_refit_without_a_record_finds_the_kept_epoch_first(original: Training, provenance: Provenance) -> None:
    epochs: list[int] = []
    result = retrain(CONFIG, refit=True, on_epoch=lambda metrics: epochs.append(metrics.epoch))
    assert epochs == [*range(1, original.epoch + 1), *range(1, original.kept_epoch + 1)]
    assert result.weight_digest == retrain(CONFIG, provenance, refit=True).weight_digest


def test_a_refit_without_early_stopping_trains_once_to_the_end() -> None:
    epochs: list[EpochMetrics] = []
    config = varied({"early_stopping": None, "epochs": 3})
    assert retrain(config, refit=True, on_epoch=epochs.append).epochs == len(epochs) == 3


def test_a_refit_past_the_configured_epochs_is_refused(provenance: Provenance) -> None:
    with pytest.raises(ConfigError, match=r'"provenance\.kept_epoch": must be from 1 to epochs = 40, got 41'):
        retrain(CONFIG, replace(provenance, kept_epoch=41), refit=True)


FOLDS = TrainConfig.from_mapping(merge(CONFIG.to_mapping(), {"data.folds": 3, "data.subset": 300}))


def test_a_cross_validation_that_is_evaluated_and_saved_is_followed_by_one_network_on_all_examples(
    tmp_path: Path, digits: Dataset
) -> None:
    plain = retrain(FOLDS)
    assert (plain.n_folds, plain.n_train, plain.n_refit, plain.test) == (3, 200, 0, None)
    epochs: list[EpochMetrics] = []
    notices: list[str] = []
    result = retrain(FOLDS, test=True, save=tmp_path / "model.json", on_epoch=epochs.append, on_notice=notices.append)
    told = f"Now one network is trained on all training examples, for {result.kept_epoch} epochs, without validation."
    assert notices == [told]
    assert (result.scores, result.weight_digest) == (plain.scores, plain.weight_digest)
    assert (result.n_folds, result.n_refit) == (3, 300)
    assert [metrics.epoch for metrics in epochs] == [*range(1, result.epochs + 1), *range(1, result.kept_epoch + 1)]
    by_hand = Training(
        replace(FOLDS, early_stopping=None, data=replace(FOLDS.data, folds=0, validation=0)),
        digits.without_validation(FOLDS.data),
    )
    by_hand.run(result.kept_epoch)
    assert load_model(tmp_path / "model.json").manifest.weight_digest == by_hand.weight_digest()
    assert result.test == by_hand.evaluate(digits.test(by_hand.data.train.encoding), "test")


def test_a_refit_of_a_cross_validation_ends_with_the_same_network() -> None:
    tested, refitted = retrain(FOLDS, test=True), retrain(FOLDS, refit=True, test=True)
    assert (refitted.n_folds, refitted.n_train, refitted.n_refit) == (1, 300, 0)
    assert refitted.test == tested.test


def test_a_schedule_that_watches_the_validation_part_is_refused_before_a_refit() -> None:
    config = replace(FOLDS, schedule=ReduceOnPlateau(metric="validation/accuracy"))
    epochs: list[EpochMetrics] = []
    with pytest.raises(ConfigError, match=r'^"schedule": needs "validation/accuracy", which a network that is trained'):
        retrain(config, test=True, on_epoch=epochs.append)
    assert epochs == []


def test_the_kept_weights_are_evaluated_on_the_test_part_only_if_asked(
    tmp_path: Path, original: Training, digits: Dataset
) -> None:
    assert retrain(CONFIG).test is None
    result = retrain(CONFIG, test=True, save=tmp_path / "model")
    assert result.test == original.evaluate(digits.test(original.data.train.encoding), "test")
    predicted = load_model(tmp_path / "model").predict(digits.test_inputs)
    assert result.test["test/accuracy"] == np.mean(predicted == digits.test_targets) > 0.8


@pytest.mark.parametrize("refit", [False, True])
def test_the_saved_model_has_the_trained_weights_and_scores(tmp_path: Path, refit: bool) -> None:
    result = retrain(CONFIG, test=True, refit=refit, save=tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert result.saved == tmp_path / "model"
    assert model.manifest.weight_digest == result.weight_digest
    assert model.manifest.config == result.config
    assert model.manifest.epochs == result.kept_epoch
    assert model.metrics == {**result.scores, **(result.test or {})}
    assert model.classes == tuple("0123456789")


def test_a_place_with_other_files_is_refused_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").touch()
    epochs: list[EpochMetrics] = []
    with pytest.raises(ConfigError, match="is not a saved model"):
        retrain(CONFIG, save=tmp_path / "thesis", on_epoch=epochs.append)
    assert epochs == []


def test_a_training_that_diverges_is_not_saved(tmp_path: Path) -> None:
    config = varied({"optimizer": {"name": "sgd", "learning_rate": 1e30}, "early_stopping": None})
    with pytest.raises(ConfigError, match=r'"optimizer\.learning_rate": the training diverged in epoch 1'):
        retrain(config, save=tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'"data\.name": "digit" is not a data set'):
        retrain(varied({"data.name": "digit"}))
