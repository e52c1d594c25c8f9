"""Samplers: how the next configuration of a study is chosen."""

from studies.search.samplers.auto import Auto
from studies.search.samplers.drawn import QuasiRandom, Random
from studies.search.samplers.finite import BruteForce, Grid
from studies.search.samplers.learning import CmaEs, Gp, Nsga2, Tpe
from studies.search.samplers.sampler import AbstractSampler, attempt_number, samplers, trial_seed

__all__ = [
    "AbstractSampler",
    "Auto",
    "BruteForce",
    "CmaEs",
    "Gp",
    "Grid",
    "Nsga2",
    "QuasiRandom",
    "Random",
    "Tpe",
    "attempt_number",
    "samplers",
    "trial_seed",
]
