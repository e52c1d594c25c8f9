"""benchmarks/tables.py: ranks, wins beyond noise and the bounds are computed from the results as described."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(name="modules", scope="module")
def modules_fixture() -> Any:
    """Return the module `table_scores`, which is not in a package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import table_scores

        yield table_scores


def lines(contestant: str, scores: dict[str, list[float]], seconds: float = 1.0) -> list[dict[str, Any]]:
    return [
        {
            "contestant": contestant,
            "table": table,
            "seed": seed,
            "score": score,
            "seconds": seconds,
            "task": "values" if table.startswith("v") else "classes",
        }
        for table, values in scores.items()
        for seed, score in enumerate(values)
    ]


def test_means_are_over_tables_and_equal_scores_share_a_rank(modules: Any) -> None:
    results = lines("ours", {"a": [80.0, 90.0], "v": [50.0, 50.0]}) + lines(
        "sklearn", {"a": [85.0, 85.0], "v": [40, 42]}
    )
    scores = modules.Scores.of(results)
    assert (scores.mean("ours"), scores.mean("ours", "classes"), scores.mean("sklearn", "values")) == (67.5, 85.0, 41.0)
    assert scores.rank("ours", ["ours", "sklearn"]) == pytest.approx((1.5 + 1.0) / 2)
    assert scores.rank("sklearn", ["ours", "sklearn"]) == pytest.approx((1.5 + 2.0) / 2)


def test_a_difference_counts_only_beyond_the_noise_of_paired_seeds(modules: Any) -> None:
    ours = {"steady": [80.0, 81.0, 82.0], "noisy": [80.0, 90.0, 70.0], "worse": [10.0, 11.0, 12.0]}
    other = {"steady": [79.0, 80.0, 81.1], "noisy": [70.0, 60.0, 89.0], "worse": [12.0, 13.0, 14.1]}
    scores = modules.Scores.of(lines("ours", ours) + lines("boosting", other))
    assert scores.duel("ours", "boosting") == (1, 1)


def test_a_table_that_a_contestant_has_not_finished_is_left_out(modules: Any) -> None:
    results = lines("ours", {"a": [80.0, 90.0], "b": [1.0, 2.0]}) + lines("sklearn", {"a": [85.0, 85.0], "b": [3.0]})
    assert list(modules.Scores.of(results).tasks) == ["a"]


@pytest.mark.parametrize(("ours", "seconds", "held"), [(90.0, 1.0, 4), (60.0, 1.0, 1), (90.0, 3.0, 3)])
def test_the_bounds_are_on_ranks_the_gap_to_realmlp_and_the_speed(
    modules: Any, ours: float, seconds: float, held: int
) -> None:
    results = lines("ours", {"a": [ours, ours]}, seconds)
    for name, score, time in (("sklearn", 80.0, 1.0), ("boosting", 81.0, 1.0), ("realmlp", 85.0, 10.0)):
        results += lines(name, {"a": [score, score]}, time)
    scores = modules.Scores.of(results)
    assert sum(holds for _, holds in modules.bounds(scores)) == held
    assert len(modules.report(scores)) == 9


@pytest.mark.slow
def test_a_contestant_writes_one_line_per_fit_and_repeats_none(tmp_path: Path) -> None:
    script = f"""
import sys
sys.path.insert(0, {str(BENCHMARKS)!r})
from pathlib import Path
import table_contestants, table_sources
cache = Path({str(tmp_path)!r})
for name in ("iris", "diabetes"):
    table_sources.store(name, cache / "tables" / name, cache)
for contestant in ("ours", "boosting") * 2:
    sys.argv = ["", contestant, str(cache), "--tables", "iris", "diabetes", "--seeds", "2"]
    table_contestants.main()
import table_runs, table_scores
results = table_runs.read_results(["ours", "boosting"], ["iris", "diabetes"], 2, cache)
scores = table_scores.Scores.of(results)
assert len(results) == 8
assert scores.mean("ours", "classes") > 85 and scores.mean("ours", "values") > 15
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert len((tmp_path / "results" / "ours.jsonl").read_text().splitlines()) == 4
