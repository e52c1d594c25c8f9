"""The five systems that this project comes from: what they reached, what ours reach, and how long each takes.

    python benchmarks/reference_systems.py [--systems deep_relu tiny_relu] [--seeds 0 1 2 3 4] [--data-dir DIR]

Ours are the files in `experiments/reference/`, trained whole for every seed and judged by the test set. Of the
originals' training loops a plain transcription runs on a stated part of the work, beside each of our trainings so that
a machine that slows down slows both; its time is scaled to the whole. Both sides have one BLAS thread, and neither
counts reading the data. MNIST and Fashion-MNIST are found as by `studies`: in `--data-dir` or STUDIES_DATA, in the
cache, or by download. The exit status is 1 when something is less than it has to be.
"""

from __future__ import annotations

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # counted when a library is loaded, hence before the imports

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
    """One of the five, or a variant of it.

    Attributes:
        name: of its file and of its transcription.
        published: accuracy in percent, and of which part.
        at_least: what ours must reach on the test set, in percent; 0 for no bound.
        quicker: how many times as fast as the transcription ours must be; 0 for no bound.
        examples: on how many the transcription runs.
    """

    name: str
    published: str
    at_least: float
    quicker: float
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
    """What a system came to over some seeds.

    Attributes:
        accuracies: on the test set, in percent, one a seed.
        seconds: of our training, the median.
        theirs: seconds of the transcription for all the work, scaled from the median of a part.
        part: which part of the work that was.
    """

    accuracies: tuple[float, ...]
    seconds: float
    theirs: float
    part: float

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracies)

    @property
    def ratio(self) -> float:
        return self.theirs / self.seconds


def measure(system: System, seeds: list[int], data_dir: Path | None) -> Finding:
    """Train ours for every seed, and a part of the original's work each time."""
    config, _ = read_config(FOLDER / f"{system.name}.toml")
    dataset = open_dataset(config.data, data_dir=data_dir, progress=True)
    x = np.asarray(dataset.inputs[: system.examples], float)
    if config.data.scale == "example":
        x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    else:
        x /= dataset.largest
    labels = dataset.targets[: system.examples]
    accuracies, seconds, theirs, n_train = [], [], [], 0
    for seed in seeds:
        transcription = TRANSCRIPTIONS[system.name]()
        started = time.perf_counter()
        transcription.run(x, labels)
        theirs.append(time.perf_counter() - started)
        result = retrain(config, data_dir=data_dir, test=True, seed=seed)
        accuracies.append(100 * (result.test or {})["test/accuracy"])
        seconds.append(result.seconds)
        n_train = result.n_train
    part = len(x) / (n_train * config.epochs)
    return Finding(tuple(accuracies), statistics.median(seconds), statistics.median(theirs) / part, part)


HEAD = ("test accuracy, %", "published", "ours", "spread", "at least", "ours, s", "original, s", "measured on", "ratio")
FORM = "{:22}{:>12}{:>8}{:>15}{:>10}{:>10}{:>13}{:>13}{:>9}"


def show_row(system: System, found: Finding) -> str:
    return FORM.format(
        system.name,
        system.published,
        f"{found.mean:.2f}",
        f"{min(found.accuracies):.2f} - {max(found.accuracies):.2f}",
        f"{system.at_least:.1f}" if system.at_least else "",
        f"{found.seconds:.1f}",
        f"{found.theirs:.1f}",
        f"1/{1 / found.part:.0f}",
        f"{found.ratio:.1f}",
    )


def shortfalls(system: System, found: Finding) -> list[str]:
    """Return what is less than it has to be, in words."""
    problems = []
    if found.mean < system.at_least:
        problems.append(f"{system.name}: {found.mean:.2f} % on the test set, must be {system.at_least}.")
    if found.ratio < system.quicker:
        problems.append(f"{system.name}: {found.ratio:.1f} times as fast as the original, must be {system.quicker}.")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    names = [system.name for system in SYSTEMS]
    parser.add_argument("--systems", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="of our trainings (default 0..4)")
    parser.add_argument("--data-dir", type=Path, help="holds mnist/*.gz and fashion-mnist/*.gz (default STUDIES_DATA)")
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
