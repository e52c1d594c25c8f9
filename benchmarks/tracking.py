"""The cost of publishing to MLflow: the wall time of a study with publishing, relative to the same study without.

The study has many short trials, which is the worst case, because every epoch of every trial is published.
`python benchmarks/tracking.py` takes about eight minutes. Wall times depend on the load of the machine; the CPU time
of the publisher and the time between the last trial and the exit depend on it less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Cost:
    """The cost of a launch, in seconds.

    Attributes:
        seconds: the wall time from start to exit.
        tail: the part of it after the last trial has ended.
        publisher: the CPU time of the publisher.
    """

    seconds: float
    tail: float
    publisher: float

    def __str__(self) -> str:
        return (
            f"{self.seconds:7.1f} s, {self.tail:.1f} of them after the last trial; publisher {self.publisher:.1f} s CPU"
        )


def run(file: Path, home: Path, publish: bool) -> Cost:
    """Launch the study."""
    command = [str(STUDIES), "run", str(file), "--home", str(home), "--publish" if publish else "--no-publish"]
    started, publisher = time.time(), 0.0
    with tempfile.TemporaryFile("w+") as output:
        with subprocess.Popen(command, stdout=output) as launch:
            while launch.poll() is None:
                publisher = max(publisher, publisher_cpu(launch.pid))
                time.sleep(0.1)
            ended = time.time()
        output.seek(0)
        text = output.read()
    if launch.returncode or "pending" in text:
        raise RuntimeError(text)
    last = max(log.stat().st_mtime for log in home.rglob("trials/*.jsonl"))
    return Cost(ended - started, ended - last, publisher)


def publisher_cpu(parent: int) -> float:
    """Return the CPU time of a launch's publisher so far, in seconds; 0 on systems without `/proc`."""
    for child in Path(f"/proc/{parent}/task/{parent}").glob("children"):
        for process in child.read_text().split():
            try:
                folder = Path("/proc", process)
                if b"studies.tracking.publisher" in (folder / "cmdline").read_bytes():
                    times = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
                    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
            except OSError:  # the process has just ended
                continue
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=20, help="of each trial")
    parser.add_argument(
        "--width",
        type=int,
        default=380,
        help="of the layers; 20 epochs of width 380, or 60 of width 128, take about a second",
    )
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    costs: dict[bool, list[Cost]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        file = root / "tracking.toml"
        around = {"width": options.width, "low": options.width - 20, "high": options.width + 20}
        file.write_text(STUDY.format(trials=options.trials, epochs=options.epochs, **around))
        for repeat in range(options.repeats):
            for publish in (True, False) if repeat % 2 else (False, True):
                cost = run(file, root / f"home-{repeat}-{publish}", publish)
                costs[publish].append(cost)
                print(f"{'with' if publish else 'without'} publishing  {cost}", flush=True)
    with_it, without = (statistics.median(cost.seconds for cost in costs[publish]) for publish in (True, False))
    cpu = statistics.median(cost.publisher for cost in costs[True]) / options.trials
    print(f"{options.trials} trials of {options.epochs} epochs; with over without, medians: {with_it / without:.3f}")
    print(f"the publisher: {cpu * 1000:.0f} ms of CPU per trial, including its start and the plots")


if __name__ == "__main__":
    main()
