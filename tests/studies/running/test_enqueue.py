"""Enqueued configurations are tried in their order, after any kill, and by every sampler's study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from studies.records.study_record import EnqueuedRecord
from studies.running.driver import Driver
from studies.running.engines import InProcess
from studies.running.live_trial import Snapshot
from studies.search.spec import StudySpec
from tests.studies.running.driver_data import Shuffled, tables
from tests.studies.running.test_every_search import Killed
from tests.study_data import open_ledger, rows, run, small_study

FIRST = {"network.hidden": [24, 12], "optimizer.learning_rate": 0.05}
SECOND = {"optimizer": "sgd(momentum=0.9)", "optimizer.nesterov": True, "optimizer.learning_rate": 0.1}


def enqueuing(sampler: Any = None, pruner: Any = "asha") -> StudySpec:
    settings = {"enqueue": [FIRST, SECOND], "trials": 9, "budget": 100.0, "pruner": pruner}
    return small_study(settings | ({"sampler": sampler} if sampler else {}))


def rates(root: Path) -> list[float]:
    return [row.params["optimizer.learning_rate"] for row in rows(root)]


@pytest.mark.parametrize("sampler", ["random", "tpe", "quasi_random", "cma_es", "nsga2"])
def test_enqueued_configurations_come_right_after_base(tmp_path: Path, digits: Path, sampler: str) -> None:
    run(enqueuing(sampler), tmp_path, digits)
    assert rates(tmp_path)[:3] == [0.01, 0.05, 0.1]
    assert len(rates(tmp_path)) == 9
    assert rows(tmp_path)[2].params["optimizer.nesterov"] is True
    assert [row.system_attrs.get("fixed_params") is not None for row in rows(tmp_path)] == [True] * 3 + [False] * 6


def launch(spec: StudySpec, root: Path, digits: Path, added: Sequence[EnqueuedRecord], n_events: int) -> int:
    """Launch a study whose driver is killed after some events; return the step that comes next."""
    ledger, storage = open_ledger(spec, root, digits, added=added)
    left = n_events

    def on_change(_: Snapshot) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    engine = Shuffled(2, seed=n_events) if n_events < 99 else InProcess()
    try:
        Driver(ledger, engine, digits, on_change=on_change, should_stop=lambda: False).run()
    except Killed:
        pass
    finally:
        storage.engine.dispose()
    return ledger.step


@pytest.mark.parametrize("kills", [(3, 5), (8, 11), (14,)])
def test_a_study_that_is_killed_and_resumed_tries_the_same(
    tmp_path: Path, digits: Path, kills: tuple[int, ...]
) -> None:
    launch(enqueuing(), tmp_path / "undisturbed", digits, (), 1000)
    for n_events in (*kills, 1000):
        launch(enqueuing(), tmp_path / "killed", digits, (), n_events)
    assert tables(tmp_path / "killed") == tables(tmp_path / "undisturbed")


def test_what_a_later_launch_enqueues_is_tried_next_and_again_after_kills(tmp_path: Path, digits: Path) -> None:
    params = {"network.hidden": "8", "optimizer": "adam", "optimizer.learning_rate": 0.123}
    spec = enqueuing()
    step = launch(spec, tmp_path / "a", digits, (), 8)
    n_before = len(rows(tmp_path / "a"))
    added = [EnqueuedRecord(step=step, params=params)]
    launch(spec, tmp_path / "a", digits, added, 1000)
    assert rates(tmp_path / "a").index(0.123) >= n_before
    complete = tables(tmp_path / "a")
    launch(spec, tmp_path / "b", digits, added, 5)
    launch(spec, tmp_path / "b", digits, added, 12)
    launch(spec, tmp_path / "b", digits, added, 1000)
    assert tables(tmp_path / "b") == complete


def test_a_limit_leaves_configurations_waiting(tmp_path: Path, digits: Path) -> None:
    ledger = run(small_study({"enqueue": [FIRST, SECOND], "trials": 2}), tmp_path, digits)
    assert ledger.n_enqueued == 1
    assert run(small_study({"enqueue": [FIRST, SECOND], "trials": 3}), tmp_path, digits).n_enqueued == 0
