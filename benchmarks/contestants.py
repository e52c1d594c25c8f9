"""The contestants of `throughput.py`: the rows of its table, their data, and one epoch of each library.

Importing this module pins the process to one core and each library to one thread, so it must be imported before the
libraries. A contestant is prepared from a row and its data, and can then train one epoch after another. All except
`mlp` get their inputs as float32, already scaled. A library is imported when its contestant is prepared, so that a
process that measures one library does not load the others.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import importlib.util
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # read when a library is loaded, so set before the imports
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402

import mlp  # noqa: E402
from mlp.arrays import aligned_empty  # noqa: E402
from mlp.scaling import Scaling  # noqa: E402

CLASSES = 10
RATES = {"adam": 1e-3, "sgd": 1e-2}


@dataclass(frozen=True)
class Row:
    """One row of the table: a network and how it is trained.

    Attributes:
        sizes: the widths of all layers.
        activation: the activation of the hidden layers.
        optimizer: the name of the optimizer.
        batch: examples per step; if it equals `samples`, an epoch is one step and gathers no rows.
        samples: examples per epoch, a multiple of `batch`.
        epochs: epochs per repetition, so that a repetition takes long enough to be timed.
        normalized: whether each hidden layer has batch normalisation before its activation.
        is_large: whether matrix products should take most of the time.
    """

    sizes: tuple[int, ...]
    activation: str
    optimizer: str
    batch: int
    samples: int = 19_200
    epochs: int = 1
    normalized: bool = False
    is_large: bool = False

    @property
    def is_full(self) -> bool:
        return self.batch == self.samples

    @property
    def rate(self) -> float:
        return RATES[self.optimizer]

    def __str__(self) -> str:
        normalized = " batch-norm" if self.normalized else ""
        batch = "full" if self.is_full else str(self.batch)
        return f"{'-'.join(map(str, self.sizes))} {self.activation}{normalized} {self.optimizer} {batch}"


ROWS = (
    Row((784, 512, 256, 128, 10), "relu", "adam", 128, is_large=True),
    Row((784, 512, 256, 128, 10), "relu", "sgd", 32, is_large=True),
    Row((784, 100, 10), "sigmoid", "adam", 32),
    Row((784, 32, 64, 10), "relu", "sgd", 200),
    Row((784, 7, 10), "relu", "sgd", 64),
    Row((784, 256, 256, 10), "relu", "adam", 256, is_large=True),
    Row((784, 512, 256, 128, 10), "relu", "sgd", 1, samples=1_000),
    Row((784, 16, 16, 10), "sigmoid", "sgd", 30_000, samples=30_000, epochs=5),
    Row((784, 32, 64, 10), "leaky_relu", "sgd", 200, normalized=True),
    Row((64, 64, 10), "relu", "adam", 32, samples=1_792, epochs=10),
)


@dataclass(frozen=True)
class Pixels:
    """Images and their labels.

    Attributes:
        inputs: the images as bytes, shape (n, d).
        labels: the labels, shape (n,).
        factor: the factor that scales the bytes.
    """

    inputs: Any
    labels: Any
    factor: float

    def scaled(self) -> Any:
        """Return the scaled inputs as float32, without a second copy in between."""
        return np.multiply(self.inputs, np.float32(self.factor), dtype=np.float32)


def load_pixels(row: Row) -> Pixels:
    """Return the data of a row: the digits of scikit-learn, MNIST, or random pixels if MNIST is not available."""
    if row.sizes[0] == 64:
        from sklearn.datasets import load_digits

        inputs, labels = load_digits(return_X_y=True)
        return Pixels(inputs[: row.samples].astype(np.uint8), labels[: row.samples].astype(np.uint8), 1.0 / 16.0)
    folder = mnist_folder()
    if folder:
        images = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())
        names = gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes())
        inputs = np.frombuffer(images, np.uint8, offset=16).reshape(-1, row.sizes[0])[: row.samples].copy()
        return Pixels(inputs, np.frombuffer(names, np.uint8, offset=8)[: row.samples].copy(), 1.0 / 255.0)
    rng = np.random.default_rng(0)
    inputs = rng.integers(1, 256, (row.samples, row.sizes[0]), dtype=np.uint8)
    inputs[rng.random(inputs.shape) < 0.8] = 0
    return Pixels(inputs, rng.integers(0, CLASSES, row.samples, dtype=np.uint8), 1.0 / 255.0)


def mnist_folder() -> Path | None:
    """Return the folder of MNIST, if STUDIES_DATA is set and contains it."""
    folder = Path(os.environ.get("STUDIES_DATA", "")) / "mnist"
    return folder if "STUDIES_DATA" in os.environ and folder.is_dir() else None


@dataclass(frozen=True)
class Contestant:
    """A function that trains one epoch, and the seconds it took to compile, if it was compiled."""

    epoch: Callable[[], object]
    compile_seconds: float = field(default=math.nan)


def prepare_mlp(row: Row, pixels: Pixels) -> Contestant:
    mapping: dict[str, Any] = {
        "data": {"name": "pixels", "validation": 0},
        "epochs": 1_000_000,
        "batch_size": "full" if row.is_full else row.batch,
        "network": {"hidden": row.sizes[1:-1], "activation": row.activation},
        "optimizer": {"name": row.optimizer, "learning_rate": row.rate},
    }
    if row.normalized:
        mapping["network"]["normalization"] = "batch"
    config = mlp.TrainConfig.from_mapping(mapping)
    examples = mlp.Examples(pixels.inputs, pixels.labels, np.arange(len(pixels.inputs)), Scaling((pixels.factor,)))
    return Contestant(mlp.Training(config, mlp.Split(examples, None, CLASSES)).run_epoch)


def prepare_torch(row: Row, pixels: Pixels, *, fused: bool) -> Contestant:
    import torch

    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    activations = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid, "leaky_relu": torch.nn.LeakyReLU}
    layers: list[Any] = []
    for n_in, n_out in pairwise(row.sizes[:-1]):
        layers.append(torch.nn.Linear(n_in, n_out, bias=not row.normalized))
        layers += [torch.nn.BatchNorm1d(n_out)] if row.normalized else []
        layers.append(activations[row.activation]())
    model = torch.nn.Sequential(*layers, torch.nn.Linear(*row.sizes[-2:]))
    rule = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[row.optimizer]
    optimizer = rule(model.parameters(), lr=row.rate, fused=fused)
    inputs, labels = torch.from_numpy(pixels.scaled()), torch.from_numpy(pixels.labels.astype(np.int64))

    def step(x: Any, y: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    def epoch() -> None:
        for rows in torch.randperm(len(inputs)).split(row.batch):
            step(inputs.index_select(0, rows), labels.index_select(0, rows))

    return Contestant((lambda: step(inputs, labels)) if row.is_full else epoch)


def prepare_sklearn(row: Row, pixels: Pixels) -> Contestant | None:
    from sklearn.neural_network import MLPClassifier

    activations = {"relu": "relu", "sigmoid": "logistic"}
    if row.activation not in activations or row.normalized:
        return None
    model = MLPClassifier(
        row.sizes[1:-1],
        activation=activations[row.activation],
        solver=row.optimizer,
        alpha=0.0,
        batch_size=row.batch,
        learning_rate_init=row.rate,
        momentum=0.0,
        nesterovs_momentum=False,
        shuffle=not row.is_full,
        random_state=0,
    )
    x, labels, classes = pixels.scaled(), pixels.labels, np.arange(CLASSES)
    return Contestant(lambda: model.partial_fit(x, labels, classes=classes))


def prepare_jax(row: Row, pixels: Pixels) -> Contestant:
    """Prepare one compiled function for an epoch: a scan over minibatches that updates its state in place."""
    import jax
    from jax import lax
    from jax import numpy as jnp

    activate = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "leaky_relu": jax.nn.leaky_relu}[row.activation]
    rng = np.random.default_rng(0)
    params, statistics = [], []
    for n_in, n_out in pairwise(row.sizes):
        weights = rng.normal(0.0, math.sqrt(2.0 / n_in), (n_in, n_out)).astype(np.float32)
        params.append({"w": jnp.asarray(weights), "b": jnp.zeros(n_out)})
        if row.normalized and n_out != row.sizes[-1]:
            params[-1]["gain"] = jnp.ones(n_out)
            statistics.append((jnp.zeros(n_out), jnp.ones(n_out)))

    def loss(params: Any, statistics: Any, x: Any, y: Any) -> Any:
        moved, last = [], len(params) - 1
        for layer, p in enumerate(params):
            z = x @ p["w"]
            if "gain" in p:
                now = (z.mean(0), z.var(0))
                moved.append(jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, statistics[layer], now))
                z = (z - now[0]) * (lax.rsqrt(now[1] + 1e-5) * p["gain"])
            z = z + p["b"]
            x = activate(z) if layer < last else z
        return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], axis=1).mean(), moved

    def step(state: Any, x: Any, y: Any) -> Any:
        params, statistics, slots, t = state
        (value, statistics), grads = jax.value_and_grad(loss, has_aux=True)(params, statistics, x, y)
        if row.optimizer == "sgd":
            return (jax.tree.map(lambda w, g: w - row.rate * g, params, grads), statistics, slots, t), value
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, slots[0], grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, slots[1], grads)
        rate, root = row.rate / (1.0 - 0.9**t), lax.rsqrt(1.0 - 0.999**t)
        params = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) * root + 1e-8), params, m, v)
        return (params, statistics, (m, v), t), value

    def run(state: Any, x: Any, y: Any, order: Any) -> Any:
        if row.is_full:
            return step(state, x, y)

        def gather(state: Any, rows: Any) -> Any:
            chosen = {"mode": "promise_in_bounds", "unique_indices": True}
            return step(state, x.at[rows].get(**chosen), y.at[rows].get(**chosen))

        return lax.scan(gather, state, order.reshape(-1, row.batch))

    x, y = jnp.asarray(pixels.scaled()), jnp.asarray(pixels.labels.astype(np.int32))
    # Distinct arrays, because JAX donates each of them separately.
    zeros = [jax.tree.map(jnp.zeros_like, params) for _ in range(2 if row.optimizer == "adam" else 0)]
    state = (params, statistics, tuple(zeros), jnp.zeros(()))
    order = np.arange(row.samples, dtype=np.int32)
    started = time.perf_counter()
    compiled = jax.jit(run, donate_argnums=(0,)).lower(state, x, y, order).compile()
    compile_seconds = time.perf_counter() - started

    def epoch() -> None:
        nonlocal state
        state, values = compiled(state, x, y, order if row.is_full else rng.permutation(order))
        values.block_until_ready()

    return Contestant(epoch, compile_seconds)


def prepare_products(row: Row) -> Contestant:
    """Prepare only the matrix products of an epoch: per layer one forward, and one or two backward."""
    rng = np.random.default_rng(0)

    def matrix(*shape: int) -> Any:
        array = aligned_empty(shape, np.float32)
        array[...] = rng.standard_normal(shape, np.float32)
        return array

    a = [matrix(row.batch, width) for width in row.sizes]
    z = [matrix(row.batch, width) for width in row.sizes]
    weights = [matrix(*shape) for shape in pairwise(row.sizes)]
    grads = [matrix(*shape) for shape in pairwise(row.sizes)]

    def epoch() -> None:
        for _ in range(row.samples // row.batch):
            for layer, w in enumerate(weights):
                np.dot(a[layer], w, out=z[layer + 1])
            for layer in range(len(weights) - 1, -1, -1):
                np.dot(a[layer].T, a[layer + 1], out=grads[layer])
                if layer:
                    np.dot(a[layer + 1], weights[layer].T, out=z[layer])

    return Contestant(epoch)


PREPARE: dict[str, Callable[[Row, Pixels], Contestant | None]] = {
    "mlp": prepare_mlp,
    "torch eager": lambda row, pixels: prepare_torch(row, pixels, fused=False),
    "torch fused": lambda row, pixels: prepare_torch(row, pixels, fused=True),
    "scikit-learn": prepare_sklearn,
    "JAX": prepare_jax,
    "products": lambda row, _: prepare_products(row),
}
MODULES = {"mlp": "mlp", "torch eager": "torch", "torch fused": "torch", "scikit-learn": "sklearn", "JAX": "jax"}


def is_installed(name: str) -> bool:
    """Return whether the library of a contestant is installed."""
    return name not in MODULES or importlib.util.find_spec(MODULES[name]) is not None


def versions() -> str:
    """Return the versions of the compared libraries."""
    packages = {"numpy": "numpy", "torch": "torch", "scikit-learn": "sklearn", "jax": "jax"}
    found = [name for name, module in packages.items() if importlib.util.find_spec(module)]
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in found)
