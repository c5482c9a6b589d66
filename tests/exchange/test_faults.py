"""How the client behaves when venue or network do not: faults of the network (N) and of streams (W), by their ids."""

from __future__ import annotations

import asyncio
import socket
from decimal import Decimal
from typing import Any

import httpx
import pytest

from ares.errors import DataError, NotAuthorized, OutcomeUnknown, Rejected, Retryable
from ares.events import AggTrades, CandleClosed, FillBooked, LinkChanged, OrderUpdate, VenueSnapshot
from ares.exchange import account_stream, link, streams
from ares.exchange.binance import BinanceExchange
from ares.exchange.config import BinanceConfig
from ares.exchange.http import LeanWire
from ares.orders import OrderStatus
from ares.secret import Secret
from ares.simulation.server.local_venue import LocalVenue
from tests.virtual_time import LoopClock, at_once

from .conftest import KEY, SECRET, Heard, Make, in_process, over_sockets

S = "ETHUSDT"
ORDER = "POST /fapi/v1/order"


def fills(venue: LocalVenue) -> int:
    return len(venue.traders[KEY].trades)


async def buy(exchange: BinanceExchange, client_id: str = "mine") -> Any:
    return await exchange.create_order(S, "BUY", "MARKET", "0.5", client_order_id=client_id)


# ------------------------------------------------------------ N: network and API


@pytest.mark.parametrize("fault", ["timeout_after_acceptance", "dropped", "truncated", "backend_timeout"])
async def test_n1_a_lost_answer_is_unknown_and_the_order_is_found_by_its_id(
    make_venue: Make, road: Any, fault: str
) -> None:
    venue = make_venue(f"{fault} at {ORDER} for 4", speed=1.0)
    async with road(venue, timeout=60.0, order_timeout=2.5) as exchange:
        with pytest.raises(OutcomeUnknown):
            await buy(exchange)
        assert (await exchange.get_order(S, client_order_id="mine")).status is OrderStatus.FILLED
    assert venue.orders_taken == fills(venue) == 1


async def test_n2_an_unknown_503_is_unknown(make_venue: Make) -> None:
    venue = make_venue(f"unknown_503 at {ORDER}", speed=1.0)
    async with in_process(venue) as exchange:
        with pytest.raises(OutcomeUnknown):
            await buy(exchange)
    assert venue.orders_taken == 1


async def test_n3_an_unavailable_503_proves_that_nothing_happened(make_venue: Make) -> None:
    venue = make_venue(f"unavailable_503 at {ORDER}", speed=1.0)
    async with in_process(venue) as exchange:
        with pytest.raises(Retryable):
            await buy(exchange)
        assert fills(venue) == 0
        await buy(exchange)
    assert fills(venue) == 1


async def test_n4_a_throttled_order_is_not_sent_again_and_is_counted(make_venue: Make) -> None:
    venue = make_venue(f"throttled at {ORDER}", speed=1.0)
    async with in_process(venue) as exchange:
        with pytest.raises(Retryable):
            await buy(exchange)
        assert exchange.get_exchange_status()["throttled"] == 1 and venue.orders_taken == 0


async def test_n5_a_429_pauses_reads_and_entries_but_not_protection(make_venue: Make) -> None:
    venue = make_venue("too_many at GET /fapi/v1/depth for 5", speed=1.0)
    async with in_process(venue, max_retries=0) as exchange:
        await exchange.wait_filled(await buy(exchange))
        with pytest.raises(Retryable) as caught:
            await exchange.get_order_book(S)
        assert caught.value.after == 5.0
        asked = len(exchange._rest._wire._transport.requests)
        with pytest.raises(Retryable):
            await exchange.get_order_book(S)
        with pytest.raises(Retryable):
            await buy(exchange, "second")
        assert len(exchange._rest._wire._transport.requests) == asked
        await exchange.create_order(S, "SELL", "MARKET", "0.5", reduce_only=True)
    assert fills(venue) == 2


async def test_n6_a_ban_stops_everything(make_venue: Make) -> None:
    venue = make_venue("banned at GET /fapi/v1/depth for 60", speed=1.0)
    async with in_process(venue) as exchange:
        with pytest.raises(Retryable) as caught:
            await exchange.get_order_book(S)
        assert caught.value.facts["banned"] is True
        asked = len(exchange._rest._wire._transport.requests)
        for work in (exchange.get_account(), exchange.create_order(S, "SELL", "MARKET", "0.5", reduce_only=True)):
            with pytest.raises(Retryable) as caught:
                await work
            assert 55 < (caught.value.after or 0) <= 65  # a little longer than told
        assert len(exchange._rest._wire._transport.requests) == asked


