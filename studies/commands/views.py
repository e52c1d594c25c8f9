"""Plans, studies, trials and trainings as tables for a terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlp.epochs import EpochMetrics
from mlp.paths import flatten
from mlp.records import label
from mlp.scores import SPREAD, score_text, scores_at, without_folds
from studies.evidence.verdict import FIRST_PAIRS
from studies.models.export import Provenance
from studies.models.retrain import RetrainResult
from studies.records.durations import duration
from studies.records.results import StudyResults
from studies.records.study_record import DataRecord
from studies.records.trial_record import BY_PRUNER, TrialRecord
from studies.search.domains import Choices, Range
from studies.search.spec import StudySpec

STATE_STYLES = {
    "complete": "green",
    "pruned": "yellow",
    "failed": "red",
    "running": "cyan",
    "paused": "cyan",
    "interrupted": "yellow",
}


def short_value(value: Any) -> str:
    """Return the value of a parameter, floats with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def plan_view(spec: StudySpec, data: DataRecord) -> RenderableType:
    """Return what a study would do: its settings, data, base and space."""
    study, n_enqueued = spec.study, len(spec.enqueued) + len(spec.added)
    sizes = "-".join(map(str, spec.base.layer_sizes(data.n_features, data.n_targets, data.task)))
    head = _grid()
    for name, value in (
        ("study", f"{study.name}: {limits_text(spec)}, {study.parallelism} in parallel, seed {study.seed}"),
        ("search", f"{label(study.sampler)}, pruner {label(study.pruner)}"),
        ("metric", f"{study.metric}, {spec.direction}d"),
        ("data", f"{data.name}: {data.n_train} training and {data.n_validation} validation examples{_folds(spec)}"),
        *([("enqueued", f"{n_enqueued} configurations before the sampler chooses")] if n_enqueued else []),
        *([("constraints", str(spec.space.constraints))] if spec.space.constraints else []),
        ("confirm", confirm_text(spec)),
        ("base", f"{sizes}, {label(spec.base.optimizer)}, up to {spec.base.epochs} epochs"),
    ):
        head.add_row(Text(name, style="bold"), value)
    return Group(head, Text(), space_table(spec))


def space_table(spec: StudySpec) -> Table:
    """Return the searched parameters: base's value, what is allowed, and when."""
    table = _table("parameter", "trial 0", "allowed values", "only when", title="search space")
    point = spec.space.params_of_base() or {}
    for parameter in spec.space:
        conditions = [f"{path} is {' or '.join(map(str, values))}" for path, values in parameter.when.items()]
        base_value = short_value(point.get(parameter.path, ""))
        table.add_row(parameter.path, base_value, _allowed_values(parameter.domain), " and ".join(conditions))
    return table


def limits_text(spec: StudySpec) -> str:
    """Return the limits of a search: `up to 50 trials and 20 trainings (800 epochs)`."""
    study, limits = spec.study, spec.limits
    trials = [f"{limits.trials} trials"] if limits.trials else []
    trainings = [f"{study.budget:.3g} trainings ({limits.epochs} epochs)"] if study.budget else []
    found = [f"up to {' and '.join(trials + trainings)}"]
    if study.target is not None:
        found.append(f"until {study.metric} is {study.target:g}")
    if study.patience is not None:
        found.append(f"until {study.patience} trials bring no improvement")
    if study.seconds is not None:
        found.append(f"for {duration(study.seconds)}")
    return ", ".join(found)


def confirm_text(spec: StudySpec) -> str:
    """Return what confirming the winner costs: `15 to 40 more trainings of up to 5 configurations ...`."""
    config = spec.confirm
    if not config.enabled:
        return "no"
    most = config.top + 2
    first = min(FIRST_PAIRS, config.seeds) * most
    return f"{first} to {config.seeds * most} more trainings of up to {most} configurations on fresh seeds and splits"


def _short_path(path: str) -> str:
    """Return the last step of a path; the size of hidden layer 1 is `layer 1`."""
    name = path.rpartition(".")[2]
    return f"layer {name}" if name.isdecimal() else name


def _folds(spec: StudySpec) -> str:
    """Return the number of folds of base, as an addition to the sizes of the parts; empty if there is one split."""
    n_folds = len(spec.base.data.by_fold())
    return f" in each of {n_folds} folds" if n_folds > 1 else ""


