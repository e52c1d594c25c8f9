"""Tables for the terminal: nothing is cut off; a narrow terminal may fold words."""

from __future__ import annotations

import io
import math
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from mlp.paths import flatten
from mlp.records import label
from mlp.training import EpochMetrics
from studies.commands.views import (
    epoch_line,
    list_view,
    plan_view,
    short_value,
    study_view,
    summary_view,
    training_view,
    trial_view,
)
from studies.models.export import Provenance
from studies.models.retrain import RetrainResult
from studies.records.durations import duration
from studies.records.home import Home
from studies.records.results import StudyResults, load_study
from studies.records.trial_record import Ending
from studies.search.spec import make_spec
from tests.record_data import study_record
from tests.tracking_data import (
    COMPLETE,
    CREATED,
    DIVERGED,
    FAILED,
    PRUNED,
    FakeStudy,
)

WIDTHS = pytest.mark.parametrize("width", [60, 200])
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
    """Return what a terminal of this width shows; assert that nothing is cut off."""
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(view)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text, "something is cut off"
    return text


def assert_shows(text: str, width: int, *parts: Any) -> None:
    """Assert that all parts are shown as words; in a narrow terminal only the numbers, because names may be folded."""
    words = re.split(r"[\s,;]+", text)
    wanted = [part for part in map(str, parts) if width > 100 or re.fullmatch(r"\d+(\.\d+)?", part)]
    assert wanted
    assert [part for part in wanted if part not in words] == []


def in_one_line(text: str) -> str:
    """Return a text on one line."""
    return " ".join(text.split())


@pytest.fixture(name="study")
def study_fixture(tmp_path: Path) -> FakeStudy:
    """Return a study with trials of every kind, one of which is still running."""
    study = FakeStudy(Home(tmp_path), trials=9)
    endings: list[Ending | None] = [COMPLETE, PRUNED, DIVERGED, FAILED, COMPLETE, COMPLETE, None]
    for number, ending in enumerate(endings):
        study.advance(number, 2 + number % 3, ending)
    return study


@pytest.fixture(name="results")
def results_fixture(study: FakeStudy, tmp_path: Path) -> StudyResults:
    """Return the results of that study."""
    return load_study(study.folder.name, tmp_path)


def test_trials_that_repeat_a_configuration_are_counted(results: StudyResults) -> None:
    assert "repeat" not in render(study_view(results, 10, 200), 200)
    trials = list(results.trials)
    trials[4] = replace(trials[4], config={**trials[4].config, "seed": 77})
    text = in_one_line(render(study_view(replace(results, trials=trials), 10, 200), 200))
    assert "1 of 7 trials repeat an earlier configuration, with a fresh seed on the same split." in text


def test_the_column_of_a_free_layer_is_named_after_the_layer(results: StudyResults) -> None:
    best = results.top(1)[0]
    layered = replace(best, params={"network.hidden.n_layers": 1, "network.hidden.1": 48})
    text = in_one_line(render(study_view(replace(results, trials=[layered]), 10, 200), 200))
    assert "time n_layers layer 1" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
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
def test_a_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@WIDTHS
def test_a_plan_shows_the_settings_the_data_the_base_and_the_space(width: int) -> None:
    text = render(plan_view(make_spec(TABLES).with_metric_for("classes"), study_record().data), width)
    assert_shows(text, width, 40, 3, 5, "validation/accuracy", "maximized", 1150, 288, "64-256-128-10", 20)
    assert_shows(text, width, 256, "relu", "adam", "0.001235", 512, 32, "leaky_relu(slope=0.1)", "0.3", "0.0001")
    assert "folds" not in text
    tables = TABLES | {"base": TABLES["base"] | {"data": {"name": "digits", "folds": 5, "repeats": 2}}}
    assert "in each of 10 folds" in in_one_line(
        render(plan_view(make_spec(tables).with_metric_for("classes"), study_record().data), width)
    )
    if width > 100:
        assert_shows(text, width, *TABLES["space"])
        assert re.search(r"optimizer.nesterov +False, True +optimizer is sgd\(momentum=0.9\)", text)


@WIDTHS
def test_a_summary_shows_the_best_trial_beside_the_default(results: StudyResults, width: int) -> None:
    best, default = results.ranked()[0], results.trials[0]
    assert best.number != default.number
    text = render(summary_view(results, None), width)
    assert_shows(text, width, results.metric, f"{best.value:.4f}", f"{default.value:.4f}")
    for trial in (best, default):
        assert_shows(text, width, *trial.params, *map(short_value, trial.params.values()))


@WIDTHS
def test_a_summary_without_a_complete_trial_counts_the_reasons(results: StudyResults, width: int) -> None:
    incomplete = replace(results, trials=results.trials[1:4])
    text = in_one_line(render(summary_view(incomplete, None), width))
    assert text == "No trial is complete: 1 pruned, 1 diverged, 1 MemoryError."


@WIDTHS
def test_a_study_is_shown_with_its_counts_and_its_best_trials(results: StudyResults, width: int) -> None:
    text = render(study_view(results, 2, width), width)
    assert "7 of 9 trials: 3 complete, 2 pruned, 1 failed, 1 interrupted" in in_one_line(text)
    first, second, third = results.ranked()
    for trial in (first, second):
        assert_shows(text, width, f"{trial.value:.4f}", trial.n_epochs, *map(short_value, trial.params.values()))
    assert f"{third.value:.4f}" not in text
    assert text.index(f"{first.value:.4f}") < text.index(f"{second.value:.4f}")


