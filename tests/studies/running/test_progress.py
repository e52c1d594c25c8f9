"""Progress of a running study, in a terminal and in a pipe."""

from __future__ import annotations

import io
import sys
import time
import types
from dataclasses import replace

import pytest
from rich.console import Console

from studies.running.live_trial import Snapshot
from studies.running.progress import Pace, counts, progress, watching

SNAPSHOT = Snapshot(
    total=50,
    asked=16,
    done=12,
    running=4,
    paused=0,
    pruned=3,
    failed=1,
    resumed=0,
    epochs=100,
    max_epochs=None,
    best=(7, 0.97123456),
)


def written(console: Console) -> str:
    """Return what a console has written to its text file."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_counts_of_zero_are_left_out() -> None:
    assert counts(SNAPSHOT) == "12/50 trials · 4 running · 3 pruned · 1 failed · best 0.9712 (trial 7)"
    assert counts(replace(SNAPSHOT, pruned=0, failed=0, best=None)) == "12/50 trials · 4 running"


def test_with_a_budget_the_epochs_are_counted() -> None:
    snapshot = replace(SNAPSHOT, total=None, paused=9, max_epochs=400, best=None)
    assert counts(snapshot) == "16 trials · 4 running · 9 paused · 3 pruned · 1 failed · 100/400 epochs"


def test_in_a_pipe_a_line_is_printed_when_trials_have_finished_at_most_once_per_second() -> None:
    console = Console(width=200, file=io.StringIO())
    with progress(console) as display:
        for done in range(51):
            snapshot = replace(SNAPSHOT, done=done, epochs=9 * done, running=4 if done < 50 else 0)
            display.update(snapshot)
            display.update(snapshot)
    lines = written(console).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("1/50 trials · 4 running · 3 pruned · 1 failed · best 0.9712 (trial 7) · ")
    assert lines[1].startswith("50/50 trials · ")


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_notice_is_printed_without_interpreting_markup(is_terminal: bool) -> None:
    console = Console(width=200, file=io.StringIO(), force_terminal=is_terminal, color_system=None, _environ={})
    with progress(console) as display:
        display.notice("[base] is outside [space].")
    assert "[base] is outside [space]." in written(console)


def test_the_remaining_time_is_estimated_from_the_trials_of_this_launch() -> None:
    resumed = replace(SNAPSHOT, done=30, resumed=30)
    pace = Pace(started=time.monotonic() - 100)
    assert pace.text(resumed) == "starting"
    assert pace.text(replace(resumed, epochs=resumed.epochs + 1)) == "starting"
    assert pace.text(replace(resumed, done=40)) == "about 1m 40s left"
    assert pace.text(replace(resumed, done=50, running=0)) == "done"


@pytest.mark.parametrize("width", [60, 200])
def test_in_a_terminal_the_progress_is_drawn_in_place_and_erased_at_the_end(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None, _environ={})
    with progress(console) as display:
        display.update(SNAPSHOT)
    text = written(console)
    assert "12/50 trials" in text
    assert "0.9712" in text
    n_lines = text.partition("12/50")[2].count("\n")
    assert text.endswith("\r" + "\x1b[1A\x1b[2K" * (n_lines + 1)), "the bar's line too"


def test_in_a_notebook_one_line_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notebooks bring IPython, of which two names are used."""
    shown: list[str] = []
    lines: list[list[str]] = []

    class Handle:
        def __init__(self) -> None:
            lines.append(shown)

        def update(self, text: str) -> None:
            lines[-1].append(text)

    def display(text: str, display_id: bool = False) -> Handle | None:
        shown.append(text)
        return Handle() if display_id else None

    module = types.ModuleType("IPython.display")
    module.Pretty, module.display = str, display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    console = Console(file=io.StringIO(), force_jupyter=True)
    with progress(console) as display_of_progress:
        display_of_progress.notice("Read this.")
        display_of_progress.update(SNAPSHOT)
        display_of_progress.update(SNAPSHOT)
        display_of_progress.update(replace(SNAPSHOT, done=50, running=0))
    assert shown[:2] == ["starting", "Read this."]
    assert shown[2].startswith("12/50 trials · 4 running")
    assert shown[3].startswith("50/50 trials · ")
    assert shown[3].endswith(" · done")
    assert len(shown) == 4


@pytest.mark.parametrize("is_shown", [False, True])
def test_progress_is_shown_if_it_is_asked_for_and_passed_on(is_shown: bool, capfd: pytest.CaptureFixture[str]) -> None:
    changes: list[Snapshot] = []
    for on_change in (changes.append, None):
        with watching(on_change, is_shown=is_shown) as watch:
            if watch is not None:
                watch(SNAPSHOT)
    assert changes == [SNAPSHOT]
    assert capfd.readouterr().out.count("12/50 trials") == (2 if is_shown else 0)
