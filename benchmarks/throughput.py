"""How many samples a second `mlp` trains on one thread, beside PyTorch, scikit-learn and the bare matrix products.

    python benchmarks/throughput.py [--repeats 7] [--rows 1 4] [--samples 19200]

Every contestant trains one epoch at a time on the same samples, shaped like MNIST: gathering of shuffled minibatches,
forward, backward and the optimizer's step. The others are spared what `mlp` does besides: PyTorch and scikit-learn
find the inputs as float32 already scaled, and PyTorch computes no metrics. Repetitions are interleaved, so that a
machine that slows down slows everybody, and the fastest of each counts.
"""

from __future__ import annotations

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # counted when a library is loaded, hence before the imports

import argparse  # noqa: E402
import gzip  # noqa: E402
import importlib.metadata  # noqa: E402
import math  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from itertools import pairwise  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402

import mlp  # noqa: E402
from mlp.arrays import aligned_empty  # noqa: E402

try:
    import torch
except ImportError:
    torch = None

Epoch = Callable[[], object]

FEATURES, CLASSES = 784, 10
ADVICE = "torch is not installed, so its columns are empty: pip install torch==2.13.0"


@dataclass(frozen=True)
class Row:
    """One line of the table: what is trained, and in batches of how many."""

    hidden: tuple[int, ...]
    activation: str
    optimizer: str
    batch: int

    @property
    def sizes(self) -> tuple[int, ...]:
        return (FEATURES, *self.hidden, CLASSES)

    @property
    def rate(self) -> float:
        return {"adam": 1e-3, "sgd": 1e-2}[self.optimizer]

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.sizes))} {self.activation} {self.optimizer} {self.batch}"


ROWS = (
    Row((512, 256, 128), "relu", "adam", 128),
    Row((512, 256, 128), "relu", "sgd", 32),
    Row((100,), "sigmoid", "adam", 32),
    Row((32, 64), "relu", "sgd", 200),
    Row((7,), "relu", "sgd", 64),
    Row((256, 256), "relu", "adam", 256),
)


def load_pixels(n: int) -> tuple[Any, Any, str]:
    """Return n images as uint8 of shape (n, 784), their labels, and where they come from."""
    folder = Path(os.environ.get("STUDIES_DATA", "")) / "mnist"
    if "STUDIES_DATA" in os.environ and folder.is_dir():
        images = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes())
        inputs = np.frombuffer(images, np.uint8, offset=16).reshape(-1, FEATURES)
        return inputs[:n].copy(), np.frombuffer(labels, np.uint8, offset=8)[:n].copy(), "MNIST"
    rng = np.random.default_rng(0)
    inputs = rng.integers(1, 256, (n, FEATURES), dtype=np.uint8)
    inputs[rng.random(inputs.shape) < 0.8] = 0
    return inputs, rng.integers(0, CLASSES, n, dtype=np.uint8), "random pixels, 80 % zeros"


def prepare_mlp(row: Row, inputs: Any, labels: Any, epochs: int) -> Epoch:
    config = mlp.TrainConfig.from_mapping(
        {
            "data": {"name": "pixels", "validation": 0},
            "epochs": epochs,
            "batch_size": row.batch,
            "network": {"hidden": row.hidden, "activation": row.activation},
            "optimizer": {"name": row.optimizer, "learning_rate": row.rate},
        }
    )
    examples = mlp.Examples(inputs, labels, np.arange(len(inputs)), 1.0 / 255.0)
    return mlp.Training(config, mlp.Split(examples, None, CLASSES)).run_epoch


def prepare_torch(row: Row, inputs: Any, labels: Any, *, fused: bool) -> Epoch:
    torch.manual_seed(0)
    layers: list[Any] = []
    for n_in, n_out in pairwise(row.sizes):
        layers += [torch.nn.Linear(n_in, n_out), {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}[row.activation]()]
    model = torch.nn.Sequential(*layers[:-1])
    rule = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[row.optimizer]
    optimizer = rule(model.parameters(), lr=row.rate, fused=fused)
    x, y = torch.from_numpy(inputs.astype(np.float32) / 255.0), torch.from_numpy(labels.astype(np.int64))

    def epoch() -> None:
        for batch in torch.randperm(len(x)).split(row.batch):
            optimizer.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(model(x.index_select(0, batch)), y.index_select(0, batch))
            loss.backward()
            optimizer.step()

    return epoch


def prepare_sklearn(row: Row, inputs: Any, labels: Any) -> Epoch:
    model = MLPClassifier(
        row.hidden,
        activation={"relu": "relu", "sigmoid": "logistic"}[row.activation],
        solver=row.optimizer,
        alpha=0.0,
        batch_size=row.batch,
        learning_rate_init=row.rate,
        momentum=0.0,
        nesterovs_momentum=False,
        random_state=0,
    )
    x = inputs.astype(np.float32) / 255.0
    return lambda: model.partial_fit(x, labels, classes=np.arange(CLASSES))


