"""`studies space` shows what is searched and some sampled configurations, and writes nothing."""

from __future__ import annotations

import json

from studies.search.sampled import sample
from tests.studies.commands.shell import STUDY, Shell
from tests.study_data import small_study


def test_the_parameters_and_sampled_configurations_are_shown(shell: Shell) -> None:
    answer = shell.studies("space", "study.toml", "-n", "3")
    assert answer.returncode == 0
    assert "0.0001 to 0.1, log" in answer.stdout
    assert "The space has infinitely many configurations.\nBase, and 3 drawn at random" in answer.stdout
    rows = [line for line in answer.stdout.splitlines() if " 64-16-10 " in line]
    assert len(rows) == 4
    assert rows[0].split()[:4] == ["base", "64-16-10", "1,210", "1.85"]
    assert not shell.home.root.exists()


def test_the_same_is_printed_as_json(shell: Shell) -> None:
    answer = shell.studies("space", "study.toml", "-n", "2", "--json")
    content = json.loads(answer.stdout)
    assert list(content["space"]) == ["network.activation", "optimizer.learning_rate"]
    assert content["n_configurations"] is None
    assert [row["name"] for row in content["sample"]] == ["base", "1", "2"]
    assert {row["parameters"] for row in content["sample"]} == {1210}
    assert content["constraints"] is None


def test_the_share_of_configurations_that_meet_the_constraints_is_shown(shell: Shell) -> None:
    text = STUDY.replace("trials = 6", "max_parameters = 1_300").partition("[space]")[0]
    (shell.folder / "small.toml").write_text(text + '[space]\n"network.hidden" = [[8], [16], [32]]\n')
    answer = shell.studies("space", "small.toml", "-n", "3")
    assert "The space has 3 configurations.\n2 of 3 configurations meet max_parameters = 1,300.\n" in answer.stdout


def test_a_mistake_in_the_file_is_reported(shell: Shell) -> None:
    answer = shell.studies("space", "nowhere.toml")
    assert (answer.returncode, "there is no such file" in answer.stderr) == (2, True)


def test_samples_are_in_the_space_and_follow_from_the_seed() -> None:
    space = small_study().space
    drawn = sample(space, 20, seed=3)
    assert [entry.params for entry in drawn] == [entry.params for entry in sample(space, 20, seed=3)]
    assert [entry.params for entry in drawn] != [entry.params for entry in sample(space, 20, seed=4)]
    assert all(space.configure(entry.params) == entry.config for entry in drawn)
    assert {entry.sizes(64, 10, "classes")[1:-1] for entry in drawn} == {(), (8,), (24, 12)}
