"""Progress of a running study: drawn in place in a terminal, printed line by line in a log or a pipe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from studies.commands.views import duration
from studies.running.driver import Snapshot

LINE_SECONDS = 1.0  # at least, between two printed lines
REDRAWS_PER_SECOND = 8
BAR_WIDTH = 50


class Progress(Protocol):
    """Shows the progress of a study."""

    def update(self, snapshot: Snapshot) -> None:
        """Show new progress."""

    def notice(self, text: str) -> None:
        """Show a notice above the progress."""


@dataclass
class Pace:
    """How fast trials finish.

    Attributes:
        started: when this launch started, by the monotonic clock.
    """

    started: float = field(default_factory=time.monotonic)

    def text(self, snapshot: Snapshot) -> str:
        """Return trials per second and the remaining time."""
        finished = snapshot.done - snapshot.resumed
        seconds = time.monotonic() - self.started
        if finished < 1 or seconds <= 0:
            return "starting" if snapshot.done < snapshot.total else "done"
        remaining = (snapshot.total - snapshot.done) * seconds / finished
        return f"{finished / seconds:.2g} trials/s · {duration(remaining)} left"


def counts(snapshot: Snapshot) -> str:
    """Return how many trials are in which state, and the best value so far."""
    parts = [f"{snapshot.done}/{snapshot.total} trials", f"{snapshot.running} running"]
    parts += [f"{n} {word}" for n, word in ((snapshot.pruned, "pruned"), (snapshot.failed, "failed")) if n]
    if snapshot.best:
        number, value = snapshot.best
        parts.append(f"best {value:.4f} (trial {number})")
    return " · ".join(parts)


class PlainProgress:
    """Prints a line when trials have finished, at most one per second: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = Pace()
        self._printed = (-1, 0.0)

    def update(self, snapshot: Snapshot) -> None:
        """Print a line if a trial has finished since the last one."""
        done, printed_at = self._printed
        now = time.monotonic()
        is_due = now - printed_at >= LINE_SECONDS or snapshot.done == snapshot.total
        if snapshot.done > max(done, 0) and is_due:
            self._printed = (snapshot.done, now)
            self._console.print(f"{counts(snapshot)} · {self._pace.text(snapshot)}", highlight=False, soft_wrap=True)

    def notice(self, text: str) -> None:
        """Print a notice."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class LiveProgress:
    """Draws a bar and two lines that stay in place: for terminals."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = Pace()
        self._snapshot: Snapshot | None = None

    def update(self, snapshot: Snapshot) -> None:
        """Keep the snapshot for the next drawing."""
        self._snapshot = snapshot

    def notice(self, text: str) -> None:
        """Print a notice above the bar."""
        self._console.print(text, highlight=False, markup=False)

    def render(self) -> RenderableType:
        """Return the bar and the lines."""
        if self._snapshot is None:
            return Text("starting", style="dim")
        lines = Table.grid()
        lines.add_row(ProgressBar(total=self._snapshot.total, completed=self._snapshot.done, width=BAR_WIDTH))
        lines.add_row(Text(counts(self._snapshot)))
        lines.add_row(Text(self._pace.text(self._snapshot), style="dim"))
        return lines


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """Show progress while the context lasts: in place in a terminal, otherwise in lines."""
    if not console.is_terminal:
        yield PlainProgress(console)
        return
    shown = LiveProgress(console)
    # Live draws at its own pace: the driver must not wait for the terminal at every event.
    with Live(console=console, get_renderable=shown.render, refresh_per_second=REDRAWS_PER_SECOND, transient=True):
        yield shown
