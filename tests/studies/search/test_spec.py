"""The study file: how it is read, how `--set` changes it, and its fingerprint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlp.config import Taper
from mlp.errors import ConfigError
from mlp.optimizers import Adam, Sgd
from mlp.records import field_types
from mlp.schedules import schedules
from studies.search.pruners import Asha, Median
from studies.search.samplers import Tpe
from studies.search.spec import (
    StudySpec,
    parse_override,
    read_spec,
)
from tests.studies.search.spec_data import BASE, SPACE, STUDY, refusal, spec, write

EXPERIMENTS = sorted((Path(__file__).parents[3] / "experiments").glob("*.toml"))


def fingerprint(spec: StudySpec, *, digest: str = "0" * 64, step: int = 30_000) -> dict[str, Any]:
    return spec.fingerprint(digest, {"step": step})


def test_a_file_describes_study_base_and_space(tmp_path: Path) -> None:
    read = spec(tmp_path)
    assert (read.study.name, read.study.trials, read.study.metric) == ("small", 12, "auto")
    assert (read.study.sampler, read.study.pruner) == (Tpe(4), Median(5, 3))
    assert (read.base.epochs, read.base.network.hidden) == (5, Taper(2, 32, 1.0))
    assert [parameter.path for parameter in read.space] == [
        "batch_size",
        "schedule",
        "optimizer.learning_rate",
        "schedule.factor",
        "network.hidden.depth",
    ]


def test_omitted_settings_have_their_defaults(tmp_path: Path) -> None:
    read = spec(tmp_path, study='[study]\nname = "small"\n', base='[base]\ndata = { name = "digits" }\n', space="")
    assert (read.study.trials, read.study.budget, read.study.seed, read.study.parallelism) == (None, 20.0, 0, 4)
    assert (read.study.sampler, read.study.pruner) == (Tpe(), Asha())
    assert (read.base.optimizer, len(read.space)) == (Adam(), 0)


@pytest.mark.parametrize(
    ("metric", "direction"), [("validation/accuracy", "maximize"), ("train/loss", "minimize")], ids=["up", "down"]
)
def test_the_metric_determines_the_direction(tmp_path: Path, metric: str, direction: str) -> None:
    assert spec(tmp_path, study=f'{STUDY}metric = "{metric}"\n').direction == direction


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_each_experiment_can_be_read_and_its_base_is_in_its_space(file: Path) -> None:
    read = read_spec(file)
    assert read.study.name == file.stem
    assert read.space.params_of_base() is not None


def test_the_experiments_are_found() -> None:
    assert {"digits", "fashion_mnist", "mnist"} <= {file.stem for file in EXPERIMENTS}


def test_the_mapping_of_a_study_can_be_written_as_json(tmp_path: Path) -> None:
    mapping = spec(tmp_path).to_mapping()
    assert json.loads(json.dumps(mapping)) == mapping
    assert list(mapping) == ["study", "base", "space", "confirm"]


def test_name_and_trials_can_be_replaced(tmp_path: Path) -> None:
    file = write(tmp_path, STUDY + BASE + SPACE)
    read = read_spec(file, name="other", trials=99)
    assert (read.study.name, read.study.trials) == ("other", 99)
    assert read_spec(file).study.name == "small"


def test_a_name_can_be_given_instead_of_the_one_in_the_file(tmp_path: Path) -> None:
    assert read_spec(write(tmp_path, BASE), name="given").study.name == "given"


@pytest.mark.parametrize(("name", "trials"), [("../up", None), ("", None), (None, 0)])
def test_a_replaced_name_or_number_of_trials_is_checked_too(
    tmp_path: Path, name: str | None, trials: int | None
) -> None:
    with pytest.raises(ConfigError, match=r'small.toml: \[study\] "(name|trials)": must '):
        read_spec(write(tmp_path, STUDY + BASE), name=name, trials=trials)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("a=1", 1),
        ("a=0.5", 0.5),
        ("a=1e-3", 1e-3),
        ("a=true", True),
        ("a=sgd", "sgd"),
        ('a="sgd"', "sgd"),
        ("a= full ", "full"),
        ("a=[64, 32]", [64, 32]),
        ('a={ name = "sgd", momentum = 0.9 }', {"name": "sgd", "momentum": 0.9}),
        ("a=10_000", 10_000),
        ("a=x=y", "x=y"),
        ("a=", ""),
    ],
)
def test_the_value_of_an_override_is_toml_or_a_bare_word(override: str, value: Any) -> None:
    text = override.replace("a=", "seed=", 1)
    assert parse_override(text) == ("seed", value)
    assert type(parse_override(text)[1]) is type(value)


def test_an_override_changes_base(tmp_path: Path) -> None:
    read = spec(
        tmp_path, "epochs=7", "optimizer.weight_decay=0.25", "network.activation=tanh", "network.hidden.width=9"
    )
    assert (read.base.epochs, read.base.optimizer) == (7, Adam(learning_rate=1e-3, weight_decay=0.25))
    assert (read.base.network.activation.name, read.base.network.hidden) == ("tanh", Taper(2, 9, 1.0))
    assert len(read.space) == 5


def test_an_override_of_a_part_replaces_it_in_full(tmp_path: Path) -> None:
    read = spec(tmp_path, 'optimizer={ name = "sgd", momentum = 0.5 }')
    assert read.base.optimizer == Sgd(momentum=0.5)
    assert "optimizer.learning_rate" in [parameter.path for parameter in read.space]


def test_an_override_can_change_a_field_of_a_part_written_as_a_bare_name(tmp_path: Path) -> None:
    assert spec(tmp_path, "schedule.final=0.5").base.schedule.to_mapping() == {"warmup": 0.0, "final": 0.5}


def test_an_override_can_change_a_field_of_an_omitted_part(tmp_path: Path) -> None:
    read = spec(tmp_path, "optimizer.weight_decay=0.5", base='[base]\ndata = { name = "digits" }\n', space="")
    assert read.base.optimizer == Adam(weight_decay=0.5)


def test_overrides_apply_outer_paths_first(tmp_path: Path) -> None:
    read = spec(tmp_path, "optimizer.momentum=0.5", "optimizer=sgd", space="")
    assert read.base.optimizer == Sgd(momentum=0.5)


def test_an_override_fixes_a_searched_path(tmp_path: Path) -> None:
    read = spec(tmp_path, "batch_size=100")
    assert read.base.batch_size == 100
    assert "batch_size" not in [parameter.path for parameter in read.space]


def test_an_override_of_a_searched_part_removes_parameters_that_can_no_longer_apply(tmp_path: Path) -> None:
    read = spec(tmp_path, "schedule=constant")
    assert read.base.schedule.name == "constant"
    assert [p.path for p in read.space] == ["batch_size", "optimizer.learning_rate", "network.hidden.depth"]


def test_an_override_of_a_searched_part_keeps_the_parameters_that_apply_to_it(tmp_path: Path) -> None:
    read = spec(tmp_path, "schedule=exponential", "batch_size=64")
    assert "schedule.factor" in [parameter.path for parameter in read.space]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        (
            "optimzer.learning_rate=1",
            '--set: "optimzer.learning_rate" is not a field of [base]. Did you mean "optimizer.learning_rate"?',
        ),
        ("lr=1", '--set: "lr" is not a field of [base]. Did you mean "optimizer.learning_rate"?'),
        ("learning_rate=1", '--set: "learning_rate" is not a field of [base]. Did you mean "optimizer.learning_rate"?'),
        ("epoch=1", '--set: "epoch" is not a field of [base]. Did you mean "epochs"?'),
        ("epochs", "--set takes path=value, such as optimizer.learning_rate=0.01, got 'epochs'."),
        ("=3", "--set takes path=value, such as optimizer.learning_rate=0.01, got '=3'."),
        (
            "optimizer.learning_rat=1",
            (
                '[base] "optimizer.learning_rat": is not a field of the optimizer "adam". '
                f'Did you mean "learning_rate"? Available: {", ".join(field_types(Adam))}.'
            ),
        ),
        ("epochs=many", "[base] \"epochs\": must be a whole number, got 'many'."),
        ("epochs=0", '[base] "epochs": must be at least 1, got 0.'),
        ("epochs.x=0", '[base] "epochs": is the value 5 and has no fields.'),
        (
            "schedule=cosin",
            (
                '[base] "schedule": there is no schedule called "cosin". Did you mean "cosine"? '
                f"Available: {', '.join(schedules)}."
            ),
        ),
    ],
)
def test_the_error_of_a_wrong_override_explains_it(tmp_path: Path, override: str, problem: str) -> None:
    assert refusal(tmp_path, override) == problem


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("[study]", '[study]\nmetric = "validation/loss"'),
        ("[study]", "[study]\nseed = 1"),
        ("[study]", "[study]\nparallelism = 5"),
        ('name = "tpe", startup_trials = 4', 'name = "tpe", startup_trials = 5'),
        ('sampler = { name = "tpe", startup_trials = 4 }', 'sampler = "random"'),
        ("min_epochs = 3", "min_epochs = 4"),
        ("epochs    = 5", "epochs    = 6"),
        ("width = 32", "width = 33"),
        ('"adam", learning_rate = 1e-3', '"adam", learning_rate = 1e-3, beta2 = 0.99'),
        ("high = 3 }", "high = 4 }"),
        ("low = 1e-4", "low = 1.0001e-4"),
        (", log = true", ""),
        ("[64, 128]", "[128, 64]"),
        ("[64, 128]", "[64, 128, 256]"),
        ('schedule = "exponential", batch_size = 64', 'schedule = "exponential", batch_size = 128'),
        ('schedule = "exponential", batch_size = 64', 'schedule = "exponential"'),
        ("batch_size                = [64, 128]", ""),
    ],
)
def test_the_fingerprint_changes_with_every_setting_that_changes_the_trial_table(
    tmp_path: Path, was: str, becomes: str
) -> None:
    text = STUDY + BASE + SPACE.replace(", batch_size = 64", "") if becomes == "" else STUDY + BASE + SPACE
    assert was in text
    before = read_spec(write(tmp_path, text))
    after = read_spec(write(tmp_path, text.replace(was, becomes)))
    assert fingerprint(before) != fingerprint(after)


def test_the_fingerprint_changes_with_the_data_and_the_cost_model(tmp_path: Path) -> None:
    read = spec(tmp_path)
    assert fingerprint(read, digest="1" * 64) != fingerprint(read)
    assert fingerprint(read, step=1) != fingerprint(read)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("trials  = 12", "trials  = 80"),
        ('name    = "small"', 'name    = "other"'),
        ("[base]", "[base]\nseed = 0\nbatch_size = 128"),
        ('schedule  = "cosine"', 'schedule  = { name = "cosine", final = 0.0 }'),
        ("{ low = 1, high = 3 }", "{ high = 3, low = 1, log = false }"),
        ("[64, 128]", "{ choices = [64, 128] }"),
        (
            'when = { schedule = "exponential", batch_size = 64 }',
            'when = { batch_size = 64, schedule = "exponential" }',
        ),
        (
            'when = { schedule = "exponential", batch_size = 64 }',
            'when = { schedule = ["exponential"], batch_size = 64 }',
        ),
    ],
)
def test_the_fingerprint_ignores_what_does_not_change_the_trial_table(tmp_path: Path, was: str, becomes: str) -> None:
    text = STUDY + BASE + SPACE
    assert was in text
    assert fingerprint(read_spec(write(tmp_path, text))) == fingerprint(
        read_spec(write(tmp_path, text.replace(was, becomes)))
    )


def test_the_fingerprint_ignores_the_order_of_lines(tmp_path: Path) -> None:
    head, *lines = SPACE.strip().splitlines()
    backwards = "\n".join([head, *reversed(lines)])
    assert fingerprint(spec(tmp_path, space=backwards)) == fingerprint(spec(tmp_path))


def test_a_fingerprint_can_be_written_as_json_and_read_again(tmp_path: Path) -> None:
    written = fingerprint(spec(tmp_path))
    assert json.loads(json.dumps(written)) == written
