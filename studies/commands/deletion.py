"""Removing a study wherever it left something."""

from __future__ import annotations

import shutil

from studies.records.home import Home
from studies.running.storage import delete_rows


def delete_study(home: Home, name: str) -> None:
    """Remove a study's MLflow experiment, its rows in Optuna's database and its folder, the folder last.

    A kill in between leaves a study that can be deleted again.

    Raises:
        ConfigError: when there is no such study, or a driver is running it.
    """
    folder = home.existing_study(name)
    with folder.lock():
        if home.mlflow_db.exists():
            from studies.tracking.mlflow_store import delete_experiment

            delete_experiment(home, name)
        delete_rows(home.optuna_url, name)
        folder.record.unlink()
    shutil.rmtree(folder.root)
