"""Training as a fold over epochs: what comes next is a pure function of the state, the data and nothing else."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp.arrays import (
    Array,
    aligned_empty,
    aligned_zeros,
    digest,
    one_blas_thread,
    stream,
)
from mlp.config import TrainConfig
from mlp.data import (
    PAGE_ROWS,
    BatchReader,
    Dataset,
    Examples,
    Split,
)
from mlp.diagnostics import diagnose
from mlp.errors import CorruptStateError, DivergedError
from mlp.network import Network
from mlp.online import BLOCK_EXAMPLES, OnlineSteps, is_online
from mlp.preparation import check_fit, example_weights
from mlp.scores import evaluate, scores_at
from mlp.state import (
    History,
    Status,
    TrainingState,
    kept_epoch,
)

CHUNK = 32_768  # parameters an optimizer handles at once: more leave the cache, fewer cost more calls


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
class _Pass:
    """What goes with the examples of one epoch, in its order, and the learning rate of each of its steps."""

    targets: Array
    weights: Array | None
    noise: np.random.Generator
    rates: list[float]

    def part(self, start: int, stop: int) -> tuple[Array, Array | None]:
        """Return the targets and the weights of a stretch."""
        return self.targets[start:stop], None if self.weights is None else self.weights[start:stop]

    def amount(self, start: int, stop: int) -> float:
        """Return how much a stretch counts."""
        return stop - start if self.weights is None else float(self.weights[start:stop].sum())


class Training:
    """One training run, an epoch at a time.

    Args:
        config: what to train.
        data: the parts to learn from and to be judged by.

    Attributes:
        history: a value an epoch, by metric key.
        steps: how many the optimizer has taken.
        status: `running`, or why it has ended.
        seconds: wall-clock time spent in `run_epoch`.
    """

    def __init__(self, config: TrainConfig, data: Split) -> None:
        check_fit(config, data)
        self.config = config
        self.data = data
        self.epoch = self.steps = 0
        self.status: Status = "running"
        self.seconds = 0.0
        self.history: History = {}
        sizes = config.layer_sizes(data.n_features, data.n_targets, data.task)
        self.network = config.network.build(sizes, dtype=config.dtype)
        self.network.initialize(config.network.initializer, config.network.bias_initializer, seed=config.seed)
        theta, dtype = self.network.theta, self.network.dtype
        self.slots = aligned_zeros((config.optimizer.n_slots, self.network.n_trained), dtype)
        self.best_theta = theta.copy() if config.early_stopping else theta[:0].copy()
        self.batch, self.n_steps = config.steps(len(data.train))
        mixes = config.network.normalization.mixes_examples
        self._block = self.batch if mixes else min(self.batch, PAGE_ROWS)
        self._total = aligned_zeros(self.network.grad.shape if self.batch > self._block else (0,), dtype)
        self._reader = BatchReader(data.train, self._block, dtype)
        self._outputs = aligned_empty((len(data.train), sizes[-1]), dtype)
        self._scratch = aligned_empty((min(CHUNK, len(theta)),), dtype)
        self._chunks = self._cut()
        self._online = OnlineSteps(self.network, config.loss) if is_online(config) else None
        self._weights = example_weights(config, data)

    def _cut(self) -> list[tuple[bool, Array, Array, tuple[Array, ...], Array]]:
        """Return the pieces that the optimizer works on: whether they decay, theta, gradient, slots, scratch."""
        network, n = self.network, self.network.n_trained
        optimizer = self.config.optimizer
        n_decaying = network.n_weights if optimizer.weight_decay or optimizer.l2 else 0
        starts = [*range(0, n_decaying, CHUNK), *range(n_decaying, n, CHUNK)]
        pieces = []
        for start, stop in zip(starts, [*starts[1:], n], strict=True):
            cut = slice(start, stop)
            slots = tuple(slot[cut] for slot in self.slots)
            decays = start < n_decaying
            pieces.append((decays, network.theta[cut], network.grad[cut], slots, self._scratch[: stop - start]))
        return pieces

    def run(self, epochs: int | None = None, on_epoch: Callable[[EpochMetrics], object] | None = None) -> None:
        """Train for up to `epochs` further epochs. This is the only epoch loop of the program.

        Args:
            epochs: the largest number of epochs to run; None to train to the end.
            on_epoch: called with the metrics of each epoch, except one that diverged. It may raise to end the run;
                the training can be resumed later.

        Raises:
            DivergedError: when the training diverges, or has diverged before; its status is `diverged` then.
        """
        last = self.config.epochs if epochs is None else self.epoch + epochs
        while self.is_running and self.epoch < last:
            metrics = self.run_epoch()
            if on_epoch is not None and self.status != "diverged":
                on_epoch(metrics)
        if self.status == "diverged":
            raise DivergedError(self.epoch, self.config.optimizer.learning_rate)

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
        values: dict[str, float] = {}
        with one_blas_thread(), np.errstate(all="ignore"):
            if self._run_steps(values) and self.data.validation is not None:
                values |= self.evaluate(self.data.validation, "validation")
        self.epoch += 1
        metrics = EpochMetrics(self.epoch, values)
        if values and np.isfinite(list(values.values())).all() and np.isfinite(self.network.theta).all():
            for key, value in values.items():
                self.history.setdefault(key, []).append(value)
            self._keep_best()
        else:
            self.status = "diverged"
        self.seconds += time.perf_counter() - started
        return metrics

    def _run_steps(self, values: dict[str, float]) -> bool:
        """Run the steps of an epoch and add its training metrics; return False as soon as it has diverged."""
        config, train, n = self.config, self.data.train, len(self.data.train)
        order: Any = slice(None)
        if self.n_steps > 1:  # of a single batch the order is no matter
            order = stream(config.seed, "shuffle", self.epoch).permutation(n)
        rows = train.rows[order]
        targets, weights = train.targets[rows], None if self._weights is None else self._weights[order]
        if self.data.task == "classes":
            targets = targets.astype(np.intp)  # as they are used for indices, once and not at every step
        base = config.optimizer.learning_rate * config.schedule.reduction(self.history)
        passed = (self.epoch + i / self.n_steps for i in range(self.n_steps))
        rates = [config.schedule.rate(base, epoch, config.epochs) for epoch in passed]
        this = _Pass(targets, weights, stream(config.seed, "noise", self.epoch), rates)
        self._reader.begin(rows)
        if not (self._run_batches(this, values) if self._online is None else self._run_examples(this, self._online)):
            return False
        values |= evaluate(self._outputs, targets, config.loss, "train", self.data.task, config.metrics, weights)
        return True

    def _run_examples(self, this: _Pass, online: OnlineSteps) -> bool:
        for start in range(0, self.n_steps, BLOCK_EXAMPLES):
            stop = min(start + BLOCK_EXAMPLES, self.n_steps)
            x, (targets, weights) = self._reader.take(start, stop), this.part(start, stop)
            if not online.run(x, self._outputs[start:stop], targets, weights, this.rates[start:stop]):
                return False
        self.steps += self.n_steps
        return True

    def _run_batches(self, this: _Pass, values: dict[str, float]) -> bool:
        """Learn from batch after batch; return False at a gradient that is not finite. The last may be diagnosed."""
        network, optimizer, n = self.network, self.config.optimizer, len(self.data.train)
        for start, rate in zip(range(0, n, self.batch), this.rates, strict=True):
            stop = min(start + self.batch, n)
            if not self._compute_gradient(start, stop, this):
                return False
            self.steps += 1
            optimizer.clip(network.grad)
            is_diagnosed = self.config.diagnostics and stop == n
            before = network.theta[: network.n_trained].copy() if is_diagnosed else None
            for decays, theta, grad, slots, scratch in self._chunks:
                optimizer.step(theta, grad, slots, scratch, self.steps, rate, decays)
            if before is not None:
                values |= diagnose(network, before, self._reader.take(max(start, stop - self._block), stop))
        return True

    def _compute_gradient(self, start: int, stop: int, this: _Pass) -> bool:
        """Write the gradient of the mean loss over a batch into that of the network; return whether it is finite.

        A batch larger than a block is gone through block by block, each of which stays in cache.
        """
        if stop - start <= self._block:
            return self._propagate(start, stop, this)
        grad, whole = self.network.grad, this.amount(start, stop)
        self._total[...] = 0.0
        for first in range(start, stop, self._block):
            last = min(first + self._block, stop)
            if not self._propagate(first, last, this):
                return False
            np.multiply(grad, this.amount(first, last) / whole if whole else 0.0, out=grad)
            np.add(self._total, grad, out=self._total)
        np.copyto(grad, self._total)
        return True

    def _propagate(self, start: int, stop: int, this: _Pass) -> bool:
        network, (targets, weights) = self.network, this.part(start, stop)
        x, outputs = self._reader.take(start, stop), self._outputs[start:stop]
        dz = network.workspace(stop - start).dz
        network.forward(x, outputs, this.noise)
        self.config.loss.gradient(outputs, targets, dz, weights)
        if not math.isfinite(dz[0, 0]):  # where one parameter is not finite, every output is not
            return False
        network.backward(x, dz)
        return True

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

    def kept_scores(self) -> dict[str, float]:
        """Return every metric at the kept epoch, by key; empty before the first epoch."""
        return scores_at(self.kept_epoch, self.history)

    def weight_digest(self) -> str:
        """Return the SHA-256 of the parameters that are kept."""
        return digest(self.kept_theta)

    def evaluate(self, examples: Examples, part: str) -> dict[str, float]:
        """Return the metrics of the present parameters on some examples, keyed `part/metric`."""
        outputs = self.outputs(examples)
        with np.errstate(all="ignore"):
            return evaluate(
                outputs,
                examples.own_targets,
                self.config.loss,
                part,
                self.data.task,
                self.config.metrics,
                examples.own_weights,
            )

    def outputs(self, examples: Examples) -> Array:
        """Return the network's raw outputs, shape (n, k)."""
        return compute_outputs(self.network, examples)

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
        training = cls(TrainConfig.from_mapping(state.config), data)
        for mine, theirs in (
            (training.network.theta, state.theta),
            (training.slots, state.slots),
            (training.best_theta, state.best_theta),
        ):
            if mine.shape != theirs.shape:
                raise CorruptStateError(f"the state holds {theirs.shape} values where the network needs {mine.shape}.")
            np.copyto(mine, theirs)
        training.epoch, training.status, training.seconds = state.epoch, state.status, state.seconds
        training.steps = state.epoch * training.n_steps
        training.history = {key: list(values) for key, values in state.history.items()}
        return training


