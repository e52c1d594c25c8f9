"""A worker process: it computes the tasks that arrive through a pipe, and ends with the driver.

A worker never imports the caller's main module, so that scripts need no main guard, and a script that is read from
standard input or typed into a notebook works as well. Functions and classes of the caller's other modules can be sent:
each task comes with the folders in which the driver found their modules.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import studies.running.segments  # noqa: F401 - loaded while the driver reads its databases, not with the first task
from mlp.errors import ConfigError
from studies.processes import find_modules_in

OWN = {"studies", "mlp"}  # packages that a worker has imported from the right place before its first task


def pack(task: Callable[[], Any]) -> tuple[bytes, bytes]:
    """Return two messages: where to find the modules of the caller that a task needs, and the task.

    Raises:
        ConfigError: if the task needs something that the caller's main module defines.
    """
    stream = io.BytesIO()
    pickler = _Pickler(stream, pickle.HIGHEST_PROTOCOL)
    pickler.dump(task)
    search_path = [os.path.abspath(entry) for entry in sys.path] if pickler.folders else []  # noqa: PTH100
    return pickle.dumps((pickler.folders, search_path)), stream.getvalue()


class _Pickler(pickle.Pickler):
    """Notes the folder of every top-level module, other than Python's and this program's, that the content refers to.

    Attributes:
        folders: the folder that contains the module, by the module's name.
    """

    def __init__(self, stream: io.BytesIO, protocol: int) -> None:
        super().__init__(stream, protocol)
        self.folders: dict[str, str] = {}

    def reducer_override(self, value: Any) -> Any:
        name = getattr(value, "__module__", None)
        top = name.partition(".")[0] if isinstance(name, str) and callable(value) else ""
        if top == "__main__":
            title = getattr(value, "__qualname__", type(value).__qualname__)
            raise ConfigError(
                f"{title} is defined in the main module, which worker processes do not import. "
                'Define it in a module of its own and import it, or use engine="in-process".'
            )
        if top and top not in OWN and top not in sys.stdlib_module_names:
            self._note(top)
        return NotImplemented

    def _note(self, name: str) -> None:
        module = sys.modules.get(name)
        places = [*getattr(module, "__path__", ()), getattr(module, "__file__", None)]
        if places[0]:
            self.folders[name] = os.path.dirname(os.path.abspath(places[0]))  # noqa: PTH120, PTH100


def unpack(places: bytes, task: bytes) -> Callable[[], Any]:
    """Return the task in two messages from `pack`, importing its modules from where the driver has them."""
    folders, search_path = pickle.loads(places)
    new = {name: folder for name, folder in folders.items() if name not in sys.modules}
    if new:
        find_modules_in(new)
        # The caller's modules may import their neighbours. The rest of the path comes last, so it can replace nothing.
        sys.path.extend(entry for entry in search_path if entry not in sys.path)
    unpacked: Callable[[], Any] = pickle.loads(task)
    return unpacked


def main(arguments: list[str]) -> None:
    """Run as a process.

    Args:
        arguments: the number of its end of the pipe, the process id of the driver, and the bytes that the process may
            allocate, or 0 without a limit.
    """
    pipe, driver, max_memory = map(int, arguments)
    if max_memory:
        _limit_memory(max_memory)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver handles Ctrl-C
    threading.Thread(target=_exit_with, args=(driver,), daemon=True).start()
    with suppress(EOFError, OSError):  # the driver has closed the pipe, or is dead: nobody waits for an answer
        _serve(Connection(pipe))


def _limit_memory(n_bytes: int) -> None:
    """Let allocations beyond a limit fail with a `MemoryError`. Files that are mapped into memory do not count."""
    with suppress(ImportError, ValueError, OSError):  # not on this system, or above a limit that holds already
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (n_bytes, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _exit_with(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(0.5)
    os._exit(1)


def _serve(pipe: Connection) -> None:
    while True:
        places, task = pipe.recv_bytes(), pipe.recv_bytes()
        try:
            answer = pickle.dumps((unpack(places, task)(), None), pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            answer = _packed_error(error)
        pipe.send_bytes(answer)


def _packed_error(error: Exception) -> bytes:
    error.add_note("".join(traceback.format_tb(error.__traceback__)))
    try:
        packed = pickle.dumps((None, error))
        pickle.loads(packed)  # some exceptions can be packed but not unpacked
    except Exception:
        return pickle.dumps((None, RuntimeError("".join(traceback.format_exception(error)))))
    return packed
