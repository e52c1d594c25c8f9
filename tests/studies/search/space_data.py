"""Spaces of the tests of `[space]`."""

from __future__ import annotations

import tomllib
from typing import Any

from mlp.config import TrainConfig
from studies.search.space import Space

DESIGN = tomllib.loads("""
[base]
seed           = 0
epochs         = 20
batch_size     = 128
early_stopping = { patience = 5 }
data           = { name = "fashion_mnist", scale = "unit", validation = 10_000 }
network        = { hidden = { depth = 2, width = 256, taper = 1.0 }, activation = "relu", initializer = "he_normal" }
optimizer      = { name = "adam", learning_rate = 1e-3, weight_decay = 1e-4 }
schedule       = "cosine"

[space]
"network.hidden.depth"    = { low = 1, high = 3 }
"network.hidden.width"    = { low = 32, high = 512, log = true }
"network.hidden.taper"    = { low = 0.5, high = 1.0 }
"network.activation"      = ["relu", "tanh", { name = "leaky_relu", slope = 0.1 }]
"network.initializer"     = ["he_normal", "glorot_uniform"]
optimizer                 = ["adam", { name = "sgd", momentum = 0.9 }]
"optimizer.learning_rate" = { low = 1e-4, high = 0.3, log = true }
"optimizer.nesterov"      = { choices = [false, true], when = { optimizer = "sgd" } }
"schedule"                = ["cosine", "constant", "exponential"]
"schedule.factor"         = { low = 0.8, high = 0.99, when = { schedule = "exponential" } }
batch_size                = [64, 128, 256]
""")


def base(changes: dict[str, Any] | None = None) -> TrainConfig:
    """Return the base of DESIGN with some of its fields replaced."""
    return TrainConfig.from_mapping(DESIGN["base"] | (changes or {}))


def space(table: dict[str, Any] | str, changes: dict[str, Any] | None = None) -> Space:
    return Space(tomllib.loads(table) if isinstance(table, str) else table, base(changes))
