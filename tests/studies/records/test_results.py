"""The results of a study, read from its record and its logs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mlp import ConfigError, TrainConfig
from studies.records.home import Home
from studies.records.limits import Limits
from studies.records.results import StudyResults, load_studies, load_study, rank
from studies.records.trial_log import TrialLog
from studies.records.trial_record import Ending
from tests.record_data import study_record

CONFIG = TrainConfig.from_mapping({"data": {"name": "digits"}, "epochs": 3}).to_mapping()


SPACE = {"seed": {"low": 0, "high": 9}, "epochs": {"low": 1, "high": 9}}


def write_record(home: Path, name: str = "digits", **settings: Any) -> Path:
    folder = Home(home).study(name)
    folder.trials.mkdir(parents=True, exist_ok=True)
    folder.write_record(study_record(settings, limits=[{"trials": 6}], name=name, space=SPACE))
    return folder.root


def write_trial(
    folder: Path, number: int, values: list[float], ending: Ending | None = None, params: dict[str, Any] | None = None
) -> None:
    log = TrialLog(folder / "trials" / f"{number:04d}.jsonl", study_record(name=folder.name).identity)
    log.asked(0, number, params or {}, CONFIG)
    for epoch, value in enumerate(values, start=1):
        log.epoch(epoch, epoch, {"validation/accuracy": value, "validation/loss": 1 - value})
    if ending:
        log.ended(1000, ending)


def complete(value: float, epoch: int = 1) -> Ending:
    return Ending("complete", "", value, epoch, "ab" * 32, seconds=2.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of six trials: at least one in each state, and two complete ones with the same value."""
    folder = write_record(tmp_path)
    write_trial(folder, 0, [0.5, 0.8, 0.7], complete(0.8, 2), {"epochs": 3})
    write_trial(folder, 1, [0.4, 0.9], Ending("pruned", "pruner", 0.9, 2, seconds=1.0), {"epochs": 2, "seed": 7})
    write_trial(folder, 2, [0.9], complete(0.9), {"epochs": 1})
    write_trial(folder, 3, [0.9], complete(0.9), {"epochs": 1})
    write_trial(folder, 4, [], Ending("failed", "MemoryError", error="Traceback"))
    write_trial(folder, 5, [0.95])
    return folder


def read(folder: Path) -> StudyResults:
    return load_study(folder.name, folder.parent.parent)


def test_the_best_trial_is_complete_and_has_the_lowest_number_among_equals(folder: Path) -> None:
    results = read(folder)
    assert results.best is not None
    assert results.best.number == 2
    assert [trial.number for trial in results.ranked()] == [2, 3, 0]
    assert [trial.number for trial in results.top(2)] == [2, 3]
    assert [trial.number for trial in results.top(100)] == [2, 3, 0]


def test_the_lowest_value_is_best_if_the_metric_is_minimised(folder: Path) -> None:
    write_record(folder.parent.parent, metric="validation/loss")
    results = read(folder)
    assert results.direction == "minimize"
    assert [trial.number for trial in results.ranked()] == [0, 2, 3]


def test_a_study_without_a_complete_trial_has_no_best(tmp_path: Path) -> None:
    folder = write_record(tmp_path)
    write_trial(folder, 0, [0.9], Ending("pruned", "pruner", 0.9, 1))
    results = read(folder)
    assert results.best is None
    assert results.ranked() == []


def test_the_rank_orders_by_value_in_the_direction_of_the_metric_and_then_by_number() -> None:
    entries = [(0, 0.5), (3, 0.9), (2, 0.9), (1, 0.1)]
    for metric, numbers in (("validation/accuracy", [2, 3, 0, 1]), ("validation/loss", [1, 0, 2, 3])):
        assert [number for number, _ in sorted(entries, key=lambda entry: rank(metric, *entry))] == numbers


