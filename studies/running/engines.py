"""Engines: executors that compute segments. Nothing else in the driver depends on the engine."""

from __future__ import annotations

import functools
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
    """

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        self._workers = [_Worker() for _ in range(n_workers)]
        self._idle: LifoQueue[_Worker] = LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(n_workers, thread_name_prefix="worker")  # each waits for one process

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Give a segment to the next idle process."""
        return self._threads.submit(self._compute, pack(functools.partial(fn, *args, **kwargs)))

    def _compute(self, messages: tuple[bytes, bytes]) -> Any:
        worker = self._idle.get()
        try:
            return worker.call(messages)
        finally:
            self._idle.put(worker)

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

    def __init__(self) -> None:
        self._lock = threading.Lock()  # so that no process starts while, or after, the engine is shut down
        self._is_stopped = False
        self._start()

    def _start(self) -> None:
        self._pipe, workers_end = multiprocessing.Pipe()
        number = workers_end.fileno()
        command = python_command("studies.running.worker", str(number), str(os.getpid()))
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


def open_engine(name: EngineName, n_workers: int) -> AbstractEngine:
    """Return a new engine; its workers are starting."""
    return InProcess() if name == "in-process" else LocalProcesses(n_workers)


def n_cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def failure_class(error: BaseException) -> str:
    """Return the reason that is recorded for a failed trial: `worker_lost`, `out_of_memory` or an exception's name."""
    if isinstance(error, WorkerLostError):
        return "worker_lost"
    return "out_of_memory" if isinstance(error, MemoryError) else type(error).__name__


def failure_text(error: BaseException) -> str:
    """Return the traceback that is recorded for a failed trial."""
    return "".join(traceback.format_exception(error))


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Start processes inside the block with Ctrl-C blocked, because they cannot ignore it while they are starting."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
