"""Pruning by folds: a trial is pruned if its folds are significantly worse than those of the best trial."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
from optuna.trial import TrialState

from mlp.errors import ConfigError
from studies.running.view import StudyView
from studies.search.pruners.wilcoxon import p_worse
from tests.study_data import small_study

BEST = [0.90, 0.91, 0.92, 0.93, 0.94]
WORSE = [0.80, 0.82, 0.84, 0.86, 0.90]  # on each fold
MIXED = [0.80, 0.93, 0.94, 0.95, 0.90]  # worse in the mean, but not on each fold


def prunes(
    folds: list[float], *, best: list[float] = BEST, epoch: int = 1, metric: str = "validation/accuracy"
) -> bool:
    """Return whether a trial is pruned at an epoch, after one complete trial of three epochs."""
    pruner = {"name": "wilcoxon", "min_epochs": 2}
    view = StudyView(small_study({"pruner": pruner, "metric": metric}, {"data": {"name": "digits", "folds": 5}}))
    for number in range(2):
        view.ask()
        for step in range(1, 4 if number == 0 else epoch + 1):
            values = best if number == 0 else folds
            view.report(number, step, float(np.mean(values)), values)
        if number == 0:
            view.tell(0, TrialState.COMPLETE, float(np.mean(best)))
    return view.should_prune(1)


def test_a_trial_that_is_worse_on_every_fold_is_pruned_after_the_minimum_of_epochs() -> None:
    assert [prunes(WORSE, epoch=epoch) for epoch in (1, 2, 3)] == [False, True, True]


def test_a_trial_that_is_worse_on_some_folds_only_is_not_pruned() -> None:
    assert not prunes(MIXED, epoch=2)
    assert not prunes(BEST, epoch=2)


def test_smaller_is_better_for_a_loss() -> None:
    assert not prunes(WORSE, epoch=2, metric="validation/loss")
    assert prunes(BEST, best=WORSE, epoch=2, metric="validation/loss")


def test_a_trial_is_not_compared_at_an_epoch_that_the_best_one_does_not_have() -> None:
    assert not prunes(WORSE, epoch=4)


def test_an_undefined_fold_or_another_number_of_folds_prunes_no_trial() -> None:
    assert not prunes([math.nan, *WORSE[1:]], epoch=2)
    assert not prunes(WORSE[1:], epoch=2)


def test_the_p_value_is_that_of_the_signed_rank_test() -> None:
    assert p_worse(WORSE, BEST) == 0.5**5
    assert p_worse(BEST, WORSE) == 1.0
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.random(8), rng.random(8)
        assert p_worse(a, b) == pytest.approx(scipy.stats.wilcoxon(a, b, alternative="less").pvalue)


@pytest.mark.parametrize(
    ("pruner", "data", "metric", "problem"),
    [
        ({}, {}, "auto", '"wilcoxon" compares folds, and base has none. Set data.folds = 5, or choose "median".'),
        ({}, {"folds": 5, "fold": 1}, "auto", '"wilcoxon" compares folds, and base has none.'),
        ({}, {"folds": 3}, "auto", "with 3 folds no p-value is below 0.125, so p = 0.1 prunes no trial. Use more"),
        ({}, {"folds": 5}, "train/loss", '"wilcoxon" needs a validation metric, and the study has "train/loss".'),
    ],
)
def test_a_study_without_suitable_folds_is_an_error(
    pruner: dict[str, Any], data: dict[str, Any], metric: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as error:
        small_study({"pruner": {"name": "wilcoxon"} | pruner, "metric": metric}, {"data": {"name": "digits"} | data})
    assert str(error.value).startswith(f'[study] "pruner": {problem}')
