"""Every sampler with every pruner: a study that is killed twice and resumed has the table of an undisturbed one.

The undisturbed study has one worker. The other one has two, whose results arrive in random order. Samplers and pruners
learn from as few trials as they can, so that twelve trials are enough for generations, promotions and brackets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlp.records import field_types
from studies.running.engines import LocalProcesses
from studies.running.live_trial import Snapshot
from studies.search.pruners import pruners
from studies.search.samplers import samplers
from studies.search.spec import StudySpec
from tests.studies.running.driver_data import Shuffled, tables
from tests.studies.search.sampler_data import CONDITIONAL, CONDITIONAL_FINITE, SAMPLERS, suitable
from tests.study_data import most_eager, rows, run, run_until, small_study

FAST = [("cma_es", "asha"), ("quasi_random", "hyperband"), ("nsga2", "wilcoxon")]  # memory, pauses, brackets and folds
PAIRS = [
    pytest.param(
        *sampler.values,
        pruner,
        marks=[*sampler.marks, *((pytest.mark.slow,) if (*sampler.values, pruner) not in FAST else ())],
    )
    for sampler in SAMPLERS
    for pruner in pruners
]
EARLY = {"startup_trials": 3, "population": 4}
N_TRIALS = 12


def study(sampler: str, pruner: str, **changes: Any) -> StudySpec:
    """Return a study in which the sampler learns, and the pruner acts, as early as possible."""
    part = {"name": sampler} | {key: EARLY[key] for key in field_types(samplers.lookup(sampler)) if key in EARLY}
    folds = {"folds": 5} if pruners.lookup(pruner).needs_folds else {}
    base = {
        "epochs": 4,
        "data": {"name": "digits", "subset": 300, **folds},
        "network": {"hidden": [8], "dropout": 0.25},
    }
    space = suitable(samplers.decode(part), CONDITIONAL, CONDITIONAL_FINITE)
    settings = {"sampler": part, "pruner": most_eager(pruner), "trials": N_TRIALS, "budget": 100.0, "seed": 1}
    return small_study(settings | changes, base, space)


class Killed(BaseException):
    """The end of a driver that had no time to save anything."""


def kill_after(n_events: int, spec: StudySpec, root: Path, digits: Path) -> None:
    """Launch a study with two workers, and kill its driver after a number of events."""
    left = n_events

    def on_change(_: Snapshot) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    with pytest.raises(Killed):
        run(spec, root, digits, engine=Shuffled(2, seed=n_events), on_change=on_change)


@pytest.mark.parametrize(("sampler", "pruner"), PAIRS)
def test_a_study_killed_twice_and_resumed_has_the_same_table_with_one_and_two_workers(
    tmp_path: Path, digits: Path, sampler: str, pruner: str
) -> None:
    spec = study(sampler, pruner)
    run(spec, tmp_path / "undisturbed", digits)
    kill_after(9, spec, tmp_path / "killed", digits)
    kill_after(13, spec, tmp_path / "killed", digits)
    run(spec, tmp_path / "killed", digits, engine=Shuffled(2, seed=0))
    assert tables(tmp_path / "killed") == tables(tmp_path / "undisturbed")
    assert len(tables(tmp_path / "killed")[0]) == N_TRIALS


@pytest.mark.slow
@pytest.mark.parametrize("pruner", list(pruners))
def test_worker_processes_lead_to_the_same_table_with_any_pruner(tmp_path: Path, digits: Path, pruner: str) -> None:
    spec = study("tpe", pruner)
    run(spec, tmp_path / "undisturbed", digits)
    run_until(20, spec, tmp_path / "stopped", digits)
    with LocalProcesses(2) as engine:
        run(spec, tmp_path / "stopped", digits, engine=engine)
    assert tables(tmp_path / "stopped") == tables(tmp_path / "undisturbed")


@pytest.mark.slow
@pytest.mark.parametrize("pruner", [name for name in pruners if name != "none"])
def test_every_pruner_prunes_in_these_studies(tmp_path: Path, digits: Path, pruner: str) -> None:
    """The tests above would show little if no trial were pruned."""
    spec = study("random", pruner)
    run(spec, tmp_path, digits)
    pruned = [row for row in rows(tmp_path) if row.state.name == "PRUNED"]
    assert pruned or any("promoted" in str(log) for log in tables(tmp_path)[1])


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_raised_number_of_trials_changes_none_of_the_trials_before(
    tmp_path: Path, digits: Path, sampler: str
) -> None:
    run(study(sampler, "median"), tmp_path / "at once", digits)
    run(study(sampler, "median", trials=5), tmp_path / "raised", digits)
    run(study(sampler, "median", trials=5), tmp_path / "raised", digits)
    raised = tables(tmp_path / "raised")[0]
    assert [row[:1] + row[3:4] for row in raised] == [row[:1] + row[3:4] for row in tables(tmp_path / "at once")[0][:5]]
