"""`run_study(enqueue=...)`: configurations of files and values, also for a study that is resumed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlp.errors import ConfigError
from studies.records.results import load_study
from tests.studies.launch_data import (
    STUDY,
    Run,
    file_fixture,  # noqa: F401 - a fixture
    root_fixture,  # noqa: F401 - a fixture
    run_fixture,  # noqa: F401 - a fixture
)
from tests.study_data import (
    NAME,
    prepared_digits,  # noqa: F401 - a fixture
)

pytestmark = pytest.mark.usefixtures("digits")


def rates(root: Path) -> list[float]:
    return [trial.params["optimizer.learning_rate"] for trial in load_study(NAME, root).trials]


@pytest.fixture(name="export")
def export_fixture(tmp_path: Path) -> Path:
    """A configuration that differs from base in a searched field and in another one."""
    file = tmp_path / "export.toml"
    base = STUDY.partition("[base]")[2].partition("[space]")[0]
    file.write_text(base.replace("learning_rate = 0.01", "learning_rate = 0.07").replace("= 128", "= 64"))
    return file


def test_the_searched_values_of_a_file_are_tried_and_a_notice_names_the_others(
    run: Run, root: Path, export: Path
) -> None:
    notices: list[str] = []
    run(trials=3, enqueue=[export, {"optimizer.learning_rate": 0.02}], on_notice=notices.append)
    assert rates(root) == [0.01, 0.07, 0.02]
    assert notices == [f"Only the searched values of {export} are tried, although batch_size is 64 there and 128 here."]
    recorded = load_study(NAME, root).record.enqueued
    assert [entry.params["optimizer.learning_rate"] for entry in recorded] == [0.07, 0.02]


def test_a_resumed_study_tries_what_is_enqueued_next_and_only_once(run: Run, root: Path, export: Path) -> None:
    run(trials=2)
    run(trials=4, enqueue=[export])
    assert rates(root)[2] == 0.07
    assert run(trials=4, enqueue=[export]).status == "already complete"
    run(trials=6, enqueue=[export])
    assert rates(root).count(0.07) == 1


def test_the_export_of_a_study_can_be_enqueued(run: Run, root: Path) -> None:
    best = run(trials=3).export
    assert best is not None
    run(trials=2, name="again", enqueue=[best])
    value = load_study(NAME, root).best
    again = load_study("again", root).trials[1]
    assert value is not None
    assert again.params == value.params


def test_nothing_is_enqueued_in_a_complete_study_or_outside_the_space(run: Run, root: Path, export: Path) -> None:
    run(trials=1)
    with pytest.raises(ConfigError, match=r"is complete, so no enqueued configuration would be tried\."):
        run(trials=1, enqueue=[export])
    export.write_text(export.read_text().replace("0.07", "0.7"))
    with pytest.raises(ConfigError, match=r'export.toml: "optimizer.learning_rate": is 0.7, which is not in the space'):
        run(trials=2, enqueue=[export])
    with pytest.raises(ConfigError, match=r"there is no such file"):
        run(trials=2, enqueue=[root / "missing.toml"])
    assert load_study(NAME, root).record.enqueued == ()


def test_a_notice_counts_configurations_that_were_not_tried(run: Run, export: Path) -> None:
    notices: list[str] = []
    run(trials=1, enqueue=[export], on_notice=notices.append)
    assert notices[-1] == "Enqueued configurations that the limits left untried: 1."


def test_enqueued_configurations_must_meet_the_constraints(run: Run, file: Path, root: Path) -> None:
    text = STUDY.replace('"network.activation" =', '"network.hidden" = [[8], [32]]\n"network.activation" =')
    text = text.replace("trials = 8", "trials = 8\nmax_parameters = 700")
    file.write_text(text)
    with pytest.raises(
        ConfigError, match=r"--enqueue: the configuration has 2,410 parameters, but max_parameters is 700"
    ):
        run(enqueue=[{"network.hidden": [32]}])
    file.write_text(text.replace("[confirm]", '[[study.enqueue]]\n"network.hidden" = [32]\n[confirm]'))
    with pytest.raises(ConfigError, match=r"\[\[study.enqueue\]\], entry 1: the configuration has 2,410 parameters"):
        run()
    assert not (root / "studies" / NAME / "study.json").exists()
