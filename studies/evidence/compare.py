"""`compare`: trials of one or several studies next to each other, and the paired differences that are known of them."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlp.errors import ConfigError
from mlp.paths import flatten
from mlp.records import label
from studies.evidence.compared import Compared, TrialSource, find_trial
from studies.evidence.confirmation import MAX_PAIRS, overlap_in
from studies.evidence.fresh_trainings import read_fresh, train_fresh
from studies.evidence.statistics import Comparison, compare
from studies.records.results import html_row
from studies.running.engines import AbstractEngine, EngineName
from studies.running.live_trial import Snapshot
from studies.running.progress import watching

N_SEEDS = 8  # that are suggested, as in a confirmation
INTERVAL_LEVEL = 0.05  # the intervals of differences hold with a confidence of 95 %
SPLIT_FIELDS = ("validation", "subset", "folds", "fold", "repeats", "stratify")  # of `data`; they decide the split


@dataclass(frozen=True, repr=False)
class TrialComparison:
    """What is known of several trials.

    Attributes:
        items: the trials.
        fields: the fields of their configurations that differ, by dotted path, with the value of each trial; `-` where
            a trial does not have the field. Seeds are left out.
        differences: for each trial but the first one, by how much the first one is better on pairs of seed and split
            that both were trained on: those of their confirmation, or fresh ones. None without such pairs.
        is_complete: whether all trainings that were asked for have ended.
    """

    items: tuple[Compared, ...]
    fields: Mapping[str, tuple[str, ...]]
    differences: tuple[Comparison | None, ...]
    is_complete: bool = True

    @property
    def metric(self) -> str:
        """The metric of the values."""
        return self.items[0].results.metric

    def __repr__(self) -> str:
        return f"TrialComparison({', '.join(item.name for item in self.items)})"

    def __str__(self) -> str:
        return "\n".join(difference_sentences(self))

    def _repr_html_(self) -> str:
        """Return the trials, the fields that differ and the differences, which notebooks show instead of the repr."""
        values = [
            (self.metric, *("" if item.trial.value is None else f"{item.trial.value:.6g}" for item in self.items))
        ]
        fields = [(path, *map(short_field, of)) for path, of in self.fields.items()]
        sentences = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in difference_sentences(self))
        return _html_table(["", *(item.name for item in self.items)], [*values, *fields]) + sentences


def compare_trials(
    names: Sequence[TrialSource],
    home: str | Path | None = None,
    *,
    seeds: int | None = None,
    workers: int | None = None,
    engine: EngineName | AbstractEngine = "processes",
    data_dir: str | Path | None = None,
    progress: bool = False,
    on_change: Callable[[Snapshot], None] | None = None,
) -> TrialComparison:
    """Compare trials.

    Args:
        names: at least two of: `STUDY`, the confirmed winner of a study, or else its best trial; `STUDY/TRIAL`; the
            path of an export; what `load_study` returns, for its winner; or a pair of that and a trial's number.
        home: the folder of runs; by default `STUDIES_HOME`, or else `./mlruns`.
        seeds: train the first trial and each other one on this many fresh pairs of seed and split, from 2 to 100,
            unless both were confirmed on as many. Trainings of an earlier comparison are not repeated. By default
            nothing is trained.
        workers: the number of worker processes; by default one per core. The result does not depend on it.
        engine: what computes the trainings, as in `run_study`.
        data_dir: a folder with data files; by default the environment variable `STUDIES_DATA`.
        progress: whether to show the progress of trainings, in a terminal, a notebook or a log.
        on_change: called with a snapshot of the progress after every event.

    Raises:
        ConfigError: if there are fewer than two, one is not found, they have different metrics or data, or the data
            cannot be found.
        StudyLockedError: if trainings are needed and a process runs the study.
    """
    if len(names) < 2:
        raise ConfigError("give two trials or more to compare.")
    if seeds is not None and not 2 <= seeds <= MAX_PAIRS:
        raise ConfigError(f"the number of seeds must be from 2 to {MAX_PAIRS}, got {seeds}.")
    items = [find_trial(name, home) for name in names]
    for item in items[1:]:
        _check_comparable(items[0], item)
    todo, is_complete = _to_train(items, seeds or 0), True
    with watching(on_change, is_shown=progress and bool(todo)) as watch:
        for study, trials in todo.items():
            results = next(item.results for item in items if item.study == study)
            is_complete = is_complete and train_fresh(
                results, trials, seeds or 0, workers=workers, engine=engine, data_dir=data_dir, on_change=watch
            )
    found = tuple(replace(item, fresh=read_fresh(item.results, item.trial.number)) for item in items)
    differences = tuple(_difference(found[0], other) for other in found[1:])
    return TrialComparison(found, _differing(found), differences, is_complete)


def _check_comparable(first: Compared, other: Compared) -> None:
    """Refuse trials whose values mean different things."""
    for what, of_first, of_other in (
        ("metric", first.results.metric, other.results.metric),
        ("data set", first.results.record.data.digest, other.results.record.data.digest),
    ):
        if of_first != of_other:
            shown = f", {of_first} and {of_other}" if what == "metric" else ""
            problem = f"{first.name} and {other.name} have different {what}s{shown}"
            raise ConfigError(f"{problem}, so that their values cannot be compared.")
    if first.study == other.study:
        return
    splits = [item.trial.config["data"] for item in (first, other)]
    for name in SPLIT_FIELDS:
        of_first, of_other = (data.get(name) for data in splits)
        if of_first != of_other:
            problem = f"{first.name} has data.{name} = {of_first}, and {other.name} has {of_other}"
            raise ConfigError(f"{problem}. Their validation parts are different, so their values cannot be compared.")


def _to_train(items: Sequence[Compared], n_pairs: int) -> dict[str, list[int]]:
    """Return the trials to train on fresh pairs, by the identity of their study."""
    first, *others = items
    unknown = [other for other in others if other.key != first.key and len(_common(first, other)[0]) < n_pairs]
    found: dict[str, list[int]] = {}
    for item in [first, *unknown] if unknown else []:
        trials = found.setdefault(item.study, [])
        if item.trial.number not in trials:
            trials.append(item.trial.number)
    return found


def _differing(items: Sequence[Compared]) -> dict[str, tuple[str, ...]]:
    configs = [{path: str(label(value)) for path, value in _leaves(item).items()} for item in items]
    paths = dict.fromkeys(path for config in configs for path in config)
    rows = {path: tuple(config.get(path, "-") for config in configs) for path in paths}
    return {path: values for path, values in rows.items() if len(set(values)) > 1}


def _leaves(item: Compared) -> dict[str, Any]:
    return {path: value for path, value in flatten(item.trial.config).items() if path.rpartition(".")[2] != "seed"}


def _common(first: Compared, other: Compared) -> tuple[list[float], list[float]]:
    """Return the values of two trials on the pairs that both were trained on: confirmed ones, or fresh if more."""
    confirmed = _paired(first.confirmed, other.confirmed) if first.study == other.study else ([], [])
    fresh = _paired(first.fresh, other.fresh)
    return fresh if len(fresh[0]) > len(confirmed[0]) else confirmed


def _paired(first: Mapping[int, float | None], other: Mapping[int, float | None]) -> tuple[list[float], list[float]]:
    both = [(a, b) for pair in sorted(first) if (a := first[pair]) is not None and (b := other.get(pair)) is not None]
    return [a for a, _ in both], [b for _, b in both]


def _difference(first: Compared, other: Compared) -> Comparison | None:
    """Return by how much the first trial is better; None for the same trial, or without two common pairs."""
    if first.key == other.key:
        return None
    a, b = _common(first, other)
    sign = 1.0 if first.results.direction == "maximize" else -1.0
    return compare(a, b, overlap=overlap_in(first.results), sign=sign) if len(a) >= 2 else None


def difference_sentences(comparison: TrialComparison) -> list[str]:
    """Return the differences that are known, and how to find out about the others."""
    first, *others = comparison.items
    lines, is_unknown = [], False
    for other, found in zip(others, comparison.differences, strict=True):
        if other.key == first.key:
            lines.append(f"{first.name} is given twice.")
            continue
        if found is None:
            is_unknown = True
            lines.append(
                f"{first.name} and {other.name} were not trained on the same seeds and splits. "
                "Single values may differ by chance."
            )
            continue
        low, high = found.interval(INTERVAL_LEVEL)
        better, worse, sign = (first, other, 1) if found.mean >= 0 else (other, first, -1)
        low, high = sorted((sign * low, sign * high))
        known = "" if low > 0 else " The difference may be chance."
        lines.append(
            f"{better.name} is better than {worse.name} by {sign * found.mean:.4f} on {found.n} fresh seeds and splits "
            f"(95 % interval of this pair alone: {low:.4f} to {high:.4f}).{known}"
        )
    for item in {item.key: item for item in comparison.items}.values():
        if n_failed := sum(value is None for value in item.fresh.values()):
            n = len(item.fresh)
            lines.append(f"{item.name} diverged or failed in {n_failed} of {n} trainings, which are left out.")
    if is_unknown and comparison.is_complete:
        lines.append(f"To train them on the same fresh seeds and splits: --seeds {N_SEEDS}, in Python seeds={N_SEEDS}.")
    return lines


def short_field(value: str) -> str:
    """Return the value of a field as it is shown: numbers with a fraction have four digits."""
    try:
        return value if value.lstrip("-").isdigit() else f"{float(value):.4g}"
    except ValueError:
        return value


def _html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = "".join(html_row("td", row) for row in rows)
    return f"<table><thead>{html_row('th', header)}</thead><tbody>{body}</tbody></table>"