def _allowed_values(domain: Range | Choices) -> str:
    mapping = domain.to_mapping()
    if "choices" in mapping:
        return ", ".join(map(str, domain.labels_to_check()))
    scale = ", log" if mapping.get("log") else ""
    step = f", step {mapping['step']}" if mapping.get("step") else ""
    return f"{mapping['low']} to {mapping['high']}{scale}{step}"


def summary_view(results: StudyResults, winner: int | None) -> RenderableType:
    """Return the result of a search: its best trial, the confirmed winner and base next to each other.

    Args:
        results: the study.
        winner: the trial that the confirmation chose; None without a complete confirmation.
    """
    best = results.best
    if best is None:
        return Text(_without_complete_trial(results), style="red")
    shown = {number: results.trial(number) for number in (best.number if winner is None else winner, best.number, 0)}
    table = Table(box=None, padding=(0, 2))
    table.add_column("", overflow="fold")
    for number in shown:
        is_first = number == next(iter(shown))
        name = "base" if number == 0 else "best" if winner is None else "winner" if is_first else "best of the search"
        table.add_column(f"{name} (trial {number})", style="green" if is_first else "dim", overflow="fold")
    values = [trial.value for trial in shown.values()]
    table.add_row(Text(results.metric, style="bold"), *("" if value is None else f"{value:.4f}" for value in values))
    # A path that one of the trials did not search still has a value in its configuration.
    configs = [flatten(trial.config) | dict(trial.params) for trial in shown.values()]
    for path in dict.fromkeys(path for trial in shown.values() for path in trial.params):
        table.add_row(path, *(short_value(config.get(path, "")) for config in configs))
    return table


def _without_complete_trial(results: StudyResults) -> str:
    endings = [trial.ending for trial in results.trials if trial.ending]
    reasons = Counter("pruned" if ending.reason in BY_PRUNER else ending.reason for ending in endings)
    if not reasons:
        return "No trial is complete."
    listed = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
    return f"No trial is complete: {listed}."


def study_view(results: StudyResults, n_top: int, width: int) -> RenderableType:
    """Return the progress of a study and a table of its best trials.

    Args:
        results: the study.
        n_top: how many trials the table has.
        width: columns of the terminal; a narrow one gets all parameters of a trial in one cell.
    """
    compute = sum(trial.ending.seconds for trial in results.trials if trial.ending)
    progress = Text(f"{results.spent}: ")
    counts = [(n, results.shown_state(state)) for state, n in results.counts().items() if n]
    states = [Text(f"{n} {state}", STATE_STYLES[state]) for n, state in counts]
    progress.append_text(Text(", ").join(states) if states else Text("none yet"))
    progress.append(f"; {duration(compute)} compute time")
    head = [Text.assemble((results.name, "bold"), f": {results.metric}, {results.direction}d"), progress, Text()]
    top = results.top(n_top)
    if not top:
        return Group(*head, Text(_without_complete_trial(results)))
    table = _table(title=f"best {len(top)} trials", padding=1)
    for column in ("trial", "value", "epochs", "time"):
        table.add_column(column, justify="right", no_wrap=True, overflow="fold")
    paths = list(dict.fromkeys(path for trial in top for path in trial.params))
    is_wide = width >= 30 + 12 * len(paths)
    for column in map(_short_path, paths) if is_wide else ["parameters"]:
        table.add_column(column, overflow="fold")
    for trial in top:
        cells = [short_value(trial.params.get(path, "")) for path in paths]
        if not is_wide:
            named = zip(paths, cells, strict=True)
            cells = [", ".join(f"{_short_path(path)} {cell}" for path, cell in named if cell)]
        seconds = trial.ending.seconds if trial.ending else 0.0
        table.add_row(str(trial.number), f"{trial.value:.4f}", str(trial.n_epochs), duration(seconds), *cells)
    seed, trials = results.record.base.get("seed"), results.trials
    n_repeated = sum(trial.config.get("seed") != seed and "seed" not in trial.params for trial in trials)
    note = (
        f"\n{n_repeated} of {len(trials)} trials repeat an earlier configuration, with a fresh seed on the same split."
    )
    return Group(*head, table, *([Text(note)] if n_repeated else []))


