"""Durations as text."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return a duration as `4.5s`, `45s`, `2m 05s` or `1h 12m`."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded}s"
    if rounded < 3600:
        return f"{rounded // 60}m {rounded % 60:02d}s"
    return f"{rounded // 3600}h {rounded % 3600 // 60:02d}m"
