"""What publishing to MLflow costs a study: its wall time with publishing, drained, over the same without.

The study has many short trials, the worst case, and every epoch is published: the more of them in a second of work,
the more there is to do. `python benchmarks/tracking.py` takes about eight minutes. Wall times hang on what else the
machine does; the publisher's own seconds of CPU, and those between the end of the last trial and the exit, hang less.
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
    """What a launch took: seconds from start to exit, those of them after the last trial, and the publisher's CPU."""

    seconds: float
    tail: float
    publisher: float

    def __str__(self) -> str:
        return (
            f"{self.seconds:7.1f} s, of them {self.tail:.1f} after the last trial; publisher {self.publisher:.1f} s CPU"
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
        told = output.read()
    if launch.returncode or "pending" in told:
        raise RuntimeError(told)
    last = max(log.stat().st_mtime for log in home.rglob("trials/*.jsonl"))
    return Cost(ended - started, ended - last, publisher)


def publisher_cpu(parent: int) -> float:
    """Return the seconds of CPU that the publisher of a launch has taken so far, where `/proc` tells."""
    for child in Path(f"/proc/{parent}/task/{parent}").glob("children"):
        for process in child.read_text().split():
            try:
                folder = Path("/proc", process)
                if b"studies.tracking.publisher" in (folder / "cmdline").read_bytes():
                    times = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
                    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
            except OSError:  # it has just ended
                continue
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=20, help="of each trial")
    parser.add_argument("--width", type=int, default=380, help="20 epochs at 380, or 60 at 128, are about a second")
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
    print(f"the publisher: {cpu * 1000:.0f} ms of CPU a trial, its start and the plots among them")


if __name__ == "__main__":
    main()
