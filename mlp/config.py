"""The configuration of a training: everything that decides its result, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mlp.activations import AbstractActivation, Relu
from mlp.data import DataConfig
from mlp.errors import ConfigError
from mlp.initializers import AbstractInitializer, HeNormal, Zeros
from mlp.losses import AbstractLoss, SoftmaxCrossEntropy, Task
from mlp.metrics import AbstractMetric
from mlp.network import Network, count_parameters
from mlp.normalizations import AbstractNormalization, BatchNormalization, NoNormalization
from mlp.optimizers import AbstractOptimizer, Adam
from mlp.records import AbstractRecord, number
from mlp.schedules import AbstractSchedule, Constant
from mlp.scores import check_metric, standard


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
        activation: of every hidden layer, or a list of one for each.
        bias: whether layers add one: all, or a list of one for each layer, the last included.
        normalization: of every hidden layer, before its activation.
        dropout: the share of hidden units dropped at each step.
        input_noise: the deviation of the normal noise added to scaled inputs at each step.
    """

    hidden: Taper | tuple[int, ...] = number((128,), at_least=1, at_most=65536)
    activation: AbstractActivation | tuple[AbstractActivation, ...] = Relu()
    initializer: AbstractInitializer = HeNormal()
    bias_initializer: AbstractInitializer = Zeros()
    bias: bool | tuple[bool, ...] = True
    normalization: AbstractNormalization = NoNormalization()
    dropout: float = number(0.0, at_least=0.0, below=1.0)
    input_noise: float = number(0.0, at_least=0.0, at_most=1e6)

    def __post_init__(self) -> None:
        super().__post_init__()
        n_hidden = len(self.sizes())
        for name, wanted in (("activation", n_hidden), ("bias", n_hidden + 1)):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != wanted:
                layers = "hidden layer" if name == "activation" else "layer, the last included"
                raise ConfigError(f"must list {wanted}, one for each {layers}, got {len(value)}.", path=name)

    def sizes(self) -> tuple[int, ...]:
        """Return the width of each hidden layer."""
        return self.hidden.sizes() if isinstance(self.hidden, Taper) else self.hidden

    def count_parameters(self, sizes: tuple[int, ...]) -> int:
        """Return the length of theta of a network with these widths of all layers."""
        norms = (*(self.normalization for _ in sizes[2:]), NoNormalization())
        bias = (self.bias,) * (len(sizes) - 1) if isinstance(self.bias, bool) else self.bias
        return count_parameters(sizes, norms, bias)[-1]

    def build(self, sizes: tuple[int, ...], *, dtype: Any) -> Network:
        """Return the network with these widths of all layers, its parameters still zero."""
        return Network(
            sizes,
            self.activation,
            normalization=self.normalization,
            dropout=self.dropout,
            input_noise=self.input_noise,
            bias=self.bias,
            dtype=dtype,
        )


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
        check_metric(self.metric)


@dataclass(frozen=True)
class TrainConfig(AbstractRecord):
    """A training configuration: the only description of a training run.

    Attributes:
        seed: of the split, the initialisation and the shuffling.
        epochs: passes over the training part, at most; schedules span them.
        batch_size: examples a step, or `full` for all of them.
        dtype: of all arithmetic.
        class_weights: how much the examples of each class count in the loss that is trained, one number a class;
            `balanced` for as much in all as those of any other; none for all the same.
        metrics: what to compute each epoch besides the loss and accuracy, or R² of values.
        diagnostics: whether to compute what goes on inside each epoch too: norms of gradients and steps, dead units.
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
    dtype: Literal["float32", "float64"] = "float32"
    class_weights: Literal["balanced"] | tuple[float, ...] = number((), at_least=0.0)
    metrics: tuple[AbstractMetric, ...] = ()
    diagnostics: bool = False

    @classmethod
    def error_name(cls) -> str:
        return "a training configuration"

    def __post_init__(self) -> None:
        super().__post_init__()
        for path, metric in self.watched().items():
            if metric.startswith("validation/") and not self.data.holds_out:
                raise ConfigError(f'watches "{metric}", but data.validation = 0 holds nothing out.', path=path)
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            raise ConfigError(f"must name each metric once, got {', '.join(names)}.", path="metrics")
        if self.batch_size == 1 and isinstance(self.network.normalization, BatchNormalization):
            raise ConfigError("must be at least 2 for batch normalization, which compares examples.", path="batch_size")

    def watched(self) -> dict[str, str]:
        """Return the metrics on which the course of the training depends, by the path of what watches them."""
        stopping = self.early_stopping.metric if self.early_stopping else ""
        watched = {"early_stopping": stopping, "schedule": self.schedule.watched}
        return {path: metric for path, metric in watched.items() if metric}

    def metric_names(self, task: Task) -> list[str]:
        """Return the names of the metrics that each epoch computes for a task."""
        return list(dict.fromkeys(metric.name for metric in (*standard(task), *self.metrics)))

    def steps(self, n_train: int) -> tuple[int, int]:
        """Return the examples in a step and the steps in an epoch, for `n_train` examples."""
        b = n_train if self.batch_size == "full" else min(int(self.batch_size), n_train)
        return b, -(-n_train // b)

    def layer_sizes(self, n_features: int, n_targets: int, task: Task) -> tuple[int, ...]:
        """Return the widths of all layers, inputs and outputs included.

        Raises:
            ConfigError: when the loss does not fit the task.
        """
        return (n_features, *self.network.sizes(), self.loss.n_outputs(task, n_targets))
