"""The grammar of `[space]`: its distributions, its labels and its configurations."""

from __future__ import annotations

import functools
import tomllib
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from mlp.config import Taper, TrainConfig
from mlp.records import label
from studies.search.space import Space
from tests.studies.search.space_data import DESIGN, base, space

DESIGN_POINT = {
    "network.hidden.depth": 2,
    "network.hidden.width": 256,
    "network.hidden.taper": 1.0,
    "network.activation": "relu",
    "network.initializer": "he_normal",
    "optimizer": "adam",
    "optimizer.learning_rate": 1e-3,
    "schedule": "cosine",
    "batch_size": 128,
}


# Every form together: steps, lists, parts by name; conditions on conditions, on two paths, on paths not searched.
RICH = tomllib.loads("""
optimizer                  = ["adam", "sgd", { name = "sgd", learning_rate = 0.5, momentum = 0.9 }]
"optimizer.learning_rate"  = { low = 1e-4, high = 1, log = true }
"optimizer.nesterov"       = { choices = [false, true], when = { optimizer = "sgd" } }
schedule                   = { choices = ["constant", "exponential", "step"], when = { optimizer = "sgd" } }
"schedule.factor"          = { low = 0.5, high = 1.0, step = 0.125, when = { schedule = ["exponential", "step"] } }
"schedule.every"           = { low = 2, high = 8, step = 3, when = { schedule = "step", "optimizer.nesterov" = true } }
"network.hidden"           = [[], [128], [512, 256]]
"network.activation"       = ["relu", "leaky_relu", { name = "leaky_relu", slope = 0.1 }]
"network.activation.slope" = { low = 0.2, high = 0.3, when = { network.activation = "leaky_relu", batch_size = 64 } }
batch_size                 = [32, 64, "full"]
"data.validation"          = { low = 100, high = 200, when = { loss = "auto" } }
"early_stopping.min_delta" = { low = 0.0, high = 0.1, when = { schedule = "constant" } }
epochs                     = { low = 1, high = 100, log = true, when = { data.name = "mnist" } }
""")


def suggest(searched: Space, **params: Any) -> dict[str, Any]:
    """Return the parameters that apply among some fixed ones, each named by its path with `__` for dots."""
    return searched.suggest(FixedTrial({path.replace("__", "."): value for path, value in params.items()}))


def at(config: TrainConfig, path: str) -> Any:
    value: Any = config
    for step in path.split("."):
        value = getattr(value, step)
    return value


