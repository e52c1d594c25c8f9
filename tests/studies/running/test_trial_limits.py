"""What a single trial may use: a trial that needs more fails, the others continue, and a resumed study repeats it."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp.config import TrainConfig
from mlp.memory import DataSize
from studies.data.cache import open_cached
from studies.errors import DataLostError, WorkerLostError
from studies.records.trial_log import read_log
from studies.records.trial_record import Ending
from studies.running import trial_limits
from studies.running.driver import Driver
from studies.running.engines import AbstractEngine, InProcess, LocalProcesses
from studies.running.segments import Segment, _splits
from studies.running.trial_limits import TrialLimits, machine_memory, worker_memory
from tests.studies.running.driver_data import Changed, Tables, reference_fixture, tables  # noqa: F401 - a fixture
from tests.study_data import IDENTITY, open_ledger, run, small_study, study_folder

SIZE = DataSize(n_train=1000, n_validation=200, n_features=64, n_targets=10, task="classes", row_bytes=64)


def run_limited(
    root: Path, digits: Path, limits: TrialLimits, engine: AbstractEngine | None = None, **study: Any
) -> list[Ending | None]:
    """Run the small study with limits; return how its trials ended."""
    ledger, storage = open_ledger(small_study({"pruner": "none", "trials": 5} | study), root, digits)
    try:
        driver = Driver(ledger, engine or InProcess(), digits, on_change=None, should_stop=lambda: False, limits=limits)
        assert driver.run()
    finally:
        storage.engine.dispose()
    folder = study_folder(root)
    records = [read_log(file, IDENTITY) for file in folder.logs()]
    return [record.ending for record in records if record is not None]


class Slow(InProcess):
    """Reports more seconds of training for one trial than it took."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Compute a single epoch."""
        segment = args[0]
        future = super().submit(fn, replace(segment, epochs=1))
        if segment.trial == 2:
            slow: Future[Any] = Future()
            slow.set_result(replace(future.result(), seconds=10.0 * (segment.start + 1)))
            return slow
        return future


def test_a_trial_that_needs_too_long_fails_and_a_resumed_study_repeats_that(tmp_path: Path, digits: Path) -> None:
    limits = TrialLimits(seconds=15.0)
    endings = run_limited(tmp_path, digits, limits, Slow())
    assert [ending.reason for ending in endings if ending] == ["", "", "timeout", "", ""]
    assert endings[2] is not None
    assert "more than trial_seconds = 15: 20.0 seconds" in endings[2].error
    record = read_log(study_folder(tmp_path).log(2), IDENTITY)
    assert record is not None
    assert record.n_epochs == 2
    before = tables(tmp_path)
    run_limited(tmp_path, digits, TrialLimits())
    assert tables(tmp_path) == before


def test_a_trial_that_ends_within_its_last_segment_is_complete(tmp_path: Path, digits: Path) -> None:
    class Late(Changed):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future = super().submit(fn, replace(args[0], epochs=99))
            late: Future[Any] = Future()
            late.set_result(replace(future.result(), seconds=100.0))
            return late

    endings = run_limited(tmp_path, digits, TrialLimits(seconds=15.0), Late(lambda segment: segment))
    assert {ending.reason for ending in endings if ending} == {""}


@pytest.mark.parametrize("has_limit", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_worker_that_hangs_is_replaced(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch, has_limit: bool
) -> None:
    monkeypatch.setattr(trial_limits, "HANG_SECONDS", 4.0)
    monkeypatch.setattr(trial_limits, "START_SECONDS", 3.0)
    engine = LocalProcesses(1)
    stopped: list[int] = []

    def stop_a_worker() -> None:
        while not stopped and not study_folder(tmp_path).logs():
            time.sleep(0.01)
        stopped.extend(engine.process_ids())
        os.kill(stopped[0], signal.SIGSTOP)

    thread = threading.Thread(target=stop_a_worker)
    thread.start()
    try:
        endings = run_limited(tmp_path, digits, TrialLimits(seconds=1.0 if has_limit else None), engine, trials=3)
    finally:
        thread.join()
        engine.shutdown()
    reasons = sorted(ending.reason for ending in endings if ending)
    assert reasons == (["", "", "timeout"] if has_limit else ["", "", ""])


def test_a_hanging_trial_fails_the_second_time(tmp_path: Path, digits: Path) -> None:
    class Hanging(InProcess):
        """Never answers for one trial, until its worker is killed."""

        killed = 0

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            return Future() if args[0].trial == 1 else super().submit(fn, *args, **kwargs)

        def kill(self, future: Future[Any]) -> None:
            self.killed += 1
            future.set_exception(WorkerLostError("killed"))

    engine = Hanging()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_limits, "HANG_SECONDS", 0.2)
        patch.setattr(trial_limits, "HANG_FACTOR", 0)
        endings = run_limited(tmp_path, digits, TrialLimits(), engine)
    assert engine.killed == trial_limits.MAX_HANGS
    assert [ending.reason for ending in endings if ending] == ["", "timeout", "", "", ""]
    assert endings[1] is not None
    assert "2 workers that computed epoch 1 did not answer and were killed" in endings[1].error


