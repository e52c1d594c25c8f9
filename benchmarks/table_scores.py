"""The comparison in `tables.py`: scores per table, ranks, wins beyond noise, times, and the bounds that must hold."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

T_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}  # by the number of seeds
LARGEST_GAP = 0.3  # points that our mean score may be below that of RealMLP-TD-S
LEAST_SPEED = 5.0  # times as fast as RealMLP-TD-S


@dataclass(frozen=True)
class Scores:
    """The results of all contestants on all tables.

    Attributes:
        tasks: the task of each table, by its name.
        scores: the score in percent of each seed, by contestant and table.
        seconds: the CPU seconds of the fit of each seed, by contestant and table.
    """

    tasks: Mapping[str, str]
    scores: Mapping[str, Mapping[str, list[float]]]
    seconds: Mapping[str, Mapping[str, list[float]]]

    @classmethod
    def of(cls, results: Iterable[Mapping[str, Any]]) -> Scores:
        """Return the results on those tables on which all contestants have the same seeds."""
        lines = sorted(results, key=lambda line: line["seed"])
        tasks = {line["table"]: line["task"] for line in lines}
        contestants = list(dict.fromkeys(line["contestant"] for line in lines))
        seeds: dict[tuple[str, str], list[int]] = {}
        for line in lines:
            seeds.setdefault((line["contestant"], line["table"]), []).append(line["seed"])
        complete = [t for t in tasks if len({tuple(seeds.get((name, t), ())) for name in contestants}) == 1]

        def collect(key: str) -> dict[str, dict[str, list[float]]]:
            values = {name: {table: [] for table in complete} for name in contestants}
            for line in lines:
                if line["table"] in complete:
                    values[line["contestant"]][line["table"]].append(line[key])
            return values

        return cls({table: tasks[table] for table in complete}, collect("score"), collect("seconds"))

    def mean(self, contestant: str, task: str = "") -> float:
        """Return the mean score over all tables, or those of one task."""
        tables = self.scores[contestant].items()
        chosen = [
            statistics.mean(values) for table, values in tables if self.tasks[table] == (task or self.tasks[table])
        ]
        return statistics.mean(chosen) if chosen else math.nan

    def time(self, contestant: str) -> float:
        """Return the CPU seconds of a fit: the median over the seeds, the mean over the tables."""
        return statistics.mean(map(statistics.median, self.seconds[contestant].values()))

    def rank(self, contestant: str, among: Sequence[str]) -> float:
        """Return the mean rank among some contestants, by the mean score of each table; equal scores share a rank."""
        ranks = []
        for table in self.tasks:
            own, *others = (
                round(statistics.mean(self.scores[name][table]), 9)
                for name in (contestant, *(name for name in among if name != contestant))
            )
            ranks.append(1.0 + sum(1.0 if other > own else 0.5 * (other == own) for other in others))
        return statistics.mean(ranks)

    def duel(self, contestant: str, other: str) -> tuple[int, int]:
        """Return on how many tables a contestant is better, and worse, than another beyond noise.

        A difference is beyond noise if the 95 % interval of its mean, paired over the seeds, does not contain 0.
        """
        wins = losses = 0
        for table in self.tasks:
            pairs = zip(self.scores[contestant][table], self.scores[other][table], strict=True)
            differences = [mine - theirs for mine, theirs in pairs]
            n, mean = len(differences), statistics.mean(differences)
            if n > 1 and abs(mean) > T_95[n] * statistics.stdev(differences) / math.sqrt(n):
                wins, losses = wins + (mean > 0), losses + (mean < 0)
        return wins, losses


def report(scores: Scores) -> list[str]:
    """Return the lines of the comparison."""
    names = list(scores.scores)
    lines = [f"{'table':16}{'task':8}" + "".join(f"{name:>10}" for name in names)]
    for table, task in scores.tasks.items():
        values = "".join(f"{statistics.mean(scores.scores[name][table]):10.2f}" for name in names)
        lines.append(f"{table:16}{task:8}{values}")
    lines.append("")
    head = f"{'contestant':12}{'accuracy':>10}{'R2':>8}{'all':>8}{'rank':>7}{'CPU s':>9}{'of RealMLP':>12}"
    lines.append(f"{head}   ours: wins-losses beyond noise")
    fixed = [name for name in names if name != "searched"]
    for name in names:
        means = "".join(
            f"{scores.mean(name, task):{width}.2f}" for task, width in (("classes", 10), ("values", 8), ("", 8))
        )
        ratio = scores.time(name) / scores.time("realmlp") if "realmlp" in names else math.nan
        among = fixed if name in fixed else ["searched", *(other for other in fixed if other != "ours")]
        duel = "-".join(map(str, scores.duel("ours", name))) if name != "ours" and "ours" in names else ""
        lines.append(f"{name:12}{means}{scores.rank(name, among):7.2f}{scores.time(name):9.2f}{ratio:12.3f}   {duel}")
    note = "Ranks are among the contestants that do not search, or with the search instead of ours."
    lines.append(f"Means over {len(scores.tasks)} tables. {note}")
    return lines


def bounds(scores: Scores) -> list[tuple[str, bool]]:
    """Return what must hold, as a sentence with the measured numbers, and whether it does; of contestants that ran."""
    names, found = list(scores.scores), []
    fixed = [name for name in names if name != "searched"]
    for other in ("sklearn", "boosting"):
        if {"ours", other} <= set(names):
            own, theirs = scores.rank("ours", fixed), scores.rank(other, fixed)
            found.append((f"mean rank {own:.2f} better than that of {other}, {theirs:.2f}", own < theirs))
    if {"ours", "realmlp"} <= set(names):
        own, theirs = scores.mean("ours"), scores.mean("realmlp")
        sentence = f"mean score {own:.2f} at most {LARGEST_GAP} below that of RealMLP-TD-S, {theirs:.2f}"
        found.append((sentence, own >= theirs - LARGEST_GAP))
        speed = scores.time("realmlp") / scores.time("ours")
        found.append((f"{speed:.1f} times as fast as RealMLP-TD-S, at least {LEAST_SPEED:g}", speed >= LEAST_SPEED))
    if {"searched", "realmlp"} <= set(names):
        own, theirs = scores.mean("searched"), scores.mean("realmlp")
        found.append((f"mean score after a search {own:.2f} above that of RealMLP-TD-S, {theirs:.2f}", own > theirs))
    return found
