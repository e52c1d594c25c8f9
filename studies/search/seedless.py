"""Configurations without their seeds: trainings that differ in seeds only are repetitions of one configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlp.config import Taper

SEEDS = ("seed", "data.split_seed")


def seedless_key(config: Mapping[str, Any]) -> str:
    """Return a text that is the same for two configurations if they differ in their seeds only.

    Hidden layers are compared by their sizes, because taper has no effect on a single layer, for example.

    Args:
        config: a complete configuration, as `TrainConfig.to_mapping` returns it or a log records it.
    """
    data = {name: value for name, value in config["data"].items() if name != "split_seed"}
    network = dict(config["network"])
    if isinstance(network["hidden"], Mapping):
        network["hidden"] = Taper.from_mapping(network["hidden"]).sizes()
    without_seed = {name: value for name, value in config.items() if name != "seed"}
    return json.dumps({**without_seed, "data": data, "network": network}, sort_keys=True)
