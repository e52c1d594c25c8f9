"""Exports are read back exactly; errors in a file name the file and the field."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from mlp import ConfigError, TrainConfig
from studies.evidence.winner import export_trial
from studies.models.export import Provenance, read_config
from studies.models.machine import machine, versions
from studies.records.home import Home
from studies.records.results import StudyResults, load_study
from studies.records.trial_log import TrialLog
from studies.records.trial_record import Ending, State, TrialRecord
from tests.mlp_data import records
from tests.record_data import IDENTITY, RECORD, study_record

CONFIG = TrainConfig.from_mapping(
    {
        "data": {"name": "digits", "validation": 300},
        "epochs": 4,
        "network": {"hidden": {"depth": 2, "width": 48, "taper": 0.7}, "activation": {"name": "leaky_relu"}},
        "optimizer": {"name": "adam", "learning_rate": 0.1 + 0.2, "weight_decay": 1e-5},
        "schedule": "cosine",
        "early_stopping": {"patience": 2},
    }
)


def trial(number: int, state: State, values: list[float], kept: int = 1, config: TrainConfig = CONFIG) -> TrialRecord:
    reason = {"pruned": "pruner", "failed": "MemoryError"}.get(state, "")
    value = values[kept - 1] if state == "complete" else None
    ending = None if state == "running" else Ending(state, reason, value, kept, "ab" * 32)
    history = {"train/loss": [0.3 - value / 7 for value in values], "validation/accuracy": values}
    return TrialRecord(number, {}, config.to_mapping(), 1.0, history, [1.0 for _ in values], ending)


def study(*trials: TrialRecord, **changes: Any) -> StudyResults:
    return StudyResults(study_record(**changes), trials)


def test_an_export_is_read_back_exactly(tmp_path: Path) -> None:
    results = study(trial(0, "complete", [0.1, 1 / 3, 0.2], kept=2))
    config, provenance = read_config(export_trial(results, 0, tmp_path / "best.toml"))
    assert config == CONFIG
    assert provenance == Provenance(
        study="digits",
        trial=0,
        metric="validation/accuracy",
        value=1 / 3,
        kept_epoch=2,
        weight_digest="ab" * 32,
        data_digest=RECORD["data"]["digest"],
        cpu="Z80 (z80)",
        blas="blas 1.0",
        scores={"train/loss": 0.3 - (1 / 3) / 7, "validation/accuracy": 1 / 3},
        versions={"python": "3.11.7", "numpy": "2.4.6", "mlp-studies": "0.1.0"},
    )


@settings(deadline=None, max_examples=50)
@given(config=records(TrainConfig).filter(lambda config: config.data.file))
def test_any_configuration_is_read_back_exactly(tmp_path_factory: pytest.TempPathFactory, config: TrainConfig) -> None:
    results = study(trial(0, "complete", [0.5], config=config))
    file = export_trial(results, 0, tmp_path_factory.getbasetemp() / "any.toml")
    again, _ = read_config(file)
    assert again == config
    assert again.to_mapping() == config.to_mapping()


def test_a_trial_is_exported_from_the_log_of_a_study(tmp_path: Path) -> None:
    folder = tmp_path / "studies" / "digits"
    (folder / "trials").mkdir(parents=True)
    Home(tmp_path).study("digits").write_record(study_record())
    log = TrialLog(folder / "trials" / "0000.jsonl", IDENTITY)
    log.asked(0, 0, {}, CONFIG.to_mapping())
    log.epoch(1, 1, {"validation/accuracy": 0.1 + 0.2})
    log.ended(1000, Ending("complete", "", 0.1 + 0.2, 1, "cd" * 32))
    _, provenance = read_config(export_trial(load_study("digits", tmp_path), None, folder / "best.toml"))
    assert provenance is not None
    assert (provenance.value, provenance.weight_digest) == (0.1 + 0.2, "cd" * 32)


def test_the_best_trial_is_exported_by_default(tmp_path: Path) -> None:
    results = study(trial(0, "complete", [0.5]), trial(1, "complete", [0.7]), trial(2, "complete", [0.7]))
    _, provenance = read_config(export_trial(results, None, tmp_path / "best.toml"))
    assert provenance is not None
    assert provenance.trial == 1


def test_the_default_file_is_named_after_study_and_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = study(trial(0, "complete", [0.5]), trial(1, "complete", [0.7]))
    assert export_trial(results) == Path("experiments/best/digits.toml")
    assert export_trial(results, 0) == Path("experiments/best/digits-0.toml")
    provenances = [read_config(f"experiments/best/{name}.toml")[1] for name in ("digits", "digits-0")]
    assert [provenance and provenance.trial for provenance in provenances] == [1, 0]


def test_a_study_without_a_complete_trial_exports_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='study "digits" has no complete trial yet'):
        export_trial(study(trial(0, "pruned", [0.5])), None, tmp_path / "best.toml")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("state", "description"),
    [("pruned", r"pruned \(pruner\)"), ("failed", r"failed \(MemoryError\)"), ("running", "running")],
)
def test_only_complete_trials_are_exported(tmp_path: Path, state: State, description: str) -> None:
    results = study(trial(0, "complete", [0.5]), trial(1, state, [0.9]))
    with pytest.raises(
        ConfigError,
        match=rf'trial 1 of study "digits" is {description}\. Only complete .* The best complete trial is 0\.',
    ):
        export_trial(results, 1, tmp_path / "best.toml")
    assert list(tmp_path.iterdir()) == []


def test_a_record_without_a_machine_is_exported_with_this_machine(tmp_path: Path) -> None:
    results = study(trial(0, "complete", [0.5]), machine={})
    _, provenance = read_config(export_trial(results, 0, tmp_path / "best.toml"))
    assert provenance is not None
    assert {"cpu": provenance.cpu, "blas": provenance.blas} == machine()


def test_the_header_states_what_the_file_is_and_how_to_train_it(tmp_path: Path) -> None:
    file = export_trial(study(trial(3, "complete", [0.5])), 3, tmp_path / "deep" / "er" / "my best.toml")
    lines = file.read_text().splitlines()
    assert lines[0].startswith('# The configuration of trial 3 of study "digits"')
    assert "validation/accuracy = 0.5" in lines[0]
    assert lines[2].endswith("studies train 'my best.toml' --test")
    assert lines[3] == ""
    assert [path.name for path in file.parent.iterdir()] == ["my best.toml"]


def test_a_line_break_in_the_file_name_still_gives_valid_toml(tmp_path: Path) -> None:
    file = export_trial(study(trial(0, "complete", [0.5])), 0, tmp_path / "be\nst.toml")
    assert "studies train FILE --test" in file.read_text()
    assert read_config(file)[0] == CONFIG


def test_an_export_replaces_an_earlier_one(tmp_path: Path) -> None:
    results = study(trial(0, "complete", [0.5]), trial(1, "complete", [0.7]))
    export_trial(results, 0, tmp_path / "best.toml")
    file = export_trial(results, 1, tmp_path / "best.toml")
    assert tomllib.loads(file.read_text())["provenance"]["trial"] == 1


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "file" / "best.toml", tmp_path / "folder"):
        with pytest.raises(ConfigError, match="cannot be written"):
            export_trial(study(trial(0, "complete", [0.5])), 0, place)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_bare_configuration_has_no_provenance(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('epochs = 3\ndata = { name = "digits" }\n')
    assert read_config(file) == (TrainConfig.from_mapping({"epochs": 3, "data": {"name": "digits"}}), None)


def test_the_base_of_a_study_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[study]\nname = "s"\n[base]\nepochs = 3\ndata = { name = "digits" }\n[space]\n"epochs" = [1, 2]\n')
    assert read_config(file) == (TrainConfig.from_mapping({"epochs": 3, "data": {"name": "digits"}}), None)


def exported(tmp_path: Path) -> str:
    return export_trial(study(trial(0, "complete", [0.5])), 0, tmp_path / "export.toml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 4", "epoch = 4", '"epoch": is not a field of .* Did you mean "epochs"'),
        ("epochs = 4", "epochs = 0", '"epochs": must be at least 1, got 0'),
        ('name = "adam"', 'name = "adan"', '"optimizer": there is no optimizer called "adan".* Did you mean "adam"'),
        ("kept_epoch = 1", "", '"provenance.kept_epoch": is missing'),
        ("kept_epoch = 1", 'kept_epoch = "1"', "\"provenance.kept_epoch\": must be a whole number, got '1'"),
        (
            "kept_epoch = 1",
            "kept_epochs = 1",
            r'"provenance.kept_epochs": is not a field of \[provenance\].* Did you mean "kept_epoch"',
        ),
        ("[provenance.scores]", "[provenance.scores]\na = true", '"provenance.scores.a": must be a number, got True'),
        ("epochs = 4", "epochs = 4\nepochs = 5", "is not TOML: .*line 7"),
    ],
)
def test_an_invalid_field_is_reported_with_file_and_path(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "faulty.toml"
    text = exported(tmp_path)
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=rf"faulty\.toml: {message}"):
        read_config(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[base]\nepoch = 1\ndata = { name = "digits" }', r'\[base\] "epoch": is not a field'),
        ('[study]\nname = "s"', r"has no \[base\] table"),
        ("epochs = 3", '"data.file": is missing. Give the path of a file'),
        ('provenance = 3\ndata = { name = "digits" }', '"provenance": must be a table with study, trial, .*, got 3'),
    ],
)
def test_a_file_without_a_configuration_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "faulty.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=rf"faulty\.toml: {message}"):
        read_config(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        read_config(tmp_path / "nowhere.toml")


def test_the_machine_is_described_by_processor_and_blas() -> None:
    here = machine()
    assert set(here) == {"cpu", "blas"}
    assert all(here.values())
    assert set(versions()) == {"python", "numpy", "mlp-studies"}


def test_the_blas_of_numpy_is_reported_even_if_scipy_loads_another() -> None:
    show = "from studies.models.machine import machine; print(machine()['blas'])"
    printed = {
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        for code in (show, f"import scipy.linalg; {show}")
    }
    assert len(printed) == 1
