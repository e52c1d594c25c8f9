"""The parts of a date that a network can use: days, year, and month, weekday and hour as points on a circle."""

from __future__ import annotations

import numpy as np

from mlp.arrays import Array

DAY = 86_400.0  # seconds
CYCLES = ("month", "weekday", "hour")


def days_and_years(seconds: Array) -> Array:
    """Return the days since 1970 and the year of some moments, float64 of shape (n, 2); NaN where they are missing.

    Args:
        seconds: seconds since 1970-01-01 UTC, float64 of shape (n,); NaN for a missing date.
    """
    moments = _moments(seconds)
    years = moments.astype("datetime64[Y]").astype(np.int64) + 1970.0
    return np.column_stack([seconds / DAY, np.where(np.isnan(seconds), np.nan, years)])


def cyclic_parts(seconds: Array, *, with_hour: bool) -> Array:
    """Return sine and cosine of month, weekday and (if wanted) hour, shape (n, 4 or 6); 0 where the date is missing."""
    moments = _moments(seconds)
    months = moments.astype("datetime64[M]").astype(np.int64) % 12
    weekdays = (moments.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    parts = [months / 12.0, weekdays / 7.0]
    if with_hour:
        parts.append(np.where(np.isnan(seconds), 0.0, seconds) % DAY / DAY)
    angles = 2.0 * np.pi * np.column_stack(parts)
    circle = np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(len(seconds), -1)
    circle[np.isnan(seconds)] = 0.0
    return circle


def hour_varies(seconds: Array) -> bool:
    """Return whether the moments have different times of day."""
    times = seconds[~np.isnan(seconds)] % DAY
    return bool(len(times) and (times != times[0]).any())


def _moments(seconds: Array) -> Array:
    """Return moments as datetime64; a missing one is 1970-01-01."""
    return np.floor(np.where(np.isnan(seconds), 0.0, seconds)).astype(np.int64).astype("datetime64[s]")
