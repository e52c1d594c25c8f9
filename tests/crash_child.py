"""Runs a study in a process that a test can kill: `python crash_child.py FILE HOME SEGMENTS ENGINE [KILLS]`.

Every submitted segment is written to the file SEGMENTS. With KILLS, it kills that number of its own workers at random
moments, and writes their process ids to SEGMENTS.kills.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from studies.launch import run_study
from studies.running.engines import AbstractEngine, LocalProcesses, open_engine
from studies.running.segments import Segment


class Recording(AbstractEngine):
    """An engine that records the segments that it receives."""

    def __init__(self, engine: AbstractEngine, file: Path) -> None:
        self.engine = engine
        self.n_workers = engine.n_workers
        self.file = file

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Record the segment, then submit it to the engine inside."""
        for segment in args:
            if isinstance(segment, Segment):
                with self.file.open("a") as file:
                    file.write(f"{segment.trial} {segment.start} {segment.epochs}\n")
        return self.engine.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the engine inside."""
        self.engine.shutdown(wait, cancel_futures=cancel_futures)


def kill_workers(engine: LocalProcesses, times: int, segments: Path) -> None:
    """Kill one worker after another at random moments, and let some segments be computed between two kills.

    Otherwise, on a busy machine, one segment could lose so many workers in a row that its trial fails.
    """
    n_before = 0
    while times > 0:
        time.sleep(random.uniform(0.0, 0.6))
        n_started = len(set(segments.read_text().splitlines())) if segments.exists() else 0
        process_ids = engine.process_ids()
        if process_ids and n_started >= n_before + 4:
            victim = random.choice(process_ids)
            os.kill(victim, signal.SIGKILL)
            with Path(f"{segments}.kills").open("a") as kills:
                kills.write(f"{victim}\n")
            n_before = n_started
            times -= 1


def main() -> None:
    """Run the study."""
    file, home, segments, engine_name, *kills = sys.argv[1:]
    engine = open_engine("in-process", 1) if engine_name == "in-process" else open_engine("processes", int(engine_name))
    if kills and isinstance(engine, LocalProcesses):
        arguments = (engine, int(kills[0]), Path(segments))
        threading.Thread(target=kill_workers, args=arguments, daemon=True).start()
    launch = run_study(file, home=Path(home), engine=Recording(engine, Path(segments)))
    print(launch.status)


if __name__ == "__main__":
    main()
