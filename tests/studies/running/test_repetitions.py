"""A configuration that is asked again is trained with a fresh seed on the split of the first training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlp.config import TrainConfig
from studies.data.cache import open_cached
from studies.records.trial_log import read_log
from studies.running.engines import LocalProcesses
from studies.running.repetitions import Repetitions
from tests.studies.running.test_every_search import kill_after
from tests.study_data import IDENTITY, log_table, run, small_study, study_folder, trial_table

TWO: dict[str, Any] = {"network.activation": ["relu", "tanh"]}
STUDY: dict[str, Any] = {"sampler": "random", "pruner": "none", "trials": 7}


def configs(root: Path) -> list[TrainConfig]:
    logs = [read_log(file, IDENTITY) for file in study_folder(root).logs()]
    return [TrainConfig.from_mapping(log.config) for log in logs if log is not None]


def test_repetitions_have_fresh_seeds_and_the_split_of_the_first_training(tmp_path: Path, digits: Path) -> None:
    run(small_study(STUDY, {"seed": 5}, TWO), tmp_path, digits)
    found = configs(tmp_path)
    first = [config for config in found if config.data.split_seed is None]
    repeated = [config for config in found if config.data.split_seed is not None]
    assert (len(first), len(repeated)) == (2, 5)
    assert {config.seed for config in first} == {config.data.split_seed for config in repeated} == {5}
    assert len({(str(config.network.activation), config.seed) for config in found}) == 7
    assert len({row[-1]["weight_digest"] for row in trial_table(tmp_path)}) == 7
    data = open_cached(digits)
    held = {tuple(split.validation.rows) for c in found if (split := data.split(c.data, c.seed)).validation}
    assert len(held) == 1


def test_nothing_but_the_seeds_of_a_repetition_differs() -> None:
    repetitions, base = Repetitions(), small_study().base
    first, second, third = (repetitions.next_config(base, {}) for _ in range(3))
    assert first is base
    assert len({first.seed, second.seed, third.seed}) == 3
    assert second.with_seed(base.seed) == third.with_seed(base.seed) == base
    other = replace(base, epochs=base.epochs + 1)
    assert repetitions.next_config(other, {}) is other
    assert Repetitions().next_config(base, {}) == base


def test_a_seed_of_the_split_that_base_sets_is_kept() -> None:
    base = small_study(base={"data": {"name": "digits", "split_seed": 9}}).base
    repetitions = Repetitions()
    assert [repetitions.next_config(base, {}).data.split_seed for _ in range(2)] == [9, 9]


def test_a_searched_seed_is_kept() -> None:
    for params in ({"seed": 0}, {"data.split_seed": 3}):
        repetitions, base = Repetitions(), small_study().base
        assert [repetitions.next_config(base, dict(params)) for _ in range(2)] == [base, base]


def test_networks_with_the_same_layers_are_the_same_configuration() -> None:
    tapers = [{"depth": 1, "width": 8, "taper": taper} for taper in (0.5, 1.0)]
    bases = [small_study(base={"network": {"hidden": hidden}}).base for hidden in (*tapers, [8])]
    repetitions = Repetitions()
    assert [repetitions.next_config(base, {}).data.split_seed for base in bases] == [None, 0, 0]


def test_a_study_with_repetitions_that_is_killed_and_resumed_has_the_same_table(tmp_path: Path, digits: Path) -> None:
    spec = small_study(STUDY, None, TWO)
    run(spec, tmp_path / "undisturbed", digits)
    kill_after(6, spec, tmp_path / "killed", digits)
    kill_after(8, spec, tmp_path / "killed", digits)
    run(spec, tmp_path / "killed", digits)
    assert trial_table(tmp_path / "killed") == trial_table(tmp_path / "undisturbed")
    assert log_table(tmp_path / "killed") == log_table(tmp_path / "undisturbed")


@pytest.mark.slow
def test_a_study_with_repetitions_has_the_same_table_with_two_workers(tmp_path: Path, digits: Path) -> None:
    spec = small_study(STUDY, None, TWO)
    run(spec, tmp_path / "one", digits)
    with LocalProcesses(2) as engine:
        run(spec, tmp_path / "two", digits, engine=engine)
    assert trial_table(tmp_path / "two") == trial_table(tmp_path / "one")
