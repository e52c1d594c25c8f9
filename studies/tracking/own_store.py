"""The tracking store in the home itself: its address, and the paths in it after the home was moved. SQLite only."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from studies.records.addresses import sqlite_url
from studies.records.home import Home

LOCK_SECONDS = 30.0  # how long to wait for another process that is writing to the database
LOCATIONS = (  # where MLflow keeps absolute addresses of artifacts
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def own_store(home: Home) -> str:
    """Return the address of the home's own store."""
    return sqlite_url(home.mlflow_db)


def settle_store(home: Home) -> None:
    """Move what SQLite keeps in side files into the home's own store, for a process that exits without closing it."""
    if home.mlflow_db.exists():
        with suppress(sqlite3.Error), closing(sqlite3.connect(home.mlflow_db, timeout=0.2)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def relocate(home: Home) -> list[Path]:
    """Correct the addresses of artifacts in the home's own store if the home was moved, renamed or copied.

    MLflow stores absolute addresses. Without the correction it would look for artifacts in the old place, and write
    new ones there. All addresses change in one transaction.

    Returns:
        The old paths of the home; empty if the addresses are right.

    Raises:
        sqlite3.Error: if the database cannot be read or written.
    """
    if not home.mlflow_db.is_file():
        return []
    now = home.artifacts.as_uri()
    with closing(sqlite3.connect(home.mlflow_db, timeout=LOCK_SECONDS, isolation_level=None)) as database:
        moved = [address for address in _addresses(database) if address != now and not _is_same(address, home)]
        if not moved:
            return []
        database.execute("BEGIN IMMEDIATE")
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for old in moved:
            for table, column in LOCATIONS:
                if table in tables:
                    database.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (now, len(old) + 1, old, len(old) + 1, f"{old}/"),
                    )
        database.execute("COMMIT")
    return [_path(old).parent for old in moved]


def relocation_notice(home: Home) -> str:
    """Correct the addresses of artifacts after a move; return what was done in one sentence, or an empty string.

    A store that cannot be read or written is not reported here, because publishing to it reports that.
    """
    with suppress(sqlite3.Error, OSError):
        places = ", ".join(map(str, relocate(home)))
        if places:
            return f"The home was moved from {places}: the artifact locations in {home.mlflow_db.name} were updated."
    return ""


def _addresses(database: sqlite3.Connection) -> list[str]:
    """Return the addresses that the artifacts folder has had in the experiments of studies."""
    query = (
        "SELECT DISTINCT artifact_location, value FROM experiments JOIN experiment_tags USING (experiment_id) "
        "WHERE key = 'study' AND artifact_location LIKE 'file:%'"
    )
    folders = [location.removesuffix(f"/{name}") for location, name in database.execute(query)]
    return sorted({folder for folder in folders if folder.endswith("/artifacts")})


def _is_same(address: str, home: Home) -> bool:
    """Return whether an address leads to the home's artifacts by another path, such as a symbolic link."""
    folder = _path(address)
    return folder.exists() and home.artifacts.exists() and folder.samefile(home.artifacts)


def _path(address: str) -> Path:
    return Path(unquote(urlsplit(address).path))
