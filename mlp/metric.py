"""What a metric is. Each states whether it is minimised or maximised, and which tasks it is for.

A metric is finite for all finite outputs, unless it is undefined for the targets or the predictions, such as the area
under a ROC curve of one class. Then it is NaN, which is shown as "undefined" and counts as worse than any number. All
other metrics take the value that their docstring states where their formula divides zero by zero. All sums are in
float64.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError
from mlp.losses import AbstractLoss, Task
from mlp.registry import AbstractPart, Registry
from mlp.targets import TargetScaling

Direction = Literal["minimize", "maximize"]


class AbstractMetric(AbstractPart):
    """A number that summarises how well outputs match targets.

    Attributes:
        direction: whether lower or higher values are better.
        tasks: the kinds of targets that it is for.
        may_be_undefined: whether it is NaN for some targets or predictions.
        needs_two_classes: whether it is for two classes only, of which the second is the positive one.
    """

    direction: ClassVar[Direction]
    tasks: ClassVar[tuple[Task, ...]]
    may_be_undefined: ClassVar[bool] = False
    needs_two_classes: ClassVar[bool] = False

    @abstractmethod
    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        """Return the metric of raw outputs.

        Args:
            outputs: raw outputs, shape (n, width), at least one row.
            targets: integers of shape (n,) for classes, otherwise rows of shape (n, m).
            loss: the loss that the network was trained with; it turns raw outputs into probabilities and decisions.
            weights: the weight of each example, shape (n,); only the metric `loss` uses them.
        """

    def compute_in_units(
        self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None, scaling: TargetScaling
    ) -> float:
        """Return the metric of outputs of a network that has learnt scaled targets.

        Args:
            outputs: as for `compute`.
            targets: as for `compute`, in their own units.
            loss: as for `compute`.
            weights: as for `compute`.
            scaling: how the targets were scaled.
        """
        return self.compute(outputs, targets, loss, weights)

    def check_targets(self, task: Task, n_targets: int) -> None:
        """Check that the metric is for the task, and for the number of classes, labels or values.

        Raises:
            ConfigError: if it is not; the message names what to use instead.
        """
        self.check_task(task)
        if self.needs_two_classes and n_targets != 2:
            problem = f'the metric "{self.name}" needs exactly 2 classes, got {n_targets}'
            raise ConfigError(f'{problem}; use "{self.name}_macro" or another metric.')

    def check_task(self, task: Task) -> None:
        """Check that the metric is for the task.

        Raises:
            ConfigError: if it is not; the message names the metrics that are.
        """
        if task not in self.tasks:
            fitting = [name for name in metrics if task in metrics.lookup(name).tasks]
            raise ConfigError(
                f'the metric "{self.name}" is for {" and ".join(self.tasks)}, but the targets are {task}; '
                f"use one of {', '.join(fitting)}."
            )


metrics: Registry[AbstractMetric] = Registry("metric")
AbstractMetric.family = metrics


@metrics.register("loss")
@dataclass(frozen=True)
class Loss(AbstractMetric):
    """The mean of the loss of the training, weighted if examples have weights; 0 if all weights are 0.

    Where the network learns scaled values, it is the loss of the scaled values.
    """

    direction: ClassVar[Direction] = "minimize"
    tasks: ClassVar[tuple[Task, ...]] = ("classes", "labels", "values")

    def compute(self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None = None) -> float:
        values = loss.values(outputs, targets)
        if weights is None:
            return float(np.mean(values, dtype=np.float64))
        total = weights.sum(dtype=np.float64)
        return float(np.sum(values * weights, dtype=np.float64) / total) if total else 0.0

    def compute_in_units(
        self, outputs: Array, targets: Array, loss: AbstractLoss, weights: Array | None, scaling: TargetScaling
    ) -> float:
        return self.compute(outputs, scaling.apply(targets, outputs.dtype), loss, weights)