def test_the_best_so_far_ends_before_the_first_trial_that_has_not_ended(folder: Path) -> None:
    assert [(number, trial.number) for number, trial in read(folder).best_so_far()] == [
        (0, 0),
        (1, 0),
        (2, 2),
        (3, 2),
        (4, 2),
    ]
    (folder / "trials" / "0001.jsonl").unlink()
    assert [number for number, _ in read(folder).best_so_far()] == [0]


def test_a_study_is_printed_in_one_line(folder: Path) -> None:
    assert repr(read(folder)) == (
        "StudyResults('digits', validation/accuracy, best 0.9 (trial 2), "
        "6 of 6 trials: 3 complete, 1 pruned, 1 failed, 1 interrupted)"
    )


def test_a_study_without_a_complete_trial_is_printed_too(tmp_path: Path) -> None:
    expected = "StudyResults('digits', validation/accuracy, no trial is complete, 0 of 6 trials)"
    assert repr(read(write_record(tmp_path))) == expected


def test_a_notebook_shows_the_best_trials_as_a_table(folder: Path) -> None:
    table = read(folder)._repr_html_()
    assert "<caption>digits: validation/accuracy, maximized; 6 of 6 trials: 3 complete" in table
    assert "<tr><th>trial</th><th>value</th><th>epochs</th></tr>" in table
    assert "<tr><td>2</td><td>0.9</td><td>1</td></tr><tr><td>3</td>" in table
    assert table.count("<tr>") == 4


def test_the_table_of_a_notebook_escapes_what_it_shows(tmp_path: Path) -> None:
    folder = write_record(tmp_path)
    write_trial(folder, 0, [0.5], complete(0.5), {"network.activation": "<script>"})
    assert "<td>&lt;script&gt;</td>" in read(folder)._repr_html_()


def test_the_home_of_a_study_may_be_given_as_text(folder: Path) -> None:
    assert load_study("digits", str(folder.parent.parent)) == read(folder)


def test_counts_include_every_state(folder: Path) -> None:
    assert read(folder).counts() == {"complete": 3, "pruned": 1, "failed": 1, "running": 1, "paused": 0}


def test_a_study_is_complete_when_its_search_is_and_all_its_trials_have_ended(folder: Path) -> None:
    assert not read(folder).is_complete  # trial 5 is running
    write_trial(folder, 5, [0.95], complete(0.95))
    assert read(folder).is_complete
    Home(folder.parent.parent).study("digits").write_record(replace(read(folder).record, is_searched=False))
    assert not read(folder).is_complete


def test_what_was_spent_is_shown_in_the_units_of_the_limits(folder: Path) -> None:
    results = read(folder)
    assert results.spent == "6 of 6 trials"
    in_trainings = replace(results.record, limits=(Limits(epochs=30),))
    assert replace(results, record=in_trainings).spent == "6 trials, 2.67 of 10 trainings"


def test_a_trial_is_found_by_its_number(folder: Path) -> None:
    results = read(folder)
    assert results.trial(4).state == "failed"
    assert results.config(2) == TrainConfig.from_mapping(CONFIG)


def test_an_unknown_trial_is_refused_with_the_existing_numbers(folder: Path) -> None:
    write_trial(folder, 8, [])
    with pytest.raises(ConfigError, match=r'study "digits" has no trial 7\. It has: 0 to 5, 8\.'):
        read(folder).trial(7)


def test_trials_are_in_order_of_their_numbers_even_past_four_digits(tmp_path: Path) -> None:
    folder = write_record(tmp_path)
    for number in (10000, 9999, 2):
        write_trial(folder, number, [])
    assert [trial.number for trial in read(folder).trials] == [2, 9999, 10000]


