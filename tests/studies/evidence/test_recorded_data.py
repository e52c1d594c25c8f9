"""The data of a study is found again, and data that has changed is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mlp.errors import ConfigError
from studies.data.cache import open_cached
from studies.evidence.recorded_data import prepare_recorded
from studies.records.results import load_study
from tests.studies.launch_data import Run, file_fixture, root_fixture, run_fixture  # noqa: F401 - fixtures
from tests.study_data import NAME, prepared_digits  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("digits")


def test_the_same_data_is_found_again(run: Run, root: Path) -> None:
    run(trials=1)
    results = load_study(NAME, root)
    assert open_cached(prepare_recorded(results)).digest == results.record.data.digest


def test_data_that_has_changed_is_refused(run: Run, root: Path) -> None:
    run(trials=1)
    results = load_study(NAME, root)
    record = replace(results.record, data=replace(results.record.data, digest="other"))
    with pytest.raises(ConfigError, match=f'has changed since study "{NAME}"'):
        prepare_recorded(replace(results, record=record))
