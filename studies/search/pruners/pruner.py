"""What a pruner is: it decides when a trial that does not look promising is stopped."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from mlp.registry import AbstractPart, Registry

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from mlp.config import TrainConfig


class AbstractPruner(AbstractPart):
    """Decides after each epoch of a trial whether the trial is stopped.

    A pruner that can stop a trial has a field `min_epochs`: the number of epochs that every trial gets.

    A pruner with rungs does not ask Optuna: at each rung a trial pauses, and continues if it is promoted.

    Attributes:
        needs_folds: whether it compares the values of single folds.
    """

    needs_folds: ClassVar[bool] = False

    @abstractmethod
    def build(self, epochs: int) -> BasePruner:
        """Return Optuna's pruner.

        Args:
            epochs: the epochs of base.
        """

    def check(self, base: TrainConfig, metric: str) -> None:
        """Check before a study starts that the pruner fits it.

        Args:
            base: the configuration that the study varies.
            metric: the metric of the study, or `auto`.

        Raises:
            ConfigError: if it does not.
        """
        return

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """Return the epochs at which a trial pauses, in ascending order, all below its own number of epochs."""
        return ()

    def n_promoted(self, n: int) -> int:
        """Return how many of `n` trials at a rung continue."""
        return 0

    @property
    def search_share(self) -> float:
        """The share of the budget after which no more trials are asked; the rest is for the best paused trials."""
        return 1.0


pruners: Registry[AbstractPruner] = Registry("pruner")
AbstractPruner.family = pruners
