"""The PyTorch counterpart of each part, found by its name, so that a new part is compared without editing a test.

The names are compared without underscores and case, so that `hard_swish` finds `hardswish` and `adamw` finds `AdamW`.
The tables below are for parts whose counterpart has another name, other arguments, or does not exist. In the last case
write the formula with PyTorch's operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from mlp.activations import AbstractActivation, activations
from mlp.losses import AbstractLoss
from mlp.normalizations import AbstractNormalization
from mlp.optimizers import AbstractOptimizer
from mlp.registry import AbstractPart

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")

COUNTERPARTS: dict[tuple[str, str], Callable[..., Any]] = {
    ("activation", "identity"): lambda z: z,
    ("loss", "softmax_cross_entropy"): torch.nn.functional.cross_entropy,
    ("loss", "binary_cross_entropy"): torch.nn.functional.binary_cross_entropy_with_logits,
    ("loss", "mean_squared_error"): torch.nn.functional.mse_loss,
    ("loss", "mean_absolute_error"): torch.nn.functional.l1_loss,
    ("optimizer", "momentum"): torch.optim.SGD,
    ("optimizer", "nesterov"): lambda parameters, **options: torch.optim.SGD(parameters, nesterov=True, **options),
    ("optimizer", "amsgrad"): lambda parameters, **options: torch.optim.Adam(parameters, amsgrad=True, **options),
}

# Fields whose argument has another name. A field that is not here is passed under its own name.
ARGUMENTS = {
    ("leaky_relu", "slope"): "negative_slope",
    ("gelu", "form"): "approximate",
    ("rmsprop", "rho"): "alpha",
}
VALUES = {("gelu", "exact"): "none"}


def normalise(name: str) -> str:
    return name.replace("_", "").lower()


def find(part: AbstractPart, module: Any, suffixes: tuple[str, ...]) -> Any:
    """Return the counterpart of a part.

    Args:
        part: the part to compare.
        module: the module of PyTorch to look in.
        suffixes: what PyTorch may append to the name, such as `loss`.

    Raises:
        LookupError: if there is none; the message says where to add it.
    """
    key = (part.family.kind, part.name)
    if key in COUNTERPARTS:
        return COUNTERPARTS[key]
    # PyTorch's `relu_` works in place, and `torch.optim.adam` is the module of the class `Adam`.
    names = [name for name in dir(module) if not name.endswith("_") and callable(getattr(module, name))]
    by_name = {normalise(name): getattr(module, name) for name in names}
    for suffix in suffixes:
        if normalise(part.name) + suffix in by_name:
            return by_name[normalise(part.name) + suffix]
    raise LookupError(
        f"{module.__name__} has no counterpart of {key}: add it, or its formula, to COUNTERPARTS in "
        "tests/mlp/torch_counterparts.py."
    )


def arguments_of(part: AbstractPart, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of a part as PyTorch's arguments."""
    values = {f.name: getattr(part, f.name) for f in fields(part) if f.name not in without}
    return {
        ARGUMENTS.get((part.name, name), name): VALUES.get((part.name, value), value) for name, value in values.items()
    }


def torch_activation(part: AbstractActivation) -> Callable[[Any], Any]:
    function, arguments = find(part, torch.nn.functional, ("",)), arguments_of(part)
    return lambda z: function(z, **arguments)


def torch_loss(part: AbstractLoss, outputs: Any, targets: Any) -> Any:
    """Return the loss of each example; a class is compared as its one-hot row, or as one column of two classes."""
    function = find(part, torch.nn.functional, ("loss", ""))
    output = getattr(part, "output", "identity")
    activate = torch.nn.Softmax(dim=1) if output == "softmax" else torch_activation(activations.decode(output))
    is_one_hot = targets.ndim == 1 and outputs.shape[1] > 1
    rows = torch.nn.functional.one_hot(targets, outputs.shape[1]) if is_one_hot else targets.reshape(outputs.shape)
    arguments = arguments_of(part, without=("output",))
    losses = function(activate(outputs), rows.to(outputs.dtype), reduction="none", **arguments)
    return losses.mean(dim=1) if losses.ndim == 2 else losses


def torch_optimizer(part: AbstractOptimizer, parameters: Any, rate: float) -> Any:
    """Return PyTorch's optimizer; in most of them, and so here unless decay is on, `weight_decay` is our `l2`."""
    make = find(part, torch.optim, ("",))
    arguments = arguments_of(part, without=("learning_rate", "weight_decay", "l2", "clip_norm", "clip_value"))
    if "beta1" in arguments:
        arguments["betas"] = (arguments.pop("beta1"), arguments.pop("beta2"))
    return make(parameters, lr=rate, weight_decay=part.weight_decay or part.l2, **arguments)


def torch_normalization(part: AbstractNormalization, width: int) -> Any:
    """Return PyTorch's layer without its own shift, which some lack."""
    layer = find(part, torch.nn, ("norm1d", "norm"))(width, **arguments_of(part))
    if getattr(layer, "bias", None) is not None:
        layer.bias.requires_grad_(False)
    return layer
