"""Configurations that violate the constraints of a study are refused before they cost anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlp.errors import ConfigError
from studies.running.view import SAMPLER_ATTEMPTS, StudyView
from studies.search.samplers import attempt_number, samplers, trial_seed
from studies.search.spec import StudySpec
from tests.studies.running.test_every_search import kill_after
from tests.studies.search.sampler_data import SAMPLERS, space_of
from tests.studies.search.test_constraints import DIGITS
from tests.study_data import log_table, run, small_study, trial_table

MOST = 1_000  # parameters; a fifth of the widths is small enough
BASE: dict[str, Any] = {"epochs": 2, "network": {"hidden": {"depth": 1, "width": 8}, "dropout": 0.25}}
SPACE: dict[str, Any] = {
    "network.hidden.width": {"low": 6, "high": 400, "log": True},
    "network.dropout": {"low": 0.0, "high": 0.5},
    "optimizer.learning_rate": {"low": 1e-4, "high": 0.3, "log": True},
}
FINITE: dict[str, Any] = {
    "network.hidden.width": {"low": 6, "high": 36, "step": 2},
    "network.dropout": {"low": 0.0, "high": 0.5, "step": 0.25},
}


def study(sampler: str, **settings: Any) -> StudySpec:
    options = {"population": 4} if sampler in ("cma_es", "nsga2") else {}
    part = {"name": sampler, **options}
    space = SPACE
    try:
        samplers.decode(part).check(space_of({"network.dropout": SPACE["network.dropout"]}))
    except ConfigError:
        space = FINITE
    given = {"sampler": part, "trials": 12, "max_parameters": MOST, "seed": 1} | settings
    return small_study(given, BASE, space).with_constraints_on(DIGITS)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_whatever_a_sampler_suggests_meets_the_constraints(tmp_path: Path, digits: Path, sampler: str) -> None:
    run(study(sampler), tmp_path, digits)
    widths = [row[3]["network.hidden.width"] for row in trial_table(tmp_path)]
    assert len(widths) == 12
    assert max(widths) <= 13
    assert len(set(widths)) >= 4


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_study_with_refused_suggestions_that_is_killed_and_resumed_has_the_same_table(
    tmp_path: Path, digits: Path, sampler: str
) -> None:
    spec = study(sampler)
    run(spec, tmp_path / "undisturbed", digits)
    kill_after(9, spec, tmp_path / "killed", digits)
    kill_after(13, spec, tmp_path / "killed", digits)
    run(spec, tmp_path / "killed", digits)
    assert trial_table(tmp_path / "killed") == trial_table(tmp_path / "undisturbed")
    assert log_table(tmp_path / "killed") == log_table(tmp_path / "undisturbed")


def test_refused_suggestions_advance_a_sequence_and_its_position_is_recorded() -> None:
    free, limited = (study("quasi_random", max_parameters=limit) for limit in (10**6, MOST))
    positions = []
    for spec in (free, limited):
        view = StudyView(spec)
        view.add(spec.space.params_of_base() or {}, {})
        asked = [json.loads(json.dumps(view.ask().system_attrs)) for _ in range(6)]
        positions.append([next(iter(attributes["study_attributes"].values())) for attributes in asked])
    assert positions[0] == [0, 1, 2, 3, 4, 5]
    assert positions[1] == sorted(set(positions[1]))
    assert positions[1][-1] > 10


def test_constraints_that_refuse_nothing_change_nothing() -> None:
    views = [StudyView(study("tpe", max_parameters=limit)) for limit in (None, 10**9)]
    first, second = ([view.ask().params for _ in range(5)] for view in views)
    assert first == second


def test_configurations_are_drawn_at_random_where_the_sampler_only_suggests_what_is_refused() -> None:
    spec = study("random", max_parameters=700)
    view = StudyView(spec)
    widths = [view.ask().params["network.hidden.width"] for _ in range(10)]
    assert max(widths) <= 9
    assert len(set(widths)) > 1


def test_every_attempt_has_a_seed_of_its_own() -> None:
    attempts = range(SAMPLER_ATTEMPTS * 2)
    seeds = {trial_seed(0, attempt_number(trial, attempt)) for trial in range(20) for attempt in attempts}
    assert len(seeds) == 20 * len(attempts)
    assert attempt_number(5, 0) == 5


def test_a_space_in_which_nothing_is_allowed_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.running.view.MAX_ATTEMPTS", 30)
    spec = study("random")
    assert spec.space.constraints is not None
    monkeypatch.setattr(type(spec.space.constraints), "allow", lambda *_: False)
    with pytest.raises(ConfigError, match="none of 30 configurations drawn for trial 0 meets max_parameters = 1,000"):
        StudyView(spec).ask()
