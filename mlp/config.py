"""The configuration of a training: every setting that affects its result, and no other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from mlp.activations import AbstractActivation, Relu
from mlp.data_config import DataConfig
from mlp.errors import ConfigError
from mlp.initializers import AbstractInitializer, HeNormal, Zeros
from mlp.losses import USUAL_LOSSES, AbstractLoss, Task
from mlp.metrics import AbstractMetric
from mlp.network import Network, count_parameters
from mlp.normalizations import AbstractNormalization, BatchNormalization, NoNormalization
from mlp.optimizers import AbstractOptimizer, Adam
from mlp.rate_factors import RateFactors
from mlp.records import AbstractRecord, number
from mlp.schedules import AbstractSchedule, Constant
from mlp.scores import check_metric, standard


@dataclass(frozen=True)
class Taper(AbstractRecord):
    """Hidden layers by depth, width and taper: layer i, counted from 0, has max(1, round(width · taper^i)) units.

    Attributes:
        depth: the number of hidden layers.
        width: the units of the first hidden layer.
        taper: the ratio of the widths of consecutive layers.
    """

    depth: int = number(1, at_least=0, at_most=64)
    width: int = number(128, at_least=1, at_most=65536)
    taper: float = number(1.0, above=0.0, at_most=4.0)

    def sizes(self) -> tuple[int, ...]:
        """Return the width of each hidden layer."""
        return tuple(max(1, round(self.width * self.taper**layer)) for layer in range(self.depth))


@dataclass(frozen=True)
class NetworkConfig(AbstractRecord):
    """The network: its hidden layers, what they compute, and their initial weights.

    Attributes:
        hidden: the widths of the hidden layers, `[512, 256]`, or depth, width and taper; `[]` is softmax regression.
        activation: one for all hidden layers, or a list with one per hidden layer.
        initializer: how the weights are drawn.
        last_initializer: how the weights of the last layer are drawn, such as `zeros`; None for `initializer`.
        bias_initializer: how the biases are drawn.
        bias: whether layers have a bias: one value for all, or a list with one per layer, the last one included.
        normalization: the normalisation of every hidden layer, before its activation.
        dropout: the share of hidden units dropped at each step.
        input_noise: the standard deviation of the normal noise added to scaled inputs at each step.
        input_scale: whether each input is multiplied by a trained scale, which starts from 1.
        parametric_activation: whether each hidden unit computes z + alpha · (activation(z) - z) with a trained alpha,
            which starts from 1.
    """

    hidden: Taper | tuple[int, ...] = number((128,), at_least=1, at_most=65536)
    activation: AbstractActivation | tuple[AbstractActivation, ...] = Relu()
    initializer: AbstractInitializer = HeNormal()
    last_initializer: AbstractInitializer | None = None
    bias_initializer: AbstractInitializer = Zeros()
    bias: bool | tuple[bool, ...] = True
    normalization: AbstractNormalization = NoNormalization()
    dropout: float = number(0.0, at_least=0.0, below=1.0)
    input_noise: float = number(0.0, at_least=0.0, at_most=1e6)
    input_scale: bool = False
    parametric_activation: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        n_hidden = len(self.sizes())
        for name, n_layers in (("activation", n_hidden), ("bias", n_hidden + 1)):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != n_layers:
                layers = "hidden layer" if name == "activation" else "layer, the last one included"
                raise ConfigError(f"must have {n_layers} entries, one per {layers}, got {len(value)}.", path=name)

    def sizes(self) -> tuple[int, ...]:
        """Return the width of each hidden layer."""
        return self.hidden.sizes() if isinstance(self.hidden, Taper) else self.hidden

    def count_parameters(self, sizes: tuple[int, ...]) -> int:
        """Return the length of theta for these widths of all layers, inputs and outputs included."""
        norms = (*(self.normalization for _ in sizes[2:]), NoNormalization())
        bias = (self.bias,) * (len(sizes) - 1) if isinstance(self.bias, bool) else self.bias
        flags = {"input_scale": self.input_scale, "parametric_activation": self.parametric_activation}
        return count_parameters(sizes, norms, bias, **flags)[-1]

    def build(self, sizes: tuple[int, ...], *, dtype: Any) -> Network:
        """Return the network for these widths of all layers, inputs and outputs included; its parameters are 0."""
        return Network(
            sizes,
            self.activation,
            normalization=self.normalization,
            dropout=self.dropout,
            input_noise=self.input_noise,
            bias=self.bias,
            input_scale=self.input_scale,
            parametric_activation=self.parametric_activation,
            dtype=dtype,
        )

    def initialize(self, network: Network, *, seed: int) -> None:
        """Draw the initial parameters of a network that `build` has made."""
        network.initialize(self.initializer, self.bias_initializer, seed=seed, last=self.last_initializer)


@dataclass(frozen=True)
class EarlyStopping(AbstractRecord):
    """Early stopping: stop after `patience` epochs without a better `metric`, and keep the weights of the best epoch.

    Attributes:
        patience: epochs without improvement after which the training stops.
        metric: a metric key of the validation or the training part.
        min_delta: the smallest improvement that counts.
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
        data: the data set and its split; its name may be left empty if `train` is given the data.
        seed: the seed of the split (unless `data.split_seed` is set), the initial weights, the shuffling, dropout and
            noise.
        epochs: the largest number of passes over the training part; schedules span all of them.
        batch_size: examples per step; `full` for all of them.
        network: the network.
        loss: the loss that is minimised; `auto` is the usual one of the task: `softmax_cross_entropy` for classes,
            `binary_cross_entropy` for labels, `mean_squared_error` for values.
        optimizer: the optimizer and its learning rate.
        schedule: how the learning rate changes over the epochs.
        rate_factors: how the learning rate differs between kinds of parameters.
        early_stopping: None to train for all epochs.
        dtype: the type of all arithmetic.
        class_weights: the weight of each class in the training loss, one number per class; `balanced` gives all classes
            the same total weight; empty for equal weights.
        metrics: the metrics of each epoch besides the standard ones: the loss, and the accuracy or R².
        diagnostics: whether each epoch also computes norms of gradients and steps, and shares of dead units.
    """

    data: DataConfig = field(default_factory=DataConfig)
    seed: int = number(0, at_least=0, at_most=2**32 - 1)
    epochs: int = number(10, at_least=1)
    batch_size: int | Literal["full"] = number(128, at_least=1)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: Literal["auto"] | AbstractLoss = "auto"
    optimizer: AbstractOptimizer = Adam()
    schedule: AbstractSchedule = Constant()
    rate_factors: RateFactors = RateFactors()
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
            if metric.startswith("validation/") and not self.data.has_validation:
                problem = f'needs "{metric}", but data.validation = 0 leaves no validation part.'
                raise ConfigError(problem, path=path)
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            raise ConfigError(f"must not contain a metric twice, got {', '.join(names)}.", path="metrics")
        if self.batch_size == 1 and isinstance(self.network.normalization, BatchNormalization):
            problem = "must be at least 2 with batch normalization, which needs several examples, got 1."
            raise ConfigError(problem, path="batch_size")

    def with_seed(self, seed: int) -> TrainConfig:
        """Return the same configuration with another seed, which decides the split as well."""
        return replace(self, seed=seed, data=replace(self.data, split_seed=None))

    def watched(self) -> dict[str, str]:
        """Return the metrics that early stopping and the schedule depend on, by the path of the field."""
        stopping = self.early_stopping.metric if self.early_stopping else ""
        watched = {"early_stopping": stopping, "schedule": self.schedule.watched}
        return {path: metric for path, metric in watched.items() if metric}

    def loss_for(self, task: Task) -> AbstractLoss:
        """Return the loss that is minimised to predict classes, labels or values."""
        return USUAL_LOSSES[task] if self.loss == "auto" else self.loss

    def metric_names(self, task: Task) -> list[str]:
        """Return the names of all metrics that each epoch computes for a task."""
        return list(dict.fromkeys(metric.name for metric in (*standard(task), *self.metrics)))

    def steps(self, n_train: int) -> tuple[int, int]:
        """Return the number of examples per step and of steps per epoch, given `n_train` training examples."""
        b = n_train if self.batch_size == "full" else min(int(self.batch_size), n_train)
        return b, -(-n_train // b)

    def layer_sizes(self, n_features: int, n_targets: int, task: Task) -> tuple[int, ...]:
        """Return the widths of all layers, inputs and outputs included.

        Raises:
            ConfigError: if the loss does not support the task.
        """
        return (n_features, *self.network.sizes(), self.loss_for(task).n_outputs(task, n_targets))