def test_a_training_that_does_not_fit_into_the_machine_fails_before_it_starts(tmp_path: Path, digits: Path) -> None:
    engine = Changed(lambda segment: segment)
    endings = run_limited(tmp_path, digits, TrialLimits(data=SIZE, machine_memory=1000), engine)
    assert engine.segments == []
    assert {ending.reason for ending in endings if ending} == {"out_of_memory"}
    assert endings[0] is not None
    assert "and this machine has 1 KB. To leave such configurations out, set max_memory" in endings[0].error


def test_a_trial_without_enough_memory_is_tried_once_more_alone(
    tmp_path: Path, digits: Path, reference: Tables
) -> None:
    class Full(Changed):
        """Two workers, of which one trial's runs out of memory the first time."""

        n_workers = 2

    failed: list[Segment] = []

    def change(segment: Segment) -> Segment:
        if segment.trial == 2 and segment.epochs == 1 and not failed:
            failed.append(segment)
            raise MemoryError
        return segment

    ledger, storage = open_ledger(small_study(), tmp_path, digits)
    try:
        assert Driver(ledger, Full(change), digits, on_change=None, should_stop=lambda: False).run()
    finally:
        storage.engine.dispose()
    assert tables(tmp_path) == reference


def test_a_worker_cannot_allocate_more_than_its_limit() -> None:
    engine = LocalProcesses(1, max_memory=300_000_000)
    try:
        assert engine.submit(np.zeros, 1000).result(20).shape == (1000,)
        with pytest.raises(MemoryError):
            engine.submit(np.zeros, 100_000_000).result(20)
        assert engine.submit(np.zeros, 1000).result(20).shape == (1000,), "it still works"
    finally:
        engine.shutdown()


def test_the_limit_of_a_worker_is_that_of_the_study_or_of_the_machine() -> None:
    total = machine_memory()
    assert total is not None
    assert total > 10**8
    assert worker_memory(None, None) is None
    assert worker_memory(None, total) == total
    assert worker_memory(10**9, 10**12) == 1_700_000_000
    assert worker_memory(10**12, 10**10) == 10**10


@pytest.mark.parametrize(
    ("limits", "spent", "expected", "allowed"),
    [
        (TrialLimits(), 0.0, 0.5, 600.0),
        (TrialLimits(), 0.0, 60.0, 6000.0),
        (TrialLimits(seconds=100.0), 20.0, 0.5, 140.0),
        (TrialLimits(seconds=100.0), 200.0, 0.5, 60.0),
        (TrialLimits(seconds=1e6), 0.0, 0.5, 600.0),
    ],
)
def test_the_time_of_a_segment(limits: TrialLimits, spent: float, expected: float, allowed: float) -> None:
    assert limits.allowed_seconds(spent, expected) == allowed


def test_the_memory_of_a_training_is_compared_with_that_of_the_machine() -> None:
    large = TrainConfig.from_mapping({"data": {"name": "digits"}, "network": {"hidden": [65_000, 65_000]}})
    assert "the training would need " in TrialLimits(data=SIZE, machine_memory=10**10).excess(large)
    assert TrialLimits(data=SIZE, machine_memory=10**13).excess(large) == ""
    assert TrialLimits(data=SIZE).excess(large) == ""


def test_a_data_set_that_vanishes_stops_the_study_and_no_trial_fails(
    tmp_path: Path, digits: Path, reference: Tables
) -> None:
    data = shutil.copytree(digits, tmp_path / "data")

    def change(segment: Segment) -> Segment:
        if segment.trial == 3 and data.exists():
            shutil.rmtree(data)
            _splits.cache_clear()  # as in a worker that has just started
            open_cached.cache_clear()
        return segment

    with pytest.raises(DataLostError, match=r"The data set is gone: .*data is not a complete cached data set"):
        run(small_study(), tmp_path / "study", data, engine=Changed(change))
    folder = study_folder(tmp_path / "study")
    records = [read_log(file, IDENTITY) for file in folder.logs()]
    assert all(record is None or record.state != "failed" for record in records)
    run(small_study(), tmp_path / "study", digits)
    assert tables(tmp_path / "study") == reference
