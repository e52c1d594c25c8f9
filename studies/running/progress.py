"""Progress of a running study: drawn in place in a terminal or a notebook, printed line by line in a log or a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from studies.records.durations import duration
from studies.running.live_trial import Snapshot

LINE_SECONDS = 1.0  # at least, between two printed lines
REDRAWS_PER_SECOND = 8
BAR_WIDTH = 50
MIN_SECONDS, MIN_SHARE = 3.0, 0.02  # of a search, before the time that is left can be estimated


class Progress(Protocol):
    """Shows the progress of a study."""

    def update(self, snapshot: Snapshot) -> None:
        """Show new progress."""

    def notice(self, text: str) -> None:
        """Show a notice above the progress."""


@dataclass
class Pace:
    """How fast a search proceeds.

    Attributes:
        started: when this launch started, by the monotonic clock.
        share: how much of its limits the search had spent at that time; None before the first snapshot.
        stage: the stage of the study that is measured.
    """

    started: float = field(default_factory=time.monotonic)
    share: float | None = None
    stage: str = "search"

    def text(self, snapshot: Snapshot) -> str:
        """Return an estimate of the time that is left until the limits of the search are reached."""
        share, seconds = done_share(snapshot), time.monotonic() - self.started
        if self.stage != snapshot.stage:
            self.started, self.share, self.stage = time.monotonic(), None, snapshot.stage
            seconds = 0.0
        if self.share is None:
            self.share = share  # what an earlier launch has done
        if share >= 1:
            return "done"
        if share - self.share < MIN_SHARE or seconds < MIN_SECONDS:
            return "starting"
        return f"about {duration((1 - share) * seconds / (share - self.share))} left"


def done_share(snapshot: Snapshot) -> float:
    """Return how much of its limits a search has spent, from 0 to 1."""
    shares = [snapshot.done / snapshot.total] if snapshot.total else []
    shares += [snapshot.epochs / snapshot.max_epochs] if snapshot.max_epochs else []
    is_idle = snapshot.asked > 0 and not snapshot.running and not snapshot.paused
    return 1.0 if is_idle else min(1.0, max(shares, default=0.0))


def counts(snapshot: Snapshot) -> str:
    """Return how many trials are in which state, and the best value so far."""
    total = f"/{snapshot.total}" if snapshot.total else ""
    what = "trials" if snapshot.stage == "search" else f"trainings to {snapshot.stage}"
    parts = [f"{snapshot.done if total else snapshot.asked}{total} {what}", f"{snapshot.running} running"]
    states = ((snapshot.paused, "paused"), (snapshot.pruned, "pruned"), (snapshot.failed, "failed"))
    parts += [f"{n} {word}" for n, word in states if n]
    if snapshot.max_epochs:
        parts.append(f"{snapshot.epochs}/{snapshot.max_epochs} epochs")
    if snapshot.best:
        number, value = snapshot.best
        parts.append(f"best {value:.4f} (trial {number})")
    return " · ".join(parts)


class PlainProgress:
    """Prints a line when epochs were trained, at most one per second: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = Pace()
        self._printed = ((0, 0), 0.0)

    def update(self, snapshot: Snapshot) -> None:
        """Print a line if the search has proceeded since the last one."""
        printed, printed_at = self._printed
        now, text = time.monotonic(), self._pace.text(snapshot)
        is_due = now - printed_at >= LINE_SECONDS or text == "done"
        if snapshot.epochs and (snapshot.epochs, snapshot.done) != printed and is_due:
            self._printed = ((snapshot.epochs, snapshot.done), now)
            self._console.print(f"{counts(snapshot)} · {text}", highlight=False, soft_wrap=True)

    def notice(self, text: str) -> None:
        """Print a notice."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class NotebookProgress:
    """Writes one line below the cell of a notebook, which stays in place; it needs no widgets."""

    def __init__(self) -> None:
        from IPython.display import Pretty, display  # type: ignore[import-not-found] # only notebooks have it

        self._text = Pretty
        self._display = display
        self._handle = display(Pretty("starting"), display_id=True)
        self._pace = Pace()
        self._drawn_at = 0.0

    def update(self, snapshot: Snapshot) -> None:
        """Replace the line, at most once per `LINE_SECONDS`."""
        now, text = time.monotonic(), self._pace.text(snapshot)
        if now - self._drawn_at >= LINE_SECONDS or text == "done":
            self._drawn_at = now
            self._handle.update(self._text(f"{counts(snapshot)} · {text}"))

    def notice(self, text: str) -> None:
        """Write a notice of its own."""
        self._display(self._text(text))


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
        lines.add_row(ProgressBar(total=1.0, completed=done_share(self._snapshot), width=BAR_WIDTH))
        lines.add_row(Text(counts(self._snapshot)))
        lines.add_row(Text(self._pace.text(self._snapshot), style="dim"))
        return lines


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """Show progress while the context lasts: in place in a terminal or a notebook, otherwise in lines."""
    if console.is_jupyter:
        yield NotebookProgress()
        return
    if not console.is_terminal:
        yield PlainProgress(console)
        return
    shown = LiveProgress(console)
    # Live draws at its own pace: the driver must not wait for the terminal at every event.
    with Live(console=console, get_renderable=shown.render, refresh_per_second=REDRAWS_PER_SECOND, transient=True):
        yield shown


@contextmanager
def watching(
    on_change: Callable[[Snapshot], None] | None, *, is_shown: bool
) -> Iterator[Callable[[Snapshot], None] | None]:
    """Return what to call with each snapshot while the context lasts: `on_change`, and a display if it is asked for."""
    if not is_shown:
        yield on_change
        return
    with progress(Console()) as shown:

        def watch(snapshot: Snapshot) -> None:
            shown.update(snapshot)
            if on_change is not None:
                on_change(snapshot)

        yield watch
