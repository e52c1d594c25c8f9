"""What a person sees: every value is there, in a narrow terminal and in a wide one, and no line is cut."""

from __future__ import annotations

import io
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType
from tracking_data import COMPLETE, CREATED, DIVERGED, FAILED, PRUNED, FakeStudy

from mlp.training import EpochMetrics
from studies import display
from studies.display import (
    PlainProgress,
    duration,
    epoch_line,
    list_view,
    plan_view,
    progress,
    standing,
    study_view,
    summary_view,
    training_view,
    trial_view,
)
from studies.driver import Snapshot
from studies.export import Provenance
from studies.home import Home
from studies.results import StudyResults, load_study
from studies.retrain import RetrainResult
from studies.spec import make_spec
from studies.trial_log import Ending

WIDTHS = pytest.mark.parametrize("width", [60, 200])
STANDING = Snapshot(total=50, done=12, running=4, pruned=3, failed=1, resumed=0, best=(7, 0.97123456))
TABLES: dict[str, Any] = {
    "study": {"name": "plan", "trials": 40, "seed": 5, "parallelism": 3, "pruner": {"name": "median"}},
    "base": {
        "epochs": 20,
        "data": {"name": "digits"},
        "network": {"hidden": {"depth": 2, "width": 256, "taper": 0.5}},
        "optimizer": {"name": "adam", "learning_rate": 0.00123456},
    },
    "space": {
        "network.hidden.width": {"low": 32, "high": 512, "step": 32},
        "network.activation": ["relu", {"name": "leaky_relu", "slope": 0.1}],
        "optimizer": ["adam", {"name": "sgd", "momentum": 0.9}],
        "optimizer.learning_rate": {"low": 1e-4, "high": 0.3, "log": True},
        "optimizer.nesterov": {"choices": [False, True], "when": {"optimizer": "sgd"}},
    },
}


def render(view: RenderableType, width: int) -> str:
    """Return what a terminal of some width shows; no line may be wider than that."""
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(view)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text, "nothing is cut off"
    return text


def shows(text: str, *parts: Any) -> None:
    """Assert that all parts are there, each of them as a word of its own."""
    words = re.split(r"[\s,]+", text)
    assert [part for part in map(str, parts) if part not in words] == []


@pytest.fixture(name="study")
def study_fixture(tmp_path: Path) -> FakeStudy:
    """A study with trials of every kind, one of them still running."""
    study = FakeStudy(Home(tmp_path), trials=9)
    endings: list[Ending | None] = [COMPLETE, PRUNED, DIVERGED, FAILED, COMPLETE, COMPLETE, None]
    for number, ending in enumerate(endings):
        study.advance(number, 2 + number % 3, ending)
    return study


