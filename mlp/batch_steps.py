"""Steps over batches: the gradient of each batch, and the optimizer's update of all parameters."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mlp.arrays import Array, aligned_empty, aligned_zeros
from mlp.batches import PAGE_ROWS, BatchReader, ShuffledEpoch
from mlp.config import TrainConfig
from mlp.diagnostics import diagnose
from mlp.losses import AbstractLoss
from mlp.network import Network

# Parameters that an optimizer handles at once, so that they stay in the cache and need little scratch memory. All at
# once takes 5 % longer in `benchmarks/throughput.py`, row `784-512-256-128-10 relu adam 128`.
CHUNK = 32_768


class _Chunk(NamedTuple):
    """The views that an optimizer works on at once: consecutive parameters, their gradient, slots and scratch memory.

    `factor` and `decay` are those of `mlp.rate_factors.Span`.
    """

    theta: Array
    grad: Array
    slots: tuple[Array, ...]
    scratch: Array
    factor: float
    decay: float


def rows_at_once(config: TrainConfig, batch_size: int) -> int:
    """Return how many examples of a batch are computed at once.

    Batch normalization needs all examples of a batch at once; otherwise a large batch is computed in blocks.
    """
    return batch_size if config.network.normalization.mixes_examples else min(batch_size, PAGE_ROWS)


class BatchSteps:
    """Steps of one batch each.

    Args:
        config: what is trained.
        loss: the loss that is minimised.
        network: the network to train.
        slots: the optimizer's memory, shape (n_slots, n_trained).
        reader: reads the inputs in the order of the epoch.
        outputs: receives the raw outputs of each example, shape (n, k).
        batch_size: the number of examples per step.
    """

    def __init__(
        self,
        config: TrainConfig,
        loss: AbstractLoss,
        network: Network,
        slots: Array,
        reader: BatchReader,
        outputs: Array,
        batch_size: int,
    ) -> None:
        self.config = config
        self.loss = loss
        self.network = network
        self.slots = slots
        self._reader = reader
        self._outputs = outputs
        self.batch_size = batch_size
        self.block_rows = rows_at_once(config, batch_size)
        needs_sum = batch_size > self.block_rows
        self._grad_sum = aligned_zeros(network.grad.shape if needs_sum else (0,), network.dtype)
        self._scratch = aligned_empty((min(CHUNK, len(network.theta)),), network.dtype)
        self._chunks = self._cut_into_chunks()

    def _cut_into_chunks(self) -> list[_Chunk]:
        """Return the pieces of the trained parameters that the optimizer works on."""
        config, network = self.config, self.network
        decays = bool(config.optimizer.weight_decay or config.optimizer.l2)
        chunks, end = [], 0
        for n, factor, decay in config.rate_factors.spans(network, decays=decays):
            first, end = end, end + n
            for start in range(first, end, CHUNK):
                piece = slice(start, min(start + CHUNK, end))
                slots = tuple(slot[piece] for slot in self.slots)
                scratch = self._scratch[: piece.stop - start]
                chunks.append(_Chunk(network.theta[piece], network.grad[piece], slots, scratch, factor, decay))
        return chunks

    def run(self, epoch: ShuffledEpoch, steps: int, values: dict[str, float]) -> bool:
        """Learn from one batch after another; return False as soon as a gradient is not finite.

        Args:
            epoch: the targets and the weights in the order of the epoch, and the learning rate of each step.
            steps: the number of steps before this epoch.
            values: receives the diagnostics of the last batch, if the configuration asks for them.
        """
        network, optimizer, n = self.network, self.config.optimizer, len(self._outputs)
        for start, rate in zip(range(0, n, self.batch_size), epoch.learning_rates, strict=True):
            stop = min(start + self.batch_size, n)
            if not self._compute_gradient(start, stop, epoch):
                return False
            steps += 1
            optimizer.clip(network.grad)
            is_diagnosed = self.config.diagnostics and stop == n
            before = network.theta[: network.n_trained].copy() if is_diagnosed else None
            for theta, grad, slots, scratch, factor, decay in self._chunks:
                optimizer.step(theta, grad, slots, scratch, steps, rate * factor, decay)
            if before is not None:
                values |= diagnose(network, before, self._reader.read(max(start, stop - self.block_rows), stop))
        return True

    def _compute_gradient(self, start: int, stop: int, epoch: ShuffledEpoch) -> bool:
        """Write the gradient of the mean loss over a batch into `network.grad`; return whether it is finite.

        A batch of more rows than a block (`PAGE_ROWS`) is computed block by block, because the activations of a block
        fit into the cache, and those of a full batch of 30,000 examples do not: in one piece it takes 1.6 times as long
        (`benchmarks/throughput.py`, row `784-16-16-10 sigmoid sgd full`). The mean over the batch is the mean over its
        blocks, weighted by the total weight of the examples in each.
        """
        if stop - start <= self.block_rows:
            return self._propagate(start, stop, epoch)
        grad, batch_weight = self.network.grad, epoch.total_weight(start, stop)
        self._grad_sum[...] = 0.0
        for first in range(start, stop, self.block_rows):
            last = min(first + self.block_rows, stop)
            if not self._propagate(first, last, epoch):
                return False
            np.multiply(grad, epoch.total_weight(first, last) / batch_weight if batch_weight else 0.0, out=grad)
            np.add(self._grad_sum, grad, out=self._grad_sum)
        np.copyto(grad, self._grad_sum)
        return True

    def _propagate(self, start: int, stop: int, epoch: ShuffledEpoch) -> bool:
        """Run the forward and the backward pass of some rows; return False if the gradient is not finite."""
        network, (targets, weights) = self.network, epoch.batch(start, stop)
        x, outputs = self._reader.read(start, stop), self._outputs[start:stop]
        dz = network.workspace(stop - start).dz
        network.forward(x, outputs, epoch.noise)
        self.loss.gradient(outputs, targets, dz, weights)
        if not math.isfinite(dz[0, 0]):  # one parameter that is not finite makes every output not finite
            return False
        network.backward(x, dz)
        return True
