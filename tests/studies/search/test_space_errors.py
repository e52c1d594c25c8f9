"""The errors for mistakes in `[space]`."""

from __future__ import annotations

from typing import Any

import pytest

from mlp.activations import activations
from mlp.config import TrainConfig
from mlp.errors import ConfigError
from studies.search.space import Space
from tests.studies.search.space_data import DESIGN, space


def refusal(table: dict[str, Any] | str, changes: dict[str, Any] | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        space(table, changes)
    return str(error.value)


REFUSALS: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown field": (
        '"optimizer.momentun" = [0.5]',
        {"optimizer": {"name": "sgd", "momentum": 0.9}},
        '"optimizer.momentun": is not a field of [base]. Did you mean "optimizer.momentum"?',
    ),
    "unknown section": (
        '"netwrk.activation" = ["relu"]',
        {},
        '"netwrk.activation": is not a field of [base]. Did you mean "network.activation"?',
    ),
    "field below a number": (
        '"batch_size.low" = [1]',
        {},
        '"batch_size.low": is not a field of [base]. Did you mean "batch_size"?',
    ),
    "field of one choice only": (
        'optimizer = ["adam", "sgd"]\n"optimizer.momentum" = { low = 0.0, high = 0.9 }',
        {},
        (
            '"optimizer.momentum": is not a field of [base], because "adam" has none. '
            'Guard it with when = { "optimizer" = ... }, or remove that choice.'
        ),
    ),
    "guard that admits too much": (
        (
            'optimizer = ["adam", "sgd"]\n'
            '"optimizer.momentum" = { low = 0.0, high = 0.9, when = { optimizer = ["adam", "sgd"] } }'
        ),
        {},
        (
            '"optimizer.momentum": is not a field of [base], because "adam" has none. '
            'Guard it with when = { "optimizer" = ... }, or remove that choice.'
        ),
    ),
    "low that the field refuses": (
        '"optimizer.learning_rate" = { low = 0.0, high = 0.9 }',
        {},
        '"optimizer.learning_rate": must be above 0, got 0.0.',
    ),
    "high that the field refuses": (
        '"network.activation" = ["leaky_relu"]\n"network.activation.slope" = { low = 0.0, high = 1.5 }',
        {},
        '"network.activation.slope": must be at least 0 and at most 1, got 1.5.',
    ),
    "choice that the field refuses": ("batch_size = [32, 0]", {}, '"batch_size": must be at least 1, got 0.'),
    "field that contradicts another at one end": (
        '"network.initializer.low" = { low = -1.0, high = 1.0 }',
        {"network": {"initializer": {"name": "uniform"}}},
        '"network.initializer.low": must not be above high = 0.05, got 1.0.',
    ),
    "fraction for a whole number": (
        "batch_size = { low = 1.5, high = 3 }",
        {},
        '"batch_size": must be a whole number, got 1.5.',
    ),
    "log from zero": (
        '"optimizer.weight_decay" = { low = 0.0, high = 0.9, log = true }',
        {},
        '"optimizer.weight_decay": log = true needs low > 0, got low = 0.0.',
    ),
    "log with step": (
        "batch_size = { low = 16, high = 64, log = true, step = 16 }",
        {},
        '"batch_size": log = true and step cannot be combined. Remove one of them.',
    ),
    "log that is no boolean": (
        "batch_size = { low = 16, high = 64, log = 2 }",
        {},
        '"batch_size": log must be true or false, got 2.',
    ),
    "step off the range": (
        "batch_size = { low = 16, high = 64, step = 20 }",
        {},
        '"batch_size": high must be low plus a whole number of steps, got 16 to 64 by 20.',
    ),
    "step of zero": (
        "batch_size = { low = 16, high = 64, step = 0 }",
        {},
        '"batch_size.step": must be above 0, got 0.',
    ),
    "low above high": (
        "batch_size = { low = 64, high = 16 }",
        {},
        '"batch_size": low must not be above high, got low = 64 and high = 16.',
    ),
    "no low": ("batch_size = { high = 16 }", {}, '"batch_size": has no low; a range needs low and high.'),
    "no high": ("batch_size = { low = 16 }", {}, '"batch_size": has no high; a range needs low and high.'),
    "unknown key": (
        "batch_size = { low = 16, high = 64, stp = 16 }",
        {},
        (
            '"batch_size": "stp" is not a valid key here. Did you mean "step"? '
            "A searched path takes a list of choices, or low and high with log or step; and when."
        ),
    ),
    "choices with a range": (
        "batch_size = { choices = [16], high = 64 }",
        {},
        (
            '"batch_size": "high" is not a valid key here. '
            "A searched path takes a list of choices, or low and high with log or step; and when."
        ),
    ),
    "plain value": (
        "batch_size = 64",
        {},
        '"batch_size": must be a list of choices or a table with low and high, got 64.',
    ),
    "no choice": ("batch_size = []", {}, '"batch_size": choices must be a list of at least one value, got [].'),
    "number twice": ("batch_size = [32, 64, 32]", {}, '"batch_size": 32 appears twice among the choices.'),
    "part twice": (
        'optimizer = [{ name = "adam" }, "adam"]',
        {},
        "\"optimizer\": 'adam' appears twice among the choices.",
    ),
    "list twice": (
        '"network.hidden" = [[8, 4], [8, 4]]',
        {},
        "\"network.hidden\": '8-4' appears twice among the choices.",
    ),
    "range of parts": (
        "optimizer = { low = 1, high = 2 }",
        {},
        '"optimizer": is not a number, so it needs a list of choices instead of a range.',
    ),
    "unknown part": (
        '"network.activation" = ["rely"]',
        {},
        (
            '"network.activation": there is no activation called "rely". Did you mean "relu"? '
            f"Available: {', '.join(activations)}."
        ),
    ),
    "unknown field of a part": (
        '"network.activation" = [{ name = "leaky_relu", slop = 0.1 }]',
        {},
        (
            '"network.activation.slop": is not a field of the activation "leaky_relu". Did you mean "slope"? '
            "Available: slope."
        ),
    ),
    "unquoted path": (
        "optimizer.learning_rate = { low = 0.1, high = 1.0 }",
        {},
        ('"optimizer": needs low and high, or choices. If you mean "optimizer.learning_rate", quote the dotted path.'),
    ),
    "unquoted path of three steps": (
        "network.hidden.depth = { low = 1, high = 3 }",
        {},
        '"network": needs low and high, or choices. If you mean "network.hidden.depth", quote the dotted path.',
    ),
    "condition that is no table": (
        'batch_size = { choices = [32], when = "sgd" }',
        {},
        '"batch_size": when must be a table such as { optimizer = "sgd" }, got \'sgd\'.',
    ),
    "condition on an unknown path": (
        'batch_size = { choices = [32], when = { optimzer = "sgd" } }',
        {},
        '"batch_size": when: "optimzer" is not a field of [base]. Did you mean "optimizer"?',
    ),
    "condition on an unknown choice": (
        'optimizer = ["adam", "sgd"]\nbatch_size = { choices = [32], when = { optimizer = "sdg" } }',
        {},
        '"batch_size": when: \'sdg\' is not a choice of "optimizer". Available: adam, sgd.',
    ),
    "condition on a range": (
        '"network.dropout" = { low = 0, high = 0.5 }\nbatch_size = { choices = [32], when = { network.dropout = 0 } }',
        {},
        '"batch_size": when: "network.dropout" is a range without a step, but a condition needs separate values.',
    ),
    "condition on a number outside the range": (
        "epochs = { low = 1, high = 3 }\nbatch_size = { choices = [32], when = { epochs = 4 } }",
        {},
        '"batch_size": when: 4 is not a choice of "epochs". Available: 1, 2, 3.',
    ),
    "condition on itself": (
        "batch_size = { choices = [32, 64], when = { batch_size = 64 } }",
        {},
        '"batch_size": the conditions in `when` are circular.',
    ),
    "conditions in a circle": (
        (
            "epochs = { choices = [5, 10], when = { batch_size = 64 } }\n"
            "batch_size = { choices = [32, 64], when = { epochs = 5 } }"
        ),
        {},
        '"batch_size": the conditions in `when` are circular.',
    ),
}


