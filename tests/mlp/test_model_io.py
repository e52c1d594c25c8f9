"""Saved models: predictions do not change, and everything that is read is validated."""

from __future__ import annotations

import doctest
import functools
import hashlib
import io
import json
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlp.model
from mlp import ConfigError, Dataset, Model, Training, load_model, save_model
from mlp.activations import activations
from mlp.arrays import digest
from mlp.model_io import check_writable
from mlp.scaling import Scaling
from mlp.training import train
from tests.mlp_data import blobs, small_config

DATA = blobs()
RAW = DATA.test_inputs


@functools.cache
def trained_once(dtype: str) -> Training:
    return trained({"dtype": dtype})


def trained(changes: dict[str, Any] | None = None) -> Training:
    config = small_config({"epochs": 2} | (changes or {}))
    training = Training(config, DATA.split(config.data, config.seed))
    training.run()
    return training


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model saved as a folder."""
    return save_model(Model.of(trained(), DATA), tmp_path / "model")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A model saved as one file."""
    return save_model(Model.of(trained(), DATA), tmp_path / "model.json")


@pytest.fixture(params=["model", "model.json"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A saved model, of either form."""
    return save_model(Model.of(trained(), DATA), tmp_path / request.param)


def manifest_of(place: Path) -> Path:
    return place if place.is_file() else place / "model.json"


def change(place: Path, changes: dict[str, Any]) -> None:
    """Replace some keys of a manifest and its digest, as somebody would who knows how it is computed."""
    file = manifest_of(place)
    content = json.loads(file.read_text()) | changes
    sealed = {key: value for key, value in content.items() if key not in ("theta", "digest")}
    text = json.dumps(sealed, sort_keys=True, separators=(",", ":"))
    file.write_text(json.dumps(content | {"digest": hashlib.sha256(text.encode()).hexdigest()}))


@pytest.mark.parametrize("name", ["model", "model.json"])
@pytest.mark.parametrize("activation", list(activations))
@pytest.mark.parametrize("hidden", [[], [7], {"depth": 2, "width": 9, "taper": 0.5}])
def test_a_loaded_model_predicts_the_same_bits(tmp_path: Path, activation: str, hidden: Any, name: str) -> None:
    training = trained({"network.activation": activation, "network.hidden": hidden})
    model = load_model(save_model(Model.of(training, DATA), tmp_path / name))
    expected = training.outputs(DATA.test(training.data.train.encoding))
    assert model.outputs(RAW).tobytes() == expected.tobytes()
    assert model.manifest.config == training.config
    assert model.manifest.weight_digest == training.weight_digest()


EVERY_TRAINED_PART: dict[str, Any] = {
    "network.normalization": "batch",
    "network.input_scale": True,
    "network.parametric_activation": True,
    "network.last_initializer": "zeros",
}


@pytest.mark.parametrize("name", ["model", "model.json"])
def test_a_loaded_model_with_every_kind_of_parameters_predicts_the_same_bits(tmp_path: Path, name: str) -> None:
    training = trained(EVERY_TRAINED_PART)
    model = load_model(save_model(Model.of(training, DATA), tmp_path / name))
    assert model.outputs(RAW).tobytes() == training.outputs(DATA.test(training.data.train.encoding)).tobytes()
    assert model.manifest.n_parameters == len(training.network.theta)
    assert model.manifest.config == training.config


@pytest.mark.parametrize("name", ["model", "model.json"])
def test_a_float64_model_is_loaded_as_float64(tmp_path: Path, name: str) -> None:
    training = trained({"dtype": "float64"})
    model = load_model(save_model(Model.of(training, DATA), tmp_path / name))
    assert model.outputs(RAW).dtype == np.float64
    assert model.outputs(RAW).tobytes() == training.outputs(DATA.test(training.data.train.encoding)).tobytes()


def test_early_stopping_saves_the_best_weights_rather_than_the_last(tmp_path: Path) -> None:
    changes = {"epochs": 30, "optimizer.learning_rate": 0.3, "early_stopping": {"patience": 3}}
    config = small_config(changes)
    training = train(config, DATA)
    assert training.kept_epoch < training.epoch
    at_the_last = trained(changes)
    assert at_the_last.network.theta.tobytes() != training.kept_theta.tobytes()
    model = load_model(save_model(Model.of(at_the_last, DATA), tmp_path / "model"))
    assert model.theta.tobytes() == training.kept_theta.tobytes()
    assert model.manifest.epochs == training.kept_epoch
    assert model.metrics["validation/loss"] == min(training.history["validation/loss"])


def test_probabilities_are_the_softmax_and_the_most_probable_class_is_predicted(folder: Path) -> None:
    model = load_model(folder)
    z = model.outputs(RAW).astype(np.float64)
    expected = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(RAW), expected, rtol=1e-5)
    assert model.predict(RAW).tolist() == expected.argmax(axis=1).tolist()


def test_large_outputs_do_not_overflow(folder: Path) -> None:
    model = load_model(folder)
    huge = Model(model.manifest, model.theta * np.float32(1e4))
    probabilities = huge.predict_proba(RAW)
    assert np.abs(huge.outputs(RAW)).max() > 1e4
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)


def test_raw_inputs_are_scaled_as_in_training(folder: Path) -> None:
    model = load_model(folder)
    assert model.manifest.encoding == Scaling((1 / 255,))
    assert model.outputs(RAW.tolist()).tobytes() == model.outputs(RAW).tobytes()
    assert not np.allclose(model.outputs(RAW / 255), model.outputs(RAW))


def test_predictions_do_not_depend_on_the_number_of_threads(folder: Path) -> None:
    model = load_model(folder)
    many = np.tile(RAW, (60, 1))
    expected = model.outputs(many).tobytes()
    with ThreadPoolExecutor(8) as pool:
        assert all(outputs.tobytes() == expected for outputs in pool.map(model.outputs, [many] * 16))


def test_no_examples_give_no_predictions(folder: Path) -> None:
    assert load_model(folder).predict_proba(RAW[:0]).shape == (0, 3)


@pytest.mark.parametrize("inputs", [RAW[0], RAW[:, :-1], RAW[None], 3.0])
def test_inputs_of_another_shape_are_refused(folder: Path, inputs: Any) -> None:
    with pytest.raises(ValueError, match=r"inputs must have shape \(n, 6\)"):
        load_model(folder).predict(inputs)


def test_a_model_folder_has_a_readable_manifest_and_an_array(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == ["model.json", "weights.npz"]
    manifest = json.loads((folder / "model.json").read_text())
    assert (manifest["format"], manifest["version"]) == ("mlp-model", 4)
    assert manifest["sizes"] == [6, 5, 4, 3]
    assert manifest["classes"] == ["a", "b", "c"]
    assert manifest["task"] == "classes"
    assert manifest["config"]["network"]["activation"] == "tanh"
    assert set(manifest["metrics"]) == {"train/loss", "train/accuracy", "validation/loss", "validation/accuracy"}
    with np.load(folder / "weights.npz", allow_pickle=False) as weights:
        assert weights["theta"].shape == (6 * 5 + 5 * 4 + 4 * 3 + 5 + 4 + 3,)


def test_a_model_in_one_file_is_readable_json(file: Path, folder: Path) -> None:
    in_file, manifest = (json.loads(manifest_of(place).read_text()) for place in (file, folder))
    theta = np.array(in_file.pop("theta"), np.float32)
    assert in_file == manifest
    assert theta.tobytes() == load_model(folder).theta.tobytes()
    assert file.read_text().splitlines()[:3] == ["{", ' "format": "mlp-model",', ' "version": 4,']
    assert {line.split(":")[0] for line in file.read_text().splitlines() if len(line) > 100} == {' "theta"'}


def bit_patterns(dtype: str) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    """Return a strategy for 74 finite numbers of a type, with any bit pattern."""
    width = np.dtype(dtype).itemsize
    words = st.lists(st.binary(min_size=width, max_size=width), min_size=1, max_size=74)
    return words.map(lambda drawn: np.nan_to_num(np.resize(np.frombuffer(b"".join(drawn), dtype), 74)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_any_finite_parameters_are_restored_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, data: st.DataObject
) -> None:
    theta = data.draw(bit_patterns(dtype))
    manifest = replace(Model.of(trained_once(dtype), DATA).manifest, weight_digest=digest(theta))
    model = load_model(save_model(Model(manifest, theta), tmp_path_factory.getbasetemp() / "bits.json"))
    assert model.theta.dtype == dtype
    assert model.theta.tobytes() == theta.tobytes()


def test_saving_again_replaces_the_model_and_leaves_no_other_file(place: Path) -> None:
    other = Model.of(trained({"network.hidden": [2]}), DATA, metrics={"test/loss": 0.5})
    save_model(other, place)
    assert load_model(place).manifest == other.manifest
    assert load_model(place).metrics == {"test/loss": 0.5}
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_an_empty_place_is_used_and_missing_folders_are_created(tmp_path: Path) -> None:
    model = Model.of(trained(), DATA)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.json").touch()
    for name in ("empty", "empty.json", "a/b/c", "d/e/f.json"):
        place = tmp_path / name
        assert load_model(save_model(model, place)).manifest == model.manifest


def test_saving_to_a_link_replaces_its_target(place: Path) -> None:
    link = place.with_name("link" + place.suffix)
    link.symlink_to(place, target_is_directory=place.is_dir())
    other = Model.of(trained({"network.hidden": [2]}), DATA)
    save_model(other, link)
    assert link.is_symlink()
    assert load_model(place).manifest == other.manifest


def occupy_with_file(place: Path) -> None:
    place.write_text("mine")


def occupy_with_table(place: Path) -> None:
    place.write_text('{"format": "theirs", "theta": [1.0]}')


def occupy_with_manifest(place: Path) -> None:
    save_model(Model.of(trained(), DATA), place.parent / "other")
    (place.parent / "other" / "model.json").rename(place)


def occupy_with_folder(place: Path) -> None:
    place.mkdir()
    (place / "thesis.txt").write_text("mine")


def occupy_with_model_and_more(place: Path) -> None:
    save_model(Model.of(trained(), DATA), place)
    (place / "thesis.txt").write_text("mine")


def occupy_with_other_json(place: Path) -> None:
    place.mkdir()
    (place / "model.json").write_text('{"format": "theirs"}')
    (place / "weights.npz").write_text("mine")


IN_THE_WAY = [
    *(("place", occupy) for occupy in (occupy_with_file, occupy_with_folder)),
    *(("place", occupy) for occupy in (occupy_with_model_and_more, occupy_with_other_json)),
    *(("place.json", occupy) for occupy in (occupy_with_file, occupy_with_folder, occupy_with_table)),
    ("place.json", occupy_with_manifest),
]


@pytest.mark.parametrize(("name", "occupy"), IN_THE_WAY)
def test_anything_but_a_model_is_never_overwritten(tmp_path: Path, name: str, occupy: Callable[[Path], None]) -> None:
    place = tmp_path / name
    occupy(place)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for refuse in (check_writable, lambda place: save_model(Model.of(trained(), DATA), place)):
        with pytest.raises(ConfigError, match=f"{name}: already exists and is not a saved model"):
            refuse(place)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("place", ["/dev/null/m.json", "/proc/m.json", "/proc/m", f"/tmp/{'x' * 252}"])
def test_a_place_that_cannot_be_written_is_refused(place: str) -> None:
    with pytest.raises(ConfigError, match=r": cannot be written: .*\. Choose another place\."):
        check_writable(place)
    with pytest.raises(ConfigError, match=r": cannot be written: .*\. Choose another place\."):
        save_model(Model.of(trained(), DATA), place)


@pytest.mark.parametrize("name", ["out.pkl", "out.h5", "out.JSON", "out.v2.keras"])
def test_the_name_of_another_kind_of_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"a model is a folder or a \.json file, not a \.\w+ file\. Choose out.*\.json"
    ):
        check_writable(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_checking_a_place_leaves_nothing_in_it(tmp_path: Path) -> None:
    for name in ("model", "model.json", "run.1"):
        check_writable(tmp_path / "new" / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["new"]


def test_a_failed_write_leaves_the_earlier_model(place: Path) -> None:
    before = load_model(place)
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_model(Model(before.manifest, before.theta, {"test/loss": float("nan")}), place)
    assert load_model(place).manifest == before.manifest
    assert [path.name for path in place.parent.iterdir()] == [place.name]


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_parameters_that_are_not_finite_are_not_saved(place: Path, number: float) -> None:
    before = load_model(place)
    theta = before.theta.copy()
    theta[-1] = number
    with pytest.raises(ConfigError, match=rf"{place.name}: cannot save: the parameters are not finite"):
        save_model(Model(before.manifest, theta), place)
    assert load_model(place).theta.tobytes() == before.theta.tobytes()


def test_a_failed_rename_leaves_the_earlier_model(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_model(place)
    replace = Path.replace

    def refuse_draft(self: Path, target: Path) -> Path:
        if ".draft." in self.name:
            raise OSError("the disk is gone")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse_draft)
    with pytest.raises(ConfigError, match="cannot be written: the disk is gone"):
        save_model(Model.of(trained({"network.hidden": [2]}), DATA), place)
    assert load_model(place).manifest == before.manifest
    assert [path.name for path in place.parent.iterdir()] == [place.name]


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
