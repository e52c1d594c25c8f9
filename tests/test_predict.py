"""Predicting and judging with a saved model, through the functions below the command and through the command."""

from __future__ import annotations

import csv
import gzip
import io
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlp_data import blobs, small_config
from study_data import prepared_digits  # noqa: F401 - a fixture

from mlp import ConfigError, Dataset, train
from mlp.model import Model
from mlp.model_io import load_model
from studies.datasets import open_dataset, prepare
from studies.predict import evaluate_model, read_inputs, write_predictions
from studies.retrain import retrain

DATA = blobs()
pytestmark = pytest.mark.usefixtures("digits")


@pytest.fixture(scope="module")
def model() -> Model:
    """A model of the blobs, whose inputs are six bytes."""
    return Model.of(train(small_config(), DATA), DATA.classes)


def written(model: Model, inputs: Any) -> list[list[str]]:
    target = io.StringIO()
    write_predictions(model, inputs, target)
    return list(csv.reader(target.getvalue().splitlines()))


def idx(values: Any) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def files_with_inputs(folder: Path) -> dict[str, Path]:
    """Return the same inputs in files of every kind."""
    inputs, names = DATA.test_inputs, [f"pixel{i}" for i in range(6)]
    lines = [",".join(names), *(",".join(map(str, row)) for row in inputs.tolist())]
    (folder / "a.csv").write_text("\n".join(lines) + "\n")
    np.save(folder / "a.npy", inputs)
    np.savez(folder / "a.npz", inputs=inputs)
    np.savez_compressed(folder / "packed.npz", inputs=inputs.reshape(len(inputs), 2, 3))
    (folder / "a-ubyte").write_bytes(idx(inputs.reshape(len(inputs), 2, 3)))
    (folder / "a-ubyte.gz").write_bytes(gzip.compress(idx(inputs)))
    return {file.name: file for file in folder.iterdir()}


def test_inputs_are_the_same_from_files_of_every_kind(model: Model, tmp_path: Path) -> None:
    files = files_with_inputs(tmp_path)
    assert len(files) == 6
    for file in files.values():
        np.testing.assert_array_equal(read_inputs(file, model), DATA.test_inputs)


def test_an_example_is_a_line_of_its_label_and_the_probability_of_each_class(model: Model) -> None:
    header, *lines = written(model, DATA.test_inputs)
    assert header == ["label", "a", "b", "c"]
    assert [line[0] for line in lines] == ["abc"[label] for label in model.predict(DATA.test_inputs)]
    probabilities = np.array([line[1:] for line in lines], float)
    np.testing.assert_allclose(probabilities, model.predict_proba(DATA.test_inputs), rtol=1e-5)


def test_values_are_written_as_they_are() -> None:
    targets = DATA.inputs[:, :2] / 255.0
    dataset = Dataset("v", DATA.inputs, targets, DATA.inputs, targets, ("width", "height"), 255.0, "")
    model = Model.of(train(small_config({"loss": "mean_squared_error"}), dataset), dataset.classes)
    header, *lines = written(model, DATA.test_inputs)
    assert header == ["width", "height"]
    np.testing.assert_allclose(np.array(lines, float), model.predict(DATA.test_inputs), rtol=1e-5)


def test_the_column_with_the_answers_is_left_out(model: Model, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("u,v,w,answer,x,y,z\n1,2,3,yes,4,5,6\n")
    np.testing.assert_array_equal(read_inputs(tmp_path / "a.csv", model, label="answer"), [[1, 2, 3, 4, 5, 6]])


def test_inputs_of_another_width_are_refused(model: Model, tmp_path: Path) -> None:
    np.save(tmp_path / "five.npy", DATA.test_inputs[:, :5])
    with pytest.raises(ConfigError, match=r"five\.npy: the model takes 6 inputs an example, but here there are 5"):
        read_inputs(tmp_path / "five.npy", model)


def npz_that_claims(shape: str) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    return file.getvalue()


HOSTILE = {
    "nothing.csv": (b"", "is empty"),
    "text.csv": (b"x,y\n1,red\n", 'column "y": must hold numbers, got .red.. .*--label y'),
    "gap.csv": (b"x,y\n1,\n", "line 2, column .y.: there is no value"),
    "claims.npz": (
        npz_that_claims("(17179869184, 1)"),
        "a.npy claims to hold 17179869184×1 values of type float64, but does not",
    ),
    "no.npz": (b"PK\x03\x04", "cannot be read"),
    "no.npy": (b"\x93NUMPY", "cannot be read"),
    "pickle.npy": (b"\x80\x04K\x01.", "cannot be read"),
    "words": (b"words", "is no IDX file"),
    "claims-ubyte": (
        struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 4),
        "claims to hold 2147483648×2147483648×4 values of type uint8, but does not",
    ),
    "short-ubyte": (b"\0\0\x08\x03\0\0", "ends within its header"),
    "scalar-ubyte": (b"\0\0\x08\x00", "is no IDX file"),
}


