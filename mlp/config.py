"""The configuration of a training: everything that decides its result, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mlp.activations import AbstractActivation, Relu
from mlp.data import DataConfig
from mlp.initializers import AbstractInitializer, HeNormal, Zeros
from mlp.losses import AbstractLoss, SoftmaxCrossEntropy
from mlp.metrics import direction
from mlp.optimizers import AbstractOptimizer, Adam
from mlp.registry import AbstractRecord, ConfigError, number
from mlp.schedules import AbstractSchedule, Constant


@dataclass(frozen=True)
class Taper(AbstractRecord):
    """Hidden layers by depth, width and taper: layer i has max(1, round(width · taper^i)) units."""

    depth: int = number(1, at_least=0, at_most=64)
    width: int = number(128, at_least=1, at_most=65536)
    taper: float = number(1.0, above=0.0, at_most=4.0)

    def sizes(self) -> tuple[int, ...]:
        """Return the width of each hidden layer."""
        return tuple(max(1, round(self.width * self.taper**layer)) for layer in range(self.depth))


@dataclass(frozen=True)
class NetworkConfig(AbstractRecord):
    """The network: its hidden layers, what they compute, and how they start.

    Attributes:
        hidden: the widths, `[512, 256]`, or depth, width and taper; an empty list is softmax regression.
    """

    hidden: Taper | tuple[int, ...] = number((128,), at_least=1, at_most=65536)
    activation: AbstractActivation = Relu()
    initializer: AbstractInitializer = HeNormal()
    bias_initializer: AbstractInitializer = Zeros()

    def sizes(self) -> tuple[int, ...]:
        """Return the width of each hidden layer."""
        return self.hidden.sizes() if isinstance(self.hidden, Taper) else self.hidden


@dataclass(frozen=True)
class EarlyStopping(AbstractRecord):
    """Early stopping: after `patience` epochs without a better `metric`, the weights of the best epoch are kept.

    Attributes:
        metric: of the validation or the training part.
        min_delta: by how much a value must be better to count.
    """

    patience: int = number(5, at_least=1)
    metric: str = "validation/loss"
    min_delta: float = number(0.0, at_least=0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            direction(self.metric)
        except ConfigError as error:
            raise error.within("metric") from None


@dataclass(frozen=True)
class TrainConfig(AbstractRecord):
    """A training configuration: the only description of a training run.

    Attributes:
        seed: of the split, the initialisation and the shuffling.
        epochs: passes over the training part, at most; schedules span them.
        batch_size: examples a step, or `full` for all of them.
    """

    data: DataConfig
    seed: int = number(0, at_least=0, at_most=2**32 - 1)
    epochs: int = number(10, at_least=1)
    batch_size: int | Literal["full"] = number(128, at_least=1)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: AbstractLoss = SoftmaxCrossEntropy()
    optimizer: AbstractOptimizer = Adam()
    schedule: AbstractSchedule = Constant()
    early_stopping: EarlyStopping | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.early_stopping and self.early_stopping.metric.startswith("validation/") and not self.data.validation:
            problem = f'watches "{self.early_stopping.metric}", but data.validation = 0 holds nothing out.'
            raise ConfigError(problem, path="early_stopping")

    def steps(self, n_train: int) -> tuple[int, int]:
        """Return the examples in a step and the steps in an epoch, for `n_train` examples."""
        b = n_train if self.batch_size == "full" else min(int(self.batch_size), n_train)
        return b, -(-n_train // b)

    def layer_sizes(self, n_features: int, n_outputs: int) -> tuple[int, ...]:
        """Return the widths of all layers, inputs and outputs included."""
        return (n_features, *self.network.sizes(), n_outputs)


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the mapping of a configuration with the dotted paths in `changes` replaced, outer paths first.

    Raises:
        ConfigError: when a path leads through something that is no table.
    """
    merged: dict[str, Any] = _copy(base)
    for path in sorted(changes, key=lambda path: path.count(".")):
        *steps, last = path.split(".")
        table = merged
        for depth, step in enumerate(steps):
            inner = table.setdefault(step, {})
            if isinstance(inner, str):  # a part by its bare name
                inner = table[step] = {"name": inner}
            if not isinstance(inner, dict):
                problem = f"has no field below it here, for it is {inner!r}; give it as a table."
                raise ConfigError(problem, path=".".join(steps[: depth + 1]))
            table = inner
        table[last] = _copy(changes[path])
    return merged


def _copy(value: Any) -> Any:
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, dict) else value
