"""The confirmation of a winner in MLflow: a run for each of its trainings, and the verdict in the study's own run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from studies.records.home import Home
from studies.records.results import read_results
from studies.records.trial_record import Ending
from studies.tracking.mlflow_store import TrackingStore, compare, delete_experiment, open_mirror, sync
from studies.tracking.publication import is_published, mark_published
from tests.tracking_data import COMPLETE, FAILED, PRUNED, FakeStudy, content, dump, home_with, runs

CONFIRM = {"enabled": True, "top": 3, "seeds": 2, "equivalence": 0.001}


def searched(home: Home) -> FakeStudy:
    """Return a study of two trials whose search is complete, and whose winner is to be confirmed."""
    study = FakeStudy(home, trials=2)
    study.write_record(confirm=CONFIRM)
    study.advance(0, 2, COMPLETE)
    study.advance(1, 1, PRUNED)
    study.folder.best.write_text("seed = 3\n", encoding="utf-8")
    return study


def confirmed(home: Home) -> FakeStudy:
    """Return a study whose winner is confirmed."""
    study = searched(home)
    study.confirm(0, 0, 2, COMPLETE)
    study.confirm(0, 1, 3, COMPLETE)
    study.confirm(1, 0, 1, FAILED)
    study.conclude()
    return study


def publish(home: Home, study: FakeStudy, *, live: bool = False) -> None:
    """Publish what `sync` would, but without the artifacts, which take most of the time."""
    mirror = open_mirror(home, study.folder)
    mirror.publish(live=live)
    if not live:
        mirror.close(artifacts=False)


def state_of(home: Home, name: str) -> tuple[str, bool]:
    """Return the status of a run, and whether it is marked as interrupted."""
    run = runs(home)[name]
    return run.info.status, "interrupted" in run.data.tags


@pytest.fixture(scope="module", name="published")
def published_fixture(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Home]:
    """Return a home with a study that is confirmed and published; no test changes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        home = home_with(migrated_db, tmp_path_factory.mktemp("published"))
        assert sync(home, confirmed(home).folder) == 6
        yield home


def test_each_training_has_a_run_below_the_study_with_its_true_status(published: Home) -> None:
    found = runs(published)
    assert {name: run.info.status for name, run in found.items() if name.startswith("confirm")} == {
        "confirm 0000-00": "FINISHED",
        "confirm 0000-01": "FINISHED",
        "confirm 0001-00": "FAILED",
    }
    run = found["confirm 0000-01"]
    expected = {"confirm": "true", "candidate": "0", "pair": "1", "seed": "1001", "state": "complete"}
    assert expected.items() <= run.data.tags.items()
    assert "trial" not in run.data.tags
    assert run.data.tags["mlflow.parentRunId"] == found["digits"].info.run_id
    assert run.data.params == found["trial 0000"].data.params
    client = TrackingStore(published).client
    history = client.get_metric_history(run.info.run_id, "validation/accuracy")
    assert [(m.step, m.value) for m in history] == [
        (epoch, FakeStudy.metrics(1, epoch)["validation/accuracy"]) for epoch in (1, 2, 3)
    ]


def test_the_own_run_of_the_study_has_the_verdict(published: Home) -> None:
    run = runs(published)["digits"]
    assert (run.data.tags["verdict"], run.data.tags["confirmed_trial"]) == ("better", "0")
    assert run.data.metrics["confirmed_value"] == 0.9
    note = run.data.tags["mlflow.note.content"]
    assert "**Confirmation.** The verdict is better." in note
    assert "| trial 0 | base | 0.95 | 0.9 | 2 |" in note
    assert "| trial 1 | pruned |  |  | 0 |" in note
    artifacts = published.artifacts / "digits" / run.info.run_id / "artifacts"
    study = published.study("digits")
    assert (artifacts / "confirmation.json").read_bytes() == study.confirmation.read_bytes()


def test_a_published_confirmation_has_no_differences_and_publishing_it_again_changes_no_row(published: Home) -> None:
    folder = published.study("digits")
    before = dump(published.mlflow_db)
    assert compare(published, folder) == []
    assert sync(published, folder) == 0
    assert dump(published.mlflow_db) == before


