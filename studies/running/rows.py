"""The rows of Optuna's database that follow from the logs of a study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlp.config import TrainConfig
from studies.records.home import StudyFolder
from studies.records.trial_log import read_log
from studies.records.trial_record import TrialRecord

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, TrialState

    from studies.search.spec import StudySpec

ASKED = ("number", "params", "distributions", "system_attrs")  # what a row has from the beginning
PLACE = ("virtual_start", "epoch_cost", "step")  # its attributes from the beginning


def trial_state(state: str) -> TrialState:
    """Return Optuna's name for the state of a trial."""
    from optuna.trial import TrialState

    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    return states.get(state, TrialState.RUNNING)


def row_of(trial: TrialRecord, spec: StudySpec) -> FrozenTrial:
    """Return the row of a trial; a running one has no intermediate values yet.

    Args:
        trial: the trial, as its log describes it.
        spec: the study.
    """
    from optuna.trial import FrozenTrial

    place, ending = trial.place, trial.ending
    attributes: dict[str, Any] = {
        "virtual_start": place.virtual_start,
        "epoch_cost": place.epoch_cost,
        "step": trial.steps[0],
    }
    if ending is not None:
        attributes |= {
            "reason": ending.reason,
            "virtual_end": trial.virtual_end,
            "end_step": trial.steps[-1],
            "kept_epoch": ending.kept_epoch,
            "weight_digest": ending.weight_digest,
            "seconds": ending.seconds,
        }
    return FrozenTrial(
        number=trial.number,
        trial_id=trial.number,
        state=trial_state(trial.state),
        value=None,
        values=_values(trial, spec),
        datetime_start=datetime.fromtimestamp(trial.started),
        datetime_complete=None if trial.ended is None else datetime.fromtimestamp(trial.ended),
        params=dict(trial.params),
        distributions=spec.space.distributions(trial.params),
        user_attrs=attributes,
        system_attrs=dict(trial.attributes),
        intermediate_values=dict(enumerate(trial.history.get(spec.study.metric, []), start=1)) if ending else {},
    )


def _values(trial: TrialRecord, spec: StudySpec) -> list[float] | None:
    """Return the value of each objective; None if the trial has no value."""
    if trial.value is None:
        return None
    second = [] if spec.second is None else [spec.second.value(TrainConfig.from_mapping(trial.config))]
    return [trial.value, *second]


def read_trials(folder: StudyFolder, identity: str) -> dict[int, TrialRecord]:
    """Return the trials of a study by number, from their logs.

    Raises:
        RecordError: if a log is damaged.
    """
    found = (read_log(file, identity) for file in folder.logs())
    return {trial.number: trial for trial in found if trial is not None}


def first_rows(trials: dict[int, TrialRecord], spec: StudySpec) -> list[FrozenTrial]:
    """Return the rows of trial 0, 1 and so on, up to the first trial that has no log.

    Optuna numbers rows in the order in which they are written, so that a row cannot come before an earlier one.
    """
    rows: list[FrozenTrial] = []
    while len(rows) in trials:
        rows.append(row_of(trials[len(rows)], spec))
    return rows


def row_differences(found: Sequence[FrozenTrial], expected: Sequence[FrozenTrial]) -> Iterator[tuple[int, str]]:
    """Yield the number of each row that is not as expected, and what is different.

    The times of rows are not compared, because Optuna stores them in the time zone of the machine.
    """
    for number in range(max(len(found), len(expected))):
        if number >= len(found):
            yield number, "Optuna's database has no row"
        elif number >= len(expected):
            yield number, "Optuna's database has a row, but there is no log before it or for it"
        elif difference := _difference(found[number], expected[number]):
            yield number, difference


def is_unfinished(found: FrozenTrial, expected: FrozenTrial) -> bool:
    """Return whether a row lacks only what is written at the end of a trial, as after a kill at that moment."""
    from optuna.trial import TrialState

    place_found, place_expected = ({key: row.user_attrs.get(key) for key in PLACE} for row in (found, expected))
    return bool(
        found.state == TrialState.RUNNING != expected.state
        and place_found == place_expected
        and all(getattr(found, what) == getattr(expected, what) for what in ASKED)
        and found.values is None
        and found.intermediate_values.items() <= expected.intermediate_values.items()
        and found.user_attrs.items() <= expected.user_attrs.items()
    )


def _difference(found: FrozenTrial, expected: FrozenTrial) -> str:
    for what in ("number", "state", "values", "params", "distributions", "intermediate_values"):
        is_now, was = getattr(found, what), getattr(expected, what)
        if is_now != was:
            if what == "state":
                is_now, was = is_now.name, was.name
            detail = "" if what == "distributions" else f": {is_now} instead of {was}"
            return f"Optuna's row differs from the log in {what.replace('_', ' ')}{detail}"
    for attributes in ("user_attrs", "system_attrs"):
        has, should = getattr(found, attributes), getattr(expected, attributes)
        for key in {**should, **has}:
            if has.get(key) != should.get(key):
                return f"Optuna's row differs from the log in {key}: {has.get(key)} instead of {should.get(key)}"
    return ""
