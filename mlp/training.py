"""Training: a resumable fold over epochs.

A training is a loop `state = epoch(state, data)`, and an epoch is a pure function: the configuration, the state and the
data decide the next state to the last bit. Nothing else is remembered between epochs. Random numbers are drawn from
streams that are keyed by the seed, the purpose and the epoch (`mlp.arrays.stream`), so not even the state of a
generator has to be saved. Therefore a training can be stopped after any epoch, saved, moved to another process and
resumed, and it ends with the same weights as one that ran without a break. Checkpoints, pruning, restarts after a crash
and parallel workers all rely on this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlp.arrays import Array, aligned_empty, aligned_zeros, digest, one_blas_thread, stream
from mlp.batch_steps import BatchSteps, rows_at_once
from mlp.batches import PAGE_ROWS, BatchReader, ShuffledEpoch
from mlp.config import TrainConfig
from mlp.data import Dataset, Examples, Split
from mlp.epochs import EpochMetrics, OnEpoch, run_epoch, run_epochs
from mlp.errors import CorruptStateError
from mlp.network import Network
from mlp.online import BLOCK_EXAMPLES, OnlineSteps, is_online
from mlp.preparation import check_fit, example_weights, fit_target_scaling
from mlp.scores import evaluate, is_finite, scores_at
from mlp.state import History, Status, TrainingState, kept_epoch
from mlp.targets import TargetScaling


class Training:
    """One training run.

    Args:
        config: what to train.
        data: the training part and the validation part.
        target_scaling: how values to predict are scaled for the network; None to fit it on the training part.

    Attributes:
        epoch: epochs run so far.
        steps: steps that the optimizer has taken so far.
        status: `running`, or why the training has ended.
        history: one value per epoch, by metric key.
        seconds: wall-clock time spent in epochs.
        network: the network with its current parameters.
        slots: the optimizer's memory, shape (n_slots, n_trained).
        best_theta: the parameters of the best epoch so far; empty without early stopping.
        target_scaling: how values to predict are scaled for the network.

    Raises:
        ConfigError: if the configuration does not fit the data.
    """

    def __init__(self, config: TrainConfig, data: Split, *, target_scaling: TargetScaling | None = None) -> None:
        check_fit(config, data)
        self.config = config
        self.data = data
        self.epoch = self.steps = 0
        self.status: Status = "running"
        self.seconds = 0.0
        self.history: History = {}
        sizes = config.layer_sizes(data.n_features, data.n_targets, data.task)
        self.loss = config.loss_for(data.task)
        self.network = config.network.build(sizes, dtype=config.dtype)
        config.network.initialize(self.network, seed=config.seed)
        theta, dtype = self.network.theta, self.network.dtype
        self.slots = aligned_zeros((config.optimizer.n_slots, self.network.n_trained), dtype)
        self.best_theta = theta.copy() if config.early_stopping else theta[:0].copy()
        self.batch_size, self.n_steps = config.steps(len(data.train))
        self._reader = BatchReader(data.train, rows_at_once(config, self.batch_size), dtype)
        self._outputs = aligned_empty((len(data.train), sizes[-1]), dtype)
        self._batches = BatchSteps(
            config, self.loss, self.network, self.slots, self._reader, self._outputs, self.batch_size
        )
        self._online = OnlineSteps(self.network, self.loss) if is_online(config) else None
        self._weights = example_weights(config, data)
        self.target_scaling = fit_target_scaling(config, data) if target_scaling is None else target_scaling
        self._scaled_targets = self.target_scaling.apply(data.train.row_targets, dtype) if self.target_scaling else None

    def run(self, epochs: int | None = None, on_epoch: OnEpoch | None = None) -> None:
        """Train for up to `epochs` further epochs; arguments and errors are those of `mlp.epochs.run_epochs`."""
        run_epochs(self, epochs, on_epoch)

    def run_epoch(self) -> EpochMetrics:
        """Train for one epoch and return its metrics.

        If a metric or a parameter is no longer finite, the status becomes `diverged`, and the history keeps only the
        epochs before.

        Raises:
            RuntimeError: if the training has ended.
        """
        return run_epoch(self)

    def compute_epoch(self) -> dict[str, float]:
        """Train for one epoch and return its metrics by key; empty if a metric or a parameter is no longer finite.

        Training metrics are computed from the outputs that each minibatch had when it was learnt from; validation
        metrics from one forward pass at the end. The result must be given to `record_epoch` before the next epoch.
        """
        values: dict[str, float] = {}
        with one_blas_thread(), np.errstate(all="ignore"):
            if not self._run_steps(values):
                return {}
            if self.data.validation is not None:
                values |= self.evaluate(self.data.validation, "validation")
        return values if is_finite(values) and np.isfinite(self.network.theta).all() else {}

    def record_epoch(self, values: Mapping[str, float]) -> None:
        """Add the metrics of the computed epoch to the history, and decide whether the training has ended.

        Args:
            values: the metrics by key: those that `compute_epoch` returned, or their mean over several trainings that
                run in lockstep; empty if the training diverged.
        """
        self.epoch += 1
        if not values:
            self.status = "diverged"
            return
        for key, value in values.items():
            self.history.setdefault(key, []).append(value)
        self._keep_best_theta()
        self._update_status()

    def _run_steps(self, values: dict[str, float]) -> bool:
        """Run the steps of one epoch and add its training metrics; return False as soon as it has diverged."""
        config, train, n = self.config, self.data.train, len(self.data.train)
        order: Any = slice(None)
        if self.n_steps > 1:  # the order within a single batch does not matter
            order = stream(config.seed, "shuffle", self.epoch).permutation(n)
        rows = train.rows[order]
        targets, weights = train.targets[rows], None if self._weights is None else self._weights[order]
        if self.data.task == "classes":
            targets = targets.astype(np.intp)  # converted once here, because every step uses them as indices
        base = config.optimizer.learning_rate * config.schedule.reduction(self.history)
        progress = (self.epoch + i / self.n_steps for i in range(self.n_steps))
        rates = [config.schedule.rate(base, epochs_done, config.epochs) for epochs_done in progress]
        scaled = targets if self._scaled_targets is None else self._scaled_targets[order]
        epoch = ShuffledEpoch(scaled, weights, stream(config.seed, "noise", self.epoch), rates)
        self._reader.set_order(rows)
        online = self._online
        if not (self._run_examples(epoch, online) if online else self._run_batches(epoch, values)):
            return False
        extra, scaling = config.metrics, self.target_scaling
        values |= evaluate(self._outputs, targets, self.loss, "train", self.data.task, extra, weights, scaling)
        return True

    def _run_examples(self, epoch: ShuffledEpoch, online: OnlineSteps) -> bool:
        """Learn from one example after another; return False as soon as a gradient is not finite."""
        for start in range(0, self.n_steps, BLOCK_EXAMPLES):
            stop = min(start + BLOCK_EXAMPLES, self.n_steps)
            x, (targets, weights) = self._reader.read(start, stop), epoch.batch(start, stop)
            if not online.run(x, self._outputs[start:stop], targets, weights, epoch.learning_rates[start:stop]):
                return False
        self.steps += self.n_steps
        return True

    def _run_batches(self, epoch: ShuffledEpoch, values: dict[str, float]) -> bool:
        """Learn from one batch after another; return False as soon as a gradient is not finite."""
        is_finite = self._batches.run(epoch, self.steps, values)
        self.steps += self.n_steps
        return is_finite

    def _keep_best_theta(self) -> None:
        if self.config.early_stopping and self.kept_epoch == self.epoch:
            np.copyto(self.best_theta, self.network.theta)

    def _update_status(self) -> None:
        stopping = self.config.early_stopping
        if self.epoch == self.config.epochs:
            self.status = "finished"
        elif stopping and self.epoch - self.kept_epoch >= stopping.patience:
            self.status = "stopped"

    @property
    def is_running(self) -> bool:
        """Whether there is an epoch left to run."""
        return self.status == "running"

    @property
    def kept_epoch(self) -> int:
        """The epoch whose weights are kept: the best so far under early stopping, otherwise the last."""
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
        """Return the metrics of the current parameters on some examples, keyed `part/metric`."""
        outputs, config = self.outputs(examples), self.config
        targets, weights = examples.row_targets, examples.row_weights
        with np.errstate(all="ignore"):
            task, extra, scaling = self.data.task, config.metrics, self.target_scaling
            return evaluate(outputs, targets, self.loss, part, task, extra, weights, scaling)

    def outputs(self, examples: Examples) -> Array:
        """Return the network's raw outputs, shape (n, k)."""
        return compute_outputs(self.network, examples)

    def restore_kept(self) -> None:
        """Put the parameters that are kept into the network."""
        np.copyto(self.network.theta, self.kept_theta)

    def state(self) -> TrainingState:
        """Return a copy of everything that is needed to resume."""
        history = {key: list(values) for key, values in self.history.items()}
        arrays = (self.network.theta.copy(), self.slots.copy(), self.best_theta.copy())
        return TrainingState(self.config.to_mapping(), self.epoch, self.status, *arrays, history, self.seconds)

    @classmethod
    def resume(cls, state: TrainingState, data: Split, *, target_scaling: TargetScaling | None = None) -> Training:
        """Return the training that a state was taken from, ready to continue.

        Args:
            state: the state.
            data: the data of the training.
            target_scaling: as for `Training`.

        Raises:
            CorruptStateError: if the state's arrays do not fit its configuration and this data.
        """
        training = cls(TrainConfig.from_mapping(state.config), data, target_scaling=target_scaling)
        training.restore(state)
        return training

    def restore(self, state: TrainingState) -> None:
        """Continue from a state that `state` returned.

        Raises:
            CorruptStateError: if the arrays of the state do not fit this training.
        """
        for name, own, saved in (
            ("theta", self.network.theta, state.theta),
            ("slots", self.slots, state.slots),
            ("best_theta", self.best_theta, state.best_theta),
        ):
            if own.shape != saved.shape:
                raise CorruptStateError(f"{name} must have shape {own.shape} for this network, got {saved.shape}.")
            np.copyto(own, saved)
        self.epoch, self.status, self.seconds = state.epoch, state.status, state.seconds
        self.steps = state.epoch * self.n_steps
        self.history = {key: list(values) for key, values in state.history.items()}


def compute_outputs(network: Network, examples: Examples) -> Array:
    """Return a network's raw outputs for some examples, shape (n, k)."""
    n = len(examples)
    reader = BatchReader(examples, min(PAGE_ROWS, n), network.dtype)
    outputs = np.empty((n, network.sizes[-1]), network.dtype)
    with one_blas_thread(), np.errstate(all="ignore"):
        for start in range(0, n, PAGE_ROWS):
            stop = min(start + PAGE_ROWS, n)
            network.forward(reader.read(start, stop), outputs[start:stop])
    return outputs


def train(config: TrainConfig, data: Split | Dataset) -> Training:
    """Train to the end and return the training, with the parameters that are kept in its network.

    Args:
        config: what to train.
        data: a data set, which is split as `config.data` and `config.seed` state, or a split made before.

    Raises:
        ConfigError: if the configuration does not fit the data, or asks for all folds of a cross-validation, of which
            `mlp.CrossValidation` makes one training each.
        DivergedError: if the training diverges.
    """
    split = data.split(config.data, config.seed) if isinstance(data, Dataset) else data
    training = Training(config, split)
    training.run()
    training.restore_kept()
    return training
