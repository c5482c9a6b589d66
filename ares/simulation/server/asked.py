"""What a request asks for: its symbol, its decimals, its flags, each checked as the real venue checks them."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from ares.errors import Rejected
from ares.exchange.wire.numbers import MS
from ares.simulation.server.calls import Call
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.market import SymbolState

__all__ = ["chosen", "decimal_of", "is_true", "ms_of", "state_of", "symbol_of"]


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
    text = call.params.get(name, "")
    if text == "":
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise Rejected(f"Illegal characters found in parameter '{name}'", code=-1100) from None
    if not value.is_finite() or value < 0:
        raise Rejected(f"Illegal characters found in parameter '{name}'", code=-1100)
    return value


def is_true(call: Call, name: str) -> bool:
    return call.params.get(name, "").lower() == "true"


def ms_of(call: Call) -> int:
    return call.now_ns // MS