def test_the_frame_has_one_row_per_trial(folder: Path) -> None:
    frame = read(folder).trials_frame()
    assert frame["number"].tolist() == [0, 1, 2, 3, 4, 5]
    assert frame["state"].tolist() == ["complete", "pruned", "complete", "complete", "failed", "interrupted"]
    assert frame["reason"].tolist() == ["", "pruner", "", "", "MemoryError", ""]
    assert frame["value"].dropna().tolist() == [0.8, 0.9, 0.9, 0.9]
    assert frame["epochs"].tolist() == [3, 2, 1, 1, 0, 1]
    assert frame.loc[0, "seconds"] == 2.5
    assert frame.loc[0, ["final/validation/accuracy", "best/validation/accuracy"]].tolist() == [0.7, 0.8]
    assert frame.loc[0, ["final/validation/loss", "best/validation/loss"]].tolist() == [1 - 0.7, 1 - 0.8]
    assert frame.loc[[4], "best/validation/loss"].isna().all()


def test_the_times_in_the_frame_are_in_utc(folder: Path) -> None:
    frame = read(folder).trials_frame()
    now = pd.Timestamp(datetime.now(UTC))
    assert ((now - frame["started"]).dt.total_seconds().between(0, 60)).all()
    assert frame["ended"].isna().tolist() == [False] * 5 + [True]


def test_parameters_are_in_the_order_of_the_space_and_integers_stay_integers(folder: Path) -> None:
    frame = read(folder).trials_frame()
    assert [name for name in frame if str(name).startswith("params.")] == ["params.seed", "params.epochs"]
    assert frame["params.seed"].dtype == "Int64"
    assert frame.loc[1, "params.seed"] == 7
    assert frame["params.seed"].isna().sum() == 5


def test_the_frame_of_a_study_without_trials_has_its_columns(tmp_path: Path) -> None:
    frame = read(write_record(tmp_path)).trials_frame()
    assert len(frame) == 0
    assert {"number", "started", "params.seed"} <= set(frame)


def test_a_log_without_a_complete_line_is_not_a_trial_yet(folder: Path) -> None:
    (folder / "trials" / "0006.jsonl").write_text('{"event": "asked", "ti')
    assert len(read(folder).trials) == 6


def test_a_damaged_log_is_refused_with_its_name(folder: Path) -> None:
    file = folder / "trials" / "0003.jsonl"
    file.write_text("{}\n")
    with pytest.raises(ConfigError) as refused:
        read(folder)
    assert str(refused.value) == (
        f"{file}: line 1 is not a line of a log. It belongs to trial 3. Cut the log there with "
        "`studies check digits --repair`; the next run computes the rest again."
    )


def test_an_unknown_study_is_refused_with_a_similar_name(folder: Path) -> None:
    with pytest.raises(ConfigError, match='Did you mean "digits"'):
        load_study("digit", folder.parent.parent)


def test_all_studies_of_a_home_are_listed_by_name(folder: Path) -> None:
    write_record(folder.parent.parent, "a")
    studies = load_studies(folder.parent.parent)
    assert [(study.name, len(study.trials), study.total) for study in studies] == [("a", 0, 6), ("digits", 6, 6)]


def test_a_home_without_studies_has_an_empty_list(tmp_path: Path) -> None:
    assert load_studies(tmp_path / "nowhere") == []


def test_a_trial_without_an_end_is_interrupted_unless_a_process_runs_the_study(folder: Path) -> None:
    with Home(folder.parent.parent).study(folder.name).lock():
        alive = read(folder)
    dead = read(folder)
    assert (alive.is_running, dead.is_running) == (True, False)
    for results, shown in ((alive, "running"), (dead, "interrupted")):
        assert results.shown_state("running") == results.trials_frame()["state"].tolist()[-1] == shown
        assert results.shown_state("complete") == "complete"


def test_a_damaged_study_does_not_hide_the_others(folder: Path) -> None:
    home = folder.parent.parent
    write_record(home, "a")
    (home / "studies" / "a" / "study.json").write_text("garbage")
    errors: list[ConfigError] = []
    assert [study.name for study in load_studies(home, on_error=errors.append)] == ["digits"]
    assert [str(error).partition(": ")[0] for error in errors] == [str(home / "studies" / "a" / "study.json")]
    with pytest.raises(ConfigError, match=r"a/study\.json: "):
        load_studies(home)
