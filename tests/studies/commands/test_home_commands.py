"""`studies delete` and `ui`, and homes of any name, run as a person would run them."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from studies.records.home import Home
from tests.studies.commands.shell import (
    NO_SERVER,
    Shell,
    alive,
    assert_refused,
    descendants,
    interrupt,
    optuna_states,
    read_only,
    run_statuses,
    wait_until,
)
from tests.tracking_data import dump


def test_a_study_is_not_deleted_unless_confirmed(finished: Shell) -> None:
    before = finished.files()
    answer = finished.studies("delete", "digits", typed="n\n")
    assert answer.returncode == 1
    assert "Delete study digits and its 6 trials? [y/N]" in answer.stdout
    assert finished.files() == before
    assert optuna_states(finished.home).total() == 6


@pytest.mark.slow
@pytest.mark.parametrize("is_folder", [False, True])
def test_a_study_whose_record_is_damaged_can_be_deleted(finished: Shell, is_folder: bool) -> None:
    folder = finished.home.study("digits").root
    (folder / "study.json").unlink()
    (folder / "study.json").mkdir() if is_folder else (folder / "study.json").write_text("garbage")
    answer = finished.studies("delete", "digits", "--yes")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "Study digits was deleted.\n", "")
    assert not folder.exists()


@pytest.mark.slow
def test_a_deleted_study_leaves_nothing_and_its_name_can_be_used_again(published: Shell, finished_once: Path) -> None:
    shutil.copytree(finished_once / "mlruns/studies", published.home.root / "studies", dirs_exist_ok=True)
    shutil.copy(finished_once / "mlruns/optuna.db", published.home.root)
    empty = dump(published.home.mlflow_db)
    assert published.studies("sync", "digits").returncode == 0
    assert len(run_statuses(published.home)) == 7
    answer = published.studies("delete", "digits", "--yes")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "Study digits was deleted.\n", "")
    assert published.studies("list").stdout.startswith("There are no studies in ")
    left = {table for table, rows in dump(published.home.mlflow_db).items() if rows != empty[table]}
    assert left <= {"inputs", "input_tags"}, "MLflow leaves rows of deleted runs in these tables"
    rows = dump(published.home.root / "optuna.db")
    assert {table for table, content in rows.items() if content} == {"version_info", "alembic_version"}
    assert not published.home.study("digits").root.exists()
    assert not (published.home.artifacts / "digits").exists()
    answer = published.studies("run", "study.toml", "--no-publish", "--trials", "2")
    assert (answer.returncode, "2 of 2 trials," in answer.stdout) == (0, True)


def fetch(url: str, **headers: str) -> tuple[int, bytes]:
    """Return the status and the body of a response."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_ui_answers_only_on_this_machine_and_leaves_no_process(finished: Shell, number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    ui = finished.start("ui", "digits", "--port", str(port))
    assert ui.stdout is not None
    address = re.fullmatch(
        rf"MLflow UI  (http://127\.0\.0\.1:{port})/#/experiments/\d+/runs\?\S+\n", ui.stdout.readline()
    )
    assert address, ui.communicate()
    assert ui.stdout.readline() == "Press Ctrl-C to stop it.\n"
    status, page = fetch(address[1])
    assert (status, b"<title>MLflow</title>" in page) == (200, True)
    assert fetch(address[1], Host=f"evil.example:{port}")[0] == 403
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)  # another address of this machine
    servers = descendants(ui.pid)
    assert servers
    output, seconds = interrupt(ui, number)
    assert (ui.returncode, output) == (0, "")
    assert seconds < 15
    wait_until(lambda: not alive(servers), 5)


@pytest.mark.slow
def test_the_ui_without_published_studies_prints_what_to_do(shell: Shell, finished_once: Path) -> None:
    assert_refused(shell.studies("ui"), "Run one first.")
    shutil.copytree(finished_once / "mlruns/studies", shell.home.root / "studies")
    assert_refused(shell.studies("ui"), "Publish one with: studies sync digits\n")


@pytest.mark.slow
def test_the_ui_of_an_absent_server_is_one_line_without_its_password(finished: Shell) -> None:
    uri = NO_SERVER.replace("//", "//me:secret@")
    for arguments in (["ui"], ["ui", "digits"], ["sync", "digits"]):
        answer = finished.studies(*arguments, MLFLOW_TRACKING_URI=uri)
        assert_refused(answer, "cannot be used: no server answers. Is it running, and is the address right?")
        assert "http://me:***@127.0.0.1:9" in answer.stderr
        assert "secret" not in answer.stderr
    assert b"secret" not in b"".join(file.read_bytes() for file in finished.home.root.rglob("*.log"))


@pytest.mark.slow
def test_the_ui_names_the_server_of_the_environment(finished: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = finished.start("ui", "--port", str(port))
    assert server.stdout is not None
    assert server.stdout.readline() == f"MLflow UI  http://127.0.0.1:{port}/\n"
    answer = finished.studies("ui", "digits", MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}")
    assert re.match(rf"MLflow UI  http://127\.0\.0\.1:{port}/#/experiments/\d+/runs\?", answer.stdout)
    assert answer.returncode == 0
    interrupt(server, signal.SIGINT)


@pytest.mark.slow
def test_the_ui_of_a_read_only_home_works_and_its_studies_cannot_be_deleted(finished: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    before, prefix = finished.files(), read_only(finished.home.root)
    if subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("unshare cannot make a folder read-only here")
    assert_refused(finished.studies("delete", "digits", "--yes", prefix=prefix), 'study "digits": ')
    for command in (["list"], ["show", "digits"], ["export", "digits"]):
        assert finished.studies(*command, prefix=prefix).returncode == 0
    ui = finished.start("ui", "digits", "--port", str(port), prefix=prefix)
    assert ui.stdout is not None
    address = re.match(rf"MLflow UI  (http://127\.0\.0\.1:{port})/#/experiments/\d+/runs", ui.stdout.readline())
    assert address, ui.communicate()
    assert fetch(address[1])[0] == 200
    interrupt(ui, signal.SIGINT)
    after = finished.files()
    assert {name: after[name] for name in before} == before


@pytest.mark.slow
def test_a_home_can_have_any_name_and_warnings_can_be_errors(shell: Shell, migrated_db: Path) -> None:
    home = Home(shell.folder / "50%20off?ü{0}#")
    home.create()
    shutil.copy(migrated_db, home.mlflow_db)
    before = {entry.name for entry in shell.folder.iterdir()}
    options = ("--home", home.root.name, "--trials", "2")
    answer = shell.studies("run", "study.toml", *options, PYTHONWARNINGS="error", PYTHONIOENCODING="ascii")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "Not everything is in MLflow yet" not in answer.stdout
    assert optuna_states(home) == Counter(COMPLETE=2)
    assert run_statuses(home)["digits"] == "FINISHED"
    assert {entry.name for entry in shell.folder.iterdir()} == before
