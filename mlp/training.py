"""Training as a fold over epochs: what comes next is a pure function of the state, the data and nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from mlp.arrays import Array, aligned_empty, aligned_zeros, digest, one_blas_thread, stream
from mlp.config import TrainConfig
from mlp.data import BatchReader, Dataset, Examples, Split
from mlp.metrics import best_epoch, direction, evaluate
from mlp.network import Network
from mlp.registry import ConfigError

Status = Literal["running", "finished", "stopped", "diverged"]
History = dict[str, list[float]]

CHUNK = 16_384  # parameters an optimizer handles at once: five such float32 pieces stay within 320 KiB of cache
EVALUATION_ROWS = 512
STATE_VERSION = 1
SEAL_BYTES = 32


class CorruptStateError(ValueError):
    """The bytes are no saved state of this training."""


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch gave.

    Attributes:
        epoch: counted from 1.
        values: by key: `train/loss`, `validation/accuracy`, ...
    """

    epoch: int
    values: dict[str, float]


@dataclass(frozen=True)
class TrainingState:
    """Everything that a training needs to go on, bit for bit, wherever it is resumed.

    Attributes:
        config: the configuration, as a mapping.
        epoch: epochs done.
        status: `running` until the last epoch, an early stop or a divergence.
        theta: the parameters, shape (p,).
        slots: what the optimizer remembers, shape (n_slots, p).
        best_theta: the parameters of the best epoch so far, shape (p,), or empty without early stopping.
        history: a value an epoch, by metric key.
        seconds: wall-clock time spent, the one thing here that is not reproducible.
    """

    config: dict[str, Any]
    epoch: int
    status: Status
    theta: Array
    slots: Array
    best_theta: Array
    history: History = field(default_factory=dict)
    seconds: float = field(default=0.0, compare=False)

    @property
    def kept_epoch(self) -> int:
        """The epoch whose weights are kept; 0 before the first."""
        return kept_epoch(TrainConfig.from_mapping(self.config), self.history)

    @property
    def kept_theta(self) -> Array:
        """The parameters that are kept, shape (p,)."""
        return self.best_theta if len(self.best_theta) else self.theta

    def weight_digest(self) -> str:
        """Return the SHA-256 of the parameters that are kept."""
        return digest(self.kept_theta)

    def to_bytes(self) -> bytes:
        """Return the state as an `.npz` file, without pickle; its comment is the SHA-256 of all before it."""
        header = {
            "version": STATE_VERSION,
            "config": self.config,
            "epoch": self.epoch,
            "status": self.status,
            "keys": list(self.history),
            "seconds": self.seconds,
        }
        file = io.BytesIO()
        np.savez(
            file,
            header=np.frombuffer(json.dumps(header).encode(), np.uint8),
            theta=self.theta,
            slots=self.slots,
            best_theta=self.best_theta,
            history=np.array(list(self.history.values()), np.float64),
        )
        with zipfile.ZipFile(file, "a") as archive:
            archive.comment = bytes(SEAL_BYTES)
        body = file.getvalue()[:-SEAL_BYTES]
        return body + hashlib.sha256(body).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> TrainingState:
        """Return the state that `to_bytes` wrote.

        Raises:
            CorruptStateError: when the bytes are torn or something else.
        """
        if hashlib.sha256(data[:-SEAL_BYTES]).digest() != data[-SEAL_BYTES:]:
            raise CorruptStateError("not a saved training state, or one that was torn or changed.")
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                header = json.loads(file["header"].tobytes())
                if header["version"] != STATE_VERSION:
                    was = header["version"]
                    raise CorruptStateError(f"the state has version {was}, this program reads {STATE_VERSION}.")
                history = dict(zip(header["keys"], file["history"].tolist(), strict=True))
                arrays = (file["theta"], file["slots"], file["best_theta"])
                return cls(header["config"], header["epoch"], header["status"], *arrays, history, header["seconds"])
        except (ValueError, KeyError) as error:
            raise CorruptStateError(f"not a saved training state: {error}") from error


