"""Engines: what computes segments. Each is an executor; nothing else in the driver changes with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeVar

from studies.segments import prepare_worker

T = TypeVar("T")
EngineName = Literal["processes", "in-process"]


class WorkerLostError(RuntimeError):
    """The process that computed a segment has died."""


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

    Each process has an executor, and so a pipe, of its own: a kill at any moment, in the middle of a message too,
    harms no other.

    Args:
        n_workers: how many.
    """

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        self._idle = [_Worker() for _ in range(n_workers)]
        self._workers = list(self._idle)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Hand a segment to an idle process; there must be one."""
        worker = self._idle.pop()
        result: Future[T] = Future()

        def hand_over(done: Future[T]) -> None:
            error = done.exception()
            if isinstance(error, BrokenProcessPool):
                error = WorkerLostError("the process of a worker has died.")
            self._idle.append(worker)
            if error is None:
                result.set_result(done.result())
            else:
                result.set_exception(error)

        worker.submit(fn, *args, **kwargs).add_done_callback(hand_over)
        return result

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the processes, running segments included."""
        for worker in self._workers:
            worker.kill()

    def process_ids(self) -> list[int]:
        """Return the processes that are up."""
        return [pid for worker in self._workers if (pid := worker.process_id()) is not None]


class _Worker:
    """One process, started at once and again whenever it has died."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._executor = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), initializer=prepare_worker, initargs=(os.getpid(),)
        )
        with _interrupts_blocked():
            self._pid = self._executor.submit(os.getpid)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        try:
            return self._executor.submit(fn, *args, **kwargs)
        except BrokenProcessPool:
            self._executor.shutdown(wait=False)
            self._start()
            return self._executor.submit(fn, *args, **kwargs)

    def process_id(self) -> int | None:
        return self._pid.result() if self._pid.done() and self._pid.exception() is None else None

    def kill(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        with suppress(ProcessLookupError, BrokenProcessPool):
            os.kill(self._pid.result(timeout=10), signal.SIGKILL)


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
