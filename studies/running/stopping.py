"""Requests to stop a run: a signal, or the end of its time; also while it waits for a locked database."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from studies.errors import WaitInterruptedError

NOTICE_SECONDS = 3.0  # how long to wait for a locked database in silence
LOCKED_SECONDS = 600.0  # how long to wait for it at all


class StopRequest:
    """Whether a run should stop, because of a signal or because its time is over.

    Args:
        deadline: the time at which it should stop, by the monotonic clock; None if only a signal stops it.

    Attributes:
        signal: the number of the signal that arrived, or 0.
        deadline: as given.
    """

    def __init__(self, deadline: float | None) -> None:
        self.signal = 0
        self.deadline = deadline

    def is_due(self) -> bool:
        """Return whether it is time to stop."""
        return bool(self.signal) or (self.deadline is not None and time.monotonic() >= self.deadline)

    def within(self, deadline: float | None) -> SearchStop:
        """Return the same request for a part of the run, which has a deadline of its own."""
        return SearchStop(self, deadline)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.signal:
            os._exit(128 + number)  # the second signal: workers and publisher notice that the driver is gone, and exit
        self.signal = number

    @classmethod
    @contextmanager
    def on_signals(cls, deadline: float | None) -> Iterator[StopRequest]:
        """Turn Ctrl-C and SIGTERM into a request to stop, as long as the context lasts."""
        stop = cls(deadline)
        before = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, stop._on_signal)
        except ValueError:
            pass  # Python allows this in the main thread only; in another thread the caller handles signals
        try:
            yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@dataclass
class SearchStop:
    """Whether a search should stop: because the run should, or because the time of the search is over.

    Attributes:
        run: the request to stop the run.
        deadline: the time at which the search ends, by the monotonic clock; None without such a limit.
    """

    run: StopRequest
    deadline: float | None

    def is_due(self) -> bool:
        """Return whether it is time to stop."""
        return self.run.is_due() or (self.deadline is not None and time.monotonic() >= self.deadline)


def wait_for_database(database: Path, stop: StopRequest, notify: Callable[[str], None]) -> Callable[[float], None]:
    """Return what to do while another process keeps a database locked: say so once, and wait until a stop is due.

    Args:
        database: the file of the database.
        stop: ends the wait with a `WaitInterruptedError`.
        notify: called with the sentence.
    """
    waits: list[float] = []

    def on_locked(seconds: float) -> None:
        if seconds > NOTICE_SECONDS and (not waits or seconds < waits[-1]):
            notify(f"Another process has locked {database}. Waiting for it; Ctrl-C stops this run, nothing is lost.")
            waits.append(seconds)
        if stop.is_due():
            raise WaitInterruptedError(f"{database} is locked.")
        if seconds > LOCKED_SECONDS:
            raise sqlite3.OperationalError("database is locked")

    return on_locked
