"""Pruners that look at a trial by itself: none, a threshold, and patience before another pruner may act."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlp.errors import ConfigError, errors_in
from mlp.records import number
from studies.search.pruners.pruner import AbstractPruner, pruners

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from mlp.config import TrainConfig


@pruners.register("none")
@dataclass(frozen=True)
class NoPruner(AbstractPruner):
    """No trial is pruned."""

    def build(self, epochs: int) -> BasePruner:
        from optuna.pruners import NopPruner

        return NopPruner()


@pruners.register("threshold")
@dataclass(frozen=True)
class Threshold(AbstractPruner):
    """Prunes a trial whose value is outside of bounds, or undefined.

    Attributes:
        lower: the smallest value that may continue; None for no bound.
        upper: the largest value that may continue; None for no bound.
        min_epochs: epochs that every trial gets.
    """

    lower: float | None = None
    upper: float | None = None
    min_epochs: int = number(1, at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lower is None and self.upper is None:
            raise ConfigError('needs lower, upper, or both, such as { name = "threshold", lower = 0.5 }.')
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ConfigError(f"lower must not be above upper, got lower = {self.lower} and upper = {self.upper}.")

    def build(self, epochs: int) -> BasePruner:
        from optuna.pruners import ThresholdPruner

        return ThresholdPruner(self.lower, self.upper, n_warmup_steps=self.min_epochs)


@pruners.register("patient")
@dataclass(frozen=True)
class Patient(AbstractPruner):
    """Prunes a trial that has stopped improving, if another pruner would prune it too.

    Attributes:
        pruner: the other pruner; with "none", a trial is pruned as soon as it has stopped improving.
        patience: epochs without an improvement that a trial may have.
        min_delta: by how much a value must be worse than the best one before, to be no improvement.
    """

    pruner: AbstractPruner = NoPruner()
    patience: int = number(3, at_least=0)
    min_delta: float = number(0.0, at_least=0)

    def check(self, base: TrainConfig, metric: str) -> None:
        with errors_in('"pruner":'):
            if self.pruner.rungs(base.epochs):
                problem = f'"{self.pruner.name}" pauses trials, and "patient" needs a pruner that stops them'
                raise ConfigError(f'{problem}, such as "median" or "successive_halving".')
            self.pruner.check(base, metric)

    def build(self, epochs: int) -> BasePruner:
        from optuna.exceptions import ExperimentalWarning
        from optuna.pruners import PatientPruner

        wrapped = None if isinstance(self.pruner, NoPruner) else self.pruner.build(epochs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return PatientPruner(wrapped, patience=self.patience, min_delta=self.min_delta)
