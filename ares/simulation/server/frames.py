"""What one tick of the market looks like on the streams. A frame that nobody wants is not made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from ares.exchange.wire.numbers import MS
from ares.instruments import Interval
from ares.simulation.server.market import Market, SymbolState
from ares.simulation.server.walk import Tick

__all__ = ["LADDER", "Frames", "Wants", "intervals_of", "mark_of", "market_frames", "steady_frames"]

LADDER = 20
"""Levels a side of the made-up book."""
Wants = Callable[[str], bool]
"""Whether anybody wants the stream of this name."""
Frames = Iterator[tuple[str, bytes]]
"""Stream name and payload."""

_SPEEDS = ("", "@100ms", "@500ms")
_NAMES = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")


def market_frames(
    market: Market, slippage: Decimal, now_ns: int, tick: Tick, state: SymbolState, wants: Wants
) -> Frames:
    """Everything that one tick changes."""
    event = now_ns // MS
    if tick.kind == "close":
        yield from _closed_klines(market, tick, event, wants)
    if tick.kind != "price":
        yield from _mark(market, tick.symbol, state, event)
        return
    then = tick.market_ns // MS  # when it happened: a trade belongs to the bar of its time
    at = then if market.pace.speed <= 1 else event  # a faster market lies in the past
    yield from _trades(tick.symbol, state, event, then, wants)
    yield from _book(market, slippage, tick.symbol, state, event, at, wants)
    yield from steady_frames(market, tick.symbol, state, now_ns, wants)


def steady_frames(market: Market, symbol: str, state: SymbolState, now_ns: int, wants: Wants) -> Frames:
    """Mark price and forming bars, which come whether anybody trades or not."""
    event = now_ns // MS
    yield from _mark(market, symbol, state, event)
    if state.part > 0 and not market.ended:
        for interval in intervals_of(market):
            names = _kline_names(symbol, interval, wants)
            if names:
                forming = market.klines(symbol, interval.ns, 1, None, None, forming=True)[-1]
                yield from _kline(names, symbol, interval, forming, event, closed=False)


def _trades(symbol: str, state: SymbolState, event: int, then: int, wants: Wants) -> Frames:
    low = symbol.lower()
    number, traded, amount, _, maker = state.trades[-1]
    price = str(state.instrument.price(traded))
    size = str(state.instrument.quantity(amount, market=False) or state.instrument.lot_step)
    if wants(f"{low}@aggTrade"):
        yield f"{low}@aggTrade", _encode(
            {"e": "aggTrade", "E": event, "s": symbol, "a": number, "p": price, "q": size, "nq": size, "f": number,
             "l": number, "T": then, "m": maker, "st": 1}
        )  # fmt: skip
    if wants(f"{low}@trade"):
        yield f"{low}@trade", _encode(
            {"e": "trade", "E": event, "T": then, "s": symbol, "t": number, "p": price, "q": size, "X": "MARKET",
             "m": maker, "st": 1}
        )  # fmt: skip


def _book(
    market: Market, slippage: Decimal, symbol: str, state: SymbolState, event: int, at: int, wants: Wants
) -> Frames:
    low = symbol.lower()
    head = {"E": event, "T": at, "s": symbol, "ps": symbol}
    if wants(f"{low}@bookTicker"):
        bids, asks = market.ladder(symbol, slippage, 1)
        yield f"{low}@bookTicker", _encode(
            {"e": "bookTicker", "u": state.update_id, **head, "b": bids[0][0], "B": bids[0][1], "a": asks[0][0],
             "A": asks[0][1], "st": 1}
        )  # fmt: skip
    whole = [n for speed in _SPEEDS if wants(n := f"{low}@depth{speed}")]
    if wants(n := f"{low}@rpiDepth@500ms"):
        whole.append(n)
    parts = [(n, size) for speed in _SPEEDS for size in (5, 10, 20) if wants(n := f"{low}@depth{size}{speed}")]
    if not whole and not parts:
        return
    bids, asks = market.ladder(symbol, slippage, LADDER)
    chain = {"e": "depthUpdate", **head, "U": state.before_id + 1, "u": state.update_id, "pu": state.before_id, "st": 1}
    if whole:
        changes = _changes(state, bids, asks)
        frame = _encode({**chain, "b": changes[0], "a": changes[1]})
        yield from ((name, frame) for name in whole)
    for name, size in parts:
        yield name, _encode({**chain, "b": bids[:size], "a": asks[:size]})


def intervals_of(market: Market) -> Iterator[Interval]:
    """The venue's intervals that the tape's bars add up to, and the tape's own."""
    yield market.interval
    for name in _NAMES:
        interval = Interval.parse(name)
        if interval.ns > market.interval.ns and interval.ns % market.interval.ns == 0:
            yield interval


def _closed_klines(market: Market, tick: Tick, event: int, wants: Wants) -> Frames:
    """The bars of every interval that are complete with this one."""
    for interval in intervals_of(market):
        if interval.ns > market.interval.ns and tick.market_ns % interval.ns:
            continue
        names = _kline_names(tick.symbol, interval, wants)
        rows = market.klines(tick.symbol, interval.ns, 1, None, None, forming=False) if names else []
        if rows:
            yield from _kline(names, tick.symbol, interval, rows[-1], event, closed=True)


def _kline_names(symbol: str, interval: Interval, wants: Wants) -> list[str]:
    low = symbol.lower()
    both = (f"{low}@kline_{interval.name}", f"{low}_perpetual@continuousKline_{interval.name}")
    return [name for name in both if wants(name)]


def _kline(names: list[str], symbol: str, interval: Interval, row: list[Any], event: int, *, closed: bool) -> Frames:
    bar = {
        "t": row[0], "T": row[6], "s": symbol, "i": interval.name, "f": 0, "L": 0, "o": row[1], "c": row[4],
        "h": row[2], "l": row[3], "v": row[5], "n": row[8], "x": closed, "q": row[7], "V": row[9], "Q": row[10],
        "B": "0",
    }  # fmt: skip
    for name in names:
        if "@continuousKline" in name:
            whole = {k: v for k, v in bar.items() if k != "s"}
            yield name, _encode({"e": "continuous_kline", "E": event, "ps": symbol, "ct": "PERPETUAL", "k": whole})
        else:
            yield name, _encode({"e": "kline", "E": event, "s": symbol, "k": bar, "st": 1})


def mark_of(market: Market, symbol: str, state: SymbolState, event: int) -> dict[str, Any]:
    """The payload of a mark price."""
    price = str(state.instrument.price(state.mark))
    rate, due_ns = market.funding(state, event * MS)
    return {"e": "markPriceUpdate", "E": event, "s": symbol, "p": price, "ap": price, "i": price, "P": price,
            "r": format(rate, "f"), "T": due_ns // MS, "st": 1}  # fmt: skip


def _mark(market: Market, symbol: str, state: SymbolState, event: int) -> Frames:
    low = symbol.lower()
    frame = _encode(mark_of(market, symbol, state, event))
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