def compute_outputs(network: Network, examples: Examples) -> Array:
    """Return a network's raw outputs for some examples, shape (n, k)."""
    n = len(examples)
    reader = BatchReader(examples, min(PAGE_ROWS, n), network.dtype)
    outputs = np.empty((n, network.sizes[-1]), network.dtype)
    with one_blas_thread(), np.errstate(all="ignore"):
        for start in range(0, n, PAGE_ROWS):
            stop = min(start + PAGE_ROWS, n)
            network.forward(reader.take(start, stop), outputs[start:stop])
    return outputs


def advance(state: TrainingState, data: Split, epochs: int) -> TrainingState:
    """Return the state after up to `epochs` further epochs: a pure function of its arguments.

    This is what a worker calls. A training that diverges is a result like any other: its state is returned.
    """
    training = Training.resume(state, data)
    with suppress(DivergedError):
        training.run(epochs)
    return training.state()


def train(config: TrainConfig, data: Split | Dataset) -> Training:
    """Train to the end and return the training, with the parameters that are kept in its network.

    Args:
        config: what to train.
        data: a split, or a data set to be split as the configuration says.

    Raises:
        DivergedError: when the training diverges.
    """
    split = data.split(config.data, config.seed) if isinstance(data, Dataset) else data
    training = Training(config, split)
    training.run()
    training.restore_kept()
    return training
