"""Data sets by name: those of scikit-learn, and sets of IDX files; every content is pinned by SHA-256."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlp.data import Dataset
from mlp.errors import ConfigError, did_you_mean
from studies.data.bundled import BUNDLED, DIGITS
from studies.data.idx import IdxFile, mnist_files
from studies.data.sources import AbstractSource, FileSearch

CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@dataclass(frozen=True)
class IdxSource(AbstractSource):
    """A data set of four IDX files.

    Attributes:
        classes: the names of the classes.
        files: the images and labels of the training part, then of the test part; `digest` is computed from their
            digests.
        mirrors: the addresses of folders that contain the files, compressed.
    """

    classes: tuple[str, ...]
    files: tuple[IdxFile, ...]
    mirrors: tuple[str, ...]

    @classmethod
    def from_digests(
        cls, name: str, classes: tuple[str, ...], sha256: tuple[str, ...], mirrors: tuple[str, ...]
    ) -> IdxSource:
        """Return the source whose files have the names and sizes of MNIST and these digests."""
        return cls(name, hashlib.sha256("".join(sha256).encode()).hexdigest(), classes, mnist_files(*sha256), mirrors)

    def read(self, search: FileSearch) -> Dataset:
        folder = self.name.replace("_", "-")
        try:
            arrays = [search.find(file, folder, self.mirrors) for file in self.files]
        except FileNotFoundError as error:
            advice = f"Put the four files into DIR/{folder}/ and set --data-dir DIR or STUDIES_DATA=DIR."
            raise ConfigError(f'"{self.name}" is incomplete: {error} {advice}', path="name") from error
        inputs, test_inputs = (images.reshape(len(images), -1) for images in arrays[::2])
        targets, test_targets = (labels.astype(np.int64) for labels in arrays[1::2])
        return Dataset(
            self.name, inputs, targets, test_inputs, test_targets, self.classes, 255.0, self.digest, (28, 28)
        )


SOURCES: dict[str, AbstractSource] = {
    source.name: source
    for source in (
        *BUNDLED,
        IdxSource.from_digests(
            "mnist",
            DIGITS,
            sha256=(
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
            mirrors=(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
        ),
        IdxSource.from_digests(
            "fashion_mnist",
            CLOTHES,
            sha256=(
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
            mirrors=(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            ),
        ),
    )
}


def find_source(name: str) -> AbstractSource:
    """Return the source of a published data set.

    Raises:
        ConfigError: if there is no data set of this name.
    """
    if name not in SOURCES:
        hint = did_you_mean(name, SOURCES) or _file_hint(name)
        problem = f'"{name}" is not a data set.{hint} Available: {", ".join(SOURCES)}, or the path of a CSV file.'
        raise ConfigError(problem, path="name")
    return SOURCES[name]


def _file_hint(name: str) -> str:
    """Return what to do with a file that is not a CSV file."""
    ending = Path(name).suffix
    if ending.casefold() in (".tsv", ".tab"):
        return " A table must be separated by commas, not by tabs, and its name must end in .csv."
    return f" A table must be separated by commas, and its name must end in .csv, not in {ending}." if ending else ""