def test_a_confirmation_published_in_small_steps_looks_like_one_published_at_once(home: Home, published: Home) -> None:
    study = searched(home)
    mirror = open_mirror(home, study.folder)
    mirror.publish(live=True)
    for trial, pair, epochs, ending in ((0, 0, 2, COMPLETE), (0, 1, 3, COMPLETE), (1, 0, 1, FAILED)):
        study.confirm(trial, pair, epochs, ending)
        mirror.publish(live=True)
    study.conclude()
    sync(home, study.folder)
    assert content(home) == content(published)


def test_an_interrupted_confirmation_is_marked_and_continues_when_it_is_resumed(home: Home) -> None:
    study = searched(home)
    publish(home, study)
    assert state_of(home, "digits") == ("FINISHED", False), "nothing was confirmed yet"
    study.confirm(0, 0, 1)
    publish(home, study, live=True)
    assert state_of(home, "digits") == ("RUNNING", False)
    publish(home, study)
    assert state_of(home, "digits") == state_of(home, "confirm 0000-00") == ("KILLED", True)
    assert compare(home, study.folder) == []
    publish(home, study, live=True)
    assert state_of(home, "digits") == state_of(home, "confirm 0000-00") == ("RUNNING", False)
    study.confirm(0, 0, 2, COMPLETE)
    study.conclude("no better than base")
    publish(home, study)
    assert state_of(home, "digits") == state_of(home, "confirm 0000-00") == ("FINISHED", False)
    assert runs(home)["digits"].data.tags["verdict"] == "no better than base"


def test_the_verdict_is_withdrawn_when_the_search_is_extended(home: Home) -> None:
    study = confirmed(home)
    publish(home, study)
    study.write_record(trials=3, confirm=CONFIRM)
    study.advance(2, 1, COMPLETE)
    publish(home, study)
    run = runs(home)["digits"]
    assert not {"verdict", "confirmed_trial"} & set(run.data.tags)
    assert "Confirmation" not in run.data.tags["mlflow.note.content"]
    assert state_of(home, "digits") == ("KILLED", True), "the new winner is to be confirmed"
    study.conclude("tie", winner=None)
    publish(home, study)
    run = runs(home)["digits"]
    assert (run.info.status, run.data.tags["verdict"], "confirmed_trial" in run.data.tags) == ("FINISHED", "tie", False)


def test_what_mlflow_lacks_of_a_confirmation_is_a_difference(home: Home) -> None:
    study = searched(home)
    publish(home, study)
    study.confirm(0, 0, 2, COMPLETE)
    study.conclude()
    assert compare(home, study.folder) == ["confirmation 0 of trial 0: MLflow has no run"]
    publish(home, study)
    study.confirm(0, 1, 2)
    publish(home, study)
    study.confirm(0, 1, 3, Ending("complete"))
    assert compare(home, study.folder) == [
        "confirmation 1 of trial 0: MLflow shows interrupted instead of FINISHED",
        "confirmation 1 of trial 0: MLflow has 2 of 3 epochs of train/loss",
    ]


def test_a_study_is_published_again_after_its_confirmation_has_changed(home: Home) -> None:
    study = searched(home)

    def marked() -> bool:
        return is_published(home, study.folder, read_results(study.folder))

    mark_published(home, study.folder, read_results(study.folder))
    assert marked()
    study.confirm(0, 0, 2, COMPLETE)
    assert not marked()
    mark_published(home, study.folder, read_results(study.folder))
    study.conclude()
    assert not marked()


@pytest.mark.slow
def test_deleting_a_study_deletes_the_runs_of_its_confirmation(home: Home) -> None:
    publish(home, confirmed(home))
    delete_experiment(home, "digits")
    assert not dump(home.mlflow_db)["runs"]


def test_a_confirmation_log_that_cannot_be_read_does_not_block_the_others(home: Home) -> None:
    study = confirmed(home)
    study.folder.confirm.log(1).write_text("{this is no JSON\n")
    sync(home, study.folder)
    assert {name for name in runs(home) if name.startswith("confirm")} == {"confirm 0000-00", "confirm 0001-00"}
    assert "0001.jsonl cannot be read" in study.folder.publisher_log.read_text()
