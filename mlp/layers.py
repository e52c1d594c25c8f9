"""Dense layers, and the network configuration that a stack of them describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlp.activations import AbstractActivation, Identity
from mlp.config import NetworkConfig
from mlp.errors import ConfigError
from mlp.keras_names import SOFTMAX, find_activation, output_of
from mlp.model import Model
from mlp.records import AbstractRecord, number


@dataclass(frozen=True)
class Dense(AbstractRecord):
    """A fully connected layer: each unit takes all outputs of the layer before it.

    Attributes:
        units: the number of units.
        activation: the activation as a name, a table with a name, or a part of `mlp.activations`; `linear` for no
            activation. `softmax` is for the last layer only.
        input_dim: the number of features of an example; required in the first layer, optional in the others.
        bias: whether each unit adds a bias.
    """

    units: int = number(at_least=1, at_most=65536)
    activation: str | AbstractActivation = Identity()
    input_dim: int | None = number(None, at_least=1)
    bias: bool = True

    def __post_init__(self) -> None:
        # Names are translated before the fields are checked, because the check does not know Keras names.
        object.__setattr__(self, "activation", find_activation(self.activation))
        for name in ("units", "input_dim"):
            if isinstance(value := getattr(self, name), np.integer):  # such as y.max() + 1
                object.__setattr__(self, name, int(value))
        super().__post_init__()
        if self.activation == SOFTMAX and self.units == 1:
            raise ConfigError("softmax of a single unit is always 1. Use sigmoid.", path="activation")


def check_next(layer: Any, layers: Sequence[Dense]) -> None:
    """Check that a layer can be added on top of others.

    Args:
        layer: the layer to add.
        layers: the layers before it, in order.

    Raises:
        ConfigError: if it is not a `Dense`, or does not fit the layer before it.
    """
    if not isinstance(layer, Dense):
        raise ConfigError(f"a layer must be a Dense, such as Dense(10), got {layer!r}.")
    if not layers:
        if layer.input_dim is None:
            problem = "the first layer needs the number of features of an example, as in Dense(100, input_dim=784)."
            raise ConfigError(problem, path="input_dim")
        return
    n, before = len(layers), layers[-1]
    if before.activation == SOFTMAX:
        problem = f"softmax is for the last layer only, but layer {n} has it. Give layer {n} another activation."
        raise ConfigError(problem, path="activation")
    if layer.input_dim not in (None, before.units):
        problem = f"layer {n + 1} must take the {before.units} units of layer {n}, got {layer.input_dim}. Leave it out."
        raise ConfigError(problem, path="input_dim")


def network_config(layers: Sequence[Dense], base: NetworkConfig) -> NetworkConfig:
    """Return the configuration of the network that some layers describe.

    Args:
        layers: the layers in order, the last one included.
        base: the settings that all layers share: initializer, normalization, dropout.
    """
    hidden = layers[:-1]
    return replace(
        base,
        hidden=tuple(layer.units for layer in hidden),
        activation=_one_or_all([layer.activation for layer in hidden]),
        bias=_one_or_all([layer.bias for layer in layers]),
    )


def _one_or_all(values: list[Any]) -> Any:
    """Return the value that all layers share, or the values of all layers if they differ."""
    return values[0] if values and all(value == values[0] for value in values) else tuple(values)


def layers_of(model: Model) -> list[Dense]:
    """Return the layers of a model's network."""
    network = model.build_network()
    n_inputs, *widths = network.sizes
    activations: list[str | AbstractActivation] = [*network.activations, output_of(model.loss)]
    layers: list[Dense] = []
    for units, activation, bias in zip(widths, activations, network.has_bias, strict=True):
        layers.append(Dense(units, activation, None if layers else n_inputs, bias))
    return layers
