"""Trades and quotes for features: gathered, in the order of their bars, and never told after their candle."""

from __future__ import annotations

from typing import Any

import pytest

from ares.errors import InvalidInput
from ares.events import AggTrades, BookTop, CandleClosed, FuturesStatistics, LinkChanged, MarkPrice
from ares.exchange.gathering import Gathering
from ares.exchange.statistics import newer
from ares.market import AggTrade, Candle
from tests.exchange.conftest import in_process

S, SLOT, MINUTE = "ETHUSDT", 250_000_000, 60_000_000_000


def trade(number: int, ts_ns: int) -> AggTrades:
    one = AggTrade(symbol=S, agg_id=number, ts_ns=ts_ns, price=1.0, quantity=1.0, buyer_is_maker=False)
    return AggTrades(ts_event=ts_ns, ts_seen=ts_ns, symbol=S, trades=(one,))


def quote(ts_ns: int, bid: float) -> BookTop:
    return BookTop(ts_event=ts_ns, ts_seen=ts_ns, symbol=S, bid=bid, bid_quantity=1.0, ask=9.0, ask_quantity=1.0)


def closed(close_ns: int) -> CandleClosed:
    candle = Candle(symbol=S, interval="1m", open_ns=close_ns - MINUTE, close_ns=close_ns, open=1.0, high=1.0, low=1.0,
                    close=1.0, volume=1.0)  # fmt: skip
    return CandleClosed(ts_event=close_ns, ts_seen=close_ns, candle=candle)


def test_trades_are_told_together_and_quotes_once_a_slot() -> None:
    gathering = Gathering(frozenset({"agg_trades", "book_top"}))
    for number in range(5):
        gathering.add(trade(number, number * 10**6))
    for n in range(10):
        gathering.add(quote(n * SLOT // 4, 1.0 + n))  # four a slot
    told = [event for _, event in gathering.release(now_ns=3 * SLOT)]
    assert [len(e.trades) for e in told if isinstance(e, AggTrades)] == [5]
    assert [e.bid for e in told if isinstance(e, BookTop)] == [4.0, 8.0]  # the last of the two slots that are over
    assert gathering.waiting
    rest = gathering.release(now_ns=3 * SLOT, close_ns=3 * SLOT)  # the bar closed: its last slot is complete
    assert [e.bid for _, e in rest if isinstance(e, BookTop)] == [10.0]
    assert not gathering.waiting


def test_a_candle_waits_for_the_last_trades_of_its_bar() -> None:
    gathering = Gathering(frozenset({"agg_trades"}))
    gathering.add(trade(1, MINUTE - 10**6))
    first, second = closed(MINUTE), closed(2 * MINUTE)
    assert gathering.must_wait(first)
    assert gathering.settled(S) is None
    gathering.add(trade(2, MINUTE - 1))  # a tenth of a second late
    assert gathering.settled(S) is None
    gathering.add(trade(3, MINUTE))
    assert gathering.settled(S) is first
    assert not gathering.must_wait(first)  # a trade of the next bar was seen: nothing is missing
    assert gathering.must_wait(second)
    assert gathering.settled(S, late=True) is second  # nobody trades: it has waited long enough
    assert not Gathering(frozenset({"book_top"})).must_wait(first)


def test_statistics_are_told_once() -> None:
    told: dict[str, int] = {}

    def published(at: int, **values: float) -> FuturesStatistics:
        return FuturesStatistics(ts_event=at, ts_seen=9, symbol=S, values=values)

    first = [published(1, open_interest=1.0, funding_rate=0.1), published(2, open_interest=2.0)]
    assert newer(first, told) == first
    again = [*first, published(3, open_interest=3.0), published(3, funding_rate=0.2)]
    assert [e.values for e in newer(again, told)] == [{"open_interest": 3.0}, {"funding_rate": 0.2}]


async def test_the_clients_stream_tells_each_bars_trades_before_its_candle(make_venue: Any) -> None:
    """Over the client's own connector: every trade once, numbered without a gap, none after its bar's candle."""
    venue = make_venue(speed=60.0)
    async with in_process(venue, streams=("candles",)) as exchange:
        stream = exchange.stream_market([S], "1m", kinds=("agg_trades", "book_top", "futures"))
        numbers: list[int] = []
        heard: list[object] = []
        bars = 0
        async for event in stream:
            heard.append(event)
            if isinstance(event, AggTrades):
                numbers += [t.agg_id for t in event.trades]
                opens = [e.candle.close_ns for e in heard if isinstance(e, CandleClosed)]
                assert not opens or min(t.ts_ns for t in event.trades) >= opens[-1]
            if isinstance(event, BookTop):
                opens = [e.candle.close_ns for e in heard if isinstance(e, CandleClosed)]
                assert not opens or event.ts_event >= opens[-1]
            bars += isinstance(event, CandleClosed)
            if bars == 4:
                break
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) and len(numbers) > 12
        kinds = {type(event) for event in heard}
        assert {AggTrades, BookTop, MarkPrice, CandleClosed, FuturesStatistics} <= kinds
        values = [e.values for e in heard if isinstance(e, FuturesStatistics)]
        assert any("open_interest" in v for v in values)
        assert LinkChanged not in kinds
        with pytest.raises(InvalidInput, match="agg_trades"):
            exchange.stream_market([S], "1m", kinds=("agg_trade",))
        await stream.aclose()
