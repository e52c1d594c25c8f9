"""Data sets by name: the digits that scikit-learn includes, and those published as IDX files, pinned by SHA-256."""

from __future__ import annotations

import hashlib
import importlib.util
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlp.arrays import digest
from mlp.data import Dataset
from mlp.errors import ConfigError, did_you_mean
from mlp.untrusted import read_gzip_or_plain
from studies.data.cache import cache_folder, find_data_dir, keep
from studies.data.idx import IdxFile, Places, mnist_files

MIRRORS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion_mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
}

PAYLOADS = {  # the SHA-256 of training images and labels, test images and labels
    "mnist": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fashion_mnist": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}


@dataclass(frozen=True)
class AbstractSource(ABC):
    """A data set as it is published.

    Attributes:
        name: by which configurations call it.
        digest: a SHA-256 that identifies the content.
    """

    name: str
    digest: str

    @abstractmethod
    def read(self, places: Places) -> Dataset:
        """Return the data set.

        Raises:
            ConfigError: when it cannot be had, or is not what was published.
        """


@dataclass(frozen=True)
class Bundled(AbstractSource):
    """The digits that scikit-learn brings along. They have no official test part: every fifth row is set aside.

    `digest` is that of the arrays.
    """

    def read(self, places: Places) -> Dataset:
        package = importlib.util.find_spec("sklearn")  # found, not imported: that takes a second
        if package is None or package.origin is None:
            raise ConfigError(f'"{self.name}" comes with scikit-learn, which is not installed. Install scikit-learn.')
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        try:
            table = np.loadtxt(
                read_gzip_or_plain(file, 1 << 20).decode().splitlines(), np.int64, delimiter=",", ndmin=2
            )
        except (FileNotFoundError, ValueError) as error:
            raise ConfigError(f"{file} must hold the digits: {error}. Install scikit-learn anew.") from error
        is_test = np.arange(len(table)) % 5 == 4
        inputs, labels = table[:, :-1].astype(np.uint8), table[:, -1].astype(np.int64)
        arrays = inputs[~is_test], labels[~is_test], inputs[is_test], labels[is_test]
        if (got := digest(*arrays)) != self.digest:
            problem = f"must hold the digits, whose arrays have the SHA-256 {self.digest}, got {got}."
            raise ConfigError(f"{file} {problem} Install another version of scikit-learn.")
        return Dataset(self.name, *arrays, DIGITS, 16.0, self.digest, (8, 8))


@dataclass(frozen=True)
class Published(AbstractSource):
    """A data set of four IDX files.

    Attributes:
        classes: the names of the classes.
        files: in the order of `ARRAYS`; `digest` is over their digests.
    """

    classes: tuple[str, ...]
    files: tuple[IdxFile, ...]

    def read(self, places: Places) -> Dataset:
        folder = self.name.replace("_", "-")
        try:
            arrays = [places.find(file, folder) for file in self.files]
        except FileNotFoundError as error:
            put = f"Put its four files into DIR/{folder}/ and point to them: --data-dir DIR or STUDIES_DATA=DIR."
            raise ConfigError(f'"{self.name}" is incomplete: {error} {put}') from error
        inputs, test_inputs = (images.reshape(len(images), -1) for images in arrays[::2])
        targets, test_targets = (labels.astype(np.int64) for labels in arrays[1::2])
        return Dataset(
            self.name, inputs, targets, test_inputs, test_targets, self.classes, 255.0, self.digest, (28, 28)
        )


DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def _published(name: str, classes: tuple[str, ...]) -> Published:
    digest_of_all = hashlib.sha256("".join(PAYLOADS[name]).encode()).hexdigest()
    return Published(name, digest_of_all, classes, mnist_files(*PAYLOADS[name]))


SOURCES: dict[str, AbstractSource] = {
    source.name: source
    for source in (
        Bundled("digits", "ff3616c0f69552c411ca15d060836fbf14ad26848e907145698199e8db70ec09"),
        _published("mnist", DIGITS),
        _published("fashion_mnist", CLOTHES),
    )
}


def names() -> list[str]:
    """Return the names of all data sets."""
    return list(SOURCES)


def prepare(
    name: str,
    *,
    data_dir: Path | str | None = None,
    download: bool = True,
    progress: bool = False,
    path: str = "data.name",
) -> Path:
    """Make sure that a data set is cached as arrays, and return the folder for `open_dataset`.

    What is cached needs neither `data_dir` nor a network.

    Args:
        name: of the data set.
        data_dir: a folder with `mnist/*.gz` or `fashion-mnist/*.gz` in it, looked into before earlier downloads;
            `STUDIES_DATA` unless given.
        download: whether to fetch what is nowhere else.
        progress: whether to show a bar while downloading.
        path: where the name stands in the configuration, for the error.

    Raises:
        ConfigError: on an unknown name, on data that are missing or not what was published, on an unwritable cache.
    """
    if name not in SOURCES:
        hint = did_you_mean(name, SOURCES)
        raise ConfigError(f'there is no data set called "{name}".{hint} There are: {", ".join(SOURCES)}.', path=path)
    source, downloads = SOURCES[name], cache_folder() / "downloads" / name
    mirrors = MIRRORS.get(name, ()) if download else ()
    places = Places(find_data_dir(data_dir), downloads, mirrors, progress)
    return keep(name, source.digest, lambda: source.read(places), path=path)
