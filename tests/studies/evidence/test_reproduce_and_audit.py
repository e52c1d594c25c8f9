"""A trial is trained again to the same bits, and pruned trials are trained to their end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mlp.errors import ConfigError
from studies.evidence.audit import Audit, audit
from studies.evidence.reproduce import reproduce
from studies.launch import run_study
from studies.records.home import Home
from studies.records.results import StudyResults, load_study
from tests.studies.launch_data import STUDY
from tests.study_data import NAME, empty_database, prepared_digits  # noqa: F401 - a fixture


@pytest.fixture(name="results", scope="module")
def results_fixture(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """A complete study with complete, pruned and diverged trials."""
    assert digits.exists()
    folder = tmp_path_factory.mktemp("study")
    Home(folder / "home").create()
    (folder / "home" / "optuna.db").write_bytes(empty_database())
    text = STUDY.replace("high = 0.1", "high = 1e30").replace("trials = 8", "trials = 16")
    text = text.replace('{ name = "median", startup_trials = 2 }', '{ name = "asha", factor = 2 }')
    (folder / "small.toml").write_text(text.replace('name = "adam"', 'name = "sgd"'))
    run_study(folder / "small.toml", home=folder / "home", engine="in-process", publish=False)
    return load_study(NAME, folder / "home")


def numbers(results: StudyResults, reason: str) -> list[int]:
    return [trial.number for trial in results.trials if trial.ending is not None and trial.ending.reason == reason]


@pytest.mark.parametrize("reason", ["", "not_promoted", "diverged"])
def test_every_kind_of_trial_is_reproduced_exactly(results: StudyResults, reason: str) -> None:
    for number in numbers(results, reason)[:2]:
        found = reproduce(results, number)
        assert (found.is_exact, found.differences, found.explanations) == (True, (), ())
        assert found.n_epochs == results.trial(number).n_epochs
        assert (found.weight_digest != "") == (reason == "")
    assert numbers(results, reason) != []


def changed(results: StudyResults, number: int) -> StudyResults:
    """Return the study with another value in the record of a trial."""
    trial = results.trial(number)
    assert trial.ending is not None
    history = {key: [values[0] + 1e-12, *values[1:]] for key, values in trial.history.items()}
    other = replace(trial, history=history, ending=replace(trial.ending, weight_digest="ab"), machines=[{"cpu": "Z80"}])
    return replace(results, trials=tuple(other if of.number == number else of for of in results.trials))


def test_what_differs_is_named_and_so_is_what_may_explain_it(results: StudyResults) -> None:
    found = reproduce(changed(results, 0), 0)
    assert not found.is_exact
    assert any("train/loss of epoch 1 is " in difference for difference in found.differences)
    assert found.differences[-1].startswith("The digest of the weights is ")
    assert any("recorded as Z80" in explanation for explanation in found.explanations)


def test_a_training_that_diverges_where_it_did_not_is_a_difference(results: StudyResults) -> None:
    number = numbers(results, "diverged")[0]
    trial = results.trial(number)
    assert trial.ending is not None
    other = replace(trial, ending=replace(trial.ending, reason="pruner"), history={}, epoch_times=[0.0] * 3)
    trials = tuple(other if of.number == number else of for of in results.trials)
    found = reproduce(replace(results, trials=trials), number)
    assert any("diverged" in difference for difference in found.differences)


def test_a_trial_without_an_epoch_cannot_be_reproduced(results: StudyResults) -> None:
    trial = replace(results.trial(0), history={}, epoch_times=[])
    with pytest.raises(ConfigError, match=r"trial 0 of study .* has no epoch that could be compared"):
        reproduce(replace(results, trials=(trial,)), 0)


def audited(results: StudyResults, n: int) -> Audit:
    return audit(results, trials=n, engine="in-process", progress=True)


def test_pruned_trials_are_trained_to_the_end_of_the_same_training(
    results: StudyResults, capfd: pytest.CaptureFixture[str]
) -> None:
    found = audited(results, 100)
    assert f"{len(found.values)}/{len(found.values)} trainings to audit" in capfd.readouterr().out
    pruned = numbers(results, "not_promoted") + numbers(results, "pruner")
    assert sorted(found.values) == sorted(pruned)
    assert (found.n_pruned, found.is_complete) == (len(pruned), True)
    assert results.folder is not None
    best = results.best
    assert best is not None
    assert found.best == (best.number, best.value)
    ends = {number: value for number, value in found.values.items() if value is not None}
    assert set(found.better) == {number for number, value in ends.items() if value > (best.value or 0.0)}
    saved = sum(3 - results.trial(number).n_epochs for number in pruned)
    assert found.saved_epochs == saved > 0
    before = {file.name: file.read_bytes() for file in results.folder.audit.logs()}
    assert audited(results, 100) == found
    assert {file.name: file.read_bytes() for file in results.folder.audit.logs()} == before


def test_a_sample_has_the_best_of_each_rung_and_its_share_an_interval(results: StudyResults) -> None:
    found = audited(results, 3)
    assert len(found.values) == 3
    rungs = {results.trial(number).n_epochs for number in numbers(results, "not_promoted")}
    assert {results.trial(number).n_epochs for number in found.values} >= rungs
    share, low, high = found.share_better()
    assert 0 <= low <= share <= high <= 1
    assert low < high


def test_the_interval_of_a_share_is_wilsons() -> None:
    found = Audit(100, dict.fromkeys(range(20), 0.5), (99, 0.4), (3,), 0, 0.0, True)
    assert found.share_better() == pytest.approx((0.05, 0.00888, 0.2361), abs=1e-4)
    assert found.regret == pytest.approx(0.1)


def test_a_study_that_is_not_complete_or_has_pruned_nothing_is_refused(results: StudyResults) -> None:
    with pytest.raises(ConfigError, match="is not complete, so its pruning cannot be audited yet"):
        audited(replace(results, record=replace(results.record, is_searched=False)), 3)
    complete = tuple(trial for trial in results.trials if trial.number == 0)
    with pytest.raises(ConfigError, match="has pruned no trial, so there is nothing to audit"):
        audited(replace(results, trials=complete), 3)
