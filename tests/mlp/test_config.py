"""The configuration of a training: exact round trips and error messages."""

from __future__ import annotations

import copy
import json
import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import given

from mlp import (
    ConfigError,
    DataConfig,
    EarlyStopping,
    TrainConfig,
)
from mlp.activations import activations
from mlp.losses import Task, losses
from mlp.metrics import metrics
from mlp.optimizers import Adam
from mlp.schedules import Constant
from tests.mlp.config_data import configs, from_mapping
from tests.mlp_data import (
    quick,
    thorough,
)

# Round trips


@pytest.mark.slow
@thorough
@given(config=configs)
def test_from_mapping_and_to_mapping_are_exact_inverses(config: TrainConfig) -> None:
    mapping = config.to_mapping()
    assert TrainConfig.from_mapping(mapping) == config
    assert TrainConfig.from_mapping(mapping).to_mapping() == mapping


@pytest.mark.slow
@thorough
@given(config=configs)
def test_a_configuration_survives_json_and_toml_to_the_last_bit(config: TrainConfig) -> None:
    mapping = config.to_mapping()
    for parsed in (json.loads(json.dumps(mapping)), tomllib.loads(tomli_w.dumps(mapping))):
        assert parsed == mapping
        again = TrainConfig.from_mapping(parsed)
        assert again == config
        assert repr(again) == repr(config)  # 1 and 1.0 are equal, but their repr differs


@quick
@given(config=configs)
def test_from_mapping_does_not_change_the_mapping(config: TrainConfig) -> None:
    mapping = config.to_mapping()
    before = copy.deepcopy(mapping)
    TrainConfig.from_mapping(mapping)
    assert mapping == before


def test_omitted_fields_take_their_defaults() -> None:
    config = from_mapping()
    assert config == TrainConfig(data=DataConfig(name="digits"))
    assert (config.optimizer, config.schedule, config.loss) == (Adam(), Constant(), "auto")
    assert config.early_stopping is None


@pytest.mark.parametrize(
    ("task", "usual"),
    [("classes", "softmax_cross_entropy"), ("labels", "binary_cross_entropy"), ("values", "mean_squared_error")],
)
def test_the_loss_follows_the_task_unless_it_is_given(task: Task, usual: str) -> None:
    assert from_mapping().loss_for(task) == losses.decode(usual)
    assert from_mapping(loss="auto") == from_mapping()
    assert from_mapping(loss="huber").loss_for(task) == losses.decode("huber")


def test_an_unknown_loss_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r'"loss".*Did you mean "huber"\?'):
        from_mapping(loss="hubert")


def test_to_mapping_contains_every_field() -> None:
    assert from_mapping().to_mapping() == {
        "data": {
            "name": "digits",
            "file": "",
            "target": "label",
            "task": "auto",
            "test": 0.2,
            "validation": 0.2,
            "drop": [],
            "categorical": [],
            "numeric": [],
            "group": "",
            "order": "",
            "weight": "",
            "positive": "",
            "header": True,
            "separator": "auto",
            "decimal": "auto",
            "encoding": "auto",
            "missing": "auto",
            "scale": "auto",
            "target_scale": "auto",
            "subset": 0,
            "stratify": "auto",
            "folds": 0,
            "repeats": 1,
        },
        "seed": 0,
        "epochs": 10,
        "batch_size": 128,
        "network": {
            "hidden": [128],
            "activation": "relu",
            "initializer": "he_normal",
            "bias_initializer": "zeros",
            "bias": True,
            "normalization": "none",
            "dropout": 0.0,
            "input_noise": 0.0,
            "input_scale": False,
            "parametric_activation": False,
        },
        "loss": "auto",
        "optimizer": {
            "name": "adam",
            "learning_rate": 0.001,
            "weight_decay": 0.0,
            "l2": 0.0,
            "clip_norm": 0.0,
            "clip_value": 0.0,
            "beta1": 0.9,
            "beta2": 0.999,
            "eps": 1e-08,
        },
        "schedule": {"name": "constant", "warmup": 0.0},
        "rate_factors": {
            "first": 1.0,
            "last": 1.0,
            "bias": 1.0,
            "normalization": 1.0,
            "input_scale": 1.0,
            "activation": 1.0,
            "ntk": False,
        },
        "dtype": "float32",
        "class_weights": [],
        "metrics": [],
        "diagnostics": False,
    }


