"""Every test of data has an empty cache of its own and never reaches the network."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from studies.data import published
from tests.tiny_data import NOWHERE, TINY, tiny_source, to_idx


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache; the working folder is `tmp_path`."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("STUDIES_CACHE", str(folder))
    monkeypatch.delenv("STUDIES_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    for name, source in published.SOURCES.items():
        if isinstance(source, published.IdxSource):
            monkeypatch.setitem(published.SOURCES, name, replace(source, mirrors=NOWHERE))
    return folder


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for `data_dir` with nine examples that are accepted as `mnist`."""
    monkeypatch.setitem(published.SOURCES, "mnist", tiny_source())
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    for name, array in TINY.items():
        (tmp_path / "data" / "mnist" / f"{name}.gz").write_bytes(gzip.compress(to_idx(array)))
    return tmp_path / "data"
