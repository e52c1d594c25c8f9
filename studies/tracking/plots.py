"""Plots of a study: the values of its trials, and the importance of its parameters."""

from __future__ import annotations

import io
import itertools
import logging
import math
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from mlp.errors import ConfigError
from mlp.records import label
from studies.records.results import StudyResults
from studies.records.trial_record import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from optuna.distributions import BaseDistribution

WIDTH, HEIGHT, DPI = 9.0, 4.8, 200  # inches; at half size, 900 pixels wide, the text has the size of the page around it
INK, MUTED, FAINT = "#1f2933", "#6b7785", "#dde3e9"
COMPLETE, BEST, PRUNED, DIVERGED, FAILED = "#3b7dbf", "#0b3d66", "#9aa5b1", "#e08b2c", "#c8372d"
CURVES = (BEST, DIVERGED, COMPLETE, FAILED, PRUNED, "#1b7f3b")
LEAST_TRIALS = 8  # with fewer complete trials, importances are mostly noise

logger = logging.getLogger(__name__)


def draw_plots(results: StudyResults) -> dict[str, bytes]:
    """Return the plots as PNG files by name: `history.png` and, with enough complete trials, `importance.png`."""
    plots = {"history.png": _png(history_figure(results))}
    if results.second_objective is not None:
        plots["pareto.png"] = _png(pareto_figure(results))
    try:
        figure = importance_figure(results)
    except (ValueError, ImportError) as error:  # for example, a value that Optuna finds outside its range
        logger.warning("the importances cannot be plotted: %s", error)
        return plots
    return plots if figure is None else plots | {"importance.png": _png(figure)}


def history_figure(results: StudyResults) -> Figure:
    """Return a plot of the values of all trials by number, with the best value so far."""
    figure, axes = _figure(f"{results.name}: {results.metric} by trial", HEIGHT)
    groups = {
        "complete": [trial for trial in results.trials if trial.state == "complete"],
        "pruned": [trial for trial in results.trials if _is_pruned(trial, "pruner", "not_promoted", "stopped")],
        "diverged": [trial for trial in results.trials if _is_pruned(trial, "diverged")],
        "undefined": [trial for trial in results.trials if _is_pruned(trial, "undefined")],
        "failed": [trial for trial in results.trials if trial.state == "failed"],
    }
    low, high = _limits(axes, _values(groups["complete"]) or _values(results.trials))
    looks: dict[str, dict[str, Any]] = {
        "complete": {"marker": "o", "s": 26, "color": COMPLETE, "linewidths": 0},
        "pruned": {"marker": "o", "s": 22, "facecolors": "white", "edgecolors": PRUNED, "linewidths": 1.2},
        "diverged": {"marker": "^", "s": 32, "color": DIVERGED, "linewidths": 0},
        "undefined": {"marker": "s", "s": 22, "facecolors": "white", "edgecolors": DIVERGED, "linewidths": 1.2},
        "failed": {"marker": "x", "s": 30, "color": FAILED, "linewidths": 1.6},
    }
    floor, is_clipped = (low if results.direction == "maximize" else high), False
    for name, trials in groups.items():
        if trials:
            values = [floor if trial.value is None else trial.value for trial in trials]
            heights = [min(max(value, low), high) for value in values]
            is_clipped |= name == "failed" or heights != values
            numbers = [trial.number for trial in trials]
            axes.scatter(numbers, heights, label=f"{name} ({len(trials)})", clip_on=False, zorder=3, **looks[name])
    _draw_best(axes, results)
    axes.set_xlabel("trial" + (" (at the edge: off the scale, or without a value)" if is_clipped else ""), color=MUTED)
    axes.set_xlim(-0.5, max((trial.number for trial in results.trials), default=0) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    if axes.get_legend_handles_labels()[0]:
        tight = {"borderpad": 0.0, "columnspacing": 1.2, "handlelength": 1.3, "handletextpad": 0.5}
        legend = axes.legend(loc="lower left", ncols=5, frameon=False, labelcolor=INK, fontsize=9.5, **tight)
        legend.set_bbox_to_anchor((0.0, 1.02), transform=axes.transAxes)
    return figure


def pareto_figure(results: StudyResults) -> Figure:
    """Return a plot of the metric of each complete trial against its second objective, with the Pareto front."""
    second = results.second_objective
    assert second is not None
    figure, axes = _figure(f"{results.name}: {results.metric} against {second.name}", HEIGHT)
    ranked = results.ranked()
    front = results.pareto_front()
    if ranked:
        all_sizes, all_values = (
            [results.size(trial.number) or 0.0 for trial in ranked],
            [trial.value or 0.0 for trial in ranked],
        )
        axes.scatter(all_sizes, all_values, s=26, color=COMPLETE, linewidths=0, zorder=3, label="complete trials")
        sizes, values = [point.size for point in front], [point.value for point in front]
        axes.step(sizes, values, where="post", color=BEST, linewidth=1.4, zorder=4, label="Pareto front")
        axes.scatter(sizes, values, s=34, color=BEST, linewidths=0, zorder=5)
        for point in front:
            axes.annotate(
                str(point.trial),
                (point.size, point.value),
                (4, -11),
                textcoords="offset points",
                color=MUTED,
                fontsize=9,
            )
        axes.legend(frameon=False, labelcolor=INK, fontsize=9.5)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda size, _: second.text(size))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(f"{second.name}; labels are the numbers of trials", color=MUTED)
    axes.grid(color=FAINT, linewidth=0.8)
    return figure


