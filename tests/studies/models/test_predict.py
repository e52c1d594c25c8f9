"""Predicting and evaluating with a saved model: every kind of file, its errors, and hostile files."""

from __future__ import annotations

import csv
import functools
import gzip
import io
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp.arrays import Array
from mlp.config import TrainConfig
from mlp.data import Dataset
from mlp.errors import ConfigError
from mlp.model import Model
from mlp.model_io import load_model, save_model
from mlp.training import train
from studies.data.cache import open_cached
from studies.data.csv_dataset import read_csv
from studies.models.predict import evaluate_model, read_inputs, write_predictions
from studies.models.retrain import retrain
from tests.mlp_data import blobs, small_config
from tests.study_data import prepared_digits  # noqa: F401 - a fixture

DATA = blobs()
INPUTS = np.asarray(DATA.test_inputs)
FLOWERS = "petal,colour,kind\n" + "".join(f"{i % 7},{'red' if i % 3 else 'blue'},{'ab'[i % 2]}\n" for i in range(20))


@functools.cache
def model() -> Model:
    """A model of the blobs: 6 inputs, 3 classes."""
    return Model.of(train(small_config(), DATA), DATA)


def model_of(file: Path, **data: Any) -> Model:
    """Return a model trained on a CSV file for one epoch."""
    loss = "mean_squared_error" if data.get("task") == "values" else "softmax_cross_entropy"
    config = TrainConfig.from_mapping({"epochs": 1, "loss": loss, "data": {"name": str(file), **data}})
    dataset = read_csv(file, config.data)
    return Model.of(train(config, dataset), dataset)


def predictions(model: Model, inputs: Array) -> list[list[str]]:
    text = io.StringIO()
    write_predictions(model, inputs, text)
    return list(csv.reader(text.getvalue().splitlines()))


def refusal(file: Path, **options: Any) -> str:
    """Return the error about a file, without the name of the file, which must come first."""
    with pytest.raises(ConfigError) as error:
        read_inputs(file, model(), **options)
    assert str(error.value).startswith(f"{file}: ")
    return str(error.value).removeprefix(f"{file}: ")


