"""The runs of a study: their content, and that repeating, splitting and failing calls do not change it."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studies.records.home import Home
from studies.records.trial_record import Ending
from studies.tracking.mirror import Mirror
from studies.tracking.mlflow_store import (
    TrackingStore,
    experiment_id,
    open_mirror,
    sync,
)
from tests.tracking_data import (
    COMPLETE,
    CREATED,
    FAILED,
    PRUNED,
    FakeStudy,
    content,
    dump,
    four_trials,
    home_with,
    runs,
)


def publish(home: Home, study: FakeStudy) -> None:
    """Publish what `sync` would, but without the artifacts, which take most of the time."""
    mirror = open_mirror(home, study.folder)
    mirror.publish(live=False)
    mirror.close(artifacts=False)


@pytest.fixture(scope="module", name="published")
def published_fixture(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Home]:
    """Return a home with a finished and published study; no test changes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        home = home_with(migrated_db, tmp_path_factory.mktemp("published"))
        assert sync(home, four_trials(home).folder) == 5
        yield home


def test_every_trial_has_a_run_with_its_true_status_and_reason(published: Home) -> None:
    statuses = {
        name: (run.info.status, run.data.tags.get("state"), run.data.tags.get("reason"))
        for name, run in runs(published).items()
    }
    assert statuses == {
        "digits": ("FINISHED", None, None),
        "trial 0000": ("FINISHED", "complete", None),
        "trial 0001": ("KILLED", "pruned", "pruner"),
        "trial 0002": ("KILLED", "pruned", "diverged"),
        "trial 0003": ("FAILED", "failed", "MemoryError"),
    }
    assert runs(published)["trial 0003"].data.tags["error"] == "Traceback: ..."


def test_a_run_contains_the_configuration_the_epochs_and_the_summary_of_its_trial(published: Home) -> None:
    run = runs(published)["trial 0002"]
    assert run.data.params["network.activation"] == "leaky_relu(slope=0.1)"
    assert run.data.params["network.hidden.width"] == "90"
    config = json.loads(run.data.tags["config"])
    assert config["network"]["activation"] == {"name": "leaky_relu", "slope": 0.1}
    assert config["data"]["name"] == "digits"
    run = runs(published)["trial 0000"]
    client = TrackingStore(published).client
    history = client.get_metric_history(run.info.run_id, "validation/accuracy")
    assert [(m.step, m.value, m.timestamp) for m in history] == [
        (epoch, FakeStudy.metrics(0, epoch)["validation/accuracy"], round((CREATED + 0.125 * (epoch + 1)) * 1000))
        for epoch in (1, 2, 3)
    ]
    assert run.data.metrics["value"] == FakeStudy.metrics(0, 3)["validation/accuracy"]
    assert run.data.metrics["best/train/loss"] == min(FakeStudy.metrics(0, epoch)["train/loss"] for epoch in (1, 2, 3))
    assert run.data.metrics["final/train/loss"] == FakeStudy.metrics(0, 3)["train/loss"]
    assert run.data.metrics["kept_epoch"] == 3
    assert (run.info.start_time, run.info.end_time) == (1_700_000_000_375, 1_700_000_000_875)
    expected = {"trial": "0", "seed": "3", "weight_digest": "0" * 64, "version.numpy": "2.4.6", "study": "digits"}
    assert expected.items() <= run.data.tags.items()
    (source,) = run.inputs.dataset_inputs
    assert source.dataset.name == "digits"
    assert json.loads(source.dataset.profile)["n_train"] == 1150


def test_the_own_run_of_a_study_summarises_it(published: Home) -> None:
    found = runs(published)
    run = found["digits"]
    assert all(
        trial.data.tags["mlflow.parentRunId"] == run.info.run_id for name, trial in found.items() if name != "digits"
    )
    assert run.data.params["sampler"] == "tpe"
    assert run.data.params["base.optimizer.learning_rate"] == "0.001"
    assert run.data.params["base.data.name"] == "digits"
    counts = {key: run.data.metrics[key] for key in ("n_complete", "n_pruned", "n_failed")}
    assert counts == {"n_complete": 1, "n_pruned": 2, "n_failed": 1}
    assert "Best: trial 0 with **0.72**" in run.data.tags["mlflow.note.content"]
    artifacts = published.artifacts / "digits" / run.info.run_id / "artifacts"
    files = {str(file.relative_to(artifacts)) for file in artifacts.rglob("*") if file.is_file()}
    assert files == {"best.toml", "trials.csv", "plots/history.png"}
    table = (artifacts / "trials.csv").read_text().splitlines()
    assert table[0].startswith("number,state,reason,value,seconds,epochs,best/train/accuracy")
    assert table[4].startswith("3,failed,MemoryError,,0.0,1")


