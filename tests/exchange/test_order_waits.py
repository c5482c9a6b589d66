"""Reads that hang keep no order and no cancel waiting: whoever sends them looks after other positions too."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("starlette")

from ares.errors import Retryable
from ares.events import FillBooked, VenueSnapshot
from ares.simulation.server.local_venue import LocalVenue
from tests.exchange.conftest import KEY, Heard, Make, in_process

S = "ETHUSDT"
PATIENT = {"timeout": 30.0, "order_timeout": 2.5}


def mute(make_venue: Make, *paths: str) -> LocalVenue:
    return make_venue(*(f"timeout_after_acceptance at GET {path} count 999 for 9999" for path in paths))


@pytest.mark.parametrize("path", ["/fapi/v1/premiumIndex", "/fapi/v1/symbolConfig"])
async def test_an_entry_that_cannot_be_prepared_is_given_up_as_soon_as_one_without_an_answer(
    make_venue: Make, path: str
) -> None:
    venue = mute(make_venue, path)
    loop = asyncio.get_running_loop()
    async with in_process(venue, **PATIENT) as exchange:
        began = loop.time()
        with pytest.raises(Retryable, match="not sent"):
            await exchange.create_order(S, "BUY", "MARKET", "0.5")
        assert loop.time() - began <= 2.6
    assert venue.orders_taken == 0


async def test_entries_go_out_though_every_read_takes_more_than_half_of_the_patience(
    make_venue: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was prepared once need not be again: then there is time enough for the price."""
    venue = make_venue()
    async with in_process(venue, **PATIENT) as exchange:
        call = exchange._rest.call

        async def slow(request: Any, kind: Any) -> Any:
            await asyncio.sleep(1.5 if request.method == "GET" else 0.0)
            return await call(request, kind)

        monkeypatch.setattr(exchange._rest, "call", slow)
        with pytest.raises(Retryable, match="not sent"):
            await exchange.create_order(S, "BUY", "MARKET", "0.5")
        await asyncio.sleep(3600.0)  # a bar later
        await exchange.create_order(S, "BUY", "MARKET", "0.5")
    assert venue.orders_taken == 1


async def test_a_stop_is_sent_and_cancelled_while_reads_hang(make_venue: Make) -> None:
    venue = make_venue("timeout_after_acceptance at GET /fapi/v1/[!acelt]* count 999 for 9999",
                       "timeout_after_acceptance at GET /fapi/v1/algoOrder count 999 for 9999")  # fmt: skip
    loop = asyncio.get_running_loop()
    async with in_process(venue, **PATIENT) as exchange:
        theirs = venue.traders[KEY].algo
        await exchange.get_instrument(S)
        began = loop.time()
        stop = await exchange.create_order(
            S, "SELL", "STOP_MARKET", "0.5", stop_price=Decimal("1.00"), reduce_only=True, client_order_id="ares1-a-1-0"
        )
        assert loop.time() - began <= 2.6
        assert [c.client_id for c in theirs.waiting(S)] == [stop.client_order_id]
        began = loop.time()
        with pytest.raises(Retryable, match="cancelled"):
            await exchange.cancel_order(S, client_order_id="ares1-a-1-0")
        assert loop.time() - began <= 5.1 and not theirs.waiting(S)


@pytest.mark.parametrize(
    ("path", "nth"), [("/fapi/v3/account", 2), ("/fapi/v1/income", 1), ("/fapi/v1/accountConfig", 2)]
)
async def test_a_fill_is_told_at_once_though_a_look_at_the_venue_hangs(make_venue: Make, path: str, nth: int) -> None:
    """The private stream is well; it is only the reads beside it of which no answer comes."""
    venue = make_venue(f"timeout_after_acceptance at GET {path} nth {nth} count 999 for 9999")
    loop = asyncio.get_running_loop()
    async with in_process(venue, **PATIENT) as exchange:
        await exchange.set_leverage(S, 5)
        stream = exchange.stream_account()
        heard = Heard(stream)
        await heard.until(lambda: heard.of(VenueSnapshot))
        stream._payments._awaited = True  # as funding leaves it that was announced and is not told yet
        stream._modes.look_soon()
        await asyncio.sleep(75.0)  # the next look has begun, and hangs
        began = loop.time()
        await exchange.create_order(S, "BUY", "MARKET", "0.5")
        await heard.until(lambda: heard.of(FillBooked))
        assert loop.time() - began <= 2.0
