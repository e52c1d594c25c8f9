"""The table of layers agrees with the network."""

from __future__ import annotations

from typing import Any

import pytest

from mlp import Network, NetworkConfig, Training
from mlp.summary import summary, summary_text
from tests.mlp_data import blobs, small_config, small_split


def network_of(changes: dict[str, Any], sizes: tuple[int, ...] = (6, 5, 4, 3), dtype: str = "float32") -> Network:
    config = NetworkConfig.from_mapping({"hidden": list(sizes[1:-1]), **changes})
    return config.build(sizes, dtype=dtype)


def test_each_layer_has_a_row_with_its_inputs_units_and_settings() -> None:
    changes = {"activation": ["relu", {"name": "leaky_relu", "slope": 0.1}], "bias": [False, True, True]}
    table = summary(network_of(changes | {"dropout": 0.25}), output="softmax")
    assert table.index.tolist() == [1, 2, 3]
    assert table["input"].tolist() == [6, 5, 4]
    assert table["units"].tolist() == [5, 4, 3]
    assert table["activation"].tolist() == ["relu", "leaky_relu(slope=0.1)", "softmax"]
    assert table["bias"].tolist() == [False, True, True]
    assert table["dropout"].tolist() == [0.25, 0.25, 0.0]
    assert table["parameters"].tolist() == [30, 20 + 4, 12 + 3]
    assert table["multiply_adds"].tolist() == [30, 20, 12]


@pytest.mark.parametrize("normalization", ["none", "layer", "batch"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden", [(), (7,), (5, 4)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_parameters_of_all_layers_add_up_to_theta(
    normalization: str, bias: bool, hidden: tuple[int, ...], dtype: str
) -> None:
    network = network_of({"normalization": normalization, "bias": bias}, (6, *hidden, 3), dtype)
    assert summary(network)["parameters"].sum() == len(network.theta)
    options = {"input_scale": True, "parametric_activation": True}
    network = network_of({"normalization": normalization, "bias": bias, **options}, (6, *hidden, 3), dtype)
    table = summary(network)
    assert table["parameters"].sum() == len(network.theta)
    assert table["bytes"].sum() == network.theta.nbytes
    assert table["multiply_adds"].sum() == network.n_weights
    assert table["normalization"].tolist() == [normalization] * len(hidden) + ["none"]


def test_the_network_of_a_training_can_be_summarised() -> None:
    config = small_config()
    table = summary(Training(config, small_split(config)).network)
    assert table["units"].tolist() == [*config.network.sizes(), len(blobs().classes)]


def test_the_text_is_aligned_and_ends_with_totals() -> None:
    network = network_of({"activation": ["sigmoid"], "bias": [True, False]}, (784, 1000, 10))
    assert summary_text(network, output="softmax").splitlines() == [
        "layer  input  units  activation  bias  parameters      bytes  multiply adds",
        "---------------------------------------------------------------------------",
        "    1    784  1,000  sigmoid     yes      785,000  3,140,000        784,000",
        "    2  1,000     10  softmax     no        10,000     40,000         10,000",
        "---------------------------------------------------------------------------",
        "total                                     795,000  3,180,000        794,000",
    ]


def test_the_text_shows_normalization_and_dropout_if_there_are_any() -> None:
    lines = summary_text(network_of({"normalization": "batch", "dropout": 0.5})).splitlines()
    assert lines[0].split() == [
        *("layer", "input", "units", "normalization", "activation", "dropout"),
        *("bias", "parameters", "bytes", "multiply", "adds"),
    ]
    assert lines[2].split()[3:6] == ["batch", "relu", "0.5"]
    assert lines[4].split()[3:6] == ["none", "identity", "none"]
