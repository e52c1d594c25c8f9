"""The publisher: a process of its own that mirrors a study to MLflow, and the driver's handle on it.

Why a process: MLflow is slow to import, slow to write and may hang. In a process of its own it can never delay or
break the search. The two processes share no memory and no database connection. The publisher reads the study from
its folder, exactly as `studies sync` does, so the driver passes no data to it.

The driver writes orders to the publisher's standard input, one per line:

    finish      all trials have ended: publish everything, upload the artifacts, then exit
    interrupt   the driver is stopping early: publish what is there, mark open runs as interrupted, then exit

End of input without an order means that the driver died; the publisher then does the same as for `interrupt`.

The publisher writes its state to its standard output whenever the state changes, one JSON object per line:

    {"state": "starting"}                           MLflow is being imported
    {"state": "publishing", "left": ...}            the store has been reached, `left` runs have unpublished events
    {"state": "pending", "error": ...}              the last attempt failed; it is repeated
    {"state": "closing"}                            the trials are published; the study's own run is completed
    {"state": "drained"}                            everything is published and was read back; the exit code will be 0

Until an order comes, the publisher compares the logs with the store, publishes the difference, and waits
`PAUSE_SECONDS`. A lock file keeps it and `studies sync` from publishing the same study at the same time. Being killed
at any point is harmless: the next publisher, or `studies sync`, publishes whatever is missing.

It runs at normal priority. At a lower one it would starve on a busy machine, and the driver waits for it at the end.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from studies.errors import NotPublishedError
from studies.processes import child_environment, python_command
from studies.records.addresses import MaskingFormatter
from studies.records.home import Home, StudyFolder
from studies.tracking.explanation import explain

if TYPE_CHECKING:
    from studies.tracking.mirror import Mirror

FINISH, INTERRUPT, ORPHANED = "finish", "interrupt", "orphaned"
EXIT_DRAINED, EXIT_PENDING = 0, 3
# A pass takes 20 ms of CPU per running trial. With four of them every 2 s, that is 4 % of one core; without a pause
# the publisher would keep one core busy.
PAUSE_SECONDS = 2.0
LOCK_SECONDS = 1.0  # how long it waits for a `studies sync` of the same study before it reports that as an error
FINISH_LOCK_SECONDS = 10.0  # how long at the end of a study, when an orphan of the last launch may still be publishing
FIRST_NOTICE_SECONDS, NOTICE_SECONDS, QUIET_SECONDS = 2.0, 5.0, 20.0  # how often the driver tells that it waits
POLL_SECONDS = 0.1  # how often the driver looks whether it should stop waiting
INTERRUPT_SECONDS = 5.0  # how long the driver waits after it has interrupted the end
STOP_SECONDS = 3.5  # after `interrupt` or the driver's death the process exits within this time, finished or not

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishOutcome:
    """The outcome of publishing a study.

    Attributes:
        drained: whether everything is in MLflow.
        error: the reason if not, else empty.
    """

    drained: bool
    error: str = ""


class Publisher:
    """The driver's handle on the publisher of its study.

    Args:
        process: the process, with pipes to its standard input and output.

    Attributes:
        process: as given.
        state: the last state that the process reported.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.state: dict[str, Any] = {"state": "starting"}
        self._reader = threading.Thread(target=self._read_states, name="publisher-states", daemon=True)
        self._reader.start()

    @classmethod
    def start(cls, home: Home, folder: StudyFolder) -> Publisher:
        """Start the publisher of a study whose `study.json` has been written."""
        command = python_command(__name__, str(home.root), folder.name)
        pipe = subprocess.PIPE
        with folder.publisher_log.open("ab") as log:
            # In its own process group it does not receive Ctrl-C; the driver decides what happens then.
            process = subprocess.Popen(
                command, env=child_environment(), stdin=pipe, stdout=pipe, stderr=log, text=True, process_group=0
            )
        return cls(process)

    def finish(
        self,
        timeout: float = 120.0,
        *,
        on_wait: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> PublishOutcome:
        """Have everything published, with the study's artifacts; return when the publisher has exited.

        Args:
            timeout: seconds after which it is interrupted.
            on_wait: called with a sentence if it takes long: about the progress, and again after `QUIET_SECONDS`.
            should_stop: whether to interrupt it before that.
        """
        self._send(FINISH)
        started, noticed, last = time.monotonic(), time.monotonic() + FIRST_NOTICE_SECONDS - NOTICE_SECONDS, ""
        while not self._has_exited(POLL_SECONDS):
            now = time.monotonic()
            if should_stop():
                return self._end(INTERRUPT, INTERRUPT_SECONDS, "waiting for it was interrupted")
            if now - started > timeout:
                return self._end(INTERRUPT, INTERRUPT_SECONDS, f"the publisher did not finish within {timeout:.0f} s")
            progress = self._progress()
            if on_wait is not None and now - noticed >= (QUIET_SECONDS if progress == last else NOTICE_SECONDS):
                noticed, last = now, progress
                on_wait(f"{progress} Ctrl-C leaves the rest to the next run.")
        return self._outcome("")

    def interrupt(self, timeout: float = 5.0) -> PublishOutcome:
        """Have the study marked as interrupted; return when the publisher has exited."""
        return self._end(INTERRUPT, timeout, "")

    def _progress(self) -> str:
        if "left" in self.state:
            return f"Publishing to MLflow: {self.state['left']} runs left."
        if self.state["state"] in ("closing", "drained"):
            return "Publishing to MLflow: all trials are there, the summary and the artifacts follow."
        return "Publishing to MLflow: waiting for its first answer."

    def _end(self, order: str, timeout: float, reason: str) -> PublishOutcome:
        """Send an order, and kill the process if it does not exit in time."""
        self._send(order)
        if not self._has_exited(timeout):
            self.process.kill()
            self.process.wait()
            reason = reason or f"the publisher did not finish within {timeout:.0f} s"
        return self._outcome(reason)

    def _send(self, order: str) -> None:
        if self.process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self.process.stdin.write(order + "\n")
                self.process.stdin.flush()

    def _has_exited(self, timeout: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)
        return self.process.returncode is not None

    def _outcome(self, reason: str) -> PublishOutcome:
        self._reader.join(1.0)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if self.process.returncode == EXIT_DRAINED and self.state["state"] == "drained":
            return PublishOutcome(drained=True)
        exit_error = f"the publisher ended with exit code {self.process.returncode}"
        return PublishOutcome(drained=False, error=reason or str(self.state.get("error") or exit_error))

    def _read_states(self) -> None:
        if self.process.stdout is not None:
            for line in self.process.stdout:
                with contextlib.suppress(ValueError):
                    self.state = json.loads(line)


# The rest of this module runs in the publisher's process.


class _Orders:
    """The driver's orders, read by a thread of its own; the latest one counts.

    Args:
        source: the standard input, unbuffered.
        give_up: ends the process; called when it has not exited in time by itself.

    Attributes:
        latest: `finish`, `interrupt`, `orphaned`, or empty.
    """

    def __init__(self, source: IO[bytes], give_up: Callable[[], None]) -> None:
        self.latest = ""
        self._arrived = threading.Event()
        self._source = source
        self._give_up = give_up
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Return after some seconds, or as soon as an order has arrived."""
        self._arrived.wait(seconds)

    def _read(self) -> None:
        for line in self._source:
            order = line.decode(errors="replace").strip()
            if order in (FINISH, INTERRUPT):
                self._receive(order)
        self._receive(ORPHANED)

    def _receive(self, order: str) -> None:
        self.latest = order
        self._arrived.set()
        if order != FINISH:
            # The main thread may be stuck in a network call or an import, so another thread ends the process.
            timer = threading.Timer(STOP_SECONDS, self._give_up)
            timer.daemon = True
            timer.start()


class _States:
    """Reports the publisher's state to the driver whenever it changes."""

    def __init__(self, target: IO[str]) -> None:
        self._target = target
        self._last: dict[str, str | int] = {}

    @property
    def is_pending(self) -> bool:
        """Whether the last attempt to publish failed."""
        return self._last.get("state") == "pending"

    def has_reported(self, state: str, **details: str | int) -> bool:
        """Return whether this was the last state that was reported."""
        return self._last == {"state": state, **details}

    def report(self, state: str, **details: str | int) -> None:
        """Report a state, if it is new."""
        current = {"state": state, **details}
        if current == self._last:
            return
        self._last = current
        with contextlib.suppress(OSError, ValueError):  # the driver may be dead
            self._target.write(json.dumps(current) + "\n")
            self._target.flush()


def run(home: Home, folder: StudyFolder, orders: _Orders, states: _States) -> int:
    """Mirror the study until an order arrives; carry out the order and return the exit code."""
    from studies.tracking.mlflow_store import open_mirror, publishing_lock

    mirror = open_mirror(home, folder)
    lock = publishing_lock(folder)
    while True:
        order = orders.latest
        try:
            # Kept until the process exits.
            lock.acquire(timeout=FINISH_LOCK_SECONDS if order == FINISH else LOCK_SECONDS)
            if order:
                if states.is_pending:  # the last attempt failed, so the driver waits for a short one only
                    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "2"
                _carry_out(order, home, folder, mirror, orders, states)
                return EXIT_DRAINED
            mirror.connect()
            states.report("publishing")
            mirror.publish(live=True, may_continue=lambda: not orders.latest)
        except Exception as error:  # whatever it is, the search must not notice
            mirror.forget()
            _report_error(error, states)
            if order:
                return EXIT_PENDING
        orders.wait(PAUSE_SECONDS)


def _carry_out(order: str, home: Home, folder: StudyFolder, mirror: Mirror, orders: _Orders, states: _States) -> None:
    """Publish the rest and close the runs.

    Raises:
        NotPublishedError: if there was no time for all of it, or the store did not keep it.
    """
    from studies.tracking.mirror import confirm_published
    from studies.tracking.publication import mark_published

    # Half of the time is for trials that are not published yet, the other half for closing the runs.
    deadline = time.monotonic() + (float("inf") if order == FINISH else STOP_SECONDS / 2)
    is_published = mirror.publish(
        live=False,
        may_continue=lambda: orders.latest == order and time.monotonic() < deadline,
        on_progress=lambda left: states.report("publishing", left=left),
    )
    is_finished = order == FINISH and orders.latest == order
    states.report("closing")
    mirror.close(artifacts=is_finished, is_published=is_published)
    if not is_published:
        raise NotPublishedError("there was no time to publish every trial")
    confirm_published(mirror)
    if order == FINISH and not is_finished:
        raise NotPublishedError("there was no time to upload the artifacts")
    if is_finished and mirror.results.is_complete:
        mark_published(home, folder, mirror.results)
    states.report("drained")


def _report_error(error: Exception, states: _States) -> None:
    """Report an error to the driver in one line, and once with its traceback in the log."""
    from filelock import Timeout

    problem = explain(error)
    if isinstance(error, Timeout):
        problem = "another process is publishing this study"
    if not states.has_reported("pending", error=problem):
        logger.warning("not published yet", exc_info=error)
    states.report("pending", error=problem)


def main(arguments: list[str]) -> NoReturn:
    """Run as a process whose arguments are the path of the home and the name of the study."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    handler = logging.StreamHandler()
    handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    home = Home(Path(arguments[0]))
    states = _States(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # what libraries print goes to the log, not to the driver
    states.report("starting")

    def give_up() -> None:
        states.report("pending", error="MLflow did not answer in time")
        os._exit(EXIT_PENDING)

    from studies.tracking.own_store import settle_store

    # Unbuffered, because a buffer's lock, held by the reading thread, would make Python abort at exit.
    orders = _Orders(os.fdopen(0, "rb", buffering=0), give_up)
    code = run(home, home.study(arguments[1]), orders, states)
    settle_store(home)
    # A regular exit first takes down everything that MLflow has imported: 1.4 s of CPU, while the driver waits.
    os._exit(code)
