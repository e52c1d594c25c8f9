"""A study whose processes are killed sixty times, at random moments, ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import shutil
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
N_KILLS_AT_THE_END = 4  # of each study
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
    return len(results.trials) == 32 and all(
        trial.state in ("complete", "pruned", "failed") for trial in results.trials
    )


def wait(seconds: float, home: Home) -> None:
    """Wait; shorter if the last trial ends meanwhile, because publishing takes a second or two."""
    end, had_ended = time.monotonic() + seconds, has_ended(home)
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.05))
        if not had_ended and has_ended(home):
            end, had_ended = min(end, time.monotonic() + seconds / 4), True


def start(file: Path, home: Home, folder: Path) -> subprocess.Popen[bytes]:
    command = [Path(sys.executable).with_name("studies"), "run", file, "--home", home.root, "--workers", "2"]
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, start_new_session=True)


def storm(file: Path, home: Home, folder: Path, dice: random.Random, n_most: int) -> tuple[dict[str, int], int]:
    """Run a study to its end and kill processes meanwhile; return the kills of each victim, and how many at the end."""
    killed, n_at_the_end = dict.fromkeys(VICTIMS, 0), 0
    while True:
        driver = start(file, home, folder)
        while driver.poll() is None and sum(killed.values()) < n_most:
            if not (at_the_end := has_ended(home)) and sum(killed.values()) >= n_most - N_KILLS_AT_THE_END:
                time.sleep(0.02)  # the last kills are for the end
                continue
            if at_the_end and n_at_the_end == N_KILLS_AT_THE_END:
                break
            wait(dice.uniform(0.0, 1.2) if at_the_end or dice.random() < 0.5 else dice.uniform(0.5, 1.5), home)
            victim, at_the_end = dice.choice(VICTIMS), has_ended(home)
            if kill(driver, victim, dice):
                killed[victim] += 1
                n_at_the_end += at_the_end
        if driver.wait(300) == 0:
            return killed, n_at_the_end


@pytest.mark.slow
def test_studies_whose_processes_are_killed_sixty_times_are_the_undisturbed_study(
    home: Home,
    tmp_path: Path,
    reference: Table,  # noqa: F811 - a fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    file, dice = write_study(tmp_path), random.Random(7)
    total, n_at_the_end = dict.fromkeys(VICTIMS, 0), 0
    while sum(total.values()) < N_KILLS:  # how many kills one study takes depends on the speed of the machine
        root = tmp_path / f"home {n_at_the_end} {sum(total.values())}"
        shutil.copytree(home.root, root)
        killed, n = storm(file, Home(root), tmp_path, dice, N_KILLS - sum(total.values()))
        total = {victim: total[victim] + killed[victim] for victim in VICTIMS}
        n_at_the_end += n
        code = start(file, Home(root), tmp_path).wait(300)  # publishes what a publisher that was killed has left
        output = (tmp_path / "output.txt").read_text()[-2000:]
        assert code == 0, output
        assert trial_table(root) == reference, output
        assert check_study(Home(root), "crash").differences == [], output
        check_mlflow(root)
    assert n_at_the_end >= 2
    assert min(total.values()) >= 3, total
