"""Market streams over connections that never open: what foreign frames and foreign failures do to them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pandas as pd
import pytest

from ares.clock import SystemClock
from ares.errors import Retryable
from ares.events import CandleClosed
from ares.exchange import book_stream
from ares.exchange.book_stream import BookStream
from ares.exchange.streams import MarketStream
from ares.exchange.wire.market import Depth
from ares.instruments import Interval
from tests.virtual_time import LoopClock, at_once, stand_still

MINUTE = 60_000_000_000


async def refused(url: str) -> Any:
    raise OSError


async def no_bars(symbol: str, interval: str, limit: int) -> pd.DataFrame:
    return pd.DataFrame()


def market(klines: Any = no_bars) -> MarketStream:
    made = MarketStream(
        ("X",), Interval.parse("1m"), frozenset({"candles"}), base="ws://x", connect=refused, clock=SystemClock(),
        klines=klines, newest=lambda symbol: None,
    )  # fmt: skip
    made._last_open["X"] = -MINUTE
    return made


async def test_a_program_that_was_held_up_takes_no_symbol_for_mute() -> None:
    """It stood still between two marks, and the second one lies unread when it looks who has spoken."""
    with at_once():
        made = MarketStream(
            ("X",), Interval.parse("1m"), frozenset({"mark_price"}), base="ws://x", connect=refused, clock=LoopClock(),
            klines=no_bars, newest=lambda symbol: None,
        )  # fmt: skip
        looking = asyncio.ensure_future(made._look())
        made._marked["X"] = made._clock.now_ns()
        await asyncio.sleep(4.0)
        stand_still(20.0)
        await asyncio.sleep(0.1)  # the look was due long ago
        made._marked["X"] = made._clock.now_ns()
        await asyncio.sleep(9.0)
        assert made.bad["mute"] == 0
        await asyncio.sleep(9.0)
        assert made.bad["mute"] == 1, "one that says nothing is noticed all the same"
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


def kline(interval: str = "1m", told: int = 60_001) -> bytes:
    bar = {"t": 0, "i": interval, "o": "1", "h": "1", "l": "1", "c": "1", "v": "1", "x": True}
    return json.dumps({"stream": "x", "data": {"e": "kline", "s": "X", "E": told, "k": bar}}).encode()


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (kline(told=99_999_999_999_999_999), "DataError"),
        (kline(told=-1), "DataError"),
        (kline("1h"), "interval"),
        (b'{"x":' + b"[" * 100_000, "RecursionError"),
    ],
)
async def test_a_frame_that_cannot_be_is_counted_and_the_next_one_is_told(frame: bytes, reason: str) -> None:
    made = market()
    made._take(frame)
    assert sum(made.bad.values()) == 1 and not made._pending
    assert made.bad[reason] == 1
    made._take(kline())
    (event,) = made._pending.values()
    assert isinstance(event, CandleClosed) and event.ts_event == 60_001 * 10**6


async def test_a_read_that_fails_in_an_unforeseen_way_is_counted_and_made_again() -> None:
    calls = 0

    async def klines(symbol: str, interval: str, limit: int) -> pd.DataFrame:
        nonlocal calls
        calls += 1
        raise ZeroDivisionError

    made = market(klines)
    for _ in range(2):
        made._refill("X")
        await made._filling["X"]
    assert calls == made.bad["ZeroDivisionError"] == 2 and not made._filling


async def test_snapshots_are_asked_for_ever_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def snapshot(symbol: str) -> Depth:
        if len(waits) < 9:
            raise Retryable("not now")
        return Depth(last_update_id=50, time_ms=1, bids=[("1", "1")], asks=[("3", "1")])

    made = BookStream("X", 5, base="ws://x", connect=refused, clock=SystemClock(), snapshot=snapshot)
    made._told = 10_000  # of a count that the venue has begun anew since
    with monkeypatch.context() as patched:
        patched.setattr(book_stream.asyncio, "sleep", sleep)
        await made._load()
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    made._spoken = True
    async with asyncio.timeout(60):
        assert (await anext(made)).last_update_id == 50
    await made.aclose()
