"""Numbers and times as the wire spells them: decimal text for money, integer milliseconds for time."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from msgspec import Meta

from ares.errors import DataError

__all__ = ["MS", "Number", "NumberOrBlank", "decimal_of", "optional", "plain", "to_ns"]

_DIGITS = r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?"

Number = Annotated[str, Meta(pattern=rf"^{_DIGITS}\Z")]
"""Decimal text. Signs, one point and a short exponent; never NaN, infinity, blanks or foreign digits."""

NumberOrBlank = Annotated[str, Meta(pattern=rf"^(?:{_DIGITS})?\Z")]
"""Decimal text, or nothing where the venue has nothing to say."""

MS = 1_000_000  # nanoseconds in a millisecond
_LAST_MS = 9_000_000_000_000  # the year 2255, still inside int64 nanoseconds


def decimal_of(text: str) -> Decimal:
    """The exact value of a `Number`."""
    return Decimal(text)


def optional(text: str) -> Decimal | None:
    """The value of a `NumberOrBlank`; None when it is blank or zero, which the venue uses for "none"."""
    value = Decimal(text) if text else Decimal(0)
    return value if value else None


def plain(value: Decimal) -> str:
    """`value` as the venue wants it: no exponent, no trailing zeros.

    >>> plain(Decimal("1E+2")), plain(Decimal("0.10"))
    ('100', '0.1')
    """
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_ns(ms: int) -> int:
    """Nanoseconds of a venue time. Raises DataError outside 1970 to 2255."""
    if not 0 <= ms <= _LAST_MS:
        raise DataError(f"{ms} is no time in milliseconds", ms=ms)
    return ms * MS

