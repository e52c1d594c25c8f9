"""The sizes of networks that can be minimised."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from mlp import TrainConfig
from studies.records.second_objective import SecondName, SecondObjective


def size(name: SecondName, **network: Any) -> float:
    config = TrainConfig.from_mapping({"data": {"name": "digits"}, "network": network})
    return SecondObjective(name, 64, 10, "classes").value(config)


def test_the_number_of_parameters_is_the_length_of_theta() -> None:
    config = TrainConfig.from_mapping(
        {"data": {"name": "digits"}, "network": {"hidden": [20, 5], "normalization": "batch"}}
    )
    network = config.network.build((64, 20, 5, 10), dtype="float32")
    assert size("parameters", hidden=[20, 5], normalization="batch") == len(network.theta)


def test_multiply_adds_are_the_weights() -> None:
    assert size("multiply_adds", hidden=[20, 5]) == 64 * 20 + 20 * 5 + 5 * 10


@pytest.mark.parametrize("name", ["parameters", "multiply_adds", "latency"])
def test_wider_networks_are_larger(name: SecondName) -> None:
    sizes = [size(name, hidden=[width, width]) for width in (1, 8, 64, 512, 4096)]
    assert all(small < large for small, large in pairwise(sizes))


def test_deeper_networks_have_a_higher_latency_than_wider_ones_with_as_many_weights() -> None:
    assert size("latency", hidden=[8, 8, 8, 8]) > size("latency", hidden=[16])


def test_how_sizes_are_shown() -> None:
    objective = SecondObjective("parameters", 64, 10, "classes")
    assert objective.text(12345.0) == "12,345"
    assert SecondObjective("latency", 64, 10, "classes").text(12.34) == "12.3 µs"
