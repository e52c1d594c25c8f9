"""How the program ends: help pages, errors, hints."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest
from rich.console import Group
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from mlp.errors import ConfigError
from studies.commands import app as program
from studies.commands.app import app
from studies.commands.escaping import EscapingConsole
from studies.commands.terminal import accept_any_character, open_console, print_line
from studies.errors import RecordError, ServerError
from tests.studies.commands.shell import (
    COMMAND,
    NO_SERVER,
    Shell,
    assert_refused,
)

COMMANDS = [command.name for command in app.registered_commands if command.name]


def help_page(*arguments: str) -> str:
    """Return what `studies ARGUMENTS --help` prints."""
    result = CliRunner().invoke(app, [*arguments, "--help"], prog_name="studies", env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 3", "epoch = 3", 'study.toml: [base] "epoch": is not a field of a training configuration. Did you'),
        ("epochs = 3", 'epochs = "3"', "study.toml: [base] \"epochs\": must be a whole number, got '3'."),
        (
            "low = 1e-4",
            "low = 0.5",
            '"optimizer.learning_rate": low must not be above high, got low = 0.5 and high = 0.1.',
        ),
        ('["relu", "tanh"]', '["relu", "tan"]', 'there is no activation called "tan". Did you mean "tanh"?'),
        (
            '"network.activation" =',
            "network.activation =",
            'If you mean "network.activation", quote the dotted path.',
        ),
        ("[space]", "[spaces]", 'study.toml: [spaces] is not a section of a study file. Did you mean "space"?'),
    ],
)
def test_a_mistake_in_the_file_is_reported_in_one_line_before_anything_is_written(
    shell: Shell, old: str, new: str, message: str
) -> None:
    file = shell.folder / "study.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    before = shell.files()
    assert_refused(shell.refusal_of("run", "study.toml"), message)
    assert shell.files() == before
    assert not shell.home.root.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.toml"], "nowhere.toml: there is no such file."),
        (
            ["study.toml", "--set", "networ.hidden=3"],
            '"networ.hidden" is not a field of [base]. Did you mean "network.hidden"?',
        ),
        (
            ["study.toml", "--set", "epochs"],
            "--set takes path=value, such as optimizer.learning_rate=0.01, got 'epochs'.",
        ),
        (["study.toml", "--timeout", "soon"], "--timeout takes a duration such as 90s, 10m or 1h30m, got 'soon'."),
        (["study.toml", "--trials", "0"], '"trials": must be at least 1'),
        (
            ["study.toml", "--home", "study.toml"],
            "study.toml cannot be written: Not a directory. Choose another with --home.",
        ),
    ],
)
def test_a_mistake_in_the_command_is_reported_in_one_line_before_anything_is_written(
    shell: Shell, arguments: list[str], message: str
) -> None:
    before = shell.files()
    assert_refused(shell.refusal_of("run", *arguments), message)
    assert shell.files() == before
    assert not shell.home.root.exists()


def test_missing_data_is_reported_with_where_to_put_it(shell: Shell) -> None:
    unreachable = {
        "http_proxy": NO_SERVER,
        "https_proxy": NO_SERVER,
        "STUDIES_CACHE": str(shell.folder / "empty cache"),
    }
    answer = shell.studies("run", "study.toml", "--set", "data.name=mnist", **unreachable)
    assert_refused(answer, "Put the four files into DIR/mnist/ and set --data-dir DIR or STUDIES_DATA=DIR.")
    assert "train-images-idx3-ubyte.gz is not in" in answer.stderr
    assert not shell.home.root.exists()


def test_another_study_of_the_same_name_is_refused_with_the_differences(finished: Shell) -> None:
    before = finished.files()
    answer = finished.studies("run", "study.toml", "--set", "epochs=5", "--set", "network.hidden=[9]")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert 'error: study "digits" already exists with different settings: ' in answer.stderr
    assert re.search(r" base\.epochs was 3 and is 5[,.]", answer.stderr)
    assert re.search(r" base\.network\.hidden was .*16.* and is .*9", answer.stderr)
    assert len(answer.stderr.splitlines()) == 1
    assert "Run it under a new name with --name" in answer.stderr
    assert finished.files() == before


def test_an_unknown_study_or_trial_is_reported_with_those_that_exist(finished: Shell) -> None:
    assert_refused(finished.refusal_of("show", "digit"), 'Did you mean "digits"? There are: digits.')
    assert_refused(finished.refusal_of("show", "digits", "6"), 'study "digits" has no trial 6. It has: 0 to 5.')


def test_a_closed_pipe_ends_a_command_without_a_message(finished: Shell) -> None:
    unread, written = os.pipe()
    os.close(unread)
    with os.fdopen(written, "wb") as stdout:
        answer = subprocess.run(
            [COMMAND, "show", "digits"],
            cwd=finished.folder,
            env=finished.environment({}),
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (answer.returncode, answer.stderr) == (1, "")


@pytest.mark.slow
def test_printed_commands_run_as_they_are_even_if_paths_need_quotes(finished: Shell) -> None:
    finished.home.root.rename(finished.folder / "my runs [old]")
    output = finished.studies("run", "study.toml", "--home", "my runs [old]").stdout
    commands = re.findall(r"^[a-zA-Z ]+  studies (.+)$", output, re.M)
    assert [shlex.split(command) for command in commands] == [
        ["train", "my runs [old]/studies/digits/best.toml", "--test"],
        ["ui", "digits", "--home", "my runs [old]"],
    ]
    output = finished.studies("export", "digits", "--home", "my runs [old]", "-o", "my [best].toml").stdout
    (command,) = re.findall(r"^train it again +studies (.+)$", output, re.M)
    assert finished.studies(*shlex.split(command)).returncode == 0


def test_printed_commands_name_the_program_by_its_path_if_the_shell_does_not_find_it(finished: Shell) -> None:
    path = os.pathsep.join(
        folder for folder in os.environ["PATH"].split(os.pathsep) if not (Path(folder) / "studies").exists()
    )
    answer = finished.studies("export", "digits", PATH=path)
    assert answer.stdout.endswith(f"train it again  {COMMAND} train experiments/best/digits.toml --test\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_pages_are_plain(command: str) -> None:
    page = help_page(command)
    assert page.startswith(f"Usage: studies {command} [OPTIONS]")
    assert not re.search(r"[<>{}]|\[\[|\]\]|range", page)
    for line in re.findall(r"^  (?:-\w, )?--.*", page, re.M):
        assert re.match(r"  \S.*\S  +\S", line), f"the option has no description: {line}"


def test_the_help_page_of_run_names_the_table_that_set_overrides() -> None:
    assert "Override a value of [base]; a searched path becomes fixed." in " ".join(help_page("run").split())


def test_every_command_is_listed_with_a_full_sentence() -> None:
    listed = dict(re.findall(r"^  ([a-z]+) {2,}(\S.*)$", help_page(), re.M))
    assert set(COMMANDS) == set(listed)
    assert [text for text in listed.values() if not re.fullmatch(r"[A-Z].*\w\.", text) or "..." in text] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_accepts_home_and_data_dir(command: str) -> None:
    assert help_page(command, "--home", "here", "--data-dir", "there") == help_page(command)
    with pytest.raises(AssertionError, match="No such option"):
        help_page(command, "--nowhere", "here")


def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_line(open_console(), ":key:.csv [bold]x[/bold]")
    assert capsys.readouterr().out == ":key:.csv [bold]x[/bold]\n"


def test_an_option_that_a_command_has_no_use_for_is_ignored(shell: Shell) -> None:
    answer = shell.studies("list", "--data-dir", "nowhere")
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "study.toml", "--workers", "0"], "'--workers': must be at least 1, got 0."),
        (["show", "digits", "--top", "0"], "'--top': must be at least 1, got 0."),
        (["ui", "--port", "70000"], "'--port': must be from 1 to 65535, got 70000."),
        (["train", "study.toml", "--seed", "-1"], "'--seed': must be at least 0, got -1."),
    ],
)
def test_a_number_out_of_range_is_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, arguments, prog_name="studies")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, f"Error: Invalid value for {message}")


@pytest.mark.parametrize(("error", "code"), [(ConfigError("no."), 2), (RecordError("no."), 2), (ServerError("no."), 1)])
def test_an_error_that_a_person_can_act_on_is_printed_in_one_line(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(program, "app", fail)
    with pytest.raises(SystemExit) as ending:
        program.main()
    assert (ending.value.code, capsys.readouterr().err) == (code, "error: no.\n")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["ui", "--help"]])
def test_help_pages_load_nothing_heavy(shell: Shell, arguments: Sequence[str]) -> None:
    heavy = {"rich", "numpy", "optuna", "mlflow", "pandas", "matplotlib", "sklearn", "sqlalchemy"}
    script = (
        "import sys\nfrom studies.commands.app import main\n"
        "try:\n    main()\n"
        f"finally:\n    print(sorted({heavy} & sys.modules.keys()), file=sys.stderr)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=shell.environment({}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Usage:" in answer.stdout
    assert answer.stderr == "[]\n"


def test_the_version_is_that_of_the_package(shell: Shell) -> None:
    answer = shell.studies("--version")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, f"studies {version('mlp-studies')}\n", "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_the_encoding_of_the_terminal_lacks_are_escaped(shell: Shell, encoding: str) -> None:
    answer = shell.studies("run", "学习.toml", PYTHONIOENCODING=encoding)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == r"error: \u5b66\u4e60.toml: there is no such file." + "\n"


def test_common_signs_become_similar_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    accept_any_character()
    print("5/6 · 2 × 3 …", flush=True)
    assert written.getvalue() == b"5/6 | 2 x 3 ...\n"


@pytest.mark.parametrize("command", [["show", "x", "--home"], ["sync", "x", "--home"], ["delete", "x", "--home"]])
def test_a_path_that_is_too_long_is_reported_in_one_line(shell: Shell, command: list[str]) -> None:
    assert_refused(shell.studies(*command, "a" * 300), "File name too long")


CLEAR = "\x1b[2J\x1b]0;title\x07"


def run_main(*arguments: str) -> int:
    """Run the program in this process and return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["studies", *arguments])
        with pytest.raises(SystemExit) as end:
            program.main()
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("show", CLEAR), ""),
        (("run", "study.toml", "--name", CLEAR), "[study]\n[base]\n"),
        (("run", "study.toml", "--set", f"network.{CLEAR}=1"), "[study]\nname = 'x'\n[base]\n"),
        (("train", "study.toml"), '"\\u001b[2J" = 1'),
        (("train", "study.toml"), 'data = { name = "a\\u001b[2J.csv" }'),
    ],
)
def test_control_characters_in_names_and_keys_are_shown_escaped(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: Sequence[str],
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_text(text)
    assert run_main(*arguments) == 2
    printed = capsys.readouterr().err
    assert r"\x1b[2J" in printed
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert len(printed.splitlines()) == 1


def test_a_console_escapes_every_part_of_what_it_prints() -> None:
    file = io.StringIO()
    console = EscapingConsole(file=file, force_terminal=True, width=60, markup=False, highlight=False)
    table = Table("name", CLEAR)
    table.add_row(Text(CLEAR, "red"), CLEAR)
    for shown in (CLEAR, Text(CLEAR, "bold"), table, Group(CLEAR)):
        console.print(shown)
    printed = file.getvalue()
    assert printed.count(r"\x1b[2J") == 6
    assert "\x1b[2J" not in printed
    assert "\x07" not in printed
    assert "\x1b[31m" in printed  # its own colours are still there
    console.print("two\nlines")
    assert file.getvalue().endswith("two\nlines\n")


@pytest.mark.parametrize("name", ["n" * 300, "/".join(["n" * 200] * 30)], ids=["name", "path"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "{}.toml"),
        ("train", "{}"),
        ("predict", "{}", "x.csv"),
        ("predict", "{}.json", "x.csv"),
        ("show", "x", "--home", "{}"),
        ("export", "x", "--home", "{}"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_path_longer_than_the_system_allows_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: Sequence[str], name: str
) -> None:
    assert run_main(*(argument.format(name) for argument in arguments)) in (1, 2)
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert printed.endswith("File name too long.\n")
    assert len(printed.splitlines()) == 1
