"""Data sets: what is found is verified, what is verified is cached whole, what is hostile is refused."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest

from mlp.arrays import digest
from mlp.data import DataConfig
from mlp.errors import ConfigError
from studies.data import idx, published
from studies.data.cache import ARRAYS, open_cached
from studies.data.idx import IdxFile
from studies.data.published import CLOTHES, DIGITS, Published, prepare

NOWHERE = ("http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/")  # the discard port: refused at once
TINY = {
    "train-images-idx3-ubyte": np.arange(24, dtype=np.uint8).reshape(6, 2, 2),
    "train-labels-idx1-ubyte": np.array([0, 1, 2, 3, 4, 5], np.uint8),
    "t10k-images-idx3-ubyte": np.arange(100, 112, dtype=np.uint8).reshape(3, 2, 2),
    "t10k-labels-idx1-ubyte": np.array([9, 8, 7], np.uint8),
}
ENDLESS = 1 << 26
REAL = Path(os.environ.get("STUDIES_DATA", "no such folder"))


def needs(folder: str) -> pytest.MarkDecorator:
    files = [REAL / folder / f"{file.name}.gz" for file in idx.mnist_files("", "", "", "")]
    missing = [str(file) for file in files if not file.exists()]
    return pytest.mark.skipif(bool(missing), reason=f"STUDIES_DATA is not set or lacks {', '.join(missing)}")


def to_idx(array: np.ndarray) -> bytes:
    dimensions = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + dimensions + array.tobytes()


def pin(name: str) -> IdxFile:
    return IdxFile(name, TINY[name].shape, hashlib.sha256(to_idx(TINY[name])).hexdigest())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("STUDIES_CACHE", str(folder))
    monkeypatch.delenv("STUDIES_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in published.MIRRORS:
        monkeypatch.setitem(published.MIRRORS, name, NOWHERE)
    return folder


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six examples that pass for `mnist`, and the folder to give as `data_dir`."""
    source = Published("mnist", "d" * 64, DIGITS, tuple(pin(name) for name in TINY))
    monkeypatch.setitem(published.SOURCES, "mnist", source)
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    for name, array in TINY.items():
        (tmp_path / "data" / "mnist" / f"{name}.gz").write_bytes(gzip.compress(to_idx(array)))
    return tmp_path / "data"


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, bytes | None]], str]]:
    """A function that starts a mirror on this machine: what it answers by file name, None for `ENDLESS` bytes."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(answers: dict[str, bytes | None]) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                if name not in answers:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.end_headers()
                body = answers[name]
                try:
                    for _ in range(ENDLESS >> 16 if body is None else 0):
                        self.wfile.write(bytes(1 << 16))
                    self.wfile.write(body or b"")
                except OSError:
                    pass  # the client has had enough

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in http.server
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def arrays_of(folder: Path) -> list[np.ndarray]:
    dataset = open_cached(folder)
    return [getattr(dataset, name) for name in ARRAYS]


def test_the_names_are_those_of_the_sources() -> None:
    assert published.names() == ["digits", "mnist", "fashion_mnist"]
    assert all(source.name == name for name, source in published.SOURCES.items())


def test_digits_are_those_of_scikit_learn_with_every_fifth_row_set_aside() -> None:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    dataset = open_cached(prepare("digits"))
    rows = np.arange(1797)
    np.testing.assert_array_equal(dataset.inputs, pixels[rows % 5 != 4])
    np.testing.assert_array_equal(dataset.targets, labels[rows % 5 != 4])
    np.testing.assert_array_equal(dataset.test_inputs, pixels[4::5])
    np.testing.assert_array_equal(dataset.test_targets, labels[4::5])
    assert (len(dataset.inputs), len(dataset.test_inputs)) == (1438, 359)
    assert dataset.inputs.max() == dataset.largest == 16
    assert (dataset.classes, dataset.image_shape) == (DIGITS, (8, 8))
    assert dataset.digest == digest(*(np.asarray(getattr(dataset, name)) for name in ARRAYS))


def test_inputs_are_memory_mapped_bytes_and_labels_are_plain_int64() -> None:
    dataset = open_cached(prepare("digits"))
    assert isinstance(dataset.inputs, np.memmap)
    assert isinstance(dataset.test_inputs, np.memmap)
    assert dataset.inputs.dtype == dataset.test_inputs.dtype == np.uint8
    assert type(dataset.targets) is type(dataset.test_targets) is np.ndarray
    assert dataset.targets.dtype == dataset.test_targets.dtype == np.int64
    split = dataset.split(DataConfig("digits", validation=100), seed=0)
    assert len(split.train) == 1338


def test_a_folder_is_opened_once_in_a_process() -> None:
    folder = prepare("digits")
    assert open_cached(folder) is open_cached(folder)


@pytest.mark.parametrize(
    ("name", "classes", "mean", "first_labels"),
    [
        pytest.param("mnist", DIGITS, 0.1307, [5, 0, 4, 1, 9], marks=needs("mnist")),
        pytest.param("fashion_mnist", CLOTHES, 0.2860, [9, 0, 0, 3, 0], marks=needs("fashion-mnist")),
    ],
)
def test_published_data_sets_have_their_published_statistics(
    name: str, classes: tuple[str, ...], mean: float, first_labels: list[int]
) -> None:
    dataset = open_cached(prepare(name, data_dir=REAL, download=False))
    assert dataset.inputs.shape == (60_000, 784)
    assert dataset.test_inputs.shape == (10_000, 784)
    assert dataset.inputs.mean() / dataset.largest == pytest.approx(mean, abs=5e-5)
    assert dataset.targets[:5].tolist() == first_labels
    assert np.bincount(dataset.test_targets).sum() == 10_000
    assert set(dataset.targets.tolist()) == set(range(10))
    assert (dataset.classes, dataset.image_shape, len(dataset.classes)) == (classes, (28, 28), 10)
    assert dataset.digest == hashlib.sha256("".join(published.PAYLOADS[name]).encode()).hexdigest()


def test_files_are_found_compressed_or_not_and_arrays_hold_what_they_hold(tiny: Path) -> None:
    name = "train-images-idx3-ubyte"
    (tiny / "mnist" / f"{name}.gz").unlink()
    (tiny / "mnist" / name).write_bytes(to_idx(TINY[name]))
    for array, expected in zip(arrays_of(prepare("mnist", data_dir=tiny)), TINY.values(), strict=True):
        np.testing.assert_array_equal(array, expected.reshape(len(expected), -1).squeeze())


def test_a_second_call_reads_no_payload_and_needs_neither_folder_nor_network(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    read = idx.read_gzip_or_plain

    def count(file: Path, limit: int) -> bytes:
        calls.append(file)
        return read(file, limit)

    monkeypatch.setattr(idx, "read_gzip_or_plain", count)
    folder = prepare("mnist", data_dir=tiny)
    assert len(calls) == 4
    for data_dir in (tiny, tmp_path / "elsewhere", None):
        assert prepare("mnist", data_dir=data_dir) == folder
    assert len(calls) == 4


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(
        ConfigError, match=r'^"data\.name": .*"fashion-mnist"\. Did you mean "fashion_mnist"\?'
    ) as error:
        prepare("fashion-mnist")
    assert error.value.path == "data.name"


def test_without_files_and_network_the_error_says_what_was_tried_and_what_to_do(tiny: Path, cache: Path) -> None:
    (tiny / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ConfigError) as error:
        prepare("mnist", data_dir=tiny, path="base.data.name")
    assert error.value.path == "base.data.name"
    for part in (
        "t10k-labels-idx1-ubyte.gz",
        str(tiny / "mnist"),
        str(cache / "downloads" / "mnist"),
        *(f"{mirror} (ConnectionError)" for mirror in NOWHERE),
        "DIR/mnist/",
        "--data-dir DIR",
        "STUDIES_DATA=DIR",
    ):
        assert part in error.value.problem


def test_nothing_is_downloaded_when_that_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx.Places, "_download", lambda *_: pytest.fail("went to the network"))
    with pytest.raises(ConfigError, match=r"downloading was not asked for.*DIR/fashion-mnist/"):
        prepare("fashion_mnist", download=False)


def test_a_mirror_that_fails_is_followed_by_the_next_and_downloads_are_kept(
    tiny: Path,
    cache: Path,
    serve: Callable[[dict[str, bytes | None]], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    payloads = {f"{name}.gz": (tiny / "mnist" / f"{name}.gz").read_bytes() for name in TINY}
    wrong = {name: gzip.compress(b"<html>Please log in.</html>") for name in payloads}
    mirrors = (*NOWHERE[:1], serve({}), serve(wrong), serve(dict.fromkeys(payloads)), serve(dict(payloads)))
    monkeypatch.setitem(published.MIRRORS, "mnist", mirrors[:4])
    with pytest.raises(ConfigError) as error:
        prepare("mnist")
    for mirror, reason in zip(
        mirrors, ["ConnectionError", "HTTP 404", *["sent another file than the published one"] * 2], strict=False
    ):
        assert f"{mirror} ({reason})" in error.value.problem
    assert list((cache / "downloads" / "mnist").iterdir()) == []

    monkeypatch.setitem(published.MIRRORS, "mnist", mirrors)
    folder = prepare("mnist", progress=True)
    assert "train-images-idx3-ubyte" in capsys.readouterr().err
    assert sorted(file.name for file in (cache / "downloads" / "mnist").iterdir()) == sorted(payloads)
    np.testing.assert_array_equal(open_cached(folder).targets, TINY["train-labels-idx1-ubyte"])

    (folder / "targets.npy").unlink()
    assert prepare("mnist", data_dir=cache / "elsewhere", download=False) == folder
    assert (folder / "targets.npy").exists()


@pytest.mark.usefixtures("tiny")
def test_no_more_is_stored_of_an_endless_download_than_must_be_there(
    serve: Callable[[dict[str, bytes | None]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    unlink = Path.unlink

    def weigh(file: Path, missing_ok: bool = False) -> None:
        if file.suffix == ".draft":
            sizes.append(file.stat().st_size)
        unlink(file, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", weigh)
    monkeypatch.setitem(published.MIRRORS, "mnist", (serve({f"{name}.gz": None for name in TINY}),))
    with pytest.raises(ConfigError, match="sent another file than the published one"):
        prepare("mnist")
    assert len(sizes) == 1
    assert sizes[0] <= 40 + 4096


def test_a_download_that_has_decayed_is_fetched_again_or_named(
    tiny: Path, cache: Path, serve: Callable[[dict[str, bytes | None]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads: dict[str, bytes | None] = {f"{n}.gz": (tiny / "mnist" / f"{n}.gz").read_bytes() for n in TINY}
    kept = cache / "downloads" / "mnist" / "train-labels-idx1-ubyte.gz"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"\x1f\x8b rotten")
    (tiny / "mnist" / kept.name).unlink()
    with pytest.raises(ConfigError, match=r"train-labels-idx1-ubyte\.gz: cannot be read"):
        prepare("mnist", data_dir=tiny, download=False)
    with pytest.raises(ConfigError, match=r"train-labels-idx1-ubyte\.gz \(damaged\), http.*ConnectionError"):
        prepare("mnist", data_dir=tiny)
    monkeypatch.setitem(published.MIRRORS, "mnist", (serve(payloads),))
    prepare("mnist", data_dir=tiny)
    assert kept.read_bytes() == payloads[kept.name]


HEADER = bytes([0, 0, 8, 3])
HOSTILE = {
    "empty": (b"", "must be an IDX file of 6×2×2 values of type uint8 and begin with .*got nothing"),
    "no IDX": (
        b"PK\x03\x04" + bytes(40),
        "must be an IDX file of 6×2×2 values of type uint8 and begin with .*got 50 4b 03 04",
    ),
    "wrong magic": (b"\0\0\x0d" + to_idx(TINY["train-images-idx3-ubyte"])[3:], "must be an IDX file.*got 00 00 0d 03"),
    "other shape": (to_idx(TINY["t10k-images-idx3-ubyte"]), "must be an IDX file of 6×2×2.*00 00 00 03"),
    "dimensions whose product is 0 in int64": (HEADER + b"\x80\0\0\0\x80\0\0\0\0\0\0\4", "must be an IDX file"),
    "dimensions of 2**96": (HEADER + b"\xff" * 12 + bytes(24), "must be an IDX file.*ff ff ff ff"),
    "truncated": (to_idx(TINY["train-images-idx3-ubyte"])[:-1], "must contain 40 bytes when decompressed, got 39"),
    "too long": (to_idx(TINY["train-images-idx3-ubyte"]) + b"\0", "must contain 40 bytes when decompressed, got more"),
}


@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
@pytest.mark.parametrize(("payload", "problem"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_refused_by_name(tiny: Path, payload: bytes, problem: str, packed: bool) -> None:
    file = tiny / "mnist" / "train-images-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(payload) if packed else payload)
    with pytest.raises(ConfigError, match=f"train-images-idx3-ubyte.gz: {problem}"):
        prepare("mnist", data_dir=tiny)


def test_a_file_with_another_digest_is_refused_with_what_was_expected_and_got(tiny: Path, cache: Path) -> None:
    file = tiny / "mnist" / "t10k-labels-idx1-ubyte.gz"
    payload = to_idx(np.array([9, 8, 6], np.uint8))
    file.write_bytes(gzip.compress(payload))
    with pytest.raises(ConfigError) as error:
        prepare("mnist", data_dir=tiny)
    for part in (str(file), pin("t10k-labels-idx1-ubyte").sha256, hashlib.sha256(payload).hexdigest()):
        assert part in error.value.problem
    assert not any(path.is_dir() for path in (cache / "arrays").iterdir())


@pytest.mark.parametrize("broken", ["cut", "flipped", "folder"])
def test_a_broken_gzip_file_is_refused_by_name(tiny: Path, broken: str) -> None:
    file = tiny / "mnist" / "train-images-idx3-ubyte.gz"
    packed = file.read_bytes()
    if broken == "cut":
        file.write_bytes(packed[:-12])
    elif broken == "flipped":
        file.write_bytes(packed[:10] + bytes(byte ^ 0xFF for byte in packed[10:]))
    else:
        file.unlink()
        file.mkdir()
    with pytest.raises(ConfigError, match=r"train-images-idx3-ubyte\.gz: cannot be read"):
        prepare("mnist", data_dir=tiny)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "an array is missing": lambda folder: (folder / "test_targets.npy").unlink(),
    "an array is cut short": lambda folder: os.truncate(folder / "inputs.npy", 200),
    "an array is empty": lambda folder: os.truncate(folder / "targets.npy", 0),
    "the record is missing": lambda folder: (folder / "dataset.json").unlink(),
    "the record is cut short": lambda folder: os.truncate(folder / "dataset.json", 30),
    "the record is of something else": lambda folder: (folder / "dataset.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_cache_is_rebuilt(damage: Callable[[Path], object]) -> None:
    folder = prepare("digits")
    whole = {file.name: file.read_bytes() for file in folder.iterdir()}
    damage(folder)
    assert prepare("digits") == folder
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == whole


def test_a_folder_without_a_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a complete cached data set"):
        open_cached(tmp_path)


def test_a_cache_that_cannot_be_written_is_an_error_that_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STUDIES_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r'^"data\.name": the cache .*file cannot be written: .*Set STUDIES_CACHE'):
        prepare("digits")
    monkeypatch.setenv("STUDIES_CACHE", "/proc")
    with pytest.raises(ConfigError, match="the cache /proc cannot be written"):
        prepare("digits")


def test_a_process_killed_while_it_writes_leaves_nothing_half_written(cache: Path) -> None:
    killed = run_python(
        "import os, signal, numpy as np\n"
        "from studies.data import published, cache\n"
        "save, saved = np.save, []\n"
        "def save_or_die(*args, **kwargs):\n"
        "    save(*args, **kwargs)\n"
        "    saved.append(1)\n"
        "    if len(saved) == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "np.save = save_or_die\n"
        "published.prepare('digits')\n"
    )
    assert killed.returncode == -signal.SIGKILL
    (draft,) = (path for path in (cache / "arrays").iterdir() if path.is_dir())
    assert draft.suffix == ".draft"
    folder = prepare("digits")
    assert [path for path in (cache / "arrays").iterdir() if path.is_dir()] == [folder]
    assert len(open_cached(folder).targets) == 1438


def prepare_and_sum(barrier: Barrier, answers: Queue[tuple[str, int]]) -> None:
    save = np.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "save", lambda *args: (time.sleep(0.05), save(*args)))  # long enough to collide
        barrier.wait()
        folder = prepare("digits")
    answers.put((str(folder), int(open_cached(folder).inputs.sum())))


def test_processes_that_prepare_at_once_all_get_the_whole_data_set(cache: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(3), context.Queue()
    processes = [context.Process(target=prepare_and_sum, args=(barrier, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    got = [answers.get(timeout=20) for _ in processes]
    for process in processes:
        process.join()
    folder = prepare("digits")
    assert set(got) == {(str(folder), int(open_cached(folder).inputs.sum()))}
    assert [path for path in (cache / "arrays").iterdir() if path.is_dir()] == [folder]


def test_neither_preparing_digits_nor_opening_them_imports_anything_heavy() -> None:
    outcome = run_python(
        "import sys\n"
        "from studies.data.cache import open_cached; from studies.data.published import prepare\n"
        "open_cached(prepare('digits'))\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    assert outcome.returncode == 0, outcome.stderr
    heavy = {"sklearn", "scipy", "pooch", "requests", "tqdm", "optuna", "mlflow", "pandas", "matplotlib"}
    assert not heavy & set(outcome.stdout.split())


def test_what_is_written_holds_no_pickle_and_describes_itself() -> None:
    folder = prepare("digits")
    record = json.loads((folder / "dataset.json").read_text())
    assert record["name"] == "digits"
    assert record["classes"] == list(DIGITS)
    assert record["largest"] == 16
    assert record["image_shape"] == [8, 8]
    assert folder.name == f"digits-{record['digest'][:12]}"


def test_a_given_cache_may_be_relative_and_the_answer_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDIES_CACHE", "here")
    assert prepare("digits").is_relative_to(tmp_path / "here")
