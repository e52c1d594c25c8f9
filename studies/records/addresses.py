"""Addresses of stores: the URL of an SQLite database in any place, and URLs without their passwords."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

SPECIAL_CHARACTERS = "%?{}"  # SQLAlchemy decodes `%41` and cuts off at `?`, Optuna formats braces
MASK = "***"


def sqlite_url(file: Path) -> str:
    """Return the URL of an SQLite database, for SQLAlchemy, Optuna and MLflow.

    MLflow creates the folder of a `sqlite:///` URL without decoding it. So only the characters that have a meaning in a
    URL are quoted, and then the driver is named as well, because MLflow leaves such URLs alone.
    """
    path = str(file)
    quoted = "".join(quote(character) if character in SPECIAL_CHARACTERS else character for character in path)
    return f"sqlite:///{path}" if quoted == path else f"sqlite+pysqlite:///{quoted}"


def mask_secrets(text: str) -> str:
    """Return a text in which the passwords and tokens of URLs are replaced by asterisks.

    The password of `MLFLOW_TRACKING_URI` is found in any text, even if it contains `/` or `#` and is not quoted.
    """
    if found := re.match(r"[\w+.-]+://[^:/@]*:(.+)@", os.environ.get("MLFLOW_TRACKING_URI", "")):
        for secret in {found[1], unquote(found[1])}:
            text = text.replace(f":{secret}@", f":{MASK}@")
    text = re.sub(r"(?<=://)([^\s/?#:@]*):[^\s/?#]*@", rf"\1:{MASK}@", text)
    text = re.sub(r"(?<=://)[^\s/?#:@]+@", f"{MASK}@", text)  # a token instead of user and password
    return re.sub(r"(?i)([?&;](?:\w*(?:password|passwd|pwd|token|secret|api_?key))=)[^\s&;#'\"]+", rf"\1{MASK}", text)


class MaskingFormatter(logging.Formatter):
    """Formats log records, tracebacks included, without the passwords of URLs."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        return mask_secrets(super().format(record))