async def test_n7_clock_drift_is_measured_anew_and_the_request_signed_anew(make_venue: Make) -> None:
    venue = make_venue("clock_drift at GET /fapi/v3/account nth 1 for 30", speed=1.0)
    async with in_process(venue) as exchange:
        assert (await exchange.get_account()).wallet == 10_000
        assert 29_000 < float(str(exchange.get_exchange_status()["clock_offset_ms"])) < 31_000
        await buy(exchange)
    assert venue.orders_taken == 1


async def test_n7_a_clock_far_off_is_told_and_so_is_its_return(
    make_venue: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_stream, "_AUDIT_FLAT", 0.3)
    depth = "clock_drift at GET /fapi/v1/depth"
    venue = make_venue(f"{depth} nth 1 for 30", f"{depth} nth 2 for 0")
    async with in_process(venue) as exchange:
        heard = Heard(exchange.stream_account())
        await heard.until(lambda: heard.of(VenueSnapshot))
        for number in (1, 2):
            await exchange.get_order_book(S)
            await exchange._rest.sync_time(9)
            await heard.until(lambda n=number: len(heard.of(LinkChanged)) == n)
        assert [(e.link, e.up) for e in heard.of(LinkChanged)] == [("clock", False), ("clock", True)]


async def test_n7_venue_truth_comes_first_also_when_the_clock_is_off(make_venue: Make) -> None:
    venue = make_venue("clock_drift at GET /fapi/v1/time for 30", speed=1.0)
    async with in_process(venue) as exchange:
        heard = Heard(exchange.stream_account())
        await heard.until(lambda: len(heard.events) >= 2)
        assert isinstance(heard.events[0], VenueSnapshot) and heard.of(LinkChanged)[0].link == "clock"


async def test_w6_nothing_private_is_dropped_and_a_reader_who_sleeps_is_told(
    make_venue: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_stream, "_MOST_WAITING", 10)
    venue = make_venue(speed=1.0)
    async with in_process(venue) as exchange:
        stream = exchange.stream_account()
        assert isinstance(await anext(stream), VenueSnapshot)
        for number in range(6):
            await buy(exchange, f"order-{number}")
        await asyncio.sleep(0.3)
        first = await anext(stream)
        assert isinstance(first, LinkChanged) and not first.up
        fills_told = 0
        async with asyncio.timeout(5):
            while fills_told < 6:
                fills_told += isinstance(await anext(stream), FillBooked)
        await stream.aclose()


