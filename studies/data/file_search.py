"""Where a file is that a configuration names: the folder of the study file, the working folder or the data folder.

Files are identified by their content, never by how their path is written.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from mlp.data_config import DataConfig
from mlp.errors import ConfigError, errors_in
from mlp.untrusted import open_regular
from studies.data.sources import find_data_dir


@dataclass(frozen=True)
class Places:
    """The folders in which a relative path is looked up.

    Attributes:
        beside: folders that are searched first: that of the file that names the path, if there is one.
        data_dir: the folder of data files, searched last; by default `STUDIES_DATA`.
    """

    beside: tuple[Path, ...] = ()
    data_dir: Path | str | None = None

    def find(self, name: str, *, path: str = "file") -> Path:
        """Return the file that a path means: the first one in these folders.

        Args:
            name: the path, relative or absolute; `~` is the user's folder.
            path: the dotted path of the field that contains it, for errors.

        Raises:
            ConfigError: if there is no such file.
        """
        found = self._find_all(name)
        if not found:
            searched = " nor ".join(str(place.resolve()) for place in self._candidates(name))
            raise ConfigError(f"there is no file {searched}.", path=path)
        return found[0]

    def find_namesakes(self, config: DataConfig) -> tuple[str, ...]:
        """Return a sentence for each file of a configuration that has a namesake with other content.

        Which file is used would otherwise silently depend on the folder in which the program was started.
        """
        sentences = []
        for name in filter(None, (config.file, config.test, config.validation)):
            used, *others = (isinstance(name, str) and self._find_all(name)) or [Path()]
            if other := next((other for other in others if not is_same_file(used, other)), None):
                sentences.append(f"{used} is used; {other} has other content.")
        return tuple(sentences)

    def folder_of(self, name: str) -> str:
        """Return the absolute folder in which a relative path was found, from which it is found again later.

        Returns:
            The folder; empty if the path is absolute, if it was found in the data folder, or if it is not found.
        """
        data_dir = find_data_dir(self.data_dir)
        for folder in (*self.beside, Path()) if not Path(name).expanduser().is_absolute() else ():
            if (folder / name).exists():
                is_data_dir = data_dir is not None and folder.resolve() == data_dir.resolve()
                return "" if is_data_dir else str(folder.absolute())
        return ""

    def name_from(self, folder: Path, name: str) -> str:
        """Return the path of a file as a file in another folder names it; absolute if it is on another drive.

        Raises:
            ConfigError: as in `find`.
        """
        file = self.find(name)
        if not self.folder_of(name):
            return name
        try:
            return Path(os.path.relpath(file, folder)).as_posix()
        except ValueError:
            return str(file.absolute())

    def _candidates(self, name: str) -> list[Path]:
        file = Path(name).expanduser()
        if file.is_absolute():
            return [file]
        data_dir = find_data_dir(self.data_dir)
        places: dict[Path, Path] = {}
        for folder in (*self.beside, Path(), *([] if data_dir is None else [data_dir])):
            places.setdefault((folder / file).resolve(), folder / file)
        return list(places.values())

    def _find_all(self, name: str) -> list[Path]:
        # Of what is not a regular file, opening it says what it is.
        return [place for place in self._candidates(name) if place.exists() and not place.is_dir()]


def is_same_file(file: Path, other: Path) -> bool:
    """Return whether two files are the same one or have the same content.

    Raises:
        ConfigError: if one of them cannot be read.
    """
    if file.samefile(other):
        return True
    return file.stat().st_size == other.stat().st_size and file_digest(file) == file_digest(other)


def file_digest(file: Path, *, path: str = "file") -> str:
    """Return the SHA-256 of the content of a file, as 64 hexadecimal digits.

    Args:
        file: the file.
        path: the dotted path of the field that names it, for errors.

    Raises:
        ConfigError: if it cannot be read.
    """
    try:
        with errors_in(f"{file}:"), open_regular(file) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}.", path=path) from None
