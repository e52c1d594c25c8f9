"""Compares the five systems that this project started from with ours: accuracy and training time.

    python benchmarks/reference_systems.py [--systems deep_relu tiny_relu] [--seeds 0 1 2 3 4] [--data-dir DIR]

Ours are the seven files in `experiments/reference/`. Each is trained in full for every seed and evaluated on the test
set. A plain transcription of each original training loop runs on a stated part of the work, and its time is scaled to
all of it. The two run in turn, so that a machine that slows down slows both. Both use one BLAS thread; reading the data
is not timed. MNIST and Fashion-MNIST are found as `studies` finds them: in `--data-dir` or STUDIES_DATA, in the cache,
or by download. The exit status is 1 if an accuracy or a speed is below its bound.
"""

from __future__ import annotations

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # read when a library is loaded, so set before the imports

import argparse  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
from transcriptions import TRANSCRIPTIONS  # noqa: E402

from mlp.errors import ConfigError  # noqa: E402
from studies.data.prepare import open_dataset  # noqa: E402
from studies.models.export import read_config  # noqa: E402
from studies.models.retrain import retrain  # noqa: E402

FOLDER = Path(__file__).parents[1] / "experiments" / "reference"


@dataclass(frozen=True)
class System:
    """One configuration of one of the five systems.

    Attributes:
        name: the name of its file and of its transcription.
        published: the published accuracy in percent, and the part of the data that it was measured on.
        min_accuracy: the accuracy in percent that ours must reach on the test set; 0 for no bound.
        min_speedup: how many times as fast as the transcription ours must be; 0 for no bound.
        examples: how many examples the transcription is timed on.
    """

    name: str
    published: str
    min_accuracy: float
    min_speedup: float
    examples: int


SYSTEMS = (
    System("deep_relu", "none", 94.5, 3.0, 500),
    System("fashion_batchnorm", "82.32 test", 86.0, 0.0, 10_000),
    System("layer_stack_softmax", "88.55 train", 92.0, 0.0, 10_000),
    System("layer_stack_hidden", "none", 97.0, 0.0, 10_000),
    System("layer_stack_narrow", "none", 0.0, 0.0, 10_000),
    System("sigmoid_full_batch", "85.65 test", 87.5, 50.0, 30_000),
    System("tiny_relu", "91.39 test", 91.4, 0.0, 10_000),
)


@dataclass(frozen=True)
class Finding:
    """The measurements of a system over several seeds.

    Attributes:
        accuracies: accuracy on the test set in percent, one per seed.
        seconds: median time of our training.
        original_seconds: time of the transcription for all the work, scaled from the median of a part of it.
        part: the part of the work that the transcription was timed on, as a fraction.
    """

    accuracies: tuple[float, ...]
    seconds: float
    original_seconds: float
    part: float

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracies)

    @property
    def ratio(self) -> float:
        return self.original_seconds / self.seconds


def measure(system: System, seeds: list[int], data_dir: Path | None) -> Finding:
    """Train ours for every seed, and each time run the transcription on a part of the work."""
    config, _ = read_config(FOLDER / f"{system.name}.toml")
    dataset = open_dataset(config.data, data_dir=data_dir, progress=True)
    x = np.asarray(dataset.inputs[: system.examples], float)
    if config.data.scale == "example":
        x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    else:
        x /= dataset.largest
    labels = dataset.targets[: system.examples]
    accuracies, seconds, original_seconds, n_train = [], [], [], 0
    for seed in seeds:
        transcription = TRANSCRIPTIONS[system.name]()
        started = time.perf_counter()
        transcription.run(x, labels)
        original_seconds.append(time.perf_counter() - started)
        result = retrain(config, data_dir=data_dir, test=True, seed=seed)
        accuracies.append(100 * (result.test or {})["test/accuracy"])
        seconds.append(result.seconds)
        n_train = result.n_train
    part = len(x) / (n_train * config.epochs)
    return Finding(tuple(accuracies), statistics.median(seconds), statistics.median(original_seconds) / part, part)


HEAD = ("test accuracy, %", "published", "ours", "spread", "at least", "ours, s", "original, s", "measured on", "ratio")
FORM = "{:22}{:>12}{:>8}{:>15}{:>10}{:>10}{:>13}{:>13}{:>9}"


def show_row(system: System, found: Finding) -> str:
    return FORM.format(
        system.name,
        system.published,
        f"{found.mean:.2f}",
        f"{min(found.accuracies):.2f} - {max(found.accuracies):.2f}",
        f"{system.min_accuracy:.1f}" if system.min_accuracy else "",
        f"{found.seconds:.1f}",
        f"{found.original_seconds:.1f}",
        f"1/{1 / found.part:.0f}",
        f"{found.ratio:.1f}",
    )


def shortfalls(system: System, found: Finding) -> list[str]:
    """Return a sentence for each missed bound."""
    problems = []
    if found.mean < system.min_accuracy:
        problems.append(f"{system.name}: {found.mean:.2f} % on the test set, must be at least {system.min_accuracy}.")
    if found.ratio < system.min_speedup:
        problems.append(
            f"{system.name}: {found.ratio:.1f} times as fast as the original, must be at least {system.min_speedup}."
        )
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    names = [system.name for system in SYSTEMS]
    parser.add_argument("--systems", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="seeds (default 0 to 4)")
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/*.gz, fashion-mnist/*.gz")
    arguments = parser.parse_args()

    print(f"seeds {' '.join(map(str, arguments.seeds))}; one thread; medians of the times; NumPy {np.__version__}\n")
    print(FORM.format(*HEAD))
    problems = []
    for system in SYSTEMS:
        if system.name in arguments.systems:
            try:
                found = measure(system, arguments.seeds, arguments.data_dir)
            except ConfigError as error:
                parser.error(str(error))
            print(show_row(system, found), flush=True)
            problems += shortfalls(system, found)
    print("", *problems, sep="\n" if problems else "", end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