def trial_view(results: StudyResults, trial: TrialRecord) -> RenderableType:
    """Return one trial in full: how it ended, its configuration, and its epochs."""
    ending = trial.ending
    has_reason = ending and ending.reason not in ("", *BY_PRUNER)
    reason = f" ({ending.reason})" if ending and has_reason else ""
    value = "" if trial.value is None else f", {results.metric} {trial.value:.6g}"
    shown = results.shown_state(trial.state)
    state = (shown, STATE_STYLES[shown])
    started = datetime.fromtimestamp(trial.started).strftime("%Y-%m-%d %H:%M:%S")
    spent = f", {duration(ending.seconds)} compute time, weights of epoch {ending.kept_epoch} kept" if ending else ""
    head = [
        Text.assemble((f"trial {trial.number}", "bold"), f" of {results.name}: ", state, f"{reason}{value}"),
        Text(f"started {started}{spent}"),
    ]
    if ending and ending.weight_digest:
        head.append(Text(f"weights {ending.weight_digest}", style="dim"))
    config = _table("field", "value", title="configuration (searched fields first)")
    leaves = flatten(trial.config)
    for path in sorted(leaves, key=lambda path: path not in trial.params):
        config.add_row(Text(path, style="bold" if path in trial.params else "dim"), short_value(label(leaves[path])))
    epochs = _table(title="epochs")
    rows = [score_texts(scores_at(epoch, trial.history)) for epoch in range(1, trial.n_epochs + 1)]
    for column in ("epoch", *(rows[0] if rows else ())):
        epochs.add_column(column, justify="right", overflow="fold")
    for epoch, row in enumerate(rows, start=1):
        epochs.add_row(str(epoch), *row.values())
    error = [Text(), Text(ending.error.strip(), style="red")] if ending and ending.error else []
    return Group(*head, Text(), config, Text(), epochs, *error)


def score_texts(scores: Mapping[str, float]) -> dict[str, str]:
    """Return how metrics are shown, by key; the spread over folds follows its mean: `0.9297 ±0.0517`."""
    texts = {}
    for key, value in without_folds(scores).items():
        if not key.endswith(SPREAD):
            texts[key] = score_text(value)
        elif not math.isnan(value):
            texts[key.removesuffix(SPREAD)] += f" ±{score_text(value)}"
    return texts


def epoch_line(metrics: EpochMetrics, epochs: int) -> str:
    """Return the metrics of an epoch as one line."""
    values = "  ".join(f"{key} {text}" for key, text in score_texts(metrics.values).items())
    return f"epoch {metrics.epoch:>{len(str(epochs))}}/{epochs}  {values}"


def training_view(result: RetrainResult, provenance: Provenance | None) -> RenderableType:
    """Return the result of a training, and whether it reproduced the recorded one."""
    table = _grid()
    kept = f"weights of epoch {result.kept_epoch} of {result.epochs} kept"
    folds = f" in each of {result.n_folds} folds" if result.n_folds > 1 else ""
    table.add_row("trained", f"{result.n_train} examples{folds}, {duration(result.seconds)}, {kept}")
    if result.n_refit:
        table.add_row("refit", f"one network on all {result.n_refit} examples, for {result.kept_epoch} epochs")
    for key, text in score_texts({**result.scores, **(result.test or {})}).items():
        table.add_row(key, Text(text, style="bold" if key.startswith("test/") else ""))
    table.add_row("weights", Text(result.weight_digest, style="dim"))
    if result.saved:
        table.add_row("saved", Text(str(result.saved)))
    lines: list[RenderableType] = [Text(), table, Text()]
    lines += [Text(f"warning: {warning}", style="yellow") for warning in result.warnings]
    lines += [Text(f"mismatch: {difference}", style="red") for difference in result.differences]
    if result.reproduced and provenance:
        lines.append(
            Text(f"reproduced exactly: {provenance.metric} {provenance.value!r} and the weights", style="green")
        )
    return Group(*lines)


def list_view(studies: list[StudyResults]) -> RenderableType:
    """Return a table with one row per study."""
    table = _table("study", "trials", "best", "metric", "created", padding=1)  # fits into 80 columns
    for results in studies:
        created = datetime.fromtimestamp(results.record.created).strftime("%Y-%m-%d %H:%M")
        best = f"{results.best.value:.4f} (trial {results.best.number})" if results.best else ""
        state = "" if results.is_complete else f", {results.shown_state('running')}"
        trials = f"{results.n_ended}/{max(results.total or 0, len(results.trials))}"
        table.add_row(results.name, f"{trials}{state}", best, results.metric, created)
    return table


def _grid() -> Table:
    """Return a table of names and values without a header."""
    grid = Table.grid(padding=(0, 2))
    for _ in range(2):
        grid.add_column(overflow="fold")
    return grid


def _table(*columns: str, title: str | None = None, padding: int = 2) -> Table:
    """Return a table without lines, in which long cells are folded rather than cut."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, padding))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
