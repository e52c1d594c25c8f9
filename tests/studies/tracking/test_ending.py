"""The end of publishing: what counts as published, and what happens when it is slow, refused, ended or killed."""

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mlp.errors import ConfigError
from studies.errors import NotPublishedError
from studies.records.home import Home
from studies.records.results import read_results
from studies.tracking.mirror import confirm_published
from studies.tracking.mlflow_store import TrackingStore, compare, experiment_id, open_mirror, sync
from studies.tracking.own_store import relocation_notice
from studies.tracking.publication import is_published, mark_published
from studies.tracking.publisher import Publisher, PublishOutcome
from tests.studies.tracking.servers import Proxy, listening
from tests.studies.tracking.test_mlflow_store import serving
from tests.tracking_data import COMPLETE, FakeStudy, content, dump, four_trials, runs

NONSENSE = [b"{}", b"[]", b"null", b'{"experiment": {"experiment_id": "1"}}', b"<html>Welcome</html>", b"", b"\xff\xfe"]


def marked(home: Home, study: FakeStudy) -> bool:
    """Return whether the results of a study are marked as published."""
    return is_published(home, study.folder, read_results(study.folder))


def test_a_study_is_marked_as_published_until_its_results_or_its_store_change(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = four_trials(home)
    assert not marked(home, study)
    mark_published(home, study.folder, read_results(study.folder))
    assert marked(home, study)
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
        assert not marked(home, study), "another store"
        mark_published(home, study.folder, read_results(study.folder))
        assert marked(home, study)
        assert "secret" not in (study.folder.root / "published.json").read_text()
    assert not marked(home, study)
    mark_published(home, study.folder, read_results(study.folder))
    best = study.folder.best.read_bytes()
    study.folder.best.write_text("seed = 4\n")
    assert not marked(home, study), "another best configuration"
    study.folder.best.write_bytes(best)
    assert marked(home, study)
    study.write_record(trials=5)
    study.advance(4, 1, COMPLETE)
    assert not marked(home, study), "another trial"
    mark_published(home, study.folder, read_results(study.folder))
    home.mlflow_db.unlink()
    assert not marked(home, study), "no store"


@pytest.mark.parametrize("damaged", ["", "{", "[]", '"x"', '{"digest": 1}', "[" * 100_000])
def test_a_damaged_mark_does_not_count(home: Home, damaged: str) -> None:
    study = four_trials(home)
    (study.folder.root / "published.json").write_text(damaged)
    assert not marked(home, study)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_not_a_file_does_not_count_as_a_mark(home: Home, make: Callable[[Path], None]) -> None:
    study = four_trials(home)
    make(study.folder.root / "published.json")
    assert not marked(home, study)


@pytest.mark.slow
def test_a_study_is_finished_in_mlflow_only_when_all_its_trials_are_published(home: Home) -> None:
    study = four_trials(home)
    mirror, allowed = open_mirror(home, study.folder), iter((True, True, False))
    left: list[int] = []
    assert not mirror.publish(live=False, may_continue=lambda: next(allowed), on_progress=left.append)
    assert left == [4, 3, 2]
    mirror.close(artifacts=False, is_published=False)
    run = runs(home)["digits"]
    assert (run.info.status, run.data.tags["interrupted"]) == ("KILLED", "true")
    with pytest.raises(
        NotPublishedError, match=r"^the study: MLflow shows interrupted instead of FINISHED, and 2 more"
    ):
        confirm_published(mirror)
    assert not marked(home, study)
    assert sync(home, study.folder) == 3
    assert marked(home, study)
    assert compare(home, study.folder) == []
    run = runs(home)["digits"]
    assert (run.info.status, "interrupted" in run.data.tags) == ("FINISHED", False)


@pytest.mark.parametrize("answer", NONSENSE)
@pytest.mark.parametrize("status", [200, 404])
def test_a_server_that_is_not_mlflow_does_not_count_as_published(
    home: Home, monkeypatch: pytest.MonkeyPatch, answer: bytes, status: int
) -> None:
    study = four_trials(home)
    with listening(lambda *_: (status, answer)) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        with pytest.raises(ConfigError, match=f"the tracking store {url} cannot be used: .+") as raised:
            sync(home, study.folder)
        assert "\n" not in str(raised.value)
        try:
            assert compare(home, study.folder), "it has nothing of the study"
        except ConfigError as error:
            assert "cannot be used" in str(error)  # noqa: PT017 - either is right
    assert not marked(home, study)


@pytest.mark.slow
def test_a_publisher_of_a_server_that_is_not_mlflow_is_pending(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    study = four_trials(home)
    with listening(lambda *_: (200, b"{}")) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        outcome = Publisher.start(home, study.folder).finish()
    assert not outcome.drained
    assert "MLflow" in outcome.error
    assert not marked(home, study)


@pytest.mark.slow
def test_what_a_server_does_not_keep_does_not_count_as_published(
    new_home: Callable[[str], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, server = new_home("home"), new_home("server")
    with serving(server, 20_000 + os.getpid() % 10_000) as url:
        proxy = Proxy(url)
        with listening(proxy.answer) as address:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            for lost in ("runs/log-batch", "runs/update"):
                study = FakeStudy(home, name=lost.replace("/", "-"), trials=2)
                for number in range(2):
                    study.advance(number, 2, COMPLETE)
                proxy.lost = lost
                with pytest.raises(ConfigError, match=r"cannot be used: .+: MLflow (has|shows) .+ more differences"):
                    sync(home, study.folder)
                assert not marked(home, study)
                assert compare(home, study.folder)
                proxy.lost = ""
                sync(home, study.folder)
                assert marked(home, study)
                assert compare(home, study.folder) == []


@pytest.mark.slow
def test_a_slow_server_gets_a_study_in_few_calls_while_the_driver_waits_and_is_told(
    new_home: Callable[[str], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, server = new_home("home"), new_home("server")
    study = FakeStudy(home, trials=24)
    for number in range(24):
        study.advance(number, 5, COMPLETE)
    study.folder.best.write_text("seed = 3\n")
    with serving(server, 20_000 + os.getpid() % 10_000) as url:
        proxy = Proxy(url, seconds=1.0)
        with listening(proxy.answer) as address:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            told: list[str] = []
            publisher, started = Publisher.start(home, study.folder), time.monotonic()
            outcome = publisher.finish(on_wait=told.append)
            seconds = time.monotonic() - started
            monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert outcome == PublishOutcome(drained=True)
    counts = Counter(path.rpartition("mlflow/")[2] for _, path in proxy.calls)
    per_trial = counts["runs/create"], counts["runs/log-inputs"], counts["runs/update"]
    assert per_trial == (25, 25, 25)
    assert counts["runs/log-batch"] <= 24 + 5
    assert len(proxy.calls) <= 4 * 24 + 25, counts
    assert seconds < 60, f"{len(proxy.calls)} calls"
    assert any("runs left" in text and "Ctrl-C" in text for text in told)
    assert len(content(server)) == 25


@pytest.mark.slow
def test_waiting_for_a_slow_server_can_be_ended_and_loses_nothing(
    new_home: Callable[[str], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, server = new_home("home"), new_home("server")
    study = four_trials(home)
    with serving(server, 20_000 + os.getpid() % 10_000) as url:
        proxy = Proxy(url, seconds=1.0)
        with listening(proxy.answer) as address:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            publisher = Publisher.start(home, study.folder)
            started = time.monotonic()
            outcome = publisher.finish(should_stop=lambda: len(proxy.calls) >= 5)
            assert outcome == PublishOutcome(drained=False, error="waiting for it was interrupted")
            assert time.monotonic() - started < 60
            assert not marked(home, study)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        publisher = Publisher.start(home, study.folder)
        assert publisher.finish().drained
        assert marked(home, study)
        assert compare(home, study.folder) == []


@pytest.mark.slow
def test_a_publisher_that_loses_its_driver_at_the_end_does_not_finish_the_study_in_mlflow(
    new_home: Callable[[str], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, server = new_home("home"), new_home("server")
    study = four_trials(home)
    with serving(server, 20_000 + os.getpid() % 10_000) as url:
        proxy = Proxy(url, seconds=0.4)
        with listening(proxy.answer) as address:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            publisher = Publisher.start(home, study.folder)
            assert publisher.process.stdin is not None
            publisher.process.stdin.write("finish\n")
            publisher.process.stdin.flush()
            while not any(path.endswith("runs/create") for _, path in proxy.calls):
                time.sleep(0.05)
            publisher.process.stdin.close()
            assert publisher.process.wait(10) != 0
            assert not publisher.finish().drained
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        assert runs(server)["digits"].info.status != "FINISHED"
        assert not marked(home, study)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        sync(home, study.folder)
        assert compare(home, study.folder) == []


def uris(home: Home) -> set[str]:
    """Return the artifact location of the experiment and of every run."""
    experiment = TrackingStore(home).client.get_experiment(experiment_id(home, "digits"))
    return {experiment.artifact_location} | {run.info.artifact_uri for run in runs(home).values()}


@pytest.mark.slow
def test_a_home_that_was_moved_shows_its_artifacts_and_never_writes_to_its_old_place(home: Home) -> None:
    study = four_trials(home)
    sync(home, study.folder)
    place = home.root.with_name("50%20 off, #1 ?é")
    home.root.rename(place)
    moved = Home(place)
    assert relocation_notice(moved) == (
        f"The home was moved from {home.root}: the artifact locations in mlflow.db were updated."
    )
    assert relocation_notice(moved) == ""
    assert all(uri.startswith(moved.artifacts.as_uri() + "/digits") for uri in uris(moved))
    client = TrackingStore(moved).client
    files = {file.path for file in client.list_artifacts(runs(moved)["digits"].info.run_id)}
    assert files == {"best.toml", "trials.csv", "plots"}
    folder = moved.study("digits")
    assert is_published(moved, folder, read_results(folder)), "the mark moves with the home"
    folder.best.write_text("seed = 4\n")
    command = [sys.executable, "-m", "studies", "sync", "digits", "--home", str(place)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    assert answer.stdout.endswith("; runs written: 1.\n")
    assert not home.root.exists()
    assert [file.read_text() for file in moved.artifacts.rglob("best.toml")] == ["seed = 4\n"]


@pytest.mark.slow
def test_a_copied_home_uses_its_own_artifacts_and_a_linked_one_is_left_alone(home: Home) -> None:
    study = four_trials(home)
    sync(home, study.folder)
    link = Home(home.root.with_name("link"))
    link.root.symlink_to(home.root)
    assert relocation_notice(link) == ""
    copy = Home(home.root.with_name("copy"))
    shutil.copytree(home.root, copy.root)
    before = dump(home.mlflow_db)
    folder = copy.study("digits")
    folder.best.write_text("seed = 4\n")
    command = [sys.executable, "-m", "studies", "sync", "digits", "--home", str(copy.root)]
    subprocess.run(command, check=True, capture_output=True)  # MLflow remembers locations as long as a process lives
    assert all(uri.startswith(copy.artifacts.as_uri() + "/") for uri in uris(copy))
    assert [file.read_text() for file in home.artifacts.rglob("best.toml")] == ["seed = 3\n"]
    assert dump(home.mlflow_db) == before


@pytest.mark.parametrize("damaged", [b"", b"garbage" * 1000])
def test_a_damaged_store_is_not_the_business_of_relocation(home: Home, damaged: bytes) -> None:
    home.mlflow_db.write_bytes(damaged)
    assert relocation_notice(home) == ""
