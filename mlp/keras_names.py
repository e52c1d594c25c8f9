"""Keras names translated to ours: activations, losses, optimizers and metrics.

In Keras, the last layer has an activation and the loss has a name of its own. In `mlp.losses`, a loss takes raw outputs
and contains that activation. Both spellings of a name are accepted, in upper or lower case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, get_args

from mlp.activations import AbstractActivation, activations
from mlp.errors import ConfigError, did_you_mean
from mlp.losses import (
    AbstractLoss,
    AbstractResidualLoss,
    Output,
    Task,
    losses,
)
from mlp.metrics import AbstractMetric, metrics
from mlp.optimizers import AbstractOptimizer, optimizers
from mlp.registry import AbstractPart, Registry

ACTIVATIONS = {"linear": "identity", "swish": "silu"}
OPTIMIZERS = {"iterative": "sgd"}
LOSSES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "binary_crossentropy": "binary_cross_entropy",
    "categorical_crossentropy": "softmax_cross_entropy",
    "sparse_categorical_crossentropy": "softmax_cross_entropy",
}
METRICS = {
    "acc": "accuracy",
    "mean_squared_error": "mse",
    "mean_absolute_error": "mae",
    "cross_entropy": "log_loss",
    "cross-entropy": "log_loss",
    "binary_crossentropy": "log_loss",
    "categorical_crossentropy": "log_loss",
}
# The name of a metric when the targets are not values.
METRICS_OF_TASK: dict[tuple[Task, str], str] = {
    ("classes", "mse"): "brier",
    ("labels", "mse"): "brier",
    ("labels", "accuracy"): "label_accuracy",
}
SOFTMAX = "softmax"
# The activation of the last layer that a loss contains.
OUTPUT_OF_LOSS = {"softmax_cross_entropy": SOFTMAX, "binary_cross_entropy": "sigmoid"}

PartT = TypeVar("PartT", bound=AbstractPart)


def find_activation(value: Any) -> AbstractActivation | str:
    """Return the activation with a name, or the string `softmax`, which is not an activation of hidden layers.

    Args:
        value: a name, a table with a name, or the activation itself.

    Raises:
        ConfigError: if there is no such activation.
    """
    is_softmax = isinstance(value, str) and value.lower() == SOFTMAX
    return SOFTMAX if is_softmax else _find(activations, value, ACTIVATIONS, "activation", others=(SOFTMAX,))


def find_optimizer(value: Any, learning_rate: float | None) -> AbstractOptimizer:
    """Return the optimizer with a name.

    Args:
        value: a name, a table with a name, or the optimizer itself.
        learning_rate: the learning rate; None for the optimizer's own.

    Raises:
        ConfigError: if there is no such optimizer, or the learning rate is out of bounds.
    """
    optimizer = _find(optimizers, value, OPTIMIZERS, "optimizer")
    return optimizer if learning_rate is None else replace(optimizer, learning_rate=learning_rate)


def find_metrics(values: Any) -> dict[str, AbstractMetric]:
    """Return the metrics in a list of names, tables with a name, or metrics, by the name that the user gave them.

    Raises:
        ConfigError: if `values` is not a list, or there is no metric with one of the names.
    """
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ConfigError(f'must be a list, such as ["accuracy"], got {values!r}.', path="metrics")
    found = [(value, _find(metrics, value, METRICS, "metrics")) for value in values]
    return {value.lower() if isinstance(value, str) else metric.name: metric for value, metric in found}


def find_loss(value: Any, output: str) -> AbstractLoss:
    """Return the loss with a name, combined with the activation of the last layer.

    Args:
        value: a name, a table with a name, or the loss itself.
        output: the name of the last layer's activation; `identity` or `linear` if it has none.

    Raises:
        ConfigError: if there is no such loss, or it cannot be combined with that activation.
    """
    loss = _find(losses, value, LOSSES, "loss")
    if isinstance(loss, AbstractResidualLoss):
        outputs = get_args(Output)
        if output not in outputs:
            problem = f'"{loss.name}" needs a last layer with one of {", ".join(outputs)}, got {output}.'
            raise ConfigError(problem, path="loss")
        return replace(loss, output=output)  # type: ignore[arg-type] # it has just been checked
    if output != (needed := OUTPUT_OF_LOSS[loss.name]):
        fitting = [name for name, its_output in OUTPUT_OF_LOSS.items() if its_output == output]
        suggestion = " or ".join([*fitting, "mean_squared_error"])
        problem = f'"{loss.name}" needs a last layer with activation="{needed}", got {output}.'
        raise ConfigError(f"{problem} For {output}, use {suggestion}.", path="loss")
    return loss


def output_of(loss: AbstractLoss) -> str:
    """Return the name of the last layer's activation that a loss contains."""
    return loss.output if isinstance(loss, AbstractResidualLoss) else OUTPUT_OF_LOSS[loss.name]


def metrics_for(task: Task, chosen: Mapping[str, AbstractMetric]) -> dict[str, AbstractMetric]:
    """Return the metrics that are computed for a task, by the name under which they are shown.

    That is the name that the user gave, unless the metric is another one for this task: `brier`.
    """
    shown = {}
    for name, metric in chosen.items():
        own = METRICS_OF_TASK.get((task, metric.name), "")
        shown[own if own == "brier" else name] = metrics.decode(own) if own else metric
    return shown


def metric_keys(chosen: Mapping[str, AbstractMetric], *, has_validation: bool) -> dict[str, str]:
    """Return the keys of the metrics of an epoch, `validation/accuracy`, by their names in Keras, `val_accuracy`.

    Args:
        chosen: the metrics besides the loss, by the name under which they are shown.
        has_validation: whether there is a validation part.
    """
    names = {"loss": "loss", **{name: metric.name for name, metric in chosen.items()}}
    keys = {name: f"train/{own}" for name, own in names.items()}
    return keys | ({f"val_{name}": f"validation/{own}" for name, own in names.items()} if has_validation else {})


def _find(
    family: Registry[PartT], value: Any, aliases: Mapping[str, str], path: str, others: tuple[str, ...] = ()
) -> PartT:
    """Return a part from either of its names, from a table with such a name, or from the part itself."""
    if isinstance(value, AbstractPart) and value.family is family:
        return value  # type: ignore[return-value]
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        return family.decode(value, path=path)  # raises the error that explains what is wrong
    known = [*family, *others, *aliases]
    if (name := table["name"].lower()) not in known:
        problem = f'there is no {family.kind} called "{table["name"]}".{did_you_mean(name, known)}'
        raise ConfigError(f"{problem} Available: {', '.join(known)}.", path=path)
    return family.decode({**table, "name": aliases.get(name, name)}, path=path)
