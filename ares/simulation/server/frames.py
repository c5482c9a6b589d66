"""What one tick of the market looks like on the streams."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from ares.exchange.wire.numbers import MS
from ares.instruments import Interval
from ares.simulation.server.market import Market, SymbolState, Tick

__all__ = ["LADDER", "market_frames", "steady_frames"]

LADDER = 20
"""Levels a side of the made-up book."""


def market_frames(
    market: Market, slippage: Decimal, now_ns: int, tick: Tick, state: SymbolState
) -> Iterator[tuple[str, bytes]]:
    """Stream name and payload of everything that one tick changes."""
    symbol, low, event = tick.symbol, tick.symbol.lower(), now_ns // MS
    then = tick.market_ns // MS  # when it happened: a trade belongs to the bar of its time
    at = then if market.pace.speed <= 1 else event  # a faster market lies in the past
    if tick.kind == "close":
        row = market.klines(symbol, market.interval.ns, 1, None, None, forming=False)[-1]
        yield f"{low}@kline_{market.interval.name}", _kline(symbol, market.interval, row, event, closed=True)
        for longer in _longer(market, tick):
            rows = market.klines(symbol, longer.ns, 1, None, None, forming=False)
            if rows:
                yield f"{low}@kline_{longer.name}", _kline(symbol, longer, rows[-1], event, closed=True)
        yield from _mark(symbol, low, state, event)
        return
    if tick.kind == "funding":
        yield from _mark(symbol, low, state, event)
        return
    bids, asks = market.ladder(symbol, slippage, LADDER)
    trade = state.trades[-1]
    yield f"{low}@aggTrade", _encode(
        {"e": "aggTrade", "E": event, "s": symbol, "a": trade[0], "p": str(state.instrument.price(trade[1])),
         "q": str(state.instrument.quantity(trade[2], market=False) or state.instrument.lot_step), "nq": "0",
         "f": trade[0], "l": trade[0], "T": then, "m": trade[4], "st": 1}
    )  # fmt: skip
    yield f"{low}@bookTicker", _encode(
        {"e": "bookTicker", "u": state.update_id, "E": event, "T": at, "s": symbol, "ps": symbol,
         "b": bids[0][0], "B": bids[0][1], "a": asks[0][0], "A": asks[0][1], "st": 1}
    )  # fmt: skip
    changes = _changes(state, bids, asks)
    depth = {"e": "depthUpdate", "E": event, "T": at, "s": symbol, "ps": symbol, "U": state.before_id + 1,
             "u": state.update_id, "pu": state.before_id, "b": changes[0], "a": changes[1], "st": 1}  # fmt: skip
    for speed in ("", "@100ms", "@500ms"):
        yield f"{low}@depth{speed}", _encode(depth)
        for size in (5, 10, 20):
            yield f"{low}@depth{size}{speed}", _encode({**depth, "b": bids[:size], "a": asks[:size]})
    yield from steady_frames(market, symbol, state, now_ns)


def steady_frames(market: Market, symbol: str, state: SymbolState, now_ns: int) -> Iterator[tuple[str, bytes]]:
    """Mark price and forming bar, which come whether anybody trades or not."""
    low, event = symbol.lower(), now_ns // MS
    yield from _mark(symbol, low, state, event)
    if state.part > 0 and not market.ended:
        forming = market.klines(symbol, market.interval.ns, 1, None, None, forming=True)[-1]
        yield f"{low}@kline_{market.interval.name}", _kline(symbol, market.interval, forming, event, closed=False)


_NAMES = ("3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")


def _longer(market: Market, tick: Tick) -> Iterator[Interval]:
    """The venue's intervals that are complete with this bar."""
    for name in _NAMES:
        interval = Interval.parse(name)
        fits = interval.ns > market.interval.ns and interval.ns % market.interval.ns == 0
        if fits and tick.market_ns % interval.ns == 0:
            yield interval


def _kline(symbol: str, interval: Interval, row: list[Any], event: int, *, closed: bool) -> bytes:
    return _encode(
        {"e": "kline", "E": event, "s": symbol, "k": {
            "t": row[0], "T": row[6], "s": symbol, "i": interval.name, "f": 0, "L": 0, "o": row[1], "c": row[4],
            "h": row[2], "l": row[3], "v": row[5], "n": row[8], "x": closed, "q": row[7], "V": row[9], "Q": row[10],
            "B": "0"}}
    )  # fmt: skip


def _mark(symbol: str, low: str, state: SymbolState, event: int) -> Iterator[tuple[str, bytes]]:
    price = str(state.instrument.price(state.mark))
    frame = _encode(
        {"e": "markPriceUpdate", "E": event, "s": symbol, "p": price, "ap": price, "i": price, "P": price,
         "r": "0.00010000", "T": (event // 28_800_000 + 1) * 28_800_000, "st": 1}
    )  # fmt: skip
    yield f"{low}@markPrice", frame
    yield f"{low}@markPrice@1s", frame


def _changes(state: SymbolState, bids: list[list[str]], asks: list[list[str]]) -> tuple[list[list[str]], ...]:
    """The levels that differ from the tick before, with zero for those that are gone."""
    fresh = (dict(bids), dict(asks))
    changed = []
    for before, now in zip(state.book, fresh, strict=True):
        gone = [[p, "0"] for p in before if p not in now]
        changed.append(gone + [[p, q] for p, q in now.items() if before.get(p) != q])
    state.book = fresh
    return tuple(changed)


_encode = msgspec.json.encode
