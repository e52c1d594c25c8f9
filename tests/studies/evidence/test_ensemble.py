"""The confirmed networks of the winner as one model: stored, exported, and trained again to the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlp import ConfigError, Ensemble, load_model
from studies.data.prepare import open_dataset
from studies.evidence.confirmation import MAX_PAIRS, Confirmation, read_confirmation, read_training
from studies.evidence.ensemble import export_ensemble
from studies.evidence.winner import export_trial
from studies.models.ensemble import train_ensemble
from studies.records.home import Home
from studies.records.results import StudyResults, load_study
from tests.studies.launch_data import Run, file_fixture, root_fixture, run_fixture  # noqa: F401 - fixtures
from tests.study_data import NAME, prepared_digits  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("digits")

N_PAIRS = 3


@pytest.fixture(name="confirmed", params=["one split", pytest.param("folds", marks=pytest.mark.slow)])
def confirmed_fixture(run: Run, file: Path, root: Path, request: pytest.FixtureRequest) -> StudyResults:
    """A confirmed study, without and with folds."""
    text = (
        file.read_text().replace("enabled = false", f"top = 1\nseeds = {N_PAIRS}").replace("trials = 8", "trials = 4")
    )
    if request.param == "folds":
        text = text.replace('{ name = "digits" }', '{ name = "digits", folds = 2 }')
    file.write_text(text)
    assert run().status == "complete"
    return load_study(NAME, root)


def confirmation_of(results: StudyResults) -> Confirmation:
    confirmation = read_confirmation(results)
    assert confirmation is not None
    assert confirmation.verdict is not None
    return confirmation


def weights_in(root: Path) -> list[int]:
    return [number for number, _ in Home(root).study(NAME).confirm.stored_weights()]


def test_the_weights_of_the_winner_are_stored_and_those_of_others_are_not(confirmed: StudyResults, root: Path) -> None:
    verdict = confirmation_of(confirmed).verdict
    assert verdict is not None
    assert weights_in(root) == [verdict.winner * MAX_PAIRS + pair for pair in range(N_PAIRS)]


def test_the_ensemble_is_the_mean_of_the_confirmed_networks(confirmed: StudyResults, tmp_path: Path) -> None:
    notices: list[str] = []
    model = load_model(export_ensemble(confirmed, file=tmp_path / "model", on_notice=notices.append))
    assert notices == []
    assert isinstance(model, Ensemble)
    verdict = confirmation_of(confirmed).verdict
    assert verdict is not None
    dataset, config = open_dataset("digits"), confirmed.config(verdict.winner)
    assert len(model.members) == N_PAIRS * len(config.data.by_fold())
    training = read_training(confirmed, verdict.winner, 0)
    assert training is not None
    assert training.ending is not None
    split = dataset.splits(config.data, int(training.config["seed"]))[0]
    own = model.members[0]
    assert own.manifest.config.seed == training.config["seed"]
    assert own.manifest.encoding == split.train.encoding
    if config.data.folds == 0:
        assert split.validation is not None
        rows = split.validation.rows
        accuracy = np.mean(own.predict(dataset.inputs[rows]) == dataset.targets[rows])
        assert accuracy == training.value
    mean = np.mean([member.predict_proba(dataset.test_inputs) for member in model.members], axis=0)
    assert model.predict_proba(dataset.test_inputs) == pytest.approx(mean, rel=1e-4)


def test_networks_without_stored_weights_are_trained_again(confirmed: StudyResults, root: Path, tmp_path: Path) -> None:
    before = load_model(export_ensemble(confirmed, file=tmp_path / "before"))
    (_, first), (_, second), _ = Home(root).study(NAME).confirm.stored_weights()
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1] + b"!")
    notices: list[str] = []
    after = load_model(export_ensemble(confirmed, file=tmp_path / "after", on_notice=notices.append))
    assert notices == [f"The weights of pair {pair} are not stored, so it is trained again." for pair in (0, 1)]
    inputs = open_dataset("digits").test_inputs
    assert after.predict_proba(inputs).tobytes() == before.predict_proba(inputs).tobytes()


def test_any_candidate_can_be_exported_but_no_other_trial(confirmed: StudyResults, tmp_path: Path) -> None:
    candidates = [candidate.trial for candidate in confirmation_of(confirmed).candidates]
    for trial in candidates:
        model = load_model(export_ensemble(confirmed, trial, tmp_path / f"{trial}.json"))
        assert isinstance(model, Ensemble)
        learning_rate = model.manifest.config.optimizer.learning_rate
        assert learning_rate == confirmed.config(trial).optimizer.learning_rate
    other = next(trial.number for trial in confirmed.trials if trial.number not in candidates)
    with pytest.raises(ConfigError, match=f"trial {other} was not confirmed. The candidates were 0, "):
        export_ensemble(confirmed, other, tmp_path / "other")


def test_without_a_confirmation_there_is_no_ensemble(run: Run, root: Path, tmp_path: Path) -> None:
    run(trials=2)
    with pytest.raises(ConfigError, match="is not confirmed, so there are no networks to average"):
        export_ensemble(load_study(NAME, root), file=tmp_path / "model")


def test_an_export_trains_the_confirmed_networks_again(confirmed: StudyResults, tmp_path: Path) -> None:
    exported = export_trial(confirmed, file=tmp_path / "best.toml")
    result = train_ensemble(exported, N_PAIRS + 1, test=True, save=tmp_path / "model.json")
    assert (result.n_reproduced, result.differences, result.warnings) == (N_PAIRS, (), ())
    assert result.test is not None
    restored = load_model(tmp_path / "model.json")
    dataset = open_dataset("digits")
    assert np.mean(restored.predict(dataset.test_inputs) == dataset.test_targets) == result.test["test/accuracy"]
    assert restored.metrics["test/accuracy"] == result.test["test/accuracy"]
    exported.write_text(exported.read_text().replace("confirmed]\n", 'confirmed]\n7 = "ab"\n'))
    changed = train_ensemble(exported, 2)
    assert [difference[:39] for difference in changed.differences] == ["The digest of the weights of seed 7 is "]
