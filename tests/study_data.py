"""Shared by the tests of `studies`: a small study of the digits, ways to run it, and its exact trial table."""

from __future__ import annotations

import functools
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mlp.config import TrainConfig
from mlp.records import field_types
from studies.data.cache import open_cached
from studies.data.prepare import prepare_data
from studies.records.home import Home, StudyFolder
from studies.records.limits import Limits
from studies.records.study_record import EnqueuedRecord
from studies.running.clock import CostModel
from studies.running.driver import Driver
from studies.running.engines import AbstractEngine, InProcess
from studies.running.ledger import Ledger
from studies.running.live_trial import Snapshot
from studies.running.storage import StudyTable, open_storage
from studies.search.pruners import NoPruner, pruners
from studies.search.spec import StudySpec, make_spec

NAME = "small"
IDENTITY = "the identity of the small study"

STUDY: dict[str, Any] = {
    "name": NAME,
    "trials": 7,
    "seed": 0,
    "parallelism": 3,
    "sampler": {"name": "tpe", "startup_trials": 3},
    "pruner": {"name": "successive_halving", "min_epochs": 1, "factor": 2},
}
BASE: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 128,
    "data": {"name": "digits"},
    "network": {"hidden": [8], "activation": "relu"},
    "optimizer": {"name": "adam", "learning_rate": 0.01},
}
SPACE: dict[str, Any] = {
    "network.hidden": [[], [8], [24, 12]],
    "optimizer": ["adam", {"name": "sgd", "momentum": 0.9}],
    "optimizer.learning_rate": {"low": 1e-4, "high": 0.3, "log": True},
    "optimizer.nesterov": {"choices": [False, True], "when": {"optimizer": "sgd"}},
}

NEEDED: dict[str, dict[str, Any]] = {"threshold": {"lower": 0.3}}  # options of pruners that have no default
ON_FOLDS = [name for name in pruners if pruners.lookup(name).needs_folds]
PRUNING = [name for name in pruners if pruners.lookup(name) is not NoPruner and name not in ON_FOLDS]
STOPPING = [  # without pauses, by comparing values; such a pruner has the option min_epochs
    name
    for name in PRUNING
    if "min_epochs" in field_types(pruners.lookup(name))
    and not pruners.decode({"name": name} | NEEDED.get(name, {})).rungs(100)
]

Row = tuple[Any, ...]


def most_eager(pruner: str) -> dict[str, Any]:
    """Return a pruner with every option at its lower bound, so that it prunes as early and as often as it can."""
    bounds = {name: bounds.at_least for name, (_, bounds) in field_types(pruners.lookup(pruner)).items()}
    options = {name: bound for name, bound in bounds.items() if math.isfinite(bound)}
    return {"name": pruner, **options, **NEEDED.get(pruner, {})}


@pytest.fixture(scope="session", name="digits")
def prepared_digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the prepared digits, in a cache of this session only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIES_CACHE", str(tmp_path_factory.getbasetemp() / "studies-cache"))
        yield prepare_data("digits")


def small_study(
    study: dict[str, Any] | None = None, base: dict[str, Any] | None = None, space: dict[str, Any] | None = None
) -> StudySpec:
    """Return the small study, with some entries of [study] and [base] replaced, or all of [space]."""
    tables = {"study": STUDY | (study or {}), "base": BASE | (base or {}), "space": SPACE if space is None else space}
    return make_spec(tables).with_metric_for("classes")


@functools.cache
def empty_database() -> bytes:
    """Return an empty database with Optuna's schema; copying it is much faster than creating one."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "optuna.db"
        open_storage(f"sqlite:///{file}").engine.dispose()
        return file.read_bytes()


class StopAfter:
    """Asks a run to stop after a number of events."""

    def __init__(self, n_events: int) -> None:
        self.left = n_events

    def on_change(self, _: Snapshot) -> None:
        """Count an event."""
        self.left -= 1

    def is_due(self) -> bool:
        """Return whether it is time to stop."""
        return self.left <= 0


def open_ledger(
    spec: StudySpec, root: Path, digits: Path, limits: Sequence[Limits] = (), added: Sequence[EnqueuedRecord] = ()
) -> tuple[Ledger, Any]:
    """Return the ledger of a study whose home is `root`, and its storage."""
    home = Home(root)
    home.create()
    database = home.root / "optuna.db"
    if not database.exists():
        database.write_bytes(empty_database())
    folder = home.study(spec.study.name)
    folder.trials.mkdir(parents=True, exist_ok=True)
    split = open_cached(digits).splits(spec.base.data, spec.base.seed)[0]

    def epoch_cost(config: TrainConfig) -> int:
        sizes = config.layer_sizes(split.n_features, split.n_targets, split.task)
        return CostModel().epoch(config, len(split.train), sizes) * len(config.data.by_fold())

    storage = open_storage(home.optuna_url)
    table = StudyTable(storage, folder.name, spec.directions)
    return Ledger(spec, folder, table, epoch_cost, IDENTITY, limits=limits, added=added), storage


def run(
    spec: StudySpec,
    root: Path,
    digits: Path,
    *,
    engine: AbstractEngine | None = None,
    on_change: Callable[[Snapshot], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    limits: Sequence[Limits] = (),
) -> Ledger:
    """Launch or resume a study until it is complete or asked to stop; return its ledger."""
    ledger, storage = open_ledger(spec, root, digits, limits)
    try:
        Driver(ledger, engine or InProcess(), digits, on_change=on_change, should_stop=should_stop).run()
    finally:
        storage.engine.dispose()
    return ledger


def run_until(n_events: int, spec: StudySpec, root: Path, digits: Path) -> Ledger:
    """Launch a study that stops after a number of events."""
    stop = StopAfter(n_events)
    return run(spec, root, digits, on_change=stop.on_change, should_stop=stop.is_due)


def study_folder(root: Path) -> StudyFolder:
    """Return the folder of the small study."""
    return Home(root).study(NAME)


def bits(value: Any) -> Any:
    """Return a value with every float in it as exact text."""
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    return value.hex() if isinstance(value, float) else value


def rows(root: Path) -> list[Any]:
    """Return the rows of the small study as Optuna's own tools read them."""
    import optuna  # imported here, because workers import this module too

    url = Home(root).optuna_url
    storage = optuna.storages.RDBStorage(url, skip_compatibility_check=True, skip_table_creation=True)
    try:
        return optuna.load_study(study_name=NAME, storage=storage).get_trials(deepcopy=False)
    finally:
        storage.engine.dispose()


def trial_table(root: Path) -> list[Row]:
    """Return everything the database records of each trial, except the seconds it took."""
    return [
        (
            row.number,
            row.state.name,
            bits(row.values),
            bits(row.params),
            row.distributions,
            bits(row.intermediate_values),
            {key: value for key, value in row.user_attrs.items() if key != "seconds"},
        )
        for row in rows(root)
    ]


def log_table(root: Path) -> list[list[dict[str, Any]]]:
    """Return the events in the log of each trial, without their times."""
    return [
        [
            {key: bits(value) for key, value in json.loads(line).items() if key not in ("time", "seconds", "sha256")}
            for line in file.read_text().splitlines()
        ]
        for file in study_folder(root).logs()
    ]