def npy(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def idx(array: Array, kind: int = 8) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def lines(array: Array) -> bytes:
    header = ",".join(f"x{i}" for i in range(array.shape[1]))
    return "\n".join([header, *(",".join(map(str, row)) for row in array.tolist())]).encode()


def archive(member: bytes, compression: int = zipfile.ZIP_DEFLATED, name: str = "x.npy") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as zipped:
        zipped.writestr(name, member)
    return stream.getvalue()


FILES = {
    "x.npy": npy(INPUTS),
    "pictures.npy": npy(INPUTS.reshape(-1, 2, 3)),
    "columns.npy": npy(np.asfortranarray(INPUTS)),
    "floats.npy": npy(INPUTS.astype(np.float64)),
    "stored.npz": archive(npy(INPUTS), zipfile.ZIP_STORED),
    "packed.npz": archive(npy(INPUTS)),
    "x-idx3-ubyte": idx(INPUTS.reshape(-1, 2, 3)),
    "x-idx2-ubyte.gz": gzip.compress(idx(INPUTS)),
    "x-idx2-int": idx(INPUTS.astype(">i4"), 0x0C),
    "x-idx2-double.gz": gzip.compress(idx(INPUTS.astype(">f8"), 0x0E)),
    "x.csv": lines(INPUTS),
}


@pytest.mark.parametrize("name", FILES)
def test_the_same_inputs_in_any_file_give_the_same_predictions(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    inputs = read_inputs(tmp_path / name, model())
    np.testing.assert_array_equal(inputs, INPUTS)
    assert predictions(model(), inputs) == predictions(model(), INPUTS)


def test_a_prediction_is_the_most_probable_class_and_all_probabilities() -> None:
    header, *rows = predictions(model(), INPUTS)
    assert header == ["label", "a", "b", "c"]
    probabilities = np.array([[float(cell) for cell in row[1:]] for row in rows])
    np.testing.assert_allclose(probabilities, model().predict_proba(INPUTS), rtol=1e-5)
    assert [row[0] for row in rows] == [DATA.classes[which] for which in model().predict(INPUTS)]


def test_predicted_values_are_written_as_numbers(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("x,y\n" + "".join(f"{i},{i / 7}\n" for i in range(20)))
    fitted = model_of(file, target="y", task="values")
    inputs = read_inputs(file, fitted)
    header, *rows = predictions(fitted, inputs)
    assert header == ["y"]
    np.testing.assert_allclose([float(row[0]) for row in rows], fitted.predict(inputs)[:, 0], rtol=1e-5)


def test_the_probability_of_each_label_is_written() -> None:
    targets = (np.arange(140).reshape(70, 2) % 3 == 0).astype(np.uint8)
    data = Dataset("many", DATA.inputs, targets, DATA.test_inputs, targets[:20], ("round", "red"), 255.0, "")
    fitted = Model.of(train(small_config({"loss": "binary_cross_entropy"}), data), data)
    header, *rows = predictions(fitted, INPUTS)
    assert (header, len(rows)) == (["round", "red"], len(INPUTS))
    assert all(0 <= float(cell) <= 1 for row in rows for cell in row)


def test_no_examples_give_only_the_header(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(archive(npy(INPUTS[:0])))
    assert predictions(model(), read_inputs(tmp_path / "x.npz", model())) == [["label", "a", "b", "c"]]


def test_the_column_with_the_answers_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    rows = "".join(f"{','.join(map(str, row))},?\n" for row in INPUTS.tolist())
    for name in ("label", "answer"):
        file.write_text(f"a,b,c,d,e,f,{name}\n{rows}")
        np.testing.assert_array_equal(read_inputs(file, model(), label=name), INPUTS)
    assert refusal(file).startswith(
        "column \"answer\": must contain numbers, got '?'. If it contains the answers, ignore it with --label answer."
    )
    assert refusal(file, label="anser") == (
        'there is no column "anser". Did you mean "answer"? Its columns are: a, b, c, d, e, f, answer.'
    )


def test_an_array_of_several_is_chosen_by_name(tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    np.savez(file, train=INPUTS[:3], test=INPUTS)
    np.testing.assert_array_equal(read_inputs(file, model(), array="train"), INPUTS[:3])
    assert refusal(file) == "contains 2 arrays: train, test. Choose one with --array NAME."
    assert refusal(file, array="tests") == 'contains no array "tests". Did you mean "test"? Available: train, test.'


def test_the_columns_of_a_csv_file_can_be_in_any_order(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text(FLOWERS)
    fitted = model_of(file, target="kind")
    other = tmp_path / "other.csv"
    other.write_text("kind,colour,petal\n?,red,3\n?,blue,6\n")
    assert read_inputs(other, fitted).tolist() == [[3, 0, 1], [6, 1, 0]]
    other.write_text("colour,petal\ngreen,3\n")
    with pytest.raises(
        ConfigError,
        match="column \"colour\", line 2: must be one of 'blue', 'red', as in the training data, got 'green'",
    ):
        read_inputs(other, fitted)


HUGE = 1 << 40


def npy_claiming(n: int, dtype: str = "|u1") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({n}, 6)}}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(60)


def lying_archive() -> bytes:
    """Return an archive whose directory states the same false size as the header of its array."""
    member = npy_claiming(500_000_000)
    content = bytearray(archive(member))
    claimed = struct.pack("<I", len(member) - 60 + 3_000_000_000)
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = content.index(signature) + place
        content[start : start + 4] = claimed
    return bytes(content)


HOSTILE = {
    "more rows than there are.npy": (
        npy_claiming(HUGE),
        f"must contain {HUGE}×6 values of type uint8 as its header states, but does not.",
    ),
    "objects.npy": (npy_claiming(1, "|O"), "cannot be read: Array can't be memory-mapped: Python objects in dtype."),
    "nothing.npy": (b"", "cannot be read: "),
    "more rows than there are.npz": (
        archive(npy_claiming(HUGE)),
        f'array "x" must contain {HUGE}×6 values of type uint8 as its header states',
    ),
    "a lying directory.npz": (
        lying_archive(),
        'array "x" must contain 500000000×6 values of type uint8 as its header states, but',
    ),
    "objects.npz": (archive(npy_claiming(1, "|O")), 'array "x" must contain numbers, got the type object.'),
    "another packing.npz": (
        archive(npy(INPUTS), zipfile.ZIP_BZIP2),
        'array "x" is compressed by an unsupported method. Write the file with numpy.savez_compressed.',
    ),
    "no archive.npz": (npy(INPUTS), "cannot be read: File is not a zip file."),
    "empty.npz": (b"PK\x05\x06" + bytes(18), "contains no array."),
    "no array.npz": (archive(b"hello", name="x.txt"), "cannot be read: EOF: reading magic string"),
    "more than there is.idx": (
        struct.pack(">HBB2I", 0, 8, 2, 1 << 31, 1 << 31),
        f"must contain {1 << 31}×{1 << 31} values of type uint8",
    ),
    "more than there is.gz": (
        gzip.compress(struct.pack(">HBB2I", 0, 8, 2, 1 << 20, 6) + bytes(99)),
        f"must contain {1 << 20}×6 values of type uint8 as its header states, but does not.",
    ),
    "less than there is.idx": (
        idx(INPUTS) + b"0",
        "must contain 20×6 values of type uint8 as its header states, but does not.",
    ),
    "no dimensions.idx": (b"\0\0\x08\0", "is not an IDX file: it must begin with 00 00, a type and the number of"),
    "no such type.idx": (b"\0\0\x07\x01\0\0\0\x01", "is not an IDX file"),
    "cut.idx": (b"\0\0\x08\x03\0\0", "is cut off within its header."),
    "text.txt": (b"hello", "is not an IDX file"),
    "empty.gz": (gzip.compress(b""), "is not an IDX file"),
    "broken.gz": (gzip.compress(idx(INPUTS))[:-20], "cannot be read"),
    "wide.npy": (npy(INPUTS[:, :5]), "must have 6 inputs per example, because the model has 6, got 5."),
    "flat.npy": (npy(INPUTS[:, 0]), "must have 6 inputs per example, because the model has 6, got 1."),
    "single.npy": (npy(np.float64(1)), "must have one row per example, got a scalar."),
    "texts.npy": (npy(np.full((2, 6), "a")), "inputs must be numbers, got the type <U1."),
    "complex.npy": (npy(np.ones((2, 6), complex)), "inputs must be numbers, got the type complex128."),
    "infinite.npy": (
        npy(np.full((2, 6), np.inf)),
        "inputs must be finite and at most 1e+30, got inf in row 0, column 0.",
    ),
    "wide.csv": (lines(INPUTS[:, :5]), "must have 6 inputs per example, because the model has 6, got 5."),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_invalid_file_is_refused_by_name_without_allocating_memory(tmp_path: Path, name: str) -> None:
    content, problem = HOSTILE[name]
    (tmp_path / name).write_bytes(content)
    before = resource.getrlimit(resource.RLIMIT_AS)
    with Path("/proc/self/statm").open() as statm:
        in_use = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + (1 << 28), before[1]))
    try:
        message = refusal(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert message.startswith(problem)


def test_a_file_that_is_missing_or_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    for name in ("x.csv", "x.npy", "x.npz", "x-ubyte"):
        assert refusal(tmp_path / name) == "there is no such file."
        (tmp_path / name).mkdir()
        assert refusal(tmp_path / name).startswith(("cannot be read", "must be a regular file, got a folder"))


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
    other.write_text(FLOWERS)
    fitted = model_of(file, target="kind")
    dataset = read_csv(file, fitted.manifest.config.data)
    accuracy = [
        np.mean(fitted.predict(x) == y)
        for x, y in ((dataset.test_inputs, dataset.test_targets), (dataset.inputs, dataset.targets))
    ]
    assert evaluate_model(fitted, file)["test/accuracy"] == accuracy[0]
    assert evaluate_model(fitted, str(file), part="train")["train/accuracy"] == accuracy[1]
    in_full = evaluate_model(fitted, "other.csv", data_dir=tmp_path)
    assert in_full["data/accuracy"] == pytest.approx((4 * accuracy[0] + 16 * accuracy[1]) / 20)
    with pytest.raises(ConfigError, match=r"other.csv: has no parts, because the model was not trained on it"):
        evaluate_model(fitted, str(other), part="test")
    other.write_text(FLOWERS.replace("kind", "sort").replace("red,b", "red,c"))
    with pytest.raises(ConfigError, match=r'column "kind" to predict. Name it with --label. Its columns are: .*sort'):
        evaluate_model(fitted, str(other))
    with pytest.raises(
        ConfigError, match=r"column \"sort\", line 3: 'c' is not one of the classes of the model: a, b."
    ):
        evaluate_model(fitted, str(other), label="sort")


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
