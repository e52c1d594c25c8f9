"""`check_study`: compares everything that is recorded of a study, and repairs what can be made again.

The logs of the trials are the authority. Optuna's rows, the export and the runs in MLflow follow from them. A damaged
log is cut at its first damaged line, and the next run computes the rest again, with the same bits. A failure is not
computed again, because it may not happen a second time; it is taken from Optuna's row.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mlp.errors import ConfigError
from studies.errors import RecordError
from studies.evidence.conclusion import is_confirmation_written, write_confirmation
from studies.evidence.winner import export_trial, is_winner_exported
from studies.hints import command_line
from studies.records.confirmation_record import is_finished, read_confirmation_record
from studies.records.databases import DamagedError
from studies.records.failures import failures_explained
from studies.records.home import Home, StudyFolder
from studies.records.results import read_results
from studies.records.study_record import StudyRecord
from studies.records.trial_log import TrialLog, cut_log, read_lines, read_log, trial_number
from studies.records.trial_record import Ending, TrialRecord
from studies.running.reconciliation import existing_table, reconcile_rows
from studies.running.rows import first_rows
from studies.search.spec import StudySpec, make_spec


@dataclass
class Report:
    """What a check of a study found.

    Attributes:
        differences: what is damaged or does not fit, one line each.
        repairs: what was repaired, one line each.
        notes: what was not compared, and why.
    """

    differences: list[str] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_study(home: Home, name: str, *, repair: bool = False) -> Report:
    """Compare the record of a study, its logs, Optuna's rows, the export and MLflow.

    Args:
        home: the home of the study.
        name: the name of the study.
        repair: whether to repair what can be made again; the differences are then those that are left.

    Raises:
        ConfigError: if there is no such study, or a driver is running it.
        StorageError: if a file cannot be written, or the database is locked.
    """
    folder = home.existing_study(name)
    database = home.root / "optuna.db"
    report = Report()
    with failures_explained(database, command_line("check", name, "--repair", home=home)), folder.lock():
        try:
            record = folder.read_record()
            spec = make_spec({"study": record.study, "base": record.base, "space": record.space})
            spec = spec.with_second_on(record.data.n_features, record.data.n_targets, record.data.task)
        except ConfigError as error:
            report.differences.append(str(error))
            return report
        if repair:
            report.repairs += _repair_logs(home, folder, record, spec)
            report.repairs += _repair_confirmation_logs(folder, record)
            report.repairs += _repair_rows(home, folder, record, spec)
            report.repairs += _repair_conclusion(folder)
        is_readable = _check_files(home, folder, record, spec, report)
    if is_readable:
        # Without the lock, because publishing looks at it to find out whether a driver is running.
        _check_mlflow(home, folder, report, repair=repair)
    return report


def _check_files(home: Home, folder: StudyFolder, record: StudyRecord, spec: StudySpec, report: Report) -> bool:
    """Add the differences of the logs, of Optuna's rows and of the export; return whether all logs can be read."""
    trials: dict[int, TrialRecord] = {}
    for file in folder.logs():
        try:
            trial = read_log(file, record.identity)
        except RecordError as error:
            report.differences.append(str(error))
            continue
        if trial is not None:
            trials[trial.number] = trial
    trainings: list[TrialRecord] = []
    for file in folder.confirm.logs():
        try:
            training = read_log(file, record.confirm_identity)
        except RecordError as error:
            report.differences.append(str(error))
            continue
        trainings += [] if training is None else [training]
    if report.differences:
        report.notes.append("Optuna's rows and MLflow were not compared, because a log is damaged.")
        return False
    for number in range(max(trials, default=-1)):
        if number not in trials:
            report.differences.append(f"trial {number}: its log is lost. The next run computes it again.")
    report.differences += _row_differences(home, spec, trials)
    results = read_results(folder)
    if not is_confirmation_written(results, folder):
        report.differences.append(f"{folder.confirmation} is not what the logs of the confirmation say")
    confirmed = read_confirmation_record(folder, results)
    # As long as the winner is not known, a killed study leaves an export of an earlier one, or none.
    if is_finished(results, trainings, confirmed) and not is_winner_exported(results, folder.best):
        report.differences.append(f"{folder.best} is not the export of the winner")
    return True


def _row_differences(home: Home, spec: StudySpec, trials: dict[int, TrialRecord]) -> list[str]:
    """Return how Optuna's rows differ from the logs; nothing is created that does not exist."""
    expected = first_rows(trials, spec)
    database = home.root / "optuna.db"
    if not database.exists() or (database.is_file() and not database.stat().st_size):
        return [f"{database} does not exist"] if expected else []
    try:
        with existing_table(home, spec) as table:
            if table is None:
                return [f'Optuna\'s database has no study "{spec.study.name}"'] if expected else []
            return table.differences(expected)
    except DamagedError as error:
        return [f"{database} is damaged: {error}"]


