"""Data of one's own: what a CSV file becomes, when it is read anew, and a study of one from its file to its model."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp.data import DataConfig, Dataset
from mlp.errors import ConfigError
from studies.data import prepare as own_data
from studies.data.cache import open_cached
from studies.data.prepare import open_dataset, prepare_data, read_csv

FLOWERS = "petal,colour,kind\n" + "".join(f"{i % 7},{'red' if i % 3 else 'blue'},{'ab'[i % 2]}\n" for i in range(20))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("STUDIES_CACHE", str(folder))
    monkeypatch.delenv("STUDIES_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return folder


def read(text: str, **fields: Any) -> Dataset:
    file = Path("own.csv")
    file.write_text(text)
    return read_csv(file, DataConfig(**({"name": "own.csv"} | fields)))


def refusal(text: str, **fields: Any) -> str:
    with pytest.raises(ConfigError) as error:
        read(text, **fields)
    return str(error.value)


def test_texts_to_predict_are_classes_in_their_order() -> None:
    data = read(FLOWERS, label="kind")
    assert (data.name, data.task, data.classes) == ("own.csv", "classes", ("a", "b"))
    assert data.columns == ("petal", "colour=blue", "colour=red")
    assert (data.inputs.shape, data.test_inputs.shape, data.largest, data.image_shape) == ((16, 3), (4, 3), 6.0, ())
    assert data.targets.tolist() == [i % 2 for i in range(20) if i % 5 != 4]
    assert data.targets.dtype == np.int64


def test_every_fifth_row_is_set_aside() -> None:
    data = read("x,label\n" + "".join(f"{i},{i % 2}\n" for i in range(20)))
    assert data.test_inputs[:, 0].tolist() == [4, 9, 14, 19]
    assert data.inputs[:, 0].tolist() == [i for i in range(20) if i % 5 != 4]


@pytest.mark.parametrize(("test", "n"), [(0, 0), (3, 3), (0.5, 10), (0.001, 1), (0.2, 4)])
def test_the_test_part_has_the_size_that_is_asked_for(test: float, n: int) -> None:
    data = read(FLOWERS, label="kind", test=test)
    assert (len(data.test_inputs), len(data.inputs)) == (n, 20 - n)


def test_nothing_to_train_on_is_refused() -> None:
    assert "must leave something to train on: there are 20 rows" in refusal(FLOWERS, label="kind", test=20)


@pytest.mark.parametrize(
    ("cells", "task", "wanted", "classes"),
    [
        (["10", "9", "10"], "auto", "classes", ("9", "10")),
        (["1.5", "2.5", "1.5"], "auto", "values", ("label",)),
        (["1.5", "2.5", "1.5"], "classes", "classes", ("1.5", "2.5")),
        (["10", "9", "10"], "values", "values", ("label",)),
        (["True", "False", "True"], "auto", "classes", ("False", "True")),
        (["1", "x", "1"], "auto", "classes", ("1", "x")),
    ],
)
def test_the_column_says_what_is_predicted_unless_the_configuration_does(
    cells: list[str], task: str, wanted: str, classes: tuple[str, ...]
) -> None:
    data = read("x,label\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells)), task=task, test=0)
    assert (data.task, data.classes) == (wanted, classes)
    if wanted == "values":
        assert data.targets.tolist() == [[float(cell)] for cell in cells]
    else:
        assert [data.classes[target] for target in data.targets] == cells


def test_a_square_of_bytes_is_a_picture() -> None:
    names = ",".join(f"p{i}" for i in range(64))
    rows = "".join(",".join(str((i * j) % 256) for j in range(64)) + f",{i % 2}\n" for i in range(4))
    assert read(f"{names},label\n{rows}").image_shape == (8, 8)
    rows = "".join(",".join(str((i + j) % 2) for j in range(64)) + f",{i % 2}\n" for i in range(4))
    assert read(f"{names},label\n{rows}").image_shape == ()


@pytest.mark.parametrize(
    ("text", "fields", "problem"),
    [
        (
            "x,kind\n1,a\n",
            {"label": "kid"},
            'own.csv: there is no column "kid" to predict. Did you mean "kind"? Name it',
        ),
        ("label\n1\n2\n", {}, "own.csv: must have a column besides the one to predict."),
        ("x,label\n1,a\n2,a\n", {}, 'own.csv: column "label": must tell at least two classes apart, and holds a only.'),
        ("x,label\n1,a\n2,\n", {}, 'own.csv: line 3, column "label": there is no value.'),
        (
            "x,label\n1,a\n2,b\n",
            {"task": "values"},
            'own.csv: column "label": must hold numbers to be predicted as values',
        ),
        ("x,label\n1,inf\n2,0.5\n", {}, 'own.csv: line 2, column "label": must be finite and at most 1e+30, got inf.'),
        ("x,y\n", {"label": "y"}, "own.csv: has no line below the names of its columns."),
        (
            "x,label\n" + "".join(f"0,{i}\n" for i in range(1001)),
            {},
            'own.csv: column "label": would be 1001 classes; to predict numbers, set data.task = "values".',
        ),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(text: str, fields: dict[str, Any], problem: str) -> None:
    assert refusal(text, **fields).startswith(problem)


def test_a_file_is_looked_for_here_and_then_in_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    config = DataConfig("own.csv", label="kind")
    with pytest.raises(ConfigError) as error:
        prepare_data(config, data_dir=tmp_path / "data")
    places = f"{tmp_path / 'own.csv'} nor {tmp_path / 'data' / 'own.csv'}"
    assert str(error.value) == f'"data.name": there is no file {places}.'
    (tmp_path / "data" / "own.csv").write_text(FLOWERS)
    assert len(open_cached(prepare_data(config, data_dir=tmp_path / "data")).inputs) == 16
    (tmp_path / "own.csv").write_text(FLOWERS + "1,red,a\n" * 5)
    assert len(open_cached(prepare_data(config, data_dir=tmp_path / "data")).inputs) == 20


def test_a_file_is_read_once_until_it_or_what_is_wanted_of_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    reader = own_data.read_csv

    def counting(file: Path, config: DataConfig, *, digest: str) -> Dataset:
        reads.append(file)
        return reader(file, config, digest=digest)

    monkeypatch.setattr(own_data, "read_csv", counting)
    file = tmp_path / "own.csv"
    file.write_text(FLOWERS)
    first = prepare_data(DataConfig("own.csv", label="kind"))
    os.utime(file)
    assert prepare_data(DataConfig("own.csv", label="kind", scale="none", validation=3)) == first
    assert len(reads) == 1
    half = prepare_data(DataConfig("own.csv", label="kind", test=0.5))
    file.write_text(FLOWERS.replace("0,", "9,", 1))
    changed = prepare_data(DataConfig("own.csv", label="kind"))
    assert (
        len({first, half, changed}) == len({open_cached(f).digest for f in (first, half, changed)}) == len(reads) == 3
    )
    opened = open_cached(changed)
    assert (opened.columns, opened.inputs[0, 0]) == (("petal", "colour=blue", "colour=red"), 9)


def test_a_mistake_in_a_file_is_said_to_be_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("x,label\n1,a\n2,a\n")
    with pytest.raises(ConfigError, match=r'^"data": own.csv: column "label": must tell'):
        prepare_data(DataConfig("own.csv"))


def test_millions_of_cells_are_read_in_seconds(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3_000, 784), np.uint8)
    names = ",".join(["label", *(f"pixel{i}" for i in range(784))])
    lines = (f"{i % 10},{','.join(map(str, row))}" for i, row in enumerate(pixels.tolist()))
    (tmp_path / "own.csv").write_text("\n".join([names, *lines]) + "\n")
    started = time.process_time()
    data = open_cached(prepare_data(DataConfig("own.csv")))
    assert time.process_time() - started < 8
    np.testing.assert_array_equal(data.inputs, pixels[np.arange(3_000) % 5 != 4])
    assert (data.inputs.dtype, data.image_shape) == (np.uint8, (28, 28))


STUDY = """
[study]
name = "own"
trials = 2
parallelism = 1
sampler = "random"

