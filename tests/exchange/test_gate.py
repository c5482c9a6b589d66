"""How an overloaded venue is spared: fewer requests at once, protection never behind them."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares.clock import VirtualClock
from ares.errors import Retryable
from ares.exchange.binance import BinanceExchange
from ares.exchange.config import BinanceConfig
from ares.exchange.gate import MOST_AT_ONCE, Concurrency, Gate
from ares.exchange.wire.requests import cancel_order, depth
from ares.secret import Secret
from ares.simulation.server.in_process import VenueTransport, connector
from tests.virtual_time import at_once

from .conftest import KEY, SECRET, Make, pumped

S = 1_000_000_000
READ, PROTECTIVE = depth("X", 5), cancel_order("X", 1, None)


def test_an_overload_halves_and_five_quiet_seconds_give_one_place_back() -> None:
    c = Concurrency()
    assert c.places(0) == MOST_AT_ONCE == 8
    seen = []
    for second in (0, 1, 2, 3):  # each from a request that left after the halving before
        c.overloaded(second * S, second * S)
        seen.append(c.places(second * S))
    assert seen == [4, 2, 1, 1]
    assert [c.places(3 * S + quiet * S) for quiet in (4, 5, 14, 35, 3600)] == [1, 2, 3, 8, 8]


def test_requests_that_left_before_the_halving_do_not_halve_again() -> None:
    c = Concurrency()
    c.overloaded(1 * S, 2 * S)
    for left in (0, 1 * S):
        c.overloaded(left, 2 * S + 1)
    assert c.places(2 * S + 1) == 4 and c.halvings == 1


@given(st.lists(st.tuples(st.integers(0, 20 * S), st.booleans()), max_size=60))
def test_there_is_always_a_place_and_never_more_than_the_most(steps: list[tuple[int, bool]]) -> None:
    c, now = Concurrency(), 0
    for later, overload in steps:
        now += later
        before = c.places(now)
        if overload:
            c.overloaded(now, now)
            assert c.places(now) == max(1, before // 2)
        assert 1 <= c.places(now) <= MOST_AT_ONCE


async def test_places_pass_on_in_order_and_a_request_that_gives_up_leaves_none_behind() -> None:
    gate = Gate(VirtualClock(0))
    passed: list[int] = []

    async def work(number: int) -> None:
        await gate.enter(READ, 5.0)
        try:
            passed.append(number)
            await asyncio.sleep(0.002)
        finally:
            gate.leave(READ)

    with at_once():
        tasks = [asyncio.ensure_future(work(n)) for n in range(40)]
        await asyncio.sleep(0.001)
        assert gate.under_way == MOST_AT_ONCE
        await gate.enter(PROTECTIVE, 0.0)  # at once
        gate.leave(PROTECTIVE)
        for n in (9, 20, 21):
            tasks[n].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert passed == [n for n in range(40) if n not in (9, 20, 21)]
    assert gate.under_way == 0 and gate.status()["waiting"] == 0


async def test_a_request_without_a_place_in_time_was_not_sent() -> None:
    gate = Gate(VirtualClock(0))
    for _ in range(MOST_AT_ONCE):
        await gate.enter(READ, 1.0)
    with pytest.raises(Retryable, match="nothing was sent") as caught:
        await gate.enter(READ, 0.01)
    assert caught.value.facts["sent"] is False and gate.under_way == MOST_AT_ONCE
    gate.leave(READ)
    await gate.enter(READ, 0.01)


class Slow(httpx.AsyncBaseTransport):
    """The venue, ten milliseconds away; counts what is under way by kind."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.now = {"depth": 0, "order": 0}
        self.most = dict(self.now)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        kind = request.url.path.rsplit("/", 1)[1]
        if kind in self.now:
            self.now[kind] += 1
            self.most[kind] = max(self.most[kind], self.now[kind])
        await asyncio.sleep(0.01)
        try:
            return await self.inner.handle_async_request(request)
        finally:
            if kind in self.now:
                self.now[kind] -= 1

    async def aclose(self) -> None:
        await self.inner.aclose()


async def test_n4_after_an_overload_half_as_many_requests_run_at_once_and_protection_goes_on(make_venue: Make) -> None:
    venue = make_venue("throttled at GET /fapi/v1/depth nth 41", speed=1.0)
    slow = Slow(VenueTransport(venue))
    config = BinanceConfig(
        api_key=Secret(KEY), api_secret=Secret(SECRET), rest_url="http://localhost", stream_url="ws://localhost",
        max_retries=0,
    )  # fmt: skip

    with at_once():
        exchange = BinanceExchange(config, transport=slow, connect=connector(venue), clock=venue.clock)
        async with pumped(venue), exchange:
            await _overloaded(exchange, slow)


async def _overloaded(exchange: BinanceExchange, slow: Slow) -> None:
    async def books(count: int) -> list[Any]:
        slow.most = dict.fromkeys(slow.most, 0)
        asked = (exchange.get_order_book("ETHUSDT", 5) for _ in range(count))
        return await asyncio.gather(*asked, return_exceptions=True)

    await exchange.wait_filled(await exchange.create_order("ETHUSDT", "BUY", "MARKET", "0.5"))
    await books(40)
    assert slow.most["depth"] == MOST_AT_ONCE
    refused = [e for e in await books(1) if isinstance(e, Exception)]
    assert [e.facts["code"] for e in refused if isinstance(e, Retryable)] == [-1008]
    assert exchange.get_exchange_status()["gate"] == {"places": 4, "under_way": 0, "waiting": 0}
    reads = asyncio.ensure_future(books(40))
    await asyncio.sleep(0.005)
    await exchange.create_order("ETHUSDT", "SELL", "MARKET", "0.5", reduce_only=True)
    assert not reads.done() and slow.now["depth"] == 4
    assert not [e for e in await reads if isinstance(e, Exception)]
    assert slow.most["depth"] == 4
