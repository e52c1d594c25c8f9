"""Measures the peak memory of the contestants of `throughput.py`, and how long `import mlp` takes.

Each measurement runs in its own process: `python benchmarks/footprint.py CONTESTANT ROW FOLDER`.
"""

from __future__ import annotations

import importlib
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from contestants import MODULES, PREPARE, ROWS, Pixels, Row, is_installed, load_pixels

IMPORT = "import time, numpy; started = time.perf_counter(); import mlp; print(time.perf_counter() - started)"


def measure_memory(row: Row) -> dict[str, tuple[float, float]]:
    """Return for each contestant the peak memory of its training and, as a part of it, of its imports, in MiB."""
    pixels, found = load_pixels(row), {}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "pixels.npz", inputs=pixels.inputs, labels=pixels.labels, factor=pixels.factor)
        for name in MODULES:
            if is_installed(name):
                command = [sys.executable, __file__, name, str(ROWS.index(row)), folder]
                words = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                if words:
                    found[name] = (float(words[0]), float(words[1]))
    return found


def measure_import(repeats: int) -> float:
    """Return the seconds that `import mlp` takes after `import numpy`: the median over fresh processes."""
    command = [sys.executable, "-c", IMPORT]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(repeats + 1)]
    return statistics.median(map(float, runs[1:]))  # the first process may have to compile the modules


def peak() -> float:
    """Return the peak memory of this process in MiB; `getrusage` would include the peak of the parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024.0


def main() -> None:
    name, number, folder = sys.argv[1:]
    importlib.import_module(MODULES[name] if name != "scikit-learn" else "sklearn.neural_network")
    imports = peak()
    with np.load(Path(folder) / "pixels.npz") as file:
        pixels = Pixels(file["inputs"], file["labels"], float(file["factor"]))
    contestant = PREPARE[name](ROWS[int(number)], pixels)
    if contestant is None:
        return
    for _ in range(2):
        contestant.epoch()
    print(peak(), imports)


if __name__ == "__main__":
    main()
