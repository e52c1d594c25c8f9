"""Checks of inputs, targets and weights: each error names what must hold, and the row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlp import ConfigError, Examples, Split

BAD_INPUTS = {
    "nan": (np.array([[0.0, 1.0], [2.0, np.nan]]), r"inputs must be finite .* got nan in row 1, column 1"),
    "inf": (np.array([[np.inf, 1.0]]), r"got inf in row 0, column 0"),
    "huge": (np.array([[1e31, 1.0]]), r"at most 1e\+30, got 1e\+31"),
    "text": (np.array([["a", "b"]]), r"inputs must be numbers, got the type <U1"),
    "objects": (np.array([[None, 1]]), r"inputs must be numbers, got the type object"),
    "a vector": (np.zeros(3), r"inputs must have shape \(n, d\), one row per example, got \(3,\)"),
    "no features": (np.zeros((3, 0)), r"inputs must have shape \(n, d\), one row per example, got \(3, 0\)"),
}


@pytest.mark.parametrize(("inputs", "message"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_inputs_that_no_network_can_take_are_refused(inputs: Any, message: str) -> None:
    examples = Examples(inputs, np.zeros(len(inputs), int), np.arange(len(inputs)))
    with pytest.raises(ConfigError, match=message):
        Split(examples, None, 2)


BAD_TARGETS = {
    "too large": (np.array([0, 3]), "classes", r"targets must be from 0 to 2, got 3 in row 1"),
    "negative": (np.array([-1, 0]), "classes", r"targets must be from 0 to 2, got -1 in row 0"),
    "fractions": (np.array([0.5, 1.0]), "classes", r"targets must be whole numbers, got the type float64"),
    "too few": (np.array([0]), "classes", r"targets must have shape \(2,\), got \(1,\)"),
    "labels of 2": (np.array([[0, 1, 2], [0, 0, 0]]), "labels", r"targets must be 0 or 1"),
    "a missing value": (np.array([[0.0, 1.0, np.nan]] * 2), "values", r"targets must be finite .* row 0, column 2"),
    "integers": (np.zeros((2, 3), int), "values", r"targets must be floating point"),
    "another width": (np.zeros((2, 2)), "values", r"targets must have shape \(2, 3\), got \(2, 2\)"),
}


@pytest.mark.parametrize(("targets", "task", "message"), BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_targets_that_do_not_fit_the_task_are_refused(targets: Any, task: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Split(Examples(np.zeros((2, 4)), targets, np.arange(2)), None, 3, task)


@pytest.mark.parametrize("weights", [np.ones(3), np.array([1.0, -1.0]), np.array([1.0, np.nan])])
def test_invalid_weights_are_refused(weights: Any) -> None:
    with pytest.raises(ConfigError, match="weights must"):
        Split(Examples(np.zeros((2, 4)), np.array([0, 1]), np.arange(2), weights=weights), None, 2)


def test_an_empty_training_part_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no example to train on"):
        Split(Examples(np.zeros((0, 4)), np.zeros(0, int), np.arange(0)), None, 2)
