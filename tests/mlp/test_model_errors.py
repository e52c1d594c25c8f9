"""Saved models: everything that is read is validated."""

from __future__ import annotations

import doctest
import hashlib
import io
import json
import re
import tracemalloc
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlp.model
from mlp import ConfigError, Dataset, Model, load_model, save_model
from mlp.training import train
from tests.mlp.model_data import (
    DATA,
    file_fixture,  # noqa: F401 - a fixture
    folder_fixture,  # noqa: F401 - a fixture
    manifest_of,
    place_fixture,  # noqa: F401 - a fixture
    trained,
)
from tests.mlp_data import small_config


def change(place: Path, changes: dict[str, Any]) -> None:
    """Replace some keys of a manifest and its digest, as somebody would who knows how it is computed."""
    file = manifest_of(place)
    content = json.loads(file.read_text()) | changes
    sealed = {key: value for key, value in content.items() if key not in ("theta", "digest")}
    text = json.dumps(sealed, sort_keys=True, separators=(",", ":"))
    file.write_text(json.dumps(content | {"digest": hashlib.sha256(text.encode()).hexdigest()}))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", "theirs", '"format" must be "mlp-model"'),
        ("version", 2, '"version" must be 4, the version that this program reads, got 2. Train and save the model'),
        ("sizes", [6, 5, 5, 3], r'"sizes": must be \[6, 5, 4, 3\] according to config and classes, got \[6, 5, 5, 3\]'),
        ("sizes", [7, 5, 4, 3], r"theta.* must (have shape \(79,\)|be a list of 79 numbers)"),
        ("sizes", [6], '"sizes": must include the inputs and the outputs'),
        ("sizes", 6, '"sizes": must be a list of'),
        ("classes", ["a", "b"], r'"sizes": must be \[6, 5, 4, 2\]'),
        ("task", "guess", '"task": must be "classes" or "labels" or "values"'),
        ("encoding", {"factor": [1, 2]}, '"encoding.factor": must have one number per centre'),
        ("encoding", {"factor": [1], "centre": ["1"]}, '"encoding.centre": must be a number'),
        ("encoding", {"factor": [1], "centre": [1]}, '"encoding": must have 6 centres, one per input, got 1'),
        ("weight_digest", "0" * 64, "the parameters must have the digest 0000"),
        ("metrics", {"test/loss": "low"}, '"metrics": must be a table of numbers'),
        ("extra", 1, '"extra": is not a field of a model.s manifest'),
        ("config", {"data": {"name": "blobs"}, "epoch": 3}, '"config.epoch": is not a field'),
    ],
)
def test_an_invalid_manifest_is_refused(place: Path, key: str, value: Any, message: str) -> None:
    change(place, {key: value})
    with pytest.raises(ConfigError, match=rf"{place}.*{message}"):
        load_model(place)


@pytest.mark.parametrize(
    "key", ["format", "version", "sizes", "classes", "encoding", "task", "weight_digest", "config", "metrics"]
)
def test_a_manifest_with_a_missing_key_is_refused(place: Path, key: str) -> None:
    manifest = json.loads(manifest_of(place).read_text())
    del manifest[key]
    manifest_of(place).write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match=rf'model\.json: "{key}"'):
        load_model(place)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\ud83d"])
def test_a_manifest_that_is_not_a_json_table_is_refused(place: Path, text: str) -> None:
    manifest_of(place).write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(ConfigError, match=r"model\.json: "):
        load_model(place)


