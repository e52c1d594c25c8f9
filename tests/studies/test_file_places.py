"""A study and its data may lie in any folder: files are found beside the file that names them, wherever one works."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mlp.model_io import load_model
from studies.commands.app import app
from studies.evidence.winner import export_trial
from studies.launch import run_study
from studies.models.evaluate import evaluate_model
from studies.models.export import read_config
from studies.models.retrain import retrain
from studies.objective import Objective
from studies.plan import plan_study
from studies.records.results import load_study

ROWS = "x,y,kind\n" + "".join(f"{i % 7},{i * i % 5},{'ab'[i % 2]}\n" for i in range(40))
BASE = 'epochs = 2\nbatch_size = 8\ndata = { file = "d.csv", target = "kind" }\nnetwork = { hidden = [3] }\n'
STUDY = f"""
[study]
name = "own"
trials = 2
pruner = "none"
parallelism = 1
sampler = "random"

[confirm]
enabled = false

[base]
{BASE}
[space]
"network.activation" = ["relu", "tanh"]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a study, a configuration and their data; the working folder is another one."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "d.csv").write_text(ROWS)
    (folder / "study.toml").write_text(STUDY)
    (folder / "base.toml").write_text(BASE)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def output_of(*arguments: str) -> str:
    """Return what a command prints, which must succeed."""
    result = CliRunner().invoke(app, arguments, prog_name="studies")
    assert result.exit_code == 0, result.output
    return result.output


def test_the_file_beside_a_study_or_a_configuration_is_found_from_another_folder(project: Path) -> None:
    plan = plan_study(project / "study.toml")
    assert plan.record.data.folder == str(project)
    assert retrain("../project/base.toml").n_train > 0
    assert Objective(project / "study.toml").spec.study.name == "own"
    output_of("train", "../project/base.toml")
    output_of("data", "../project/base.toml")


def test_another_file_of_the_same_name_in_the_working_folder_is_never_used_in_silence(project: Path) -> None:
    Path("d.csv").write_text(ROWS.replace("a", "c"))
    notice = f"{project / 'd.csv'} is used; d.csv has other content."
    assert plan_study(project / "study.toml").notices()[0] == notice
    assert notice in output_of("train", str(project / "base.toml"))
    Path("d.csv").write_text(ROWS)
    assert notice not in plan_study(project / "study.toml").notices()
    assert notice not in output_of("train", str(project / "base.toml"))


def test_an_export_is_trained_again_from_any_folder(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_study(project / "study.toml", home=tmp_path / "home", engine="in-process", publish=False)
    file = export_trial(load_study("own", tmp_path / "home"), 0, tmp_path / "exports" / "best.toml")
    config, provenance = read_config(file)
    assert config.data.file == "d.csv"
    assert provenance is not None
    assert provenance.data_folder == str(project)
    monkeypatch.chdir(tmp_path)
    assert retrain(file).reproduced
    output_of("train", "exports/best.toml")
    (tmp_path / "exports" / "d.csv").write_text(ROWS.replace("a", "c"))
    assert retrain(file).reproduced


def test_init_names_the_file_as_it_is_found_from_the_study(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.parent)
    output_of("init", "--data", "project/d.csv", "--target", "kind", "-o", "studies/own.toml")
    assert '"../project/d.csv"' in Path("studies/own.toml").read_text()
    monkeypatch.chdir("elsewhere")
    assert plan_study("../studies/own.toml").record.data.n_train > 0


def test_arrays_are_trained_on_and_evaluated_by_content(project: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    np.savez(project / "a.npz", x=x, y=(x[:, 0] > 0).astype(int))
    (project / "a.toml").write_text('epochs = 3\ndata = { file = "a.npz" }\n')
    result = retrain(project / "a.toml", test=True, save="m.json")
    model = load_model("m.json")
    (project / "copy.npz").write_bytes((project / "a.npz").read_bytes())
    assert evaluate_model(model, project / "copy.npz") == pytest.approx(dict(result.test or {}))
    np.savez(project / "b.npz", x=x + 1, y=(x[:, 0] > 0).astype(int))
    assert set(evaluate_model(model, project / "b.npz")) == {"data/loss", "data/accuracy"}
    assert "32 rows, 8 more for the test, 3 inputs, classes." in output_of("data", str(project / "a.npz"))
