"""Constraints: how large a configuration may be. Checked before a training, so that a refusal costs nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlp.config import TrainConfig
from mlp.errors import ConfigError, shown
from mlp.memory import DataSize, count_parameters, predict_memory

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True)
class Constraints:
    """The largest configuration that a study trains.

    Attributes:
        data: the size of the data of the study.
        max_parameters: the largest number of parameters of a network; None without this limit.
        max_memory: the most bytes that a training may need, as `mlp.memory` predicts them; None without this limit.
    """

    data: DataSize
    max_parameters: int | None = None
    max_memory: int | None = None

    def allow(self, config: TrainConfig) -> bool:
        """Return whether a configuration meets the constraints."""
        return not self.violation(config)

    def violation(self, config: TrainConfig) -> str:
        """Return the constraint that a configuration violates, as a predicate; empty if it meets all of them.

        An example is `has 1,210 parameters, but max_parameters is 1,000`.
        """
        n_parameters = count_parameters(config, self.data)
        if self.max_parameters is not None and n_parameters > self.max_parameters:
            return f"has {n_parameters:,} parameters, but max_parameters is {self.max_parameters:,}"
        if self.max_memory is not None and (n_bytes := predict_memory(config, self.data)) > self.max_memory:
            return f"needs {bytes_text(n_bytes)} of memory, but max_memory is {bytes_text(self.max_memory)}"
        return ""

    def smallest(self, configs: list[TrainConfig]) -> str:
        """Return the smallest sizes of some configurations, as far as they are limited."""
        found = []
        if self.max_parameters is not None:
            found.append(f"{min(count_parameters(config, self.data) for config in configs):,} parameters")
        if self.max_memory is not None:
            found.append(f"{bytes_text(min(predict_memory(config, self.data) for config in configs))} of memory")
        return " and ".join(found)

    def __str__(self) -> str:
        parameters = [] if self.max_parameters is None else [f"max_parameters = {self.max_parameters:,}"]
        memory = [] if self.max_memory is None else [f"max_memory = {bytes_text(self.max_memory)}"]
        return " and ".join(parameters + memory)


def read_bytes(value: int | str) -> int:
    """Return the number of bytes that a number or a text such as `2GB` or `512 MiB` states.

    Raises:
        ConfigError: if the text is not a positive number with a unit.
    """
    if isinstance(value, int):
        return value
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)", value.strip())
    unit = UNITS.get(match[2].upper()) if match else None
    n_bytes = 0 if match is None or unit is None else round(float(match[1]) * unit)
    if n_bytes < 1:
        raise ConfigError(f'must be a number of bytes, or a text such as "2GB" or "512MiB", got {shown(value)}.')
    return n_bytes


def bytes_text(n_bytes: int) -> str:
    """Return a number of bytes with three digits: `1.21 GB`."""
    unit = next((name for name in ("GB", "MB", "KB") if n_bytes >= UNITS[name]), "B")
    number = n_bytes / UNITS[unit]
    return f"{number:,.0f} {unit}" if number >= 100 or unit == "B" else f"{number:.3g} {unit}"
