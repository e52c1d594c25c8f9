"""Runs experiments/digits.toml with several study seeds and splits, and evaluates the best trials on the test set.

    python benchmarks/digits.py [--seeds 5] [--splits 5]

Takes about five minutes on two cores.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from studies.launch import run_study
from studies.models.export import read_config
from studies.models.retrain import retrain
from studies.records.results import load_study

FILE = Path(__file__).parent.parent / "experiments" / "digits.toml"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds of the study (default 5)")
    parser.add_argument("--splits", type=int, default=5, help="how many splits of the data per seed (default 5)")
    options = parser.parse_args()
    text = FILE.read_text(encoding="utf-8")
    rows = []
    print("study seed  split  default  best validation  test", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for seed in range(options.seeds):
            study = text.replace("seed        = 0", f"seed        = {seed}", 1)
            file = root / f"digits-{seed}.toml"
            file.write_text(study, encoding="utf-8")
            for split in range(options.splits):
                home = root / f"{seed}-{split}"
                launch = run_study(file, home=home, overrides=[f"seed={split}"], publish=False)
                results = load_study(launch.name, home)
                if launch.export is None or results.best is None or results.best.value is None:
                    raise RuntimeError("no trial is complete")
                winner = retrain(*read_config(launch.export), test=True)
                if not winner.reproduced or winner.test is None:
                    raise RuntimeError(f"not reproduced: {winner.differences}")
                default = results.trials[0].value or 0.0
                rows.append((default, results.best.value, winner.test["test/accuracy"]))
                print(f"{seed:10d}  {split:5d}  {default:7.4f}  {rows[-1][1]:15.4f}  {rows[-1][2]:.4f}", flush=True)
    means = [statistics.mean(column) for column in zip(*rows, strict=True)]
    print(f"mean               {means[0]:7.4f}  {means[1]:15.4f}  {means[2]:.4f}")


if __name__ == "__main__":
    main()
