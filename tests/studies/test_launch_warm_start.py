"""A study that learns from another one: alone afterwards, resumable, with the same table after any kill."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlp.errors import ConfigError
from studies.launch import Launch
from studies.plan import plan_study, with_prior
from studies.records.home import Home
from studies.records.results import load_study
from studies.running.view import StudyView
from tests.studies.launch_data import (
    STUDY,
    Run,
    file_fixture,  # noqa: F401 - a fixture
    root_fixture,  # noqa: F401 - a fixture
    run_fixture,  # noqa: F401 - a fixture
)
from tests.studies.running.driver_data import tables
from tests.studies.running.test_every_search import kill_after
from tests.study_data import (
    NAME,
    prepared_digits,  # noqa: F401 - a fixture
)
from tests.study_data import (
    run as run_spec,
)

WARM = STUDY.replace("trials = 8", f'trials = 5\nwarm_start = ["{NAME}"]').replace("high = 0.1", "high = 0.2")


@pytest.fixture(name="warm")
def warm_fixture(run: Run, file: Path) -> Run:
    """A function that launches the study "warm", after the study that it learns from has been run."""
    run()
    file.write_text(WARM)

    def launch(**options: Any) -> Launch:
        return run(**({"name": "warm"} | options))

    return launch


@pytest.mark.usefixtures("digits")
def test_prior_trials_count_in_no_total_and_are_not_in_the_table(warm: Run, root: Path) -> None:
    notices: list[str] = []
    warm(on_notice=notices.append)
    results = load_study("warm", root)
    assert [trial.number for trial in results.trials] == [0, 1, 2, 3, 4]
    assert results.spent.startswith("5 of 5 trials")
    assert len(results.record.prior) == 8
    assert notices == [f'The sampler learns from 8 of 8 trials of study "{NAME}".']


@pytest.mark.usefixtures("digits")
def test_the_sampler_learns_from_the_first_trial_on(warm: Run, root: Path, file: Path) -> None:
    plan = with_prior(plan_study(file, name="warm"), Home(root))
    cold = StudyView(plan_study(file, name="warm").spec)
    views = (StudyView(plan.spec), cold)
    for view in views:
        view.add(plan.spec.space.params_of_base() or {}, {})
    learnt, unlearnt = ([view.ask().params for _ in range(2)] for view in views)
    assert learnt != unlearnt
    assert warm(trials=2) is not None
    assert load_study("warm", root).trials[1].params == learnt[0]


@pytest.mark.usefixtures("digits")
def test_the_study_stands_alone_when_the_other_one_is_gone(warm: Run, root: Path) -> None:
    warm(trials=3, name="whole")
    warm(trials=5, name="whole")
    warm(trials=3)
    shutil.rmtree(root / "studies" / NAME)
    warm(trials=5)
    whole, resumed = (load_study(name, root).trials for name in ("whole", "warm"))
    assert [trial.params for trial in resumed] == [trial.params for trial in whole]
    assert [trial.history for trial in resumed] == [trial.history for trial in whole]


@pytest.mark.usefixtures("digits")
def test_other_names_and_none_are_refused_on_resuming(warm: Run, file: Path) -> None:
    warm(trials=2)
    file.write_text(WARM.replace(f'warm_start = ["{NAME}"]\n', ""))
    with pytest.raises(ConfigError, match=r"study.warm_start was \['small'\] and is absent, the trials"):
        warm(trials=3)


@pytest.mark.usefixtures("digits")
def test_a_changed_space_is_refused_with_the_way_to_keep_what_was_learnt(run: Run, file: Path) -> None:
    run(trials=2)
    file.write_text(STUDY.replace("high = 0.1", "high = 0.2"))
    with pytest.raises(ConfigError, match=r'warm_start = \["small"\] in \[study\] to learn from it'):
        run(trials=2)


def test_a_study_with_prior_trials_that_is_killed_and_resumed_has_the_same_table(
    warm: Run, root: Path, file: Path, tmp_path: Path, digits: Path
) -> None:
    warm(trials=1)
    spec = with_prior(plan_study(file, name="warm", trials=9), Home(root)).spec
    spec = replace(spec, study=replace(spec.study, name=NAME))  # the name of the study in the table
    assert len(spec.prior) == 8
    run_spec(spec, tmp_path / "undisturbed", digits)
    kill_after(7, spec, tmp_path / "killed", digits)
    kill_after(9, spec, tmp_path / "killed", digits)
    run_spec(spec, tmp_path / "killed", digits)
    assert tables(tmp_path / "killed") == tables(tmp_path / "undisturbed")
