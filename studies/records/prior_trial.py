"""Prior trials: trials of other studies that a sampler learns from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from mlp.records import AbstractRecord, number
from studies.records.trial_record import TrialRecord


@dataclass(frozen=True, kw_only=True)
class PriorTrial(AbstractRecord):
    """A trial of another study, as far as a sampler learns from it.

    Attributes:
        study: the name of the other study.
        trial: the number of the trial there.
        params: its parameters in this study's space, by path.
        state: `complete` or `pruned`.
        value: the value of a complete trial.
        values: the metric of each epoch at which it is defined, by epoch.
    """

    study: str
    trial: int = number(at_least=0)
    params: Mapping[str, Any]
    state: Literal["complete", "pruned"]
    value: float | None = None
    values: Mapping[str, float]

    @classmethod
    def of(cls, study: str, trial: TrialRecord, metric: str, params: Mapping[str, Any]) -> Self:
        """Return a complete or pruned trial of a study as a prior trial with parameters of another space."""
        series = enumerate(trial.history.get(metric, ()), start=1)
        is_complete = trial.state == "complete"
        return cls(
            study=study,
            trial=trial.number,
            params=dict(params),
            state="complete" if is_complete else "pruned",
            value=trial.value if is_complete else None,
            values={str(epoch): value for epoch, value in series if math.isfinite(value)},
        )
