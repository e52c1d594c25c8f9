"""The section [confirm] of a study file: how the winner of a search is confirmed."""

from __future__ import annotations

from dataclasses import dataclass

from mlp.records import AbstractRecord, number


@dataclass(frozen=True, kw_only=True)
class ConfirmConfig(AbstractRecord):
    """How the best configurations are trained again on fresh seeds and splits.

    Attributes:
        enabled: whether they are.
        top: how many of the best configurations are candidates; base and the best pruned one are candidates too.
        seeds: on how many seeds and splits those are trained that are not clearly worse. With fewer than eight, a
            comparison of five candidates can hardly find anything. With eight, a difference of 1.5 standard deviations
            between pairs is found in 86 % of confirmations if all seeds share one validation part. If each seed draws
            its own fifth of the examples, these overlap, and it takes 30 seeds to find it in 80 % (eight: 55 %).
        equivalence: differences up to this, in units of the metric, count as none.
    """

    enabled: bool = True
    top: int = number(3, at_least=1, at_most=20)
    seeds: int = number(8, at_least=2, at_most=100)
    equivalence: float = number(0.001, at_least=0)

    @classmethod
    def error_name(cls) -> str:
        return "[confirm]"
