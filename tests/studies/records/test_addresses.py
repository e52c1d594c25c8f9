"""URLs of databases for any path, and texts without passwords."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import sqlalchemy

from studies.records.addresses import MaskingFormatter, mask_secrets, sqlite_url
from tests.study_data import empty_database

ODD_NAMES = ["50%20off", "%41", "%2F", "%%", "a?b=1", "x#y", "{0}", "a {SCHEMA_VERSION}", "ünal è", "it's;x", "a@b:c"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_database_url_leads_to_its_file_and_to_no_other(name: str, tmp_path: Path) -> None:
    file = tmp_path / name / "optuna.db"
    url = sqlite_url(file)
    assert sqlalchemy.make_url(url).database == str(file)
    assert sqlalchemy.make_url(url.format(SCHEMA_VERSION=12)).database == str(file)  # as Optuna reads it


@pytest.mark.parametrize("name", ODD_NAMES)
def test_optuna_opens_its_database_in_a_folder_with_any_name(name: str, tmp_path: Path) -> None:
    from studies.running.storage import open_storage

    folder = tmp_path / name
    folder.mkdir()
    (folder / "optuna.db").write_bytes(empty_database())
    storage = open_storage(sqlite_url(folder / "optuna.db"))
    assert storage.get_all_studies() == []
    storage.engine.dispose()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_an_ordinary_path_is_not_quoted() -> None:
    assert sqlite_url(Path("/home/a b/mlflow.db")) == "sqlite:////home/a b/mlflow.db"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:secret@host:5000/x", "http://me:***@host:5000/x"),
        ("call of https://me:se@cret@host/api failed", "call of https://me:***@host/api failed"),
        ("postgresql+psycopg2://u:secret@h/db", "postgresql+psycopg2://u:***@h/db"),
        ("https://secret@host/", "https://***@host/"),
        ("http://host/x?token=secret&page=1", "http://host/x?token=***&page=1"),
        ("mysql://h/db?ssl_password=secret", "mysql://h/db?ssl_password=***"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("sqlite:////a@b/c:d.db", "sqlite:////a@b/c:d.db"),
        ("nothing to hide: a:b@c", "nothing to hide: a:b@c"),
    ],
)
def test_the_secrets_of_a_url_are_masked(text: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert mask_secrets(text) == shown


def test_the_password_of_the_tracking_uri_is_masked_even_if_it_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "http://me:se/cr#et?1@host:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert mask_secrets(f"{uri} does not answer") == "http://me:***@host:5000 does not answer"


def test_a_log_contains_no_password_in_messages_or_tracebacks() -> None:
    try:
        raise ValueError("http://me:secret@host")
    except ValueError as error:
        record = logging.LogRecord(
            "a", logging.ERROR, "", 1, "%s", ("https://secret@host",), (type(error), error, None)
        )
    written = MaskingFormatter().format(record)
    assert "ValueError: http://me:***@host" in written
    assert "secret" not in written
