"""Trials next to each other: which fields differ, and which differences are known."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlp import ConfigError
from studies.commands.compare_view import compare_view
from studies.evidence.compare import compare_trials, difference_sentences
from studies.evidence.confirmation import read_confirmation
from studies.evidence.fresh_trainings import fresh_seed
from studies.evidence.winner import export_trial
from studies.records.home import Home
from studies.records.results import StudyResults, load_study
from studies.records.trial_log import read_log
from studies.running.engines import InProcess
from tests.studies.commands.test_views import render
from tests.studies.launch_data import Run, file_fixture, root_fixture, run_fixture  # noqa: F401 - fixtures
from tests.study_data import NAME, prepared_digits  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("digits")


class Crashed(BaseException):
    """Ends a comparison at once, as a kill does."""


class Crashing(InProcess):
    """Computes a number of segments, and then ends the comparison."""

    def __init__(self, n_segments: int) -> None:
        self.left = n_segments

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Compute a segment, or end the comparison."""
        self.left -= 1
        if self.left < 0:
            raise Crashed
        return super().submit(fn, *args, **kwargs)


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
    (line,) = difference_sentences(found)
    assert f"{NAME}/{leader} is better than {NAME}/{other} by " in line
    assert "on 3 fresh seeds and splits (95 % interval of this pair alone: " in line
    (back,) = difference_sentences(compare_trials([f"{NAME}/{other}", f"{NAME}/{leader}"], root))
    assert back == line


def test_a_name_is_the_winner_and_an_export_is_its_trial(confirmed: StudyResults, root: Path, tmp_path: Path) -> None:
    winner = export_trial(confirmed, file=tmp_path / "winner.toml")
    other = next(trial.number for trial in confirmed.ranked() if f"trial = {trial.number}\n" not in winner.read_text())
    found = compare_trials([NAME, str(winner), f"{NAME}/{other}"], root)
    first, second, third = found.items
    assert first == second
    assert compare_trials([confirmed, winner, (confirmed, other)], root) == found
    assert (third.trial.number, third.name) == (other, f"{NAME}/{other}")
    assert first.curve == first.trial.history["validation/accuracy"]
    with pytest.raises(ConfigError, match=r"winner\.toml: an export is compared through its study, and there is no st"):
        compare_trials([winner, winner], tmp_path / "elsewhere")
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
    assert difference_sentences(same) == [f"{NAME}/0 is given twice."]


def test_without_a_common_confirmation_nothing_is_claimed(run: Run, root: Path) -> None:
    run()
    found = compare_trials([f"{NAME}/0", f"{NAME}/1"], root)
    assert found.differences == (None,)
    lines = difference_sentences(found)
    assert lines == [
        f"{NAME}/0 and {NAME}/1 were not trained on the same seeds and splits. Single values may differ by chance.",
        "To train them on the same fresh seeds and splits: --seeds 8, in Python seeds=8.",
    ]
    assert str(found) == "\n".join(lines)
    assert repr(found) == f"TrialComparison({NAME}/0, {NAME}/1)"
    page = found._repr_html_()
    assert f"<th>{NAME}/1</th>" in page
    assert f"<p>{lines[0]}</p>" in page
    assert all(f"<td>{path}</td>" in page for path in found.fields)
    text = render(compare_view(found), 120)
    for item in found.items:
        assert f"{item.curve[0]:.4f}" in text
        assert f"{item.n_parameters:,}" in text


