"""Records and registries: registering, looking up, checking fields, and the exact text of every error."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlp import (
    ConfigError,
    Taper,
)
from mlp.activations import activations
from mlp.errors import did_you_mean
from mlp.initializers import Uniform
from mlp.optimizers import Adam
from mlp.paths import join_path
from mlp.records import (
    AbstractRecord,
    Bounds,
    decode,
    field_types,
)
from mlp.registry import Registry
from tests.mlp.registry_data import Disc, Drawing, Square, refusal, shapes
from tests.mlp_data import (
    FAMILIES,
)

# The registry


def test_parts_are_listed_in_the_order_of_their_definition() -> None:
    assert list(shapes) == ["square", "disc"]
    assert list(activations)[:2] == ["identity", "relu"]


def test_a_part_has_its_name_and_its_family() -> None:
    assert (Disc.name, Disc.family) == ("disc", shapes)


def test_a_name_cannot_be_registered_twice() -> None:
    with pytest.raises(ValueError, match=r'^there is already a shape called "disc"\.$'):
        shapes.register("disc")(Square)
    assert shapes.lookup("disc") is Disc
    assert Square.name == "square"


def test_the_error_for_an_unknown_name_lists_the_nearest_name_and_all_names() -> None:
    with pytest.raises(ConfigError) as caught:
        shapes.lookup("dics", path="drawing.shape")
    assert str(caught.value) == (
        '"drawing.shape": there is no shape called "dics". Did you mean "disc"? Available: square, disc.'
    )
    with pytest.raises(ConfigError) as caught:
        shapes.lookup("xyz")
    assert str(caught.value) == 'there is no shape called "xyz". Available: square, disc.'


def test_did_you_mean_is_empty_when_no_name_is_close() -> None:
    assert did_you_mean("rellu", activations) == ' Did you mean "relu"?'
    assert did_you_mean("xyz", activations) == ""


def test_join_path_leaves_out_empty_steps() -> None:
    assert join_path("", "optimizer", "", "momentum") == "optimizer.momentum"
    assert join_path("", "") == ""


# Errors

REFUSALS = [
    ({}, '"title": is missing and has no default.'),
    (
        {"title": "t", "copise": 2},
        (
            '"copise": is not a field of this table. Did you mean "copies"? '
            "Available: title, copies, scale, framed, paper, marks, pages, shape, second."
        ),
    ),
    (
        {"title": "t", "xyz": 2},
        (
            '"xyz": is not a field of this table. '
            "Available: title, copies, scale, framed, paper, marks, pages, shape, second."
        ),
    ),
    ({"title": 1}, '"title": must be a string, got 1.'),
    ({"title": "t", "copies": "2"}, "\"copies\": must be a whole number, got '2'."),
    ({"title": "t", "copies": 2.0}, '"copies": must be a whole number, got 2.0.'),
    ({"title": "t", "copies": True}, '"copies": must be a whole number, got True.'),
    ({"title": "t", "copies": None}, '"copies": must be a whole number, got None.'),
    ({"title": "t", "copies": 0}, '"copies": must be at least 1 and at most 9, got 0.'),
    ({"title": "t", "copies": 10}, '"copies": must be at least 1 and at most 9, got 10.'),
    ({"title": "t", "scale": "big"}, "\"scale\": must be a number, got 'big'."),
    ({"title": "t", "scale": False}, '"scale": must be a number, got False.'),
    ({"title": "t", "scale": 0}, '"scale": must be above 0 and below 2, got 0.'),
    ({"title": "t", "scale": 2.0}, '"scale": must be above 0 and below 2, got 2.0.'),
    ({"title": "t", "framed": 1}, '"framed": must be true or false, got 1.'),
    ({"title": "t", "paper": "a5"}, '"paper": must be "a4" or "a3", got \'a5\'.'),
    ({"title": "t", "marks": 3}, '"marks": must be a list of whole numbers, got 3.'),
    ({"title": "t", "marks": "12"}, "\"marks\": must be a list of whole numbers, got '12'."),
    ({"title": "t", "marks": [1, "2"]}, "\"marks\": must be a whole number, got '2'."),
    ({"title": "t", "marks": [1, -2]}, '"marks": must be at least 0, got -2.'),
    ({"title": "t", "pages": "some"}, '"pages": must be a whole number or "all", got \'some\'.'),
    ({"title": "t", "pages": 0}, '"pages": must be at least 1, got 0.'),
    ({"title": "t", "shape": 3}, '"shape": must be the name of a shape or a table with a name, got 3.'),
    (
        {"title": "t", "shape": {"side": 2.0}},
        "\"shape\": must be the name of a shape or a table with a name, got {'side': 2.0}.",
    ),
    (
        {"title": "t", "second": "dics"},
        '"second": there is no shape called "dics". Did you mean "disc"? Available: square, disc.',
    ),
    (
        {"title": "t", "shape": {"name": "disc", "side": 2.0}},
        '"shape.side": is not a field of the shape "disc". Available: radius.',
    ),
    ({"title": "t", "shape": {"name": "disc", "radius": 0}}, '"shape.radius": must be above 0, got 0.'),
]


@pytest.mark.parametrize(("mapping", "message"), REFUSALS, ids=lambda value: value if isinstance(value, str) else "")
def test_an_error_says_where_it_happened_what_must_hold_and_what_was_given(
    mapping: dict[str, Any], message: str
) -> None:
    assert refusal(Drawing, mapping) == message


@pytest.mark.slow
def test_errors_do_not_depend_on_docstrings(tmp_path: Path) -> None:
    program = """