@WIDTHS
def test_a_study_without_trials_can_be_shown(tmp_path: Path, width: int) -> None:
    empty = FakeStudy(Home(tmp_path), name="empty")
    results = load_study(empty.folder.name, tmp_path)
    assert "0 of 4 trials: none yet" in in_one_line(render(study_view(results, 10, width), width))
    assert in_one_line(render(summary_view(results, None), width)) == "No trial is complete."
    assert re.search(r"^ *empty +0/4,", render(list_view([results]), width), re.M)


@WIDTHS
@pytest.mark.parametrize("number", range(7))
def test_a_trial_is_shown_with_its_end_its_configuration_and_its_epochs(
    results: StudyResults, number: int, width: int
) -> None:
    trial = results.trial(number)
    text = render(trial_view(results, trial), width)
    assert in_one_line(text).startswith(f"trial {number} of digits: {results.shown_state(trial.state)}")
    assert time.strftime("started %Y-%m-%d", time.localtime(CREATED)) in text
    config = flatten(trial.config)
    assert_shows(text, width, *config, *(short_value(label(leaf)) for leaf in config.values()), *trial.history)
    for epoch, *values in zip(range(1, trial.n_epochs + 1), *trial.history.values(), strict=True):
        assert re.search(rf"^ +{epoch} +" + " +".join(f"{value:.4f}" for value in values), text, re.M)
    ending = trial.ending or Ending("complete")
    assert ending.weight_digest in re.sub(r"\s", "", text)
    assert ending.error in text
    assert (f"({ending.reason})" in text) == (ending.reason not in ("", "pruner"))


@WIDTHS
def test_a_list_has_one_row_per_study(results: StudyResults, width: int) -> None:
    text = render(list_view([results]), width)
    best = results.ranked()[0]
    assert_shows(text, width, "digits", "6/9", f"{best.value:.4f}", f"{best.number})", results.metric)
    assert width < 100 or time.strftime("%Y-%m-%d", time.localtime(CREATED)) in text


def test_text_from_a_study_is_not_interpreted_as_markup(study: FakeStudy, tmp_path: Path) -> None:
    study.advance(7, 1, Ending("failed", "[red]Error", error="ValueError: [bold]unclosed [/nothing]"))
    results = load_study(study.folder.name, tmp_path)
    text = render(trial_view(results, results.trial(7)), 200)
    assert "failed ([red]Error)" in text
    assert "ValueError: [bold]unclosed [/nothing]" in text


def retrained(**changes: Any) -> RetrainResult:
    """Return the result of a training, with some fields replaced."""
    values: dict[str, Any] = {
        "config": make_spec(TABLES).base,
        "n_train": 1150,
        "n_folds": 1,
        "n_refit": 0,
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
def test_a_training_is_shown_with_its_scores_and_that_it_was_reproduced(width: int) -> None:
    text = render(training_view(retrained(test={"test/accuracy": 0.95}, saved=Path("a[b]")), PROVENANCE), width)
    assert "1150 examples, 1m 05s, weights of epoch 14 of 20 kept" in in_one_line(text)
    assert_shows(text, width, "train/loss", "0.0512", "0.9682", "test/accuracy", "0.9500", "a[b]")
    assert "ab" * 32 in re.sub(r"\s", "", text)
    assert "reproduced exactly: validation/accuracy 0.9681818 and the weights" in in_one_line(text)


@WIDTHS
def test_a_cross_validation_is_shown_with_its_folds_and_the_network_that_followed_it(width: int) -> None:
    text = in_one_line(render(training_view(retrained(n_folds=5, n_refit=1438), PROVENANCE), width))
    assert "1150 examples in each of 5 folds, 1m 05s, weights of epoch 14 of 20 kept" in text
    assert "one network on all 1438 examples, for 14 epochs" in text
    assert "one network" not in render(training_view(retrained(), PROVENANCE), width)


@WIDTHS
def test_a_training_is_shown_with_every_mismatch_and_every_warning(width: int) -> None:
    result = retrained(reproduced=False, differences=("a is 1, recorded is 2.",), warnings=("[b] is 3 here.",))
    text = in_one_line(render(training_view(result, PROVENANCE), width))
    assert "warning: [b] is 3 here." in text
    assert "mismatch: a is 1, recorded is 2." in text
    assert "reproduced" not in text
    assert "reproduced" not in render(training_view(retrained(reproduced=None), None), width)


def test_the_spread_over_folds_is_shown_beside_its_mean() -> None:
    values = {"train/loss": 0.25, "validation/loss": 0.5, "validation/loss_std": 0.125, "validation/roc_auc": math.nan}
    line = epoch_line(EpochMetrics(1, values), 9)
    assert line == "epoch 1/9  train/loss 0.2500  validation/loss 0.5000 ±0.1250  validation/roc_auc undefined"


def test_an_epoch_is_shown_on_one_line() -> None:
    line = epoch_line(EpochMetrics(7, {"train/loss": 0.25, "validation/accuracy": 1.0}), 100)
    assert line == "epoch   7/100  train/loss 0.2500  validation/accuracy 1.0000"
