"""The search space: what a sampler may choose, and the configuration that a choice leads to."""

from __future__ import annotations

import copy
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlp.config import TrainConfig
from mlp.errors import ConfigError
from mlp.paths import flatten, merge, value_at
from mlp.records import Label, label
from studies.search import free_layers
from studies.search.constraints import Constraints
from studies.search.domains import Choices, Params, part_name
from studies.search.parameters import Parameter, read_parameters

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

MAX_PAIRS = 20_000  # every two choices are checked together before a study begins, about a thousand per second


@dataclass(frozen=True)
class Example:
    """A configuration of the space that is checked before a study begins.

    Attributes:
        chosen: the one or two parameters that it is an example of; all others have their first allowed value.
        config: the configuration.
    """

    chosen: Params
    config: TrainConfig


class Space:
    """The searched parameters around base.

    Args:
        table: `[space]` of a study file.
        base: the configuration that it varies.

    Attributes:
        parameters: the searched parameters, each after those that its `when` names.
        examples: one for every choice and every end of a range, and for every two of these together.
        constraints: how large a configuration may be; None without limits.

    Raises:
        ConfigError: if a path, a range, a choice, or a combination of two choices does not fit base.
    """

    def __init__(self, table: Mapping[str, Any], base: TrainConfig) -> None:
        self.base = base
        self.constraints: Constraints | None = None
        self._base_mapping = base.to_mapping()
        self.parameters = read_parameters(table, base)
        self._has_free_layers = any(parameter.path == free_layers.N_LAYERS for parameter in self.parameters)
        self.examples = tuple(self._examples())  # checked here, so that no trial is refused in the middle of a study

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def constrained(self, constraints: Constraints | None) -> Space:
        """Return the same space with only the configurations that meet constraints; None allows all of them."""
        space = copy.copy(self)
        space.constraints = constraints
        return space

    def allows(self, params: Mapping[str, Label]) -> bool:
        """Return whether parameters lead to a configuration that meets the constraints."""
        return self.constraints is None or self.constraints.allow(self.configure(params))

    def check_allowed(self, params: Mapping[str, Label]) -> None:
        """Refuse parameters whose configuration violates the constraints.

        Raises:
            ConfigError: with the size of the configuration.
        """
        if self.constraints is not None and (problem := self.constraints.violation(self.configure(params))):
            raise ConfigError(f"the configuration {problem}. Choose a smaller one, or raise the limit in [study].")

    def suggest(self, trial: BaseTrial) -> Params:
        """Return the parameters that a trial suggests; those whose `when` does not hold are left out."""
        params: Params = {}
        for parameter in self.parameters:
            if parameter.applies(params):
                params[parameter.path] = parameter.domain.suggest(trial, parameter.path)
        return params

    def configure(self, params: Mapping[str, Label]) -> TrainConfig:
        """Return base with the parameters set.

        A choice that is the bare name of base's own part keeps the settings of that part. Any other choice replaces
        the part.
        """
        changes: dict[str, Any] = {}
        if free_layers.N_LAYERS in params:
            changes[free_layers.HIDDEN] = free_layers.layer_sizes(params, self.base.network.sizes())
        for parameter in self.parameters:
            if parameter.path in params and free_layers.field_type(parameter.path) is None:
                value = parameter.domain.value_of(params[parameter.path])
                base_value = value_at(self._base_mapping, parameter.path)
                is_part_of_base = isinstance(value, str) and part_name(base_value) == value
                changes[parameter.path] = base_value if is_part_of_base else value
        return TrainConfig.from_mapping(merge(self._base_mapping, changes))

    def mapping_of(self, config: TrainConfig) -> dict[str, Any]:
        """Return a configuration as nested tables that have a value at each path of the space that applies to it."""
        mapping = config.to_mapping()
        return free_layers.with_layer_paths(mapping, config.network.sizes()) if self._has_free_layers else mapping

    def distributions(self, params: Mapping[str, Label]) -> dict[str, BaseDistribution]:
        """Return Optuna's distributions of the given parameters."""
        return {p.path: p.domain.distribution() for p in self.parameters if p.path in params}

    def params_of_base(self) -> Params | None:
        """Return the parameters that lead to base itself, or None if base is outside the space."""
        params, path = self._locate_base()
        return None if path else params

    def why_base_is_outside(self) -> str:
        """Return the first path and value of base that the space does not allow; empty if base is in the space."""
        _, path = self._locate_base()
        if not path:
            return ""
        value = value_at(self.base, path)
        value = value_at(self.mapping_of(self.base), path) if value is None else value
        if value is None:
            return f'"{path}" is not set'
        return f'"{path}" = {json.dumps(label(value))}'

    def _locate_base(self) -> tuple[Params, str]:
        """Return the parameters of base, and the first path whose value is outside the space, if there is one."""
        params, mapping = Params(), self.mapping_of(self.base)
        for parameter in self.parameters:
            if parameter.applies(params):
                found = parameter.domain.label_of(value_at(mapping, parameter.path))
                if found is None:
                    return params, parameter.path
                params[parameter.path] = found
        # A choice may be the same part as base's with other settings.
        reached, base = flatten(self.mapping_of(self.configure(params))), flatten(mapping)
        different = [path for path in {**base, **reached} if reached.get(path) != base.get(path)]
        return params, next(iter(different), "")

    def to_mapping(self) -> dict[str, Any]:
        """Return the space as the study file writes it."""
        return {parameter.path: parameter.to_mapping() for parameter in self.parameters}

    def fingerprint(self) -> dict[str, str]:
        """Return everything that decides what is searched, by path, with every default included."""
        prints = {}
        for parameter in self.parameters:
            mapping = parameter.to_mapping()
            if isinstance(parameter.domain, Choices):
                mapping["choices"] = list(parameter.domain.full_values.values())
            prints[parameter.path] = str(mapping)
        return prints

    def _examples(self) -> Iterator[Example]:
        """Yield an example for every choice and every end of a range, and for every two of these together."""
        single = [(p.path, key) for p in self.parameters for key in p.domain.labels_to_check()]
        per_path = Counter(path for path, _ in single)
        n_pairs = (len(single) ** 2 - sum(n * n for n in per_path.values())) // 2
        if n_pairs > MAX_PAIRS:
            problem = f"has {n_pairs} pairs of choices, and at most {MAX_PAIRS} can be checked"
            raise ConfigError(f"{problem}. Use ranges, {{ low = ..., high = ... }}, instead of long lists.")
        pairs = ({a: x, b: y} for (a, x), (b, y) in itertools.combinations(single, 2) if a != b)
        seen = set()
        for chosen in itertools.chain(({path: key} for path, key in single), pairs):
            params = self._params_with(chosen)
            key = repr(params)
            if key not in seen and chosen.keys() <= params.keys():
                seen.add(key)
                with errors_of_choices(chosen):
                    config = self.configure(params)
                yield Example(chosen, config)

    def _params_with(self, chosen: Params) -> Params:
        """Return parameters with some of them chosen; all others have the first value that the conditions allow.

        A chosen parameter is missing in the result if the conditions of another chosen one exclude it.
        """
        by_path = {parameter.path: parameter for parameter in self.parameters}
        allowed: dict[str, tuple[Label, ...]] = {path: (key,) for path, key in chosen.items()}
        waiting = list(chosen)  # the paths whose conditions have not been added to `allowed` yet
        while waiting:
            for path, keys in by_path[waiting.pop()].when.items():
                waiting += [path] if path not in allowed else []
                allowed[path] = tuple(key for key in allowed.get(path, keys) if key in keys)
        params: Params = {}
        for parameter in self.parameters:
            keys = allowed.get(parameter.path, parameter.domain.labels_to_check())
            if keys and parameter.applies(params):
                params[parameter.path] = keys[0]
        return params


@contextmanager
def errors_of_choices(chosen: Params) -> Iterator[None]:
    """Add to every `ConfigError` raised inside the block the choices that caused it, unless its path names them.

    Args:
        chosen: the choices that the block checks, as in `Example.chosen`.
    """
    try:
        yield
    except ConfigError as error:
        if len(chosen) == 1 and f"{error.path}.".startswith(f"{next(iter(chosen))}."):
            raise
        choices = " and ".join(f"{path} = {key}" for path, key in chosen.items())
        hint = " Guard one of them with `when`, or remove it." if len(chosen) > 1 else ""
        problem = f"{error.problem} This happens with {choices}.{hint}"
        raise ConfigError(problem, path=error.path, place=error.place) from None
