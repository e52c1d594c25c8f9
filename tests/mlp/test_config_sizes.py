"""The sizes that a configuration describes, and its dotted paths."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp import (
    ConfigError,
    EarlyStopping,
    NetworkConfig,
    Taper,
    TrainConfig,
)
from mlp.activations import LeakyRelu
from mlp.optimizers import Sgd
from mlp.paths import merge
from mlp.schedules import Cosine
from tests.mlp.config_data import configs, from_mapping
from tests.mlp_data import (
    quick,
    records,
    small_config,
)

# Sizes and steps


@pytest.mark.parametrize(
    ("taper", "sizes"),
    [
        (Taper(depth=3, width=256, taper=0.5), (256, 128, 64)),
        (Taper(depth=3, width=3, taper=0.1), (3, 1, 1)),
        (Taper(depth=2, width=10, taper=1.5), (10, 15)),
        (Taper(depth=0), ()),
    ],
)
def test_a_taper_multiplies_the_width_from_layer_to_layer(taper: Taper, sizes: tuple[int, ...]) -> None:
    assert taper.sizes() == sizes
    assert NetworkConfig(hidden=taper).sizes() == NetworkConfig(hidden=sizes).sizes() == sizes


@quick
@given(taper=records(Taper))
def test_a_taper_has_depth_layers_of_at_least_one_unit_and_starts_with_its_width(taper: Taper) -> None:
    sizes = taper.sizes()
    assert len(sizes) == taper.depth
    assert sizes[:1] == (taper.width,)[: taper.depth]
    assert all(size >= 1 for size in sizes)


def test_layer_sizes_include_inputs_and_outputs() -> None:
    assert from_mapping(network={"hidden": [64, 32]}).layer_sizes(784, 10, "classes") == (784, 64, 32, 10)
    assert from_mapping(network={"hidden": []}).layer_sizes(784, 10, "classes") == (784, 10)


@pytest.mark.parametrize(
    ("batch_size", "n", "expected"),
    [(32, 96, (32, 3)), (32, 97, (32, 4)), (32, 31, (31, 1)), (1, 5, (1, 5)), ("full", 97, (97, 1))],
)
def test_the_steps_of_an_epoch_cover_every_example(batch_size: Any, n: int, expected: tuple[int, int]) -> None:
    assert from_mapping(batch_size=batch_size).steps(n) == expected


# Dotted paths


def test_merge_replaces_dotted_paths_and_does_not_change_the_base() -> None:
    base = small_config().to_mapping()
    before = copy.deepcopy(base)
    merged = merge(base, {"optimizer.learning_rate": 0.5, "epochs": 2, "network.hidden": [7]})
    config = TrainConfig.from_mapping(merged)
    assert (config.optimizer.learning_rate, config.epochs, config.network.hidden) == (0.5, 2, (7,))
    merged["network"]["activation"] = "relu"
    merged["data"]["name"] = "other"
    assert base == before


def test_merge_applies_outer_paths_first_in_any_order() -> None:
    changes = {"optimizer.momentum": 0.5, "optimizer": {"name": "sgd", "learning_rate": 0.25}}
    for ordered in (changes, dict(reversed(changes.items()))):
        config = TrainConfig.from_mapping(merge(small_config().to_mapping(), ordered))
        assert config.optimizer == Sgd(learning_rate=0.25, momentum=0.5)


def test_merge_does_not_change_the_changes() -> None:
    changes = {"optimizer": {"name": "sgd"}, "optimizer.momentum": 0.5}
    merge({}, changes)
    assert changes == {"optimizer": {"name": "sgd"}, "optimizer.momentum": 0.5}


def test_merge_sets_a_field_of_a_part_that_is_given_by_its_bare_name() -> None:
    base = {"data": {"name": "digits"}, "schedule": "cosine", "network": {"activation": "leaky_relu"}}
    config = TrainConfig.from_mapping(merge(base, {"schedule.final": 0.5, "network.activation.slope": 0.25}))
    assert config.schedule == Cosine(final=0.5)
    assert config.network.activation == LeakyRelu(slope=0.25)


def test_merge_creates_a_table_that_the_base_does_not_have() -> None:
    merged = merge({"data": {"name": "digits"}}, {"early_stopping.patience": 3, "network.hidden.depth": 2})
    config = TrainConfig.from_mapping(merged)
    assert config.early_stopping == EarlyStopping(patience=3)
    assert config.network.hidden == Taper(depth=2)


def test_merge_refuses_a_path_through_a_value_that_is_not_a_table() -> None:
    with pytest.raises(ConfigError) as caught:
        merge(small_config().to_mapping(), {"network.hidden.depth": 2})
    assert str(caught.value) == ('"network.hidden": is the value [5, 4] and has no fields.')


@quick
@given(base=configs, other=configs)
def test_merging_all_sections_of_another_configuration_gives_that_configuration(
    base: TrainConfig, other: TrainConfig
) -> None:
    changes = {"early_stopping": None, **other.to_mapping()}
    assert TrainConfig.from_mapping(merge(base.to_mapping(), changes)) == other


@quick
@given(config=configs, rate=st.floats(1e-6, 1.0))
def test_merging_twice_gives_the_same_as_merging_once(config: TrainConfig, rate: float) -> None:
    changes = {"optimizer.learning_rate": rate}
    once = merge(config.to_mapping(), changes)
    assert merge(once, changes) == once
    assert merge(config.to_mapping(), {}) == config.to_mapping()
    assert TrainConfig.from_mapping(once).optimizer.learning_rate == rate