def values_of(distribution: optuna.distributions.BaseDistribution) -> st.SearchStrategy[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return st.sampled_from(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if distribution.step is not None:
        steps = round((distribution.high - distribution.low) / distribution.step)
        return st.integers(0, steps).map(lambda n: distribution.low + n * distribution.step)
    return st.floats(distribution.low, distribution.high)


@functools.cache
def points(name: str) -> tuple[Space, st.SearchStrategy[dict[str, Any]]]:
    """Return a space, and a strategy for a value of each of its parameters, whether it applies or not."""
    searched = space(DESIGN["space"] if name == "design" else RICH)
    return searched, st.fixed_dictionaries({p.path: values_of(p.domain.distribution()) for p in searched})


@pytest.mark.parametrize(
    ("path", "entry", "distribution"),
    [
        ("batch_size", "[32, 64]", CategoricalDistribution([32, 64])),
        ("batch_size", '["full", 64]', CategoricalDistribution(["full", 64])),
        ("batch_size", "{ choices = [32, 64] }", CategoricalDistribution([32, 64])),
        ("batch_size", "{ low = 32, high = 64 }", IntDistribution(32, 64)),
        ("batch_size", "{ low = 32, high = 128, step = 32 }", IntDistribution(32, 128, step=32)),
        ("network.hidden.width", "{ low = 32, high = 512, log = true }", IntDistribution(32, 512, log=True)),
        ("optimizer.weight_decay", "{ low = 0, high = 1 }", FloatDistribution(0.0, 1.0)),
        ("optimizer.weight_decay", "{ low = 0.1, high = 1, log = true }", FloatDistribution(0.1, 1.0, log=True)),
        ("optimizer.weight_decay", "{ low = 0.1, high = 0.9, step = 0.2 }", FloatDistribution(0.1, 0.9, step=0.2)),
        ("optimizer.weight_decay", "[0.0, 1e-4]", CategoricalDistribution([0.0, 1e-4])),
        ("data.validation", "{ low = 100, high = 200 }", IntDistribution(100, 200)),
        ("data.validation", "{ low = 0.1, high = 0.2 }", FloatDistribution(0.1, 0.2)),
        ("data.scale", '["unit", "none"]', CategoricalDistribution(["unit", "none"])),
        ("optimizer", '["adam", "sgd"]', CategoricalDistribution(["adam", "sgd"])),
    ],
)
def test_an_entry_means_this_distribution(path: str, entry: str, distribution: Any) -> None:
    (parameter,) = space(f'"{path}" = {entry}')
    assert parameter.path == path
    assert parameter.domain.distribution() == distribution


@pytest.mark.parametrize(
    ("path", "choices", "recorded"),
    [
        ("network.activation", ["relu", {"name": "leaky_relu", "slope": 0.1}], ["relu", "leaky_relu(slope=0.1)"]),
        ("network.activation", ["leaky_relu", {"name": "leaky_relu", "slope": 0.1}], None),
        ("network.activation", [{"name": "tanh"}, {"name": "sigmoid"}], ["tanh", "sigmoid"]),
        ("optimizer", ["adam", {"name": "sgd", "momentum": 0.9}], ["adam", "sgd(momentum=0.9)"]),
        ("optimizer", [{"name": "sgd", "momentum": 0.9, "nesterov": True}], ["sgd(momentum=0.9, nesterov=True)"]),
        ("network.hidden", [[512, 256], [128], []], ["512-256", "128", "none"]),
        ("batch_size", [64, "full"], [64, "full"]),
        ("optimizer.weight_decay", [0.0, 1e-4], [0.0, 1e-4]),
    ],
)
def test_choices_are_recorded_by_their_labels(path: str, choices: list[Any], recorded: list[Any] | None) -> None:
    searched = space({path: choices})
    labels = ["leaky_relu", "leaky_relu(slope=0.1)"] if recorded is None else recorded
    assert searched.distributions({path: labels[0]})[path].choices == tuple(labels)
    for name in labels:
        assert searched.suggest(FixedTrial({path: name})) == {path: name}


def test_distributions_are_returned_for_the_given_parameters_only() -> None:
    searched = space(DESIGN["space"])
    assert list(searched.distributions({"batch_size": 64, "optimizer": "adam"})) == ["batch_size", "optimizer"]


def test_a_space_can_be_empty() -> None:
    searched = space({})
    assert len(searched) == 0
    assert searched.suggest(FixedTrial({})) == {}
    assert searched.configure({}) == base()
    assert searched.params_of_base() == {}


def test_the_order_of_lines_does_not_matter() -> None:
    forward, backward = space(RICH), space(dict(reversed(RICH.items())))
    assert [parameter.path for parameter in forward] == [parameter.path for parameter in backward]


def test_a_parameter_comes_after_the_parameters_that_its_condition_names() -> None:
    order = [parameter.path for parameter in space(RICH)]
    for parameter in space(RICH):
        assert all(order.index(path) < order.index(parameter.path) for path in parameter.when if path in order)


def test_a_space_read_from_its_own_mapping_is_the_same_space() -> None:
    for searched in (space(DESIGN["space"]), space(RICH)):
        again = Space(searched.to_mapping(), searched.base)
        assert [p.path for p in again] == [p.path for p in searched]
        for mine, other in zip(searched, again, strict=True):
            assert other.domain.distribution() == mine.domain.distribution()
            assert other.when == mine.when


def test_the_mapping_of_a_space_keeps_the_labels_of_its_choices() -> None:
    mapping = space(DESIGN["space"]).to_mapping()
    assert [label(choice) for choice in mapping["optimizer"]["choices"]] == ["adam", "sgd(momentum=0.9)"]


def test_suggested_numbers_are_set_in_the_configuration() -> None:
    searched = space(DESIGN["space"])
    config = searched.configure(DESIGN_POINT | {"network.hidden.width": 64, "network.hidden.taper": 0.5})
    assert config.network.hidden == Taper(2, 64, 0.5)
    assert config.network.sizes() == (64, 32)
    assert config.epochs == 20


def test_a_bare_name_equal_to_that_of_bases_part_keeps_its_settings() -> None:
    config = space({"optimizer": ["adam", "sgd"]}).configure({"optimizer": "adam"})
    assert config.optimizer.weight_decay == 1e-4


def test_any_other_choice_replaces_the_part_of_base_in_full() -> None:
    config = space({"optimizer": ["adam", "sgd"]}).configure({"optimizer": "sgd"})
    assert (config.optimizer.name, config.optimizer.weight_decay, config.optimizer.learning_rate) == ("sgd", 0.0, 0.01)


def test_a_table_replaces_the_part_of_base_even_if_the_name_is_the_same() -> None:
    searched = space({"optimizer": [{"name": "adam", "beta1": 0.8}, "sgd"]})
    config = searched.configure({"optimizer": "adam(beta1=0.8)"})
    assert (config.optimizer.beta1, config.optimizer.weight_decay) == (0.8, 0.0)


def test_deeper_paths_apply_after_the_part_is_chosen() -> None:
    table = '"optimizer.momentum" = { low = 0.0, high = 0.9, when = { optimizer = "sgd" } }'
    searched = space(f'optimizer = ["adam", {{ name = "sgd", momentum = 0.5 }}]\n{table}')
    config = searched.configure({"optimizer": "sgd(momentum=0.5)", "optimizer.momentum": 0.25})
    assert config.optimizer.momentum == 0.25


def test_a_hidden_list_replaces_depth_width_and_taper() -> None:
    searched = space({"network.hidden": [[512, 256], []]})
    assert searched.configure({"network.hidden": "512-256"}).network.sizes() == (512, 256)
    assert searched.configure({"network.hidden": "none"}).network.sizes() == ()


@pytest.mark.parametrize("name", ["design", "rich"])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_parameters_lead_to_a_valid_configuration_with_every_value_set(name: str, data: st.DataObject) -> None:
    searched, strategy = points(name)
    params = searched.suggest(FixedTrial(data.draw(strategy)))
    config = searched.configure(params)
    assert TrainConfig.from_mapping(config.to_mapping()) == config
    for path, value in params.items():
        if path in ("optimizer", "schedule", "network.activation", "network.initializer"):
            assert at(config, path).name == str(value).partition("(")[0]
        elif path == "network.hidden":
            assert ("-".join(map(str, config.network.sizes())) or "none") == value
        else:
            assert at(config, path) == value


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_suggestions_of_a_sampler_can_be_configured_and_are_recorded_unchanged(seed: int) -> None:
    searched, _ = points("rich")
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    params = searched.suggest(trial)
    assert trial.params == params
    assert trial.distributions == searched.distributions(params)
    searched.configure(params)


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_a_path_is_suggested_exactly_when_its_condition_holds(data: st.DataObject) -> None:
    searched, strategy = points("rich")
    drawn = data.draw(strategy)
    params = searched.suggest(FixedTrial(drawn))
    sgd = drawn["optimizer"] in ("sgd", "sgd(learning_rate=0.5, momentum=0.9)")
    schedule = drawn["schedule"] if sgd else None
    leaky = drawn["network.activation"] in ("leaky_relu", "leaky_relu(slope=0.1)")
    expected = {
        "optimizer": True,
        "optimizer.learning_rate": True,
        "optimizer.nesterov": sgd,
        "schedule": sgd,
        "schedule.factor": schedule in ("exponential", "step"),
        "schedule.every": schedule == "step" and drawn["optimizer.nesterov"],
        "network.hidden": True,
        "network.activation": True,
        "network.activation.slope": leaky and drawn["batch_size"] == 64,
        "batch_size": True,
        "data.validation": True,
        "early_stopping.min_delta": schedule == "constant",
        "epochs": False,
    }
    assert params == {path: drawn[path] for path in params}
    assert set(params) == {path for path, applies in expected.items() if applies}


@pytest.mark.parametrize("condition", ['"sgd"', '["sgd"]', '["sgd", "adam"]'])
def test_conditions_compare_parts_by_name_and_ignore_their_fields(condition: str) -> None:
    searched = space(f"""
        optimizer = [{{ name = "sgd", momentum = 0.5 }}, {{ name = "sgd", momentum = 0.9 }}, "adam"]
        batch_size = {{ choices = [32, 64], when = {{ optimizer = {condition} }} }}
    """)
    for name in ("sgd(momentum=0.5)", "sgd(momentum=0.9)"):
        assert suggest(searched, optimizer=name, batch_size=32) == {"optimizer": name, "batch_size": 32}
    with_adam = suggest(searched, optimizer="adam", batch_size=32)
    assert ("batch_size" in with_adam) == ("adam" in condition)


@pytest.mark.parametrize("path", ['"network.activation"', "network.activation"])
def test_the_dotted_path_of_a_condition_can_be_quoted_or_not(path: str) -> None:
    searched = space(f"""
        "network.activation" = ["relu", "tanh"]
        batch_size = {{ choices = [32, 64], when = {{ {path} = "tanh" }} }}
    """)
    assert "batch_size" not in suggest(searched, network__activation="relu", batch_size=32)
    assert "batch_size" in suggest(searched, network__activation="tanh", batch_size=32)


@pytest.mark.parametrize(("optimizer", "applies"), [("adam", True), ("sgd", False)])
def test_a_condition_on_a_path_that_is_not_searched_is_compared_with_base(optimizer: str, applies: bool) -> None:
    table = 'batch_size = { choices = [32, 64], when = { optimizer = "adam" } }'
    searched = space(table, {"optimizer": {"name": optimizer, "learning_rate": 0.02}})
    assert suggest(searched, batch_size=32) == ({"batch_size": 32} if applies else {})


def test_the_base_of_the_design_is_in_its_space() -> None:
    searched = space(DESIGN["space"])
    assert searched.params_of_base() == DESIGN_POINT
    assert searched.configure(DESIGN_POINT) == base()


@pytest.mark.parametrize(
    ("table", "changes", "point"),
    [
        ('"optimizer.learning_rate" = { low = 1e-3, high = 1 }', {}, {"optimizer.learning_rate": 1e-3}),
        ('"optimizer.learning_rate" = { low = 1e-4, high = 1e-3 }', {}, {"optimizer.learning_rate": 1e-3}),
        ("batch_size = { low = 32, high = 224, step = 96 }", {}, {"batch_size": 128}),
        ('"optimizer.weight_decay" = { low = 0.0, high = 1e-3, step = 1e-4 }', {}, {"optimizer.weight_decay": 1e-4}),
        ('optimizer = ["adam", "sgd"]', {}, {"optimizer": "adam"}),
        (
            'optimizer = [{ name = "adam", weight_decay = 1e-4 }, "sgd"]',
            {},
            {"optimizer": "adam(weight_decay=0.0001)"},
        ),
        (
            'optimizer = [{ name = "adam", weight_decay = 1e-4 }]\n"optimizer.learning_rate" = { low = 0.1, high = 1 }',
            {"optimizer": {"name": "adam", "learning_rate": 0.5, "weight_decay": 1e-4}},
            {"optimizer": "adam(weight_decay=0.0001)", "optimizer.learning_rate": 0.5},
        ),
        ('optimizer = [{ name = "adam", beta1 = 0.8 }, "adam"]', {}, {"optimizer": "adam"}),
        ('"network.hidden" = [[512, 256], [128]]', {"network": {"hidden": [512, 256]}}, {"network.hidden": "512-256"}),
        ('"early_stopping.patience" = [3, 5]', {}, {"early_stopping.patience": 5}),
    ],
    ids=[
        "low end",
        "high end",
        "on the grid",
        "on a grid of fractions",
        "a name",
        "a table",
        "a table and a deeper path",
        "a name beside a table of that name",
        "a list",
        "a field of an optional table",
    ],
)
def test_base_is_in_the_space_if_every_searched_path_allows_its_value(
    table: str, changes: dict[str, Any], point: dict[str, Any]
) -> None:
    searched = space(table, changes)
    assert searched.params_of_base() == point
    assert searched.why_base_is_outside() == ""
    assert searched.configure(point) == searched.base


OUTSIDE = {
    "below": ('"optimizer.learning_rate" = { low = 2e-3, high = 1 }', {}, '"optimizer.learning_rate" = 0.001'),
    "off the grid": ("batch_size = { low = 32, high = 256, step = 112 }", {}, '"batch_size" = 128'),
    "not a choice": ("batch_size = [64, 256]", {}, '"batch_size" = 128'),
    "another part": ('optimizer = ["sgd"]', {}, '"optimizer" = "adam(weight_decay=0.0001)"'),
    "other fields": ('optimizer = [{ name = "adam", beta1 = 0.8 }]', {}, '"optimizer.weight_decay" = 0.0001'),
    "other slope": (
        '"network.activation" = [{ name = "leaky_relu", slope = 0.1 }]',
        {"network": {"activation": "leaky_relu"}},
        '"network.activation.slope" = 0.01',
    ),
    "a list": ('"network.hidden" = [[256, 256]]', {}, '"network.hidden" = '),
    "too many": ('"data.validation" = { low = 0.1, high = 0.5 }', {}, '"data.validation" = 10000'),
    "not set": ("early_stopping = [{ patience = 3 }]", {"early_stopping": None}, '"early_stopping" is not set'),
}


@pytest.mark.parametrize(("table", "changes", "reason"), OUTSIDE.values(), ids=OUTSIDE)
def test_base_is_outside_the_space_if_a_searched_path_does_not_allow_its_value(
    table: str, changes: dict[str, Any], reason: str
) -> None:
    searched = space(table, changes)
    assert searched.params_of_base() is None
    assert searched.why_base_is_outside().startswith(reason)


def test_a_range_that_does_not_apply_to_base_need_not_contain_its_value() -> None:
    table = '"schedule.final" = { low = 0.5, high = 0.9, when = { optimizer = "sgd" } }'
    assert space(table).params_of_base() == {}
