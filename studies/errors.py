"""The errors of `studies`. A mistake in the input is a `ConfigError`, as in `mlp`."""

from __future__ import annotations

from mlp.errors import ConfigError


class StudyLockedError(ConfigError):
    """Another process is running the study."""


class HistoryMismatchError(RuntimeError):
    """The record of a study differs from what the program computes now."""


class WorkerLostError(RuntimeError):
    """The process that was computing a segment has died."""


class ServerError(RuntimeError):
    """The MLflow server did not start."""


class RefusedError(Exception):
    """The tracking store rejects a request permanently, for example because the run was deleted."""
