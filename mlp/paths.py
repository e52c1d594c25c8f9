"""Dotted paths such as `optimizer.learning_rate`: the one spelling of a field inside nested tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlp.errors import ConfigError, shown


def join_path(*steps: str) -> str:
    """Join the non-empty steps of a dotted path."""
    return ".".join(step for step in steps if step)


def value_at(values: Any, path: str) -> Any:
    """Return the value at a dotted path of nested tables or records, or None if there is no such field."""
    for step in path.split("."):
        values = values.get(step) if isinstance(values, Mapping) else getattr(values, step, None)
    return values


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the innermost values of nested tables by dotted path; the name of a part is at the path of the part.

    Args:
        mapping: nested tables, as `to_mapping` returns them.
        prefix: the dotted path of the mapping itself.
    """
    values: dict[str, Any] = {}
    for key, value in mapping.items():
        # A part's name is its value: `optimizer`, not `optimizer.name`. A data set's name is a field like any other.
        is_part_name = key == "name" and prefix not in ("", "data")
        path = prefix if is_part_name else join_path(prefix, key)
        values |= flatten(value, path) if isinstance(value, Mapping) else {path: value}
    return values


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of nested tables with the values at some dotted paths replaced.

    Outer paths are replaced first, so that `optimizer.momentum` changes the new optimizer where `optimizer` changes
    too. A part written as its bare name becomes a table when one of its fields changes.

    Raises:
        ConfigError: if a path leads through a value that is not a table.
    """
    merged: dict[str, Any] = _copy_tables(base)
    for path in sorted(changes, key=lambda path: path.count(".")):
        *steps, last = path.split(".")
        table = merged
        for depth, step in enumerate(steps):
            inner = table.setdefault(step, {})
            if isinstance(inner, str):
                inner = table[step] = {"name": inner}
            if not isinstance(inner, dict):
                raise ConfigError(f"is the value {shown(inner)} and has no fields.", path=".".join(steps[: depth + 1]))
            table = inner
        table[last] = _copy_tables(changes[path])
    return merged


def _copy_tables(value: Any) -> Any:
    return {key: _copy_tables(item) for key, item in value.items()} if isinstance(value, Mapping) else value
