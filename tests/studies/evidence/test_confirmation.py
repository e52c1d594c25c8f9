"""The confirmation of a study: its candidates, its trainings, and its verdict, which is the same after any stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlp.errors import ConfigError
from studies.evidence.confirmation import (
    MAX_PAIRS,
    Confirmation,
    pair_seed,
    read_confirmation,
    read_training,
    training_of,
)
from studies.evidence.winner import winner_of
from studies.launch import Launch
from studies.models.export import read_config
from studies.models.retrain import retrain
from studies.records.home import Home
from studies.records.results import StudyResults, load_study
from studies.records.trial_record import TrialRecord
from studies.running.engines import InProcess
from tests.studies.launch_data import Run, file_fixture, root_fixture, run_fixture  # noqa: F401 - fixtures
from tests.study_data import NAME, prepared_digits  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("digits")

N_PAIRS = 4


class Crashed(BaseException):
    """Ends a launch at once, as a kill does."""


class Crashing(InProcess):
    """Computes a number of segments, and then ends the launch."""

    def __init__(self, n_segments: int) -> None:
        self.left = n_segments

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Compute a segment, or end the launch."""
        self.left -= 1
        if self.left < 0:
            raise Crashed
        return super().submit(fn, *args, **kwargs)


@pytest.fixture(name="confirmed")
def confirmed_fixture(run: Run, file: Path) -> Run:
    """A function that launches the small study, with a short confirmation."""
    file.write_text(file.read_text().replace("enabled = false", f"top = 2\nseeds = {N_PAIRS}"))
    return run


def results_in(root: Path) -> StudyResults:
    return load_study(NAME, root)


def of(results: StudyResults) -> Confirmation:
    confirmation = read_confirmation(results)
    assert confirmation is not None
    return confirmation


