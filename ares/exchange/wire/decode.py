"""Bytes to typed values, strictly: what is missing or malformed is a DataError, what is new is counted."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any, TypeVar, get_args

import msgspec

from ares.errors import DataError

__all__ = ["MOST_BYTES", "UnknownFields", "decode", "depth_of"]

T = TypeVar("T")

MOST_BYTES = 8 << 20
"""The longest body that is looked at."""
_DEEPEST = 32
_SHOWN = 120  # characters of a bad body that an error repeats


def decode(data: bytes, kind: type[T], what: str, *, private: bool = False) -> T:
    """The value of type `kind` in a JSON body. `what` names it in the error, such as "GET /fapi/v1/order".

    private: the error does not repeat how the body began; it may hold a stream's key or an account's money.

    Raises: DataError for anything but that: HTML, cut or foreign JSON, missing fields, numbers that are none,
    more than 8 MiB, nesting beyond 32.
    """
    if len(data) > MOST_BYTES:
        raise DataError(f"{what}: a body of {len(data)} bytes is not read", size=len(data))
    if depth_of(data) > _DEEPEST:
        raise DataError(f"{what}: nested deeper than {_DEEPEST}")
    try:
        value: T = _decoder(kind).decode(data)  # type: ignore[arg-type]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        shown = "" if private else f"; it began {data[:_SHOWN].decode('utf-8', 'backslashreplace')!r}"
        raise DataError(f"{what}: {error}{shown}", size=len(data)) from None
    return value


def depth_of(data: bytes) -> int:
    """An upper bound of the nesting of a JSON text; exact counting only where the bound alone would refuse it."""
    if data.count(b"[") + data.count(b"{") <= _DEEPEST:
        return 0
    deepest = level = 0
    inside = escaped = False
    for byte in data[:65_536]:
        if inside:
            if escaped:
                escaped = False
            elif byte == 92:
                escaped = True
            elif byte == 34:
                inside = False
        elif byte == 34:
            inside = True
        elif byte in (91, 123):
            level += 1
            deepest = max(deepest, level)
        elif byte in (93, 125):
            level -= 1
    return deepest


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


class UnknownFields:
    """Counts the fields that the venue sends and this version does not know, by "what.field".

    The venue adds fields without notice; they are ignored, but a person should be able to see them.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def look(self, data: bytes, kind: Any, what: str) -> None:
        """Compare one body that `decode` accepted with the fields of `kind`."""
        try:
            self._walk(msgspec.json.decode(data), kind, what)
        except (msgspec.MsgspecError, RecursionError):
            return

    def _walk(self, value: Any, kind: Any, what: str) -> None:
        if isinstance(value, list):
            inner = get_args(kind)
            if inner and value:
                self._walk(value[0], inner[0], what)
        elif isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            known = _fields(kind)
            for name, item in value.items():
                if name in known:
                    self._walk(item, known[name], f"{what}.{name}")
                else:
                    self.counts[f"{what}.{name}"] += 1


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, Any]:
    known: dict[str, Any] = {f.encode_name: f.type for f in msgspec.structs.fields(kind)}
    tag = kind.__struct_config__.tag_field
    return {**known, tag: str} if tag is not None else known
