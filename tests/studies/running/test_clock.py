"""The virtual clock: the cost of an epoch is a whole number, and grows with the work of the epoch."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mlp.config import TrainConfig
from mlp.paths import merge
from studies.running.clock import CostModel

DIGITS = (1150, 64, 10)

hidden = st.lists(st.integers(1, 65_536), max_size=6)
batches = st.integers(1, 10_000) | st.just("full")
examples = st.integers(1, 10**7)
quick = settings(deadline=None, max_examples=60)


def config(changes: dict[str, Any] | None = None) -> TrainConfig:
    return TrainConfig.from_mapping(merge({"data": {"name": "digits"}}, changes or {}))


def cost(changes: dict[str, Any] | None = None, shape: tuple[int, int, int] = DIGITS) -> int:
    return cost_by(CostModel(), config(changes), shape)


def cost_by(model: CostModel, config: TrainConfig, shape: tuple[int, int, int] = DIGITS) -> int:
    n_train, n_features, n_outputs = shape
    return model.epoch(config, n_train, config.layer_sizes(n_features, n_outputs, "classes"))


@quick
@given(
    hidden=hidden, batch=batches, n_train=examples, n_features=st.integers(1, 10**6), n_outputs=st.integers(1, 10**4)
)
def test_the_cost_is_a_whole_number_and_at_least_1(
    hidden: list[int], batch: int | str, n_train: int, n_features: int, n_outputs: int
) -> None:
    found = cost({"network.hidden": hidden, "batch_size": batch}, (n_train, n_features, n_outputs))
    assert type(found) is int
    assert found >= 1


def test_the_cost_of_an_example_is_exact() -> None:
    """Three layers of 64 * 32 + 32 * 16 + 16 * 10 = 2720 parameters; 1150 examples are 18 steps of at most 64."""
    found = cost({"network.hidden": [32, 16], "batch_size": 64})
    assert found == 18 * (30_000 + 3 * 15_000 + 2720) + 1150 * (400 + 3 * 2720 // 25)


def test_large_costs_are_exact() -> None:
    sizes = {"network.hidden": [65_536] * 60, "batch_size": 1}
    one, two = cost(sizes, (10**9, 10**6, 10)), cost(sizes, (10**9 + 1, 10**6, 10))
    assert one > 2**63
    assert two - one == one // 10**9


@quick
@given(hidden=hidden, batch=batches, n_train=examples, more=st.integers(1, 1000))
def test_more_examples_cost_more(hidden: list[int], batch: int | str, n_train: int, more: int) -> None:
    changes = {"network.hidden": hidden, "batch_size": batch}
    assert cost(changes, (n_train, 64, 10)) < cost(changes, (n_train + more, 64, 10))


@quick
@given(hidden=st.lists(st.integers(1, 4096), min_size=1, max_size=6), data=st.data())
def test_a_wider_layer_costs_more(hidden: list[int], data: st.DataObject) -> None:
    layer = data.draw(st.integers(0, len(hidden) - 1))
    wider = [width + (i == layer) for i, width in enumerate(hidden)]
    assert cost({"network.hidden": hidden}) < cost({"network.hidden": wider})


@quick
@given(width=st.integers(1, 4096), depth=st.integers(0, 5))
def test_a_deeper_network_costs_more(width: int, depth: int) -> None:
    assert cost({"network.hidden": [width] * depth}) < cost({"network.hidden": [width] * (depth + 1)})


@quick
@given(batch=st.integers(1, 1149))
def test_smaller_batches_never_cost_less(batch: int) -> None:
    assert cost({"batch_size": batch}) >= cost({"batch_size": batch + 1})
    assert cost({"batch_size": batch}) >= cost({"batch_size": "full"}) == cost({"batch_size": 1150})


def test_settings_that_take_no_time_do_not_change_the_cost() -> None:
    optimizer = {"name": "sgd", "learning_rate": 0.5, "momentum": 0.9}
    assert cost({"seed": 7, "epochs": 99, "optimizer": optimizer, "schedule": "cosine"}) == cost()


def test_hidden_layers_cost_the_same_as_a_list_and_as_a_taper() -> None:
    taper = {"network.hidden": {"depth": 2, "width": 64, "taper": 0.5}}
    assert cost(taper) == cost({"network.hidden": [64, 32]})


def test_each_constant_of_the_model_is_recorded_and_changes_the_cost() -> None:
    model = CostModel()
    assert set(model.to_mapping()) == {field.name for field in dataclasses.fields(CostModel)}
    for name, value in model.to_mapping().items():
        other = dataclasses.replace(model, **{name: 2 * value})
        assert cost_by(other, config()) != cost_by(model, config())
