"""The program's own processes: workers and the publisher. Nothing in the working directory can change what they import.

`python -m MODULE` searches the working directory first, so that a file `json.py` in it would be executed, and
`multiprocessing` imports the caller's main module again. This file, run as a script, does neither: with `-P` Python
leaves the working directory out, and `studies` and `mlp` come from the place where this process found them, whether
that is an installation, a checkout on `PYTHONPATH`, or the folder of the caller's script.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH120, PTH100 - pathlib is slow to import


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command that calls `main(arguments)` of a module of this program in a new process."""
    return [sys.executable, "-P", os.path.join(FOLDER, "studies", "processes.py"), module, *arguments]  # noqa: PTH118


def child_environment(**changes: str) -> dict[str, str]:
    """Return the environment of a new process: this one's, without settings that are meant for the caller's code.

    `PYTHONWARNINGS=error` would let a library fail that only warns, and a Python started by MLflow would search the
    working directory.

    Args:
        changes: variables to set.
    """
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONWARNINGS", "PYTHONINSPECT")}
    return own | {"PYTHONSAFEPATH": "1"} | changes


def find_modules_in(folders: Mapping[str, str]) -> None:
    """Import some top-level modules from given folders, wherever Python would find them.

    Args:
        folders: the folder that contains the module, by the module's name.
    """
    sys.meta_path.insert(0, _Finder(folders))


class _Finder:
    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = dict(folders)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        folder = self._folders.get(fullname)
        return None if folder is None else PathFinder.find_spec(fullname, [folder])


if __name__ == "__main__":
    find_modules_in({"studies": FOLDER, "mlp": FOLDER})
    importlib.import_module(sys.argv[1]).main(sys.argv[2:])
