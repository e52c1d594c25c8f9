"""The driver's own cost: the processor time of a study of many trials of one epoch, apart from sampler and training.

    python benchmarks/driver.py [--trials 2000]

The study has the sampler `random`, nothing is published and nothing is confirmed. Each training is one epoch of a tiny
network in a worker process. The driver's time per trial is the processor time of its process, from ask to end: choosing
the trial, deciding, both writes to Optuna's database and the log. It is averaged over the 200 trials around trial
1,000. Time in Optuna's sampler is measured and subtracted. Then `studies list`, `show` and `export` are run on the
study as commands. The exit status is 1 if a bound does not hold: 25 ms per trial, and two seconds for each command.

Processor time is hardly disturbed by other processes; wall time is shown too. It takes about two minutes.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from optuna.samplers import RandomSampler

from studies import run_study
from studies.running.live_trial import Snapshot

NAME = "driver"
STUDY = """
[study]
name    = "driver"
trials  = {trials}
sampler = "random"

[base]
epochs     = 1
batch_size = 128
data       = {{ name = "wine" }}
network    = {{ hidden = {{ depth = 1, width = 8 }} }}

[space]
"network.hidden.width"    = {{ low = 4, high = 32 }}
"network.activation"      = ["relu", "tanh"]
"optimizer.learning_rate" = {{ low = 1e-4, high = 1e-1, log = true }}
"optimizer.weight_decay"  = {{ low = 1e-5, high = 1e-1, log = true }}

[confirm]
enabled = false
"""
MAX_DRIVER_SECONDS = 0.025  # per trial
MAX_COMMAND_SECONDS = 2.0
WINDOW = 200  # trials over which a time is averaged
COMMANDS = ("list", f"show {NAME}", f"export {NAME} -o best.toml")


@dataclass
class Clock:
    """The processor time of this process, noted each time a trial has ended.

    Attributes:
        sampler: seconds in Optuna's sampler so far.
        marks: by the number of trials that have ended, the seconds of this process outside of the sampler.
    """

    sampler: float = 0.0
    marks: dict[int, float] = field(default_factory=dict)

    def note(self, snapshot: Snapshot) -> None:
        """Note the time of an event of the study."""
        self.marks[snapshot.done] = time.process_time() - self.sampler

    def watch_sampler(self) -> None:
        """Measure what Optuna's random sampler takes."""
        sample = RandomSampler.sample_independent

        def timed(*arguments: object) -> object:
            start = time.process_time()
            value = sample(*arguments)
            self.sampler += time.process_time() - start
            return value

        RandomSampler.sample_independent = timed

    def per_trial(self, number: int) -> float:
        """Return the seconds per trial around a trial."""
        low, high = max(min(self.marks), number - WINDOW // 2), min(max(self.marks), number + WINDOW // 2)
        return (self.marks[high] - self.marks[low]) / (high - low)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--trials", type=int, default=2000, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (file := folder / "driver.toml").write_text(STUDY.format(trials=options.trials), encoding="utf-8")
        clock, start = Clock(), time.perf_counter()
        clock.watch_sampler()
        launch = run_study(file, home=folder / "runs", publish=False, on_change=clock.note)
        print(f"{options.trials:,} trials: {launch.status}, {time.perf_counter() - start:.0f} s of wall time")
        holds = launch.status == "complete"
        for number in sorted({WINDOW // 2, options.trials // 2, options.trials - WINDOW // 2}):
            seconds = clock.per_trial(number)
            holds &= seconds < MAX_DRIVER_SECONDS
            print(f"driver, around trial {number:,}: {1e3 * seconds:.1f} ms of processor time per trial")
        for command in COMMANDS:
            wall, processor = answer(command, folder)
            holds &= processor < MAX_COMMAND_SECONDS
            print(f"studies {command}: {processor:.2f} s of processor time, {wall:.2f} s of wall time")
    print("holds" if holds else "FAILS: at most 25 ms per trial, and two seconds of processor time per command")
    return 0 if holds else 1


def answer(command: str, folder: Path) -> tuple[float, float]:
    """Run a command of `studies`; return its wall time and its processor time, in seconds."""
    executable = Path(sys.executable).with_name("studies")
    before, start = _children_seconds(), time.perf_counter()
    arguments = [str(executable), *command.split(), "--home", "runs"]
    subprocess.run(arguments, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start, _children_seconds() - before


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
