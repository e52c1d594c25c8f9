"""Where the file is that a configuration names, and whether two files are the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlp.data_config import DataConfig
from mlp.errors import ConfigError
from studies.data.file_search import Places, file_digest, is_same_file


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """The folder of the study file, the working folder, and the data folder."""
    beside, here, data = (tmp_path / name for name in ("beside", "here", "data"))
    for folder in (beside, here, data):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("STUDIES_DATA", str(data))
    return beside, here, data


def test_a_file_is_looked_up_beside_the_study_then_in_the_working_folder_then_in_the_data_folder(
    folders: tuple[Path, Path, Path],
) -> None:
    beside, here, data = folders
    for folder in (data, here, beside):
        (folder / "x.csv").write_text("same")
        assert Places((beside,)).find("x.csv").resolve() == folder / "x.csv"
    assert Places().find("x.csv") == Path("x.csv")
    assert Places((), beside).find("x.csv") == Path("x.csv")


@pytest.mark.parametrize("name", ["x.csv", "sub/x.csv"])
def test_the_first_file_is_used_and_namesakes_with_other_content_are_named(
    folders: tuple[Path, Path, Path], name: str
) -> None:
    beside, here, data = folders
    for folder, text in ((beside, "one"), (here, "one"), (data, "two")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    places = Places((beside,))
    assert places.find(name) == beside / name
    expected = (f"{beside / name} is used; {data / name} has other content.",)
    assert places.find_namesakes(DataConfig(file=name)) == expected
    assert places.find_namesakes(DataConfig(file=str(beside / name), test=name)) == expected
    (data / name).write_text("one")
    assert places.find_namesakes(DataConfig(file=name)) == ()


def test_a_path_that_begins_with_a_dot_or_is_absolute_is_the_first_one_found(
    folders: tuple[Path, Path, Path],
) -> None:
    beside, here, _ = folders
    (beside / "x.csv").write_text("one")
    (here / "x.csv").write_text("two")
    assert Places((beside,)).find("./x.csv") == beside / "x.csv"
    assert Places((beside,)).find("../beside/x.csv").read_text() == "one"
    assert Places((beside,)).find(str(here / "x.csv")) == here / "x.csv"
    assert Places().find("./x.csv").read_text() == "two"


def test_a_missing_file_is_refused_with_all_places(folders: tuple[Path, Path, Path]) -> None:
    beside, here, data = folders
    (here / "x.csv").mkdir()
    with pytest.raises(ConfigError) as error:
        Places((beside,)).find("x.csv")
    places = " nor ".join(str(folder / "x.csv") for folder in (beside, here, data))
    assert str(error.value) == f'"file": there is no file {places}.'
    with pytest.raises(ConfigError, match=r'^"file": there is no file /nowhere/x\.csv\.$'):
        Places((beside,)).find("/nowhere/x.csv")


def test_files_are_the_same_by_their_content(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("text")
    b.write_text("text")
    assert is_same_file(a, b)
    assert is_same_file(a, tmp_path / "." / "a")
    assert file_digest(a) == file_digest(b)
    b.write_text("texT")
    assert not is_same_file(a, b)
    b.write_text("longer")
    assert not is_same_file(a, b)


def test_a_folder_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a regular file, got a folder"):
        file_digest(tmp_path)


def test_the_folder_of_a_file_is_recorded_unless_it_is_found_from_anywhere(folders: tuple[Path, Path, Path]) -> None:
    beside, here, data = folders
    places = Places((beside,))
    assert places.folder_of("sub/x.csv") == ""
    for folder, expected in ((data, ""), (here, str(here)), (beside, str(beside))):
        (folder / "sub").mkdir()
        (folder / "sub" / "x.csv").write_text("same")
        assert places.folder_of("sub/x.csv") == expected
    assert places.folder_of(str(here / "sub" / "x.csv")) == ""
    assert Places((data,)).folder_of("sub/x.csv") == ""
