"""Optuna's Gaussian process, computed in one thread and fitted from the same start for each trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from optuna.distributions import BaseDistribution
from optuna.samplers import GPSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from mlp.arrays import one_blas_thread


class OneThreadGpSampler(GPSampler):  # type: ignore[misc] # Optuna's types are not followed
    """A Gaussian process whose suggestions depend on the trials and the seed only.

    Optuna starts each fit from the result of the one before, which a resumed study does not have. And the number of
    threads changes the order of summation, and so the last bits.
    """

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._gprs_cache_list = None
        with one_blas_thread(), _one_torch_thread():
            params: dict[str, Any] = super().sample_relative(study, trial, search_space)
        return params


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
