"""The streams that sum up: the last 24 hours of a symbol, and of all symbols in one frame."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from ares.exchange.wire.numbers import MS
from ares.simulation.server.frames import Frames, Wants, mark_of
from ares.simulation.server.market import Market

__all__ = ["day_of", "ticker_frames"]

_ALL_QUOTES_EVERY = 5  # seconds
_encode = msgspec.json.encode


def day_of(market: Market, symbol: str, now_ms: int) -> dict[str, Any]:
    """What GET /fapi/v1/ticker/24hr tells of one symbol."""
    state = market.symbols[symbol]
    bar = market.day(symbol)
    last, opening = state.instrument.price(state.last), Decimal(bar[1])
    volume, value = Decimal(bar[5]), Decimal(bar[7])
    average = value / volume if volume and value else last
    size = state.instrument.quantity(state.trades[-1][2], market=False) if state.trades else Decimal(0)
    return {
        "symbol": symbol, "priceChange": str(last - opening),
        "priceChangePercent": format((last - opening) / opening * 100, ".3f"),
        "weightedAvgPrice": format(average, ".8f"), "lastPrice": str(last),
        "lastQty": str(size or state.instrument.lot_step), "openPrice": bar[1],
        "highPrice": str(max(Decimal(bar[2]), last)), "lowPrice": str(min(Decimal(bar[3]), last)), "volume": bar[5],
        "quoteVolume": bar[7], "openTime": bar[0], "closeTime": now_ms, "firstId": 0, "lastId": state.agg_id,
        "count": bar[8],
    }  # fmt: skip


def ticker_frames(market: Market, slippage: Decimal, now_ns: int, wants: Wants) -> Frames:
    """What is told once a second."""
    event = now_ns // MS
    for symbol in market.symbols:
        low = symbol.lower()
        if wants(f"{low}@ticker"):
            yield f"{low}@ticker", _encode(_ticker(market, symbol, event))
        if wants(f"{low}@miniTicker"):
            yield f"{low}@miniTicker", _encode(_mini(market, symbol, event))
    if wants("!ticker@arr"):
        yield "!ticker@arr", _encode([_ticker(market, s, event) for s in market.symbols])
    if wants("!miniTicker@arr"):
        yield "!miniTicker@arr", _encode([_mini(market, s, event) for s in market.symbols])
    for name in ("!markPrice@arr", "!markPrice@arr@1s"):
        if wants(name):
            yield name, _encode([mark_of(market, s, state, event) for s, state in market.symbols.items()])
    if wants("!bookTicker") and event // 1000 % _ALL_QUOTES_EVERY == 0:
        for symbol, state in market.symbols.items():
            bids, asks = market.ladder(symbol, slippage, 1)
            yield "!bookTicker", _encode(
                {"e": "bookTicker", "u": state.update_id, "E": event, "T": event, "s": symbol, "ps": symbol,
                 "b": bids[0][0], "B": bids[0][1], "a": asks[0][0], "A": asks[0][1], "st": 1}
            )  # fmt: skip


def _ticker(market: Market, symbol: str, event: int) -> dict[str, Any]:
    day = day_of(market, symbol, event)
    return {
        "e": "24hrTicker", "E": event, "s": symbol, "ps": symbol, "p": day["priceChange"],
        "P": day["priceChangePercent"], "w": day["weightedAvgPrice"], "c": day["lastPrice"], "Q": day["lastQty"],
        "o": day["openPrice"], "h": day["highPrice"], "l": day["lowPrice"], "v": day["volume"],
        "q": day["quoteVolume"], "O": day["openTime"], "C": day["closeTime"], "F": day["firstId"],
        "L": day["lastId"], "n": day["count"], "st": 1,
    }  # fmt: skip


def _mini(market: Market, symbol: str, event: int) -> dict[str, Any]:
    day = day_of(market, symbol, event)
    return {
        "e": "24hrMiniTicker", "E": event, "s": symbol, "ps": symbol, "c": day["lastPrice"], "o": day["openPrice"],
        "h": day["highPrice"], "l": day["lowPrice"], "v": day["volume"], "q": day["quoteVolume"], "st": 1,
    }  # fmt: skip