# Errors

REFUSALS = [
    (
        {"optimiser": "adam"},
        (
            '"optimiser": is not a field of a training configuration. Did you mean "optimizer"? '
            "Available: data, seed, epochs, batch_size, network, loss, optimizer, schedule, rate_factors, "
            "early_stopping, dtype, class_weights, metrics, diagnostics."
        ),
    ),
    (
        {"optimizer": {"name": "sgd", "momentun": 0.9}},
        (
            '"optimizer.momentun": is not a field of the optimizer "sgd". Did you mean "momentum"? '
            "Available: learning_rate, weight_decay, l2, clip_norm, clip_value, momentum, nesterov."
        ),
    ),
    (
        {"network": {"hiden": [3]}},
        (
            '"network.hiden": is not a field of "network". Did you mean "hidden"? '
            "Available: hidden, activation, initializer, last_initializer, bias_initializer, bias, "
            "normalization, dropout, input_noise, input_scale, parametric_activation."
        ),
    ),
    (
        {"network": {"hidden": {"dept": 3}}},
        ('"network.hidden.dept": is not a field of "hidden". Did you mean "depth"? Available: depth, width, taper.'),
    ),
    (
        {"network": {"activation": "leaky-relu"}},
        (
            '"network.activation": there is no activation called "leaky-relu". Did you mean "leaky_relu"? '
            f"Available: {', '.join(activations)}."
        ),
    ),
    (
        {"network": {"activation": {"name": "leaky_relu", "slope": 2}}},
        '"network.activation.slope": must be at least 0 and at most 1, got 2.',
    ),
    (
        {"network": {"hidden": [64, 0]}},
        '"network.hidden": must be at least 1 and at most 65536, got 0.',
    ),
    (
        {"network": {"hidden": 64}},
        '"network.hidden": must be a table with depth, width, taper or a list of whole numbers, got 64.',
    ),
    ({"schedule": 0.5}, '"schedule": must be the name of a schedule or a table with a name, got 0.5.'),
    (
        {"data": {"name": "digits", "scale": "max"}},
        (
            '"data.scale": must be "auto" or "robust" or "standard" or "min_max" or "quantile" or "unit" or "example" '
            "or \"none\", got 'max'."
        ),
    ),
    ({"data": {"name": "digits", "validation": -1}}, '"data.validation": must be at least 0, got -1.'),
    (
        {"data": "digits"},
        (
            '"data": must be a table with name, file, target, task, test, validation, drop, categorical, numeric, '
            "group, order, weight, positive, header, separator, decimal, encoding, missing, scale, target_scale, "
            "subset, stratify, folds, fold, repeats, split_seed, got 'digits'."
        ),
    ),
    (
        {"data": {"name": "digits", "label": "digit"}},
        '"data.target": applies to files only, and data.name is "digits". Remove it, or set data.file.',
    ),
    (
        {"data": {"name": "a.csv", "label": "x", "target": "y"}},
        '"data.label": is the former name of "target", which is given too. Remove it.',
    ),
    (
        {"data": {"name": "digits", "file": "a.csv"}},
        '"data.file": "a.csv" and data.name = "digits" exclude each other. Remove one of them.',
    ),
    ({"data": {"file": "a.csv", "target": []}}, '"data.target": must name a column.'),
    (
        {"data": {"file": "a.csv", "order": "t", "folds": 3}},
        '"data.folds": cannot be combined with data.order, whose latest rows are held out.',
    ),
    (
        {"data": {"validation": "v.csv"}},
        '"data.validation": must be a number or a fraction, because data.name is "", got "v.csv".',
    ),
    (
        {"data": {"file": "a.csv", "numeric": ["x"], "categorical": ["x"]}},
        '"data.numeric": contains "x", which is in data.categorical too.',
    ),
    ({"data": {"file": "a.csv", "target": ["y", "y"]}}, '"data.target": must not contain a column twice, got y, y.'),
    (
        {"data": {"file": "a.csv", "target": "y", "drop": ["x", "y"]}},
        '"data.drop": must not contain "y", which is data.target.',
    ),
    ({"data": {"name": "digits", "folds": 1}}, '"data.folds": must be 0 (no folds) or at least 2, got 1.'),
    ({"data": {"name": "digits", "folds": 3, "fold": 3}}, '"data.fold": must be below folds = 3, got 3.'),
    (
        {"data": {"name": "digits", "folds": 3, "repeats": 2, "fold": 6}},
        '"data.fold": must be below folds · repeats = 6, got 6.',
    ),
    (
        {"data": {"name": "digits", "repeats": 2}},
        '"data.repeats": needs data.folds, which are drawn 2 times.',
    ),
    (
        {"network": {"hidden": [8, 4], "activation": ["relu"]}},
        '"network.activation": must have 2 entries, one per hidden layer, got 1.',
    ),
    (
        {"network": {"hidden": [8, 4], "bias": [True, True]}},
        '"network.bias": must have 3 entries, one per layer, the last one included, got 2.',
    ),
    (
        {"metrics": "accuracy"},
        "\"metrics\": must be a list of names of metrics, or tables with a name, got 'accuracy'.",
    ),
    (
        {"metrics": ["top_k_accuracy", {"name": "top_k_accuracy", "k": 3}]},
        '"metrics": must not contain a metric twice, got top_k_accuracy, top_k_accuracy.',
    ),
    (
        {"schedule": "reduce_on_plateau", "data": {"name": "digits", "validation": 0}},
        '"schedule": needs "validation/loss", but data.validation = 0 leaves no validation part.',
    ),
    ({"epochs": 0}, '"epochs": must be at least 1, got 0.'),
    ({"epochs": 2.5}, '"epochs": must be a whole number, got 2.5.'),
    ({"batch_size": 0}, '"batch_size": must be at least 1, got 0.'),
    ({"batch_size": "all"}, '"batch_size": must be a whole number or "full", got \'all\'.'),
    (
        {"early_stopping": 5},
        '"early_stopping": must be a table with patience, metric, min_delta, got 5.',
    ),
    (
        {"early_stopping": {"metric": "validation/acuracy"}},
        (
            '"early_stopping.metric": there is no metric "validation/acuracy". Did you mean "validation/accuracy"? '
            f"Available, after train/ or validation/: {', '.join(metrics)}."
        ),
    ),
    (
        {"early_stopping": {}, "data": {"name": "digits", "validation": 0}},
        '"early_stopping": needs "validation/loss", but data.validation = 0 leaves no validation part.',
    ),
]