def test_the_best_value_so_far_is_a_metric_by_trial_number(home: Home) -> None:
    study = FakeStudy(home, trials=5)
    for number, value in ((1, 0.9), (3, 0.8), (0, 0.5)):
        study.advance(number, 1, COMPLETE, value=value)
    study.advance(2, 1)
    publish(home, study)
    study.advance(2, 1, FAILED)
    study.advance(4, 1, COMPLETE, value=0.95)
    publish(home, study)
    client = TrackingStore(home).client
    history = client.get_metric_history(runs(home)["digits"].info.run_id, "best_value")
    assert [(m.step, m.value) for m in history] == [(0, 0.5), (1, 0.9), (2, 0.9), (3, 0.9), (4, 0.95)]


def test_publishing_twice_changes_no_row(home: Home) -> None:
    study = four_trials(home)
    study.write_record(trials=6)
    study.advance(4, 2)
    assert sync(home, study.folder) == 6
    before = dump(home.mlflow_db)
    assert sync(home, study.folder) == 0
    assert dump(home.mlflow_db) == before
    mirror = open_mirror(home, study.folder)
    mirror.publish(live=False)
    mirror.forget()
    mirror.publish(live=False)
    mirror.close(artifacts=True)
    assert dump(home.mlflow_db) == before


@pytest.mark.slow
def test_a_study_published_in_small_steps_looks_like_one_published_at_once(new_home: Callable[[str], Home]) -> None:
    home, other = new_home("home"), new_home("other")
    study, mirror = FakeStudy(home), open_mirror(home, FakeStudy(home).folder)
    for number, (epochs, ending) in enumerate([(3, COMPLETE), (2, PRUNED), (1, FAILED), (2, COMPLETE)]):
        for epoch in range(epochs + 1):
            study.advance(number, epoch)
            mirror.publish(live=True)
        study.advance(number, epochs, ending)
    mirror.publish(live=True)
    mirror.close(artifacts=True)
    at_once = FakeStudy(other)
    for log in study.folder.logs():
        at_once.folder.log(int(log.stem)).write_bytes(log.read_bytes())
    at_once.folder.write_record(study.folder.read_record())
    sync(other, at_once.folder)
    assert content(home) == content(other)


class FaultyStore(TrackingStore):
    """Fails once, before or after a call had its effect, like a server that goes down."""

    def __init__(self, home: Home, fuse: list[int], *, after: bool) -> None:
        super().__init__(home)
        self._fuse = fuse
        self._after = after

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name.startswith("_") or name in ("client", "uri", "runs", "n_connections"):
            return value

        def call(*arguments: Any) -> Any:
            self._fuse[0] -= 1
            if self._fuse[0] == 0 and not self._after:
                raise ConnectionError("before")
            result = value(*arguments)
            if self._fuse[0] == 0:
                raise ConnectionError("after")
            return result

        return call


def publish_with_a_fault(home: Home, call: int, *, after: bool) -> bool:
    """Publish a study with one failing call; return whether it was reached."""
    study = FakeStudy(home, trials=3)
    study.advance(0, 2, COMPLETE)
    study.advance(1, 1, PRUNED)
    study.advance(2, 2)
    fuse = [call]
    mirror = Mirror(study.folder, lambda: FaultyStore(home, fuse, after=after))
    for _ in range(2):
        try:
            mirror.publish(live=False)
            mirror.close(artifacts=False)
            break
        except ConnectionError:
            mirror.forget()
    return call > 0 and fuse[0] <= 0


def check_faults(new_home: Callable[[str], Home], calls: Iterable[int]) -> int:
    """Let one call after the other fail and compare the content; return the number of failures."""
    untroubled = new_home("untroubled")
    publish_with_a_fault(untroubled, 0, after=False)
    expected, n = content(untroubled), 0
    assert expected["trial 0002"][1]["interrupted"] == "true"
    for call in calls:
        for after in (False, True):
            home = new_home(f"{call}-{after}")
            if not publish_with_a_fault(home, call, after=after):
                return n
            assert content(home) == expected, f"call {call} failed, after its effect: {after}"
            n += 1
    return n


@pytest.mark.slow
def test_a_failed_call_does_not_change_the_result(new_home: Callable[[str], Home]) -> None:
    assert check_faults(new_home, (2, 9)) == 4


@pytest.mark.slow
def test_no_failed_call_changes_the_result(new_home: Callable[[str], Home]) -> None:
    assert check_faults(new_home, range(1, 100)) > 2 * 15


