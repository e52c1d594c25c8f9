"""What replayed studies have come to: means with intervals, the bounds, the table and the plot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from replay_sets import KeptSet

MARGIN = 1e-9


@dataclass
class Results:
    """The regrets of replayed studies.

    Attributes:
        regrets: by strategy, set and budget, one for each study seed.
    """

    regrets: dict[str, dict[str, dict[int, list[float]]]]

    def add(self, strategy: str, kept: str, budget: int, regret: float) -> None:
        """Add the regret of a study."""
        self.regrets.setdefault(strategy, {}).setdefault(kept, {}).setdefault(budget, []).append(regret)

    def budgets(self, strategy: str) -> list[int]:
        """Return the budgets of a strategy, in ascending order."""
        return sorted(next(iter(self.regrets[strategy].values())))

    @property
    def all_budgets(self) -> list[int]:
        """The budgets of all strategies, in ascending order."""
        return sorted({budget for strategy in self.regrets for budget in self.budgets(strategy)})

    def mean(self, strategy: str, budget: int) -> tuple[float, float]:
        """Return the mean regret over sets and seeds, and half the width of its 95 % interval over seeds."""
        by_seed = np.mean([each[budget] for each in self.regrets[strategy].values()], axis=0)
        half = 1.96 * by_seed.std(ddof=1) / np.sqrt(len(by_seed)) if len(by_seed) > 1 else 0.0
        return float(by_seed.mean()), float(half)

    def write(self, file: Path) -> None:
        """Write all regrets as JSON."""
        file.write_text(json.dumps(self.regrets), encoding="utf-8")


def bounds(results: Results, ours: str, random: str, optuna: str) -> list[tuple[str, bool]]:
    """Return what must hold for the defaults at the budgets that were replayed, and whether it does."""
    own, budgets = results.budgets(ours), results.budgets(random)
    checked = []
    if 10 in own and 40 in budgets:
        target, reached = results.mean(random, 40)[0], results.mean(ours, 10)[0]
        sentence = (
            f"{ours} reach with 10 trainings ({reached:.3f}) what unpruned {random} reaches with 40 ({target:.3f})"
        )
        checked.append((sentence, reached <= target + MARGIN))
    for budget in own:
        if 2 * budget in results.budgets(optuna):
            reached, other = results.mean(ours, budget)[0], results.mean(optuna, 2 * budget)[0]
            sentence = f"{optuna} with {2 * budget} trainings ({other:.3f}) are not better than {ours} with {budget}"
            checked.append((f"{sentence} ({reached:.3f})", other >= reached - MARGIN))
    return checked


def markdown(results: Results, kept: Sequence[KeptSet]) -> str:
    """Return a table of the mean regret by strategy and budget."""
    budgets = results.all_budgets
    lines = [
        f"Mean regret over {', '.join(each.name for each in kept)}, with 95 % intervals over the study seeds.",
        "",
        f"| strategy | {' | '.join(f'{budget} trainings' for budget in budgets)} |",
        f"|---|{'---|' * len(budgets)}",
    ]
    for strategy in results.regrets:
        known = results.budgets(strategy)
        cells = ["{:.3f} ± {:.3f}".format(*results.mean(strategy, b)) if b in known else "" for b in budgets]
        lines.append(f"| {strategy} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(results: Results, file: Path) -> None:
    """Draw the mean regret of each strategy against the budget."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(7, 4.5), layout="constrained")).subplots()
    for strategy in results.regrets:
        budgets = results.budgets(strategy)
        means, halves = zip(*(results.mean(strategy, budget) for budget in budgets), strict=True)
        axes.errorbar(budgets, means, halves, marker="o", capsize=2, label=strategy)
    axes.set(xscale="log", xlabel="budget (full trainings)", ylabel="mean regret (1: a typical configuration)")
    axes.set_xticks(results.all_budgets, [str(budget) for budget in results.all_budgets])
    axes.minorticks_off()
    axes.legend(fontsize="small")
    figure.savefig(file, dpi=150)