def prepare_products(row: Row, n: int) -> Epoch:
    """Prepare the matrix products of an epoch and nothing else: per layer one forward, one or two backward."""
    rng = np.random.default_rng(0)

    def matrix(*shape: int) -> Any:
        array = aligned_empty(shape, np.float32)
        array[...] = rng.normal(size=shape)
        return array

    a = [matrix(row.batch, width) for width in row.sizes]
    z = [matrix(row.batch, width) for width in row.sizes]
    weights = [matrix(*shape) for shape in pairwise(row.sizes)]
    grads = [matrix(*shape) for shape in pairwise(row.sizes)]

    def epoch() -> None:
        for _ in range(n // row.batch):
            for layer, w in enumerate(weights):
                np.dot(a[layer], w, out=z[layer + 1])
            for layer in range(len(weights) - 1, -1, -1):
                np.dot(a[layer].T, a[layer + 1], out=grads[layer])
                if layer:
                    np.dot(a[layer + 1], weights[layer].T, out=z[layer])

    return epoch


def measure(row: Row, inputs: Any, labels: Any, repeats: int) -> dict[str, float]:
    """Return the samples per second of each contestant, the best of some interleaved repetitions."""
    epochs = {"mlp": prepare_mlp(row, inputs, labels, repeats + 1)}
    if torch is not None:
        epochs["torch eager"] = prepare_torch(row, inputs, labels, fused=False)
        epochs["torch fused"] = prepare_torch(row, inputs, labels, fused=True)
    epochs["scikit-learn"] = prepare_sklearn(row, inputs, labels)
    epochs["products"] = prepare_products(row, len(inputs))
    best = dict.fromkeys(epochs, math.inf)
    for repeat in range(repeats + 1):
        for name, epoch in epochs.items():
            started = time.perf_counter()
            epoch()
            seconds = time.perf_counter() - started
            if repeat:  # the first warms caches and allocators
                best[name] = min(best[name], seconds)
    return {name: len(inputs) / seconds for name, seconds in best.items()}


RATES = ("mlp", "torch eager", "torch fused", "scikit-learn", "products")
RATIOS = ("mlp / torch", "mlp / scikit-learn", "mlp / products")


def compare(rates: dict[str, float]) -> dict[str, float]:
    """Return how `mlp` compares: with the better PyTorch, scikit-learn, and the speed of the products alone."""
    rivals = {
        "mlp / torch": max((rates[name] for name in rates if name.startswith("torch")), default=math.nan),
        "mlp / scikit-learn": rates["scikit-learn"],
        "mlp / products": rates["products"],
    }
    return {name: rates["mlp"] / rival for name, rival in rivals.items()}


def show(value: float, digits: int) -> str:
    return "n/a" if math.isnan(value) else f"{value:.{digits}f}"


def print_table(found: list[tuple[Row, dict[str, float]]]) -> None:
    lines = [["thousands of samples per second", *RATES, *RATIOS]]
    ratios = [compare(rates) for _, rates in found]
    for (row, rates), ratio in zip(found, ratios, strict=True):
        cells = [show(rates.get(name, math.nan) / 1e3, 1) for name in RATES]
        lines.append([str(row), *cells, *(show(ratio[name], 2) for name in RATIOS)])
    means = [math.exp(sum(math.log(ratio[name]) for ratio in ratios) / len(ratios)) for name in RATIOS]
    lines.append(["geometric mean", *("" for _ in RATES), *(show(mean, 2) for mean in means)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *rest = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join([first.strip().ljust(widths[0]), *rest]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="repetitions, of which the fastest counts (default 7)")
    parser.add_argument("--rows", type=int, nargs="+", choices=range(1, len(ROWS) + 1), help="which rows, from 1")
    parser.add_argument("--samples", type=int, default=19_200, help="samples an epoch (default 19200)")
    arguments = parser.parse_args()
    if arguments.repeats < 1 or arguments.samples < max(row.batch for row in ROWS):
        parser.error("at least one repetition, and as many samples as the largest batch")
    if torch is not None:
        torch.set_num_threads(1)
        torch.set_num_interop_threads(1)

    inputs, labels, source = load_pixels(arguments.samples)
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "scikit-learn")]
    versions.append(f"torch {torch.__version__}" if torch is not None else "no torch")
    print(f"{len(inputs)} samples, {source}; one thread; best of {arguments.repeats}; {', '.join(versions)}\n")
    rows = [ROWS[number - 1] for number in arguments.rows] if arguments.rows else ROWS
    print_table([(row, measure(row, inputs, labels, arguments.repeats)) for row in rows])
    if torch is None:
        print(f"\n{ADVICE}")


if __name__ == "__main__":
    main()
