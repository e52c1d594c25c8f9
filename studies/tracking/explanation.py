"""Errors of a tracking store in one line, without the passwords of addresses."""

from __future__ import annotations

from collections.abc import Iterator

from studies.records.addresses import mask_secrets

LONGEST = 300  # characters of an explanation
NO_ANSWER = {
    "ConnectionError": "no server answers",
    "ConnectTimeout": "no server answers",
    "ReadTimeout": "no answer in time",
}


def explain(error: BaseException) -> str:
    """Return why a tracking store cannot be used, in one short line.

    The error of an absent server contains the errors of three libraries; one that they all come from says enough.
    """
    for cause in _causes(error):
        if type(cause).__module__.startswith("requests.") and type(cause).__name__ in NO_ANSWER:
            return f"{NO_ANSWER[type(cause).__name__]}. Is it running, and is the address right?"
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    text = mask_secrets(line)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and the errors that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
