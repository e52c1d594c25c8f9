"""The publisher: a process beside the driver that mirrors a study to MLflow, and the driver's handle on it.

The driver never waits for MLflow. It writes orders, a line each, into the publisher's standard input:

    ended       all trials have ended: publish them and draw the plots, while the driver closes down
    finish      everything has been written: publish it, with the study's artifacts, and leave
    interrupt   the study stops here: publish what there is, mark what runs as interrupted, and leave

The end of its input tells the publisher that the driver has died. It says how it stands in lines of JSON, one
whenever that changes: `starting`, `publishing`, `pending` with the error that keeps it from publishing, and
`drained` before it leaves with exit code 0.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from studies.records.home import Home, StudyFolder

if TYPE_CHECKING:
    from studies.tracking.mirror import Mirror

ENDED, FINISH, INTERRUPT, ORPHANED = "ended", "finish", "interrupt", "orphaned"
LEAVE = (FINISH, INTERRUPT, ORPHANED)
LEFT_OVER = 3  # the exit code when something is left to publish
# Beside busy workers a niceness of 10 leaves it a tenth of a core, one of 19 a hundredth, and whatever they leave idle.
NICENESS_AT_START, NICENESS = 10, 19
PAUSE_SECONDS, LAST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.5, 0.4, 15.0
LAST_TRIALS = 8  # while these run it pauses least, so that little is left when they have ended
REST = 4  # in between, it rests this many times as long as it has worked
RETRY_SECONDS = 4.0
EXIT_SECONDS = {INTERRUPT: 4.5, ORPHANED: 3.5}  # after that it goes, done or not
PUBLISH_SECONDS = {FINISH: 3600.0, INTERRUPT: 2.5, ORPHANED: 1.5}  # of these, for trials; then runs are closed
LOCK_SECONDS = {"": 0.0, ENDED: 0.0, FINISH: 5.0, INTERRUPT: 1.0, ORPHANED: 1.0}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishOutcome:
    """What came of publishing.

    Attributes:
        drained: whether everything is in MLflow.
        error: why not, or empty.
    """

    drained: bool
    error: str = ""


class Publisher:
    """The driver's handle on the publisher of its study."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.state: dict[str, Any] = {"state": "starting"}
        self._reader = threading.Thread(target=self._read, name="publisher-states", daemon=True)
        self._reader.start()

    @classmethod
    def start(cls, home: Home, folder: StudyFolder) -> Publisher:
        """Start the publisher of a study whose `study.json` has been written."""
        command = [sys.executable, "-m", __name__, str(home.root), folder.name]
        pipe = subprocess.PIPE
        with folder.publisher_log.open("ab") as log:
            # In a process group of its own, Ctrl-C does not reach it; the driver says what to do.
            return cls(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True, process_group=0))

    def announce_end(self) -> None:
        """Say that all trials have ended, so that little is left to do when `finish` comes; wait for nothing."""
        self._order(ENDED)

    def finish(self, timeout: float = 120.0) -> PublishOutcome:
        """Let it publish all that is left and the study's artifacts; wait until it has left."""
        return self._leave(FINISH, timeout)

    def interrupt(self, timeout: float = 5.0) -> PublishOutcome:
        """Let it publish what it can in a few seconds and mark the study as interrupted; wait until it has left."""
        return self._leave(INTERRUPT, timeout)

    def _order(self, order: str) -> None:
        if self.process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self.process.stdin.write(order + "\n")
                self.process.stdin.flush()

    def _leave(self, order: str, timeout: float) -> PublishOutcome:
        self._order(order)
        late = ""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            late = f"it was not done after {timeout:.0f} s"
        self._reader.join(1.0)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if self.process.returncode == 0 and self.state["state"] == "drained":
            return PublishOutcome(drained=True)
        died = f"the publisher ended with exit code {self.process.returncode}"
        return PublishOutcome(drained=False, error=late or str(self.state.get("error") or died))

    def _read(self) -> None:
        if self.process.stdout is not None:
            for line in self.process.stdout:
                with contextlib.suppress(ValueError):
                    self.state = json.loads(line)


