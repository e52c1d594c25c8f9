"""The verdict in words, for each outcome of planted cases."""

from __future__ import annotations

import pytest

from studies.evidence.confirmation import Confirmation
from studies.evidence.verdict import Candidate, judge
from studies.evidence.words import enumeration, verdict_sentences
from studies.search.confirm_config import ConfirmConfig

CONFIG = ConfirmConfig()
NOISE = (0.004, -0.002, 0.001, -0.004, 0.003, -0.001, 0.002, -0.003)


def confirmation_of(*levels: float | None, costs: tuple[int, ...] = (1, 2, 3), missing: bool = False) -> Confirmation:
    """Return a confirmation of base and others with given means; each has the same noise, but in another order."""
    candidates = [
        Candidate(
            number,
            "best" if number else "base",
            search_value=0.95,
            cost=costs[number],
            values={
                pair: None if level is None else level + NOISE[(pair + number) % len(NOISE)]
                for pair in range(len(NOISE))
            },
        )
        for number, level in enumerate(levels)
    ]
    verdict = judge(candidates, CONFIG, sign=1.0, overlap=0.0)
    return Confirmation(tuple(candidates), ((0, 8),) if missing else (), verdict)


@pytest.mark.parametrize(
    ("confirmation", "expected"),
    [
        (
            confirmation_of(0.8, 0.9, 0.85),
            [
                "Trial 1 is better than all other candidates.",
                "It is better than base by 0.1000 [0.09",
                "trial 1 reached",
            ],
        ),
        (
            confirmation_of(0.8, 0.9, 0.8995, costs=(1, 2, 1)),
            ["Trial 1 is better than base by 0.1000 [", "Trial 2 may be as good.", "Trial 2 is chosen, because it is"],
        ),
        (
            confirmation_of(0.9, 0.9005),
            [
                "No trial was shown to be better than base.",
                "Trial 1 is ahead by 0.0005 [",
                "which may be chance (p = ",
                "Base is chosen, because it is within one standard error of trial 1.",
                "would have been found with a probability of 80 %",
            ],
        ),
        (
            confirmation_of(0.9, 0.903),
            ["Trial 1 is chosen nevertheless, because base is more than one standard error behind."],
        ),
        (confirmation_of(0.9, 0.8), ["No trial is better than base, which has the best mean: 0.9000."]),
        (
            confirmation_of(None, 0.9, 0.8),
            ["Trial 1 is better than all other candidates. It is better than base, which could not be trained."],
        ),
        (confirmation_of(None), ["Nothing could be confirmed, because every candidate diverged or failed."]),
        (confirmation_of(0.9, 0.8, missing=True), ["The winner is not confirmed yet. Trainings so far: 16."]),
    ],
)
def test_a_verdict_in_words(confirmation: Confirmation, expected: list[str]) -> None:
    text = " ".join(verdict_sentences(confirmation))
    for part in expected:
        assert part in text


def test_items_are_enumerated_as_in_a_sentence() -> None:
    assert [enumeration(items) for items in ([1], [1, 2], ["a", "b", "c"])] == ["1", "1 and 2", "a, b and c"]