class Training:
    """One training run, an epoch at a time.

    Args:
        config: what to train.
        data: the parts to learn from and to be judged by.
        dtype: the type of all arithmetic.

    Attributes:
        history: a value an epoch, by metric key.
        status: `running`, or why it has ended.
        seconds: wall-clock time spent in `run_epoch`.
    """

    def __init__(self, config: TrainConfig, data: Split, *, dtype: Any = np.float32) -> None:
        stopping = config.early_stopping
        if stopping and stopping.metric.startswith("validation/") and data.validation is None:
            problem = f'watches "{stopping.metric}", but no example is held out.'
            raise ConfigError(problem, path="early_stopping")
        self.config = config
        self.data = data
        self.epoch = 0
        self.status: Status = "running"
        self.seconds = 0.0
        self.history: History = {}
        self.network = Network(
            config.layer_sizes(data.n_features, data.n_classes), config.network.activation, dtype=dtype
        )
        self.network.initialize(config.network.initializer, config.network.bias_initializer, seed=config.seed)
        theta = self.network.theta
        self.slots = aligned_zeros((config.optimizer.n_slots, len(theta)), dtype)
        self.best_theta = theta.copy() if config.early_stopping else theta[:0].copy()
        self.batch, self.n_steps = config.steps(len(data.train))
        self._reader = BatchReader(data.train, self.batch, dtype)
        self._outputs = aligned_empty((len(data.train), data.n_classes), dtype)
        self._scratch = aligned_empty((min(CHUNK, len(theta)),), dtype)
        self._chunks = self._cut()

    def _cut(self) -> list[tuple[bool, Array, Array, tuple[Array, ...], Array]]:
        """Return the pieces that the optimizer works on: whether they decay, theta, gradient, slots, scratch."""
        network, n = self.network, len(self.network.theta)
        starts = [*range(0, network.n_weights, CHUNK), *range(network.n_weights, n, CHUNK)]
        pieces = []
        for start, stop in zip(starts, [*starts[1:], n], strict=True):
            cut = slice(start, stop)
            slots = tuple(slot[cut] for slot in self.slots)
            decays = start < network.n_weights
            pieces.append((decays, network.theta[cut], network.grad[cut], slots, self._scratch[: stop - start]))
        return pieces

    def run_epoch(self) -> EpochMetrics:
        """Train for one epoch and return what it gave.

        Training metrics are those of each minibatch at the moment it is learnt from; validation is one forward
        pass at the end. When anything comes out not finite, the status turns to `diverged` and the history
        keeps only the epochs before.

        Raises:
            RuntimeError: when the training has ended.
        """
        if self.status != "running":
            raise RuntimeError(f"this training has ended ({self.status}) after {self.epoch} epochs.")
        started = time.perf_counter()
        with one_blas_thread(), np.errstate(all="ignore"):
            rows = self.data.train.rows[
                stream(self.config.seed, "shuffle", self.epoch).permutation(len(self.data.train))
            ]
            targets = self.data.train.labels[rows]
            self._run_steps(rows, targets)
            values = evaluate(self._outputs, targets, self.config.loss, "train", "classes")
            if self.data.validation is not None:
                values |= self.evaluate(self.data.validation, "validation")
        self.epoch += 1
        metrics = EpochMetrics(self.epoch, values)
        if np.isfinite(list(values.values())).all() and np.isfinite(self.network.theta).all():
            for key, value in values.items():
                self.history.setdefault(key, []).append(value)
            self._keep_best()
        else:
            self.status = "diverged"
        self.seconds += time.perf_counter() - started
        return metrics

    def _run_steps(self, rows: Array, targets: Array) -> None:
        config, network = self.config, self.network
        optimizer, loss, b = config.optimizer, config.loss, self.batch
        for i in range(self.n_steps):
            batch = slice(i * b, (i + 1) * b)
            x, y, outputs = self._reader.read(rows[batch]), targets[batch], self._outputs[batch]
            dz = network.workspace(len(x)).dz
            network.forward(x, outputs)
            loss.gradient(outputs, y, dz)
            network.backward(x, dz)
            rate = config.schedule.rate(optimizer.learning_rate, self.epoch + i / self.n_steps, config.epochs)
            step = self.epoch * self.n_steps + i + 1
            for decays, theta, grad, slots, scratch in self._chunks:
                if decays and optimizer.weight_decay:
                    np.multiply(theta, 1.0 - rate * optimizer.weight_decay, out=theta)
                optimizer.update(theta, grad, slots, scratch, step, rate)

    def _keep_best(self) -> None:
        stopping = self.config.early_stopping
        if stopping and self.kept_epoch == self.epoch:
            np.copyto(self.best_theta, self.network.theta)
        if stopping and self.epoch - self.kept_epoch >= stopping.patience and self.epoch < self.config.epochs:
            self.status = "stopped"
        elif self.epoch == self.config.epochs:
            self.status = "finished"

    @property
    def is_running(self) -> bool:
        """Whether there is an epoch left to run."""
        return self.status == "running"

    @property
    def kept_epoch(self) -> int:
        """The epoch whose weights are kept: the best so far under early stopping, else the last."""
        return kept_epoch(self.config, self.history)

    @property
    def kept_theta(self) -> Array:
        """The parameters that are kept, shape (p,)."""
        return self.best_theta if self.config.early_stopping else self.network.theta

    def weight_digest(self) -> str:
        """Return the SHA-256 of the parameters that are kept."""
        return digest(self.kept_theta)

    def evaluate(self, examples: Examples, part: str) -> dict[str, float]:
        """Return the metrics of the present parameters on some examples, keyed `part/metric`."""
        outputs = self.outputs(examples)
        with np.errstate(all="ignore"):
            return evaluate(outputs, examples.targets, self.config.loss, part, "classes")

    def outputs(self, examples: Examples) -> Array:
        """Return the network's raw outputs, shape (n, k)."""
        network, n = self.network, len(examples)
        reader = BatchReader(examples, min(EVALUATION_ROWS, n), network.dtype)
        outputs = np.empty((n, network.sizes[-1]), network.dtype)
        with one_blas_thread(), np.errstate(all="ignore"):
            for start in range(0, n, EVALUATION_ROWS):
                batch = slice(start, start + EVALUATION_ROWS)
                network.forward(reader.read(examples.rows[batch]), outputs[batch])
        return outputs

    def restore_kept(self) -> None:
        """Put the parameters that are kept into the network."""
        np.copyto(self.network.theta, self.kept_theta)

    def state(self) -> TrainingState:
        """Return a copy of everything that is needed to go on."""
        history = {key: list(values) for key, values in self.history.items()}
        arrays = (self.network.theta.copy(), self.slots.copy(), self.best_theta.copy())
        return TrainingState(self.config.to_mapping(), self.epoch, self.status, *arrays, history, self.seconds)

    @classmethod
    def resume(cls, state: TrainingState, data: Split) -> Training:
        """Return the training that a state was taken from, ready to go on.

        Raises:
            CorruptStateError: when the state's arrays do not belong to its configuration and this data.
        """
        training = cls(TrainConfig.from_mapping(state.config), data, dtype=state.theta.dtype)
        for mine, theirs in (
            (training.network.theta, state.theta),
            (training.slots, state.slots),
            (training.best_theta, state.best_theta),
        ):
            if mine.shape != theirs.shape:
                raise CorruptStateError(f"the state holds {theirs.shape} values where the network needs {mine.shape}.")
            np.copyto(mine, theirs)
        training.epoch, training.status, training.seconds = state.epoch, state.status, state.seconds
        training.history = {key: list(values) for key, values in state.history.items()}
        return training


