"""Free layers: the search chooses the number of hidden layers, and the size of each layer separately.

A study file writes `"network.hidden" = { n_layers = { low = 1, high = 3 }, size = { low = 16, high = 256 } }`. This is
short for one entry per parameter: `network.hidden.n_layers`, `network.hidden.1`, `network.hidden.2`, and so on. A study
file may write these entries itself, to give each layer its own range. The size of a layer is searched only if the
network has this layer; this condition is added here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlp.config import NetworkConfig, Taper
from mlp.errors import ConfigError, did_you_mean
from mlp.records import Bounds, Label, field_types
from studies.search.domains import read_choices, read_range

HIDDEN = "network.hidden"
N_LAYERS = f"{HIDDEN}.n_layers"


def layer_path(number: int) -> str:
    """Return the path of the size of a hidden layer, counted from 1."""
    return f"{HIDDEN}.{number}"


def layer_number(path: str) -> int | None:
    """Return the number of the hidden layer whose size has this path; None for any other path."""
    match = re.fullmatch(rf"{re.escape(HIDDEN)}\.([1-9]\d{{0,3}})", path)
    return int(match[1]) if match else None


def field_type(path: str) -> tuple[Any, Bounds] | None:
    """Return the type and the bounds of the number of layers or of the size of a layer; None for any other path."""
    if path == N_LAYERS:
        return int, field_types(Taper)["depth"][1]
    return None if layer_number(path) is None else (int, field_types(NetworkConfig)["hidden"][1])


def sort_key(path: str) -> tuple[int, str, int]:
    """Return the place of a path among others: outer before inner, the number of layers before the layers in order."""
    number = 0 if path == N_LAYERS else layer_number(path)
    return path.count("."), path if number is None else HIDDEN, number or 0


def expand(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return `[space]` with one entry per parameter of free layers.

    Raises:
        ConfigError: if the entry of free layers has a mistake.
    """
    entry = table.get(HIDDEN)
    if not isinstance(entry, Mapping) or not {"n_layers", "size"} & entry.keys():
        return dict(table)
    for key in entry:
        if key not in ("n_layers", "size"):
            hint = did_you_mean(key, ("n_layers", "size"))
            problem = f'"{key}" is not a valid key here.{hint} Free layers have n_layers and size, without a condition.'
            raise ConfigError(problem, path=HIDDEN)
    for key in ("n_layers", "size"):
        if key not in entry:
            raise ConfigError(f"has no {key}; free layers need n_layers and size.", path=HIDDEN)
    layers = {layer_path(number): entry["size"] for number in range(1, max(_numbers(entry["n_layers"])) + 1)}
    expanded = {N_LAYERS: entry["n_layers"], **layers}
    for path in expanded:
        if path in table:
            raise ConfigError(f'is searched twice, because "{HIDDEN}" has n_layers and size.', path=path)
    return {**{path: value for path, value in table.items() if path != HIDDEN}, **expanded}


def add_conditions(entries: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the entries of `[space]` with the conditions of layers that not every network has.

    Args:
        entries: tables with `when`, by path.

    Raises:
        ConfigError: if the layers do not fit their number, or other entries search the layers as well.
    """
    layers = {path: number for path in entries if (number := layer_number(path)) is not None}
    if N_LAYERS not in entries:
        for path in layers:
            raise ConfigError(f'needs "{N_LAYERS}", the number of hidden layers, in [space].', path=path)
        return dict(entries)
    numbers = _numbers(entries[N_LAYERS])
    conditions = {layer_path(i): [n for n in numbers if n >= i] for i in range(1, max(numbers) + 1)}
    for path in entries:
        if path != N_LAYERS and path not in layers and f"{path}.".startswith(f"{HIDDEN}."):
            raise ConfigError(f'cannot be combined with "{N_LAYERS}". Remove one of them.', path=path)
        if path in layers and path not in conditions:
            raise ConfigError(f"is never used, because no network has more than {max(numbers)} layers.", path=path)
    completed = dict(entries)
    for path, allowed in conditions.items():
        if path not in entries:
            raise ConfigError(f"is missing in [space]: a network may have {max(numbers)} layers.", path=path)
        when = {} if len(allowed) == len(numbers) else {N_LAYERS: allowed}
        if entries[path]["when"] not in ({}, when):
            raise ConfigError(f'cannot have another condition than its "{N_LAYERS}". Remove `when`.', path=path)
        completed[path] = {**entries[path], "when": when}
    if entries[N_LAYERS]["when"]:
        raise ConfigError("cannot have a condition. Remove `when`.", path=N_LAYERS)
    return completed


def with_layer_paths(mapping: Mapping[str, Any], sizes: Sequence[int]) -> dict[str, Any]:
    """Return a configuration in which the hidden layers are a table with the number of layers and each size.

    Args:
        mapping: the configuration, as `to_mapping` returns it.
        sizes: the sizes of its hidden layers.
    """
    hidden = {"n_layers": len(sizes), **{str(i): size for i, size in enumerate(sizes, start=1)}}
    return {**mapping, "network": {**mapping["network"], "hidden": hidden}}


def layer_sizes(params: Mapping[str, Label], base: Sequence[int]) -> list[Label]:
    """Return the sizes of the hidden layers that parameters lead to.

    Args:
        params: the searched parameters by path, the number of layers included.
        base: the sizes of base; a layer whose parameter is missing keeps its size.
    """
    sizes = dict(enumerate(base, start=1)) | {
        number: value for path, value in params.items() if (number := layer_number(path)) is not None
    }
    return [sizes[i] for i in range(1, int(params[N_LAYERS]) + 1) if i in sizes]


def _numbers(entry: Any) -> list[int]:
    """Return the allowed numbers of layers, in ascending order."""
    table = {"choices": entry} if isinstance(entry, list) else entry
    if not isinstance(table, Mapping):
        raise ConfigError("must be a table with low and high, or a list of choices.", path=N_LAYERS)
    kind, bounds = int, field_types(Taper)["depth"][1]
    if "choices" in table:
        domain = read_choices(N_LAYERS, table["choices"], kind, bounds)
        return sorted(int(value) for value in domain.values)
    return [int(value) for value in read_range(N_LAYERS, table, kind, bounds).points()]
