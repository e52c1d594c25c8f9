"""The entry to data: from a name or a file to an open data set, and a study of a CSV file from start to end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlp.data import DataConfig, Dataset
from mlp.errors import ConfigError
from studies.data import idx, table_source
from studies.data.bundled import DigitsSource
from studies.data.cache import open_cached, read_report
from studies.data.data_report import DataReport
from studies.data.prepare import open_dataset, prepare_data
from studies.data.sources import FileSearch
from studies.data.table import Table

FLOWERS = "petal,colour,kind\n" + "".join(f"{i % 7},{'red' if i % 3 else 'blue'},{'ab'[i % 2]}\n" for i in range(20))


def test_open_dataset_opens_the_folder_that_prepare_data_returns() -> None:
    assert open_dataset("digits") is open_cached(prepare_data(DataConfig("digits")))


@pytest.mark.parametrize("kind", [str, Path])
def test_open_dataset_takes_the_path_of_a_csv_file_and_a_folder_of_either_type(
    tmp_path: Path, kind: type[str] | type[Path]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "own.csv").write_text("x,label\n" + "".join(f"{i},{i % 2}\n" for i in range(10)))
    assert len(open_dataset("own.csv", data_dir=kind(tmp_path / "data")).inputs) == 8


def test_a_cached_data_set_needs_neither_its_files_nor_a_network(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    read = idx.read_gzip_or_plain

    def count(file: Path, limit: int) -> bytes:
        calls.append(file)
        return read(file, limit)

    monkeypatch.setattr(idx, "read_gzip_or_plain", count)
    folder = prepare_data("mnist", data_dir=tiny)
    assert len(calls) == 4
    for data_dir in (tiny, tmp_path / "elsewhere", None):
        assert prepare_data("mnist", data_dir=data_dir) == folder
    assert len(calls) == 4


def test_simultaneous_requests_for_a_data_set_read_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read = DigitsSource.read

    def read_slowly(self: DigitsSource, search: FileSearch) -> Dataset:
        reads.append(self.name)
        time.sleep(0.2)  # long enough for the other requests to find an empty cache
        return read(self, search)

    monkeypatch.setattr(DigitsSource, "read", read_slowly)
    with ThreadPoolExecutor(3) as threads:
        folders = set(threads.map(prepare_data, ["digits"] * 3))
    assert (reads, len(folders)) == (["digits"], 1)


@pytest.mark.parametrize("data", ["", DataConfig("")])
def test_an_empty_name_is_refused_with_the_available_names(data: str | DataConfig) -> None:
    with pytest.raises(ConfigError, match=r'^"data\.name": is empty\. Give the path of a file or one of: digits, '):
        open_dataset(data)


def test_a_file_is_searched_in_the_working_folder_and_then_in_the_data_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    config = DataConfig("own.csv", target="kind")
    with pytest.raises(ConfigError) as error:
        prepare_data(config, data_dir=tmp_path / "data")
    places = f"{tmp_path / 'own.csv'} nor {tmp_path / 'data' / 'own.csv'}"
    assert str(error.value) == f'"data.file": there is no file {places}.'
    (tmp_path / "data" / "own.csv").write_text(FLOWERS)
    assert len(open_dataset(config, data_dir=tmp_path / "data").inputs) == 16
    (tmp_path / "own.csv").write_text(FLOWERS + "1,red,a\n" * 5)
    assert len(open_dataset(config, data_dir=tmp_path / "data").inputs) > 16


def test_a_csv_file_is_read_again_only_if_its_content_or_its_fields_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    build = table_source.build_dataset

    def counting(
        table: Table, parts: dict[str, Table], config: DataConfig, *, digest: str
    ) -> tuple[Dataset, DataReport]:
        reads.append(table.file)
        return build(table, parts, config, digest=digest)

    monkeypatch.setattr(table_source, "build_dataset", counting)
    file = tmp_path / "own.csv"
    file.write_text(FLOWERS)
    first = prepare_data(DataConfig("own.csv", target="kind"))
    os.utime(file)
    assert prepare_data(DataConfig("own.csv", target="kind", scale="none", validation=3)) == first
    assert len(reads) == 1
    half = prepare_data(DataConfig("own.csv", target="kind", test=0.5))
    file.rename(tmp_path / "moved.csv")
    assert open_cached(prepare_data(DataConfig("moved.csv", target="kind"))).digest == open_cached(first).digest
    reads.pop()
    file.write_text(FLOWERS.replace("0,", "9,", 1))
    changed = prepare_data(DataConfig("own.csv", target="kind"))
    assert (
        len({first, half, changed}) == len({open_cached(f).digest for f in (first, half, changed)}) == len(reads) == 3
    )
    assert open_cached(changed).columns == ("petal", "colour")
    reports = [read_report(folder) for folder in (first, half)]
    assert [report and report.n_test for report in reports] == [4, 10]


def test_a_mistake_in_a_csv_file_is_reported_for_the_data_field(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("x,label\n1,a\n2,a\n")
    with pytest.raises(ConfigError, match=r'^"data": own.csv: column "label": must have at least two classes'):
        prepare_data(DataConfig("own.csv"))


STUDY = """
[study]
name = "own"
trials = 2
pruner = "none"
parallelism = 1
sampler = "random"

[confirm]
enabled = false

[base]
epochs = 3
batch_size = 4
data = { name = "own.csv", label = "kind", scale = "standard" }
network = { hidden = [4] }

[space]
"network.activation" = ["relu", "tanh"]
"""


@pytest.mark.slow
def test_a_study_of_a_csv_file_runs_is_exported_retrained_and_predicts(tmp_path: Path) -> None:
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
    evaluated = studies("evaluate", "model.json", "own.csv").stdout
    (accuracy,) = (line.split()[1] for line in trained.stdout.splitlines() if line.startswith("test/accuracy"))
    assert f"test/accuracy  {float(accuracy):.6g}\n" in evaluated
    (tmp_path / "own.csv").write_text(FLOWERS + "1,red,a\n")
    changed = studies("train", best)
    assert changed.returncode == 1
    assert 'the digest of the data set "own.csv" is ' in changed.stdout
    misspelled = studies("run", "own.toml", "--set", "data.label=king", "--name", "other")
    assert (misspelled.returncode, misspelled.stdout) == (2, "")
    problem = (
        'own.csv: there is no column "king" to predict. Did you mean "kind"? '
        "Set data.target to it. Its columns are: petal, colour, kind."
    )
    assert misspelled.stderr == f'error: own.toml: [base] "data": {problem}\n'


def test_a_test_file_with_the_content_of_the_training_file_is_refused(tmp_path: Path) -> None:
    for name in ("own.csv", "copy.csv"):
        (tmp_path / name).write_text("a,label\n" + "1,x\n2,y\n" * 20)
    data = DataConfig(file=str(tmp_path / "own.csv"), test=str(tmp_path / "copy.csv"))
    with pytest.raises(ConfigError, match=r'"data.test": .*copy.csv: has the same content as the training file'):
        prepare_data(data)