@pytest.fixture(name="results")
def results_fixture(study: FakeStudy, tmp_path: Path) -> StudyResults:
    """That study, read."""
    return load_study(study.folder.name, tmp_path)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0s"),
        (0.04, "0.0s"),
        (9.94, "9.9s"),
        (10, "10s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (125, "2m 05s"),
        (3599.4, "59m 59s"),
        (3599.6, "1h 00m"),
        (4320, "1h 12m"),
        (360_000, "100h 00m"),
    ],
)
def test_a_duration_is_said_as_a_person_would(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_standing_names_what_there_is_and_leaves_out_what_there_is_not() -> None:
    assert standing(STANDING) == "12/50 trials · 4 running · 3 pruned · 1 failed · best 0.9712 (trial 7)"
    assert standing(replace(STANDING, pruned=0, failed=0, best=None)) == "12/50 trials · 4 running"


@WIDTHS
def test_a_plan_shows_settings_data_base_and_space(width: int) -> None:
    spec = make_spec(TABLES)
    data = {"name": "digits", "n_train": 1150, "n_validation": 288, "n_features": 64, "n_classes": 10}
    text = render(plan_view(spec, {"data": data}), width)
    shows(text, "40", "3", "5", "validation/accuracy", "maximized", "1150", "288", "64-256-128-10", "20")
    shows(text, *TABLES["space"])
    shows(text, "256", "relu", "adam", "0.001235", "512", "32", "leaky_relu(slope=0.1)", "sgd(momentum=0.9)", "0.3")
    assert "when" in text
    assert "optimizer is sgd" in " ".join(text.split())


@WIDTHS
def test_a_summary_puts_the_best_beside_the_default(results: StudyResults, width: int) -> None:
    best, default = results.ranked()[0], results.trials[0]
    assert best.number != default.number
    text = render(summary_view(results), width)
    shows(text, results.metric, f"{best.value:.4f}", f"{default.value:.4f}", *best.params, *default.params)
    shows(text, *(display.shown(value) for trial in (best, default) for value in trial.params.values()))
    shows(render(summary_view(replace(results, trials=results.trials[1:4])), width), "No", "trial", "is", "complete.")


@WIDTHS
def test_a_study_shows_its_standing_and_its_best_trials(results: StudyResults, width: int) -> None:
    text = render(study_view(results, 2, width), width)
    assert "7 of 9 trials: 3 complete, 2 pruned, 1 failed, 1 running" in " ".join(text.split())
    first, second, third = results.ranked()
    for trial in (first, second):
        shows(text, f"{trial.value:.4f}", trial.n_epochs, *map(display.shown, trial.params.values()))
    assert f"{third.value:.4f}" not in text
    assert text.index(f"{first.value:.4f}") < text.index(f"{second.value:.4f}")


@WIDTHS
def test_a_study_without_a_trial_can_be_shown(tmp_path: Path, width: int) -> None:
    empty = FakeStudy(Home(tmp_path), name="empty")
    results = load_study(empty.folder.name, tmp_path)
    shows(render(study_view(results, 10, width), width), "0", "none", "yet;")
    shows(render(summary_view(results), width), "No", "trial", "is", "complete.")
    shows(render(list_view([results]), width), "empty", "0/4")


@WIDTHS
@pytest.mark.parametrize("number", range(7))
def test_a_trial_shows_how_it_ended_its_configuration_and_its_epochs(
    results: StudyResults, number: int, width: int
) -> None:
    trial = results.trial(number)
    text = render(trial_view(results, trial), width)
    shows(
        text, "trial", number, "adam" if number % 2 == 0 else "sgd", "softmax_cross_entropy", "early_stopping.patience"
    )
    shows(
        text, *map(display.shown, trial.params.values()), *trial.history, time.strftime("%Y", time.localtime(CREATED))
    )
    for values in trial.history.values():
        shows(text, *(f"{value:.4f}" for value in values))
    ending = trial.ending
    assert trial.state in text.splitlines()[0]
    if ending is not None:
        assert f"({ending.reason})" in text or not ending.reason
        assert ending.weight_digest in re.sub(r"\s", "", text)
        assert ending.error in text


@WIDTHS
def test_a_list_has_a_line_a_study(results: StudyResults, width: int) -> None:
    text = render(list_view([results]), width)
    best = results.ranked()[0]
    shows(text, "digits", "6/9", f"{best.value:.4f}", f"{best.number})", results.metric)
    shows(text, time.strftime("%Y-%m-%d", time.localtime(CREATED)))


def test_text_of_a_study_is_never_taken_for_markup(study: FakeStudy, tmp_path: Path) -> None:
    study.advance(7, 1, Ending("failed", "[red]Error", error="ValueError: [bold]unclosed [/nothing]"))
    results = load_study(study.folder.name, tmp_path)
    text = render(trial_view(results, results.trial(7)), 200)
    assert "failed ([red]Error)" in text
    assert "ValueError: [bold]unclosed [/nothing]" in text


def retrained(**changes: Any) -> RetrainResult:
    """Return what a training may come to."""
    values: dict[str, Any] = {
        "config": make_spec(TABLES).base,
        "n_train": 1150,
        "epochs": 20,
        "kept_epoch": 14,
        "scores": {"train/loss": 0.0512345, "validation/accuracy": 0.9681818},
        "test": None,
        "weight_digest": "ab" * 32,
        "seconds": 65.0,
        "reproduced": True,
        "differences": (),
        "warnings": (),
        "saved": None,
    }
    return RetrainResult(**values | changes)


PROVENANCE = Provenance(
    study="digits",
    trial=3,
    metric="validation/accuracy",
    value=0.9681818,
    kept_epoch=14,
    weight_digest="ab" * 32,
    data_digest="cd" * 32,
    cpu="Z80",
    blas="blas 1.0",
    scores={},
    versions={},
)


@WIDTHS
def test_a_training_shows_its_scores_and_that_it_came_out_as_recorded(width: int) -> None:
    text = render(training_view(retrained(test={"test/accuracy": 0.95}, saved=Path("model")), PROVENANCE), width)
    shows(text, "1150", "1m", "05s;", "14", "train/loss", "0.0512", "0.9682", "test/accuracy", "0.9500", "model")
    assert "ab" * 32 in re.sub(r"\s", "", text)
    assert "reproduced exactly: validation/accuracy 0.9681818" in " ".join(text.split())


@WIDTHS
def test_a_training_shows_every_difference_and_every_warning(width: int) -> None:
    result = retrained(reproduced=False, differences=("a is 1, recorded is 2.",), warnings=("[b] is 3 here.",))
    text = " ".join(render(training_view(result, PROVENANCE), width).split())
    assert "warning: [b] is 3 here." in text
    assert "different: a is 1, recorded is 2." in text
    assert "reproduced" not in text
    assert "reproduced" not in render(training_view(retrained(reproduced=None), None), width)


def test_an_epoch_is_a_line() -> None:
    line = epoch_line(EpochMetrics(7, {"train/loss": 0.25, "validation/accuracy": 1.0}), 100)
    assert line == "epoch   7/100  train/loss 0.2500  validation/accuracy 1.0000"


def test_in_a_pipe_a_line_is_printed_when_trials_have_ended_and_not_too_often() -> None:
    console = Console(width=200, file=io.StringIO())
    with progress(console) as shown:
        assert isinstance(shown, PlainProgress)
        shown.notice("[base] is no point of [space]")
        for snapshot in (replace(STANDING, done=0), *(replace(STANDING, done=done) for done in range(1, 51))):
            shown.update(snapshot)
            shown.update(snapshot)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [re.match(r"\d+/50", line) is not None for line in lines] == [False, True, True]
    assert lines[0] == "[base] is no point of [space]"
    assert lines[1].startswith("1/50 trials · 4 running · 3 pruned · 1 failed · best 0.9712 (trial 7) · ")
    assert lines[2].startswith("50/50 trials")


def test_the_time_that_is_left_is_reckoned_from_the_trials_of_this_launch() -> None:
    resumed = replace(STANDING, done=30, resumed=30)
    pace = display.Pace(started=time.monotonic() - 100)
    assert pace.words(resumed) == "starting"
    assert pace.words(replace(resumed, done=40)) == "0.1 trials/s · 1m 40s left"
    assert pace.words(replace(resumed, done=50, resumed=50)) == "done"


@WIDTHS
def test_in_a_terminal_the_progress_is_drawn_in_place(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None, _environ={})
    with progress(console) as shown:
        shown.notice("[base] is no point of [space]")
        shown.update(STANDING)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[base] is no point of [space]" in text
    assert "12/50 trials" in text
    assert text.index("starting") < text.index("12/50 trials")
    assert text.endswith(("\x1b[2K", "\x1b[?25h")), "nothing of it stays on the screen"
