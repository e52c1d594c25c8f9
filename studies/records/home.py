"""The home directory, the folder of each study in it, and the lock that allows a study one driver at a time."""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlp.errors import ConfigError, did_you_mean, errors_in, listed
from mlp.untrusted import read_regular
from studies.errors import RecordError, StudyLockedError
from studies.records.addresses import sqlite_url
from studies.records.files import write_atomically
from studies.records.study_record import StudyRecord

LONGEST_ROOT = 470  # bytes: SQLite opens paths of up to 504, and `mlflow.draft/migrated.db` is in the home for a while
LOCK_SECONDS = 0.2  # `is_locked` of another process may hold the lock for a moment
MAX_RECORD = 20_000_000  # bytes of `study.json`; one with a large search space has 50,000
LONGEST_NAME = 100  # characters of the name of a study, which names a folder and an MLflow experiment


def check_study_name(name: str) -> None:
    """Refuse a name that no study can have.

    Raises:
        ConfigError: with the rule that the name breaks.
    """
    if not name:
        rule, got = "must not be empty", "an empty string"
    elif len(name) > LONGEST_NAME:
        rule, got = f"must have at most {LONGEST_NAME} characters", str(len(name))
    elif wrong := re.search(r"[^A-Za-z0-9._-]", name):
        rule, got = "must consist of ASCII letters, digits, dots, dashes and underscores", f"{wrong[0]!r} in {name!r}"
    elif not re.match(r"[A-Za-z0-9]", name):
        rule, got = "must begin with a letter or a digit", repr(name)
    else:
        return
    raise ConfigError(f"{rule}, got {got}.", path="name")


@dataclass(frozen=True)
class Home:
    """The directory that contains all studies and databases; `./mlruns` by default.

    Attributes:
        root: its path.
    """

    root: Path

    @classmethod
    def find(cls, given: str | Path | None = None) -> Home:
        """Return the given home, or else `STUDIES_HOME`, or else `./mlruns`."""
        return cls(Path(given or os.environ.get("STUDIES_HOME") or "mlruns").absolute())

    def create(self) -> None:
        """Create the directory.

        Raises:
            ConfigError: if it cannot be created or written to, or its path is too long for the databases in it.
        """
        if (length := len(os.fsencode(self.root))) > LONGEST_ROOT:
            problem = f"the path of the home must have at most {LONGEST_ROOT} bytes, because SQLite cannot open longer"
            raise ConfigError(f"{problem} paths, got {length}: {str(self.root)[:40]}... Choose another with --home.")
        try:
            (self.root / "studies").mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise ConfigError(
                f"the home {self.root} cannot be written: {error.strerror}. Choose another with --home."
            ) from None

    @property
    def optuna_url(self) -> str:
        """The address of Optuna's database."""
        return sqlite_url(self.root / "optuna.db")

    @property
    def mlflow_db(self) -> Path:
        """The file of MLflow's tracking store."""
        return self.root / "mlflow.db"

    @property
    def tracking_uri(self) -> str:
        """The address of the tracking store: `MLFLOW_TRACKING_URI`, or else the home's own store."""
        return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_url(self.mlflow_db)

    @property
    def artifacts(self) -> Path:
        """The folder of MLflow's artifacts."""
        return self.root / "artifacts"

    def study(self, name: str) -> StudyFolder:
        """Return the folder of a study, which may not exist yet.

        Raises:
            ConfigError: if no study can have this name.
        """
        with errors_in("study"):
            check_study_name(name)
        return StudyFolder(self.root / "studies" / name)

    def studies(self) -> list[StudyFolder]:
        """Return the folders of all studies, by name."""
        return [StudyFolder(file.parent) for file in sorted(self.root.glob("studies/*/study.json"))]

    def existing_study(self, name: str) -> StudyFolder:
        """Return the folder of a study that exists.

        Raises:
            ConfigError: if there is no study with this name; the message lists the existing ones.
        """
        folder = self.study(name)
        if not folder.record.exists():
            names = [study.name for study in self.studies()]
            existing = f"There are: {listed(names)}." if names else "There are none yet."
            hint = did_you_mean(name, names)
            raise ConfigError(f'there is no study "{name}" in {self.root}.{hint} {existing}')
        return folder


@dataclass(frozen=True)
class TrainingFolder:
    """The event logs and checkpoints of trainings.

    Attributes:
        trials: the path of the folder.
    """

    trials: Path

    def log(self, number: int) -> Path:
        """Return the event log of a trial."""
        return self.trials / f"{number:04d}.jsonl"

    def checkpoint(self, number: int) -> Path:
        """Return the checkpoint of an unfinished trial."""
        return self.trials / f"{number:04d}.npz"

    def weights(self, number: int) -> Path:
        """Return the kept weights of a training that has ended, if they are stored."""
        return self.trials / f"{number:04d}.npy"

    def stored_weights(self) -> list[tuple[int, Path]]:
        """Return the number and the file of each training whose weights are stored."""
        found = (path for path in self.trials.glob("*.npy") if re.fullmatch(r"[0-9]{4,9}", path.stem))
        return sorted((int(path.stem), path) for path in found)

    def logs(self) -> list[Path]:
        """Return the existing event logs, by trial number. Files with other names are not part of the study."""
        found = (path for path in self.trials.glob("*.jsonl") if re.fullmatch(r"[0-9]{4,9}", path.stem))
        return sorted((path for path in found if path == self.log(int(path.stem))), key=lambda path: int(path.stem))

    def checkpoints(self) -> list[Path]:
        """Return the existing checkpoints, by trial number."""
        found = (path for path in self.trials.glob("*.npz") if re.fullmatch(r"[0-9]{4,9}", path.stem))
        return sorted(found, key=lambda path: int(path.stem))


