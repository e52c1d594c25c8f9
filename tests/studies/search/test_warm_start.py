"""Which trials of other studies a study learns from, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlp.errors import ConfigError
from studies.launch import run_study
from studies.records.home import Home
from studies.records.results import load_study
from studies.search.spec import StudySpec, make_spec
from studies.search.warm_start import collect_prior
from tests.study_data import (
    BASE,
    SPACE,
    STUDY,
    empty_database,
    prepared_digits,  # noqa: F401 - a fixture
)

WIDE: dict[str, Any] = SPACE | {"network.dropout": {"low": 0.0, "high": 0.5}}


def tables(space: dict[str, Any], base: dict[str, Any] | None = None, **study: Any) -> dict[str, Any]:
    return {"study": STUDY | study, "base": BASE | (base or {}), "space": space, "confirm": {"enabled": False}}


@pytest.fixture(name="other", scope="module")
def other_fixture(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a complete study "small"; tests must not change it."""
    home = Home(tmp_path_factory.mktemp("other"))
    home.create()
    (home.root / "optuna.db").write_bytes(empty_database())
    assert digits.exists()
    run_study(tables(SPACE), home=home.root, engine="in-process", publish=False)
    return home.root


def prior(root: Path, spec: StudySpec, digest: str | None = None) -> tuple[list[dict[str, Any]], str]:
    same = load_study("small", root).record.data.digest
    found, notices = collect_prior(spec.with_metric_for("classes"), Home(root), digest or same)
    return [trial.to_mapping() for trial in found], "".join(notices)


def widened(space: dict[str, Any], base: dict[str, Any] | None = None, **study: Any) -> StudySpec:
    return make_spec(tables(space, base, **({"name": "wide", "warm_start": ["small"]} | study)))


def test_every_trial_is_in_a_wider_space_with_the_values_that_base_had(other: Path) -> None:
    found, notice = prior(other, widened(WIDE))
    trials = load_study("small", other).trials
    assert [trial["trial"] for trial in found] == list(range(7))
    assert notice == 'The sampler learns from 7 of 7 trials of study "small".'
    for trial, recorded in zip(found, trials, strict=True):
        assert trial["params"] == {**recorded.params, "network.dropout": 0.0}
        assert trial["state"] == recorded.state
        assert list(trial["values"].values()) == recorded.history["validation/accuracy"]
        assert trial.get("value") == (recorded.value if recorded.state == "complete" else None)


def test_trials_outside_the_space_are_left_out(other: Path) -> None:
    adam = {path: entry for path, entry in SPACE.items() if path != "optimizer.nesterov"} | {"optimizer": ["adam"]}
    found, notice = prior(other, widened(adam))
    kept = [trial.number for trial in load_study("small", other).trials if trial.params["optimizer"] == "adam"]
    assert 1 <= len(kept) < 7
    assert [trial["trial"] for trial in found] == kept
    assert f'learns from {len(kept)} of 7 trials of study "small"; {7 - len(kept)} are outside the space.' in notice


def test_what_is_no_longer_searched_must_have_the_value_of_base(other: Path) -> None:
    fixed = {path: entry for path, entry in SPACE.items() if path != "network.hidden"}
    found, _ = prior(other, widened(fixed))
    kept = [trial.number for trial in load_study("small", other).trials if trial.params["network.hidden"] == "8"]
    assert [trial["trial"] for trial in found] == kept


def test_fixed_fields_that_differ_are_named(other: Path) -> None:
    found, notice = prior(other, widened(SPACE, {"epochs": 9, "seed": 4}))
    assert len(found) == 7
    assert notice.endswith("Its base differs in epochs.")


def test_other_data_are_named(other: Path) -> None:
    assert prior(other, widened(SPACE), "f" * 64)[1].endswith('of study "small". Its data are different.')


def test_what_cannot_be_learnt_from_is_refused(other: Path) -> None:
    for spec, message in (
        (make_spec(tables(SPACE, warm_start=["small"])), "a study cannot start from itself"),
        (
            make_spec(tables(SPACE, name="w", warm_start=["smal"])),
            r'"warm_start": there is no study "smal" .*Did you mean "small"\?',
        ),
        (
            widened(SPACE, metric="validation/loss"),
            r'the metric of study "small" is validation/accuracy, and the metric',
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            prior(other, spec)
    for sampler in ("random", "quasi_random", "cma_es", "nsga2"):
        with pytest.raises(ConfigError, match=r'"warm_start": the sampler ".*" does not learn from other studies'):
            widened(SPACE, sampler=sampler)
    with pytest.raises(ConfigError, match=r"must consist of ASCII letters, .* in \'../small\'"):
        prior(other, widened(SPACE, warm_start=["../small"]))
