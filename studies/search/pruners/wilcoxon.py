"""A pruner for cross-validation: it compares the folds of a trial with those of the best one, pair by pair."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

FOLD_VALUES = "fold_values"  # the user attribute of a trial with its values on each fold, by epoch


class FoldPruner(BasePruner):  # type: ignore[misc] # Optuna's types are not followed
    """Prunes a trial whose folds are significantly worse than those of the best complete trial at the same epoch.

    Optuna's `WilcoxonPruner` pairs the steps of two trials, because there a trial runs its folds one after another.
    Here they run in lockstep, so that all of them can be compared after each epoch.

    Args:
        p: the p-value below which a trial is pruned.
        min_epochs: epochs that every trial gets.
    """

    def __init__(self, p: float, min_epochs: int) -> None:
        self._p = p
        self._min_epochs = min_epochs

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        epoch = trial.last_step
        if epoch is None or epoch < self._min_epochs:
            return False
        sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
        complete = [
            other
            for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if not math.isnan(other.value)
        ]
        best = max(complete, key=lambda other: (sign * other.value, -other.number), default=None)
        if best is None:
            return False
        values, best_values = (other.user_attrs.get(FOLD_VALUES, {}).get(epoch, ()) for other in (trial, best))
        return p_worse([sign * value for value in values], [sign * value for value in best_values]) < self._p


def p_worse(values: Sequence[float], others: Sequence[float]) -> float:
    """Return the p-value that values are not worse (smaller) than others: the signed-rank test of Wilcoxon 1945.

    Args:
        values: one value for each fold.
        others: the values on the same folds; with another number of folds, or an undefined value, the p-value is 1.
    """
    if len(values) != len(others) or len(values) < 2:
        return 1.0
    differences = np.subtract(values, others)
    if not np.isfinite(differences).all() or not differences.any():
        return 1.0
    from scipy.stats import wilcoxon  # takes most of a second to import

    # Differences of zero count half for each side, as in Optuna's pruner.
    return float(wilcoxon(differences, alternative="less", zero_method="zsplit").pvalue)
