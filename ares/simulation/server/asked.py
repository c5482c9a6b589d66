"""What a request asks for: its symbol, its decimals, its flags, each checked as the real venue checks them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Protocol, TypeVar

from ares.errors import Rejected
from ares.exchange.wire.numbers import MS
from ares.simulation.server.calls import Call
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.market import SymbolState

__all__ = ["asked_rows", "chosen", "decimal_of", "is_true", "limit_of", "ms_of", "state_of", "symbol_of"]

_number = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+", re.ASCII).fullmatch
_MOST_DIGITS = 15  # before the point


class _Made(Protocol):
    @property
    def created_ns(self) -> int: ...


_Row = TypeVar("_Row", bound=_Made)


def symbol_of(venue: LocalVenue, call: Call) -> str:
    symbol = call.need("symbol")
    if symbol not in venue.instruments:
        raise Rejected("Invalid symbol.", code=-1121)
    return symbol


def state_of(venue: LocalVenue, call: Call) -> SymbolState:
    return venue.market.symbols[symbol_of(venue, call)]


def chosen(venue: LocalVenue, call: Call) -> tuple[list[str], bool]:
    """The symbols asked for, and whether exactly one was."""
    if call.params.get("symbol"):
        return [symbol_of(venue, call)], True
    return list(venue.instruments), False


def decimal_of(call: Call, name: str) -> Decimal | None:
    """A number as it must stand: ASCII digits with at most one point.

    Raises: Rejected -1100 for anything else, -1111 for one of more digits than any venue counts.
    """
    text = call.params.get(name, "")
    if text == "":
        return None
    if _number(text) is None:
        raise Rejected(f"Illegal characters found in parameter '{name}'", code=-1100)
    if len(text.partition(".")[0]) > _MOST_DIGITS or len(text) > 2 * _MOST_DIGITS:
        raise Rejected(f"Too many digits in parameter '{name}': {len(text)}", code=-1111)
    return Decimal(text)


def limit_of(call: Call, usual: int, most: int = 1000) -> int:
    """How many rows are wanted: more than the most is the most. Raises Rejected -1130 below 1."""
    limit = call.number("limit", usual)
    if limit is None or limit < 1:
        raise Rejected("Data sent for parameter 'limit' is not valid.", code=-1130)
    return min(limit, most)


def is_true(call: Call, name: str) -> bool:
    return call.params.get(name, "").lower() == "true"


def ms_of(call: Call) -> int:
    return call.now_ns // MS


def asked_rows(call: Call, rows: Sequence[_Row], name: str, number: Callable[[_Row], int]) -> Sequence[_Row]:
    """Orders from an id on or within times: the first of them, else the newest. name: of the id's parameter."""
    first, start, end = call.number(name), call.number("startTime"), call.number("endTime")
    found = [
        row
        for row in rows
        if (first is None or number(row) >= first)
        and (start is None or row.created_ns // MS >= start)
        and (end is None or row.created_ns // MS <= end)
    ]
    limit = limit_of(call, 500)
    return found[:limit] if first is not None or start is not None else found[-limit:]
