"""Studies with two objectives: the same table for any number of workers, after any kill, and readable by Optuna."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from mlp import ConfigError
from studies.records.home import Home
from studies.running.engines import LocalProcesses
from studies.search.spec import StudySpec
from tests.studies.running.driver_data import Shuffled, tables
from tests.study_data import NAME, rows, run, run_until, small_study

SAMPLERS: list[Any] = [
    {"name": "tpe", "startup_trials": 3},
    {"name": "nsga2", "population": 3},
    "random",
    "quasi_random",
    "auto",
]
SPACE = {"network.hidden.width": {"low": 4, "high": 64, "log": True}, "network.activation": ["relu", "tanh"]}
BASE = {"network": {"hidden": {"depth": 1, "width": 8, "taper": 1.0}}}


def study(sampler: Any, folds: int = 0) -> StudySpec:
    """Return a study that minimises the number of parameters too."""
    settings = {"second_objective": "parameters", "pruner": "none", "sampler": sampler, "trials": 9}
    base = BASE | ({"data": {"name": "digits", "folds": folds}} if folds else {})
    return small_study(settings, base, SPACE).with_second_on(64, 10, "classes")


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@pytest.mark.parametrize("folds", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_the_table_is_the_same_for_any_engine_and_after_kills(
    tmp_path: Path, digits: Path, sampler: Any, folds: int
) -> None:
    spec = study(sampler, folds)
    run(spec, tmp_path / "one", digits)
    run(spec, tmp_path / "two", digits, engine=Shuffled(3, seed=1))
    for n_events in (9, 17):
        run_until(n_events, spec, tmp_path / "killed", digits)
    run(spec, tmp_path / "killed", digits)
    assert tables(tmp_path / "one") == tables(tmp_path / "two") == tables(tmp_path / "killed")


@pytest.mark.slow
def test_real_processes_compute_the_same_table(tmp_path: Path, digits: Path) -> None:
    spec, engine = study(SAMPLERS[0]), LocalProcesses(2)
    try:
        run(spec, tmp_path / "processes", digits, engine=engine)
    finally:
        engine.shutdown()
    run(spec, tmp_path / "alone", digits)
    assert tables(tmp_path / "processes") == tables(tmp_path / "alone")


def test_optuna_reads_the_study_and_finds_its_front(tmp_path: Path, digits: Path) -> None:
    spec = study("random")
    run(spec, tmp_path, digits)
    assert spec.second is not None
    for row in rows(tmp_path):
        config = spec.base if row.number == 0 else spec.space.configure(row.params)
        assert row.values[1] == spec.second.value(config)
    found = optuna.load_study(study_name=NAME, storage=Home(tmp_path).optuna_url)
    assert [direction.name for direction in found.directions] == ["MAXIMIZE", "MINIMIZE"]
    values = {row.number: row.values for row in rows(tmp_path)}
    for trial in found.best_trials:
        assert not any(v[0] >= trial.values[0] and v[1] < trial.values[1] for v in values.values())


def test_the_sampler_learns_from_both_objectives(tmp_path: Path, digits: Path) -> None:
    sampler = {"name": "tpe", "startup_trials": 3}
    run(study(sampler), tmp_path / "two", digits)
    one = small_study({"pruner": "none", "sampler": sampler, "trials": 9}, BASE, SPACE)
    run(one, tmp_path / "one", digits)
    params = {name: [row.params for row in rows(tmp_path / name)] for name in ("one", "two")}
    assert params["one"][:3] == params["two"][:3]
    assert params["one"] != params["two"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"pruner": "median"}, r'pruner": must be "none" with second_objective'),
        ({"sampler": "cma_es"}, r'sampler": "cma_es" supports one objective only\. .* choose one of .*nsga2'),
        ({"warm_start": ["other"]}, r'warm_start": cannot be combined with second_objective'),
        ({"second_objective": "size"}, r'second_objective": must be'),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        small_study({"second_objective": "parameters", "pruner": "none"} | settings)