@pytest.mark.parametrize("name", ["model.json", "weights.npz"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ConfigError, match=rf"{name}: there is no such file\. Is .*model a saved model\?"):
        load_model(folder)


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        (None, r'"theta": is missing\. If the model is a folder, give the path of the folder'),
        ([], '"theta": must be a list of 74 numbers according to sizes and config, got 0 numbers'),
        ([0.0] * 73, "must be a list of 74 numbers .* got 73 numbers"),
        ([0.0] * 75, "must be a list of 74 numbers .* got 75 numbers"),
        ("0" * 74, "must be a list of 74 numbers .* got str"),
        ({"0": 1.0}, "must be a list of 74 numbers .* got dict"),
        ([0.0] * 73 + ["1"], "must contain numbers of type float32, got '1' at index 73"),
        ([True] * 74, "must contain numbers of type float32, got True at index 0"),
        ([None] * 74, "must contain numbers of type float32, got None"),
        ([[0.0]] * 74, "cannot be read: "),
        ([0.0] * 73 + [{"a": [1.0]}], "cannot be read: "),
        (["[", *[0.0] * 73], "must contain numbers of type float32, got '\\[' at index 0"),
        ([0.0, 1e39] + [0.0] * 72, r"must contain numbers of type float32, got 1e\+39 at index 1"),
        ([10**400] * 74, "must contain numbers of type float32, got 1000"),
        ([0.0] * 74, "the parameters must have the digest"),
    ],
)
def test_hostile_numbers_are_refused(file: Path, theta: Any, message: str) -> None:
    change(file, {"theta": theta})
    with pytest.raises(ConfigError, match=rf"model\.json: .*{message}"):
        load_model(file)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_in_json_are_refused(file: Path, word: str) -> None:
    file.write_text(re.sub(r'"theta": \[[^,]*', f'"theta": [{word}', file.read_text()))
    with pytest.raises(ConfigError, match=rf"model\.json: .*cannot be read: {word} is not a number"):
        load_model(file)


def test_a_number_too_large_for_any_type_is_refused(file: Path) -> None:
    file.write_text(re.sub(r'"theta": \[[^,]*', '"theta": [1e999', file.read_text()))
    with pytest.raises(ConfigError, match="must contain numbers of type float32, got inf at index 0"):
        load_model(file)


def test_the_manifest_of_a_folder_is_not_loaded_as_a_model(folder: Path) -> None:
    with pytest.raises(
        ConfigError, match=r'"theta": is missing\. If the model is a folder, give the path of the folder'
    ):
        load_model(folder / "model.json")
    with pytest.raises(ConfigError, match="is not a saved model"):
        save_model(load_model(folder), folder / "model.json")


def test_a_missing_model_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json: there is no such file"):
        load_model(tmp_path / "none.json")


def test_a_file_truncated_anywhere_is_refused(file: Path) -> None:
    content = file.read_bytes()
    for length in range(0, len(content) - 2, 7):
        file.write_bytes(content[:length])
        with pytest.raises(ConfigError, match=r"model\.json: cannot be read"):
            load_model(file)


def header(shape: str = "(74,)", descr: str = "'<f4'", version: bytes = b"\x01\x00") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version == b"\x01\x00" else 4, "little") + text


