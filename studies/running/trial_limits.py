"""What a single trial may use: time and memory. A trial that needs more fails, and the others continue.

Both depend on the machine, so they are not part of a study's fingerprint. A failure is recorded like any other end of a
trial, and a resumed study repeats it from the record.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mlp.config import TrainConfig
from mlp.memory import DataSize, predict_memory
from studies.records.trial_record import Ending
from studies.search.constraints import bytes_text

HANG_SECONDS = 600.0  # a worker that needs longer for a segment hangs, if that is also
HANG_FACTOR = 100  # times what the segment should take
MAX_HANGS = 2  # a trial fails when this many workers have hung while they computed it
START_SECONDS = 60.0  # that a worker may need to start on a busy machine, in addition to the time of its trial
BASELINE = 200_000_000  # bytes; Python, NumPy and a matrix product use 160 MB of a worker's data segment
TOLERANCE = 1.5  # the measured memory of a training is at most this many times the prediction
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class TrialLimits:
    """What a single trial may use.

    Attributes:
        seconds: the most seconds of training, of all segments together; None without this limit.
        data: the size of the data, from which the memory of a training is predicted; None to predict nothing.
        machine_memory: the bytes of memory of the machine.
    """

    seconds: float | None = None
    data: DataSize | None = None
    machine_memory: int | None = None

    def allowed_seconds(self, spent: float, expected: float) -> float:
        """Return the seconds after which a segment is stopped, because its trial has no time left or its worker hangs.

        Args:
            spent: seconds of training in the trial's earlier segments.
            expected: seconds that the segment should take.
        """
        hang = max(HANG_SECONDS, HANG_FACTOR * expected)
        return hang if self.seconds is None else min(hang, max(0.0, self.seconds - spent) + START_SECONDS)

    def is_over(self, spent: float) -> bool:
        """Return whether a trial has used up its time."""
        return self.seconds is not None and spent >= self.seconds

    def timeout(self, spent: float) -> Ending:
        """Return how a trial ends that has used up its time."""
        problem = f"the training has taken more than trial_seconds = {self.seconds:g}"
        return Ending("failed", "timeout", error=f"{problem}: {spent:.1f} seconds.", seconds=spent)

    def excess(self, config: TrainConfig) -> str:
        """Return why a configuration cannot be trained on this machine for lack of memory; empty if it can."""
        if self.data is None or self.machine_memory is None:
            return ""
        needed = predict_memory(config, self.data)
        if needed <= self.machine_memory:
            return ""
        return (
            f"the training would need {bytes_text(needed)} of memory, and this machine has "
            f"{bytes_text(self.machine_memory)}. To leave such configurations out, set max_memory in [study]."
        )


NO_LIMITS = TrialLimits()


def machine_memory() -> int | None:
    """Return the bytes of memory that this process may use: those of the machine, or of its control group."""
    found = []
    try:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        found.append(int(CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # no such file, or "max"
        pass
    return min(found, default=None)


def worker_memory(max_memory: int | None, of_machine: int | None) -> int | None:
    """Return the bytes that a worker process may allocate; None without a limit.

    Args:
        max_memory: the most memory that a training may need by prediction; None without this limit.
        of_machine: what `machine_memory` returns.
    """
    limits = [] if max_memory is None else [round(TOLERANCE * max_memory) + BASELINE]
    return min([*limits, *([] if of_machine is None else [of_machine])], default=None)
