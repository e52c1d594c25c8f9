"""Pruners: when a trial that does not look promising is stopped."""

from studies.search.pruners.comparing import Median, Percentile, Wilcoxon
from studies.search.pruners.halving import Asha, Hyperband, SuccessiveHalving
from studies.search.pruners.pruner import AbstractPruner, pruners
from studies.search.pruners.single import NoPruner, Patient, Threshold

__all__ = [
    "AbstractPruner",
    "Asha",
    "Hyperband",
    "Median",
    "NoPruner",
    "Patient",
    "Percentile",
    "SuccessiveHalving",
    "Threshold",
    "Wilcoxon",
    "pruners",
]