@dataclass(frozen=True)
class StudyFolder:
    """The files of one study.

    The logs of the trials are the authority: Optuna's database and MLflow are derived from them and can be made again.
    A driver writes in an order in which a crash at any point loses nothing:

    1. `study.json`, before anything else. A folder without it is not a study.
    2. For each trial the event "asked" in its log, which has everything that is needed to ask it again, then its row
       in Optuna's database. If the row is missing, the next driver adds it.
    3. After each segment the checkpoint, and for each processed epoch an event. Epochs that are in the checkpoint but
       not in the log are processed again from the checkpoint. Events that exist are compared and not written twice.
    4. At the end of a trial the event "ended", then the row's final values and last its state, then the checkpoint is
       deleted. If the row is not final, the next driver completes it from the log.

    Files that are replaced (`study.json`, checkpoints, `best.toml`) get their name only when they are complete; logs
    only grow, and an incomplete last line is cut off. What must survive a power cut is synchronised with the disk:
    `study.json`, `best.toml`, and every event "ended" with all lines of the log before it. The rest, epochs of running
    trials, checkpoints and Optuna's database, is computed or written again.

    Attributes:
        root: the path of the folder.
    """

    root: Path

    @property
    def name(self) -> str:
        """The study's name."""
        return self.root.name

    @property
    def record(self) -> Path:
        """The study record, `study.json`."""
        return self.root / "study.json"

    @property
    def trials(self) -> Path:
        """The folder of event logs and checkpoints."""
        return self.root / "trials"

    @property
    def trainings(self) -> TrainingFolder:
        """The trials, as trainings with logs and checkpoints."""
        return TrainingFolder(self.trials)

    @property
    def confirm(self) -> TrainingFolder:
        """The trainings that confirm the winner."""
        return TrainingFolder(self.root / "confirm")

    @property
    def audit(self) -> TrainingFolder:
        """The pruned trials that an audit has trained in full."""
        return TrainingFolder(self.root / "audit")

    @property
    def compare(self) -> TrainingFolder:
        """The trainings that compare trials of this study with each other and with those of other studies."""
        return TrainingFolder(self.root / "compare")

    def log(self, number: int) -> Path:
        """Return the event log of a trial."""
        return self.trainings.log(number)

    def checkpoint(self, number: int) -> Path:
        """Return the checkpoint of an unfinished trial."""
        return self.trainings.checkpoint(number)

    def logs(self) -> list[Path]:
        """Return the existing event logs of trials, by trial number."""
        return self.trainings.logs()

    def checkpoints(self) -> list[Path]:
        """Return the existing checkpoints of trials, by trial number."""
        return self.trainings.checkpoints()

    @property
    def best(self) -> Path:
        """The exported best configuration."""
        return self.root / "best.toml"

    @property
    def confirmation(self) -> Path:
        """What the confirmation of the winner says, `confirmation.json`."""
        return self.root / "confirmation.json"

    @property
    def publisher_log(self) -> Path:
        """The log of the publisher."""
        return self.root / "publisher.log"

    def read_record(self) -> StudyRecord:
        """Return the record of the study.

        Raises:
            RecordError: if `study.json` cannot be read, is not the record of this study, or was changed.
        """
        try:
            record = StudyRecord.from_file(read_regular(self.record, MAX_RECORD).decode())
            if record.name != self.name:
                raise ConfigError(f'is the record of the study "{record.name}". Move it back.')
        except OSError as error:
            raise RecordError(f"{self.record}: cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise RecordError(f"{self.record}: is not a study record: {error}.") from error
        except ConfigError as error:
            raise RecordError(f"{self.record}: {error}") from error
        return record

    def write_record(self, record: StudyRecord) -> None:
        """Write or replace `study.json`."""
        write_atomically(self.record, record.to_file(), sync=True)

    def is_locked(self) -> bool:
        """Return whether a process runs the study. Nothing is written, so this also works on a read-only disk."""
        import fcntl

        try:
            with (self.root / "lock").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # as filelock does, but without excluding readers
        except BlockingIOError:
            return True
        except OSError:
            return False  # no process has ever locked it
        return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Own the study inside the context, so that no other process can run it.

        Raises:
            StudyLockedError: if another process owns it; the message names the process.
            ConfigError: if the folder cannot be written.
        """
        from filelock import FileLock, Timeout

        owner_file = self.root / "owner.json"
        lock = FileLock(self.root / "lock", timeout=LOCK_SECONDS)
        try:
            self.trials.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise StudyLockedError(f'study "{self.name}" is being run by {_owner(owner_file)}.') from None
        except OSError as error:
            file = error.filename or self.root
            raise ConfigError(f'study "{self.name}": {file} cannot be written: {error.strerror}.') from None
        try:
            started = time.strftime("%Y-%m-%d %H:%M:%S")
            write_atomically(
                owner_file, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": started})
            )
            yield
        finally:
            owner_file.unlink(missing_ok=True)
            lock.release()


def _owner(file: Path) -> str:
    try:
        owner = json.loads(file.read_text(encoding="utf-8"))
        return f"process {owner['pid']} on {owner['host']}, started {owner['started']}"
    except (OSError, ValueError, KeyError):
        return "another process"
