"""Published data sets have the content that they are known for."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mlp.arrays import digest
from mlp.errors import ConfigError
from studies.data import idx, published
from studies.data.bundled import DIGITS, DigitsSource
from studies.data.cache import ARRAYS, open_cached
from studies.data.prepare import open_dataset, prepare_data
from studies.data.published import CLOTHES

REAL = Path(os.environ.get("STUDIES_DATA", "no such folder"))


def requires_files(folder: str) -> pytest.MarkDecorator:
    files = [REAL / folder / f"{file.name}.gz" for file in idx.mnist_files("", "", "", "")]
    missing = [str(file) for file in files if not file.exists()]
    return pytest.mark.skipif(bool(missing), reason=f"STUDIES_DATA is not set or lacks {', '.join(missing)}")


def test_every_source_is_listed_under_its_name() -> None:
    assert list(published.SOURCES) == ["digits", "wine", "breast_cancer", "diabetes", "mnist", "fashion_mnist"]
    assert all(source.name == name for name, source in published.SOURCES.items())


def test_digits_equal_those_of_scikit_learn_with_every_fifth_row_as_test_part() -> None:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    dataset = open_dataset("digits")
    rows = np.arange(1797)
    np.testing.assert_array_equal(dataset.inputs, pixels[rows % 5 != 4])
    np.testing.assert_array_equal(dataset.targets, labels[rows % 5 != 4])
    np.testing.assert_array_equal(dataset.test_inputs, pixels[4::5])
    np.testing.assert_array_equal(dataset.test_targets, labels[4::5])
    assert (len(dataset.inputs), len(dataset.test_inputs)) == (1438, 359)
    assert dataset.inputs.max() == dataset.largest == 16
    assert (dataset.classes, dataset.image_shape) == (DIGITS, (8, 8))
    assert dataset.digest == digest(*(np.asarray(getattr(dataset, name)) for name in ARRAYS))


@pytest.mark.parametrize("name", ["wine", "breast_cancer", "diabetes"])
def test_tables_equal_those_of_scikit_learn_with_every_fifth_row_as_test_part(name: str) -> None:
    from sklearn import datasets

    options = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(datasets, f"load_{name}")(**options)
    dataset = open_dataset(name)
    is_test = np.arange(len(bunch.data)) % 5 == 4
    for mask, inputs, targets in (
        (~is_test, dataset.inputs, dataset.targets),
        (is_test, dataset.test_inputs, dataset.test_targets),
    ):
        np.testing.assert_array_equal(inputs, bunch.data[mask])
        if dataset.task == "classes":
            names = np.array([str(bunch.target_names[code]) for code in bunch.target[mask]])
            np.testing.assert_array_equal(np.array(dataset.classes)[targets], names)
        else:
            np.testing.assert_array_equal(targets[:, 0], bunch.target[mask])
    assert dataset.columns == tuple(map(str, bunch.feature_names))
    assert dataset.schema is not None
    assert dataset.schema.names == dataset.columns


def test_the_positive_class_of_breast_cancer_is_malignant() -> None:
    assert open_dataset("breast_cancer").classes == ("benign", "malignant")


@pytest.mark.parametrize(
    ("name", "classes", "mean", "first_labels"),
    [
        pytest.param("mnist", DIGITS, 0.1307, [5, 0, 4, 1, 9], marks=requires_files("mnist")),
        pytest.param("fashion_mnist", CLOTHES, 0.2860, [9, 0, 0, 3, 0], marks=requires_files("fashion-mnist")),
    ],
)
def test_image_sets_have_their_published_statistics(
    name: str, classes: tuple[str, ...], mean: float, first_labels: list[int]
) -> None:
    dataset = open_cached(prepare_data(name, data_dir=REAL, download=False))
    assert dataset.inputs.shape == (60_000, 784)
    assert dataset.test_inputs.shape == (10_000, 784)
    assert dataset.inputs.mean() / dataset.largest == pytest.approx(mean, abs=5e-5)
    assert dataset.targets[:5].tolist() == first_labels
    assert np.bincount(dataset.test_targets).sum() == 10_000
    assert set(dataset.targets.tolist()) == set(range(10))
    assert (dataset.classes, dataset.image_shape, len(dataset.classes)) == (classes, (28, 28), 10)
    assert dataset.digest == published.SOURCES[name].digest


def test_an_unknown_name_is_refused_with_the_most_similar_one() -> None:
    with pytest.raises(
        ConfigError, match=r'^"data\.name": "fashion-mnist" is not a data set\. Did you mean "fashion_mnist"\?'
    ) as error:
        prepare_data("fashion-mnist")
    assert error.value.path == "data.name"


def test_no_other_digits_of_scikit_learn_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(published.SOURCES, "digits", DigitsSource("digits", "0" * 64))
    with pytest.raises(
        ConfigError,
        match=r'^"data\.name": .*digits\.csv\.gz .* must contain "digits" with the SHA-256 000',
    ):
        prepare_data("digits")
