"""Ensembles: several trained networks, such as one configuration with several seeds, whose predictions are averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError
from mlp.model import AbstractModel, Manifest, Model


@dataclass(frozen=True, eq=False)
class Ensemble(AbstractModel):
    """Several networks whose probabilities, or whose values in their own units, are averaged.

    Each network encodes the raw inputs in its own way, as it was fitted on its own training part.

    Attributes:
        members: the networks, at least one.
    """

    members: tuple[Model, ...]

    @classmethod
    def of(cls, members: Sequence[Model], *, metrics: Mapping[str, float] | None = None) -> Self:
        """Return the ensemble of some networks.

        Args:
            members: the networks, at least one.
            metrics: the scores to save with the ensemble, by metric key.

        Raises:
            ConfigError: if two networks do not predict the same thing from the same inputs.
        """
        first, *others = (model.manifest for model in members)
        for other in others:
            for name, expected in _interface(first).items():
                if (got := _interface(other)[name]) != expected:
                    raise ConfigError(
                        f"all networks of an ensemble must have the same {name}, got {expected} and {got}."
                    )
        return cls(first, tuple(members), metrics=metrics or {})

    def outputs_of_cells(self, cells: Array) -> Array:
        """Return raw outputs that lead to the mean prediction, float64, shape (n, k), in terms of the first network."""
        task, scaling = self.manifest.task, self.manifest.target_scaling
        total = np.zeros((len(cells), len(self.classes)))
        for member in self.members:
            total += member.probabilities_of(member.outputs_of_cells(cells).astype(np.float64))
        return self.loss.outputs_for(scaling.apply(total / len(self.members), np.float64), task)


def _interface(manifest: Manifest) -> dict[str, object]:
    """Return what the networks of an ensemble must have in common."""
    return {
        "task": manifest.task,
        "classes": manifest.classes,
        "number of inputs": manifest.n_columns,
        "columns": manifest.columns,
        "schema": manifest.schema,
        "loss": manifest.config.loss_for(manifest.task),
        "dtype": manifest.config.dtype,
    }
