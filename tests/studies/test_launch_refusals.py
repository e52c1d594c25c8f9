"""What `run_study` refuses before any work, and what it says about settings without effect."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from mlp.errors import ConfigError
from studies.errors import StudyLockedError
from studies.launch import check_record
from studies.plan import plan_study
from studies.records.home import Home
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
    trial_table,
)

pytestmark = pytest.mark.usefixtures("digits")


def test_a_notice_names_the_value_of_base_that_is_outside_the_space(run: Run, file: Path) -> None:
    notices: list[str] = []
    run(trials=1, on_notice=notices.append, name="inside")
    assert notices == []
    file.write_text(STUDY.replace("learning_rate = 0.01", "learning_rate = 0.5"))
    run(trials=1, on_notice=notices.append)
    assert notices == [
        '[base] is outside [space]: "optimizer.learning_rate" = 0.5; trial 0 runs it, the sampler ignores it.'
    ]


def test_a_notice_names_settings_without_effect(run: Run) -> None:
    notices: list[str] = []
    run(trials=1, on_notice=notices.append, workers=99, overrides=["epochs=1"])
    never_pruned, unused_workers = notices
    assert never_pruned == "pruner.min_epochs = 1 is not below epochs = 1, so that no trial is pruned."
    assert unused_workers.startswith("3 of 99 workers are used, because parallelism is 3.")


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("max_parameters = 600", r"\[base\] has 610 parameters, but max_parameters is 600\."),
        ('max_memory = "1MB"', r"\[base\] needs 1.\d+ MB of memory, but max_memory is 1 MB\."),
        ('max_memory = "much"', r'"max_memory": must be a number of bytes, or a text such as "2GB"'),
    ],
)
def test_constraints_that_cannot_be_met_are_refused(run: Run, file: Path, root: Path, limit: str, message: str) -> None:
    file.write_text(STUDY.replace("trials = 8", f"trials = 8\n{limit}"))
    with pytest.raises(ConfigError, match=message):
        run()
    assert not Home(root).study(NAME).record.exists()


def test_a_study_is_not_resumed_with_other_constraints(run: Run, file: Path) -> None:
    file.write_text(STUDY.replace("trials = 8", "trials = 2\nmax_parameters = 700"))
    assert run().status == "complete"
    file.write_text(STUDY.replace("trials = 8", "trials = 2\nmax_parameters = 800"))
    with pytest.raises(ConfigError, match=r"study\.max_parameters was 700 and is 800"):
        run()


@pytest.mark.parametrize("space", ["", "[space]\n", "[space]\nbatch_size = [32]\n"])
def test_several_trials_of_the_same_configuration_are_refused(run: Run, file: Path, root: Path, space: str) -> None:
    file.write_text(STUDY.partition("[space]")[0] + space)
    with pytest.raises(ConfigError, match=r"\[space\]: has only one configuration, so that all trials would be the"):
        run()
    assert not Home(root).study(NAME).record.exists()
    assert run(trials=1).status == "complete"


def test_a_study_that_another_process_runs_is_refused_naming_the_process(run: Run, root: Path) -> None:
    with (
        Home(root).study(NAME).lock(),
        pytest.raises(StudyLockedError, match=rf'study "small" is being run by process {os.getpid()} on '),
    ):
        run()
    assert run(trials=1).status == "complete"


def test_a_different_study_of_the_same_name_is_refused_with_every_difference(run: Run, root: Path, file: Path) -> None:
    run(trials=2)
    before = trial_table(root), Home(root).study(NAME).record.read_bytes()
    with pytest.raises(ConfigError) as refusal:
        run(overrides=["epochs=5", "seed=4"])
    assert str(refusal.value).startswith(
        'study "small" already exists with different settings: base.seed was 0 and is 4, base.epochs was 3 and is 5. '
        'Run it under a new name with --name (with warm_start = ["small"] in [study] to learn from it), or delete '
    )
    assert (trial_table(root), Home(root).study(NAME).record.read_bytes()) == before
    recorded = Home(root).study(NAME).read_record()
    check_record(recorded, plan_study(file, trials=99), Home(root))
    edited = replace(recorded, fingerprint={**recorded.fingerprint, "data.digest": "f" * 64})
    assert recorded.differences_to(edited) == ["the content of its data, or how it is read, has changed"]


def test_a_home_that_cannot_be_written_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match=r"the home .*taken cannot be written: Not a directory. Choose another"):
        run(home=tmp_path / "taken")


def test_the_home_can_be_set_by_the_environment(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setenv("STUDIES_HOME", str(root))
    monkeypatch.chdir(tmp_path)
    run(home=None, trials=1)
    assert len(load_study(NAME).trials) == 1
    assert not (tmp_path / "mlruns").exists()


TWO_CLASSES = 'the loss "binary_cross_entropy" needs exactly 2 classes, got 10; use "softmax_cross_entropy".'


TOGETHER = (
    "must be at least 2 with batch normalization, which needs several examples, got 1. This happens with "
    "batch_size = 1 and network.normalization = batch. Guard one of them with `when`, or remove it."
)


UNFIT = {
    "a loss for another task": ('loss = "binary_cross_entropy"', "", f'[base] "loss": {TWO_CLASSES}'),
    "weights for other classes": (
        "class_weights = [1.0, 2.0]",
        "",
        '[base] "class_weights": must have one number for each of the 10 classes, got 2.',
    ),
    "more held out than there is": (
        "",
        '"data.validation" = [0.2, 1438]',
        '[space] "data.validation": must leave at least one of 1438 training examples to train on, got 1438.',
    ),
    "a choice for another task": (
        "",
        'loss = ["softmax_cross_entropy", "binary_cross_entropy"]',
        f'[space] "loss": {TWO_CLASSES}',
    ),
    "a choice that batches of one exclude": (
        "",
        'batch_size = [64, 1]\n"network.normalization" = ["none", "batch"]',
        f'[space] "batch_size": {TOGETHER}',
    ),
    "a metric for another task": (
        'metrics = ["r2"]',
        "",
        '[base] "metrics": the metric "r2" is for values, but the targets are classes; use one of ',
    ),
    "a metric to stop by that is not computed": (
        'early_stopping = { metric = "validation/top_k_accuracy" }',
        "",
        '[base] "early_stopping": needs "validation/top_k_accuracy", which is not computed. Add it to metrics, or ',
    ),
}


@pytest.mark.parametrize(("base", "space", "problem"), UNFIT.values(), ids=UNFIT)
def test_a_study_that_does_not_fit_the_data_is_refused_before_any_work(
    run: Run, file: Path, root: Path, base: str, space: str, problem: str
) -> None:
    file.write_text(STUDY.replace("epochs = 3", f"epochs = 3\n{base}") + space)
    with pytest.raises(ConfigError) as refusal:
        run()
    assert str(refusal.value).startswith(f"{file}: {problem}")
    assert not Home(root).study(NAME).root.exists()


def test_a_study_metric_that_is_not_computed_is_refused_with_what_to_add(run: Run, file: Path) -> None:
    file.write_text(STUDY.replace("trials = 8", 'trials = 1\nmetric = "validation/top_k_accuracy"'))
    with pytest.raises(ConfigError) as refusal:
        run()
    assert str(refusal.value) == (
        f'{file}: [base] "metrics": metric "validation/top_k_accuracy" of [study] is not computed. '
        'Set metrics = ["top_k_accuracy"] in [base], or use validation/loss or validation/accuracy.'
    )
    assert run(overrides=['metrics=["top_k_accuracy"]']).status == "complete"


def test_a_study_metric_for_another_task_is_refused(run: Run, file: Path) -> None:
    file.write_text(STUDY.replace("trials = 8", 'trials = 1\nmetric = "validation/r2"'))
    with pytest.raises(ConfigError, match=r'\[study\] "metric": the metric "r2" is for values, but the targets are c'):
        run()


def test_an_unknown_data_set_is_reported_with_the_study_file(run: Run, file: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        run(overrides=["data.name=digit"])
    assert str(refusal.value).startswith(f'{file}: [base] "data.name": "digit" is not a data set.')
