"""Kills a study at its durable writes: `python kill_points.py run|publish SOURCE FOLDER FIRST STEP`.

A durable write is what Python's audit events and SQLite's statements say it is: a file of the home that is opened for
writing, renamed, removed or cut, a folder that is made, and every COMMIT. So the writes need not be listed here.

For each chosen write, a copy of this process runs the study in a new home and kills itself right before the write.
Then another copy runs the study again. A line of JSON is printed for each: the number and the name of the write, and
what the second run returned. The last line has the number of all writes.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from studies.launch import run_study
from studies.records.home import Home
from studies.running.engines import InProcess
from studies.running.segments import Segment
from studies.tracking import publisher

LAST = 4  # the last trial of the study
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CONNECT = sqlite3.connect
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree")


class Killer:
    """Counts the durable writes below a folder, and kills the process before one of them.

    Args:
        root: the folder.
        target: the number of the write, counted from 1; 0 to count only.
        report: the file that the name of the write, or the number of all writes, is written to.
    """

    def __init__(self, root: Path, target: int, report: Path) -> None:
        self.count = 0
        self._root = f"{root}{os.sep}"
        self._target = target
        self._report = report

    def watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Look at an audit event."""
        is_change = event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING)
        if is_change and str(arguments[0]).startswith(self._root):
            self.reach(f"{event} {Path(str(arguments[0])).name}")

    def connect(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        """Open a database whose statements are watched."""
        connection = CONNECT(*arguments, **options)
        connection.set_trace_callback(self.watch_statement)
        return connection

    def watch_statement(self, statement: str) -> None:
        """Look at a statement that SQLite is about to execute."""
        if statement.upper().startswith(("COMMIT", "VACUUM")):
            self.reach(statement)

    def reach(self, what: str) -> None:
        """Count a write, and kill the process if it is the chosen one."""
        self.count += 1
        if self.count == self._target:
            self._report.write_text(what)
            os.kill(os.getpid(), signal.SIGKILL)


class FailsAtTheEnd(InProcess):
    """An engine in whose hands the last trial fails at once, so that it ends without a checkpoint."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Compute a segment."""
        if isinstance(args[0], Segment) and args[0].trial == LAST:
            failed: Future[Any] = Future()
            failed.set_exception(MemoryError("no memory is left"))
            return failed
        return super().submit(fn, *args, **kwargs)


def run(source: Path, home: Home) -> str:
    """Run the study of a file without publishing; return how the launch ended."""
    return run_study(source, home=home.root, engine=FailsAtTheEnd(), publish=False).status


def publish(_: Path, home: Home) -> str:
    """Publish the study "digits" as the publisher's process does at the end of a study; return its exit code."""
    reading, writing = os.pipe()
    os.write(writing, b"finish\n")
    orders = publisher._Orders(os.fdopen(reading, "rb", buffering=0), lambda: None)
    orders.wait(10)
    states = publisher._States(sys.stderr)
    return str(publisher.run(home, home.study("digits"), orders, states))


def in_a_copy(action: Callable[[], str], report: Path) -> int:
    """Run an action in a copy of this process, and write what it returns to a file; return the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            report.write_text(action())
        except BaseException:
            report.write_text(traceback.format_exc())
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def new_home(source: Path, root: Path) -> Home:
    """Return a home to begin with: an empty one, or a copy of the source if that is a folder."""
    if source.is_dir():
        shutil.copytree(source, root)
    else:
        root.mkdir(parents=True)
    return Home(root)


def import_what_it_imports(action: Callable[[Path, Home], str], source: Path, folder: Path) -> None:
    """Import whatever an undisturbed run imports, so that the copies of this process need not do it."""
    home, names = new_home(source, folder / "undisturbed"), folder / "modules.txt"

    def name_modules() -> str:
        action(source, home)
        return "\n".join(sys.modules)

    in_a_copy(name_modules, names)
    for name in names.read_text().split():
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def main() -> None:
    """Kill the study at write FIRST, FIRST + STEP and so on, up to its last write."""
    mode, source, folder, first, step = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[4:6])
    action = {"run": run, "publish": publish}[mode]
    import_what_it_imports(action, source, folder)
    number = first
    while True:
        home = new_home(source, folder / str(number))
        report = folder / f"{number}.txt"

        def killed(home: Home = home, number: int = number, report: Path = report) -> str:
            killer = Killer(home.root, number, report)
            sys.addaudithook(killer.watch)
            sqlite3.connect = sqlite3.dbapi2.connect = killer.connect
            action(source, home)
            return f"{killer.count} writes"

        ended_by = in_a_copy(killed, report)
        what = report.read_text()
        if ended_by != -signal.SIGKILL:
            print(json.dumps({"end": what}), flush=True)
            return
        in_a_copy(lambda home=home: action(source, home), report)  # type: ignore[misc]
        print(json.dumps({"number": number, "write": what, "then": report.read_text()}), flush=True)
        number += step


if __name__ == "__main__":
    main()
