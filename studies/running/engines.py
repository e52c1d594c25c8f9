"""Engines: executors that compute segments. Nothing else in the driver depends on the engine."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from queue import LifoQueue
from typing import Any, Literal, TypeVar

from studies.errors import WorkerLostError
from studies.running.segments import prepare_worker

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
        return self._threads.submit(self._compute, functools.partial(fn, *args, **kwargs))

    def _compute(self, task: Callable[[], T]) -> T:
        worker = self._idle.get()
        try:
            return worker.call(task)
        finally:
            self._idle.put(worker)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the processes, even while they are computing."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.process.kill()
        self._threads.shutdown(wait=wait)

    def process_ids(self) -> list[int]:
        """Return the ids of the processes that are running."""
        return [pid for worker in self._workers if worker.process.is_alive() and (pid := worker.process.pid)]


class _Worker:
    """One process and the pipe to it. The process is started again when a call finds that it has died."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, workers_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(workers_end, os.getpid()), daemon=True)
        resource_tracker.ensure_running()  # otherwise the first start would start it, and unblock SIGINT
        with _sigint_blocked():
            self.process.start()
        workers_end.close()  # so that reading fails as soon as the process is dead

    def call(self, task: Callable[[], T]) -> T:
        """Compute a task in the process; return its result, or raise its exception.

        Raises:
            WorkerLostError: if the process dies before it has answered.
        """
        if not self.process.is_alive():
            self._start()
        try:
            self._pipe.send(task)
            result, error = self._pipe.recv()
        except (EOFError, OSError):
            self._pipe.close()
            self.process.kill()
            self.process.join()
            raise WorkerLostError(f"worker {self.process.pid} has died ({self.process.exitcode}).") from None
        if error is not None:
            raise error
        answer: T = result
        return answer


def _serve(pipe: Connection, parent: int) -> None:
    """Compute the tasks that arrive through the pipe until the driver closes it."""
    prepare_worker(parent)
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        answer: tuple[Any, Exception | None]
        try:
            answer = task(), None
        except Exception as error:
            error.add_note("".join(traceback.format_tb(error.__traceback__)))
            answer = None, error
        pipe.send(answer)


def open_engine(name: EngineName, n_workers: int) -> AbstractEngine:
    """Return a new engine; its workers are starting."""
    return InProcess() if name == "in-process" else LocalProcesses(n_workers)


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
