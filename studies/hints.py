"""The commands that messages suggest, in a form that works when it is pasted."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from studies.records.home import Home


def command_line(*arguments: str, home: Home | None = None) -> str:
    """Return a `studies` command that can be pasted into the shell that started this process.

    Args:
        arguments: the name of the command, and its arguments.
        home: the home that the command must use; `--home` is added where the command would not find it otherwise.
    """
    options = [] if home is None or home == Home.find() else ["--home", short_path(home.root)]
    return shlex.join([*_program(), *arguments, *options])


def short_path(path: Path) -> str:
    """Return a path relative to the working directory if it is inside it, otherwise the path as it is."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _program() -> list[str]:
    """Return the words that start this program: `studies`, or a path if the shell would not find this `studies`."""
    script = Path(sys.executable).with_name("studies")
    found = shutil.which("studies")
    if not script.exists():
        return ["studies"] if found else [short_path(Path(sys.executable)), "-m", "studies"]
    if found and Path(found).samefile(script):
        return ["studies"]
    path = short_path(script)
    return [path if os.sep in path else f"./{path}"]
