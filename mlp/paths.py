"""Dotted paths such as `optimizer.learning_rate`: the one spelling of a field inside nested tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlp.errors import ConfigError


def join_path(*steps: str) -> str:
    """Join the non-empty steps of a dotted path."""
    return ".".join(step for step in steps if step)


def value_at(values: Any, path: str) -> Any:
    """Return the value at a dotted path of nested tables or records, or None if there is no such field."""
    for step in path.split("."):
        values = values.get(step) if isinstance(values, Mapping) else getattr(values, step, None)
    return values


def flatten(mapping: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return the leaves of nested tables by dotted path; a part's name is at the part's own path."""
    leaves: dict[str, Any] = {}
    for key, value in mapping.items():
        path = above if key == "name" and above and above != "data" else join_path(above, key)
        leaves |= flatten(value, path) if isinstance(value, Mapping) else {path: value}
    return leaves


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested tables with the values at some dotted paths replaced, outer paths first.

    Raises:
        ConfigError: if a path leads through a value that is not a table.
    """
    merged: dict[str, Any] = _copy(base)
    for path in sorted(changes, key=lambda path: path.count(".")):
        *steps, last = path.split(".")
        table = merged
        for depth, step in enumerate(steps):
            inner = table.setdefault(step, {})
            if isinstance(inner, str):  # a part written as its bare name
                inner = table[step] = {"name": inner}
            if not isinstance(inner, dict):
                raise ConfigError(f"is the value {inner!r} and has no fields.", path=".".join(steps[: depth + 1]))
            table = inner
        table[last] = _copy(changes[path])
    return merged


def _copy(value: Any) -> Any:
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, Mapping) else value
