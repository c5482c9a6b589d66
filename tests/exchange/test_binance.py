"""The whole client against the local venue, in process and over real sockets: two roads, one answer."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import numpy as np
import pytest
from attrs import evolve

from ares.errors import InvalidInput, NotAuthorized, Rejected
from ares.events import CandleClosed, FillBooked, MarkPrice, OrderUpdate, VenueSnapshot
from ares.exchange.binance import BinanceExchange
from ares.exchange.config import BinanceConfig, Environment
from ares.orders import OrderStatus, OrderType
from ares.protocols import Exchange
from ares.secret import Secret
from ares.simulation.paper import PaperExchange
from ares.simulation.server.in_process import VenueTransport
from ares.simulation.server.local_venue import LocalVenue
from ares.testing import check_exchange

from .conftest import KEY, SECRET, Heard, Make, in_process, over_sockets

S = "ETHUSDT"


async def test_public_data_in_the_shapes_of_ares(make_venue: Make, road: Any) -> None:
    venue = make_venue()
    async with road(venue) as exchange:
        assert isinstance(exchange, Exchange)
        frame = await exchange.get_klines(S, "1m", 600)
        assert len(frame) == 600 and (frame["close_time"] - frame.index).dt.total_seconds().eq(60).all()
        assert frame.index.is_monotonic_increasing and str(frame.index.dtype) == "datetime64[ns, UTC]"
        pages = await exchange.get_klines(S, "1m", 400, start=frame.index[0].to_pydatetime())
        assert pages["close"].equals(frame["close"].iloc[:400])
        hours = await exchange.get_klines(S, "1h", 3)
        first = hours.index[-1]
        minutes = await exchange.get_klines(S, "1m", 60, start=first.to_pydatetime())
        assert hours["high"].iloc[-1] == minutes["high"].max() and hours["close"].iloc[-1] == minutes["close"].iloc[-1]
        ticker, book = await exchange.get_ticker(S), await exchange.get_order_book(S, 5)
        assert ticker.bid < ticker.last < ticker.ask and book.bids.shape == (5, 2)
        assert (await exchange.get_agg_trades(S, 3))[-1].price > 0
        assert (await exchange.get_futures_data(S)).mark_price is not None
        instrument = await exchange.get_instrument(S)
        ours = venue.instruments[S]
        assert (instrument.tick_size, instrument.tiers) == (ours.tick_size, ours.tiers)
        with pytest.raises(InvalidInput, match="ETHUSDT"):
            await exchange.get_ticker("ETHUSDX")


async def test_it_passes_the_conformance_kit(make_venue: Make, road: Any) -> None:
    async with road(make_venue(speed=60.0), timeout=60.0) as exchange:
        report = await check_exchange(exchange, S, interval="1m")
    report.raise_for_failures()


async def test_paper_trading_on_its_market_passes_too(make_venue: Make) -> None:
    road = over_sockets(make_venue(speed=60.0), streams=("candles", "mark_price", "book_top"))
    async with road as source, PaperExchange(source, symbols=[S], interval="1m") as exchange:
        report = await check_exchange(exchange, S, interval="1m")
    report.raise_for_failures()


async def test_more_bars_than_one_page(make_venue: Make) -> None:
    async with in_process(make_venue(speed=1.0)) as exchange:
        frame = await exchange.get_klines(S, "1m", 900)
        assert len(frame) == 900 and not frame.index.has_duplicates
        forming = await exchange.get_klines(S, "1m", 3, closed_only=False)
        assert forming.index[-1] >= frame.index[-1]


async def test_an_order_from_wish_to_position(make_venue: Make, road: Any) -> None:
    venue = make_venue(speed=1.0)
    async with road(venue) as exchange:
        assert await exchange.set_leverage(S, 5) == 5
        assert await exchange.set_margin_mode(S, "isolated") == "isolated"
        order = await exchange.create_order(S, "BUY", "MARKET", 0.5004, client_order_id="mine-1")
        assert (order.client_order_id, order.quantity) == ("mine-1", Decimal("0.500"))
        position = await exchange.wait_filled(order, timeout=60)
        theirs = next(iter(venue.traders.values())).venue
        assert position.quantity == theirs.position(S).quantity == Decimal("0.5") and position.leverage == 5
        done = await exchange.get_order(S, client_order_id="mine-1")
        assert (done.status, done.average_price) == (OrderStatus.FILLED, position.entry_price.normalize())
        account = await exchange.get_account()
        assert account.wallet == theirs.account().wallet and account.position(S) is not None
        closing = await exchange.create_order(S, "SELL", "MARKET", "0.5", reduce_only=True)
        assert (await exchange.wait_filled(closing, timeout=60)).quantity == 0
        assert await exchange.get_positions() == ()


async def test_conditional_orders_go_through_the_algo_service(make_venue: Make, road: Any) -> None:
    venue = make_venue(speed=1.0)
    async with road(venue) as exchange:
        await exchange.wait_filled(await exchange.create_order(S, "BUY", "MARKET", "0.5"), timeout=60)
        price = float((await exchange.get_positions(S))[0].entry_price)
        stop = await exchange.create_order(
            S, "SELL", "STOP_MARKET", "0.5", stop_price=price * 0.97, reduce_only=True, client_order_id="stop-1"
        )
        assert stop.order_id.startswith("algo-") and stop.order_type is OrderType.STOP_MARKET
        resting = await exchange.create_order(S, "BUY", "LIMIT", "0.2", price=price * 0.98)
        assert {o.client_order_id for o in await exchange.get_open_orders(S)} == {"stop-1", resting.client_order_id}
        assert (await exchange.get_order(S, client_order_id="stop-1")).status is OrderStatus.NEW
        assert (await exchange.get_order(S, stop.order_id)).stop_price == stop.stop_price
        assert (await exchange.cancel_order(S, client_order_id="stop-1")).status is OrderStatus.CANCELED
        assert (await exchange.cancel_order(S, resting.order_id)).status is OrderStatus.CANCELED
        for lost in ({"client_order_id": "stop-1"}, {"client_order_id": "nobody"}, {"order_id": "999"}):
            with pytest.raises(Rejected) as caught:
                await exchange.cancel_order(S, **lost)
            assert caught.value.code == -2011
        with pytest.raises(Rejected) as caught:
            await exchange.get_order(S, client_order_id="nobody")
        assert caught.value.code == -2013
        with pytest.raises(Rejected) as caught:
            await exchange.create_order(S, "SELL", "STOP_MARKET", "0.5", stop_price=price * 1.03, reduce_only=True)
        assert caught.value.code == -2021


async def test_a_triggered_stop_is_told_under_its_own_name(make_venue: Make, road: Any) -> None:
    venue = make_venue(speed=1.0)
    async with road(venue) as exchange:
        heard = Heard(exchange.stream_account())
        await heard.until(lambda: heard.of(VenueSnapshot))
        await exchange.create_order(S, "BUY", "MARKET", "0.5")
        await heard.until(lambda: heard.of(FillBooked))
        last = venue.market.symbols[S].last
        stop = await exchange.create_order(
            S, "SELL", "STOP_MARKET", "0.5", stop_price=last * 0.999, reduce_only=True, client_order_id="stop-7"
        )
        for trader in venue.traders.values():  # the price falls
            trader.venue.trade(S, last * 0.99)
            trader.moved(S)
        fill = await heard.until(lambda: next((e.fill for e in heard.of(FillBooked) if e.fill.side.sign < 0), None))
        assert (fill.client_order_id, fill.order_id) == ("stop-7", stop.order_id)
        told = [e.order for e in heard.of(OrderUpdate) if e.order.client_order_id == "stop-7"]
        await heard.until(lambda: any(e.order.status is OrderStatus.FILLED for e in heard.of(OrderUpdate)[-2:]))
        assert told[0].status is OrderStatus.NEW
        done = await exchange.get_order(S, client_order_id="stop-7")
        assert (done.status, done.filled, done.average_price) == (OrderStatus.FILLED, Decimal("0.5"), fill.price)
        assert len({e.fill.trade_id for e in heard.of(FillBooked)}) == len(heard.of(FillBooked)) == 2


async def test_filters_are_checked_before_anything_is_sent(make_venue: Make) -> None:
    venue = make_venue(speed=1.0)
    async with in_process(venue) as exchange:
        for quantity, settings in (
            ("0.0005", {}),
            ("0.0015", {}),
            ("0.001", {}),
            ("0.1", {"price": "2000.001", "order_type": "LIMIT"}),
            ("99999999", {}),
        ):
            with pytest.raises(Rejected):
                await exchange.create_order(S, "BUY", settings.pop("order_type", "MARKET"), quantity, **settings)
        assert venue.orders_taken == 0
        for wrong in ("abc", "NaN"):
            with pytest.raises(InvalidInput):
                await exchange.create_order(S, "BUY", "MARKET", wrong)


async def test_the_market_stream_tells_each_bar_once_and_in_order(make_venue: Make, road: Any) -> None:
    venue = make_venue(speed=120.0)
    async with road(venue, streams=("candles", "mark_price", "book_top", "agg_trades")) as exchange:
        stream = exchange.stream_market([S], "1m")
        heard = Heard(stream)
        await heard.until(lambda: len(heard.of(CandleClosed)) >= 4 and heard.of(MarkPrice))
        opens = [e.candle.open_ns for e in heard.of(CandleClosed)]
        assert all(b - a == 60 * 10**9 for a, b in zip(opens, opens[1:], strict=False))
        frame = await exchange.get_klines(S, "1m", 400)
        for event in heard.of(CandleClosed):
            row = frame.loc[frame.index.as_unit("ns").asi8 == event.candle.open_ns].iloc[0]
            assert (event.candle.close, event.candle.volume) == (row["close"], row["volume"])
        assert {type(e).__name__ for e in heard.events} >= {"AggTrades", "BookTop", "CandleClosed", "MarkPrice"}
        await stream.aclose()


@pytest.mark.parametrize("fault", ["", "dropped", "truncated"])
async def test_the_live_book_is_the_venues_also_after_a_broken_chain(make_venue: Make, road: Any, fault: str) -> None:
    venue = make_venue(*([f"{fault} at ethusdt@depth@100ms nth 6"] if fault else []), speed=120.0)
    async with road(venue) as exchange:
        stream = exchange.stream_order_book(S, 5)
        heard = Heard(stream)
        await heard.until(lambda: len(heard.events) > 15)
        assert stream.snapshots == (2 if fault else 1)
        await stream.aclose()
        ids = [book.last_update_id for book in heard.events]
        assert ids == sorted(set(ids))
        for book in heard.events:
            assert book.bids.shape == book.asks.shape == (5, 2) and book.bids[0, 0] < book.asks[0, 0]
            assert np.allclose(np.diff(book.bids[:, 0]), -0.01) and np.allclose(np.diff(book.asks[:, 0]), 0.01)


async def test_without_keys_only_public_data(make_venue: Make) -> None:
    async with in_process(make_venue()) as signed:
        config = BinanceConfig(rest_url="http://localhost", stream_url="ws://localhost")
        exchange = BinanceExchange(config, transport=signed._rest._wire._transport)
        async with exchange:
            assert len(await exchange.get_klines(S, "1m", 5)) == 5
            assert not exchange.capabilities.trading and not exchange.capabilities.real_money
            with pytest.raises(NotAuthorized):
                await exchange.get_account()
            with pytest.raises(NotAuthorized):
                exchange.stream_account()


async def test_a_wrong_secret_is_not_authorized(make_venue: Make) -> None:
    venue = make_venue()
    async with in_process(venue) as good:
        transport = good._rest._wire._transport
        for key, secret in ((KEY, "another secret"), ("another key", SECRET)):
            config = BinanceConfig(api_key=Secret(key), api_secret=Secret(secret), rest_url="http://localhost")
            with pytest.raises(NotAuthorized):
                await BinanceExchange(config, transport=transport).__aenter__()


async def test_real_money_is_not_entrusted_to_a_key_that_may_withdraw(make_venue: Make) -> None:
    """The production address, answered in process: nothing leaves this machine."""
    venue = make_venue(speed=1.0)
    transport = VenueTransport(venue)
    config = BinanceConfig(api_key=Secret(KEY), api_secret=Secret(SECRET), use_testnet=False)
    async with BinanceExchange(config, transport=transport) as exchange:
        assert exchange.capabilities.real_money
    assert {r.url.host for r in transport.requests} == {"fapi.binance.com", "api.binance.com"}
    venue.traders[KEY].may_withdraw = True
    with pytest.raises(NotAuthorized, match="withdraw"):
        await BinanceExchange(config, transport=transport).__aenter__()
    await BinanceExchange(evolve(config, allow_withdrawal_key=True), transport=transport).__aenter__()


def test_where_orders_would_go() -> None:
    assert BinanceConfig().where is Environment.DEMO and not BinanceConfig().real_money
    assert BinanceConfig(use_testnet=False).real_money
    assert BinanceConfig(environment="testnet").rest == "https://testnet.binancefuture.com"
    assert BinanceConfig(use_testnet=False, rest_url="http://127.0.0.1:1").real_money is False
    for bad in ("http://example.com", "ftp://localhost", "https://user:x@host", "nonsense"):
        with pytest.raises(InvalidInput):
            BinanceConfig(rest_url=bad)


@pytest.mark.parametrize(
    ("url", "real"),
    [
        ("https://fapi.binance.com", True),
        ("https://FAPI.binance.com:443/", True),
        ("https://fapi.binance.com.", True),
        ("https://fapi1.binance.com", True),
        ("https://proxy.example.org", True),
        ("https://testnet.binancefuture.com.example.org", True),
        ("https://10.1.2.3", True),
        ("https://demo-fapi.binance.com", False),
        ("https://TESTNET.binancefuture.com.:443", False),
        ("http://localhost:8000", False),
        ("http://[::1]:8000", False),
    ],
)
def test_an_unknown_address_counts_as_real_money(url: str, real: bool) -> None:
    config = BinanceConfig(rest_url=url, api_key="a key", api_secret="its secret")
    assert config.real_money is real
    assert BinanceExchange(config).capabilities.real_money is real


def test_keys_given_as_text_are_secrets_at_once() -> None:
    config = BinanceConfig(api_key="canary-key-5d1", api_secret="canary-secret-5d1")
    assert config.api_key == Secret("canary-key-5d1") and config.api_secret == Secret("canary-secret-5d1")
    shown = f"{config} {config!r} {BinanceExchange(config).get_exchange_status()}"
    assert "canary" not in shown and BinanceExchange(config).capabilities.trading


@pytest.mark.parametrize("given", [{"api_key": "a key"}, {"api_secret": Secret("a secret")}])
def test_half_a_pair_of_keys_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="without"):
        BinanceConfig(**given)
    with pytest.raises(InvalidInput, match="text or a Secret"):
        BinanceConfig(api_key=5, api_secret=6)  # type: ignore[arg-type]


class OtherModes(VenueTransport):
    """The venue with an account whose modes were changed by hand."""

    def __init__(self, venue: LocalVenue, **changed: object) -> None:
        super().__init__(venue)
        self.changed = changed

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        if request.url.path != "/fapi/v1/accountConfig":
            return answer
        return httpx.Response(200, json=answer.json() | self.changed, request=request)


@pytest.mark.parametrize(("flag", "named"), [("dualSidePosition", "hedge mode"), ("multiAssetsMargin", "multi-assets")])
async def test_an_account_in_another_mode_is_refused_at_start(make_venue: Make, flag: str, named: str) -> None:
    config = BinanceConfig(api_key=KEY, api_secret=SECRET, rest_url="http://localhost")
    for value in (True, False):
        exchange = BinanceExchange(config, transport=OtherModes(make_venue(), **{flag: value}))
        if value:
            with pytest.raises(InvalidInput, match=named):
                await exchange.__aenter__()
        else:
            await exchange.__aenter__()


async def test_a_position_in_the_other_margin_mode_is_refused_at_start(make_venue: Make) -> None:
    venue = make_venue()
    async with in_process(venue) as exchange:
        await exchange.create_order(S, "BUY", "MARKET", "0.5")
        transport = exchange._rest._wire._transport
        await BinanceExchange(exchange.config, transport=transport).__aenter__()
        venue.traders[KEY].margin_type[S] = "CROSSED"
        with pytest.raises(InvalidInput, match="CROSSED"):
            await BinanceExchange(exchange.config, transport=transport).__aenter__()
        await BinanceExchange(evolve(exchange.config, margin_mode="CROSSED"), transport=transport).__aenter__()


async def test_the_secret_is_nowhere_to_be_seen(make_venue: Make, capsys: pytest.CaptureFixture[str]) -> None:
    import io
    import traceback

    import ares.log

    lines = io.StringIO()
    ares.log.configure("debug", stream=lines)
    shown = []
    try:
        async with over_sockets(make_venue("unknown_503 at POST /fapi/v1/order")) as exchange:
            try:
                await exchange.create_order(S, "BUY", "MARKET", "0.5")
            except Exception as error:
                shown += [*traceback.format_exception(error), str(error.__dict__)]
            await exchange.get_account()
            shown += [str(exchange.get_exchange_status()), repr(exchange.config), repr(vars(exchange._rest))]
    finally:
        ares.log.silence()
    everything = "".join(shown) + lines.getvalue() + "".join(capsys.readouterr())
    assert "Unknown error" in everything and SECRET not in everything