[base]
epochs = 3
batch_size = 4
data = { name = "own.csv", label = "kind", scale = "standard" }
network = { hidden = [4] }

[space]
"network.activation" = ["relu", "tanh"]
"""


@pytest.mark.slow
def test_a_study_of_a_file_runs_is_exported_trains_again_and_predicts(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(FLOWERS)
    (tmp_path / "own.toml").write_text(STUDY)

    def studies(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "studies", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    ran = studies("run", "own.toml", "--no-publish", "--set", "data.test=0.5")
    assert (ran.returncode, ran.stderr) == (0, "")
    best = "mlruns/studies/own/best.toml"
    trained = studies("train", best, "--test", "--save", "model.json")
    assert trained.returncode == 0, trained.stderr
    assert "reproduced exactly" in trained.stdout
    (tmp_path / "new.csv").write_text("colour,petal\nred,3\nblue,4\n")
    predicted = studies("predict", "model.json", "new.csv").stdout.splitlines()
    assert (predicted[0], len(predicted)) == ("label,a,b", 3)
    judged = studies("evaluate", "model.json", "--data", "own.csv").stdout
    (tested,) = (line.split()[1] for line in trained.stdout.splitlines() if line.startswith("test/accuracy"))
    assert f"test/accuracy  {float(tested):.6g}\n" in judged
    (tmp_path / "own.csv").write_text(FLOWERS + "1,red,a\n")
    changed = studies("train", best)
    assert changed.returncode == 1
    assert 'the data set "own.csv" has the digest' in changed.stdout
    mistaken = studies("run", "own.toml", "--set", "data.label=king", "--name", "other")
    assert (mistaken.returncode, mistaken.stdout) == (2, "")
    problem = 'own.csv: there is no column "king" to predict. Did you mean "kind"? Name it with data.label.'
    assert mistaken.stderr == f'error: own.toml: [base] "data": {problem}\n'


@pytest.mark.parametrize("data", ["", DataConfig("")])
def test_an_empty_name_is_refused_with_the_names_there_are(data: str | DataConfig) -> None:
    with pytest.raises(ConfigError, match=r'^"data\.name": is empty\. Give the path of a CSV file or one of: digits, '):
        open_dataset(data)


@pytest.mark.parametrize("kind", [str, Path])
def test_open_dataset_takes_the_path_of_a_csv_file_and_a_folder_of_either_type(
    tmp_path: Path, kind: type[str] | type[Path]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "own.csv").write_text("x,label\n" + "".join(f"{i},{i % 2}\n" for i in range(10)))
    assert len(open_dataset("own.csv", data_dir=kind(tmp_path / "data")).inputs) == 8


def test_open_dataset_opens_what_prepare_data_has_cached() -> None:
    assert open_dataset("digits") is open_cached(prepare_data(DataConfig("digits")))
