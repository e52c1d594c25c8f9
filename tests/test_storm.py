"""A study whose processes are killed sixty times, at random moments, ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from studies.check import check_study
from studies.records.home import Home
from studies.records.results import load_study
from tests.test_crash import Table, check_mlflow, reference, trial_table, write_study  # noqa: F401 - a fixture
from tests.tracking_data import home_fixture, migrated_db_fixture  # noqa: F401 - fixtures

N_KILLS = 60
N_KILLS_AT_THE_END = 8
VICTIMS = ("driver", "group", "worker", "publisher")


def descendants(pid: int) -> dict[int, str]:
    """Return the command lines of all processes that a process has started, and those that they have, by number."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            commands[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    found: dict[int, str] = {}
    new = {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new and child not in found}
        found |= {child: commands[child] for child in new}
    return found


def kill(driver: subprocess.Popen[bytes], victim: str, dice: random.Random) -> bool:
    """Kill the driver, all processes, a worker or the publisher; return whether there was one."""
    children = descendants(driver.pid)
    if victim in ("driver", "group"):
        pids = [driver.pid, *(children if victim == "group" else [])]
    else:
        module = {"worker": "studies.running.worker", "publisher": "studies.tracking.publisher"}[victim]
        matching = [child for child, command in children.items() if module in command]
        pids = [dice.choice(matching)] if matching else []
    if driver.poll() is not None:
        return False
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(pids)


def has_ended(home: Home) -> bool:
    """Return whether every trial has ended, so that only publishing is left."""
    folder = home.study("crash")
    if not folder.record.exists() or not folder.logs():
        return False
    results = load_study("crash", home.root)
    return len(results.trials) == 32 and all(trial.state in ("complete", "pruned", "failed") for trial in results.trials)


def start(file: Path, home: Home, folder: Path) -> subprocess.Popen[bytes]:
    command = [Path(sys.executable).with_name("studies"), "run", file, "--home", home.root, "--workers", "2"]
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, start_new_session=True)


@pytest.mark.slow
def test_a_study_whose_processes_are_killed_sixty_times_is_the_undisturbed_study(
    home: Home,
    tmp_path: Path,
    reference: Table,  # noqa: F811 - a fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    file, dice = write_study(tmp_path), random.Random(7)
    n_kills, killed = 0, dict.fromkeys(VICTIMS, 0)
    n_at_the_end = 0
    while n_kills < N_KILLS:
        driver = start(file, home, tmp_path)
        while driver.poll() is None and n_kills < N_KILLS:
            at_the_end = has_ended(home)
            if not at_the_end and n_kills >= N_KILLS - N_KILLS_AT_THE_END:
                time.sleep(0.05)  # the last kills are for the end
                continue
            is_early = at_the_end or dice.random() < 0.4
            time.sleep(dice.uniform(0.0, 1.2) if is_early else dice.uniform(0.5, 2.0))
            victim = dice.choice(VICTIMS)
            if kill(driver, victim, dice):
                n_kills += 1
                killed[victim] += 1
                n_at_the_end += at_the_end
        if driver.poll() is not None and driver.returncode == 0 and n_kills < N_KILLS:
            break  # nothing is left to disturb
        if n_kills < N_KILLS:
            driver.wait(60)
    driver.wait(300)
    assert start(file, home, tmp_path).wait(300) == 0, (tmp_path / "output.txt").read_text()[-2000:]
    assert n_kills >= N_KILLS - N_KILLS_AT_THE_END, killed
    assert n_at_the_end >= 2
    assert min(killed.values()) >= 3, killed
    assert trial_table(home.root) == reference
    assert check_study(home, "crash").differences == []
    check_mlflow(home.root)
