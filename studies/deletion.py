"""`delete_study`: removes a study from every place where it left something."""

from __future__ import annotations

import shutil

from studies.hints import command_line
from studies.records.failures import failures_explained
from studies.records.home import Home
from studies.running.storage import delete_rows


def delete_study(home: Home, name: str) -> None:
    """Delete the MLflow experiment of a study, its rows in Optuna's database, and its folder.

    The folder is deleted last. If the process is killed before that, the study still exists and can be deleted again.

    Args:
        home: where the study is.
        name: the name of the study.

    Raises:
        ConfigError: when there is no such study, or a driver is running it.
        StorageError: when Optuna's database is locked or damaged.
    """
    folder = home.existing_study(name)
    with folder.lock():
        if home.mlflow_db.exists():
            from studies.tracking.mlflow_store import delete_experiment

            delete_experiment(home, name)
        with failures_explained(home.root / "optuna.db", command_line("check", name, "--repair", home=home)):
            delete_rows(home.optuna_url, name)
        if not folder.record.is_dir():
            folder.record.unlink()
    shutil.rmtree(folder.root)
