"""Engines: what computes segments. Each is an executor; nothing else in the driver changes with it."""

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
    """An executor that knows how many segments it computes at once.

    Attributes:
        n_workers: that number; the driver submits no more.
    """

    n_workers: int


class InProcess(AbstractEngine):
    """Computes in the driver itself, one segment at a time: for debugging, and for a machine with one core."""

    n_workers = 1

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Compute at once."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class LocalProcesses(AbstractEngine):
    """Fresh processes of this machine. One that dies takes its own segment with it and is replaced.

    Each process has a pipe of its own and shares nothing with the others: a kill at any moment, in the middle of a
    message too, harms no other.

    Args:
        n_workers: how many.
    """

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        self._workers = [_Worker() for _ in range(n_workers)]
        self._idle: LifoQueue[_Worker] = LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._waiting = ThreadPoolExecutor(n_workers, thread_name_prefix="worker")

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Hand a segment to the next idle process."""
        return self._waiting.submit(self._compute, functools.partial(fn, *args, **kwargs))

    def _compute(self, task: Callable[[], T]) -> T:
        worker = self._idle.get()
        try:
            return worker.call(task)
        finally:
            self._idle.put(worker)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the processes, running segments included."""
        self._waiting.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.process.kill()
        self._waiting.shutdown(wait=wait)

    def process_ids(self) -> list[int]:
        """Return the processes that are up."""
        return [pid for worker in self._workers if worker.process.is_alive() and (pid := worker.process.pid)]


class _Worker:
    """One process, started at once, and anew when a task finds that it has died."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, os.getpid()), daemon=True)
        resource_tracker.ensure_running()  # or the first start would do it, and let interrupts through again
        with _interrupts_blocked():
            self.process.start()
        theirs.close()  # so that the end of the process is the end of the pipe

    def call(self, task: Callable[[], T]) -> T:
        """Return what the task returns in the process, or raise what it raises.

        Raises:
            WorkerLostError: when the process dies before it has answered.
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
    """Compute what comes through the pipe until it ends."""
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
    """Return an engine, its workers starting."""
    return InProcess() if name == "in-process" else LocalProcesses(n_workers)


def failure_class(error: BaseException) -> str:
    """Return the class under which a failure is recorded."""
    if isinstance(error, WorkerLostError):
        return "worker_lost"
    return "out_of_memory" if isinstance(error, MemoryError) else type(error).__name__


def failure_text(error: BaseException) -> str:
    """Return the traceback of a failure."""
    return "".join(traceback.format_exception(error))


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Let a process that starts here never see Ctrl-C, not even before it can say so itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
