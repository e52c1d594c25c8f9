"""Hyperparameter studies of `mlp`: run a study, read it, export its best trial, train it again.

Each public name is imported when it is first used. A worker imports this package too, and needs none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studies.data.prepare import open_dataset as open_dataset
    from studies.evidence.winner import export_trial as export_trial
    from studies.launch import run_study as run_study
    from studies.models.retrain import retrain as retrain
    from studies.objective import Objective as Objective
    from studies.records.results import load_study as load_study

_PLACES = {
    "Objective": "studies.objective",
    "export_trial": "studies.evidence.winner",
    "load_study": "studies.records.results",
    "open_dataset": "studies.data.prepare",
    "retrain": "studies.models.retrain",
    "run_study": "studies.launch",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
