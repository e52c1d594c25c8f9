"""What publishing to MLflow costs a study: its wall time with publishing, drained, over the same without.

The study has many short trials, the worst case, and every epoch is published: the more of them in a second of work,
the more there is to do. `python benchmarks/tracking.py` takes about eight minutes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STUDIES = Path(sys.executable).with_name("studies")

STUDY = """
[study]
name = "tracking"
trials = {trials}
sampler = "random"

[base]
epochs = {epochs}
batch_size = 32
data = {{ name = "digits" }}
network = {{ hidden = {{ depth = 2, width = {width} }} }}

[space]
"network.hidden.width" = {{ low = {low}, high = {high} }}
"optimizer.learning_rate" = {{ low = 1e-4, high = 1e-2, log = true }}
schedule = ["cosine", "constant"]
"""


def run(file: Path, home: Path, publish: bool) -> float:
    """Return the seconds of one launch, from start to exit."""
    command = [str(STUDIES), "run", str(file), "--home", str(home), "--publish" if publish else "--no-publish"]
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if "pending" in done.stdout:
        raise RuntimeError(done.stdout)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=20, help="of each trial")
    parser.add_argument("--width", type=int, default=380, help="20 epochs at 380, or 60 at 128, are about a second")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    times: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        file = root / "tracking.toml"
        around = {"width": options.width, "low": options.width - 20, "high": options.width + 20}
        file.write_text(STUDY.format(trials=options.trials, epochs=options.epochs, **around))
        for repeat in range(options.repeats):
            for publish in (True, False) if repeat % 2 else (False, True):
                seconds = run(file, root / f"home-{repeat}-{publish}", publish)
                times[publish].append(seconds)
                print(f"{'with' if publish else 'without'} publishing  {seconds:7.1f} s", flush=True)
    ratio = statistics.median(times[True]) / statistics.median(times[False])
    print(f"{options.trials} trials of {options.epochs} epochs; with over without, medians: {ratio:.3f}")


if __name__ == "__main__":
    main()