from mlp.config import TrainConfig
from mlp.errors import ConfigError

for mapping in (
    {"optimiser": "adam"},
    {"optimizer": {"name": "sgd", "momentun": 0.9}},
    {"network": {"hiden": [3]}},
    {"data": {"nme": "digits"}},
    {"loss": 3},
    {"network": {"hidden": 3}},
):
    try:
        TrainConfig.from_mapping(mapping)
    except ConfigError as error:
        print(error)
"""
    script = tmp_path / "errors.py"
    script.write_text(program, encoding="utf-8")

    def errors(*options: str) -> str:
        command = [sys.executable, *options, str(script)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    assert len(errors().splitlines()) == 6
    assert errors("-OO") == errors()


def test_arguments_from_python_are_checked_like_values_from_files() -> None:
    with pytest.raises(ConfigError) as caught:
        Adam(learning_rate=-1.0)
    assert str(caught.value) == '"learning_rate": must be above 0, got -1.0.'
    assert (caught.value.path, caught.value.problem) == ("learning_rate", "must be above 0, got -1.0.")


def test_fields_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Uniform(low=0.5, high=0.25)
    assert str(caught.value) == '"low": must not be above high = 0.25, got 0.5.'


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("cls", [Adam, Uniform])
def test_a_number_that_is_not_finite_is_refused(cls: type[AbstractRecord], value: float) -> None:
    field = next(iter(field_types(cls)))
    assert "finite" in refusal(cls, {field: value})


@pytest.mark.parametrize("cls", [Adam, Taper])
def test_an_integer_too_large_for_a_float_is_refused_with_an_error_like_any_other(cls: type[AbstractRecord]) -> None:
    field = next(iter(field_types(cls)))
    assert refusal(cls, {field: 10**400}).startswith(f'"{field}": must be ')


def test_a_bound_is_written_with_all_its_digits() -> None:
    assert str(Bounds(at_least=0, at_most=2**32 - 1)) == "at least 0 and at most 4294967295"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.kind)
def test_the_error_of_a_family_uses_the_right_article(family: Registry[Any]) -> None:
    article = "an" if family.kind[0] in "aeiou" else "a"
    with pytest.raises(ConfigError) as caught:
        family.decode(3)
    assert str(caught.value) == f"must be the name of {article} {family.kind} or a table with a name, got 3."


@pytest.mark.parametrize(
    "text", ["above 0", "at least 0 and at most 1", "at least 0 and below 1", "above -1 and below 1", "finite"]
)
def test_bounds_are_written_in_words(text: str) -> None:
    words = {
        "above 0": Bounds(above=0.0),
        "at least 0 and at most 1": Bounds(at_least=0.0, at_most=1.0),
        "at least 0 and below 1": Bounds(at_least=0.0, below=1.0),
        "above -1 and below 1": Bounds(above=-1.0, below=1.0),
        "finite": Bounds(),
    }
    assert str(words[text]) == text


NUMBERS = [
    pytest.param(annotation, bounds, id=f"{family.kind}-{name}-{field}")
    for family in FAMILIES
    for name in family
    for field, (annotation, bounds) in field_types(family.lookup(name)).items()
    if annotation in (int, float)
]


@pytest.mark.parametrize(("annotation", "bounds"), NUMBERS)
def test_a_number_is_accepted_at_its_bounds_and_refused_beyond(annotation: type, bounds: Bounds) -> None:
    def is_accepted(value: float) -> bool:
        try:
            return decode(annotation, value, path="", bounds=bounds) == value
        except ConfigError:
            return False

    def step(limit: float, sign: int) -> float:
        """Return the next number up or down."""
        return int(limit) + sign if annotation is int else math.nextafter(limit, sign * math.inf)

    for limit, outwards in ((bounds.at_least, -1), (bounds.at_most, 1)):
        if math.isfinite(limit):
            assert is_accepted(annotation(limit))
            assert not is_accepted(step(limit, outwards))
    for limit, inwards in ((bounds.above, 1), (bounds.below, -1)):
        if math.isfinite(limit):
            assert not is_accepted(annotation(limit))
            assert is_accepted(step(limit, inwards))
    for value in (math.inf, -math.inf, math.nan):
        assert not is_accepted(value)