@pytest.mark.parametrize(("name", "content", "said"), [(name, *rest) for name, rest in HOSTILE.items()], ids=HOSTILE)
def test_files_that_hold_no_inputs_are_refused_by_name_and_cost_no_memory(
    name: str, content: bytes, said: str, model: Model, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match=rf"{name}: .*{said}"):
            read_inputs(tmp_path / name, model)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_missing_file_and_a_missing_array_are_named(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.npy: there is no such file"):
        read_inputs(tmp_path / "none.npy", model)
    np.savez(tmp_path / "two.npz", first=np.zeros((1, 6)), second=np.ones((1, 6)))
    with pytest.raises(ConfigError, match="holds 2 arrays; say which: --array first or second"):
        read_inputs(tmp_path / "two.npz", model)
    with pytest.raises(ConfigError, match=r'holds no array "secnd". Did you mean "second"\?'):
        read_inputs(tmp_path / "two.npz", model, array="secnd")
    np.testing.assert_array_equal(read_inputs(tmp_path / "two.npz", model, array="second"), np.ones((1, 6)))


@pytest.fixture
def digits_model(tmp_path: Path) -> Path:
    """A model of the digits, as one JSON file, trained in the manner of `studies train --save`."""
    place = tmp_path / "digits.json"
    retrain(small_config({"data": {"name": "digits"}, "network.hidden": [16]}), save=place)
    return place


def test_a_model_is_judged_as_its_training_judged_it(tmp_path: Path) -> None:
    config = small_config({"data": {"name": "digits"}, "network.hidden": [16]})
    result = retrain(config, test=True, save=tmp_path / "model")
    assert result.test is not None
    found = evaluate_model(load_model(tmp_path / "model"), "digits", extra=["f1_macro"])
    assert {key: found[key] for key in result.test} == result.test
    assert 0.5 < found["test/f1_macro"] < 1.0


def test_data_that_do_not_fit_the_model_and_unknown_metrics_are_refused(model: Model) -> None:
    with pytest.raises(
        ConfigError, match=r'the model goes from 6 inputs to 3 classes .* but "digits" from 64 inputs to 10 classes'
    ):
        evaluate_model(model, "digits")
    with pytest.raises(ConfigError, match='no metric called "f1"'):
        evaluate_model(model, "digits", extra=["f1"])


def test_the_commands_predict_and_evaluate(digits_model: Path, tmp_path: Path) -> None:
    dataset = open_dataset(prepare("digits"))
    np.save(tmp_path / "digits.npy", dataset.test_inputs)

    def studies(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from studies.cli import main; main()", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = studies("predict", str(digits_model), str(tmp_path / "digits.npy"), "-o", str(tmp_path / "out.csv"))
    assert (done.returncode, done.stderr) == (0, "")
    lines = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    accuracy = np.mean([int(line["label"]) for line in lines] == dataset.test_targets)
    judged = studies("evaluate", str(digits_model), "--data", "digits")
    assert f"test/accuracy  {accuracy:.6g}" in judged.stdout.splitlines()
    refused = studies("predict", str(digits_model), str(tmp_path / "nothing.npy"))
    assert refused.returncode == 2
    assert "there is no such file" in refused.stderr


def test_a_training_is_drawn(tmp_path: Path) -> None:
    retrain(small_config({"data": {"name": "digits"}}), pictures=tmp_path / "pictures", test=True)
    files = sorted(file.name for file in (tmp_path / "pictures").iterdir())
    assert files == ["confusion.png", "curves.png", "first_layer.png", "predictions.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in (tmp_path / "pictures").iterdir())
