"""The error tree: each class tells the caller what to do next.

| class | the caller's next move |
|---|---|
| `Retryable` | wait `after` seconds, then the same call again |
| `OutcomeUnknown` | never resend: ask the venue what became of it |
| `Rejected` | the venue proved it did not act: mend the request |
| `NotAuthorized` | mend keys or rights |
| `InvalidInput` | mend the argument (also a `ValueError`) |
| `DataError` | mend the data; `row` is the first offending one |
| `ModelError` | load or train another model |

Facts are attributes (`error.facts["symbol"]`), so that nobody parses a message.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TypeVar

__all__ = [
    "AresError",
    "DataError",
    "InvalidInput",
    "ModelError",
    "NotAuthorized",
    "OutcomeUnknown",
    "Rejected",
    "Retryable",
    "TooShort",
    "settings_or_default",
    "unknown_name",
]

T = TypeVar("T")


class AresError(Exception):
    """Root of everything ares raises on purpose. `facts` holds the numbers behind the message."""

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


class Retryable(AresError):
    """Nothing happened and the same call may work later. `after`: seconds to wait, None when the venue named none."""

    def __init__(self, message: str, *, after: float | None = None, **facts: object) -> None:
        super().__init__(message, after=after, **facts)
        self.after = after


class OutcomeUnknown(AresError):
    """The request left and its fate is not known. Never resend it: query by its client order id."""


class Rejected(AresError):
    """The venue refused and proved that nothing was executed. `code` is the venue's own, None when it gave none."""

    def __init__(self, message: str, *, code: int | None = None, **facts: object) -> None:
        super().__init__(message, code=code, **facts)
        self.code = code


class NotAuthorized(AresError):
    """The key is missing, wrong, or lacks a right that the call needs."""


class InvalidInput(AresError, ValueError):
    """An argument or a setting that can never work; the message says what would."""


class TooShort(InvalidInput):
    """Fewer rows than the computation needs."""


class DataError(AresError):
    """Data that cannot be repaired honestly. `row`: position of the first offending row, None when there is none."""

    def __init__(self, message: str, *, row: int | None = None, **facts: object) -> None:
        super().__init__(message, row=row, **facts)
        self.row = row


class ModelError(AresError):
    """A model that is damaged, foreign, expired or does not fit its features."""


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> InvalidInput:
    """The error for a name that does not exist; it names the nearest valid one.

    >>> str(unknown_name("interval", "1hr", ["1m", "1h"]))
    "unknown interval '1hr'; did you mean '1h'? Valid: 1h, 1m"
    """
    known = sorted(valid)
    close = get_close_matches(str(name).lower(), [v.lower() for v in known], n=1, cutoff=0.4)
    original = {v.lower(): v for v in known}
    hint = f"; did you mean {original[close[0]]!r}?" if close else "."
    listing = ", ".join(known[:40]) + (", ..." if len(known) > 40 else "")
    return InvalidInput(f"unknown {kind} {name!r}{hint} Valid: {listing or 'none'}", name=name, nearest=close[:1])


def settings_or_default(given: T | None, kind: type[T]) -> T:
    """`given`, or the defaults of `kind` for None. Raises InvalidInput for anything else, such as a dict.

    >>> settings_or_default({"seed": 1}, complex)
    Traceback (most recent call last):
    ares.errors.InvalidInput: settings must be of class complex, not dict
    """
    if given is None:
        return kind()
    if not isinstance(given, kind):
        name = type(given).__name__
        raise InvalidInput(f"settings must be of class {kind.__name__}, not {name}", given=name)
    return given
