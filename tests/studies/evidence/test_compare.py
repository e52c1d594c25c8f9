"""Trials next to each other: which fields differ, and which differences are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlp import ConfigError
from studies.commands.compare_view import compare_view, difference_lines
from studies.evidence.compare import compare_trials
from studies.evidence.confirmation import read_confirmation
from studies.evidence.winner import export_trial
from studies.records.results import StudyResults, load_study
from tests.studies.commands.test_views import render
from tests.studies.launch_data import Run, file_fixture, root_fixture, run_fixture  # noqa: F401 - fixtures
from tests.study_data import NAME, prepared_digits  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("digits")


@pytest.fixture(name="confirmed")
def confirmed_fixture(run: Run, file: Path, root: Path) -> StudyResults:
    """A small study whose winner is confirmed on three pairs."""
    file.write_text(file.read_text().replace("enabled = false", "top = 2\nseeds = 3"))
    assert run().status == "complete"
    return load_study(NAME, root)


def test_the_difference_is_that_of_the_confirmation(confirmed: StudyResults, root: Path) -> None:
    confirmation = read_confirmation(confirmed)
    assert confirmation is not None
    assert confirmation.verdict is not None
    leader = confirmation.verdict.leader
    (other,) = list(confirmation.verdict.comparisons)[:1]
    found = compare_trials([f"{NAME}/{leader}", f"{NAME}/{other}"], root)
    assert found.differences == (confirmation.verdict.comparisons[other],)
    (line,) = difference_lines(found)
    assert f"{NAME}/{leader} is better than {NAME}/{other} by " in line
    assert "on 3 fresh seeds and splits (95 % interval of this pair alone: " in line
    (back,) = difference_lines(compare_trials([f"{NAME}/{other}", f"{NAME}/{leader}"], root))
    assert back == line


def test_a_name_is_the_winner_and_an_export_is_its_trial(confirmed: StudyResults, root: Path, tmp_path: Path) -> None:
    winner = export_trial(confirmed, file=tmp_path / "winner.toml")
    other = next(trial.number for trial in confirmed.ranked() if f"trial = {trial.number}\n" not in winner.read_text())
    found = compare_trials([NAME, str(winner), f"{NAME}/{other}"], root)
    first, second, third = found.items
    assert first == second
    assert (third.trial.number, third.name) == (other, f"{NAME}/{other}")
    assert first.curve == first.trial.history["validation/accuracy"]
    winner.write_text(winner.read_text().replace('weight_digest = "', 'weight_digest = "0'))
    with pytest.raises(ConfigError, match=r"winner\.toml: is not an export of the study"):
        compare_trials([NAME, str(winner)], root)


def test_only_fields_that_differ_are_listed(confirmed: StudyResults, root: Path) -> None:
    found = compare_trials([f"{NAME}/0", f"{NAME}/1"], root)
    assert set(found.fields) <= {"network.activation", "optimizer.learning_rate"}
    for path, values in found.fields.items():
        assert values[1] == str(confirmed.trial(1).params[path])
    same = compare_trials([f"{NAME}/0", f"{NAME}/0"], root)
    assert same.fields == {}
    assert "The configurations are the same, apart from seeds." in render(compare_view(same), 120)


def test_without_a_common_confirmation_nothing_is_claimed(run: Run, root: Path) -> None:
    run()
    found = compare_trials([f"{NAME}/0", f"{NAME}/1"], root)
    assert found.differences == (None,)
    lines = difference_lines(found)
    assert lines[0] == f"{NAME}/0 and {NAME}/1 were not confirmed together, and single values may be chance."
    assert "--enqueue" in lines[1]
    text = render(compare_view(found), 120)
    for item in found.items:
        assert f"{item.curve[0]:.4f}" in text
        assert f"{item.n_parameters:,}" in text


def test_what_cannot_be_compared_is_refused(run: Run, root: Path, file: Path) -> None:
    run()
    run(name="loss", overrides=[], trials=2)
    with pytest.raises(ConfigError, match="give two trials or more"):
        compare_trials([NAME], root)
    with pytest.raises(ConfigError, match="has no trial 99"):
        compare_trials([NAME, f"{NAME}/99"], root)
    with pytest.raises(ConfigError, match='there is no study "nothing"'):
        compare_trials([NAME, "nothing"], root)
    file.write_text(file.read_text().replace("trials = 8", 'trials = 2\nmetric = "validation/loss"'))
    run(name="other")
    with pytest.raises(ConfigError, match="have different metrics, validation/accuracy and validation/loss"):
        compare_trials([NAME, "other"], root)
    with pytest.raises(ConfigError, match=r"is not an export of a study, so it has no result"):
        compare_trials([NAME, str(file)], root)
