"""Cross-validation: trainings in lockstep, whose mean decides."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlp import (
    ConfigError,
    CorruptStateError,
    CrossValidation,
    DataConfig,
    DivergedError,
    EpochMetrics,
    Split,
    TrainConfig,
    Training,
    TrainingState,
    advance,
    train,
)
from mlp.folds import mean_values, open_training, resume_training
from mlp.scores import fold_key, on_folds
from tests.mlp_data import blobs, small_config

EARLY = {"early_stopping": {"patience": 2, "metric": "validation/accuracy"}, "epochs": 30}


def folds_config(changes: dict[str, Any] | None = None) -> TrainConfig:
    return small_config({"data.folds": 3, **(changes or {})})


def splits_of(config: TrainConfig) -> tuple[Split, ...]:
    return blobs(noise=120).splits(config.data, config.seed)


def start(config: TrainConfig) -> CrossValidation:
    return CrossValidation(config, splits_of(config))


def bits(state: TrainingState) -> tuple[Any, ...]:
    arrays = tuple(array.tobytes() for array in (state.theta, state.slots, state.best_theta))
    history = {key: [value.hex() for value in values] for key, values in state.history.items()}
    return state.epoch, state.status, history, *arrays


def test_every_example_is_validated_on_once_in_each_repeat_and_repeats_are_drawn_afresh() -> None:
    config = DataConfig("blobs", folds=4, repeats=2)
    splits = blobs().splits(config, 5)
    held = [split.validation.rows.tolist() for split in splits if split.validation]
    assert len(held) == len(splits) == 8
    for repeat in (held[:4], held[4:]):
        assert sorted(row for rows in repeat for row in rows) == list(range(70))
    assert not any(rows in held[:4] for rows in held[4:])
    for fold, rows in enumerate(held):
        alone = blobs().split(replace(config, fold=fold), 5).validation
        assert alone is not None
        assert alone.rows.tolist() == rows


def test_a_data_configuration_without_folds_has_one_split() -> None:
    config = DataConfig("blobs")
    assert config.by_fold() == (config,)
    assert DataConfig("blobs", folds=3, fold=1).by_fold() == (DataConfig("blobs", folds=3, fold=1),)
    assert isinstance(open_training(small_config(), blobs().splits(config, 0)), Training)


def test_the_history_has_the_mean_of_each_fold_trained_alone_and_its_spread() -> None:
    together = start(folds_config())
    together.run()
    alone = [train(folds_config({"data.fold": fold}), blobs(noise=120)) for fold in range(3)]
    for key in alone[0].history:
        each = np.array([training.history[key] for training in alone])
        np.testing.assert_allclose(together.history[key], each.mean(axis=0), rtol=1e-15)
        if key.startswith("validation/"):
            np.testing.assert_allclose(together.history[f"{key}_std"], each.std(axis=0), rtol=1e-13)
        else:
            assert f"{key}_std" not in together.history
    assert together.kept_theta.tobytes() == b"".join(training.kept_theta.tobytes() for training in alone)


def test_early_stopping_follows_the_mean_and_all_folds_keep_the_same_epoch() -> None:
    together = start(folds_config(EARLY))
    kept = []
    together.run(on_epoch=lambda _: kept.append([t.network.theta.copy() for t in together.trainings]))
    means = together.history["validation/accuracy"]
    assert together.status == "stopped"
    assert together.kept_epoch == 1 + means.index(max(means)) == together.epoch - 2
    together.restore_kept()
    for training, theta in zip(together.trainings, kept[together.kept_epoch - 1], strict=True):
        assert training.network.theta.tobytes() == theta.tobytes()
    assert together.kept_scores()["validation/accuracy"] == max(means)


def test_a_schedule_that_watches_a_metric_follows_the_mean() -> None:
    schedule = {"name": "reduce_on_plateau", "patience": 1, "metric": "validation/accuracy"}
    config = folds_config({"schedule": schedule, "epochs": 12})
    together = start(config)
    together.run()
    assert {tuple(training.history["validation/accuracy"]) for training in together.trainings} == {
        tuple(together.history["validation/accuracy"])
    }
    assert config.schedule.reduction(together.history) < 1


@pytest.mark.parametrize("changes", [{}, EARLY, {"data.repeats": 2}], ids=["plain", "early stopping", "repeats"])
def test_segments_checkpoints_and_a_run_without_a_break_end_in_the_same_bits(changes: dict[str, Any]) -> None:
    config = folds_config(changes)
    splits = splits_of(config)
    at_once = start(config)
    at_once.run()
    state = open_training(config, splits).state()
    while state.status == "running":
        state = TrainingState.from_bytes(advance(state, splits, 2).to_bytes())
    assert bits(state) == bits(at_once.state())
    assert state.weight_digest() == at_once.weight_digest()
    assert state.kept_epoch == at_once.kept_epoch
    assert bits(resume_training(state, splits).state()) == bits(state)


def test_a_state_of_other_folds_is_refused() -> None:
    state = start(folds_config()).state()
    config = folds_config({"data.folds": 4})
    with pytest.raises(CorruptStateError, match=r"^theta must have shape \(\d+,\) for these folds, got \(\d+,\)\."):
        resume_training(state, splits_of(config))


def test_if_one_fold_diverges_the_cross_validation_has_diverged() -> None:
    config = folds_config({"network.activation": "relu"})
    together = start(config)
    together.run(2)
    together.trainings[1].network.theta[...] = 1e30
    seen: list[EpochMetrics] = []
    with pytest.raises(DivergedError, match="in epoch 3"):
        together.run(on_epoch=seen.append)
    assert seen == []
    assert together.status == "diverged"
    assert {len(values) for values in together.history.values()} == {2}
    assert advance(together.state(), splits_of(config), 1).status == "diverged"
    with pytest.raises(RuntimeError, match=r"^this training has ended \(diverged\) after 3 epochs"):
        together.run_epoch()


def test_an_undefined_metric_is_the_mean_over_the_folds_in_which_it_is_defined() -> None:
    key, undefined = "validation/roc_auc", {"validation/roc_auc": math.nan}
    assert mean_values([{key: 0.5}, undefined, {key: 1.0}]) == {key: 0.75, f"{key}_std": 0.25}
    none = mean_values([undefined, undefined])
    assert all(math.isnan(value) for value in none.values())
    assert list(none) == [key, f"{key}_std"]


def test_a_metric_that_is_undefined_in_every_fold_is_no_divergence() -> None:
    data = blobs(k=2)
    targets = np.zeros(70, np.uint8)
    config = folds_config({"metrics": ["roc_auc"]})
    together = CrossValidation(config, replace(data, targets=targets).splits(config.data, config.seed))
    together.run()
    assert together.status == "finished"
    assert all(math.isnan(value) for value in together.history["validation/roc_auc"])


def test_training_one_network_refuses_an_open_fold_and_says_what_to_do() -> None:
    expected = (
        '"data.fold": must choose one of 6 folds here, such as 0, because one network is trained. '
        "To train on every fold, use mlp.CrossValidation or a study."
    )
    with pytest.raises(ConfigError) as caught:
        train(folds_config({"data.repeats": 2}), blobs())
    assert str(caught.value) == expected


def test_the_history_has_the_values_of_validation_metrics_on_each_fold() -> None:
    together = start(folds_config())
    together.run()
    for fold in range(3):
        alone = train(folds_config({"data.fold": fold}), blobs(noise=120))
        for key in alone.history:
            on_fold = together.history.get(fold_key(key, fold + 1))
            assert on_fold == (alone.history[key] if key.startswith("validation/") else None)
    assert len(on_folds("validation/loss", together.history)) == 3
    assert not [key for key in together.kept_scores() if "@" in key]
