"""The data set of a study, found again to train its trials once more."""

from __future__ import annotations

from pathlib import Path

from mlp.errors import ConfigError
from studies.data.cache import open_cached
from studies.data.prepare import prepare_data
from studies.data.task import settle_task
from studies.records.results import StudyResults


def prepare_recorded(results: StudyResults, data_dir: str | Path | None = None) -> Path:
    """Return the folder of the prepared data set of a study.

    Args:
        results: the study.
        data_dir: a folder with data files; by default the environment variable `STUDIES_DATA`.

    Raises:
        ConfigError: if the data cannot be found, or has changed since the study.
    """
    place = results.record.data.folder
    data = prepare_data(settle_task(results.config(0)), data_dir=data_dir, beside=[Path(place)] if place else ())
    if open_cached(data).digest != results.record.data.digest:
        problem = f'the content of the data, or how it is read, has changed since study "{results.name}"'
        raise ConfigError(f"{problem}, so that new results cannot be compared with it. Restore the data.")
    return data