async def test_n8_what_never_left_is_retryable() -> None:
    with socket.socket() as taken:  # nobody listens there, nor can anybody as long as it is held
        taken.bind(("127.0.0.1", 0))
        wire = LeanWire(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(Retryable) as caught:
            await wire.send("POST", "/fapi/v1/order", {}, b"", 60.0)
    assert caught.value.facts["sent"] is False


async def test_n9_a_redirect_is_never_followed() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(302, headers={"location": "https://elsewhere.example/"})

    config = BinanceConfig(rest_url="http://localhost", api_key=Secret(KEY), api_secret=Secret(SECRET))
    exchange = BinanceExchange(config, transport=httpx.MockTransport(answer))
    with pytest.raises(NotAuthorized, match="redirect"):
        await exchange.get_account()
    assert set(asked) == {"localhost"}


@pytest.mark.parametrize(
    "reply",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<html>hi", b"garbage\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nX\r\n\r\n"],
)
async def test_n10_what_is_no_answer_is_unknown(reply: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        wire = LeanWire(f"http://127.0.0.1:{port}")
        with pytest.raises(OutcomeUnknown):
            await wire.send("POST", "/x", {}, b"a=1", 60.0)


async def test_n12_maintenance_refuses_and_passes(make_venue: Make) -> None:
    venue = make_venue("maintenance at GET /fapi/v1/depth for 0.4", speed=1.0)
    async with in_process(venue) as exchange:
        with pytest.raises(Retryable):
            await exchange._rest.call(*_depth())
        assert (await exchange.get_order_book(S)).bids.size  # a read is tried again


def _depth() -> Any:
    from ares.exchange.wire.market import Depth
    from ares.exchange.wire.requests import depth

    return depth(S, 5), Depth


async def test_n13_a_post_is_sent_once_whatever_happens(make_venue: Make) -> None:
    venue = make_venue(f"dropped at {ORDER} count 9", speed=1.0)
    async with in_process(venue) as exchange:
        with pytest.raises(OutcomeUnknown):
            await buy(exchange)
        posts = [r for r in exchange._rest._wire._transport.requests if r.method == "POST" and "order" in str(r.url)]
        assert len(posts) == 1


async def test_n13_a_client_id_that_is_open_is_refused_and_the_first_order_lives(make_venue: Make) -> None:
    venue = make_venue(speed=1.0)
    async with in_process(venue) as exchange:
        price = venue.market.symbols[S].last * 0.97
        first = await exchange.create_order(S, "BUY", "LIMIT", "0.5", price=price, client_order_id="same")
        with pytest.raises(Rejected) as caught:
            await exchange.create_order(S, "BUY", "LIMIT", "0.5", price=price, client_order_id="same")
        assert caught.value.code == -4116
        assert [o.order_id for o in await exchange.get_open_orders(S)] == [first.order_id]


# ------------------------------------------------------------ W: streams


async def test_w1_a_silent_stream_counts_as_down_and_is_made_anew(
    make_venue: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_STALL", 0.3)
    venue = make_venue("stalled at ethusdt@kline_1m nth 5 for 1.5", speed=120.0)
    async with in_process(venue, streams=("candles",)) as exchange:
        stream = exchange.stream_market([S], "1m")
        heard = Heard(stream)
        await heard.until(lambda: [e.up for e in heard.of(LinkChanged)][-2:] == [False, True])
        await heard.until(lambda: len(heard.of(CandleClosed)) >= 6)
        opens = [e.candle.open_ns for e in heard.of(CandleClosed)]
        assert all(b - a == 60 * 10**9 for a, b in zip(opens, opens[1:], strict=False))
        await stream.aclose()


@pytest.mark.parametrize("fault", ["duplicated", "reordered", "truncated", "dropped", "late"])
async def test_w2_gaps_repetitions_and_disorder_are_healed(make_venue: Make, fault: str) -> None:
    venue = make_venue(f"{fault} at ethusdt@* nth 9 count 6 for 0.4", speed=120.0)
    async with in_process(venue, streams=("candles", "mark_price", "agg_trades")) as exchange:
        stream = exchange.stream_market([S], "1m")
        heard = Heard(stream)
        await heard.until(lambda: venue.faults.happened and len(heard.of(CandleClosed)) >= 5)
        opens = [e.candle.open_ns for e in heard.of(CandleClosed)]
        assert all(b - a == 60 * 10**9 for a, b in zip(opens, opens[1:], strict=False))
        ids = [t.agg_id for e in heard.of(AggTrades) for t in e.trades]
        assert ids == sorted(set(ids))
        await stream.aclose()


async def test_w3_a_fresh_connection_takes_over_without_a_break(
    make_venue: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_DAY_OF_A_LINK", 0.7)
    monkeypatch.setattr(link, "_OVERLAP", 0.3)
    venue = make_venue(speed=120.0)
    async with in_process(venue, streams=("candles", "agg_trades")) as exchange:
        stream = exchange.stream_market([S], "1m")
        heard = Heard(stream)
        await heard.until(lambda: stream.links[0].connects >= 3)
        assert heard.of(LinkChanged) == []
        ids = [t.agg_id for e in heard.of(AggTrades) for t in e.trades]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        await stream.aclose()


@pytest.mark.parametrize("mute", ["late at ethusdt@markPrice@1s count 9999", "stalled at *"])
async def test_w10_nothing_is_told_before_every_stream_speaks_and_a_mute_one_ends_the_start(
    make_venue: Make, monkeypatch: pytest.MonkeyPatch, mute: str
) -> None:
    monkeypatch.setattr(link, "_SPEAK", 1.0)
    venue = make_venue(f"{mute} for 60", speed=120.0)
    async with in_process(venue, streams=("candles", "mark_price")) as exchange:
        stream = exchange.stream_market([S], "1m")
        with pytest.raises(DataError, match=r"the mark price of ETHUSDT.*stream_url") as caught:
            await anext(stream)
        spoke = "the market connection" not in str(caught.value.facts["silent"])
        assert spoke is mute.startswith("late") and stream.links[0].connects
        await stream.aclose()


async def test_w10_a_stream_that_never_opens_is_worth_another_try(
    make_venue: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_SPEAK", 0.3)

    async def refuse(url: str) -> link.Socket:
        raise ConnectionError("no")

    async with in_process(make_venue()) as exchange:
        exchange._connect = refuse
        stream = exchange.stream_market([S], "1m")
        with pytest.raises(Retryable, match="check the network"):
            await anext(stream)
        await stream.aclose()


async def test_w10_a_mute_order_book_is_told_too(make_venue: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_SPEAK", 0.5)
    venue = make_venue("stalled at ethusdt@depth* for 60", speed=120.0)
    async with in_process(venue) as exchange:
        books = exchange.stream_order_book(S)
        with pytest.raises(DataError, match="the book ETHUSDT connection"):
            await anext(books)
        await books.aclose()


async def test_closing_a_mute_stream_ends_a_pending_read_at_once(make_venue: Make) -> None:
    async with in_process(make_venue("stalled at * for 60")) as exchange:
        for stream in (exchange.stream_market([S], "1m"), exchange.stream_order_book(S)):
            pending = asyncio.ensure_future(anext(stream, None))
            await asyncio.sleep(0.2)
            async with asyncio.timeout(3):  # far below the ten seconds that it waits for a voice
                await stream.aclose()
                assert await pending is None


async def test_w5_a_storm_of_reconnects_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_SLOWEST", 0.01)
    tried = 0

    async def refuse(url: str) -> link.Socket:
        nonlocal tried
        tried += 1
        raise ConnectionError("no")

    async def url() -> str:
        return "ws://localhost"

    storm = link.Link(
        "x", url, lambda data: None, connect=refuse, clock=LoopClock(), changed=lambda up: None, stall=1.0
    )
    with at_once():
        storm.start()
        await asyncio.sleep(0.5)
        await storm.close()
    assert tried == 10


async def test_history_and_stream_join_without_a_gap(make_venue: Make) -> None:
    venue = make_venue(speed=120.0)
    async with in_process(venue, streams=("candles",)) as exchange:
        stream = exchange.stream_market([S], "1m")
        history = await exchange.get_klines(S, "1m", 5)
        await asyncio.sleep(2.5)  # somebody took his time with it: bars have closed meanwhile
        heard = Heard(stream)
        await heard.until(lambda: len(heard.of(CandleClosed)) >= 7)
        opens = [e.candle.open_ns for e in heard.of(CandleClosed)]
        assert opens[0] == history.index[-1].value + 60 * 10**9
        assert all(b - a == 60 * 10**9 for a, b in zip(opens, opens[1:], strict=False))
        await stream.aclose()


async def test_w4_an_expired_listen_key_costs_no_fill(make_venue: Make) -> None:
    venue = make_venue("listen_key_expired at private nth 3", speed=1.0)
    async with in_process(venue) as exchange:
        heard = Heard(exchange.stream_account())
        await heard.until(lambda: heard.of(VenueSnapshot))
        for number in range(4):
            await buy(exchange, f"order-{number}")
            await asyncio.sleep(0.05)
        await heard.until(lambda: len(heard.of(FillBooked)) == 4)
        await heard.until(lambda: [e.up for e in heard.of(LinkChanged)] == [False, True])
        told = [e.fill.trade_id for e in heard.of(FillBooked)]
        assert len(set(told)) == 4 and venue.traders[KEY].listen_keys >= 2


@pytest.mark.parametrize("fault", ["dropped", "truncated", "duplicated", "reordered", "late"])
async def test_w2_no_fill_is_lost_or_told_twice(make_venue: Make, road: Any, fault: str) -> None:
    venue = make_venue(f"{fault} at private nth 2 count 3 for 0.3", speed=1.0)
    async with road(venue) as exchange:
        heard = Heard(exchange.stream_account())
        await heard.until(lambda: heard.of(VenueSnapshot))
        for number in range(3):
            await buy(exchange, f"order-{number}")
        await heard.until(lambda: len(heard.of(FillBooked)) >= 3)
        await asyncio.sleep(0.2)
        fills_told = [e.fill for e in heard.of(FillBooked)]
        assert sum(f.quantity for f in fills_told) == Decimal("1.5") and len({f.trade_id for f in fills_told}) == 3
        assert {f.client_order_id for f in fills_told} == {"order-0", "order-1", "order-2"}
        states: dict[str, list[OrderStatus]] = {}
        for event in heard.of(OrderUpdate):
            states.setdefault(event.order.client_order_id, []).append(event.order.status)
        assert all(s == sorted(s, key=[OrderStatus.NEW, OrderStatus.FILLED].index) for s in states.values())


async def test_w8_an_audit_finds_what_the_stream_never_told(
    make_venue: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_stream, "_AUDIT_FLAT", 0.4)
    venue = make_venue("stalled at private nth 1 for 60", speed=1.0)
    async with in_process(venue) as exchange:
        heard = Heard(exchange.stream_account())
        await heard.until(lambda: heard.of(VenueSnapshot))
        await buy(exchange)
        fill = (await heard.until(lambda: heard.of(FillBooked)))[0].fill
        assert (fill.client_order_id, fill.quantity) == ("mine", Decimal("0.5"))


async def test_w8_an_order_of_which_nothing_is_heard_brings_the_look_forward(make_venue: Make) -> None:
    """The stream is up and swallows everything; on a flat account the usual look would come after a minute."""
    venue = make_venue("stalled at private nth 1 for 60", speed=1.0)
    async with in_process(venue) as exchange:
        heard = Heard(exchange.stream_account())
        await heard.until(lambda: heard.of(VenueSnapshot))
        await buy(exchange)
        fill = (await heard.until(lambda: heard.of(FillBooked), 8))[0].fill
        assert (fill.client_order_id, fill.quantity) == ("mine", Decimal("0.5"))
        price = round(venue.market.symbols[S].last) - 40
        await exchange.create_order(
            S, "BUY", "LIMIT", "0.5", price=price, time_in_force="IOC", client_order_id="expires"
        )
        ended = await heard.until(lambda: [e for e in heard.of(OrderUpdate) if e.order.client_order_id == "expires"], 8)
        assert ended[-1].order.status is OrderStatus.EXPIRED


async def test_a_refused_order_is_waited_for_by_nobody(make_venue: Make) -> None:
    async with in_process(make_venue(speed=1.0)) as exchange:
        with pytest.raises(Rejected):
            await exchange.create_order(S, "SELL", "MARKET", "0.5", reduce_only=True, client_order_id="refused")
        assert exchange._sent.waiting() == []
        await buy(exchange, "known")
        assert exchange._sent.waiting() == [(S, "known")]


async def test_w9_a_stop_that_triggers_before_it_is_explained_keeps_its_name(make_venue: Make) -> None:
    """The engine's report comes first, under an id of its own; the algo report that ties them comes late."""
    venue = make_venue(speed=1.0)
    trader = venue.traders[KEY]
    async with in_process(venue) as exchange:
        heard = Heard(exchange.stream_account())
        await heard.until(lambda: heard.of(VenueSnapshot))
        await buy(exchange)
        await heard.until(lambda: heard.of(FillBooked))
        last = venue.market.symbols[S].last
        await exchange.create_order(
            S, "SELL", "STOP_MARKET", "0.5", stop_price=last * 0.99, reduce_only=True, client_order_id="stop-1"
        )
        frames: list[bytes] = []
        told, trader.tell = trader.tell, frames.append
        trader.venue.trade(S, last * 0.98)
        trader.moved(S)
        renamed = [f.replace(b'"c":"stop-1"', b'"c":"engine-77"') for f in frames]
        for frame in sorted(renamed, key=lambda f: b"ALGO_UPDATE" in f):
            told(frame)
        fill = await heard.until(lambda: next((e.fill for e in heard.of(FillBooked) if e.fill.side.sign < 0), None))
        assert fill.client_order_id == "stop-1" and fill.order_id.startswith("algo-")


async def test_rejections_keep_the_venues_code(make_venue: Make) -> None:
    async with over_sockets(make_venue(speed=1.0)) as exchange:
        with pytest.raises(Rejected) as caught:
            await exchange.create_order(S, "SELL", "MARKET", "0.5", reduce_only=True)
        assert caught.value.code == -2022
        with pytest.raises(Rejected) as caught:
            await exchange.create_order(S, "BUY", "MARKET", "1500")
        assert caught.value.code == -2019
        with pytest.raises(Rejected) as caught:
            await exchange.set_leverage(S, 126)
        assert caught.value.code == -4028