def archive(content: bytes, name: str = "theta.npy", compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as writer:
        writer.writestr(name, content)
    return file.getvalue()


def two_members() -> bytes:
    file = io.BytesIO()
    np.savez(file, theta=np.zeros(74, np.float32), more=np.zeros(1))
    return file.getvalue()


VALUES = bytes(74 * 4)


HOSTILE = {
    "nothing": (b"", "cannot be read"),
    "no archive": (b"PK\x03\x04 and so on", "cannot be read"),
    "another name": (archive(header() + VALUES, "weights.npy"), 'must contain the array "theta" only, got '),
    "two members": (two_members(), 'must contain the array "theta" only, got '),
    "compressed": (archive(header() + VALUES, compression=zipfile.ZIP_DEFLATED), "must not be compressed"),
    "128 GiB": (archive(header("(34359738368,)")), r"must have shape \(74,\), got \(34359738368,\)"),
    "an overflow": (archive(header("(4294967296, 4294967296)")), r"must have shape \(74,\)"),
    "a matrix": (archive(header("(74, 1)") + VALUES), r"must have shape \(74,\)"),
    "other bytes first": (archive(header(descr="'>f4'") + VALUES), "must have type float32, got >f4"),
    "pickle": (archive(header(descr="'|O'") + b"\x80\x04K\x01."), "must have type float32, got object"),
    "a later version": (archive(header(version=b"\x03\x00") + VALUES), r"has the \.npy version 3\.0"),
    "too few values": (archive(header() + VALUES[:-1]), "must contain 74 values of type float32 as its header states"),
    "too many values": (
        archive(header() + VALUES + b"\0"),
        "must contain 74 values of type float32 as its header states",
    ),
    "no npy": (archive(b"values"), "cannot be read"),
    "code for a header": (archive(header("__import__('os').getcwd()")), "cannot be read"),
    "other values": (archive(header() + VALUES), "must have the digest"),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_weights_are_refused(folder: Path, content: bytes, message: str) -> None:
    (folder / "weights.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"weights\.npz: .*{message}"):
        load_model(folder)


def test_a_manifest_that_claims_gigabytes_allocates_no_memory(place: Path) -> None:
    hidden = [65536] * 9
    sizes = [6, *hidden, 3]
    n = sum(a * b for a, b in pairwise(sizes)) + sum(sizes[1:])
    manifest = json.loads(manifest_of(place).read_text())
    manifest["config"]["network"]["hidden"] = hidden
    change(place, {"sizes": sizes, "config": manifest["config"]})
    if place.is_dir():
        (place / "weights.npz").write_bytes(archive(header(f"({n},)") + VALUES))
    tracemalloc.start()
    try:
        with pytest.raises(
            ConfigError, match=f"(must contain {n} values of type float32 as its|must be a list of {n} numbers)"
        ):
            load_model(place)
        assert n * 4 > 128 * 2**30
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_weights_truncated_anywhere_are_refused(folder: Path) -> None:
    content = (folder / "weights.npz").read_bytes()
    for length in range(0, len(content), 7):
        (folder / "weights.npz").write_bytes(content[:length])
        with pytest.raises(ConfigError, match=r"weights\.npz: cannot be read"):
            load_model(folder)


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(place=st.integers(0, 10**6), mask=st.integers(1, 255))
def test_a_damaged_byte_is_refused_or_has_no_effect(
    tmp_path_factory: pytest.TempPathFactory, place: int, mask: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    model = Model.of(trained(), DATA)
    save_model(model, folder)
    content = bytearray((folder / "weights.npz").read_bytes())
    content[place % len(content)] ^= mask
    (folder / "weights.npz").write_bytes(content)
    try:
        assert load_model(folder).theta.tobytes() == model.theta.tobytes()
    except ConfigError as refused:
        assert "weights.npz" in str(refused)  # noqa: PT017 - either outcome is right


def test_a_model_of_a_frame_predicts_from_its_columns_only(tmp_path: Path) -> None:
    frame = pd.DataFrame({"length": [0.1, 0.2, 2.1, 2.2], "width": [1, 2, 3, 4]})
    dataset = Dataset.from_arrays(frame, ["short", "short", "long", "long"])
    training = train(small_config({"data": {"validation": 0}, "epochs": 1}), dataset)
    model = load_model(save_model(Model.of(training, dataset), str(tmp_path / "model.json")))
    assert model.classes == ("long", "short")
    assert model.manifest.schema is not None
    assert model.manifest.schema.names == ("length", "width")
    expected = model.predict_proba(frame).tobytes()
    for same in (frame.to_numpy(), frame[["width", "length"]], frame.assign(more="x"), frame.to_dict("records")):
        assert model.predict_proba(same).tobytes() == expected
    assert np.isfinite(model.predict_proba(frame.assign(length=[1, None, 1, 1]))).all()
    with pytest.raises(ConfigError, match=r'^there is no column "length", which the model needs\.'):
        model.predict(frame[["width"]])
    with pytest.raises(ConfigError, match=r'^column "length", row 1: inf is not a number that is finite'):
        model.predict(frame.assign(length=[1, np.inf, 1, 1]))


def test_the_docstring_example_of_a_model_runs() -> None:
    results = doctest.testmod(mlp.model)
    assert results.attempted == 6
    assert results.failed == 0
