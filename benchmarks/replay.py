"""Replays search strategies on kept learning curves: the regret of each against the epochs that it spends.

    python benchmarks/replay.py [--quick] [--sets digits mnist] [--samplers tpe] [--pruners asha] [--seeds 50]

At least 300 random configurations of seven data sets are trained in full once (`replay_curves.py`, about half an
hour of one core; what is in the cache is not trained again). Then studies are replayed on the curves: with the real
samplers, pruners and decisions, in virtual time, without training.

Regret is the true value of the best configuration of the set minus that of the one that a study chooses, divided by the
same difference for the median configuration, so that 1 is a typical configuration. It is averaged over the sets. The
choice of a study is the best of its three best complete trials by the true value, a mean over trainings; a real study
confirms its winner in the same way.

Writes a Markdown table and a plot of the regret against the budget beside the curves, and prints the table. The exit
status is 1 if a bound on the defaults does not hold.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import optuna
from replay_curves import N_CONFIGURATIONS, NAMES, load_spec, read_curves, train_curves
from replay_report import Results, bounds, markdown, plot
from replay_sets import KeptSet
from replay_study import Strategy, replay

from studies.search.pruners import Median, NoPruner, pruners
from studies.search.samplers import Random, Tpe, samplers

BUDGETS = (5, 10, 20, 40)  # trainings
RANDOM, OPTUNA, DEFAULTS = "random search", "Optuna's defaults", "our defaults"


def main() -> int:
    from platformdirs import user_cache_path

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--sets", nargs="+", default=list(NAMES), choices=NAMES, metavar="SET")
    parser.add_argument("--samplers", nargs="*", default=["random", "quasi_random", "tpe"], metavar="NAME")
    parser.add_argument(
        "--pruners", nargs="*", default=["none", "median", "successive_halving", "asha"], metavar="NAME"
    )
    parser.add_argument(
        "--seeds", type=int, default=50, metavar="N", help="studies of the defaults and the baselines (default 50)"
    )
    parser.add_argument("--fewer-seeds", type=int, default=10, metavar="N", help="of each combination (default 10)")
    parser.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS), metavar="N", help="of studies")
    parser.add_argument("--quick", action="store_true", help="the defaults and the baselines only, fewer studies")
    parser.add_argument("--configurations", type=int, default=N_CONFIGURATIONS, metavar="N")
    parser.add_argument("--cache", type=Path, default=user_cache_path("mlp-studies") / "replay")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    kept = []
    for name in options.sets:
        train_curves(name, options.cache, options.configurations)
        spec = load_spec(name, options.cache)
        kept.append(KeptSet.of(name, spec, read_curves(options.cache / f"{name}.jsonl")))
    combined = [] if options.quick else [(s, p) for s in options.samplers for p in options.pruners]
    results = Results({})
    for name, strategy in strategies(combined).items():
        start = time.perf_counter()
        for each in kept:
            for seed in range(n_seeds(name, options)):
                for budget, regret in regrets(each, strategy, options.budgets, seed).items():
                    results.add(name, each.name, budget, regret)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    results.write(options.cache / "replay.json")
    table = markdown(results, kept)
    (options.cache / "replay.md").write_text(table, encoding="utf-8")
    plot(results, options.cache / "replay.png")
    print(table)
    checked = bounds(results, DEFAULTS, RANDOM, OPTUNA)
    for sentence, holds in checked:
        print(f"{'holds' if holds else 'FAILS'}: {sentence}")
    return 0 if all(holds for _, holds in checked) else 1


def n_seeds(strategy: str, options: argparse.Namespace) -> int:
    """Return how many studies of a strategy are replayed: more of the baselines and the defaults, which have bounds."""
    fewer = options.quick or strategy not in (RANDOM, OPTUNA, DEFAULTS)
    return int(min(options.seeds, options.fewer_seeds) if fewer else options.seeds)


def strategies(combined: list[tuple[str, str]]) -> dict[str, Strategy | None]:
    """Return the baselines, the defaults, and every combination of a sampler and a pruner, by name.

    Args:
        combined: the names of samplers and pruners.

    Returns:
        None stands for what the study file of each set says.

    Raises:
        ConfigError: if there is no such sampler or pruner.
    """
    named: dict[str, Strategy | None] = {
        RANDOM: Strategy(Random(), NoPruner(), parallelism=1, is_script=True),
        OPTUNA: Strategy(Tpe(), Median(), parallelism=1, is_script=True),
        DEFAULTS: None,
    }
    for sampler, pruner in combined:
        named[f"{sampler}, {pruner}"] = Strategy(samplers.lookup(sampler)(), pruners.lookup(pruner)())
    return named


def regrets(kept: KeptSet, strategy: Strategy | None, budgets: list[int], seed: int) -> dict[int, float]:
    """Return the regret by budget.

    Args:
        kept: the set.
        strategy: how to search; None for what the study file of the set says.
        budgets: the budgets of studies. A script does not know its budget, so one run has all of `BUDGETS` in it.
        seed: the seed of the studies.
    """
    study = kept.spec.study
    strategy = strategy or Strategy(study.sampler, study.pruner, study.parallelism)
    if not strategy.is_script:
        return {budget: replay(kept, strategy, budget, seed).regret(kept) for budget in budgets}
    outcome = replay(kept, strategy, BUDGETS[-1], seed)
    return {budget: outcome.regret(kept, budget * kept.spec.base.epochs) for budget in BUDGETS}


if __name__ == "__main__":
    sys.exit(main())
