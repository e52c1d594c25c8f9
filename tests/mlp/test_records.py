"""Records: which values their fields accept, and exact round trips."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp import (
    ConfigError,
    EarlyStopping,
    NetworkConfig,
    Taper,
)
from mlp.activations import LeakyRelu, Relu
from mlp.errors import errors_in, escaped
from mlp.optimizers import Adam, Sgd, optimizers
from mlp.records import (
    decode,
    encode,
    field_types,
    label,
)
from mlp.schedules import Cosine, Exponential, schedules
from tests.mlp.registry_data import Disc, Drawing, Square, refusal
from tests.mlp_data import (
    METRIC_KEYS,
    quick,
    records,
    thorough,
)

# Accepted values


def test_omitted_fields_take_their_defaults() -> None:
    assert Drawing.from_mapping({"title": "t"}) == Drawing(title="t")
    assert Drawing(title="t").shape == Square(side=1.0)


def test_an_integer_becomes_a_float_in_a_float_field() -> None:
    drawing = Drawing.from_mapping({"title": "t", "scale": 1})
    assert type(drawing.scale) is float
    assert drawing.to_mapping()["scale"] == 1.0


def test_a_list_becomes_a_tuple_so_that_a_record_can_be_hashed() -> None:
    assert Drawing.from_mapping({"title": "t", "marks": [1, 2]}).marks == (1, 2)
    assert hash(Drawing(title="t", marks=[1, 2])) == hash(Drawing(title="t", marks=(1, 2)))


def test_a_part_may_be_given_as_a_name_a_table_or_an_instance() -> None:
    for shape in ("disc", {"name": "disc"}, {"name": "disc", "radius": 1}, Disc()):
        assert Drawing.from_mapping({"title": "t", "shape": shape}).shape == Disc(radius=1.0)


def test_a_part_of_another_family_is_refused() -> None:
    assert refusal(Drawing, {"title": "t", "shape": Relu()}).startswith('"shape": must be the name of a shape')


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Adam().learning_rate = 1.0  # type: ignore[misc]


def test_nested_blocks_add_the_file_and_the_full_path_to_an_error() -> None:
    with pytest.raises(ConfigError) as caught, errors_in("study.toml:", path="base"), errors_in(path="optimizer"):
        raise ConfigError("must be above 0, got -1.0.", path="learning_rate")
    assert str(caught.value) == 'study.toml: "base.optimizer.learning_rate": must be above 0, got -1.0.'
    with pytest.raises(ConfigError) as caught, errors_in():
        raise ConfigError("nothing to run.")
    assert str(caught.value) == "nothing to run."


def test_an_error_keeps_its_attributes_when_it_is_pickled() -> None:
    for error in (ConfigError("must hold.", path="a.b", place="x.toml:"), ConfigError("must hold.")):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is ConfigError
        assert (str(again), again.path, again.problem) == (str(error), error.path, error.problem)


# Round trips


@thorough
@given(record=records(Drawing))
def test_from_mapping_and_to_mapping_are_inverses(record: Drawing) -> None:
    mapping = record.to_mapping()
    assert Drawing.from_mapping(mapping) == record
    assert Drawing.from_mapping(mapping).to_mapping() == mapping
    assert Drawing(**mapping) == record


@quick
@given(text=st.text(), found=st.sampled_from(METRIC_KEYS))
def test_a_metric_is_refused_unless_it_is_one_of_the_known_keys(text: str, found: str) -> None:
    assert EarlyStopping(metric=found).metric == found
    if text not in METRIC_KEYS:
        assert refusal(EarlyStopping, {"metric": text}).startswith(f'"metric": there is no metric "{escaped(text)}".')


def test_a_part_without_fields_is_encoded_as_its_name_and_any_other_as_a_table() -> None:
    assert encode(Relu()) == "relu"
    assert encode(LeakyRelu(slope=0.5)) == {"name": "leaky_relu", "slope": 0.5}
    assert encode(None) is None
    assert encode((1, 2)) == [1, 2]


def test_a_field_that_is_none_is_omitted_from_the_mapping() -> None:
    assert "second" not in Drawing(title="t").to_mapping()
    assert Drawing(title="t", second="disc").to_mapping()["second"] == {"name": "disc", "radius": 1.0}


def test_decode_distinguishes_the_members_of_a_union() -> None:
    annotation, bounds = field_types(NetworkConfig)["hidden"]
    assert decode(annotation, [3, 2], path="hidden", bounds=bounds) == (3, 2)
    assert decode(annotation, {"depth": 2}, path="hidden", bounds=bounds) == Taper(depth=2)
    with pytest.raises(ConfigError) as caught:
        decode(annotation, 3, path="hidden", bounds=bounds)
    assert str(caught.value) == (
        '"hidden": must be a table with depth, width, taper or a list of whole numbers, got 3.'
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Relu(), "relu"),
        (LeakyRelu(slope=0.1), "leaky_relu(slope=0.1)"),
        (
            Sgd(momentum=0.9),
            "sgd(momentum=0.9)",
        ),
        (Cosine(), "cosine"),
        (Exponential(factor=0.5), "exponential(factor=0.5)"),
        ((512, 256), "512-256"),
        ([512], "512"),
        (Taper(depth=2, width=64, taper=0.5), "(depth=2, width=64, taper=0.5)"),
        ({"name": "leaky_relu", "slope": 0.1}, "leaky_relu(slope=0.1)"),
        ({"name": "relu"}, "relu"),
        ("full", "full"),
        (True, True),
        (3, 3),
        (1e-3, 1e-3),
    ],
    ids=str,
)
def test_the_label_of_a_value(value: Any, expected: Any) -> None:
    assert label(value) == expected
    assert type(label(value)) is type(expected)


def test_a_value_that_no_field_can_hold_has_no_label() -> None:
    with pytest.raises(TypeError, match="has no label"):
        label(object())


def test_the_registries_of_mlp_decode_and_look_up_their_parts() -> None:
    assert optimizers.decode({"name": "sgd", "momentum": 0.5}) == Sgd(momentum=0.5)
    assert schedules.lookup("cosine") is Cosine
