"""The errors of `studies`; a mistake in the input is a `ConfigError`, as in `mlp`."""

from __future__ import annotations

from mlp.errors import ConfigError


class StudyLockedError(ConfigError):
    """Another driver owns the study."""


class HistoryMismatchError(RuntimeError):
    """The record of a study differs from what this program computes."""


class WorkerLostError(RuntimeError):
    """The process that computed a segment has died."""


class ServerError(RuntimeError):
    """The MLflow server did not start."""


class RefusedError(Exception):
    """The tracking store rejects a request permanently, for example because the run was deleted."""