def _check_mlflow(home: Home, folder: StudyFolder, report: Report, *, repair: bool) -> None:
    if not (folder.root / "publisher.lock").exists():
        report.notes.append("The study was never published, so MLflow was not compared.")
        return
    from studies.tracking.mlflow_store import compare, sync

    try:
        found = compare(home, folder)
        if found and repair:
            sync(home, folder)
            left = compare(home, folder)
            report.repairs += [f"{line} (published again)" for line in found if line not in left]
            found = left
    except ConfigError as error:
        found = [f"MLflow could not be compared: {error}"]
    report.differences += found


def _repair_logs(home: Home, folder: StudyFolder, record: StudyRecord, spec: StudySpec) -> Iterator[str]:
    """Cut damaged logs of trials; a failure that was cut off is restored from Optuna's row."""
    for file, done in _cut_logs(folder.logs(), record.identity):
        if file.exists() and _restore_failure(home, folder, record, spec, trial_number(file)):
            yield f"{done} Its trial failed, as Optuna's row says."
        else:
            yield f"{done} The next run computes the rest of its trial again."


def _repair_confirmation_logs(folder: StudyFolder, record: StudyRecord) -> Iterator[str]:
    for _, done in _cut_logs(folder.confirm.logs(), record.confirm_identity):
        yield f"{done} The next run computes the rest of its training again."


def _cut_logs(logs: Iterable[Path], identity: str) -> Iterator[tuple[Path, str]]:
    """Cut damaged logs at their first damaged line; yield each with what was done.

    What is cut off is kept in another file. A log that cannot be read at all is moved there.
    """
    for file in logs:
        try:
            lines = read_lines(file, identity)
        except RecordError:
            kept = _aside(file)
            file.rename(kept)
            yield file, f"{file} was moved to {kept}."
            continue
        if lines is not None and lines.damage:
            kept = _aside(file)
            kept.write_bytes(cut_log(file, lines))
            yield file, f"{file} was cut after line {len(lines.contents)}; the rest is in {kept}."


def _restore_failure(home: Home, folder: StudyFolder, record: StudyRecord, spec: StudySpec, number: int) -> bool:
    """Log the failure that Optuna has recorded of a trial, if the log has all epochs before it."""
    log = TrialLog(folder.log(number), record.identity)
    if log.record is None or log.record.ending is not None or not (home.root / "optuna.db").exists():
        return False
    try:
        with existing_table(home, spec) as table:
            rows = [] if table is None else table.rows()
    except (DamagedError, ValueError, LookupError, TypeError):
        return False
    epochs = dict(enumerate(log.record.history.get(spec.study.metric, []), start=1))
    for row in rows:
        reason = row.user_attrs.get("reason")
        if row.number == number and row.state.name == "FAIL" and reason and row.intermediate_values == epochs:
            lost = "The traceback was lost with a damaged line of the log."
            log.ended(
                int(row.user_attrs["end_step"]),
                Ending("failed", str(reason), error=lost, seconds=float(row.user_attrs.get("seconds", 0.0))),
            )
            return True
    return False


def _repair_rows(home: Home, folder: StudyFolder, record: StudyRecord, spec: StudySpec) -> Iterator[str]:
    """Make Optuna's rows equal to the logs; a damaged database is set aside first."""
    database = home.root / "optuna.db"
    try:
        damage = reconcile_rows(home, folder, spec, record.identity)
    except DamagedError as error:
        others = [study.name for study in home.studies() if study.name != folder.name and study.is_locked()]
        if others:
            users = ", ".join(others)
            raise ConfigError(f"{database} is damaged, but a driver uses it for: {users}. Stop it first.") from None
        kept = _aside(database)
        for suffix in ("", "-wal", "-shm"):
            part = database.with_name(database.name + suffix)
            if part.exists():
                part.rename(kept.with_name(kept.name + suffix))
        yield (
            f"{database} was damaged ({error}) and is now {kept.name}. The rows of other studies are made again from "
            "their logs when they are run or repaired."
        )
        damage = reconcile_rows(home, folder, spec, record.identity)
    if damage:
        yield f"Optuna's rows were made again from the logs: {damage}."


def _repair_conclusion(folder: StudyFolder) -> Iterator[str]:
    """Write the verdict and the export again, if they do not follow from the logs."""
    results = read_results(folder)
    if not is_confirmation_written(results, folder):
        write_confirmation(results, folder)
        yield f"{folder.confirmation} was {'written again' if folder.confirmation.exists() else 'removed'}."
    if results.is_complete and not is_winner_exported(results, folder.best):
        export_trial(results, None, folder.best)
        yield f"{folder.best} was written again."


def _aside(file: Path) -> Path:
    """Return a free name for something damaged, in the folder of the file."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = (f"{file.name}.damaged-{stamp}{f'-{count}' if count else ''}" for count in range(1000))
    return next(path for path in map(file.with_name, names) if not path.exists())
