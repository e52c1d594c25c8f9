"""The search for files: folders before mirrors, every download bounded and verified, every failure reported."""

from __future__ import annotations

import gzip
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mlp.errors import ConfigError
from studies.data import published
from studies.data.cache import ARRAYS, open_cached
from studies.data.prepare import open_dataset, prepare_data
from studies.data.sources import FileSearch
from tests.tiny_data import NOWHERE, TINY, tiny_source, to_idx

ENDLESS = 1 << 26


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, bytes | None]], str]]:
    """A function that starts a mirror on this machine, given its content by file name; None means `ENDLESS` bytes."""
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
                    pass  # the client closed the connection

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


def test_files_in_the_data_folder_are_found_compressed_or_not(tiny: Path) -> None:
    name = "train-images-idx3-ubyte"
    (tiny / "mnist" / f"{name}.gz").unlink()
    (tiny / "mnist" / name).write_bytes(to_idx(TINY[name]))
    dataset = open_dataset("mnist", data_dir=tiny)
    for array_name, expected in zip(ARRAYS, TINY.values(), strict=True):
        array = getattr(dataset, array_name)
        np.testing.assert_array_equal(array, expected.reshape(len(expected), -1).squeeze())


def test_missing_files_are_reported_with_every_place_and_what_to_do(tiny: Path, cache: Path) -> None:
    (tiny / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ConfigError) as error:
        prepare_data("mnist", data_dir=tiny, path="base.data")
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


def test_nothing_is_downloaded_unless_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileSearch, "_download", lambda *_: pytest.fail("used the network"))
    with pytest.raises(ConfigError, match=r"downloading was not requested.*DIR/fashion-mnist/"):
        prepare_data("fashion_mnist", download=False)


def test_the_next_mirror_is_tried_if_one_fails_and_downloads_are_kept(
    tiny: Path,
    cache: Path,
    serve: Callable[[dict[str, bytes | None]], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    payloads = {f"{name}.gz": (tiny / "mnist" / f"{name}.gz").read_bytes() for name in TINY}
    wrong = {name: gzip.compress(b"<html>Please log in.</html>") for name in payloads}
    mirrors = (*NOWHERE[:1], serve({}), serve(wrong), serve(dict.fromkeys(payloads)), serve(dict(payloads)))
    monkeypatch.setitem(published.SOURCES, "mnist", tiny_source(*mirrors[:4]))
    with pytest.raises(ConfigError) as error:
        prepare_data("mnist")
    for mirror, reason in zip(
        mirrors, ["ConnectionError", "HTTP 404", *["sent a file that differs from the published one"] * 2], strict=False
    ):
        assert f"{mirror} ({reason})" in error.value.problem
    assert list((cache / "downloads" / "mnist").iterdir()) == []

    monkeypatch.setitem(published.SOURCES, "mnist", tiny_source(*mirrors))
    folder = prepare_data("mnist", progress=True)
    assert "train-images-idx3-ubyte" in capsys.readouterr().err
    assert sorted(file.name for file in (cache / "downloads" / "mnist").iterdir()) == sorted(payloads)
    np.testing.assert_array_equal(open_cached(folder).targets, TINY["train-labels-idx1-ubyte"])

    (folder / "targets.npy").unlink()
    assert prepare_data("mnist", data_dir=cache / "elsewhere", download=False) == folder
    assert (folder / "targets.npy").exists()


def test_an_endless_download_is_stopped_at_the_expected_size(
    serve: Callable[[dict[str, bytes | None]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    unlink = Path.unlink

    def record_size(file: Path, missing_ok: bool = False) -> None:
        if file.suffix == ".draft":
            sizes.append(file.stat().st_size)
        unlink(file, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", record_size)
    monkeypatch.setitem(published.SOURCES, "mnist", tiny_source(serve({f"{name}.gz": None for name in TINY})))
    with pytest.raises(ConfigError, match="sent a file that differs from the published one"):
        prepare_data("mnist")
    assert len(sizes) == 1
    assert sizes[0] <= 40 + 4096


def test_a_damaged_download_is_downloaded_again_or_reported(
    tiny: Path, cache: Path, serve: Callable[[dict[str, bytes | None]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads: dict[str, bytes | None] = {f"{n}.gz": (tiny / "mnist" / f"{n}.gz").read_bytes() for n in TINY}
    kept = cache / "downloads" / "mnist" / "train-labels-idx1-ubyte.gz"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"\x1f\x8b damaged")
    (tiny / "mnist" / kept.name).unlink()
    with pytest.raises(ConfigError, match=r"train-labels-idx1-ubyte\.gz: cannot be read"):
        prepare_data("mnist", data_dir=tiny, download=False)
    with pytest.raises(ConfigError, match=r"train-labels-idx1-ubyte\.gz \(damaged\), http.*ConnectionError"):
        prepare_data("mnist", data_dir=tiny)
    monkeypatch.setitem(published.SOURCES, "mnist", tiny_source(serve(payloads)))
    prepare_data("mnist", data_dir=tiny)
    assert kept.read_bytes() == payloads[kept.name]


def test_a_file_of_the_user_that_is_not_the_published_one_is_refused_and_nothing_is_cached(
    tiny: Path, cache: Path
) -> None:
    (tiny / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(to_idx(np.array([9, 8, 6], np.uint8)))
    with pytest.raises(ConfigError, match=r'^"data": .*t10k-labels-idx1-ubyte\.gz: is not the published file'):
        prepare_data("mnist", data_dir=tiny)
    assert not any(path.is_dir() for path in (cache / "arrays").iterdir())
