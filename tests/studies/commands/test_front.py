"""A study with two objectives as a person runs it: the front in the terminal, in MLflow and as exports."""

from __future__ import annotations

import re

import pytest

from studies.models.export import read_config
from studies.records.results import load_study
from tests.studies.commands.shell import STUDY, Shell, query


@pytest.mark.slow
def test_a_front_is_shown_published_and_exported(shell: Shell) -> None:
    text = STUDY.replace('name = "digits"\ntrials', 'name = "digits"\nsecond_objective = "parameters"\ntrials', 1)
    text = re.sub(r"(?m)^pruner = .*$", 'pruner = "none"', text)
    text = text.replace('"network.activation" = ["relu", "tanh"]', '"network.hidden" = [[4], [16], [64]]')
    (shell.folder / "study.toml").write_text(text)
    answer = shell.studies("run", "study.toml")
    assert (answer.returncode, answer.stderr) == (0, "")
    results = load_study("digits", shell.home.root)
    front = results.pareto_front()
    for output in (answer.stdout, shell.studies("show", "digits").stdout):
        assert "Pareto front: validation/accuracy and parameters" in output
        for point in front:
            assert re.search(rf"^ +{point.trial} +{point.size:,.0f} +{point.value:.4f} ", output, re.M)
    metrics = query(shell.home.mlflow_db, "SELECT value FROM latest_metrics WHERE key = 'parameters'")
    assert sorted(size for (size,) in metrics) == sorted(results.size(trial.number) for trial in results.trials)
    (note,) = query(
        shell.home.mlflow_db, "SELECT value FROM tags WHERE key = 'mlflow.note.content' AND value LIKE '%Pareto%'"
    )
    assert f"| {front[0].trial} | {front[0].size:,.0f} | {front[0].value:.6g} |" in note[0]
    assert list(shell.home.artifacts.rglob("pareto.png"))
    for which, point in (("cheapest", front[0]), ("best", front[-1])):
        assert shell.studies("export", "digits", "--pick", which, "-o", f"{which}.toml").returncode == 0
        _, provenance = read_config(shell.folder / f"{which}.toml")
        assert provenance is not None
        assert provenance.trial == point.trial
    assert shell.studies("check", "digits").returncode == 0
    both = shell.studies("export", "digits", "1", "--pick", "knee")
    assert both.returncode == 2
    assert "give a trial or --pick, not both" in both.stderr


def test_a_study_with_one_objective_has_no_front(finished: Shell) -> None:
    answer = finished.studies("export", "digits", "--pick", "knee")
    assert answer.returncode == 2
    assert "has one objective, so there is no Pareto front" in answer.stderr
