"""Compares the training speed of `mlp` on one thread with PyTorch, scikit-learn, JAX and bare matrix products.

    python benchmarks/throughput.py [--parts speed memory import] [--rows 1 4] [--repeats 7] [--keep FILE]

Every contestant trains one epoch at a time on the same samples: it gathers shuffled minibatches, runs the forward and
the backward pass, and takes a step of the optimizer. The others do less than `mlp`: they get their inputs as float32,
already scaled, and PyTorch computes no metrics. JAX runs an epoch as one compiled scan; its compile time is shown in a
separate column. Repetitions are interleaved, so that a machine that slows down slows all contestants, and the fastest
repetition of each counts.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

from contestants import MODULES, PREPARE, ROWS, Row, is_installed, load_pixels, mnist_folder, versions
from footprint import measure_import, measure_memory

Rates = dict[str, float]
Peaks = dict[str, tuple[float, float]]

ADVICE = "Empty columns: pip install torch==2.13.0 jax==0.10.2"
IMPORT_SECONDS = 0.05
COMPILE = "JAX compile s"


def measure(row: Row, repeats: int) -> Rates:
    """Return the samples per second of each contestant: the best of several interleaved repetitions."""
    pixels = load_pixels(row)
    prepared = {name: prepare(row, pixels) for name, prepare in PREPARE.items() if is_installed(name)}
    contestants = {name: contestant for name, contestant in prepared.items() if contestant}
    best = dict.fromkeys(contestants, math.inf)
    for repeat in range(repeats + 1):
        for name, contestant in contestants.items():
            started = time.perf_counter()
            for _ in range(row.epochs):
                contestant.epoch()
            seconds = time.perf_counter() - started
            if repeat:  # the first repetition warms up caches and allocators
                best[name] = min(best[name], seconds)
    rates = {name: row.samples * row.epochs / seconds for name, seconds in best.items()}
    if "JAX" in contestants:
        rates[COMPILE] = contestants["JAX"].compile_seconds
    return rates


# For each ratio: the contestants that `mlp` is compared with, the lower bound on every row, and on the geometric mean.
RATIOS = {
    "mlp / torch": (("torch eager", "torch fused"), 0.95, 1.7),
    "mlp / scikit-learn": (("scikit-learn",), 1.3, 2.0),
    "mlp / JAX": (("JAX",), 0.85, 1.05),
    "mlp / products": (("products",), 0.0, 0.0),
}
LARGE_PRODUCTS = 0.75
FEW_PRODUCTS = 0.5


def compare(rates: Rates) -> Rates:
    """Return the speed of `mlp` relative to the fastest rival of each kind; not a number if either is missing."""
    ratios = {}
    for ratio, (rivals, _, _) in RATIOS.items():
        best = max((rates[name] for name in rivals if name in rates), default=math.nan)
        ratios[ratio] = rates.get("mlp", math.nan) / best
    return ratios


def mean(values: list[float]) -> float:
    """Return the geometric mean of the values that are numbers."""
    logarithms = [math.log(value) for value in values if not math.isnan(value)]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else math.nan


def missed(ratios: dict[Row, Rates]) -> list[str]:
    """Return a sentence for each missed bound, and for each row that is much slower than its matrix products."""
    sentences = []
    for name, (_, least, least_mean) in RATIOS.items():
        for row, found in ratios.items():
            if found[name] < least:
                sentences.append(f"missed: {name} is {found[name]:.2f}, below {least}: {row}")
        average = mean([found[name] for found in ratios.values()])
        if average < least_mean:
            sentences.append(f"missed: the geometric mean of {name} is {average:.2f}, below {least_mean}")
    for row, found in ratios.items():
        share = found["mlp / products"]
        if row.is_large and share < LARGE_PRODUCTS:
            sentences.append(f"missed: mlp / products is {share:.2f}, below {LARGE_PRODUCTS}: {row}")
        elif share < FEW_PRODUCTS:
            sentences.append(f"to explain: mlp / products is {share:.2f}, below {FEW_PRODUCTS}: {row}")
    return sentences


def print_table(lines: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *rest = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join([first.strip().ljust(widths[0]), *rest]))
    print()


def show(value: float, digits: int) -> str:
    return "n/a" if math.isnan(value) else f"{value:.{digits}f}"


def print_speed(found: dict[Row, Rates]) -> None:
    ratios = {row: compare(rates) for row, rates in found.items()}
    lines = [["thousands of samples per second", *PREPARE, COMPILE, *RATIOS]]
    for row, rates in found.items():
        cells = [show(rates.get(name, math.nan) / 1e3, 1) for name in PREPARE]
        compiling = show(rates.get(COMPILE, math.nan), 1)
        lines.append([str(row), *cells, compiling, *(show(ratios[row][name], 2) for name in RATIOS)])
    means = [show(mean([ratio[name] for ratio in ratios.values()]), 2) for name in RATIOS]
    lines.append(["geometric mean", *("" for _ in PREPARE), "", *means])
    print_table(lines)
    for sentence in missed(ratios):
        print(sentence)
    print()


def print_memory(found: dict[Row, Peaks]) -> None:
    lines = [["peak memory in MiB (above the imports)", *MODULES]]
    for row, peaks in found.items():
        cells = [
            f"{peaks[name][0]:.0f} ({peaks[name][0] - peaks[name][1]:.0f})" if name in peaks else "n/a"
            for name in MODULES
        ]
        lines.append([str(row), *cells])
    print_table(lines)


def load_results(file: Path | None) -> tuple[dict[Row, Rates], dict[Row, Peaks]]:
    """Return the speeds and the memory peaks that earlier runs saved in a file."""
    saved = json.loads(file.read_text(encoding="utf-8")) if file and file.exists() else {"speed": {}, "memory": {}}
    speed, memory = ({row: saved[part][str(row)] for row in ROWS if str(row) in saved[part]} for part in saved)
    return speed, memory


def save_results(file: Path, speed: dict[Row, Rates], memory: dict[Row, Peaks]) -> None:
    """Save the results for `load_results`. Called after each row, so that an interrupted run loses only one row."""
    results = {
        "speed": {str(row): rates for row, rates in speed.items()},
        "memory": {str(row): peaks for row, peaks in memory.items()},
    }
    file.write_text(json.dumps(results, indent=1), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parts = ("speed", "memory", "import")
    parser.add_argument("--parts", nargs="*", choices=parts, default=parts, help="what to measure (default all)")
    parser.add_argument("--rows", type=int, nargs="+", choices=range(1, len(ROWS) + 1), help="rows, from 1")
    parser.add_argument("--repeats", type=int, default=7, help="repetitions; the fastest counts (default 7)")
    parser.add_argument("--keep", type=Path, help="a JSON file that collects the rows of several runs")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("--repeats must be at least 1")

    source = "MNIST" if mnist_folder() else "random pixels, 80 % zeros"
    print(f"{source}; one thread on one core; best of {arguments.repeats}; {versions()}\n")
    rows = [ROWS[number - 1] for number in arguments.rows] if arguments.rows else ROWS
    speed, memory = load_results(arguments.keep)
    for row in rows:
        if "speed" in arguments.parts:
            speed[row] = measure(row, arguments.repeats)
        if "memory" in arguments.parts:
            memory[row] = measure_memory(row)
        if arguments.keep:
            save_results(arguments.keep, speed, memory)
    if speed:
        print_speed(dict(sorted(speed.items(), key=lambda item: ROWS.index(item[0]))))
    if memory:
        print_memory(dict(sorted(memory.items(), key=lambda item: ROWS.index(item[0]))))
    if "import" in arguments.parts:
        seconds = measure_import(max(arguments.repeats, 5))
        verdict = "" if seconds <= IMPORT_SECONDS else f"  missed: above {IMPORT_SECONDS} s"
        print(f"import mlp, above import numpy: {seconds:.3f} s{verdict}")
    if not all(map(is_installed, MODULES)):
        print(ADVICE)


if __name__ == "__main__":
    main()
