"""`studies data`, and the other commands on a table, run as a person would run them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.studies.commands.shell import Shell

TRAIN = 'epochs = 2\nbatch_size = 16\ndata = { file = "d.csv", target = "kind" }\n'


@pytest.fixture(name="table")
def table_fixture(shell: Shell) -> Shell:
    """Return a shell in a folder with a table of 60 rows and a training configuration."""
    rows = [f"{i};{i % 7},5;{('red', 'blue', '')[i % 3]};{'ab'[i * i % 3 % 2]}" for i in range(60)]
    (shell.folder / "d.csv").write_text("\n".join(["id;size;colour;kind", *rows, ""]))
    (shell.folder / "t.toml").write_text(TRAIN)
    return shell


def test_data_shows_a_line_for_each_column_the_task_the_parts_and_warnings(table: Shell) -> None:
    answer = table.refusal_of("data", "d.csv", "--target", "kind")
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in answer.stdout.splitlines()]
    assert lines[0].startswith('d.csv: 60 rows, 4 columns; separator ";"')
    assert lines[2:12] == [
        "column type missing distinct values what becomes of it",
        "id number 0 60 0 to 59 dropped: identifier",
        "size number 0 7 0.5 to 6.5 scaled",
        "colour category 20 2 red, blue one input, -1 or 1",
        "kind class 0 2 b, a to predict",
        "",
        "numbers with a decimal comma, such as '0,5', in column \"size\"",
        'task classes, because column "kind" contains texts.',
        "classes 2: a (16), b (32)",
        "rows 48 training, of which the validation part is taken, 12 test",
    ]
    warned = [line.split('"')[1] for line in lines[12:]]
    assert warned == ["id", "colour"]


def test_data_without_a_target_shows_the_columns_and_asks_for_one(table: Shell) -> None:
    answer = table.refusal_of("data", "d.csv")
    assert answer.returncode == 0
    assert answer.stdout.endswith("Choose the column to predict with --target COLUMN.\n")
    assert " category " in answer.stdout.split("kind")[1].splitlines()[0]


def test_data_reads_the_options_of_a_study_file_and_of_the_command_line(table: Shell) -> None:
    stdout = table.refusal_of("data", "t.toml", "--set", 'data.categorical=["size"]', "--set", "data.test=30").stdout
    assert "30 test" in stdout
    assert "7 levels, one input each" in stdout
    assert "no column" in table.refusal_of("data", "d.csv", "--target", "sort").stderr
    assert table.refusal_of("data", "digits").stdout == "digits is a published data set, whose form is known.\n"


def test_the_rules_are_printed(table: Shell) -> None:
    answer = table.refusal_of("data", "--rules")
    assert answer.stdout.startswith("The first rule that fits decides what a column is.")
    assert 'become the level "other"' in " ".join(answer.stdout.split())
    assert "FILE" in table.refusal_of("data").stderr


def test_train_prints_the_plan_and_predict_and_evaluate_read_later_files_by_its_columns(table: Shell) -> None:
    trained = table.refusal_of("train", "t.toml", "--save", "m.json")
    assert trained.returncode == 0, trained.stderr
    assert "\ninputs   2 from 2 columns; dropped: id (identifier)\nrows     38 training" in trained.stdout
    later = "colour,size,name\ngreen,1.5,Ann\nred,,Bob\n"
    (table.folder / "later.csv").write_text(later.replace("1.5", '"1,5"'))
    answer = table.refusal_of("predict", "m.json", "later.csv", "--id", "name")
    assert [line.split(",")[0] for line in answer.stdout.splitlines()] == ["name", "Ann", "Bob"]
    assert answer.stderr == (
        "later.csv: levels that the training data did not have count as no level: colour (1 of 2 rows).\n"
    )
    written = table.refusal_of("predict", "m.json", "--data", "later.csv", "-o", "out.parquet")
    assert written.stdout == "2 predictions are in out.parquet.\n"
    assert "must end in .csv or .parquet" in table.refusal_of("predict", "m.json", "later.csv", "-o", "out.txt").stderr
    for file in ("d.csv", "./d.csv"):
        assert table.refusal_of("evaluate", "m.json", file).stdout.startswith("test/loss")
    missing = table.refusal_of("evaluate", "m.json", "later.csv")
    assert missing.returncode == 2
    assert 'later.csv: there is no column "kind" to predict. Name it with --label COLUMN.' in missing.stderr


@pytest.mark.slow
def test_predict_reads_standard_input_and_a_model_needs_numpy_only(table: Shell) -> None:
    assert table.refusal_of("train", "t.toml", "--save", "m.json").returncode == 0
    command = [sys.executable, "-m", "studies", "predict", "m.json"]
    text = 'size;colour\n"1,5";red\n2;\n'
    (table.folder / "later.csv").write_text(text)
    piped = subprocess.run([*command, "-"], cwd=table.folder, input=text, capture_output=True, text=True, check=True)
    named = subprocess.run([*command, "later.csv"], cwd=table.folder, capture_output=True, text=True, check=True)
    assert piped.stdout == named.stdout
    code = (
        "import sys\nfrom mlp.model_io import load_model\nmodel = load_model('m.json')\n"
        "rows = model.predict_proba({'size': ['1,5', '2'], 'colour': ['red', '']})\n"
        "assert not {'pandas', 'pyarrow', 'sklearn', 'optuna'} & set(sys.modules)\n"
        "print(*(','.join(f'{p:.6g}' for p in row) for row in rows), sep='\\n')\n"
    )
    python = subprocess.run([sys.executable, "-c", code], cwd=table.folder, capture_output=True, text=True, check=True)
    assert python.stdout.splitlines() == [line.partition(",")[2] for line in piped.stdout.splitlines()[1:]]