def test_an_interrupted_study_is_marked_and_runs_again_when_it_is_resumed(home: Home) -> None:
    study = FakeStudy(home, trials=2)
    study.advance(0, 2, COMPLETE)
    study.advance(1, 1)
    publish(home, study)
    for name in ("digits", "trial 0001"):
        run = runs(home)[name]
        assert (run.info.status, run.data.tags.get("interrupted")) == ("KILLED", "true")
    mirror = open_mirror(home, study.folder)
    mirror.publish(live=True)
    for name in ("digits", "trial 0001"):
        run = runs(home)[name]
        assert (run.info.status, run.data.tags.get("interrupted")) == ("RUNNING", None)
    study.advance(1, 2, COMPLETE)
    mirror.publish(live=True)
    mirror.close(artifacts=False)
    assert {run.info.status for run in runs(home).values()} == {"FINISHED"}
    assert runs(home)["trial 0001"].info.end_time == round(study.now * 1000)


def test_a_trial_that_ended_after_an_interruption_is_no_longer_marked_as_interrupted(home: Home) -> None:
    study = FakeStudy(home, trials=1)
    study.advance(0, 1)
    publish(home, study)
    study.advance(0, 2, PRUNED)
    publish(home, study)
    run = runs(home)["trial 0000"]
    assert (run.info.status, run.data.tags["state"]) == ("KILLED", "pruned")
    assert all("interrupted" not in run.data.tags for run in runs(home).values())


def test_a_raised_total_sets_a_finished_study_running_again(home: Home) -> None:
    study = FakeStudy(home, trials=1)
    study.advance(0, 1, COMPLETE)
    publish(home, study)
    study.write_record(trials=2)
    open_mirror(home, study.folder).publish(live=True)
    assert runs(home)["digits"].info.status == "RUNNING"
    study.advance(1, 1, COMPLETE)
    publish(home, study)
    run = runs(home)["digits"]
    assert (run.info.status, run.data.tags["trials"], run.data.metrics["n_complete"]) == ("FINISHED", "2", 2)


def test_a_later_study_of_the_same_name_gets_its_own_runs(home: Home) -> None:
    study = FakeStudy(home, trials=1)
    study.advance(0, 1, COMPLETE)
    sync(home, study.folder)
    study.folder.write_record(replace(study.folder.read_record(), created=CREATED + 1))
    assert sync(home, study.folder) == 2
    assert sync(home, study.folder) == 0


def test_runs_that_a_person_deletes_stay_deleted(home: Home) -> None:
    study = FakeStudy(home, trials=3)
    study.advance(0, 1, COMPLETE)
    study.advance(1, 1)
    study.advance(2, 1)
    mirror = open_mirror(home, study.folder)
    mirror.publish(live=True)
    client = TrackingStore(home).client
    for name in ("trial 0000", "trial 0001"):
        client.delete_run(runs(home)[name].info.run_id)
    study.advance(1, 2, COMPLETE)  # it was deleted, and the mirror does not know
    study.advance(2, 2, COMPLETE)
    mirror.publish(live=True)
    mirror.close(artifacts=False)
    assert sync(home, study.folder) == 1
    assert {name: run.info.status for name, run in runs(home).items()} == {
        "digits": "FINISHED",
        "trial 0002": "FINISHED",
    }


def test_a_deleted_experiment_is_restored(home: Home) -> None:
    study = four_trials(home)
    sync(home, study.folder)
    identifier = experiment_id(home, "digits")
    TrackingStore(home).client.delete_experiment(identifier)
    assert experiment_id(home, "digits") is None
    sync(home, study.folder)
    assert experiment_id(home, "digits") == identifier
    assert len(runs(home)) == 5


@pytest.mark.slow
def test_a_long_trial_and_a_long_traceback_are_published_within_the_limits_of_mlflow(home: Home) -> None:
    study = FakeStudy(home, trials=1)
    study.advance(0, 450, Ending("failed", "MemoryError", error="x" * 10_000 + "the end"))
    publish(home, study)
    run = runs(home)["trial 0000"]
    client = TrackingStore(home).client
    steps = [m.step for m in client.get_metric_history(run.info.run_id, "validation/loss")]
    assert sorted(steps) == list(range(1, 451))
    assert run.data.tags["error"].endswith("the end")


def test_a_log_that_cannot_be_read_does_not_block_the_others(home: Home) -> None:
    study = FakeStudy(home, trials=2)
    study.advance(0, 1, COMPLETE)
    study.advance(1, 1, COMPLETE)
    study.folder.log(0).write_text("{this is no JSON\n")
    sync(home, study.folder)
    assert set(runs(home)) == {"digits", "trial 0001"}
    assert "0000.jsonl cannot be read" in study.folder.publisher_log.read_text()
