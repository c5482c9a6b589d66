"""The venue against its slow twin under random trading, and its refusals one by one."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ares.errors import InvalidInput, Rejected
from ares.events import FillBooked, OrderUpdate
from ares.instrument_tables import default_instrument
from ares.instruments import Instrument, MarginTier, from_units, to_units
from ares.orders import NEXT_STATUS, OrderRequest, OrderStatus
from ares.simulation.venue import Venue, VenueConfig
from tests.oracles.slow_venue import SlowOrder, SlowVenue
from tests.simulation.market import D

COARSE = Instrument(  # one tick times one lot is one quote
    symbol="TOYUSDT",
    base_asset="TOY",
    quote_asset="USDT",
    tick_size=D(1),
    lot_step=D(1),
    min_quantity=D(1),
    max_quantity=D(10**6),
    max_market_quantity=D(10**6),
    min_notional=D(0),
    band_up=D(100),
    band_down=D("0.001"),
    liquidation_fee=D("0.02"),
    tiers=(
        MarginTier(floor=D(0), cap=D(2_000), rate=D("0.01"), cum=D(0), max_leverage=20),
        MarginTier(floor=D(2_000), cap=D(5_000), rate=D("0.05"), cum=D(80), max_leverage=8),
        MarginTier(floor=D(5_000), cap=D(20_000), rate=D("0.10"), cum=D(330), max_leverage=4),
    ),
)
TIERS = [(to_units(t.cap), Fraction(t.rate), to_units(t.cum), t.max_leverage) for t in COARSE.tiers]

PRICE = st.integers(60, 140)
ORDERS = st.tuples(
    st.just("order"),
    st.sampled_from(["BUY", "SELL"]),
    st.sampled_from(["MARKET", "LIMIT", "STOP_MARKET", "TAKE_PROFIT_MARKET"]),
    st.integers(1, 40),
    PRICE,
    st.booleans(),
    st.sampled_from(["GTC", "GTC", "GTC", "IOC", "FOK", "GTX"]),
)
BETWEEN = st.lists(
    st.one_of(
        ORDERS,
        ORDERS,
        ORDERS,
        st.tuples(st.just("cancel"), st.integers(1, 20)),
        st.tuples(st.just("leverage"), st.integers(1, 20)),
        st.tuples(st.just("fund"), st.integers(-3_000_000, 3_000_000), PRICE),
    ),
    max_size=4,
)
BARS = st.lists(
    st.tuples(BETWEEN, PRICE, BETWEEN, st.integers(0, 30), st.integers(0, 30), st.integers(0, 100)),
    min_size=1,
    max_size=12,
)
CONFIGS = st.builds(
    VenueConfig,
    start_balance=st.sampled_from([D(300), D(2_000), D(20_000)]),
    slippage=st.sampled_from([D(0), D("0.001"), D("0.02")]),
    maker_fee=st.sampled_from([D(0), D("0.0002"), D("-0.0001")]),
    taker_fee=st.sampled_from([D(0), D("0.0005"), D("0.01")]),
    limit_through=st.integers(0, 2),
    leverage=st.sampled_from([1, 4, 20]),
)


class Pair:
    """The venue and its twin, told the same things; they must agree after each."""

    def __init__(self, config: VenueConfig) -> None:
        self.venue = Venue([COARSE], config)
        fees = [Fraction(f) for f in (config.slippage, config.maker_fee or 0, config.taker_fee or 0, D("0.02"))]
        start = to_units(config.start_balance)
        self.slow = SlowVenue(start, *fees, config.limit_through, config.leverage, TIERS)
        self.numbers: dict[int, str] = {}
        self.states: dict[str, OrderStatus] = {}
        self.fills: list[tuple[int, int, int, bool, bool]] = []

    def order(self, side: str, kind: str, lots: int, level: int, reduce_only: bool, tif: str) -> None:
        number = len(self.numbers) + 1
        at = {"price": D(level)} if kind == "LIMIT" else {} if kind == "MARKET" else {"stop_price": D(level)}
        tif = tif if kind == "LIMIT" else "GTC"
        request = OrderRequest(
            symbol="TOYUSDT", side=side, order_type=kind, quantity=D(lots), reduce_only=reduce_only,
            time_in_force=tif, **at,
        )  # fmt: skip
        twin = SlowOrder(number, 1 if side == "BUY" else -1, kind, lots, level if at else 0, reduce_only, tif)
        try:
            self.numbers[number] = self.venue.submit(request, f"c{number}").order_id
            code = 0
        except Rejected as refused:
            code = refused.code or -1
        assert code == self.slow.submit(twin)

    def cancel(self, number: int) -> None:
        twin = self.slow.everything.get(number)
        if twin is not None and twin.status == "NEW":
            self.slow.finish(twin, "CANCELED")
            self.venue.cancel("TOYUSDT", self.numbers[number])
        elif number in self.numbers:
            with pytest.raises(Rejected, match="-2011"):
                self.venue.cancel("TOYUSDT", self.numbers[number])

    def leverage(self, leverage: int) -> None:
        try:
            self.venue.set_leverage("TOYUSDT", leverage)
        except Rejected:
            assert self.slow.held
        else:
            self.slow.book.positions[0].leverage = leverage

    def fund(self, rate: int, mark: int) -> None:
        self.venue.fund("TOYUSDT", from_units(rate), float(mark))
        if self.slow.held:
            self.slow.fund(Fraction(rate, 10**8), mark)

    def compare(self) -> None:
        for event in self.venue.events:
            if isinstance(event, OrderUpdate):  # I14: state moves forward only
                before = self.states.get(event.order.order_id)
                assert before is None or event.order.status in NEXT_STATUS[before]
                self.states[event.order.order_id] = event.order.status
            elif isinstance(event, FillBooked):
                f = event.fill
                self.fills.append(
                    (f.side.sign * int(f.quantity), int(f.price), to_units(f.fee), f.maker, f.liquidation)
                )
        self.venue.events.clear()
        assert self.fills == self.slow.fills
        p, row = self.slow.book.positions[0], [int(v) for v in self.venue.ledger.row("TOYUSDT")]
        assert row[:6] == [p.lots, p.cost, p.realised, p.fees, p.funding, p.margin]
        account = self.venue.account()
        assert to_units(account.wallet) == self.slow.book.wallet
        # I10, exact
        left, right = account.wallet + account.unrealised, account.start + account.realised + account.unrealised
        assert left == right - account.fees + account.funding
        assert to_units(account.reserved) == sum(o.held_back for o in self.slow.orders)
        for number, order_id in self.numbers.items():
            status = self.venue.get_order("TOYUSDT", order_id).status.value
            twin = self.slow.everything[number]
            assert status == twin.status or (status == "EXPIRED" and twin.status == "CANCELED" and twin.reduce_only)


@given(CONFIGS, BARS)
@example(  # a fill beyond its limit brings the liquidation price behind the price that is there
    VenueConfig(start_balance=D(2_000), slippage=D(0), maker_fee=D(0), taker_fee=D(0), limit_through=2, leverage=1),
    [
        ([], 60, [("leverage", 7)], 0, 0, 0),
        (
            [("order", "SELL", "LIMIT", 3, 140, False, "GTC")],
            123,
            [("order", "SELL", "LIMIT", 15, 125, False, "GTC")],
            0,
            4,
            0,
        ),
        ([], 112, [("leverage", 20)], 0, 30, 0),
    ],
)
@settings(max_examples=150)
def test_the_venue_agrees_with_a_price_that_moves_tick_by_tick(config: VenueConfig, bars: list) -> None:
    pair = Pair(config)
    pair.venue.quote("TOYUSDT", 100.0)
    pair.slow.price = 100
    for before, opens, after, down, up, share in bars:
        for kind, *args in before:
            getattr(pair, kind)(*args)
            pair.compare()
        pair.venue.trade("TOYUSDT", float(opens))
        pair.slow.trade(opens)
        pair.compare()
        for kind, *args in after:
            getattr(pair, kind)(*args)
            pair.compare()
        low, high = opens - down, opens + up
        close = low + (high - low) * share // 100
        pair.venue.walk("TOYUSDT", float(low), float(high), float(close))
        pair.slow.walk(low, high, close)
        pair.compare()


@pytest.mark.parametrize("seed", range(40))
def test_the_venue_agrees_over_long_random_trading(seed: int) -> None:
    """Trading that lives long: levels near the price, protective orders, liquidations, gaps."""
    rng = np.random.default_rng(seed)
    pick = lambda *choices: choices[int(rng.integers(len(choices)))]  # noqa: E731
    config = VenueConfig(
        start_balance=pick(D(1_500), D(20_000), D(10**6)),
        slippage=pick(D(0), D("0.002"), D("0.02")),
        maker_fee=pick(D(0), D("0.0002"), D("-0.0001")),
        taker_fee=pick(D("0.0005"), D("0.003")),
        limit_through=int(rng.integers(3)),
        leverage=pick(2, 4, 8, 20),
    )
    pair = Pair(config)
    price = 100
    pair.venue.quote("TOYUSDT", float(price))
    pair.slow.price = price

    def trade_between() -> None:
        for _ in range(int(rng.integers(4))):
            held = pair.slow.held
            if rng.random() < 0.6 or not held:
                side, reduce_only = pick("BUY", "SELL"), bool(rng.random() < 0.2)
            else:
                side, reduce_only = ("SELL" if held > 0 else "BUY"), True
            kind = pick("MARKET", "LIMIT", "LIMIT", "STOP_MARKET", "STOP_MARKET", "TAKE_PROFIT_MARKET")
            level = max(2, pair.slow.price + int(rng.integers(-15, 16)))
            size = int(rng.integers(1, 60)) if config.start_balance > 2_000 else int(rng.integers(1, 30))
            pair.order(side, kind, size, level, reduce_only, pick("GTC", "GTC", "GTC", "IOC", "GTX"))
            pair.compare()
        if rng.random() < 0.05:
            pair.cancel(int(rng.integers(1, len(pair.numbers) + 2)))
        if rng.random() < 0.05:
            pair.leverage(int(rng.integers(1, 21)))
        if rng.random() < 0.1:
            pair.fund(int(rng.integers(-(10**6), 10**6)), max(1, pair.slow.price + int(rng.integers(-2, 3))))
        pair.compare()

    for _ in range(80):
        trade_between()
        price = min(160, max(40, price + int(rng.normal(0, 3))))
        pair.venue.trade("TOYUSDT", float(price))
        pair.slow.trade(price)
        pair.compare()
        trade_between()
        low, high = max(2, price - int(rng.exponential(5))), price + int(rng.exponential(5))
        price = int(rng.integers(low, high + 1))
        pair.venue.walk("TOYUSDT", float(low), float(high), float(price))
        pair.slow.walk(low, high, price)
        pair.compare()
    assert len(pair.fills) > 20


ETH = default_instrument("ETHUSDT")


def eth_venue(price: float = 2000.0, **config: object) -> Venue:
    venue = Venue([ETH], VenueConfig(**config))  # type: ignore[arg-type]
    venue.trade("ETHUSDT", price)
    return venue


def request(side: str = "BUY", kind: str = "MARKET", quantity: str = "1", **more: object) -> OrderRequest:
    return OrderRequest(symbol="ETHUSDT", side=side, order_type=kind, quantity=D(quantity), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (request(quantity="0.0001"), -1111),
        (request(quantity="0.0015"), -1111),
        (request(quantity="2001"), -4005),
        (request(quantity="0.001"), -4164),
        (request(kind="LIMIT", price=D("1999.999")), -4014),
        (request(kind="LIMIT", price=D("2101")), -4016),
        (request("SELL", "LIMIT", price=D("1899")), -4024),
        (request(kind="STOP_MARKET", stop_price=D("2000.001")), -4014),
        (request(kind="STOP_MARKET", stop_price=D(1999)), -2021),
        (request("SELL", "TAKE_PROFIT_MARKET", stop_price=D(1999)), -2021),
        (request(kind="LIMIT", price=D(2000), time_in_force="GTX"), -5022),
        (request(reduce_only=True), -2022),
        (request(quantity="150"), -2019),
    ],
)
def test_refusals_carry_the_venues_code_and_change_nothing(bad: OrderRequest, code: int) -> None:
    venue = eth_venue()
    before = venue.account()
    with pytest.raises(Rejected, match=str(code)) as refused:
        venue.submit(bad)
    assert refused.value.code == code
    assert venue.account() == before
    assert not venue.events
    assert venue.open_orders() == ()


def test_more_than_the_tier_allows_is_refused() -> None:
    venue = eth_venue(start_balance=D(10**8), leverage=100)
    with pytest.raises(Rejected, match="-2027"):
        venue.submit(request(quantity="400"))  # 800,000 quote: 75x at most
    venue.set_leverage("ETHUSDT", 75)
    assert venue.submit(request(quantity="400")).status is OrderStatus.FILLED
    with pytest.raises(Rejected, match="-4161"):
        venue.set_leverage("ETHUSDT", 50)
    with pytest.raises(Rejected, match="-4028"):
        venue.set_leverage("ETHUSDT", 101)


def test_a_client_id_is_unique_among_open_orders_only() -> None:
    venue = eth_venue()
    first = venue.submit(request(kind="LIMIT", price=D(1950)), "mine")
    with pytest.raises(Rejected, match="-4116"):
        venue.submit(request(), "mine")
    venue.cancel("ETHUSDT", client_order_id="mine")
    assert venue.get_order("ETHUSDT", first.order_id).status is OrderStatus.CANCELED
    again = venue.submit(request(), "mine")
    assert venue.get_order("ETHUSDT", client_order_id="mine") == again
    with pytest.raises(Rejected, match="-2011"):
        venue.cancel("ETHUSDT", client_order_id="mine")
    with pytest.raises(Rejected, match="-2013"):
        venue.get_order("ETHUSDT", client_order_id="never")
    with pytest.raises(Rejected, match="-1121"):
        venue.get_order("ETHUSD", "1")


def test_margin_of_resting_entries_is_reserved_and_comes_back() -> None:
    venue = eth_venue(leverage=10, taker_fee=D(0), slippage=D(0))
    resting = venue.submit(request(kind="LIMIT", quantity="40", price=D(1950)))
    account = venue.account()
    assert account.reserved == D(7_800)
    assert account.available == D(2_200)
    with pytest.raises(Rejected, match="-2019"):
        venue.submit(request(kind="LIMIT", quantity="12", price=D(1950)))
    venue.cancel("ETHUSDT", resting.order_id)
    assert venue.account().available == D(10_000)


def test_reduce_only_is_cut_to_the_position() -> None:
    venue = eth_venue(slippage=D(0), leverage=5)
    venue.submit(request(quantity="2"))
    stop = venue.submit(request("SELL", "STOP_MARKET", "2", stop_price=D(1900), reduce_only=True))
    venue.submit(request("SELL", quantity="0.5", reduce_only=True))
    venue.trade("ETHUSDT", 1890.0)
    done = venue.get_order("ETHUSDT", stop.order_id)
    assert (done.status, done.quantity, done.filled) == (OrderStatus.FILLED, D("1.5"), D("1.5"))
    assert venue.position("ETHUSDT").quantity == 0


def test_a_mark_price_alone_liquidates() -> None:
    venue = eth_venue(leverage=10, slippage=D(0), taker_fee=D(0))
    venue.submit(request(quantity="1"))
    venue.mark("ETHUSDT", 1807.23)
    assert venue.position("ETHUSDT").quantity == 1
    venue.mark("ETHUSDT", 1807.22)
    assert venue.position("ETHUSDT").quantity == 0
    fill = [e.fill for e in venue.events if isinstance(e, FillBooked)][-1]
    assert fill.liquidation
    assert fill.price == D(2000)  # the price at which it traded was the last one, not the mark


@given(st.integers(1, 5000), st.integers(1, 400_000), st.sampled_from(["BUY", "SELL"]), st.booleans())
def test_filters_of_the_venue_and_of_the_instrument_agree(lots: int, ticks: int, side: str, limit: bool) -> None:
    venue = eth_venue(start_balance=D(10**9), leverage=1)
    quantity, price = lots * D("0.0005"), ticks * D("0.01")
    broken = ETH.violations(
        quantity=quantity,
        market=not limit,
        reduce_only=False,
        reference=D(2000),
        price=price if limit else None,
        side=OrderRequest(symbol="X", side=side, order_type="MARKET", quantity=D(1)).side,
    )
    more = {"price": price} if limit else {}
    try:
        venue.submit(request(side, "LIMIT" if limit else "MARKET", str(quantity), **more))
        refused = False
    except Rejected:
        refused = True
    assert refused == bool(broken)


def test_a_config_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidInput):
        VenueConfig(taker_fee=Decimal(2))
    with pytest.raises(ValueError, match="slippage"):
        VenueConfig(slippage=Decimal(1))