@pytest.mark.parametrize("mistake", REFUSALS)
def test_the_error_of_a_mistake_explains_it(mistake: str) -> None:
    table, changes, text = REFUSALS[mistake]
    assert refusal(table, changes) == text


@pytest.mark.parametrize("end", ["nan", "inf", "true", '"0.5"'])
def test_the_ends_of_a_range_must_be_finite_numbers(end: str) -> None:
    message = refusal(f'"optimizer.weight_decay" = {{ low = 0.0, high = {end} }}')
    assert message.startswith('"optimizer.weight_decay": must be ')


def test_every_two_choices_are_checked_together_if_their_conditions_allow_it() -> None:
    table = {
        "batch_size": [64, 1],
        "optimizer": ["adam", "sgd"],
        "optimizer.nesterov": {"choices": [False, True], "when": {"optimizer": "sgd"}},
        "network.normalization": ["none", "layer"],
    }
    examples = Space(table, TrainConfig.from_mapping(DESIGN["base"])).examples
    tried = {
        (e.config.batch_size, e.config.optimizer.name, getattr(e.config.optimizer, "nesterov", None)) for e in examples
    }
    assert tried == {(b, *o) for b in (64, 1) for o in (("adam", None), ("sgd", False), ("sgd", True))}
    assert len({e.config for e in examples}) == len(examples)


def test_choices_that_exclude_each_other_are_refused_unless_a_condition_separates_them() -> None:
    base = TrainConfig.from_mapping(DESIGN["base"])
    batch = {"network.normalization": ["none", "batch"]}
    with pytest.raises(ConfigError) as refusal:
        Space(batch | {"batch_size": [64, 1]}, base)
    assert str(refusal.value) == (
        '"batch_size": must be at least 2 with batch normalization, which needs several examples, got 1. '
        "This happens with batch_size = 1 and network.normalization = batch. "
        "Guard one of them with `when`, or remove it."
    )
    guarded = {"choices": [64, 1], "when": {"network.normalization": "none"}}
    assert len(Space(batch | {"batch_size": guarded}, base).examples) == 3
