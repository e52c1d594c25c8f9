"""Compares our network on 40 tables with scikit-learn's network, gradient boosting and RealMLP-TD-S.

    python benchmarks/tables.py [--contestants ours sklearn boosting realmlp] [--tables iris] [--seeds 3] [--search]

Ours is [base] of the study file that `studies init` writes, trained once on all training rows; with `--search` also the
best configuration of a search that costs as many epochs as 20 trainings. 70 % of the rows are for training, 30 % for
the score, in splits that all contestants share. All run with one thread. Results are kept, so that a run can be stopped
and resumed; `--report` shows what there is. Everything takes about an hour of CPU time on one core, most of it for
RealMLP and the search. The exit status is 1 if a bound at the end of the report does not hold.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from table_runs import read_results, run_contestants
from table_scores import Scores, bounds, report
from table_sources import MOST_SEEDS, NAMES

CONTESTANTS = ("ours", "sklearn", "boosting", "realmlp")


def main() -> int:
    from platformdirs import user_cache_path

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS)
    parser.add_argument("--tables", nargs="+", default=list(NAMES), choices=NAMES, metavar="TABLE")
    parser.add_argument("--seeds", type=int, default=3, choices=range(2, MOST_SEEDS + 1), metavar="N")
    parser.add_argument("--jobs", type=int, default=1, help="contestants at the same time (default 1)")
    parser.add_argument("--search", action="store_true", help="also search, with the epochs of 20 trainings")
    parser.add_argument(
        "--report", action="store_true", help="run nothing; report on the tables that all have finished"
    )
    parser.add_argument("--cache", type=Path, default=user_cache_path("mlp-studies") / "tables")
    options = parser.parse_args()
    contestants = [*options.contestants, *(["searched"] if options.search else [])]
    if not options.report:
        run_contestants(contestants, options.tables, options.seeds, options.cache, options.jobs)
    scores = Scores.of(read_results(contestants, options.tables, options.seeds, options.cache))
    if not scores.tasks:
        print("There is no table that all contestants have finished.")
        return 1
    print("\n".join(report(scores)))
    checked = bounds(scores)
    for sentence, holds in checked:
        print(f"{'holds' if holds else 'FAILS'}: {sentence}")
    return 0 if all(holds for _, holds in checked) else 1


if __name__ == "__main__":
    sys.exit(main())
