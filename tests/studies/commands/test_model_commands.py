"""`studies train`, `predict` and `evaluate`, run as a person would run them."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from mlp.model_io import load_model
from studies.data.cache import open_cached
from studies.models.export import read_config
from studies.models.retrain import retrain
from tests.studies.commands.shell import (
    Shell,
)


def test_an_export_is_reproduced_exactly_in_another_folder(finished_once: Path, shell: Shell, tmp_path: Path) -> None:
    export = shell.folder / "best.toml"
    shutil.copy(finished_once / "mlruns/studies/digits/best.toml", export)
    answer = shell.studies("train", "best.toml", STUDIES_CACHE=str(tmp_path / "another cache"))
    assert (answer.returncode, answer.stderr) == (0, "")
    value = tomllib.loads(export.read_text())["provenance"]["value"]
    assert f"reproduced exactly: validation/accuracy {value!r} and the weights" in answer.stdout
    assert re.search(r"^epoch 3/3 .*validation/accuracy 0\.\d{4}$", answer.stdout, re.M)
    assert "test/accuracy" not in answer.stdout
    assert not shell.home.root.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "recorded", "mismatch"),
    [
        ("value", "0.5", r"^mismatch: validation/accuracy is 0\.\d+, recorded as 0\.5\.$"),
        (
            "weight_digest",
            f'"{"0" * 64}"',
            rf"^mismatch: the digest of the weights is [0-9a-f]{{64}}, recorded as {'0' * 64}\.$",
        ),
    ],
)
def test_an_export_that_is_not_reproduced_exits_with_1_and_the_mismatch(
    finished: Shell, key: str, recorded: str, mismatch: str
) -> None:
    export = finished.home.study("digits").best
    text, n = re.subn(rf"^{key} = .*$", f"{key} = {recorded}", export.read_text(), flags=re.M)
    assert n == 1
    export.write_text(text)
    answer = finished.studies("train", str(export))
    assert (answer.returncode, answer.stderr) == (1, "")
    assert re.search(mismatch, answer.stdout, re.M)
    assert answer.stdout.count("mismatch: ") == 1
    assert "reproduced exactly" not in answer.stdout


def test_a_saved_model_has_the_printed_test_accuracy(finished: Shell, cache: Path) -> None:
    export = str(finished.home.study("digits").best)
    answer = finished.studies("train", export, "--test", "--save", "model")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "reproduced exactly" in answer.stdout
    printed = re.search(r"^test/accuracy +(0\.\d{4}) *$", answer.stdout, re.M)
    assert printed
    (data,) = (cache / "arrays").glob("digits-*/")
    dataset = open_cached(data)
    predicted = load_model(finished.folder / "model").predict(dataset.test_inputs)
    assert f"{(predicted == dataset.test_targets).mean():.4f}" == printed[1]


def test_a_refit_with_another_seed_trains_on_all_examples_and_is_not_compared(
    finished: Shell, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIES_CACHE", str(cache))
    export = finished.home.study("digits").best
    answer = finished.studies("train", str(export), "--refit", "--seed", "7", "--test")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.search(r"^trained +1438 examples", answer.stdout, re.M)
    assert "reproduced" not in answer.stdout
    assert retrain(*read_config(export), refit=True, seed=7).weight_digest in answer.stdout


def test_training_a_study_file_trains_its_base(shell: Shell) -> None:
    answer = shell.studies("train", "study.toml")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.search(r"^epoch 3/3 ", answer.stdout, re.M)


def test_an_ensemble_is_trained_saved_and_evaluated(finished: Shell) -> None:
    export = str(finished.home.study("digits").best)
    answer = finished.studies("train", export, "--ensemble", "2", "--test", "--save", "both.json")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert len(re.findall(r"^seed \d+ .*test/accuracy 0\.\d{4}$", answer.stdout, re.M)) == 2
    (accuracy,) = re.findall(r"^ *test/accuracy +0\.\d{4} +0\.\d{4} +0\.\d{4} +(0\.\d{4}) *$", answer.stdout, re.M)
    assert "2 networks, 2 seeds, trained in " in answer.stdout
    printed = finished.studies("evaluate", "both.json", "digits").stdout
    (evaluated,) = re.findall(r"^test/accuracy +(\S+)$", printed, re.M)
    assert f"{float(evaluated):.4f}" == accuracy
    refused = finished.studies("train", export, "--ensemble", "2", "--seed", "1")
    assert refused.returncode == 2
    assert "cannot be combined with --seed or --pictures" in refused.stderr


def test_an_ensemble_needs_a_confirmation(finished: Shell) -> None:
    answer = finished.studies("export", "digits", "--ensemble")
    assert answer.returncode == 2
    assert 'the winner of study "digits" is not confirmed' in answer.stderr
