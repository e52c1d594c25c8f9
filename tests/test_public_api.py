"""The public names of both packages, and what importing them loads."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import mlp
import studies
from mlp import ConfigError, load_model
from mlp.training import train
from studies.launch import run_study
from studies.records.results import load_study
from studies.search.spec import read_spec


def loaded_by(statement: str) -> set[str]:
    """Return the packages beyond the standard library that a statement loads into a fresh process."""
    # Cython registers modules for its own use; they have no spec.
    program = f"""
import json, sys
before = set(sys.modules)
{statement}
new = [name for name in sys.modules.keys() - before if getattr(sys.modules[name], "__spec__", None)]
print(json.dumps([name.partition(".")[0] for name in new]))
"""
    answer = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(answer.stdout)) - sys.stdlib_module_names


def test_mlp_needs_numpy_and_threadpoolctl_and_nothing_else() -> None:
    assert loaded_by("import mlp") <= {"mlp", "numpy", "threadpoolctl"}


def test_a_training_loads_nothing_that_importing_mlp_does_not() -> None:
    statement = """
import numpy as np, mlp
x, y = np.zeros((40, 3), np.uint8), np.array(["a", "b"] * 20)
dataset = mlp.Dataset.from_arrays(x, y, test=(x, y))
training = mlp.train(mlp.TrainConfig(epochs=1), dataset)
assert mlp.Model.of(training, dataset).classes == ("a", "b")
"""
    assert loaded_by(statement) <= {"mlp", "numpy", "threadpoolctl"}


def test_a_worker_loads_mlp_and_numpy_and_nothing_heavy() -> None:
    assert loaded_by("import studies.running.segments") <= {"mlp", "studies", "numpy", "threadpoolctl"}


def test_importing_studies_loads_nothing_but_itself() -> None:
    assert loaded_by("import studies") == {"studies"}


def test_reading_a_study_loads_neither_optuna_nor_mlflow() -> None:
    heavy = {"optuna", "mlflow", "pandas", "matplotlib", "sklearn", "sqlalchemy"}
    assert not heavy & loaded_by("from studies import load_study")
    assert not heavy & loaded_by("from studies import run_study")


def test_mlp_has_a_front_door() -> None:
    assert set(mlp.__all__) >= {
        *("ConfigError", "DataConfig", "Dataset", "DivergedError", "EarlyStopping", "Model", "NetworkConfig"),
        *("TrainConfig", "Training", "advance", "load_model", "save_model", "train"),
    }


def test_mlp_offers_what_it_lists_and_nothing_more() -> None:
    assert mlp.__all__ == sorted(mlp.__all__)
    assert {name: getattr(mlp, name).__name__ for name in mlp.__all__} == {name: name for name in mlp.__all__}
    assert mlp.train is train
    with pytest.raises(AttributeError, match="module 'mlp' has no attribute 'Trainer'"):
        _ = mlp.Trainer


def test_what_a_type_checker_sees_of_mlp_is_what_is_there() -> None:
    tree = ast.parse(Path(mlp.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    seen = {alias.name: node.module for node in imports for alias in node.names if node.module.startswith("mlp.")}
    assert seen == mlp._MODULE_BY_NAME


def test_studies_exports_the_names_that_it_lists() -> None:
    assert studies.__all__ == [
        *(
            "Objective",
            "advice",
            "audit",
            "compare_trials",
            "export_ensemble",
            "export_trial",
            "load_study",
            "make_spec",
            "open_dataset",
        ),
        *("read_confirmation", "read_spec", "reproduce", "retrain", "run_study", "train_ensemble"),
    ]
    assert {name: getattr(studies, name).__name__ for name in studies.__all__} == {n: n for n in studies.__all__}
    assert (studies.load_study, studies.run_study) == (load_study, run_study)
    with pytest.raises(AttributeError, match="module 'studies' has no attribute 'run_studies'"):
        _ = studies.run_studies


def test_dir_of_studies_lists_every_exported_name_before_it_is_imported() -> None:
    program = "import studies; assert set(studies.__all__) <= set(dir(studies)) - set(vars(studies))"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_type_checker_sees_the_names_that_studies_exports() -> None:
    tree = ast.parse(Path(studies.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    seen = {alias.name: node.module for node in imports for alias in node.names if node.module.startswith("studies.")}
    assert seen == studies._PLACES


@pytest.mark.parametrize("package", [mlp, studies])
def test_every_exported_name_is_documented(package: ModuleType) -> None:
    undocumented = [name for name in package.__all__ if not (getattr(package, name).__doc__ or "").strip()]
    assert undocumented == []


def public_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the public functions of both packages, and the constructors and methods of their public classes."""
    for package in (mlp, studies):
        for name in package.__all__:
            value = getattr(package, name)
            if inspect.isfunction(value):
                yield name, value
            elif inspect.isclass(value):
                methods = ((key, getattr(entry, "__func__", entry)) for key, entry in vars(value).items())
                public = [(key, entry) for key, entry in methods if key == "__init__" or not key.startswith("_")]
                yield from ((f"{name}.{key}", entry) for key, entry in public if inspect.isfunction(entry))


def test_every_public_function_that_takes_a_path_takes_its_text_too() -> None:
    taken = {
        f"{name}({parameter.name})": str(parameter.annotation)
        for name, function in public_functions()
        for parameter in inspect.signature(function).parameters.values()
        if "Path" in str(parameter.annotation)
    }
    assert {"run_study(home)", "load_study(home)", "save_model(path)", "Objective.__init__(data_dir)"} <= taken.keys()
    assert [name for name, annotation in taken.items() if "str" not in annotation] == []


def test_the_text_of_a_path_is_a_path(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[study]\nname = "s"\n[base]\ndata = { name = "digits" }\n[space]\nbatch_size = [16, 32]\n')
    assert read_spec(str(file)).to_mapping() == read_spec(file).to_mapping()
    for call in (lambda: load_study("s", home=str(tmp_path)), lambda: load_model(str(tmp_path / "m.json"))):
        with pytest.raises(ConfigError, match="there is no "):
            call()
