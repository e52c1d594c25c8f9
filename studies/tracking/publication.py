"""The durable mark that a complete study is in the tracking store.

The publisher, or `studies sync`, writes it after it has read the runs back from the store. It contains a digest of
everything that was published and of the address of the store. `studies run` publishes a complete study again if the
mark is missing or does not fit, because then the process that published it may have been killed.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from studies.records.files import write_atomically
from studies.records.home import Home, StudyFolder
from studies.records.results import StudyResults
from studies.tracking.own_store import own_store
from studies.tracking.projection import artifacts_digest, study_key


def is_published(home: Home, folder: StudyFolder, results: StudyResults) -> bool:
    """Return whether these results of a study have been published to the current tracking store."""
    if home.tracking_uri == own_store(home) and not home.mlflow_db.exists():
        return False
    mark = _mark(folder)
    if not mark.is_file():
        return False
    try:
        content = json.loads(mark.read_text(encoding="utf-8"))
        return bool(content["digest"] == _digest(home, folder, results))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def mark_published(home: Home, folder: StudyFolder, results: StudyResults) -> None:
    """Record that these results are in the current tracking store. If the mark is lost, they are published again."""
    content = {"digest": _digest(home, folder, results), "runs": len(results.trials) + len(folder.confirm.logs()) + 1}
    try:
        write_atomically(_mark(folder), json.dumps(content) + "\n")
    except OSError as error:
        logging.getLogger(__name__).warning("%s cannot be written: %s", _mark(folder), error)


def _mark(folder: StudyFolder) -> Path:
    return folder.root / "published.json"


def _digest(home: Home, folder: StudyFolder, results: StudyResults) -> str:
    # The home's own store is not named by its path, because it moves with the home.
    store = "own" if home.tracking_uri == own_store(home) else home.tracking_uri
    best = folder.best.read_bytes() if folder.best.is_file() else b""
    confirmed = folder.confirmation.read_bytes() if folder.confirmation.is_file() else b""
    sizes = ",".join(str(file.stat().st_size) for file in folder.confirm.logs())
    content = artifacts_digest(results, best, confirmed, sizes.encode())
    parts = [store, study_key(results.record), str(len(results.trials)), content]
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()
