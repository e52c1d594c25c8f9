"""Engines: a worker that dies fails its own segment only, and no worker outlives its driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlp.config import TrainConfig
from mlp.training import CorruptStateError, TrainingState
from studies.errors import WorkerLostError
from studies.running.engines import (
    AbstractEngine,
    InProcess,
    LocalProcesses,
    failure_class,
    failure_text,
    open_engine,
)
from studies.running.segments import Segment, run_segment
from tests.study_data import BASE, prepared_digits  # noqa: F401 - a fixture

SOON = 20.0  # seconds within which a result must arrive; a worker needs less than one to start
HEAVY = {
    "optuna",
    "sqlalchemy",
    "mlflow",
    "pandas",
    "pyarrow",
    "charset_normalizer",
    "matplotlib",
    "sklearn",
    "scipy",
    "rich",
    "typer",
}

PARENT = """
import os, signal, sys, time
from studies.running.engines import LocalProcesses
from tasks import nap

engine = LocalProcesses(2)
print(*(future.result() for future in [engine.submit(nap, 0.2), engine.submit(nap, 0.2)]), flush=True)
engine.submit(nap, 600)
sys.stdin.read()
"""

GROUP = """
import os, signal, sys, time
from studies.running.engines import LocalProcesses
from tasks import nap

interrupts = []
signal.signal(signal.SIGINT, lambda *_: interrupts.append(1))
engine = LocalProcesses(2)
print("starting", flush=True)
while not interrupts:
    time.sleep(0.01)
before = sorted(future.result() for future in [engine.submit(nap, 0.2), engine.submit(nap, 0.2)])
futures = [engine.submit(nap, 0.5), engine.submit(nap, 0.5)]
print("busy", flush=True)
print(before == sorted(future.result() for future in futures), len(interrupts) > 1, flush=True)
engine.shutdown()
"""

ANSWER = """
import os
from studies.running.engines import LocalProcesses
from tasks import die_while_answering

engine = LocalProcesses(1)
process_id = engine.submit(os.getpid).result(20)
try:
    print(type(engine.submit(die_while_answering).exception(4)).__name__, flush=True)
    print("replaced" if engine.submit(os.getpid).result(20) != process_id else "the same", flush=True)
finally:
    os._exit(0)
"""


# Beside a script: what it sends to its workers.
TASKS = """
import multiprocessing.connection, os, signal, time

def nap(seconds):
    time.sleep(seconds)
    return os.getpid()

