"""The Python processes that publishing and browsing start, protected from what surrounds them."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module; `-P` keeps it from importing files of the working directory."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment(**changes: str) -> dict[str, str]:
    """Return the environment of a child.

    The child may start Python itself, so `-P` is passed on as a variable. `PYTHONWARNINGS` is not inherited: with
    `error`, for example, the first warning of a library would end the child.
    """
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
    return inherited | {"PYTHONSAFEPATH": "1"} | changes


def neutral_directory() -> Path:
    """Return a working directory without modules: Uvicorn imports from its working directory in spite of `-P`."""
    return Path(sys.prefix)
