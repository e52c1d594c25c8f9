"""What a person sees in a terminal: live progress, summaries and tables."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mlp.paths import flatten
from mlp.records import label
from mlp.training import EpochMetrics
from studies.models.export import Provenance
from studies.models.retrain import RetrainResult
from studies.records.results import StudyResults
from studies.records.study_record import DataRecord
from studies.records.trial_log import TrialRecord
from studies.running.driver import Snapshot
from studies.search.spec import StudySpec

PLAIN_SECONDS = 1.0
STATE_STYLES = {"complete": "green", "pruned": "yellow", "failed": "red", "running": "cyan"}


class Progress(Protocol):
    """Shows where a study stands."""

    def update(self, snapshot: Snapshot) -> None:
        """Show a new standing."""

    def notice(self, text: str) -> None:
        """Show a remark above it."""


@dataclass
class Pace:
    """How fast trials end, counted from the first snapshot of this launch."""

    started: float = field(default_factory=time.monotonic)

    def words(self, snapshot: Snapshot) -> str:
        """Return trials per second and the time left."""
        ended = snapshot.done - snapshot.resumed
        seconds = time.monotonic() - self.started
        if ended < 1 or seconds <= 0:
            return "starting" if snapshot.done < snapshot.total else "done"
        left = (snapshot.total - snapshot.done) * seconds / ended
        return f"{ended / seconds:.2g} trials/s · {duration(left)} left"


def standing(snapshot: Snapshot) -> str:
    """Return a snapshot in words."""
    parts = [f"{snapshot.done}/{snapshot.total} trials", f"{snapshot.running} running"]
    parts += [f"{n} {word}" for n, word in ((snapshot.pruned, "pruned"), (snapshot.failed, "failed")) if n]
    if snapshot.best:
        number, value = snapshot.best
        parts.append(f"best {value:.4f} (trial {number})")
    return " · ".join(parts)


class PlainProgress:
    """A line whenever a trial has ended, at most one a second: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = Pace()
        self._shown = (-1, 0.0)

    def update(self, snapshot: Snapshot) -> None:
        """Print a line when there is something new to say."""
        done, at = self._shown
        now = time.monotonic()
        if snapshot.done > max(done, 0) and (now - at >= PLAIN_SECONDS or snapshot.done == snapshot.total):
            self._shown = (snapshot.done, now)
            self._console.print(f"{standing(snapshot)} · {self._pace.words(snapshot)}", highlight=False, soft_wrap=True)

    def notice(self, text: str) -> None:
        """Print a remark."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class LiveProgress:
    """A bar and a line that stay in place."""

    def __init__(self, console: Console, live: Live) -> None:
        self._console = console
        self._live = live
        self._pace = Pace()
        self._snapshot: Snapshot | None = None

    def update(self, snapshot: Snapshot) -> None:
        """Redraw."""
        self._snapshot = snapshot

    def notice(self, text: str) -> None:
        """Print a remark above the bar."""
        self._console.print(text, highlight=False, markup=False)

    def render(self) -> RenderableType:
        """Return the bar and the line."""
        if self._snapshot is None:
            return Text("starting", style="dim")
        lines = Table.grid()
        lines.add_row(ProgressBar(total=self._snapshot.total, completed=self._snapshot.done, width=50))
        lines.add_row(Text(standing(self._snapshot)))
        lines.add_row(Text(self._pace.words(self._snapshot), style="dim"))
        return lines


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """Show progress while the context lasts: live in a terminal, else in plain lines."""
    if not console.is_terminal:
        yield PlainProgress(console)
        return
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        shown = LiveProgress(console, live)
        live.get_renderable = shown.render  # type: ignore[method-assign]  # drawn by Live's own clock, not by ours
        yield shown


def duration(seconds: float) -> str:
    """Return seconds as a person says them: `45s`, `2m 05s`, `1h 12m`."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def shown(value: Any) -> str:
    """Return a parameter's value, floats to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def plan_view(spec: StudySpec, data: DataRecord) -> RenderableType:
    """Return what a study would do: its settings, data, base and space."""
    study = spec.study
    head = Table.grid(padding=(0, 2))
    for _ in range(2):
        head.add_column(overflow="fold")
    sizes = "-".join(map(str, spec.base.layer_sizes(data.n_features, data.n_targets, data.task)))
    parallel = f"{study.parallelism} in parallel, seed {study.seed}"
    for name, value in (
        ("study", f"{study.name}: {study.trials} trials, {parallel}"),
        ("search", f"{label(study.sampler)}, pruner {label(study.pruner)}"),
        ("metric", f"{study.metric}, {spec.direction}d"),
        ("data", f"{data.name}: {data.n_train} to train, {data.n_validation} to validate"),
        ("base", f"{sizes}, {label(spec.base.optimizer)}, up to {spec.base.epochs} epochs"),
    ):
        head.add_row(Text(name, style="bold"), value)
    table = Table(title="space", title_justify="left", title_style="bold", box=None, padding=(0, 2))
    for column in ("parameter", "trial 0", "may be", "when"):
        table.add_column(column, overflow="fold")
    point = spec.params_of_base() or {}
    for parameter in spec.space:
        mapping = parameter.domain.to_mapping()
        options = mapping.get("choices")
        may_be = (
            ", ".join(map(str, parameter.domain.options())) if options else f"{mapping['low']} to {mapping['high']}"
        )
        may_be += ", log" if mapping.get("log") else ""
        may_be += f", step {mapping['step']}" if mapping.get("step") else ""
        when = " and ".join(f"{path} is {' or '.join(map(str, values))}" for path, values in parameter.when.items())
        table.add_row(parameter.path, shown(point.get(parameter.path, "")), may_be, when)
    return Group(head, Text(), table)


def summary_view(results: StudyResults) -> RenderableType:
    """Return what came out: the best trial beside trial 0, which is the default."""
    best, default = results.best, results.trials[0] if results.trials else None
    if best is None:
        reasons = Counter(trial.ending.reason for trial in results.trials if trial.ending)
        why = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
        see = f": {why}. The first of them: studies show {results.name} {results.trials[0].number}" if why else "."
        return Text(f"No trial is complete{see}", style="red")
    table = Table(box=None, padding=(0, 2))
    table.add_column("", overflow="fold")
    table.add_column(f"best (trial {best.number})", style="green", overflow="fold")
    table.add_column("default (trial 0)", style="dim", overflow="fold")
    default_value = "" if default is None or default.value is None else f"{default.value:.4f}"
    table.add_row(Text(results.metric, style="bold"), f"{best.value:.4f}", default_value)
    base = flatten(default.config) if default else {}
    chosen = flatten(best.config)
    for path in best.params:
        here = base.get(path, "")
        table.add_row(path, shown(best.params[path]), shown(default.params.get(path, here)) if default else "")
    for path in default.params if default else {}:
        if path not in best.params:
            table.add_row(path, shown(chosen.get(path, "")), shown(default.params[path]) if default else "")
    return table


def study_view(results: StudyResults, n_top: int, width: int) -> RenderableType:
    """Return a study: its standing, and a table of its best trials."""
    counts = results.counts()
    states = ", ".join(f"[{STATE_STYLES[state]}]{n} {state}[/]" for state, n in counts.items() if n)
    compute = sum(trial.ending.seconds for trial in results.trials if trial.ending)
    lines = [
        f"[bold]{results.name}[/]: {results.metric}, {results.direction}d",
        f"{len(results.trials)} of {results.total} trials: {states or 'none yet'}; {duration(compute)} of computing",
    ]
    table = Table(title=f"top {n_top}", title_justify="left", title_style="bold", box=None, padding=(0, 1))
    top = results.top(n_top)
    paths = list(dict.fromkeys(path for trial in top for path in trial.params))
    for column in ("trial", "value", "epochs", "time"):
        table.add_column(column, justify="right", no_wrap=True, overflow="fold")
    is_wide = width >= 30 + 12 * len(paths)
    for column in [path.rpartition(".")[2] for path in paths] if is_wide else ["parameters"]:
        table.add_column(column, overflow="fold")
    for trial in top:
        cells = [shown(trial.params.get(path, "")) for path in paths]
        if not is_wide:
            named = zip(paths, cells, strict=True)
            cells = [", ".join(f"{path.rpartition('.')[2]} {cell}" for path, cell in named if cell)]
        seconds = trial.ending.seconds if trial.ending else 0.0
        table.add_row(str(trial.number), f"{trial.value:.4f}", str(trial.n_epochs), duration(seconds), *cells)
    return Group(*(Text.from_markup(line) for line in lines), Text(), table)


def trial_view(results: StudyResults, trial: TrialRecord) -> RenderableType:
    """Return one trial whole: how it ended, its configuration, and its epochs."""
    ending = trial.ending
    reason = f" ({ending.reason})" if ending and ending.reason else ""
    value = "" if trial.value is None else f", {results.metric} {trial.value:.6g}"
    started = datetime.fromtimestamp(trial.started).strftime("%Y-%m-%d %H:%M:%S")
    head = [
        Text.from_markup(
            f"[bold]trial {trial.number}[/] of {results.name}: [{STATE_STYLES[trial.state]}]{trial.state}[/]"
        )
    ]
    head[0].append(f"{reason}{value}")
    spent = f", {duration(ending.seconds)} of computing, epoch {ending.kept_epoch} kept" if ending else ""
    head.append(Text(f"started {started}{spent}"))
    if ending and ending.weight_digest:
        head.append(Text(f"weights {ending.weight_digest}", style="dim"))
    config = Table(title="configuration", title_justify="left", title_style="bold", box=None, padding=(0, 2))
    config.add_column("field", overflow="fold")
    config.add_column("value", overflow="fold")
    for path, leaf in flatten(trial.config).items():
        searched = path in trial.params
        config.add_row(Text(path, style="bold" if searched else "dim"), shown(label(leaf)))
    epochs = Table(title="epochs", title_justify="left", title_style="bold", box=None, padding=(0, 2))
    epochs.add_column("epoch", justify="right", overflow="fold")
    for key in trial.history:
        epochs.add_column(key, justify="right", overflow="fold")
    for index in range(trial.n_epochs):
        epochs.add_row(str(index + 1), *(f"{values[index]:.4f}" for values in trial.history.values()))
    error = [Text(), Text(ending.error.strip(), style="red")] if ending and ending.error else []
    return Group(*head, Text(), config, Text(), epochs, *error)


def epoch_line(metrics: EpochMetrics, epochs: int) -> str:
    """Return one epoch of a training in a line."""
    values = "  ".join(f"{key} {value:.4f}" for key, value in metrics.values.items())
    return f"epoch {metrics.epoch:>{len(str(epochs))}}/{epochs}  {values}"


def training_view(result: RetrainResult, provenance: Provenance | None) -> RenderableType:
    """Return what a training came to, and whether it came out as recorded."""
    table = Table.grid(padding=(0, 2))
    for _ in range(2):
        table.add_column(overflow="fold")
    kept = f"epoch {result.kept_epoch} of {result.epochs}"
    table.add_row("trained", f"{result.n_train} examples, {duration(result.seconds)}; {kept} is kept")
    for key, value in {**result.scores, **(result.test or {})}.items():
        table.add_row(key, Text(f"{value:.4f}", style="bold" if key.startswith("test/") else ""))
    table.add_row("weights", Text(result.weight_digest, style="dim"))
    if result.saved:
        table.add_row("saved", Text(str(result.saved)))
    lines: list[RenderableType] = [Text(), table, Text()]
    lines += [Text(f"warning: {warning}", style="yellow") for warning in result.warnings]
    lines += [Text(f"different: {difference}", style="red") for difference in result.differences]
    if result.reproduced and provenance:
        lines.append(
            Text(f"reproduced exactly: {provenance.metric} {provenance.value!r} and the weights", style="green")
        )
    return Group(*lines)


def list_view(studies: list[StudyResults]) -> RenderableType:
    """Return a line a study."""
    table = Table(box=None, padding=(0, 2))
    for column in ("study", "trials", "best", "metric", "created"):
        table.add_column(column, overflow="fold")
    for results in studies:
        created = datetime.fromtimestamp(results.record.created).strftime("%Y-%m-%d %H:%M")
        best = f"{results.best.value:.4f} (trial {results.best.number})" if results.best else ""
        table.add_row(results.name, f"{results.n_ended}/{results.total}", best, results.metric, created)
    return table
