"""Engines: executors that compute segments. Nothing else in the driver depends on the engine."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import pickle
import signal
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import LifoQueue
from typing import Any, Literal, TypeVar
from weakref import WeakKeyDictionary

from studies.errors import WorkerLostError
from studies.processes import child_environment, python_command
from studies.running.worker import pack

T = TypeVar("T")
EngineName = Literal["processes", "in-process"]


class AbstractEngine(Executor):
    """An executor with a known number of workers.

    Attributes:
        n_workers: how many segments it computes at the same time; the driver submits no more.
    """

    n_workers: int

    def kill(self, future: Future[Any]) -> None:
        """Kill the worker that computes a task, which then fails with a `WorkerLostError`, if the engine can do so."""


class InProcess(AbstractEngine):
    """Computes one segment at a time, in the driver's own process: for debugging, or for a machine with one core."""

    n_workers = 1

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Compute at once, and return the finished future."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class LocalProcesses(AbstractEngine):
    """Worker processes on this machine. If one dies, only its own segment is lost, and the process is replaced.

    Each process has its own pipe and shares nothing with the others. So a kill at any moment, even in the middle of a
    message, cannot affect another process. (`concurrent.futures.ProcessPoolExecutor` shares a queue, and is broken
    for good when one of its processes dies.)

    Args:
        n_workers: the number of processes.
        max_memory: the bytes that each process may allocate; a task that needs more fails with a `MemoryError`. None
            without a limit.
    """

    def __init__(self, n_workers: int, max_memory: int | None = None) -> None:
        self.n_workers = n_workers
        self._workers = [_Worker(max_memory) for _ in range(n_workers)]
        self._busy: dict[int, _Worker] = {}  # by the number of the task
        self._numbers: WeakKeyDictionary[Future[Any], int] = WeakKeyDictionary()
        self._n_tasks = itertools.count()
        self._idle: LifoQueue[_Worker] = LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(n_workers, thread_name_prefix="worker")  # each waits for one process

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Give a segment to the next idle process."""
        number = next(self._n_tasks)
        future = self._threads.submit(self._compute, number, pack(functools.partial(fn, *args, **kwargs)))
        self._numbers[future] = number
        return future

    def _compute(self, number: int, messages: tuple[bytes, bytes]) -> Any:
        worker = self._idle.get()
        self._busy[number] = worker
        try:
            return worker.call(messages)
        finally:
            del self._busy[number]
            self._idle.put(worker)

    def kill(self, future: Future[Any]) -> None:
        worker = self._busy.get(self._numbers.get(future, -1))
        if worker is not None and not future.done():
            worker.process.kill()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the processes, even while they are computing."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.stop()
        self._threads.shutdown(wait=wait)

    def process_ids(self) -> list[int]:
        """Return the ids of the processes that are running."""
        return [worker.process.pid for worker in self._workers if worker.process.poll() is None]


class _Worker:
    """One process and the pipe to it. The process is started again when a call finds that it has died."""

    def __init__(self, max_memory: int | None) -> None:
        self._max_memory = max_memory
        self._lock = threading.Lock()  # so that no process starts while, or after, the engine is shut down
        self._is_stopped = False
        self._start()

    def _start(self) -> None:
        self._pipe, workers_end = multiprocessing.Pipe()
        number = workers_end.fileno()
        command = python_command("studies.running.worker", str(number), str(os.getpid()), str(self._max_memory or 0))
        try:
            with _sigint_blocked():
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=[number], env=child_environment()
                )
        except OSError as error:
            raise WorkerLostError(f"a worker cannot be started: {error}.") from None
        finally:
            workers_end.close()  # so that reading fails as soon as the process is dead

    def call(self, messages: tuple[bytes, bytes]) -> Any:
        """Compute a packed task in the process; return its result, or raise its exception.

        Raises:
            WorkerLostError: if the process dies before it has answered.
        """
        with self._lock:
            if self._is_stopped:
                raise WorkerLostError("the engine is shut down.")
            if self.process.poll() is not None:
                self._pipe.close()
                self._start()
        try:
            for message in messages:
                self._pipe.send_bytes(message)
            answer = self._pipe.recv_bytes()
        except (EOFError, OSError):
            self._pipe.close()
            self.process.kill()
            code = self.process.wait()
            raise WorkerLostError(f"worker {self.process.pid} has died ({_exit_text(code)}).") from None
        result, error = pickle.loads(answer)
        if error is not None:
            raise error
        return result

    def stop(self) -> None:
        """Kill the process, even while it is computing."""
        with self._lock:
            self._is_stopped = True
        self.process.kill()
        self.process.wait()


def _exit_text(code: int) -> str:
    """Return how a process ended, as in `signal SIGKILL` or `exit code 1`."""
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"exit code {code}"


def open_engine(name: EngineName, n_workers: int, max_memory: int | None = None) -> AbstractEngine:
    """Return a new engine; its workers are starting.

    Args:
        name: the kind of engine.
        n_workers: the number of worker processes.
        max_memory: the bytes that each of them may allocate; None without a limit.
    """
    return InProcess() if name == "in-process" else LocalProcesses(n_workers, max_memory)


def n_cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def failure_class(error: BaseException) -> str:
    """Return the reason that is recorded for a failed trial: `crash`, `out_of_memory` or `error`."""
    if isinstance(error, WorkerLostError):
        return "crash"
    return "out_of_memory" if isinstance(error, MemoryError) else "error"


def failure_text(error: BaseException) -> str:
    """Return the traceback that is recorded for a failed trial: that in the worker, if it is known."""
    if notes := getattr(error, "__notes__", []):
        return f"Traceback (most recent call last):\n{''.join(notes)}{type(error).__name__}: {error}\n"
    return "".join(traceback.format_exception(error))


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Start processes inside the block with Ctrl-C blocked, because they cannot ignore it while they are starting."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
