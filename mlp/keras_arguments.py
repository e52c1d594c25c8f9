"""Arguments of `Sequential` that Keras has too: weights, verbosity, callbacks, and what is not supported."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mlp.arrays import Array
from mlp.conversion import read_weights
from mlp.errors import ConfigError, errors_in
from mlp.keras_callbacks import Callback
from mlp.losses import Task

# Arguments of Keras that are refused, and what to do instead.
UNSUPPORTED = {
    "initial_epoch": "Each fit counts its epochs from 0, and continues from the current weights.",
    "steps_per_epoch": "An epoch is one pass over all examples. Use batch_size.",
    "steps": "All examples are used. Select them beforehand.",
    "validation_steps": "All validation examples are used. Select them beforehand.",
    "validation_batch_size": "The size of a validation batch does not change its metrics.",
    "validation_freq": "Validation metrics are computed after every epoch.",
    "callbacks": "Callbacks are for fit only.",
    "loss_weights": "There is one output, so there is one loss.",
    "weighted_metrics": "Weights of examples apply to the loss only.",
    "run_eagerly": "Nothing is compiled to a graph.",
    "steps_per_execution": "Nothing is compiled to a graph.",
    "jit_compile": "Nothing is compiled to a graph.",
    "auto_scale_loss": "Choose the type with Sequential(dtype=...).",
    "workers": "The examples are in memory.",
    "use_multiprocessing": "The examples are in memory.",
    "max_queue_size": "The examples are in memory.",
}
# Methods of Keras callbacks that would never be called.
UNSUPPORTED_METHODS = (
    *(f"on_{kind}_{when}" for kind in ("batch", "train_batch", "test_batch") for when in ("begin", "end")),
    *(f"on_{kind}_{when}" for kind in ("test", "predict", "predict_batch") for when in ("begin", "end")),
)


def refuse(arguments: Mapping[str, Any], method: str) -> None:
    """Refuse arguments that are not supported.

    Args:
        arguments: the arguments by name.
        method: the method that they were given to.

    Raises:
        ConfigError: saying what to do instead; if Keras does not have the argument either, that there is none.
    """
    for name in arguments:
        advice = UNSUPPORTED.get(name)
        problem = (
            f"is not supported by {method}. {advice} Leave it out." if advice else f"{method} has no such argument."
        )
        raise ConfigError(problem, path=name)


def read_verbose(verbose: Any) -> int:
    """Return 0 for silence, 1 for a bar or 2 for lines.

    Raises:
        ConfigError: if it is not 0, 1, 2, True, False or `auto`.
    """
    if isinstance(verbose, str) and verbose == "auto":
        return 1
    if verbose not in (0, 1, 2):
        raise ConfigError(
            f'must be 0 (silent), 1 (bar), 2 (a line per epoch) or "auto", got {verbose!r}.', path="verbose"
        )
    return int(verbose)


def read_callbacks(callbacks: Any) -> list[Callback]:
    """Return callbacks as a list.

    Raises:
        ConfigError: if one is not a `Callback`, or has a method that would never be called.
    """
    found = [callbacks] if isinstance(callbacks, Callback) else list(_checked_list(callbacks))
    for callback in found:
        if not isinstance(callback, Callback):
            problem = "must be a list of callbacks, each an EarlyStopping or another mlp.sequential.Callback"
            raise ConfigError(f"{problem}, got {callback!r}.", path="callbacks")
        if never := [name for name in UNSUPPORTED_METHODS if hasattr(callback, name)]:
            problem = f"{type(callback).__name__}.{never[0]} would never be called: there are only the methods"
            known = "on_train_begin, on_epoch_begin, on_epoch_end and on_train_end"
            raise ConfigError(f"{problem} {known}.", path="callbacks")
    return found


def _checked_list(callbacks: Any) -> Iterable[Any]:
    if callbacks is None:
        return ()
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise ConfigError(
            f"must be a list of callbacks, such as [EarlyStopping()], got {callbacks!r}.", path="callbacks"
        )
    return callbacks


def read_class_weight(class_weight: Any, n_classes: int, task: Task) -> tuple[float, ...]:
    """Return the weight of each class, empty for equal weights; a class that is not mentioned has weight 1.

    Args:
        class_weight: a mapping of class indices to weights; None for equal weights.
        n_classes: the number of classes.
        task: what the network predicts.

    Raises:
        ConfigError: if the targets are not classes, or an index or a weight is not valid.
    """
    if class_weight is None:
        return ()
    with errors_in(path="class_weight"):
        if not isinstance(class_weight, Mapping):
            raise ConfigError(
                f"must be a mapping of classes to weights, such as {{0: 1.0, 1: 5.0}}, got {class_weight!r}."
            )
        if task != "classes":
            raise ConfigError(f"needs classes, but the targets are {task}. Use sample_weight.")
        weights = [1.0] * n_classes
        for index, weight in class_weight.items():
            if index not in range(n_classes):
                raise ConfigError(f"must have classes from 0 to {n_classes - 1}, got {index!r}.")
            if not (isinstance(weight, int | float | np.number) and 0 <= weight < math.inf):
                raise ConfigError(f"must have weights of at least 0, got {weight!r} for class {index}.")
            weights[int(index)] = float(weight)
    return tuple(weights)


def read_sample_weight(sample_weight: Any, n: int) -> Array | None:
    """Return the weight of each of n examples, or None for equal weights.

    Raises:
        ConfigError: if there is not one number of at least 0 for each example.
    """
    try:
        return read_weights(sample_weight, n)
    except ConfigError as error:
        raise ConfigError(error.problem, path="sample_weight") from None


def count_training_rows(validation_split: Any, n: int) -> int:
    """Return how many of the first of n examples are trained on; the rest is the validation part, as in Keras.

    Raises:
        ConfigError: if the share is not valid, or one of the parts would be empty.
    """
    if not (isinstance(validation_split, int | float | np.number) and 0 <= validation_split < 1):
        problem = f"must be a fraction, at least 0 and below 1, got {validation_split!r}."
        raise ConfigError(problem, path="validation_split")
    if not validation_split:
        return n
    n_train = math.floor(n * (1.0 - validation_split))
    if not 0 < n_train < n:
        problem = f"= {validation_split} of {n} examples leaves {n_train} to train on and {n - n_train} for validation"
        raise ConfigError(f"{problem}. Both parts need at least one.", path="validation_split")
    return n_train