@pytest.mark.parametrize(
    ("changes", "message"), REFUSALS, ids=lambda value: value[:40] if isinstance(value, str) else ""
)
def test_an_error_names_the_field_what_is_allowed_and_what_was_given(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(**changes)
    assert str(caught.value) == message


def test_every_field_has_a_default() -> None:
    assert TrainConfig.from_mapping({}) == TrainConfig() == TrainConfig(data=DataConfig(name=""))
    assert TrainConfig(epochs=20).epochs == 20


def test_the_error_for_a_seed_that_is_too_large_states_the_exact_limit() -> None:
    assert from_mapping(seed=2**32 - 1).seed == 4294967295
    with pytest.raises(ConfigError) as caught:
        from_mapping(seed=2**32)
    assert str(caught.value) == '"seed": must be at least 0 and at most 4294967295, got 4294967296.'


def test_an_error_contains_the_path_of_the_configuration_itself() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig.from_mapping({"data": {"name": "digits"}, "optimizer": {"name": "sgd", "momentum": 1}}, path="base")
    assert str(caught.value) == '"base.optimizer.momentum": must be at least 0 and below 1, got 1.'


@pytest.mark.parametrize("metric", ["train/loss", "train/accuracy"])
def test_early_stopping_on_the_training_part_needs_no_validation_part(metric: str) -> None:
    config = from_mapping(early_stopping={"metric": metric}, data={"name": "digits", "validation": 0})
    assert config.early_stopping == EarlyStopping(metric=metric)
