"""Suggestions for mistyped, abbreviated and misplaced words."""

from __future__ import annotations

import pytest

from mlp.errors import did_you_mean, nearest_word

FIELDS = ["l2", "learning_rate", "batch_size", "weight_decay", "epochs"]
PATHS = ["optimizer", "optimizer.l2", "optimizer.learning_rate", "network.hidden"]


@pytest.mark.parametrize(
    ("word", "known", "nearest"),
    [
        ("lr", FIELDS, "learning_rate"),
        ("bs", FIELDS, "batch_size"),
        ("wd", FIELDS, "weight_decay"),
        ("learningRate", FIELDS, "learning_rate"),
        ("BATCH-SIZE", FIELDS, "batch_size"),
        ("decay", FIELDS, "weight_decay"),
        ("epochen", FIELDS, "epochs"),
        ("optimizer.lr", PATHS, "optimizer.learning_rate"),
        ("lr", PATHS, "optimizer.learning_rate"),
        ("hidden", PATHS, "network.hidden"),
        ("networ.hidden", PATHS, "network.hidden"),
        ("q", FIELDS, ""),
        ("", FIELDS, ""),
        ("xyzzy", PATHS, ""),
    ],
)
def test_the_word_that_is_probably_meant_is_suggested(word: str, known: list[str], nearest: str) -> None:
    assert nearest_word(word, known) == nearest
    assert did_you_mean(word, known) == (f' Did you mean "{nearest}"?' if nearest else "")
