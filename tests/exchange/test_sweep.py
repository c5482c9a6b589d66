"""Orders cancelled all at once, and by the venue itself when nobody is heard any more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ares.errors import InvalidInput
from ares.exchange.binance import BinanceExchange
from ares.exchange.config import BinanceConfig
from ares.orders import OrderStatus

from .conftest import Make, in_process, over_sockets

S = "ETHUSDT"


async def resting(exchange: BinanceExchange, client_id: str, away: float) -> Any:
    price = (await exchange.get_ticker(S)).last * away
    return await exchange.create_order(S, "BUY", "LIMIT", "0.1", price=float(price), client_order_id=client_id)


async def stop(exchange: BinanceExchange) -> Any:
    await exchange.wait_filled(await exchange.create_order(S, "BUY", "MARKET", "0.5"))
    price = float((await exchange.get_ticker(S)).last) * 0.9
    return await exchange.create_order(S, "SELL", "STOP_MARKET", "0.5", stop_price=price, reduce_only=True)


async def open_ids(exchange: BinanceExchange) -> list[str]:
    return sorted(o.client_order_id for o in await exchange.get_open_orders(S))


async def test_all_orders_go_and_stops_only_when_asked(make_venue: Make, road: Any) -> None:
    async with road(make_venue(speed=1.0)) as exchange:
        kept = await stop(exchange)
        for number in range(3):
            await resting(exchange, f"rest-{number}", 0.96 + number / 100)
        assert len(await open_ids(exchange)) == 4
        await exchange.cancel_all_orders(S)
        assert await open_ids(exchange) == [kept.client_order_id]
        assert (await exchange.get_order(S, client_order_id="rest-1")).status is OrderStatus.CANCELED
        await exchange.cancel_all_orders(S, conditional=True)
        assert await open_ids(exchange) == []


async def test_the_venue_cancels_when_nobody_is_heard_any_more(make_venue: Make) -> None:
    async with in_process(make_venue(speed=1.0)) as exchange:
        kept = await stop(exchange)
        await resting(exchange, "entry", 0.97)
        for _ in range(4):  # a sign of life in time holds it for longer than the countdown
            await exchange.cancel_all_after(S, 0.8)
            await asyncio.sleep(0.3)
        assert len(await open_ids(exchange)) == 2
        left = exchange.get_exchange_status()["countdowns"]
        assert isinstance(left, dict) and 0 < left[S] <= 0.8
        await asyncio.sleep(0.4)  # 0.7 s after the last sign
        assert len(await open_ids(exchange)) == 2
        await asyncio.sleep(0.2)
        assert await open_ids(exchange) == [kept.client_order_id]
        assert exchange.get_exchange_status()["countdowns"] == {S: 0.0}


async def test_over_sockets_the_last_countdown_counts(make_venue: Make) -> None:
    async with over_sockets(make_venue(speed=1.0)) as exchange:
        kept = await stop(exchange)
        await resting(exchange, "entry", 0.97)
        await exchange.cancel_all_after(S, 600)
        assert len(await open_ids(exchange)) == 2
        await exchange.cancel_all_after(S, 0.1)
        async with asyncio.timeout(120):
            while len(await open_ids(exchange)) == 2:
                await asyncio.sleep(0.05)
        assert await open_ids(exchange) == [kept.client_order_id]


async def test_a_countdown_that_was_ended_cancels_nothing(make_venue: Make) -> None:
    async with in_process(make_venue(speed=1.0)) as exchange:
        await resting(exchange, "entry", 0.97)
        await exchange.cancel_all_after(S, 0.3)
        await exchange.cancel_all_after(S, 0)
        await asyncio.sleep(0.6)
        assert await open_ids(exchange) == ["entry"] and exchange.get_exchange_status()["countdowns"] == {}


@pytest.mark.parametrize("seconds", [-1.0, 1e9, float("nan")])
async def test_a_time_that_cannot_be_is_not_sent(make_venue: Make, seconds: float) -> None:
    async with in_process(make_venue()) as exchange:
        with pytest.raises(InvalidInput, match="countdown"):
            await exchange.cancel_all_after(S, seconds)


async def test_capabilities_name_the_verbs_only_with_keys(make_venue: Make) -> None:
    async with in_process(make_venue()) as exchange:
        assert {"amend_order", "cancel_all_orders", "cancel_all_after"} == exchange.capabilities.verbs
        assert all(hasattr(exchange, verb) for verb in exchange.capabilities.verbs)
    assert BinanceExchange(BinanceConfig()).capabilities.verbs == frozenset()
