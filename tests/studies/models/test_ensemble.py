"""Training an ensemble of several seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlp import ConfigError, Ensemble, TrainConfig, load_model
from studies.data.prepare import open_dataset
from studies.models.ensemble import MemberScores, train_ensemble
from studies.models.retrain import retrain
from tests.study_data import prepared_digits  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("digits")

CONFIG = TrainConfig.from_mapping(
    {"data": {"name": "digits"}, "seed": 5, "epochs": 2, "batch_size": 128, "network": {"hidden": [8]}}
)


def test_the_seeds_are_that_of_the_configuration_and_the_next_ones(tmp_path: Path) -> None:
    members: list[MemberScores] = []
    result = train_ensemble(CONFIG, 3, test=True, save=tmp_path / "model", on_member=members.append)
    assert members == list(result.members)
    for member in members:
        alone = retrain(CONFIG, seed=member.seed, test=True)
        assert (member.scores, member.test, member.weight_digest) == (alone.scores, alone.test, alone.weight_digest)
    assert [member.seed for member in members] == [5, 6, 7]
    model = load_model(tmp_path / "model")
    assert isinstance(model, Ensemble)
    assert [member.manifest.weight_digest for member in model.members] == [member.weight_digest for member in members]
    assert result.test is not None
    dataset = open_dataset("digits")
    assert result.test["test/accuracy"] == np.mean(model.predict(dataset.test_inputs) == dataset.test_targets)


def test_a_refit_trains_each_network_on_training_and_validation_examples() -> None:
    result = train_ensemble(CONFIG, 2, refit=True)
    alone = retrain(CONFIG, seed=6, refit=True)
    assert result.members[1].weight_digest == alone.weight_digest
    assert "validation/accuracy" not in result.members[0].scores


def test_a_cross_validation_adds_the_network_of_each_fold() -> None:
    config = TrainConfig.from_mapping({**CONFIG.to_mapping(), "data": {"name": "digits", "folds": 3}})
    assert train_ensemble(config, 2, test=True).n_networks == 6


@pytest.mark.parametrize("n", [0, 1, 101])
def test_too_few_or_too_many_seeds_are_refused(n: int) -> None:
    with pytest.raises(ConfigError, match=f"an ensemble must have 2 to 100 seeds, got {n}"):
        train_ensemble(CONFIG, n)


@pytest.mark.parametrize("has_own_file", [True, False])
def test_the_ensemble_has_a_validation_score_if_its_seeds_share_the_validation_part(
    has_own_file: bool, tmp_path: Path
) -> None:
    rows = [(i * 7 % 11, i * 5 % 13) for i in range(60)]
    lines = [f"{a},{b},{'low' if a < b else 'high'}" for a, b in rows]
    (tmp_path / "train.csv").write_text("\n".join(["a,b,y", *lines[:40]]))
    (tmp_path / "held.csv").write_text("\n".join(["a,b,y", *lines[40:]]))
    data = {"file": "train.csv", "target": "y", "test": 0} | ({"validation": "held.csv"} if has_own_file else {})
    config = TrainConfig.from_mapping({**CONFIG.to_mapping(), "data": data})
    result = train_ensemble(config, 3, beside=tmp_path, save=tmp_path / "model")
    if not has_own_file:
        assert result.validation is None
        return
    model = load_model(tmp_path / "model")
    predicted = [model.classes[index] for index in model.predict(rows[40:])]
    expected = np.mean([name == line.split(",")[2] for name, line in zip(predicted, lines[40:], strict=True)])
    assert result.validation is not None
    assert result.validation["validation/accuracy"] == expected
    assert model.metrics["validation/accuracy"] == expected