def die_while_answering():
    def write_half(connection, data, *_):
        os.write(connection.fileno(), bytes(data)[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    multiprocessing.connection.Connection._send = write_half
"""


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def wait_for(file: Path, told: Path) -> str:
    """Write the id of this process, then wait until a file exists."""
    told.write_text(str(os.getpid()))
    while not file.exists():
        time.sleep(0.01)
    return "done"


def fail(error: Exception) -> None:
    raise error


def length(data: bytes) -> int:
    return len(data)


def answer_of(size: int) -> bytes:
    return bytes(size)


def modules_after(segment: Segment) -> list[str]:
    """Return the top-level modules that a worker has imported once it has run a segment."""
    run_segment(segment)
    return sorted({name.partition(".")[0] for name in sys.modules})


def segment_of(digits: Path, epochs: int = 2) -> Segment:
    return Segment(0, 0, epochs, TrainConfig.from_mapping(BASE), digits, None)


def write_script(folder: Path, script: str) -> Path:
    (folder / "tasks.py").write_text(TASKS)
    file = folder / "script.py"
    file.write_text(script)
    return file


def eventually(condition: Callable[[], bool], seconds: float = SOON) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_up(process_id: int) -> bool:
    """Return whether a process is running; a zombie is not."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kill(process_id: int) -> None:
    os.kill(process_id, signal.SIGKILL)
    assert eventually(lambda: not is_up(process_id))


def insist(engine: AbstractEngine, fn: Callable[..., Any], *args: Any) -> Any:
    """Return the result of `fn`, submitted again if its worker is lost, as the driver does."""
    for _ in range(3):
        try:
            return engine.submit(fn, *args).result(SOON)
        except WorkerLostError:
            continue
    raise AssertionError("no worker is replaced")


@pytest.fixture
def engine() -> Iterator[LocalProcesses]:
    engine = LocalProcesses(2)
    yield engine
    engine.shutdown()


def test_processes_compute_the_same_as_the_driver_itself(engine: LocalProcesses, digits: Path) -> None:
    here = InProcess().submit(run_segment, segment_of(digits)).result()
    there = engine.submit(run_segment, segment_of(digits)).result(SOON)
    assert there.history == here.history
    assert (there.epoch, there.status) == (here.epoch, here.status) == (2, "running")
    assert TrainingState.from_bytes(there.state).weight_digest() == TrainingState.from_bytes(here.state).weight_digest()


def test_segments_run_at_the_same_time_in_separate_processes(engine: LocalProcesses) -> None:
    process_ids = {future.result(SOON) for future in [engine.submit(nap, 0.2), engine.submit(nap, 0.2)]}
    assert len(process_ids) == 2
    assert os.getpid() not in process_ids
    assert process_ids == set(engine.process_ids())


@pytest.mark.slow
def test_large_states_are_sent_in_both_directions(engine: LocalProcesses) -> None:
    size = 20_000_000
    assert engine.submit(length, bytes(size)).result(SOON) == size
    assert len(engine.submit(answer_of, size).result(SOON)) == size


@pytest.mark.parametrize("name", ["processes", "in-process"])
def test_an_error_in_a_segment_is_returned_and_the_worker_survives(name: Any) -> None:
    with open_engine(name, 1) as engine:
        before = engine.submit(nap, 0).result(SOON)
        future = engine.submit(fail, CorruptStateError("torn"))
        with pytest.raises(CorruptStateError, match="torn"):
            future.result(SOON)
        assert "CorruptStateError: torn" in failure_text(future.exception() or ValueError())
        assert engine.submit(nap, 0).result(SOON) == before


@pytest.mark.slow
def test_an_engine_opened_by_name_has_the_requested_number_of_workers() -> None:
    with open_engine("processes", 3) as engine:
        assert engine.n_workers == 3
        assert len({future.result(SOON) for future in [engine.submit(nap, 0.3) for _ in range(3)]}) == 3
    assert open_engine("in-process", 3).n_workers == 1


@pytest.mark.slow
def test_a_killed_worker_fails_its_own_segment_only_and_is_replaced(engine: LocalProcesses, tmp_path: Path) -> None:
    go, told = tmp_path / "go", [tmp_path / "one", tmp_path / "two"]
    lost, other = (engine.submit(wait_for, go, file) for file in told)
    assert eventually(lambda: all(file.exists() and file.read_text() for file in told))
    victim, survivor = (int(file.read_text()) for file in told)
    kill(victim)
    with pytest.raises(WorkerLostError):
        lost.result(SOON)
    replacement = insist(engine, nap, 0)
    assert replacement not in (victim, survivor)
    assert not other.done()
    go.touch()
    assert other.result(SOON) == "done"
    assert is_up(survivor)


@pytest.mark.slow
def test_a_worker_that_is_killed_while_idle_is_replaced(engine: LocalProcesses) -> None:
    for future in [engine.submit(nap, 0.2), engine.submit(nap, 0.2)]:
        future.result(SOON)
    victims = engine.process_ids()
    for process_id in victims:
        kill(process_id)
    assert insist(engine, nap, 0) not in victims
    assert insist(engine, nap, 0) not in victims


@pytest.mark.slow
def test_a_worker_is_replaced_every_time_it_is_killed(engine: LocalProcesses) -> None:
    seen = set()
    for _ in range(3):
        process_id = insist(engine, nap, 0)
        assert process_id not in seen
        seen.add(process_id)
        kill(process_id)


@pytest.mark.slow
def test_a_worker_killed_while_receiving_a_segment_does_not_affect_others(engine: LocalProcesses) -> None:
    engine.submit(nap, 0).result(SOON)
    (victim,) = {future.result(SOON) for future in [engine.submit(nap, 0)]}
    os.kill(victim, signal.SIGSTOP)
    lost = engine.submit(length, bytes(5_000_000))  # more than a pipe holds: half of it is written
    time.sleep(0.5)
    kill(victim)
    with pytest.raises(WorkerLostError):
        lost.result(SOON)
    assert insist(engine, length, bytes(5_000_000)) == 5_000_000


@pytest.mark.slow
def test_a_worker_killed_while_answering_is_replaced(tmp_path: Path) -> None:
    """This needs a separate process: a driver that waited for the other half of the answer could not exit."""
    script = write_script(tmp_path, ANSWER)
    output = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert output.splitlines() == ["WorkerLostError", "replaced"]


def test_shutting_the_engine_down_stops_its_workers(engine: LocalProcesses) -> None:
    busy = engine.submit(nap, 600)
    assert eventually(lambda: len(engine.process_ids()) == 2)
    process_ids = engine.process_ids()
    engine.shutdown()
    assert eventually(lambda: not any(map(is_up, process_ids)))
    assert isinstance(busy.exception(SOON), WorkerLostError)


def test_an_engine_can_be_shut_down_while_its_workers_start_and_twice() -> None:
    engine = LocalProcesses(2)
    engine.shutdown()
    process_ids = engine.process_ids()
    engine.shutdown()
    assert eventually(lambda: not any(map(is_up, process_ids)))


@pytest.mark.slow
def test_workers_exit_when_their_driver_is_killed(tmp_path: Path) -> None:
    script = write_script(tmp_path, PARENT)
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(word) for word in parent.stdout.readline().split()]
        assert len(workers) == 2
        assert all(map(is_up, workers))
        parent.kill()
    assert eventually(lambda: not any(map(is_up, workers)), seconds=5.0)


@pytest.mark.slow
def test_workers_ignore_ctrl_c(tmp_path: Path) -> None:
    """A terminal sends it to all processes of a group, and it may arrive while the workers are starting."""
    script = write_script(tmp_path, GROUP)
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as group:
        assert group.stdout is not None
        assert group.stdout.readline() == "starting\n"
        for _ in range(5):
            os.killpg(group.pid, signal.SIGINT)
            time.sleep(0.05)
        assert group.stdout.readline() == "busy\n"
        os.killpg(group.pid, signal.SIGINT)
        assert group.stdout.readline() == "True True\n"
    assert group.returncode == 0


def test_a_worker_imports_no_heavy_package(engine: LocalProcesses, digits: Path) -> None:
    modules = set(engine.submit(modules_after, segment_of(digits)).result(SOON))
    assert {"mlp", "studies", "numpy"} <= modules
    assert modules & HEAVY == set()


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (WorkerLostError("gone"), "crash"),
        (MemoryError(), "out_of_memory"),
        (CorruptStateError("torn"), "error"),
        (ZeroDivisionError(), "error"),
    ],
)
def test_a_failure_is_recorded_under_its_class(error: Exception, name: str) -> None:
    assert failure_class(error) == name
