"""The home directory: names of studies, their owner, and files that are replaced atomically."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlp.errors import ConfigError
from studies.errors import StudyLockedError
from studies.records.files import write_atomically
from studies.records.home import Home, check_study_name
from tests.record_data import study_record

OWNER = """
import sys
from pathlib import Path
from studies.records.home import Home, check_study_name

with Home(Path(sys.argv[1])).study("digits").lock():
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@contextmanager
def owner_process(home: Home) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the study "digits"."""
    command = [sys.executable, "-c", OWNER, str(home.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


def add_study(home: Home, name: str) -> None:
    folder = home.study(name)
    folder.root.mkdir(parents=True)
    folder.write_record(study_record(name=name))


@pytest.mark.parametrize("name", ["digits", "a", "0", "A-b_c.d", "v1..2", "x" * 100, "con.toml", "a-"])
def test_a_name_of_letters_digits_dots_dashes_and_underscores_is_accepted(home: Home, name: str) -> None:
    assert home.study(name).name == name
    assert home.study(name).root == home.root / "studies" / name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../digits",
        "a/b",
        "/etc",
        "a\\b",
        ".hidden",
        "-rf",
        "_a",
        "a b",
        "a\n",
        "\x00",
        "a\x00",
        "ä",
        "x" * 101,
    ],
)
def test_any_other_name_is_refused(home: Home, name: str) -> None:
    for find in (home.study, home.existing_study):
        with pytest.raises(ConfigError) as error:
            find(name)
        assert (error.value.place, error.value.path) == ("study", "name")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "must not be empty, got an empty string."),
        ("-x", "must begin with a letter or a digit, got '-x'."),
        (".hidden", "must begin with a letter or a digit, got '.hidden'."),
        ("x" * 300, "must have at most 100 characters, got 300."),
        ("a b", "must consist of ASCII letters, digits, dots, dashes and underscores, got ' ' in 'a b'."),
        ("naïve", "must consist of ASCII letters, digits, dots, dashes and underscores, got 'ï' in 'naïve'."),
    ],
)
def test_the_error_of_a_name_states_the_rule_that_it_breaks(name: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_study_name(name)
    assert error.value.problem == problem


def test_the_home_is_the_given_one_or_that_of_the_environment_or_mlruns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STUDIES_HOME", raising=False)
    assert Home.find().root == tmp_path / "mlruns"
    monkeypatch.setenv("STUDIES_HOME", "elsewhere")
    assert Home.find().root == tmp_path / "elsewhere"
    assert Home.find(Path("given")).root == tmp_path / "given"


def test_runs_are_published_to_the_home_unless_the_environment_names_a_server(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert home.tracking_uri == f"sqlite:///{home.root}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert home.tracking_uri == "http://127.0.0.1:5000"


def test_a_home_is_created_with_its_parent_folders(tmp_path: Path) -> None:
    home = Home(tmp_path / "a" / "b")
    home.create()
    home.create()
    assert (home.root / "studies").is_dir()


def test_a_home_that_cannot_be_created_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match=r"the home .*file/home cannot be written: .* Choose another with --home\."):
        Home(file / "home").create()


def test_a_study_that_exists_is_found(home: Home) -> None:
    add_study(home, "digits")
    assert home.existing_study("digits") == home.study("digits")
    assert home.existing_study("digits").read_record() == study_record()


def test_studies_are_listed_by_name_without_folders_that_have_no_record(home: Home) -> None:
    for name in ("mnist", "digits"):
        add_study(home, name)
    home.study("empty").root.mkdir()
    assert [study.name for study in home.studies()] == ["digits", "mnist"]


def test_an_unknown_study_is_refused_with_the_closest_name(home: Home) -> None:
    for name in ("mnist", "digits"):
        add_study(home, name)
    with pytest.raises(ConfigError) as error:
        home.existing_study("digit")
    expected = f'there is no study "digit" in {home.root}. Did you mean "digits"? There are: digits, mnist.'
    assert str(error.value) == expected


def test_an_unknown_study_in_an_empty_home_is_refused(home: Home) -> None:
    with pytest.raises(ConfigError) as error:
        home.existing_study("digits")
    assert str(error.value) == f'there is no study "digits" in {home.root}. There are none yet.'


def test_logs_are_in_the_order_of_their_trials(home: Home) -> None:
    study = home.study("digits")
    study.trials.mkdir(parents=True)
    for number in (10_000, 2, 9999, 0):
        study.log(number).touch()
        study.checkpoint(number).touch()
    assert study.logs() == [study.log(number) for number in (0, 2, 9999, 10_000)]
    assert (study.log(7).name, study.checkpoint(7).name) == ("0007.jsonl", "0007.npz")


def test_a_study_has_one_owner_and_others_are_refused_with_its_process(home: Home) -> None:
    with owner_process(home) as process:
        with pytest.raises(StudyLockedError) as error, home.study("digits").lock():
            pass
        owner = json.loads((home.study("digits").root / "owner.json").read_text())
        assert (owner["pid"], owner["host"]) == (process.pid, socket.gethostname())
        assert str(error.value) == (
            f'study "digits" is being run by process {process.pid} on {socket.gethostname()}, '
            f"started {owner['started']}."
        )


def test_a_refused_attempt_does_not_take_a_study_from_its_owner(home: Home) -> None:
    with owner_process(home):
        for _ in range(3):
            with pytest.raises(StudyLockedError), home.study("digits").lock():
                pass


def test_another_study_can_be_owned_at_the_same_time(home: Home) -> None:
    with owner_process(home), home.study("mnist").lock():
        assert (home.study("mnist").root / "owner.json").exists()


def test_a_study_is_free_again_when_its_owner_is_killed(home: Home) -> None:
    with owner_process(home) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with home.study("digits").lock():
            owner = json.loads((home.study("digits").root / "owner.json").read_text())
            assert owner["pid"] == os.getpid()


def test_a_study_is_free_again_when_its_owner_is_done_or_fails(home: Home) -> None:
    study = home.study("digits")
    for _ in range(2):
        with pytest.raises(KeyError), study.lock():
            raise KeyError
        assert not (study.root / "owner.json").exists()


def test_an_owner_whose_file_is_incomplete_is_called_another_process(home: Home) -> None:
    with owner_process(home):
        (home.study("digits").root / "owner.json").write_text('{"pid": 1')
        with pytest.raises(StudyLockedError, match="is being run by another process"), home.study("digits").lock():
            pass


def test_a_reader_never_sees_a_partly_replaced_file(tmp_path: Path) -> None:
    file = tmp_path / "state"
    contents = {bytes([n]) * (100_000 + n) for n in range(4)}
    write_atomically(file, min(contents))
    seen, done = set(), threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.add(file.read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(25):
        for content in contents:
            write_atomically(file, content)
    done.set()
    watcher.join()
    assert seen <= contents
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path) -> None:
    file = tmp_path / "state"
    write_atomically(file, "old")
    (tmp_path / f".state.{os.getpid()}").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(file, "new")
    assert file.read_text() == "old"


def test_text_and_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    write_atomically(tmp_path / "text", "µ\n")
    write_atomically(tmp_path / "bytes", b"\x00\xff")
    assert (tmp_path / "text").read_text(encoding="utf-8") == "µ\n"
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"


def test_a_home_whose_path_is_too_long_for_sqlite_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path.joinpath(*["x" * 50] * 10))
    with pytest.raises(ConfigError, match=r"path of the home must have at most 470 bytes.* Choose another with --home"):
        home.create()
    assert not any(tmp_path.iterdir())


def test_a_study_is_locked_as_long_as_a_process_runs_it(home: Home) -> None:
    home.create()
    folder = home.study("digits")
    assert not folder.is_locked()
    with folder.lock():
        assert folder.is_locked()
    assert not folder.is_locked()


def test_a_study_in_a_place_that_cannot_be_written_is_refused() -> None:
    folder = Home(Path("/proc/self/home")).study("digits")
    with pytest.raises(ConfigError, match=r'study "digits": .* cannot be written: '), folder.lock():
        pass
    assert not folder.is_locked()
