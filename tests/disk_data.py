"""A small file system of its own, which a test can fill, empty and take away."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def mount(folder: Path, options: str) -> None:
    """Mount a file system in memory, or change the options of one."""
    answer = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if answer.returncode:
        pytest.skip(f"a file system in memory cannot be mounted here: {answer.stderr.strip()}")


@contextmanager
def small_disk(folder: Path, size: str, access: str = "rw") -> Iterator[Path]:
    """Yield a folder with limited room, such as `400k`; with `ro` as access it is read-only from the first moment."""
    folder.mkdir(exist_ok=True)
    mount(folder, f"size={size},{access}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