class _Orders:
    """The driver's orders, read in a thread of their own; a later one overrides an earlier one."""

    def __init__(self, source: IO[bytes], give_up: Callable[[], None]) -> None:
        self.latest = ""
        self.since = time.monotonic()
        self._changed = threading.Event()
        self._source = source
        self._give_up = give_up
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Return after some seconds, or as soon as an order has come."""
        self._changed.wait(seconds)
        self._changed.clear()

    def _read(self) -> None:
        for line in self._source:
            order = line.decode(errors="replace").strip()
            if order in (ENDED, FINISH, INTERRUPT):
                self._take(order)
        self._take(ORPHANED)

    def _take(self, order: str) -> None:
        self.latest, self.since = order, time.monotonic()
        self._changed.set()
        if order in EXIT_SECONDS:
            # Whatever the main thread hangs in, a network call or an import, this thread ends the process.
            timer = threading.Timer(EXIT_SECONDS[order], self._give_up)
            timer.daemon = True
            timer.start()


class _States:
    """Tells the driver how the publisher stands, whenever that changes."""

    def __init__(self, target: IO[str]) -> None:
        self._target = target
        self._last: dict[str, str] = {"state": ""}

    @property
    def latest(self) -> str:
        """The state that was said last."""
        return self._last["state"]

    def say(self, state: str, **more: str) -> bool:
        """Say it; return whether it was news."""
        now = {"state": state, **more}
        if now == self._last:
            return False
        self._last = now
        with contextlib.suppress(OSError, ValueError):  # a dead driver does not read
            self._target.write(json.dumps(now) + "\n")
            self._target.flush()
        return True


def run(home: Home, folder: StudyFolder, orders: _Orders, states: _States) -> int:
    """Mirror the study until there is an order to leave; return the exit code."""
    from studies.tracking.mlflow_store import open_mirror, publishing_lock

    mirror = open_mirror(home, folder)
    lock = publishing_lock(folder)
    is_rehearsed = False
    while True:
        order = orders.latest
        try:
            lock.acquire(timeout=LOCK_SECONDS[order])
            if order in LEAVE:
                if states.latest == "pending":
                    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "2"  # one last try, and a quick one
                return _leave(mirror, order, orders, states)
            mirror.connect()
            states.say("publishing", experiment_id=mirror.experiment_id)
            _settle_down()
            started = time.process_time()
            mirror.publish(live=True, go_on=lambda: orders.latest not in LEAVE)
            if order == ENDED or (2 * mirror.results.n_ended >= mirror.results.total and not is_rehearsed):
                is_rehearsed = True  # what drawing needs is then loaded before the end, when nobody waits for it
                gc.disable()  # more imports to come
                mirror.draw()
        except Exception as error:  # whatever it is, the study must not notice
            mirror.forget()
            _report(error, states)
            if order in LEAVE:
                return LEFT_OVER
            orders.wait(RETRY_SECONDS)
        else:
            worked = time.process_time() - started
            least = LAST_PAUSE_SECONDS if mirror.results.n_left <= LAST_TRIALS else PAUSE_SECONDS
            orders.wait(min(max(least, REST * worked), LONGEST_PAUSE_SECONDS))


def _leave(mirror: Mirror, order: str, orders: _Orders, states: _States) -> int:
    gc.disable()  # if it has not drawn yet, more imports to come, and little else
    with contextlib.suppress(OSError):  # the workers have stopped, but only root may hurry again
        os.nice(-os.nice(0))
    deadline = orders.since + PUBLISH_SECONDS[order]
    is_all = mirror.publish(live=False, go_on=lambda: orders.latest == order and time.monotonic() < deadline)
    mirror.close(artifacts=order == FINISH)
    if not is_all:
        states.say("pending", error="there was no time to publish every trial")
        return LEFT_OVER
    states.say("drained")
    return 0


def _report(error: Exception, states: _States) -> None:
    """Tell the driver in one line what is wrong, and the log at length, once."""
    from filelock import Timeout

    problem = str(error).strip().split("\n")[0] or type(error).__name__
    if isinstance(error, Timeout):
        problem = "another process is publishing this study"
    if states.say("pending", error=problem):
        logger.warning("not published yet", exc_info=error)


def _settle_down() -> None:
    """Leave the machine to the workers, and what the imports made out of the garbage collector's rounds."""
    os.nice(max(0, NICENESS - os.nice(0)))
    if not gc.isenabled():
        gc.freeze()  # it would take a quarter of the time of every call
        gc.enable()


def main(arguments: list[str]) -> NoReturn:
    """Run as `python -m studies.tracking.publisher HOME NAME`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # until everything is imported
    os.nice(NICENESS_AT_START)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    home = Home(Path(arguments[0]))
    states = _States(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # what libraries print goes to the log
    states.say("starting")

    def give_up() -> None:
        states.say("pending", error="MLflow did not answer in time")
        os._exit(LEFT_OVER)

    from studies.tracking.mlflow_store import settle_store

    # Without a buffer: its lock, held by a thread that reads, makes Python abort when an error ends it.
    orders = _Orders(os.fdopen(0, "rb", buffering=0), give_up)
    code = run(home, home.study(arguments[1]), orders, states)
    settle_store(home)
    os._exit(code)  # taking down all that MLflow has imported would take longer than publishing a dozen trials


if __name__ == "__main__":
    main(sys.argv[1:])
