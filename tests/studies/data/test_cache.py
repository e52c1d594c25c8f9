"""The cache: complete or absent, whatever happens while it is written."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest

from mlp.data import DataConfig
from mlp.errors import ConfigError
from studies.data import cache
from studies.data.bundled import DIGITS, DigitsSource
from studies.data.cache import open_cached, read_report
from studies.data.data_report import DataReport
from studies.data.prepare import open_dataset, prepare_data
from tests.disk_data import small_disk


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_inputs_are_mapped_bytes_and_labels_are_int64_in_memory() -> None:
    dataset = open_dataset("digits")
    assert isinstance(dataset.inputs, np.memmap)
    assert isinstance(dataset.test_inputs, np.memmap)
    assert dataset.inputs.dtype == dataset.test_inputs.dtype == np.uint8
    assert type(dataset.targets) is type(dataset.test_targets) is np.ndarray
    assert dataset.targets.dtype == dataset.test_targets.dtype == np.int64
    split = dataset.split(DataConfig("digits", validation=100), seed=0)
    assert len(split.train) == 1338


def test_a_process_opens_a_folder_once() -> None:
    folder = prepare_data("digits")
    assert open_cached(folder) is open_cached(folder)


def edit(file: Path, old: bytes, new: bytes) -> None:
    """Replace the first occurrence in a file without changing its size."""
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new, 1))


def without_fields(folder: Path) -> None:
    """Write the record as an earlier version did, which knew fewer fields; its seal is right."""
    file = folder / cache.RECORD
    record = json.loads(file.read_text(encoding="utf-8"))
    record = {key: value for key, value in record.items() if key not in ("n_given", "schema", "seal")}
    file.write_text(json.dumps({**record, "seal": cache._seal(record)}), encoding="utf-8")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "an array is missing": lambda folder: (folder / "test_targets.npy").unlink(),
    "an earlier version wrote it": without_fields,
    "an array is truncated": lambda folder: os.truncate(folder / "inputs.npy", 200),
    "an array is empty": lambda folder: os.truncate(folder / "targets.npy", 0),
    "the record is missing": lambda folder: (folder / "dataset.json").unlink(),
    "the record is truncated": lambda folder: os.truncate(folder / "dataset.json", 30),
    "the record is something else": lambda folder: (folder / "dataset.json").write_text("[]"),
    "an array is a pipe": lambda folder: ((folder / "inputs.npy").unlink(), os.mkfifo(folder / "inputs.npy")),
    "the record is a pipe": lambda folder: ((folder / "dataset.json").unlink(), os.mkfifo(folder / "dataset.json")),
    "the record is nested": lambda folder: (folder / "dataset.json").write_text("[" * 100_000),
    "the record is a device": lambda folder: (
        (folder / "dataset.json").unlink(),
        (folder / "dataset.json").symlink_to("/dev/zero"),
    ),
    "a class is renamed": lambda folder: edit(folder / "dataset.json", b'"7"', b'"3"'),
    "the scale is changed": lambda folder: edit(folder / "dataset.json", b"16.0", b"61.0"),
    "the pixels are changed": lambda folder: edit(folder / "inputs.npy", bytes([9]), bytes([8])),
    "labels are changed": lambda folder: edit(folder / "targets.npy", bytes([9]), bytes([3])),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_cache_folder_is_written_again(damage: Callable[[Path], object]) -> None:
    folder = prepare_data("digits")
    complete = {file.name: file.read_bytes() for file in folder.iterdir()}
    damage(folder)
    assert prepare_data("digits") == folder
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == complete


def special_table(folder: Path) -> Path:
    """Return the prepared folder of a table with a weight, a group, an order, and a validation part of its own."""
    rows = [
        f"{'' if i % 9 == 4 else i / 7},{i % 3}x,{i % 8}g,{1 + i % 2},2024-01-{1 + i % 28:02d},{'ab'[i % 2]}"
        for i in range(60)
    ]
    text = "size,sort,group,weight,day,kind\n" + "\n".join(rows)
    (folder / "own.csv").write_text(text)
    (folder / "other.csv").write_text(text.replace("1,1x,", "2,1x,"))
    fields = {"group": "group", "weight": "weight", "order": "day", "validation": "other.csv"}
    return prepare_data(DataConfig(file="own.csv", target="kind", **fields))  # type: ignore[arg-type]


def test_a_table_keeps_its_schema_weights_groups_order_and_report(tmp_path: Path) -> None:
    folder = special_table(tmp_path)
    dataset = open_cached(folder)
    assert dataset.schema is not None
    assert dataset.schema.names == dataset.columns == ("size", "sort", "day")
    assert dataset.schema.columns[1].levels == ("0x", "1x", "2x")
    assert dataset.n_given == 60
    for array in (dataset.weights, dataset.groups, dataset.order):
        assert array is not None
        assert len(array) == len(dataset.inputs) == 105
    assert np.isnan(dataset.inputs).any()
    report = read_report(folder)
    assert report is not None
    assert DataReport.from_mapping(report.to_mapping()) == report
    assert (report.n_train, report.n_validation, len(report.columns)) == (105, 60, 6)
    assert read_report(prepare_data("digits")) is None


TABLE_DAMAGE: dict[str, Callable[[Path], object]] = {
    "the report is missing": lambda folder: (folder / "report.json").unlink(),
    "the report is changed": lambda folder: edit(folder / "report.json", b"size", b"sise"),
    "a level is changed": lambda folder: edit(folder / "dataset.json", b'"1x"', b'"3x"'),
    "weights are missing": lambda folder: (folder / "weights.npy").unlink(),
    "the order is changed": lambda folder: edit(folder / "order.npy", b"\xd9", b"\xd8"),
    "groups are truncated": lambda folder: os.truncate(folder / "groups.npy", 99),
}


@pytest.mark.parametrize("damage", TABLE_DAMAGE.values(), ids=TABLE_DAMAGE.keys())
def test_a_damaged_table_is_written_again(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    folder = special_table(tmp_path)
    complete = {file.name: file.read_bytes() for file in folder.iterdir()}
    damage(folder)
    assert special_table(tmp_path) == folder
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == complete


def test_names_and_levels_beyond_the_limit_are_refused_and_leave_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MAX_RECORD", 100)
    with pytest.raises(
        ConfigError, match=r"own\.csv: the names and the levels of its columns take \d+ bytes, at most 100 are"
    ):
        special_table(tmp_path)
    assert not list((tmp_path / "cache" / "arrays").glob("*.draft"))


def test_a_folder_without_a_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a complete cached data set"):
        open_cached(tmp_path)


def test_a_cache_that_is_not_writable_is_reported_with_the_setting_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STUDIES_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r'^"data": the cache .*file is not writable: .*Set STUDIES_CACHE'):
        prepare_data("digits")
    monkeypatch.setenv("STUDIES_CACHE", "/proc")
    with pytest.raises(ConfigError, match="the cache /proc is not writable"):
        prepare_data("digits")


@pytest.mark.parametrize("room", ["16k", "80k"])
def test_a_cache_without_room_says_how_much_is_needed_and_keeps_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: str
) -> None:
    with small_disk(tmp_path / "disk", room) as disk:
        monkeypatch.setenv("STUDIES_CACHE", str(disk / "cache"))
        with pytest.raises(ConfigError, match=r"No space left on device. It takes 0.1 MB. Make room") as caught:
            prepare_data("digits")
        assert "\n" not in str(caught.value)
        assert not [path for path in (disk / "cache" / "arrays").iterdir() if path.is_dir()]


def test_a_process_that_is_killed_during_writing_leaves_only_a_draft(cache: Path) -> None:
    killed = run_python(
        "import os, signal, numpy as np\n"
        "from studies.data.prepare import prepare_data\n"
        "save, saved = np.save, []\n"
        "def save_or_die(*args, **kwargs):\n"
        "    save(*args, **kwargs)\n"
        "    saved.append(1)\n"
        "    if len(saved) == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "np.save = save_or_die\n"
        "prepare_data('digits')\n"
    )
    assert killed.returncode == -signal.SIGKILL
    (draft,) = (path for path in (cache / "arrays").iterdir() if path.is_dir())
    assert draft.suffix == ".draft"
    folder = prepare_data("digits")
    assert [path for path in (cache / "arrays").iterdir() if path.is_dir()] == [folder]
    assert len(open_cached(folder).targets) == 1438


def prepare_and_sum(barrier: Barrier, answers: Queue[tuple[str, int]]) -> None:
    save = np.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "save", lambda *args: (time.sleep(0.05), save(*args)))  # long enough to overlap
        barrier.wait()
        folder = prepare_data("digits")
    answers.put((str(folder), int(open_cached(folder).inputs.sum())))


def test_processes_that_prepare_a_data_set_at_once_all_get_it_complete(cache: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(3), context.Queue()
    processes = [context.Process(target=prepare_and_sum, args=(barrier, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    got = [answers.get(timeout=20) for _ in processes]
    for process in processes:
        process.join()
    folder = prepare_data("digits")
    assert set(got) == {(str(folder), int(open_cached(folder).inputs.sum()))}
    assert [path for path in (cache / "arrays").iterdir() if path.is_dir()] == [folder]


def test_preparing_and_opening_digits_imports_no_heavy_package() -> None:
    outcome = run_python(
        "import sys\n"
        "from studies.data.prepare import open_dataset\n"
        "open_dataset('digits')\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    assert outcome.returncode == 0, outcome.stderr
    heavy = {"sklearn", "scipy", "pooch", "requests", "tqdm", "optuna", "mlflow", "pandas", "matplotlib"}
    assert not heavy & set(outcome.stdout.split())


def test_a_cache_folder_describes_its_data_set_in_json() -> None:
    folder = prepare_data("digits")
    record = json.loads((folder / "dataset.json").read_text())
    assert record["name"] == "digits"
    assert record["classes"] == list(DIGITS)
    assert record["largest"] == 16
    assert record["image_shape"] == [8, 8]
    assert folder.name == f"digits-{record['digest'][:12]}"


def test_a_relative_cache_folder_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIES_CACHE", "here")
    assert prepare_data("digits").is_relative_to(tmp_path / "here")


FILES = ["inputs.npy", "targets.npy", "test_inputs.npy", "test_targets.npy", "dataset.json"]


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_of_the_cache_never_changes_the_data(name: str) -> None:
    rng = random.Random(name)
    folder = prepare_data("digits")
    arrays = ("inputs", "targets", "test_inputs", "test_targets")
    expected = {array: np.array(getattr(open_cached(folder), array)) for array in arrays}
    content = (folder / name).read_bytes()
    for index in range(300):
        damaged = bytearray(content)
        at = rng.randrange(len(content))
        if index % 3 == 0:
            damaged[at] ^= 1 << rng.randrange(8)
        elif index % 3 == 1:
            damaged[at : at + 8] = rng.randbytes(8)
        else:
            del damaged[at : at + rng.randrange(1, 9)]
        (folder / name).write_bytes(damaged)
        open_cached.cache_clear()
        found = open_dataset("digits")
        for array in arrays:
            assert np.array_equal(getattr(found, array), expected[array]), (index, at)
        assert (found.classes, found.largest, found.image_shape) == (DIGITS, 16.0, (8, 8))
        if name.endswith(".npy"):  # in the record, layout does not matter
            assert (folder / name).read_bytes() == content


@pytest.mark.parametrize("name", FILES[:-1])
def test_a_worker_refuses_a_file_of_another_size(name: str) -> None:
    folder = prepare_data("digits")
    os.truncate(folder / name, (folder / name).stat().st_size - 1)
    open_cached.cache_clear()
    with pytest.raises(ConfigError, match=rf"is not a complete cached data set: {name} has another size"):
        open_cached(folder)
    prepare_data("digits")


def test_a_damaged_copy_that_cannot_be_made_again_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = prepare_data("digits")
    os.truncate(folder / "inputs.npy", 200)

    def fail(*_: object) -> None:
        raise ConfigError("the source is gone.", path="name")

    monkeypatch.setattr(DigitsSource, "read", fail)
    with pytest.raises(ConfigError, match=r"the source is gone\. The cached copy .* cannot be used: inputs\.npy has"):
        prepare_data("digits")
    monkeypatch.undo()


def test_a_data_set_that_was_made_again_is_opened_again() -> None:
    folder = prepare_data("digits")
    before = open_cached(folder)
    edit(folder / "targets.npy", bytes([9]), bytes([3]))
    assert prepare_data("digits") == folder
    assert open_cached(folder) is not before
    assert np.array_equal(open_cached(folder).targets, before.targets)
