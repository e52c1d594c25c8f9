"""The tracking store: its database, its server, `studies sync`, `studies ui` and `studies delete`."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mlp.errors import ConfigError
from studies.records.home import Home
from studies.tracking.mlflow_store import (
    TrackingStore,
    compare,
    create_store,
    delete_experiment,
    experiment_id,
    publishing_lock,
    sync,
)
from studies.tracking.ui import start_server
from tests.tracking_data import (
    COMPLETE,
    FakeStudy,
    content,
    dump,
    four_trials,
    runs,
)


def test_syncing_a_study_that_a_driver_runs_leaves_its_runs_running(home: Home) -> None:
    study = FakeStudy(home)
    study.advance(0, 1)
    with study.folder.lock():
        sync(home, study.folder)
    assert {run.info.status for run in runs(home).values()} == {"RUNNING"}


def test_two_processes_never_publish_one_study_at_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    study = four_trials(home)
    monkeypatch.setattr("studies.tracking.mlflow_store.SYNC_LOCK_SECONDS", 0.1)
    with publishing_lock(study.folder), pytest.raises(ConfigError, match="being published by another process"):
        sync(home, study.folder)


def test_a_server_that_is_down_is_named_within_seconds(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    study = four_trials(home)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(ConfigError, match=r"the tracking store http://127\.0\.0\.1:9 cannot be used: .*"):
        sync(home, study.folder)
    assert time.monotonic() - started < 5


def test_mlflow_prints_nothing_on_the_terminal(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    study = four_trials(home)
    sync(home, study.folder)
    TrackingStore(home).client.delete_experiment(experiment_id(home, "digits"))
    sync(home, study.folder)
    assert capfd.readouterr() == ("", "")
    assert "the experiment digits was deleted" in study.folder.publisher_log.read_text()


@pytest.mark.slow
def test_deleting_a_study_frees_its_name_and_leaves_no_rows(home: Home) -> None:
    study = four_trials(home)
    empty = dump(home.mlflow_db)
    sync(home, study.folder)
    delete_experiment(home, "digits")
    assert experiment_id(home, "digits") is None
    left = {table for table, rows in dump(home.mlflow_db).items() if rows != empty[table]}
    assert left <= {"inputs", "input_tags"}, "MLflow itself keeps rows of deleted runs in these tables"
    assert not (home.artifacts / "digits").exists()
    delete_experiment(home, "digits")
    assert sync(home, study.folder) == 5


def test_deleting_a_study_keeps_the_runs_of_others_under_its_name(home: Home) -> None:
    study = four_trials(home)
    sync(home, study.folder)
    client = TrackingStore(home).client
    theirs = client.create_run(experiment_id(home, "digits"), tags={"studies.study": "digits/1"}, run_name="theirs")
    delete_experiment(home, "digits")
    assert set(runs(home)) == {"theirs"}
    assert client.get_run(theirs.info.run_id).info.lifecycle_stage == "active"


@pytest.mark.slow
def test_two_processes_that_create_the_database_at_once_share_one(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from studies.records.home import Home; "
    program += "from studies.tracking.mlflow_store import *; "
    program += "print(TrackingStore(Home(Path(sys.argv[1]))).client.get_experiment_by_name('Default').name)"
    command = [sys.executable, "-c", program, str(tmp_path / "home")]
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    assert [process.communicate(timeout=120)[0] for process in both] == ["Default\n", "Default\n"]
    assert sorted(path.name for path in (tmp_path / "home").glob("mlflow*")) == ["mlflow.db", "mlflow.lock"]


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.2, 0.6, 1.0])
def test_a_process_killed_while_it_creates_the_database_leaves_no_partial_one(tmp_path: Path, delay: float) -> None:
    home = Home(tmp_path)
    program = "import sys; from pathlib import Path; from studies.records.home import Home; "
    program += "from studies.tracking.mlflow_store import *; "
    program += "create_store(Home(Path(sys.argv[1])))"
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    draft = tmp_path / "mlflow.draft" / "filled.db"
    while not draft.exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(delay)
    process.kill()
    process.wait()
    create_store(home)
    assert TrackingStore(home, f"sqlite:///{home.mlflow_db}").client.get_experiment_by_name("Default") is not None


def test_comparing_finds_nothing_in_a_published_study(home: Home) -> None:
    study = four_trials(home)
    assert compare(home, study.folder) == ['MLflow has no experiment "digits"']
    sync(home, study.folder)
    before = dump(home.mlflow_db)
    assert compare(home, study.folder) == []
    assert dump(home.mlflow_db) == before


def test_comparing_names_missing_runs_wrong_statuses_and_missing_epochs(home: Home) -> None:
    study = FakeStudy(home, trials=5)
    for number in range(4):
        study.advance(number, 3, COMPLETE)
    sync(home, study.folder)
    client, found = TrackingStore(home).client, runs(home)
    client.set_terminated(found["trial 0001"].info.run_id, "FAILED")
    identifier = found["trial 0002"].info.run_id
    with closing(sqlite3.connect(home.mlflow_db)) as database, database:
        change = "UPDATE metrics SET value = 0.5 WHERE key = 'train/loss' AND step = 2 AND run_uuid = ?"
        database.execute(change, [identifier])
        database.execute("DELETE FROM metrics WHERE key = 'train/accuracy' AND step < 3 AND run_uuid = ?", [identifier])
    client.delete_run(found["trial 0000"].info.run_id)
    study.folder.log(3).unlink()
    study.advance(3, 4)
    study.advance(4, 3, COMPLETE)
    assert compare(home, study.folder) == [
        "trial 1: MLflow shows FAILED instead of FINISHED",
        "trial 3: MLflow shows FINISHED, but it has not ended",
        "trial 3: MLflow has 3 of 4 epochs of train/loss",
        "trial 4: MLflow has no run",
        "trial 2: MLflow differs from the log in train/loss, epochs 2",
        "trial 2: MLflow differs from the log in train/accuracy, epochs 1, 2",
    ]


@contextmanager
def serving(home: Home, port: int) -> Iterator[str]:
    """Run MLflow's server as `studies ui` does."""
    url = f"http://127.0.0.1:{port}"
    with (home.root / "ui.log").open("wb") as log, pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)  # a client may name this server before it runs
        server = start_server(home, port, log)
    try:
        while True:
            assert server.poll() is None, (home.root / "ui.log").read_text()
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


@pytest.mark.slow
def test_the_ui_shows_runs_and_artifacts_to_this_machine_only(home: Home) -> None:
    study = four_trials(home)
    sync(home, study.folder)
    run_id = runs(home)["digits"].info.run_id
    port = 20_000 + os.getpid() % 10_000
    with serving(home, port) as url:
        with urllib.request.urlopen(f"{url}/get-artifact?path=trials.csv&run_uuid={run_id}") as answer:
            assert answer.read().startswith(b"number,state")
        search = f"{url}/ajax-api/2.0/mlflow/experiments/search?max_results=5"
        request = urllib.request.Request(search, headers={"Host": f"10.evil.example:{port}"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request)


@pytest.mark.slow
def test_a_server_shows_the_same_content_as_the_own_store_of_a_home(
    new_home: Callable[[str], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, server = new_home("home"), new_home("server")
    study = four_trials(home)
    sync(home, study.folder)
    with serving(server, 20_000 + os.getpid() % 10_000) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        assert sync(home, study.folder) == 5
        assert sync(home, study.folder) == 0
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert content(server) == content(home)
    assert len(list(server.artifacts.rglob("trials.csv"))) == 1
