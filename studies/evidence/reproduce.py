"""`reproduce`: trains a trial again and compares every metric and the weights with what is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlp.epochs import EpochMetrics, OnEpoch
from mlp.errors import ConfigError, DivergedError
from mlp.folds import open_training
from studies.data.prepare import open_dataset
from studies.data.task import settle_task
from studies.models.comparison import environment_differences
from studies.records.results import StudyResults

MOST_DIFFERENCES = 5  # that are listed


@dataclass(frozen=True)
class Reproduction:
    """The result of `reproduce`.

    Attributes:
        trial: the number of the trial.
        n_epochs: how many epochs were trained and compared.
        value: the value of the trial, as recorded; None if it has none.
        weight_digest: the SHA-256 of the kept weights now; empty if the trial has no recorded digest.
        differences: what is not as recorded, one sentence each; empty if it was reproduced exactly.
        explanations: differences of the machine and of versions that may explain them.
    """

    trial: int
    n_epochs: int
    value: float | None
    weight_digest: str
    differences: tuple[str, ...]
    explanations: tuple[str, ...]

    @property
    def is_exact(self) -> bool:
        """Whether every metric of every epoch and the weights are as recorded, to the last bit."""
        return not self.differences


def reproduce(
    results: StudyResults,
    trial: int,
    *,
    data_dir: str | Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> Reproduction:
    """Train a trial again, for as many epochs as are recorded, and compare it with its record.

    Args:
        results: the study, as `load_study(name)` returns it.
        trial: the number of the trial.
        data_dir: a folder with data files; by default the environment variable `STUDIES_DATA`.
        on_epoch: called with the metrics of each epoch.

    Raises:
        ConfigError: if there is no such trial, it has no epoch, or its data cannot be found.
    """
    recorded = results.trial(trial)
    diverged = recorded.ending is not None and recorded.ending.reason == "diverged"
    if not recorded.n_epochs and not diverged:
        raise ConfigError(f'trial {trial} of study "{results.name}" has no epoch that could be compared.')
    config, differences = results.config(trial), list[str]()
    folder = results.record.data.folder
    dataset = open_dataset(settle_task(config), data_dir=data_dir, beside=[Path(folder)] if folder else ())
    if dataset.digest != results.record.data.digest:
        differences.append("The content of the data, or how it is read, has changed since the study.")

    def compare(epoch: EpochMetrics) -> None:
        for key, series in recorded.history.items():
            was, value = series[epoch.epoch - 1], epoch.values.get(key)
            if value != was and not (value != value and was != was) and len(differences) < MOST_DIFFERENCES:  # NaN
                differences.append(f"{key} of epoch {epoch.epoch} is {value!r}, recorded as {was!r}.")
        if on_epoch is not None:
            on_epoch(epoch)

    training = open_training(config, dataset.splits(config.data, config.seed))
    try:
        training.run(recorded.n_epochs + diverged, compare)
    except DivergedError as error:
        if not diverged:
            differences.append(str(error))
    else:
        if diverged:
            differences.append(f"The training did not diverge in epoch {recorded.n_epochs + 1}, as it is recorded.")
    digest = recorded.ending.weight_digest if recorded.ending else ""
    now = training.weight_digest() if digest else ""
    if now != digest:
        differences.append(f"The digest of the weights is {now}, recorded as {digest}.")
    machine = {**results.record.versions, **(recorded.machines[-1] if recorded.machines else results.record.machine)}
    explanations = tuple(environment_differences(machine)) if differences else ()
    return Reproduction(trial, recorded.n_epochs, recorded.value, now, tuple(differences), explanations)
