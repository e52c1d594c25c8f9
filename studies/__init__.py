"""Hyperparameter studies of `mlp`: one driver, stateless workers, everything published to MLflow."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studies.launch import run_study
    from studies.records.results import load_study

__all__ = ["load_study", "run_study"]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: a worker imports this package too, and needs none of it."""
    if name == "run_study":
        from studies.launch import run_study

        return run_study
    if name == "load_study":
        from studies.records.results import load_study

        return load_study
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
