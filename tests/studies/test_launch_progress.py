"""`run_study` shows its progress if it is asked to, and nothing otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.studies.launch_data import Run, file_fixture, root_fixture, run_fixture  # noqa: F401 - fixtures
from tests.study_data import prepared_digits  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("digits")


def test_nothing_is_shown_by_default(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    run(trials=2)
    assert capfd.readouterr() == ("", "")


def test_progress_and_notices_are_shown_and_passed_on(run: Run, file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file.write_text(file.read_text().replace("learning_rate = 0.01", "learning_rate = 0.5"))
    notices: list[str] = []
    changes: list[object] = []
    run(trials=2, progress=True, on_notice=notices.append, on_change=changes.append)
    output, errors = capfd.readouterr()
    assert errors == ""
    assert "2/2 trials · 0 running" in output
    assert any("[base] is outside [space]" in notice for notice in notices)
    assert "[base] is outside [space]" in output
    assert changes
