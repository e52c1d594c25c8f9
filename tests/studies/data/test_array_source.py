"""Files of arrays as data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp.data import Dataset
from mlp.data_config import DataConfig
from mlp.errors import ConfigError
from studies.data.array_source import ArraySource, is_array_file
from studies.data.sources import FileSearch

X = np.arange(60, dtype=np.float32).reshape(20, 3)
Y = np.arange(20) % 2
SEARCH = FileSearch(None, Path(), download=False, progress=False)


def read(file: Path, **options: Any) -> Dataset:
    return ArraySource.of(file, DataConfig(file=str(file), **options)).read(SEARCH)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("names", [("x", "y"), ("X", "y"), ("x_train", "y_train"), ("inputs", "targets")])
def test_inputs_and_targets_are_read_and_a_test_part_is_held_out(
    tmp_path: Path, names: tuple[str, str], save: Any
) -> None:
    save(tmp_path / "a.npz", **dict(zip(names, (X, Y), strict=True)))
    dataset = read(tmp_path / "a.npz")
    assert (dataset.name, dataset.task, dataset.classes) == ("a", "classes", ("0", "1"))
    assert (len(dataset.inputs), len(dataset.test_inputs)) == (16, 4)
    assert sorted(np.concatenate([dataset.inputs, dataset.test_inputs])[:, 0].tolist()) == X[:, 0].tolist()
    assert np.bincount(dataset.test_targets).tolist() == [2, 2]
    np.testing.assert_array_equal(dataset.inputs[:, 0].astype(int) // 3 % 2, dataset.targets)


def test_a_test_part_in_the_file_is_used(tmp_path: Path) -> None:
    dataset = read(saved(tmp_path, x=X, y=Y, x_test=X[:5] + 1, y_test=Y[:5]))
    assert (len(dataset.inputs), dataset.test_inputs.tolist()) == (20, (X[:5] + 1).tolist())
    assert len(read(saved(tmp_path, x=X, y=Y), test=0).test_inputs) == 0


@pytest.mark.parametrize("shape", [(20, 4, 3), (20, 4, 3, 1)])
def test_images_keep_their_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    dataset = read(saved(tmp_path, x=np.arange(240, dtype=np.uint8).reshape(shape), y=Y))
    assert (dataset.image_shape, dataset.inputs.shape, dataset.largest) == ((4, 3), (16, 12), 255)


@pytest.mark.parametrize(
    ("y", "options", "task", "shape"),
    [
        (Y[:, None], {}, "classes", (16,)),
        (np.array(["a", "b"] * 10), {}, "classes", (16,)),
        (np.linspace(0, 1, 20), {}, "values", (16, 1)),
        (np.arange(20), {"task": "values"}, "values", (16, 1)),
        (np.full((20, 2), 0.5), {}, "values", (16, 2)),
        (np.eye(4, dtype=np.int8)[np.arange(20) % 4], {}, "labels", (16, 4)),
    ],
    ids=["column", "texts", "floats", "integers as values", "several values", "labels"],
)
def test_the_task_follows_from_the_targets(
    tmp_path: Path, y: Any, options: dict[str, Any], task: str, shape: tuple[int, ...]
) -> None:
    dataset = read(saved(tmp_path, x=X, y=y), **options)
    assert (dataset.task, dataset.targets.shape) == (task, shape)


def test_the_positive_class_can_be_chosen(tmp_path: Path) -> None:
    assert read(saved(tmp_path, x=X, y=Y), positive="0").classes == ("1", "0")


def test_npy_files_are_a_pair(tmp_path: Path) -> None:
    np.save(tmp_path / "X_train.npy", X)
    np.save(tmp_path / "y_train.npy", Y)
    assert len(read(tmp_path / "X_train.npy").inputs) == 16
    np.save(tmp_path / "a.npy", X)
    with pytest.raises(
        ConfigError, match=r"a\.npy: contains one array\. Call it x\.npy and put its targets into the same folder"
    ):
        read(tmp_path / "a.npy")
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(ConfigError, match=r"x\.npy: its targets are missing: there is no file .*y\.npy"):
        read(tmp_path / "x.npy")


def test_the_digest_depends_on_the_content_and_not_on_the_path(tmp_path: Path) -> None:
    first = ArraySource.of(saved(tmp_path, x=X, y=Y), DataConfig(file="a.npz"))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes())
    assert ArraySource.of(tmp_path / "b" / "b.npz", DataConfig(file="b/b.npz")).digest == first.digest
    assert ArraySource.of(tmp_path / "a.npz", DataConfig(file="a.npz", test=3)).digest != first.digest
    assert ArraySource.of(saved(tmp_path, x=X + 1, y=Y), DataConfig(file="a.npz")).digest != first.digest
    assert first.read(SEARCH).digest == first.digest


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"a": X, "b": Y}, r"must contain inputs x and targets y, got a, b\. Save them with"),
        ({"x": X, "y": Y, "x_test": X}, "must contain both x_test and y_test, or neither"),
        ({"x": X, "y": Y[:5]}, "x and y must have the same length, got 20 and 5"),
        ({"x": X[:, 0], "y": Y}, r"x must have shape \(n, d\), one row per example, got \(20,\)"),
        ({"x": np.array([{}] * 20), "y": Y}, 'array "x" must contain numbers, got the type object'),
        ({"x": X * np.nan, "y": Y}, "inputs must be finite"),
    ],
    ids=["other names", "half a test part", "lengths", "one dimension", "objects", "not finite"],
)
def test_unusable_arrays_are_refused(tmp_path: Path, arrays: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"a\.npz: .*{problem}"):
        read(saved(tmp_path, **arrays))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"drop": ("a",)}, '"drop": applies to tables only, and ".*" contains arrays'),
        ({"test": "t.npz"}, '"test": must be a number or a fraction, because'),
        ({"task": "labels"}, '"task": must be "classes", as the type and the shape of y say'),
    ],
)
def test_settings_that_do_not_apply_are_refused(tmp_path: Path, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read(saved(tmp_path, x=X, y=Y), **options)


def test_array_files_are_recognised_by_their_extension() -> None:
    assert is_array_file("data/A.NPZ")
    assert is_array_file("x.npy")
    assert not is_array_file("x.csv")
