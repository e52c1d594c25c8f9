"""The errors of `studies`. A mistake in the input is a `ConfigError`, as in `mlp`."""

from __future__ import annotations

from mlp.errors import ConfigError


class StudyLockedError(ConfigError):
    """Another process is running the study."""


class RecordError(ConfigError):
    """A file of a study is damaged or was changed. The message names the file and says how to go on."""


class HistoryMismatchError(RuntimeError):
    """The record of a study differs from what the program computes now.

    Args:
        place: the trial, and where it is recorded.
        problem: what is recorded and what is computed.
    """

    def __init__(self, place: object, problem: str) -> None:
        super().__init__(
            f"{place}: {problem}. The record was changed, or was made on another machine or with other versions of "
            "this program or its libraries. Use those versions, or run the study under a new --name."
        )


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


class DataLostError(RuntimeError):
    """The prepared data set of a study has been deleted or damaged while it ran. The study can be resumed.

    Args:
        problem: what is wrong with it.
    """

    def __init__(self, problem: object) -> None:
        super().__init__(
            f"The data set is gone: {problem} No trial counts as failed. Run the study again to prepare the data again "
            "and to resume."
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


class DamagedDatabaseError(StorageError):
    """Optuna's database is damaged. Its rows can be made again from the logs of the trials.

    Args:
        file: the database.
        problem: what is wrong with it.
        repair: the command that sets the database aside and makes its rows again.
    """

    def __init__(self, file: object, problem: str, repair: str) -> None:
        RuntimeError.__init__(
            self,
            f"{file} is damaged: {problem.rstrip('.')}. Nothing is lost, because the logs of the trials have all that "
            f"it had. To set it aside and make its rows again: {repair}",
        )


class WaitInterruptedError(RuntimeError):
    """The program was asked to stop while it waited for a locked database."""


class ServerError(RuntimeError):
    """The MLflow server did not start."""


class NotPublishedError(RuntimeError):
    """The tracking store did not keep what was written to it, or gave an answer that MLflow does not give."""


class RefusedError(Exception):
    """The tracking store rejects a request permanently, for example because the run was deleted."""