def logged(root: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the events of all confirm logs, without their times."""
    dropped = ("time", "seconds", "sha256")
    return {
        file.name: [
            {key: value for key, value in json.loads(line).items() if key not in dropped}
            for line in file.read_text().splitlines()
        ]
        for file in Home(root).study(NAME).confirm.logs()
    }


def test_the_candidates_are_base_the_best_distinct_ones_and_the_best_pruned_one(confirmed: Run, root: Path) -> None:
    confirmed(confirm=False)
    results = results_in(root)
    roles = [(candidate.trial, candidate.role) for candidate in of(results).candidates]
    ranked = [trial.number for trial in results.ranked() if trial.number > 0]
    pruned = [trial for trial in results.trials if trial.state == "pruned"]
    best_pruned = max(pruned, key=lambda trial: (trial.value or 0.0, -trial.number))
    assert roles == [(0, "base"), (ranked[0], "best"), (ranked[1], "best"), (best_pruned.number, "pruned")]


def test_repetitions_are_one_candidate_which_is_ranked_by_the_mean_of_its_values(confirmed: Run, root: Path) -> None:
    confirmed(confirm=False)
    results = results_in(root)
    first, second, third = [trial for trial in results.ranked() if trial.number > 0][:3]
    ending = third.ending
    assert ending is not None

    def repetition(value: float) -> TrialRecord:
        data = {**first.config["data"], "split_seed": 0}
        config = {**first.config, "seed": 9, "data": data}
        return replace(first, number=len(results.trials), config=config, ending=replace(ending, value=value))

    def best(*more: TrialRecord) -> list[int]:
        found = of(replace(results, trials=[*results.trials, *more])).candidates
        return [candidate.trial for candidate in found if candidate.role == "best"]

    assert best() == [first.number, second.number]
    assert best(repetition(first.value or 0.0)) == [first.number, second.number]
    assert best(repetition(0.0)) == [second.number, third.number]
    assert best(repetition(0.999)) == [len(results.trials), second.number]


def test_all_candidates_are_trained_on_the_same_pairs_of_seed_and_split(confirmed: Run, root: Path) -> None:
    launch = confirmed()
    assert launch.status == "complete"
    results = results_in(root)
    confirmation = of(results)
    assert confirmation.is_complete
    seeds = {pair_seed(1, pair) for pair in range(N_PAIRS)}
    assert len(seeds) == N_PAIRS
    assert int(results.record.base["seed"]) not in seeds
    for candidate in confirmation.candidates:
        for pair, value in candidate.values.items():
            training = read_training(results, candidate.trial, pair)
            assert training is not None
            assert training.config == training_of(results, candidate.trial, pair).config.to_mapping()
            assert training.config["seed"] == pair_seed(1, pair)
            assert {**training.config, "seed": 0} == {**results.trial(candidate.trial).config, "seed": 0}
            assert (training.attributes, training.value) == ({"trial": candidate.trial, "pair": pair}, value)
            assert training.number == candidate.trial * MAX_PAIRS + pair
    assert max(len(candidate.values) for candidate in confirmation.candidates) == N_PAIRS


@pytest.mark.parametrize("n_segments", [*(pytest.param(n, marks=pytest.mark.slow) for n in (13, 18, 24)), 21])
def test_a_killed_confirmation_resumes_to_the_same_trainings(
    confirmed: Run, root: Path, tmp_path: Path, n_segments: int
) -> None:
    undisturbed = tmp_path / "undisturbed"
    confirmed(home=undisturbed)
    with pytest.raises(Crashed):
        confirmed(engine=Crashing(n_segments))
    assert not logged(root) or not of(results_in(root)).is_complete
    assert confirmed().status == "complete"
    assert logged(root) == logged(undisturbed)
    assert of(results_in(root)).verdict == of(results_in(undisturbed)).verdict
    assert Home(root).study(NAME).confirm.checkpoints() == []
    assert confirmed(engine=Crashing(0)).status == "already complete"


def test_a_stopped_confirmation_is_reported_and_resumed(confirmed: Run, root: Path) -> None:
    confirmed(confirm=False)
    assert confirmed(timeout=0.0).status == "out of time"
    assert confirmed().status == "complete"
    assert of(results_in(root)).is_complete


def test_a_checkpoint_that_a_kill_has_left_is_removed(confirmed: Run, root: Path) -> None:
    confirmed()
    folder = Home(root).study(NAME).confirm
    folder.checkpoint(0).write_bytes(b"left")
    assert confirmed().status == "already complete"
    assert folder.checkpoints() == []


def test_more_pairs_continue_a_complete_confirmation(confirmed: Run, root: Path, file: Path) -> None:
    confirmed()
    before = logged(root)
    file.write_text(file.read_text().replace(f"seeds = {N_PAIRS}", f"seeds = {N_PAIRS + 2}"))
    assert confirmed().status == "complete"
    after = logged(root)
    assert {name: after[name] for name in before} == before
    assert len(after) > len(before)


def test_without_confirmation_the_best_trial_is_the_winner(confirmed: Run, root: Path) -> None:
    launch: Launch = confirmed(confirm=False)
    results = results_in(root)
    assert logged(root) == {}
    assert results.best is not None
    assert winner_of(results, of(results)) == results.best.number
    assert launch.export is not None
    _, provenance = read_config(launch.export)
    assert provenance is not None
    assert provenance.trial == results.best.number


def test_the_winner_is_exported_and_trains_again_to_the_same_weights(confirmed: Run, root: Path) -> None:
    launch = confirmed()
    confirmation = of(results_in(root))
    assert confirmation.verdict is not None
    assert launch.export is not None
    text = launch.export.read_text()
    assert f"Confirmed on {N_PAIRS} fresh seeds and splits, with a mean of " in text
    _, provenance = read_config(launch.export)
    assert provenance is not None
    assert provenance.trial == confirmation.verdict.winner
    assert retrain(launch.export).reproduced


def test_a_mistake_in_the_section_is_refused_before_any_work(confirmed: Run, root: Path, file: Path) -> None:
    file.write_text(file.read_text().replace("top = 2", "tip = 2"))
    with pytest.raises(ConfigError, match=r'"tip": is not a field of \[confirm\]\. Did you mean "top"\?'):
        confirmed()
    assert not Home(root).study(NAME).root.exists()
