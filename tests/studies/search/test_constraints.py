"""Constraints are read, checked and explained before a study begins."""

from __future__ import annotations

from typing import Any

import pytest

from mlp.errors import ConfigError
from mlp.memory import DataSize
from studies.search.constraints import Constraints, bytes_text, read_bytes
from studies.search.points import Points
from studies.search.sampled import allowed_share, check_constraints, sample
from studies.search.spec import StudySpec, make_spec
from tests.study_data import small_study

DIGITS = DataSize(n_train=1150, n_validation=287, n_features=64, n_targets=10, task="classes", row_bytes=64)
WIDTHS: dict[str, Any] = {"network.hidden": [[4], [8], [16], [32]], "network.activation": ["relu", "tanh"]}
ENDLESS: dict[str, Any] = {
    "network.hidden.width": {"low": 8, "high": 512, "log": True},
    "optimizer.learning_rate": {"low": 1e-4, "high": 0.3, "log": True},
}
BY_WIDTH = {"network": {"hidden": {"depth": 1, "width": 8}}}


def constrained(
    space: dict[str, Any], base: dict[str, Any] | None = None, *, sampler: str = "random", **limits: Any
) -> StudySpec:
    spec = small_study({"sampler": sampler, "trials": None} | limits, base, space)
    return spec.with_constraints_on(DIGITS)


@pytest.mark.parametrize(
    ("text", "n_bytes"), [("2GB", 2 * 10**9), ("1.5 MiB", 1.5 * 2**20), ("512kb", 512_000), (7, 7), ("3B", 3)]
)
def test_an_amount_of_memory_is_read(text: int | str, n_bytes: int) -> None:
    assert read_bytes(text) == n_bytes


@pytest.mark.parametrize("text", ["2", "GB", "-1GB", "2 potatoes", "0GB", ""])
def test_a_text_that_is_not_an_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r'"max_memory": must be a number of bytes, or a text such as "2GB"'):
        small_study({"max_memory": text})


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(999, "999 B"), (1_210, "1.21 KB"), (25_000_000, "25 MB"), (1_234 * 10**9, "1,234 GB")]
)
def test_an_amount_of_memory_is_shown_with_three_digits(n_bytes: int, text: str) -> None:
    assert bytes_text(n_bytes) == text


def test_a_violation_is_named() -> None:
    config = small_study().base
    assert Constraints(DIGITS).violation(config) == ""
    assert Constraints(DIGITS, max_parameters=610).violation(config) == ""
    assert Constraints(DIGITS, max_parameters=609).violation(config) == "has 610 parameters, but max_parameters is 609"
    assert Constraints(DIGITS, max_memory=1000).violation(config).startswith("needs 1.")


def test_a_base_that_violates_a_constraint_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[base\] has 610 parameters, but max_parameters is 600\. Ch"):
        constrained(WIDTHS, max_parameters=600)


@pytest.mark.parametrize(("limit", "n_allowed"), [(700, 4), (2000, 6), (9999, 8)])
def test_all_configurations_of_a_small_space_are_counted(limit: int, n_allowed: int) -> None:
    space = constrained(WIDTHS, max_parameters=limit).space
    assert space.constraints is not None
    share = allowed_share(space, space.constraints)
    assert (share.n_allowed, share.n, share.is_sampled) == (n_allowed, 8, False)
    assert Points(space).count_allowed() == len(list(Points(space))) == n_allowed
    check_constraints(space)


def test_a_space_that_hardly_ever_meets_the_constraints_is_refused_with_the_smallest_size() -> None:
    wide = ENDLESS | {"network.hidden.width": {"low": 100, "high": 512, "log": True}}
    space = constrained(wide, BY_WIDTH, max_parameters=7000).space
    message = r"\[space\]: 0 of 400 sampled configurations meet max_parameters = 7,000; the smallest has 7,\d\d\d para"
    with pytest.raises(ConfigError, match=message):
        check_constraints(space)
    one = {"network.hidden": [[8], [16]]}
    with pytest.raises(ConfigError, match=r"1 of 2 configurations meet max_parameters = 700; the smallest has 610 par"):
        check_constraints(constrained(one, max_parameters=700).space)


def test_sampled_configurations_meet_the_constraints() -> None:
    spec = constrained(ENDLESS, BY_WIDTH, max_parameters=1000)
    widths = [entry.config.network.sizes()[0] for entry in sample(spec.space, 50)]
    assert len(widths) == 50
    assert max(widths) <= 13  # 13 units have 975 parameters
    assert max(entry.config.network.sizes()[0] for entry in sample(spec.space.constrained(None), 50)) > 100


def test_a_finite_space_has_no_more_trials_than_configurations_that_meet_the_constraints() -> None:
    assert constrained(WIDTHS, sampler="grid").limits.trials == 8
    assert constrained(WIDTHS, sampler="grid", max_parameters=700).limits.trials == 4
    assert constrained(WIDTHS, sampler="tpe", max_parameters=700).limits.trials is None


def test_the_constraints_belong_to_the_fingerprint_and_to_the_record() -> None:
    plain, spec = constrained(WIDTHS), constrained(WIDTHS, max_parameters=700, max_memory="1GB")
    assert not {"study.max_parameters", "study.max_memory"} & plain.fingerprint("", {}).keys()
    found = spec.fingerprint("", {})
    assert (found["study.max_parameters"], found["study.max_memory"]) == (700, 10**9)
    assert make_spec(spec.to_mapping()).study == spec.study
