"""Free layers: each hidden layer has its own size, and the sizes of absent layers are not searched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from optuna.samplers import RandomSampler
from optuna.study import create_study

from mlp.config import TrainConfig
from mlp.errors import ConfigError
from studies.search.enqueued import params_of_config, params_of_values
from studies.search.points import Points
from studies.search.space import Space
from studies.search.spec import StudySpec, make_spec
from tests.studies.running.test_every_search import kill_after
from tests.study_data import log_table, run, small_study, trial_table

FREE: dict[str, Any] = {
    "network.hidden": {"n_layers": {"low": 1, "high": 3}, "size": {"low": 8, "high": 64, "log": True}}
}
FINITE: dict[str, Any] = {"network.hidden": {"n_layers": [0, 2], "size": [8, 16]}}
SIZE = {"low": 8, "high": 64}
SINGLE: dict[str, Any] = {
    "network.hidden.n_layers": {"low": 1, "high": 2},
    "network.hidden.1": SIZE,
    "network.hidden.2": {"low": 4, "high": 8},
}


def config(hidden: Any) -> TrainConfig:
    return TrainConfig.from_mapping({"data": {"name": "digits"}, "network": {"hidden": hidden}})


def space_of(table: dict[str, Any], hidden: Any = (16,)) -> Space:
    return Space(table, config(list(hidden) if isinstance(hidden, tuple) else hidden))


def test_one_entry_means_the_number_of_layers_and_a_size_for_each_layer() -> None:
    space = space_of(FREE | {"batch_size": [32, 64]})
    assert {p.path: p.when for p in space} == {
        "batch_size": {},
        "network.hidden.n_layers": {},
        "network.hidden.1": {},
        "network.hidden.2": {"network.hidden.n_layers": (2, 3)},
        "network.hidden.3": {"network.hidden.n_layers": (3,)},
    }
    assert [str(p.domain.distribution()) for p in list(space)[1:3]] == [
        "IntDistribution(high=3, log=False, low=1, step=1)",
        "IntDistribution(high=64, log=True, low=8, step=1)",
    ]


@pytest.mark.parametrize("table", [FREE, FINITE, SINGLE])
def test_a_space_read_from_its_own_mapping_is_the_same(table: dict[str, Any]) -> None:
    space = space_of(table)
    again = space_of(space.to_mapping())
    assert (again.to_mapping(), again.fingerprint()) == (space.to_mapping(), space.fingerprint())
    assert again.parameters == space.parameters


def test_layers_with_more_than_one_digit_are_in_order() -> None:
    space = space_of({"network.hidden": {"n_layers": [11], "size": [8]}})
    assert [p.path.rpartition(".")[2] for p in space] == ["n_layers", *map(str, range(1, 12))]


def test_only_the_sizes_of_layers_that_exist_are_suggested() -> None:
    space, study = space_of(FREE), create_study(sampler=RandomSampler(seed=0))
    drawn = [space.suggest(study.ask()) for _ in range(40)]
    assert {params["network.hidden.n_layers"] for params in drawn} == {1, 2, 3}
    for params in drawn:
        n_layers = int(params["network.hidden.n_layers"])
        sizes = [params[f"network.hidden.{i}"] for i in range(1, n_layers + 1)]
        assert len(params) == 1 + n_layers
        assert space.configure(params).to_mapping()["network"]["hidden"] == sizes
    assert len({space.configure(params).network.sizes()[1:] for params in drawn}) > 20


def test_each_layer_may_have_its_own_range() -> None:
    space = space_of(SINGLE)
    params = {"network.hidden.n_layers": 2, "network.hidden.1": 64, "network.hidden.2": 4}
    assert space.configure(params).network.sizes() == (64, 4)


@pytest.mark.parametrize("hidden", [(16, 8), {"depth": 2, "width": 16, "taper": 0.5}])
def test_base_is_in_the_space_whether_it_lists_its_layers_or_not(hidden: Any) -> None:
    space = space_of(FREE, hidden)
    expected = {"network.hidden.n_layers": 2, "network.hidden.1": 16, "network.hidden.2": 8}
    assert space.params_of_base() == expected
    assert space.why_base_is_outside() == ""


@pytest.mark.parametrize(
    ("hidden", "reason"),
    [((16, 8, 8, 8), '"network.hidden.n_layers" = 4'), ((16, 4), '"network.hidden.2" = 4')],
)
def test_the_reason_why_base_is_outside_names_the_layer(hidden: Any, reason: str) -> None:
    assert space_of(FREE, hidden).params_of_base() is None
    assert space_of(FREE, hidden).why_base_is_outside() == reason


def test_all_points_of_a_finite_space_are_counted_and_listed_once() -> None:
    space = space_of(FINITE, ())
    sizes = [space.configure(point).network.sizes() for point in Points(space)]
    assert sorted(sizes) == [(), (8, 8), (8, 16), (16, 8), (16, 16)]
    assert Points(space).count() == 5


def test_other_parameters_may_depend_on_the_number_of_layers() -> None:
    table = FREE | {"network.dropout": {"low": 0, "high": 0.5, "when": {"network.hidden.n_layers": [2, 3]}}}
    study, space = create_study(sampler=RandomSampler(seed=1)), space_of(table)
    for _ in range(10):
        params = space.suggest(study.ask())
        assert ("network.dropout" in params) == (params["network.hidden.n_layers"] != 1)


def test_an_override_of_the_layers_fixes_all_of_them() -> None:
    tables = small_study({}, None, FREE).to_mapping()
    spec = make_spec(tables, ["network.hidden=[8, 8]"])
    assert (len(spec.space), spec.base.network.sizes()) == (0, (8, 8))


def test_layers_are_enqueued_by_their_number_and_sizes() -> None:
    space = space_of(FREE)
    assert params_of_values(space, {"network.hidden.2": 32, "network.hidden.n_layers": 2}) == {
        "network.hidden.n_layers": 2,
        "network.hidden.1": 16,
        "network.hidden.2": 32,
    }
    params, different = params_of_config(space, config({"depth": 2, "width": 32, "taper": 0.5}))
    assert space.configure(params).network.sizes() == (32, 16)
    assert different == {}
    with pytest.raises(ConfigError, match=r'"network.hidden.2": must be given, because base has no value here\. Allow'):
        params_of_values(space, {"network.hidden.n_layers": 2})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"network.hidden": {"n_layers": [1]}}, '"network.hidden": has no size; free layers need n_layers and size'),
        ({"network.hidden": {"size": SIZE}}, '"network.hidden": has no n_layers'),
        ({"network.hidden": FREE["network.hidden"] | {"when": {}}}, '"when" is not a valid key here.*without a cond'),
        ({"network.hidden": {"n_layers": 2, "size": SIZE}}, '"network.hidden.n_layers": must be a table with low and'),
        ({"network.hidden": {"n_layers": {"low": 1}, "size": SIZE}}, '"network.hidden.n_layers": has no high'),
        ({"network.hidden": {"n_layers": [65], "size": SIZE}}, '"network.hidden.n_layers".* at most 64, got 65'),
        ({"network.hidden": {"n_layers": [1], "size": [0]}}, '"network.hidden.1".* at least 1 .*got 0'),
        (FREE | {"network.hidden.2": SIZE}, '"network.hidden.2": is searched twice'),
        (FREE | {"network.hidden.width": SIZE}, '"network.hidden.width": cannot be combined with "network.hidden.n_l'),
        ({"network.hidden.1": SIZE}, '"network.hidden.1": needs "network.hidden.n_layers"'),
        (SINGLE | {"network.hidden.3": SIZE}, '"network.hidden.3": is never used, .* more than 2 layers'),
        ({"network.hidden.n_layers": [1, 2], "network.hidden.1": SIZE}, '"network.hidden.2": is missing in'),
        (
            SINGLE | {"network.hidden.2": SIZE | {"when": {"network.hidden.n_layers": 1}}},
            '"network.hidden.2": cannot have another condition',
        ),
        (
            SINGLE | {"epochs": [1, 2], "network.hidden.n_layers": {"low": 1, "high": 2, "when": {"epochs": 1}}},
            '"network.hidden.n_layers": cannot have a condition',
        ),
    ],
)
def test_a_mistake_is_explained(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        space_of(table)


def study(sampler: Any) -> StudySpec:
    base = {"epochs": 2, "network": {"hidden": [8]}}
    return small_study({"sampler": sampler, "trials": 8, "pruner": "none"}, base, FREE | {"optimizer": ["adam", "sgd"]})


@pytest.mark.parametrize("sampler", ["random", {"name": "tpe", "startup_trials": 3}])
def test_a_study_that_is_killed_and_resumed_has_the_same_table(tmp_path: Path, digits: Path, sampler: Any) -> None:
    spec = study(sampler)
    run(spec, tmp_path / "undisturbed", digits)
    kill_after(7, spec, tmp_path / "killed", digits)
    run(spec, tmp_path / "killed", digits)
    assert trial_table(tmp_path / "killed") == trial_table(tmp_path / "undisturbed")
    assert log_table(tmp_path / "killed") == log_table(tmp_path / "undisturbed")
    numbers = {row[3]["network.hidden.n_layers"] for row in trial_table(tmp_path / "killed")}
    assert len(numbers) > 1


def test_a_study_reads_its_own_tables() -> None:
    spec = study("random")
    assert make_spec(spec.to_mapping()).fingerprint("", {}) == spec.fingerprint("", {})
