"""Enqueued configurations are read, or refused with what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from mlp.config import TrainConfig
from mlp.errors import ConfigError
from mlp.paths import merge
from studies.search.enqueued import params_of_config, params_of_values
from studies.search.space import Space
from tests.study_data import BASE, SPACE, small_study

WITH_RANGES: dict[str, Any] = {
    "network.hidden.depth": {"low": 1, "high": 3},
    "network.dropout": {"low": 0.0, "high": 0.5, "step": 0.25},
    "optimizer": ["adam", "sgd", {"name": "sgd", "momentum": 0.9}],
    "optimizer.learning_rate": {"low": 1e-4, "high": 0.3, "log": True},
}


def ranges() -> Space:
    return small_study(None, {"network": {"hidden": {"depth": 2, "width": 8}}}, WITH_RANGES).space


@pytest.mark.parametrize(
    ("table", "params"),
    [
        ({}, {"network.hidden": "8", "optimizer": "adam", "optimizer.learning_rate": 0.01}),
        (
            {"network.hidden": [24, 12], "optimizer.learning_rate": 0.1},
            {"network.hidden": "24-12", "optimizer": "adam", "optimizer.learning_rate": 0.1},
        ),
        (
            {"network": {"hidden": "24-12"}, "optimizer.learning_rate": 0.1},
            {"network.hidden": "24-12", "optimizer": "adam", "optimizer.learning_rate": 0.1},
        ),
        (
            {"optimizer": "sgd(momentum=0.9)", "optimizer.nesterov": True},
            {
                "network.hidden": "8",
                "optimizer": "sgd(momentum=0.9)",
                "optimizer.learning_rate": 0.01,
                "optimizer.nesterov": True,
            },
        ),
    ],
)
def test_what_is_left_out_has_the_value_of_base_with_the_others_set(
    table: dict[str, Any], params: dict[str, Any]
) -> None:
    space = small_study(None, {"optimizer": {"name": "adam", "learning_rate": 0.01}}, SPACE).space
    assert params_of_values(space, table) == params


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"network.hidden": [9]}, r'"network.hidden": is \[9\], which is not in the space. Allowed: none, 8, 24-12\.'),
        ({"optimizer.learning_rate": 1.0}, r'"optimizer.learning_rate": is 1.0, .*Allowed: from 0.0001 to 0.3\.'),
        ({"optimizer.learning_rat": 0.1}, r'is not searched, .* Did you mean "optimizer.learning_rate"\?'),
        ({"batch_size": 64}, r'"batch_size": is not searched, so it cannot be enqueued'),
        ({"optimizer.nesterov": True}, r"is only searched when optimizer is sgd\(momentum=0.9\)\. Remove it"),
    ],
)
def test_a_mistake_is_refused_with_the_path_and_what_is_allowed(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        params_of_values(small_study().space, table)
    with pytest.raises(ConfigError, match=r"\[\[study.enqueue\]\], entry 2: "):
        small_study({"enqueue": [{}, table]})


@pytest.mark.parametrize("value", [4, 0, 1.5, True, "2"])
def test_a_value_outside_a_range_of_whole_numbers_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"Allowed: whole numbers from 1 to 3\."):
        params_of_values(ranges(), {"network.hidden.depth": value})


def test_a_value_between_two_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Allowed: from 0.0 to 0.5 in steps of 0.25\."):
        params_of_values(ranges(), {"network.dropout": 0.3})


def test_true_is_not_the_choice_1() -> None:
    space = small_study(None, None, {"epochs": [1, 2]}).space
    assert params_of_values(space, {"epochs": 1}) == {"epochs": 1}
    with pytest.raises(ConfigError, match="is True, which is not in the space"):
        params_of_values(space, {"epochs": True})


def test_the_parameters_of_a_trial_are_found_in_its_configuration() -> None:
    space = ranges()
    for params in (
        {"optimizer": "sgd", "network.dropout": 0.25, "network.hidden.depth": 3, "optimizer.learning_rate": 0.2},
        {"optimizer": "sgd(momentum=0.9)", "network.dropout": 0.0, "network.hidden.depth": 1}
        | {"optimizer.learning_rate": 0.01},
        {"optimizer": "adam", "network.dropout": 0.5, "network.hidden.depth": 2, "optimizer.learning_rate": 0.003},
    ):
        assert params_of_config(space, space.configure(params)) == (params, {})


def test_fields_that_are_not_searched_and_differ_are_named_but_not_the_seed() -> None:
    changes = {"epochs": 9, "seed": 77, "optimizer.beta1": 0.5}
    config = TrainConfig.from_mapping(merge(BASE, changes))
    params, different = params_of_config(small_study().space, config)
    assert params == small_study().space.params_of_base()
    assert different == {
        "epochs": "epochs is 9 there and 3 here",
        "optimizer.beta1": "optimizer.beta1 is 0.5 there and 0.9 here",
    }


def test_a_configuration_outside_the_space_is_refused() -> None:
    config = TrainConfig.from_mapping(merge(BASE, {"optimizer": "rmsprop"}))
    with pytest.raises(ConfigError, match=r'"optimizer": is .*rmsprop.*Allowed: adam, sgd\(momentum=0.9\)\.'):
        params_of_config(small_study().space, config)


def test_enqueued_configurations_belong_to_the_fingerprint_and_those_of_a_launch_do_not() -> None:
    entry = {"optimizer.learning_rate": 0.1}
    plain, spec = small_study(), small_study({"enqueue": [entry]})
    assert "study.enqueue" not in plain.fingerprint("", {})
    assert spec.fingerprint("", {})["study.enqueue"] == [dict(spec.enqueued[0])]


def test_a_finite_space_has_room_for_what_is_enqueued() -> None:
    finite = {"network.dropout": {"low": 0.0, "high": 0.5, "step": 0.25}, "optimizer": ["adam", "sgd"]}
    study = {"sampler": "grid", "trials": None}
    assert small_study(study, None, finite).limits.trials == 6
    twice = small_study(study | {"enqueue": [{}, {"optimizer": "sgd"}]}, None, finite)
    assert twice.limits.trials == 7  # base a second time
