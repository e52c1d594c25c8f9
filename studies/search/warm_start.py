"""Warm start: the trials of other studies, from which the sampler of a study learns."""

from __future__ import annotations

from collections.abc import Iterable

from mlp.config import TrainConfig
from mlp.errors import ConfigError, errors_in, listed
from studies.records.home import Home
from studies.records.prior_trial import PriorTrial
from studies.records.results import StudyResults, read_results
from studies.search.enqueued import params_of_config
from studies.search.spec import StudySpec


def collect_prior(spec: StudySpec, home: Home, data_digest: str) -> tuple[tuple[PriorTrial, ...], list[str]]:
    """Return the trials that a study learns from: those of the studies in its `warm_start`.

    A complete or pruned trial is used if its configuration is in the space of the study: each path that is searched
    here has an allowed value in the trial, and each path that was searched only there has the value of base here.

    Args:
        spec: the study.
        home: the home of the other studies.
        data_digest: the digest of the data of the study.

    Returns:
        The trials, in the order of the names and of their numbers; and a sentence for each study.

    Raises:
        ConfigError: if a study does not exist, or has another metric.
    """
    found: list[PriorTrial] = []
    notices: list[str] = []
    for name in spec.study.warm_start:
        with errors_in('[study] "warm_start":'):
            if name == spec.study.name:
                raise ConfigError(f'a study cannot start from itself, got "{name}".')
            results = read_results(home.existing_study(name))
            if results.metric != spec.study.metric:
                problem = f'the metric of study "{name}" is {results.metric}, and the metric here is'
                raise ConfigError(f"{problem} {spec.study.metric}, so their values cannot be compared.")
        trials, different = _trials_in_space(spec, results)
        found += trials
        n_ended = sum(trial.state in ("complete", "pruned") for trial in results.trials)
        outside = f"; {n_ended - len(trials)} are outside the space" if n_ended > len(trials) else ""
        notice = f'The sampler learns from {len(trials)} of {n_ended} trials of study "{name}"{outside}.'
        fields = f" Its base differs in {listed(different)}." if different else ""
        data = " Its data are different." if results.record.data.digest != data_digest else ""
        notices.append(f"{notice}{fields}{data}")
    return tuple(found), notices


def _trials_in_space(spec: StudySpec, results: StudyResults) -> tuple[list[PriorTrial], list[str]]:
    """Return the trials of another study that lie in a space, and the fixed fields in which they differ from it."""
    found: list[PriorTrial] = []
    different: dict[str, None] = {}
    for trial in results.trials:
        if trial.state in ("complete", "pruned"):
            try:
                params, others = params_of_config(spec.space, TrainConfig.from_mapping(trial.config))
            except ConfigError:  # a value that the space does not allow, or a field of another version
                continue
            if not _is_any_below(others, [*trial.params, *(parameter.path for parameter in spec.space)]):
                found.append(PriorTrial.of(results.name, trial, results.metric, params))
                different |= dict.fromkeys(others)
    return found, list(different)


def _is_any_below(paths: Iterable[str], searched: Iterable[str]) -> bool:
    """Return whether any path is searched, or is a field of a part that is."""
    searched = list(searched)
    return any(f"{path}.".startswith(f"{other}.") for path in paths for other in searched)
