"""The MLflow processes that publishing and browsing start, protected from the working directory."""

from __future__ import annotations

import sys
from pathlib import Path


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module; `-P` keeps it from importing files of the working directory."""
    return [sys.executable, "-P", "-m", module, *arguments]


def neutral_directory() -> Path:
    """Return a working directory without modules: Uvicorn imports from its working directory in spite of `-P`."""
    return Path(sys.prefix)