def curves_figure(curves: Mapping[str, Sequence[float]], metric: str) -> Figure:
    """Return a plot of the learning curves of several trials.

    Args:
        curves: the metric of each trial by epoch, by the name of the trial.
        metric: the key of the metric.
    """
    figure, axes = _figure(f"{metric} by epoch", HEIGHT)
    for colour, (name, values) in zip(itertools.cycle(CURVES), curves.items(), strict=False):
        marker = "o" if len(values) == 1 else None  # a line of one point is invisible
        axes.plot(range(1, len(values) + 1), values, color=colour, linewidth=1.8, marker=marker, label=name)
    axes.set_xlabel("epoch", color=MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.legend(frameon=False, labelcolor=INK, fontsize=9.5)
    return figure


def write_curves(curves: Mapping[str, Sequence[float]], metric: str, file: Path) -> None:
    """Write `curves_figure` as a PNG file.

    Raises:
        ConfigError: if the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_png(curves_figure(curves, metric)))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}. Choose another file.") from None


def importance_figure(results: StudyResults) -> Figure | None:
    """Return a plot of each parameter's share of the difference between good and other trials, or None if unknown."""
    importances = parameter_importances(results)
    if not importances:
        return None
    n = len(importances)
    figure, axes = _figure(f"{results.name}: importance of the parameters", 1.5 + 0.36 * n)
    shares = list(importances.values())
    axes.barh(range(n), shares, color=COMPLETE, height=0.62)
    axes.set_yticks(range(n), list(importances), color=INK)
    axes.invert_yaxis()
    for row, share in enumerate(shares):
        text = f"{share:.0%}" if share >= 0.01 else "< 1%"
        axes.text(share + max(shares) * 0.012, row, text, va="center", color=MUTED)
    axes.set_xlim(0, max(shares) * 1.1)
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
    n_complete = results.counts()["complete"]
    caption = f"share of the importance for {results.metric}, by PED-ANOVA over {n_complete} complete trials"
    axes.set_xlabel(caption, color=MUTED, loc="left")
    return figure


def parameter_importances(results: StudyResults) -> dict[str, float]:
    """Return each parameter's share, largest first, by PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255).

    The result is empty if there are few complete trials, or if all of them have the same value.
    """
    trials = [trial for trial in results.trials if trial.state == "complete"]
    if len(trials) < LEAST_TRIALS or len(set(_values(trials))) < 2:
        return {}
    import optuna

    # Optuna would import scikit-learn for evaluators that are not used here. Without it, a study ends 1.7 s (of CPU)
    # earlier, because plots are drawn last: 0.8 s to import what they need, instead of 2.5 s.
    with _import_blocked("sklearn"):
        from optuna.importance import get_param_importances

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {path: _distribution(entry) for path, entry in results.record.space.items()}
    sampler, pruner = optuna.samplers.RandomSampler(), optuna.pruners.NopPruner()
    searched = optuna.create_study(direction=results.direction, sampler=sampler, pruner=pruner)
    for trial in trials:
        params = {path: value for path, value in trial.params.items() if path in space}
        distributions = {path: space[path] for path in params}
        searched.add_trial(optuna.create_trial(value=trial.value, params=params, distributions=distributions))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a value that few trials have; the shares are only a hint
        shares = get_param_importances(searched)
    return shares if all(map(math.isfinite, shares.values())) and sum(shares.values()) > 0 else {}


@contextmanager
def _import_blocked(module: str) -> Iterator[None]:
    """Make a module look as if it were not installed, unless it is already imported."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


def _distribution(entry: dict[str, Any]) -> BaseDistribution:
    """Return Optuna's distribution of a searched path, from its table in `study.json`."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if "choices" in entry:
        return CategoricalDistribution([label(choice) for choice in entry["choices"]])
    low, high, log, step = entry["low"], entry["high"], entry.get("log", False), entry.get("step")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log, step=int(step or 1))
    return FloatDistribution(low, high, log=log, step=step)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


def _figure(title: str, height: float) -> tuple[Figure, Axes]:
    figure = Figure((WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    axes = figure.subplots()
    figure.suptitle(title, x=0.012, ha="left", fontsize=13, color=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(colors=MUTED, length=0, labelsize=10)
    axes.set_axisbelow(True)
    return figure, axes


def _limits(axes: Axes, values: Sequence[float]) -> tuple[float, float]:
    """Scale the vertical axis to the given values; return the lowest and the highest position for marks."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low > 0 and high / low > 50:
        axes.set_yscale("log")
        low, high = low / 1.15, high * 1.15
    else:
        margin = (high - low) * 0.06 or abs(high) * 0.01 or 0.01
        low, high = low - margin, high + margin
    axes.set_ylim(low, high)
    return low, high


def _draw_best(axes: Axes, results: StudyResults) -> None:
    best = results.best
    if best is None or best.value is None:
        return
    axes.scatter([best.number], [best.value], s=90, facecolors="none", edgecolors=BEST, linewidths=1.6, zorder=4)
    leaders = results.best_so_far()
    if leaders:
        steps, values = [step for step, _ in leaders], _values([leader for _, leader in leaders])
        text = f"best so far (trial {best.number}: {best.value:.5g})"
        axes.plot(steps, values, drawstyle="steps-post", color=BEST, linewidth=1.6, label=text, zorder=2)


def _is_pruned(trial: TrialRecord, *reasons: str) -> bool:
    return trial.ending is not None and trial.state == "pruned" and trial.ending.reason in reasons


def _values(trials: Sequence[TrialRecord]) -> list[float]:
    return [trial.value for trial in trials if trial.value is not None]
