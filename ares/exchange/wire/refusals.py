"""What a refusal means: HTTP status and the venue's code become the one error that says what to do next.

For every request that places something the question is only whether it was executed: `Rejected`, `Retryable` and
`NotAuthorized` claim that it was not; whatever leaves a doubt is `OutcomeUnknown`.
"""

from __future__ import annotations

import re

import msgspec

from ares.errors import AresError, NotAuthorized, OutcomeUnknown, Rejected, Retryable
from ares.exchange.wire.requests import Request

__all__ = ["ALREADY_SO", "BAD_TIME", "NO_SUCH_ORDER", "ApiError", "refusal"]

NO_SUCH_ORDER = frozenset({-2011, -2013})
"""The venue knows no such order (now): reconcile, it may have filled or may still arrive."""

ALREADY_SO = frozenset({-4046, -4059, -5027, -4171})
"""What was asked for is the case already."""

BAD_TIME = frozenset({-1021, -5028})
"""The time stamp was outside the window; nothing was executed, and the clock's offset needs a new look."""

_UNKNOWN = frozenset({-1000, -1006, -1007})
_LATER = frozenset({-1003, -1008, -1015, -1016, -1112, -2012, -4022, -4117}) | BAD_TIME
_KEYS = frozenset({-1002, -1022, -2014, -2015, -2017, -4088, -4109})
_FAILED_TEXTS = ("service unavailable", "internal error; unable to process")
_BANNED_UNTIL = re.compile(r"until (\d{13})")
_LONGEST = 200


class ApiError(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a refusal."""

    code: int
    msg: str = ""


_decoder = msgspec.json.Decoder(ApiError)


def refusal(
    request: Request, status: int, body: bytes, *, retry_after: float | None = None, now_ms: int = 0
) -> AresError:
    """The error of an answer that is no success.

    retry_after: seconds of the header. now_ms: venue time, to turn "banned until" into a wait.
    """
    parsed = _parse(body)
    code = parsed.code if parsed is not None else None
    text = _clean(parsed.msg if parsed is not None else body[:_LONGEST].decode("utf-8", "backslashreplace"))
    message = f"{request.what}: {status} {'' if code is None else f'{code} '}{text}".rstrip()
    if status in (418, 429) or code in (-1003, -1015):
        return _paused(message, status, code, text, retry_after, now_ms)
    if status == 403:
        return NotAuthorized(f"{message} (the venue's firewall: stop and look)", status=status)
    if code in _KEYS or status == 401:
        return NotAuthorized(message, status=status, code=code)
    if status == 503 and code != -1008:
        failed = any(known in text.lower() for known in _FAILED_TEXTS)
        return Retryable(message, status=status, code=code) if failed else _unclear(request, message, status, code)
    if code in _UNKNOWN or status in (408, 500, 502, 504) or (code == -1001):
        return _unclear(request, message, status, code)
    if code in _LATER:
        return Retryable(message, status=status, code=code)
    if code is not None and code < 0:
        return Rejected(message, code=code, status=status)
    return _unclear(request, message, status, code)


def _unclear(request: Request, message: str, status: int, code: int | None) -> AresError:
    """A doubt: for a read nothing happened, for anything else nobody can say."""
    if request.places:
        return OutcomeUnknown(message, status=status, code=code)
    return Retryable(message, status=status, code=code)


def _paused(
    message: str, status: int, code: int | None, text: str, retry_after: float | None, now_ms: int
) -> Retryable:
    until = _BANNED_UNTIL.search(text)
    wait = retry_after
    if wait is None and until is not None and now_ms:
        wait = max(0.0, (int(until[1]) - now_ms) / 1000)
    if wait is None:
        wait = 120.0 if status == 418 else 10.0 if code == -1015 else max(1.0, 60 - now_ms % 60_000 / 1000)
    return Retryable(message, after=wait, status=status, code=code, banned=status == 418)


def _parse(body: bytes) -> ApiError | None:
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _clean(text: str) -> str:
    """The venue's words without control characters, and not too many of them."""
    short = text[:_LONGEST]
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in short)
