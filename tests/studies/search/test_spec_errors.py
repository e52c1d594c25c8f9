"""The errors for mistakes in a study file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlp.errors import ConfigError
from mlp.losses import Task
from studies.search.pruners import Median, NoPruner, SuccessiveHalving
from studies.search.samplers import Random
from studies.search.spec import (
    make_spec,
    read_spec,
)
from tests.studies.search.spec_data import BASE, STUDY, refusal, spec


def test_the_error_of_a_missing_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        read_spec(tmp_path / "none.toml")
    assert str(error.value) == f"{tmp_path / 'none.toml'}: there is no such file."


@pytest.mark.parametrize("content", [b"name = '\xff'", None], ids=["not text", "a folder"])
def test_the_error_of_an_unreadable_file_names_it(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "odd.toml"
    file.mkdir() if content is None else file.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_spec(file)
    assert str(error.value).startswith((f"{file}: cannot be read: ", f"{file}: must be a regular file, got a folder"))


def test_the_error_of_invalid_toml_names_file_and_line(tmp_path: Path) -> None:
    message = refusal(tmp_path, study="[study]\nname = small\n", base="", space="")
    assert message == "is not TOML: Invalid value (at line 2, column 8)."


@pytest.mark.parametrize(
    "lines",
    [
        'optimizer = ["adam", "sgd"]\noptimizer.learning_rate = { low = 0.1, high = 1.0 }',
        'optimizer.learning_rate = { low = 0.1, high = 1.0 }\noptimizer = ["adam", "sgd"]',
        "optimizer = { low = 1, high = 2 }\noptimizer.eps = { low = 0.1, high = 1.0 }",
    ],
)
def test_the_error_of_an_unquoted_path_says_to_quote_it(tmp_path: Path, lines: str) -> None:
    message = refusal(tmp_path, space=f"[space]\n{lines}\n")
    assert "(at line " in message
    assert message.endswith(' A dotted path is one key and must be quoted: "optimizer.learning_rate" = ...')


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ({"space": "[spaces]\n"}, '[spaces] is not a section of a study file. Did you mean "space"?'),
        (
            {"space": "[extra]\n"},
            "[extra] is not a section of a study file. A study file has [study], [base], [space] and, if you like, ",
        ),
        ({"study": "study = 3\n"}, "[study] must be a table, got 3."),
        ({"study": "space = 3\n" + STUDY, "space": ""}, "[space] must be a table, got 3."),
        ({"base": ""}, "has no [base]. A study file has [study], [base], [space] and, if you like, [confirm]."),
        ({"study": ""}, '[study] "name": is missing and has no default.'),
        ({"study": "[study]\n"}, '[study] "name": is missing and has no default.'),
        ({"study": '[study]\nname = "a b"\n'}, '[study] "name": must consist of ASCII letters, digits, dots, dash'),
        ({"study": f"{STUDY}trails = 3\n"}, '[study] "trails": is not a field of '),
        ({"study": STUDY.replace("12", '"12"')}, "[study] \"trials\": must be a whole number, got '12'."),
        ({"study": STUDY.replace("12", "0")}, '[study] "trials": must be at least 1 and at most '),
        ({"study": f"{STUDY}seed = -1\n"}, '[study] "seed": must be at least 0 and at most '),
        ({"study": f"{STUDY}parallelism = 0\n"}, '[study] "parallelism": must be at least 1 and at most 4096, got 0.'),
        ({"study": f'{STUDY}metric = "acc"\n'}, '[study] "metric": there is no metric "acc".'),
        (
            {"study": f'{STUDY}metric = "validation/los"\n'},
            '[study] "metric": there is no metric "validation/los". Did',
        ),
        (
            {"study": STUDY.replace('"tpe"', '"tp"')},
            '[study] "sampler": there is no sampler called "tp". Did you mean "tpe"',
        ),
        (
            {"study": STUDY.replace("startup_trials = 4", "startup_trials = 0")},
            '[study] "sampler.startup_trials": must be at',
        ),
        (
            {"study": STUDY.replace("min_epochs", "min_epoch")},
            '[study] "pruner.min_epoch": is not a field of the pruner "m',
        ),
        (
            {"base": f"{BASE}epoch = 3\n"},
            '[base] "epoch": is not a field of a training configuration. Did you mean "epochs"',
        ),
        ({"base": "[base]\n"}, '[base] "data.file": is missing. Give the path of a file, or the name'),
        ({"base": "[base]\ndata = {}\n"}, '[base] "data.file": is missing. Give the path of a file, or the name'),
        ({"base": BASE.replace("= 5", "= 5.5")}, '[base] "epochs": must be a whole number, got 5.5.'),
        ({"base": BASE.replace("1e-3", "-1.0")}, '[base] "optimizer.learning_rate": must be above 0, got -1.0.'),
        ({"base": BASE.replace("width", "with")}, '[base] "network.hidden.with": is not a field of '),
        (
            {"base": BASE.replace('"cosine"', "3")},
            '[base] "schedule": must be the name of a schedule or a table with a name, got 3',
        ),
        ({"space": "[space]\nbatch_size = 3\n"}, '[space] "batch_size": must be a list of choices or a table with low'),
        (
            {"space": '[space]\n"optimizer.eps" = { low = 0.0, high = 1.0 }\n'},
            '[space] "optimizer.eps": must be above 0, got',
        ),
    ],
)
def test_the_error_of_a_mistake_names_its_section_and_path(
    tmp_path: Path, tables: dict[str, str], problem: str
) -> None:
    assert refusal(tmp_path, **tables).startswith(problem)


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        ("classes", "validation/accuracy"),
        ("labels", "validation/label_accuracy"),
        ("values", "validation/r2"),
    ],
)
def test_the_metric_follows_the_task_unless_it_is_given(tmp_path: Path, task: Task, metric: str) -> None:
    assert spec(tmp_path).with_metric_for(task).study.metric == metric
    given = spec(tmp_path, study=f'{STUDY}metric = "train/loss"\n')
    assert given.with_metric_for(task) is given


def test_a_validation_metric_needs_validation_data(tmp_path: Path) -> None:
    message = refusal(tmp_path, "data.validation=0")
    assert message == (
        '[study] "metric": is "auto", but data.validation = 0 leaves no validation data. '
        "Set data.validation above 0, or use a train/ metric."
    )
    assert spec(tmp_path, "data.validation=0", study=f'{STUDY}metric = "train/loss"\n').base.data.validation == 0


def test_a_validation_metric_needs_validation_data_everywhere_in_the_space(tmp_path: Path) -> None:
    message = refusal(tmp_path, space='[space]\n"data.validation" = [0.2, 0]\n')
    assert "data.validation" in message


def test_the_data_set_cannot_be_searched(tmp_path: Path) -> None:
    """All trials of a study are trained on one prepared data set, whatever their configurations say."""
    message = refusal(tmp_path, space='[space]\n"data.name" = ["digits", "mnist"]\n')
    assert message.startswith('[space] "data.name"')


@pytest.mark.parametrize(
    ("pruner", "expected"),
    [('"none"', NoPruner()), ('"successive_halving"', SuccessiveHalving()), ('{ name = "median" }', Median())],
)
def test_a_study_can_be_made_from_tables_without_a_file(pruner: str, expected: Any, tmp_path: Path) -> None:
    read = spec(tmp_path, study=f'[study]\nname = "small"\nsampler = "random"\npruner = {pruner}\n')
    assert (read.study.sampler, read.study.pruner) == (Random(), expected)
    again = make_spec({"study": read.study.to_mapping(), "base": read.base.to_mapping()})
    assert (again.study, again.base) == (read.study, read.base)
