"""Evaluating a saved model: on parts of its own data, on other files, and from the command line."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlp.config import TrainConfig
from mlp.errors import ConfigError
from mlp.model import Model
from mlp.model_io import load_model, save_model
from mlp.training import train
from studies.data.cache import open_cached
from studies.models.evaluate import evaluate_model
from studies.models.retrain import retrain
from tests.mlp_data import blobs, small_config
from tests.study_data import prepared_digits  # noqa: F401 - a fixture
from tests.table_data import dataset_at, model_of

DATA = blobs()
FLOWERS = "petal,colour,kind\n" + "".join(f"{i % 7},{'red' if i % 3 else 'blue'},{'ab'[i % 2]}\n" for i in range(20))


@functools.cache
def model() -> Model:
    """A model of the blobs: 6 inputs, 3 classes."""
    return Model.of(train(small_config(), DATA), DATA)


@functools.cache
def digits_model(digits: Path) -> Model:
    dataset = open_cached(digits)
    config = TrainConfig.from_mapping({"epochs": 2, "data": {"name": "digits"}, "metrics": ["f1_macro"]})
    return Model.of(train(config, dataset), dataset)


def test_a_model_is_evaluated_on_a_part_of_its_data_set(digits: Path) -> None:
    dataset = open_cached(digits)
    fitted = digits_model(digits)
    scores = evaluate_model(fitted, "digits", extra=["roc_auc"])
    assert list(scores) == ["test/loss", "test/accuracy", "test/f1_macro", "test/roc_auc"]
    assert scores["test/accuracy"] == np.mean(fitted.predict(dataset.test_inputs) == dataset.test_targets)
    scores = evaluate_model(fitted, "digits", part="train")
    assert scores["train/accuracy"] == np.mean(fitted.predict(dataset.inputs) == dataset.targets)


@pytest.mark.usefixtures("digits")
def test_a_loaded_model_has_the_same_test_scores_as_its_training(tmp_path: Path) -> None:
    config = small_config({"data": {"name": "digits"}, "network.hidden": [16], "metrics": ["f1_macro"]})
    result = retrain(config, test=True, save=tmp_path / "model.json")
    assert evaluate_model(load_model(tmp_path / "model.json"), "digits") == result.test


@pytest.mark.usefixtures("digits")
def test_data_and_metrics_that_do_not_fit_the_model_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r'expects 6 inputs and 3 classes \(a, b, c\), but "digits" has 64 inputs and'
    ):
        evaluate_model(model(), "digits")
    with pytest.raises(ConfigError, match='the metric "r2" is for values, but the targets are classes'):
        evaluate_model(model(), "digits", extra=["r2"])
    with pytest.raises(ConfigError, match=r'there is no metric called "acuracy". Did you mean "accuracy"\?'):
        evaluate_model(model(), "digits", extra=["acuracy"])
    with pytest.raises(ConfigError, match=r'"digit" is not a data set\. Did you mean "digits"'):
        evaluate_model(model(), "digit")


def test_the_csv_file_of_a_model_has_parts_and_any_other_is_used_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIES_CACHE", str(tmp_path / "cache"))
    file, other = tmp_path / "own.csv", tmp_path / "other.csv"
    file.write_text(FLOWERS)
    other.write_text(FLOWERS + "\n")
    fitted = model_of(file, target="kind")
    dataset = dataset_at(fitted.manifest.config)
    accuracy = [
        np.mean(fitted.decisions_of(fitted.outputs_of_cells(x)) == y)
        for x, y in ((dataset.test_inputs, dataset.test_targets), (dataset.inputs, dataset.targets))
    ]
    assert evaluate_model(fitted, file)["test/accuracy"] == accuracy[0]
    assert evaluate_model(fitted, str(file), part="train")["train/accuracy"] == accuracy[1]
    in_full = evaluate_model(fitted, "other.csv", data_dir=tmp_path)
    assert in_full["data/accuracy"] == pytest.approx((4 * accuracy[0] + 16 * accuracy[1]) / 20)
    with pytest.raises(ConfigError, match=r"other.csv: has no parts, because its content is not that of the file"):
        evaluate_model(fitted, str(other), part="test")
    other.write_text(FLOWERS.replace("kind", "sort").replace("red,b", "red,c"))
    with pytest.raises(
        ConfigError, match=r'column "kind" to predict. Name it with --label COLUMN. Its columns are: .*sort'
    ):
        evaluate_model(fitted, str(other))
    with pytest.raises(
        ConfigError, match=r"column \"sort\", line 3: 'c' is not one of the classes of the model: a, b."
    ):
        evaluate_model(fitted, str(other), label="sort")


def test_the_training_file_is_known_by_its_content_however_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIES_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("own.csv").write_text(FLOWERS)
    Path("copy.txt").write_text(FLOWERS)
    fitted = model_of(Path("own.csv"), target="kind")
    scores = [evaluate_model(fitted, file) for file in ("own.csv", "./own.csv", tmp_path / "own.csv", "copy.txt")]
    assert scores == scores[:1] * 4
    assert "test/accuracy" in scores[0]
    Path("own.csv").write_text(FLOWERS + "1,red,a\n")
    assert "data/accuracy" in evaluate_model(fitted, "own.csv")


def test_rows_without_a_target_and_unseen_levels_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIES_CACHE", str(tmp_path / "cache"))
    (tmp_path / "own.csv").write_text(FLOWERS)
    fitted = model_of(tmp_path / "own.csv", target="kind")
    other = tmp_path / "other.csv"
    other.write_text("kind,petal,colour,shop\na,1,green,x\n,2,red,x\nb,3,red,x\n")
    notices: list[str] = []
    scores = evaluate_model(fitted, other, on_notice=notices.append)
    assert scores["data/accuracy"] in (0, 0.5, 1)
    assert [notice.removeprefix(f"{other}: ") for notice in notices] == [
        'the column "shop" is not used by the model.',
        "levels that the training data did not have count as no level: colour (1 of 3 rows).",
        "1 of 3 rows have no target and are left out.",
    ]
    other.write_text("kind,petal,colour\n,1,red\n")
    with pytest.raises(ConfigError, match="no row has a target"):
        evaluate_model(fitted, other)


def test_values_with_a_decimal_comma_are_compared_with_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIES_CACHE", str(tmp_path / "cache"))
    rows = [f'"{i % 7},5","{i % 7 * 3},25"\n' for i in range(40)]
    (tmp_path / "own.csv").write_text("x,y\n" + "".join(rows))
    (tmp_path / "other.csv").write_text('y,x\n"3,25","1,5"\n"6,25","2,5"\n')
    fitted = model_of(tmp_path / "own.csv", target="y")
    assert "data/r2" in evaluate_model(fitted, tmp_path / "other.csv")


def test_evaluating_on_a_missing_test_part_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIES_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "own.csv"
    file.write_text(FLOWERS)
    with pytest.raises(ConfigError, match=r'"own.csv" has no test part.'):
        evaluate_model(model_of(file, target="kind", test=0), str(file))


@pytest.mark.slow
def test_the_commands_predict_and_evaluate(tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_cached(digits)
    monkeypatch.chdir(tmp_path)
    save_model(digits_model(digits), "model")
    save_model(digits_model(digits), "model.json")
    np.save("x.npy", dataset.test_inputs)

    def studies(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "studies", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    shown = studies("predict", "model", "x.npy")
    assert (shown.returncode, shown.stderr, len(shown.stdout.splitlines())) == (0, "", 360)
    written = studies("predict", "model.json", "x.npy", "-o", "out.csv")
    assert (written.returncode, written.stdout) == (0, "359 predictions are in out.csv.\n")
    assert Path("out.csv").read_text() == shown.stdout
    evaluated = studies("evaluate", "model", "digits", "--metric", "top_k_accuracy")
    assert [line.split()[0] for line in evaluated.stdout.splitlines()] == [
        "test/loss",
        "test/accuracy",
        "test/f1_macro",
        "test/top_k_accuracy",
    ]
    for mistake, problem in (
        (("predict", "nowhere", "x.npy"), "nowhere/model.json: there is no such file. Is nowhere a saved model?"),
        (("predict", "model", "y.npy"), "y.npy: there is no such file."),
        (
            ("predict", "model", "x.npy", "-o", "no/out.csv"),
            "no/out.csv: cannot be written: No such file or directory. Ch",
        ),
        (("evaluate", "model", "y.csv"), "there is no file "),
        (("evaluate", "model", "mnis"), '"mnis" is not a data set'),
    ):
        answer = studies(*mistake)
        assert (answer.returncode, answer.stdout) == (2, "")
        assert problem in answer.stderr
        assert len(answer.stderr.splitlines()) == 1
