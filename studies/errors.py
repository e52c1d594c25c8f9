"""The errors of `studies`. A mistake in the input is a `ConfigError`, as in `mlp`."""

from __future__ import annotations

from mlp.errors import ConfigError


class StudyLockedError(ConfigError):
    """Another process is running the study."""


class HistoryMismatchError(RuntimeError):
    """The record of a study differs from what the program computes now."""


class WorkerLostError(RuntimeError):
    """The process that was computing a segment has died."""


class AllWorkersLostError(RuntimeError):
    """Worker processes die whatever they compute, so the study stops.

    Args:
        n_lost: how many have died in a row.
        last: the last loss.
    """

    def __init__(self, n_lost: int, last: WorkerLostError) -> None:
        super().__init__(
            f"{n_lost} worker processes in a row have died; the last one: {last} Nothing is lost, and no trial counts "
            "as failed. If the machine is short of memory, use fewer workers. Run the study again to resume it."
        )


class StorageError(RuntimeError):
    """A file of a study cannot be written, for example because the disk is full. The study can be resumed.

    Args:
        file: the file or folder.
        problem: what the system said, as in `No space left on device`.
        advice: what to do about it.
    """

    def __init__(self, file: object, problem: str, advice: str) -> None:
        super().__init__(
            f"{file} cannot be written: {problem.rstrip('.')}. {advice} Nothing that was finished is lost: run the "
            "study again to resume it."
        )


class ServerError(RuntimeError):
    """The MLflow server did not start."""


class NotPublishedError(RuntimeError):
    """The tracking store did not keep what was written to it, or gave an answer that MLflow does not give."""


class RefusedError(Exception):
    """The tracking store rejects a request permanently, for example because the run was deleted."""