def test_trials_of_different_studies_are_trained_on_the_same_fresh_pairs(run: Run, root: Path) -> None:
    run(trials=2)
    run(name="other", overrides=["epochs=2", "seed=5"], trials=2)
    names = [f"{NAME}/0", "other/0", f"{NAME}/1"]
    found = compare_trials(names, root, seeds=3, engine="in-process")
    assert found.is_complete
    first, other, _ = found.items
    assert set(first.fresh) == set(other.fresh) == {0, 1, 2}
    logs = [item.results.folder.compare.logs() for item in found.items if item.results.folder is not None]
    assert [[log.stem for log in of] for of in logs] == [
        ["0000", "0001", "0002", "0100", "0101", "0102"],
        ["0000", "0001", "0002"],
        ["0000", "0001", "0002", "0100", "0101", "0102"],
    ]
    for log in logs[1]:
        training = read_log(log, other.results.record.compare_identity)
        assert training is not None
        seed = fresh_seed(training.number)
        assert training.config == other.results.config(0).with_seed(seed).to_mapping()
        assert (training.number, training.value) in other.fresh.items()
    for item, difference in zip(found.items[1:], found.differences, strict=True):
        assert difference is not None
        pairs = [(first.fresh[pair] or 0.0) - (item.fresh[pair] or 0.0) for pair in range(3)]
        assert difference.mean == pytest.approx(sum(pairs) / 3)
    before = [log.read_bytes() for of in logs for log in of]
    assert compare_trials(names, root, seeds=3, engine=Crashing(0)) == found
    assert compare_trials(names, root) == found
    assert [log.read_bytes() for of in logs for log in of] == before


def test_a_comparison_that_was_killed_is_resumed_to_the_same_trainings(run: Run, root: Path) -> None:
    run(trials=2)
    names = [f"{NAME}/0", f"{NAME}/1"]
    with pytest.raises(Crashed):
        compare_trials(names, root, seeds=3, engine=Crashing(4))
    halted = compare_trials(names, root)
    assert sum(len(item.fresh) for item in halted.items) < 6
    found = compare_trials(names, root, seeds=3, engine="in-process")
    folder = Home(root).study(NAME).compare
    assert folder.checkpoints() == []
    for log in folder.logs():
        log.unlink()
    assert compare_trials(names, root, seeds=3, engine="in-process") == found


def test_progress_is_shown_if_it_is_asked_for(run: Run, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(trials=2)
    names = [f"{NAME}/0", f"{NAME}/1"]
    compare_trials(names, root, seeds=2, engine="in-process", progress=True)
    assert "4/4 trainings to compare" in capfd.readouterr().out
    compare_trials(names, root, seeds=3, engine="in-process")
    compare_trials(names, root, seeds=3, engine="in-process", progress=True)
    assert capfd.readouterr() == ("", "")


def test_confirmed_pairs_are_used_unless_more_are_asked_for(confirmed: StudyResults, root: Path) -> None:
    confirmation = read_confirmation(confirmed)
    assert confirmation is not None
    assert confirmation.verdict is not None
    names = [f"{NAME}/{confirmation.verdict.leader}", f"{NAME}/{next(iter(confirmation.verdict.comparisons))}"]
    assert compare_trials(names, root, seeds=3, engine=Crashing(0)) == compare_trials(names, root)
    (difference,) = compare_trials(names, root, seeds=4, engine="in-process").differences
    assert difference is not None
    assert difference.n == 4


def test_trainings_that_diverge_are_left_out_and_counted(run: Run, root: Path) -> None:
    run(trials=2)
    found = compare_trials([f"{NAME}/0", f"{NAME}/1"], root, seeds=3, engine="in-process")
    first, other = found.items
    lines = difference_sentences(replace(found, items=(replace(first, fresh={**first.fresh, 1: None}), other)))
    assert lines[-1] == f"{NAME}/0 diverged or failed in 1 of 3 trainings, which are left out."


def test_different_validation_parts_are_refused(run: Run, root: Path) -> None:
    run(trials=1)
    run(name="other", overrides=["data.validation=0.3"], trials=1)
    with pytest.raises(ConfigError, match=r"small/0 has data\.validation = 0\.2, and other/0 has 0\.3\. Their valid"):
        compare_trials([f"{NAME}/0", "other/0"], root)


@pytest.mark.parametrize("seeds", [1, 101])
def test_a_number_of_seeds_out_of_range_is_refused(root: Path, seeds: int) -> None:
    with pytest.raises(ConfigError, match=f"the number of seeds must be from 2 to 100, got {seeds}"):
        compare_trials(["a", "b"], root, seeds=seeds)


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
