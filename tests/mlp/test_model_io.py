"""Saved models: predictions do not change, and a failed write leaves the earlier model."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp import ConfigError, Model, Training, load_model, save_model
from mlp.activations import activations
from mlp.arrays import digest
from mlp.model_io import check_writable
from mlp.scaling import Scaling
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

RAW = DATA.test_inputs


@functools.cache
def trained_once(dtype: str) -> Training:
    return trained({"dtype": dtype})


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
        save_model(Model(before.manifest, before.theta, metrics={"test/loss": float("nan")}), place)
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
