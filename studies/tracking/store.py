"""What the mirror needs of a tracking store. `mlflow_store` implements it with MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from studies.tracking.projection import Point


@dataclass
class Run:
    """What is known of a run in the store.

    Attributes:
        id: the store's own identifier.
        tags: its tags.
        status: `RUNNING`, `FINISHED`, `KILLED` or `FAILED`.
        described: whether its parameters and its data set are in the store.
        n_steps: how many steps of its metrics are in the store; None if that is not known yet.
        last_steps: the last step of each metric, at the time the run was read from the store.
        is_deleted: whether a person deleted it; a deleted run is not changed any more.
    """

    id: str
    tags: dict[str, str] = field(default_factory=dict)
    status: str = "RUNNING"
    described: bool = False
    n_steps: int | None = 0
    last_steps: dict[str, int] = field(default_factory=dict)
    is_deleted: bool = False


class Store(Protocol):
    """A tracking store. Every call may fail; a `RefusedError` means that repeating the call would not help.

    Attributes:
        n_connections: how many calls may be made at once.
    """

    n_connections: int

    def open_experiment(self, name: str, tags: Mapping[str, str]) -> str:
        """Return the id of the experiment with this name; create or restore it if necessary."""

    def runs(self, experiment_id: str, tag: tuple[str, str] | None = None) -> Iterable[Run]:
        """Return the runs of an experiment, deleted ones included; only those with a tag, if one is given."""

    def create_run(self, experiment_id: str, name: str, started: float, tags: Mapping[str, str]) -> str:
        """Return the id of a new run."""

    def log(self, run_id: str, points: Sequence[Point], parameters: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Add metrics, parameters and tags; adding them again changes nothing."""

    def log_dataset(self, run_id: str, fields: Mapping[str, str]) -> None:
        """Add the data set as an input; adding it again changes nothing."""

    def history(self, run_id: str, metric: str) -> dict[int, float]:
        """Return the values of a metric by step."""

    def set_status(self, run_id: str, status: str, ended: float | None = None) -> None:
        """Set the status of a run and, for a run that has ended, the time of its end."""

    def delete_tag(self, run_id: str, name: str) -> None:
        """Remove a tag."""

    def delete_run(self, run_id: str) -> None:
        """Delete a run."""

    def upload(self, run_id: str, folder: Path) -> None:
        """Add the files of a folder to the artifacts of a run."""
