"""Hyperparameter studies of `mlp`: run a study, read it, export its best trial, train it again.

Each public name is imported when it is first used. A worker imports this package too, and needs none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studies.data.prepare import open_dataset as open_dataset
    from studies.evidence.advice import advice as advice
    from studies.evidence.audit import audit as audit
    from studies.evidence.compare import compare_trials as compare_trials
    from studies.evidence.confirmation import read_confirmation as read_confirmation
    from studies.evidence.ensemble import export_ensemble as export_ensemble
    from studies.evidence.reproduce import reproduce as reproduce
    from studies.evidence.winner import export_trial as export_trial
    from studies.launch import run_study as run_study
    from studies.models.ensemble import train_ensemble as train_ensemble
    from studies.models.retrain import retrain as retrain
    from studies.objective import Objective as Objective
    from studies.records.results import load_study as load_study
    from studies.search.spec import make_spec as make_spec
    from studies.search.spec import read_spec as read_spec

_PLACES = {
    "Objective": "studies.objective",
    "advice": "studies.evidence.advice",
    "audit": "studies.evidence.audit",
    "compare_trials": "studies.evidence.compare",
    "export_ensemble": "studies.evidence.ensemble",
    "export_trial": "studies.evidence.winner",
    "load_study": "studies.records.results",
    "open_dataset": "studies.data.prepare",
    "make_spec": "studies.search.spec",
    "read_confirmation": "studies.evidence.confirmation",
    "read_spec": "studies.search.spec",
    "reproduce": "studies.evidence.reproduce",
    "retrain": "studies.models.retrain",
    "run_study": "studies.launch",
    "train_ensemble": "studies.models.ensemble",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