def kept_epoch(config: TrainConfig, history: History) -> int:
    """Return the epoch whose weights a training with this history keeps; 0 before the first.

    Under early stopping that is the last one that beat the best before it by more than `min_delta`.
    """
    stopping = config.early_stopping
    if stopping is None or not history:
        return max(map(len, history.values()), default=0)
    values = history[stopping.metric]
    if not stopping.min_delta:
        return best_epoch(stopping.metric, history)
    sign = 1.0 if direction(stopping.metric) == "maximize" else -1.0
    kept = 0
    for epoch, value in enumerate(values):
        if sign * (value - values[kept]) > stopping.min_delta:
            kept = epoch
    return kept + 1


def advance(state: TrainingState, data: Split, epochs: int) -> TrainingState:
    """Return the state after at most `epochs` further epochs: a pure function of its arguments."""
    training = Training.resume(state, data)
    for _ in range(epochs):
        if not training.is_running:
            break
        training.run_epoch()
    return training.state()


def train(config: TrainConfig, data: Split | Dataset) -> Training:
    """Train to the end and return the training, with the parameters that are kept in its network.

    Args:
        config: what to train.
        data: a split, or a data set to be split as the configuration says.
    """
    split = data.split(config.data, config.seed) if isinstance(data, Dataset) else data
    training = Training(config, split)
    while training.is_running:
        training.run_epoch()
    training.restore_kept()
    return training
