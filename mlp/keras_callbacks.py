"""Callbacks of `Sequential.fit`: what happens before, between and after its epochs, as in Keras."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np

from mlp.arrays import Array
from mlp.errors import ConfigError, nearest_word
from mlp.scores import direction, score_text

Mode = Literal["auto", "min", "max"]
BAR_WIDTH = 20  # characters


class FittedStack(Protocol):
    """What a callback may use of the model that is being fitted.

    Attributes:
        stop_training: set it to True to end the fit after the current epoch.
    """

    stop_training: bool

    @property
    def theta(self) -> Array:
        """The parameters as they are now, shape (p,)."""

    @property
    def metric_keys(self) -> Mapping[str, str]:
        """The metrics of each epoch: their names in Keras, `val_loss`, and their keys in this package."""

    def restore_weights(self, theta: Array, epoch: int) -> None:
        """Put back the parameters that an epoch of this fit, counted from 0, ended with."""


class Callback:
    """The base of callbacks: override the methods that you need. They may set `model.stop_training = True`.

    Attributes:
        model: the model that is being fitted.
        params: `epochs`, `steps` per epoch, and `verbose`.
    """

    model: FittedStack
    params: Mapping[str, Any]

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Called before the first epoch."""

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Called before each epoch, which is counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Called after each epoch with its metrics by name: `loss`, `accuracy`, `val_loss`, ..."""

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Called after the last epoch with the metrics of it."""


class History(Callback):
    """The metrics of each epoch of a fit.

    Attributes:
        history: one value per epoch, by the names of Keras: `loss`, `accuracy`, `val_loss`, ...
        epoch: the number of each epoch, counted from 0 in every fit.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def __getitem__(self, key: str) -> list[float]:
        """Return one value per epoch for a name of Keras, or a metric key of this package: `validation/loss`."""
        names = {ours: name for name, ours in self.model.metric_keys.items()}
        return self.history[names.get(key, key)]

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self.history, self.epoch = {}, []

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class EarlyStopping(Callback):
    """Stops when a metric has not improved for some epochs.

    Args:
        monitor: the metric: `val_loss`, `val_accuracy`, `loss`, ...
        min_delta: the smallest improvement that counts.
        patience: the number of epochs without improvement after which the fit stops.
        verbose: 1 to print what was done.
        mode: whether a smaller (`min`) or a larger value (`max`) is better; `auto` follows the metric.
        baseline: a value that must be reached within `patience` epochs; None for none.
        restore_best_weights: whether the weights of the best epoch are put back; otherwise those of the last are kept.
        start_from_epoch: the number of first epochs that are ignored.

    Raises:
        ConfigError: if a value is out of bounds.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        verbose: int = 0,
        mode: Mode = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        for name, value in (("patience", patience), ("start_from_epoch", start_from_epoch)):
            if not isinstance(value, int | np.integer) or value < 0:
                raise ConfigError(f"must be a whole number, at least 0, got {value!r}.", path=name)
        if mode not in ("auto", "min", "max"):
            raise ConfigError(f'must be "auto", "min" or "max", got {mode!r}.', path="mode")
        self.monitor = monitor
        self.min_delta = abs(min_delta)
        self.patience = patience
        self.verbose = verbose
        self.mode: Mode = mode
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        keys = self.model.metric_keys
        if self.monitor not in keys:
            nearest = nearest_word(self.monitor, keys)
            hint = f' Did you mean "{nearest}"?' if nearest else ""
            validation = "" if "val_loss" in keys else " For metrics of validation, give fit validation data."
            problem = f'"{self.monitor}" is not computed.{hint} Available: {", ".join(keys)}.{validation}'
            raise ConfigError(problem, path="monitor")
        is_max = direction(keys[self.monitor]) == "maximize" if self.mode == "auto" else self.mode == "max"
        self._sign = 1.0 if is_max else -1.0
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best: float | None = None
        self._best_theta: Array | None = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if epoch < self.start_from_epoch:
            return
        value = (logs or {})[self.monitor]
        self.wait += 1
        if self.best is None or self._is_better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self._best_theta = self.model.theta.copy()
            if self.baseline is None or self._is_better(value, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        if self.verbose and self.stopped_epoch:
            sys.stdout.write(f"Epoch {self.stopped_epoch + 1}: early stopping\n")
        if self._best_theta is not None:
            if self.verbose:
                sys.stdout.write(f"The weights of epoch {self.best_epoch + 1}, the best one, are put back.\n")
            self.model.restore_weights(self._best_theta, self.best_epoch)

    def _is_better(self, value: float, than: float) -> bool:
        if np.isnan(than):  # a metric may be undefined, and any other value is better
            return not np.isnan(value)
        return self._sign * value - self.min_delta > self._sign * than


class ProgressLines(Callback):
    """Prints the metrics of each epoch on a line, or redraws one line with a bar in a terminal.

    Args:
        verbose: 1 for the bar, if the output is a terminal; 2 for lines.
    """

    def __init__(self, verbose: int) -> None:
        self._has_bar = verbose == 1 and sys.stdout.isatty()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        total, seconds = self.params["epochs"], time.perf_counter() - self._started
        values = "".join(f" - {name}: {score_text(value)}" for name, value in (logs or {}).items())
        if not self._has_bar:
            sys.stdout.write(f"Epoch {epoch + 1}/{total} - {seconds:.2f}s{values}\n")
            return
        filled = BAR_WIDTH * (epoch + 1) // total
        bar = "━" * filled + " " * (BAR_WIDTH - filled)
        sys.stdout.write(f"\r\033[K{epoch + 1}/{total} {bar}{values}")
        sys.stdout.flush()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        if self._has_bar:
            sys.stdout.write("\n")
