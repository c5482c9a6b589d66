"""The order of things inside a bar, one rule a test, on bars computed by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ares.errors import InvalidInput, Rejected
from ares.events import CandleClosed, Event, FillBooked, Funding, MarkPrice, OrderUpdate, VenueSnapshot, Wake
from ares.orders import Order, OrderRequest, OrderStatus
from ares.simulation.session import Session
from ares.simulation.tape import Tape
from ares.simulation.venue import VenueConfig
from tests.simulation.market import HOUR, T0, D, flat, frame, tape

FREE = VenueConfig(slippage=D(0), maker_fee=D(0), taker_fee=D(0), leverage=5)
SLIP = VenueConfig(slippage=D("0.001"), maker_fee=D("0.0002"), taker_fee=D("0.0005"), leverage=5)


def order(side: str, kind: str = "MARKET", quantity: str = "1", **more: object) -> OrderRequest:
    numbers = {k: D(v) if k in ("price", "stop_price") else v for k, v in more.items()}
    return OrderRequest(symbol="ETHUSDT", side=side, order_type=kind, quantity=D(quantity), **numbers)  # type: ignore[arg-type]


def until(session: Session, kind: type, count: int = 1) -> list[Event]:
    """Events up to and with the `count`-th of a kind."""
    told: list[Event] = []
    while count and (event := session.next_event()) is not None:
        told.append(event)
        count -= isinstance(event, kind)
    return told


def rest(session: Session) -> list[Event]:
    told = []
    while (event := session.next_event()) is not None:
        told.append(event)
    return told


def fills(told: list[Event]) -> list[tuple[str, Decimal, Decimal, bool]]:
    """Side, price, quantity and who made, of every fill."""
    return [(e.fill.side.value, e.fill.price, e.fill.quantity, e.fill.maker) for e in told if isinstance(e, FillBooked)]


def names(told: list[Event]) -> list[tuple[str, int]]:
    return [(type(e).__name__, (e.ts_event - T0) // HOUR) for e in told]


def last_state(told: list[Event], made: Order) -> Order:
    return [e.order for e in told if isinstance(e, OrderUpdate) and e.order.order_id == made.order_id][-1]


def test_a_session_tells_snapshot_mark_candle_and_ends() -> None:
    session = Session(tape(flat(100, 2)))
    assert names(rest(session)) == [
        ("VenueSnapshot", 0),
        ("MarkPrice", 1),
        ("CandleClosed", 1),
        ("MarkPrice", 2),
        ("CandleClosed", 2),
    ]
    assert session.next_event() is None
    assert session.next_ns is None


def test_a_decision_on_the_close_fills_at_the_next_open_with_slippage() -> None:
    bars = [(2000, 2000, 2000, 2000), (2010, 2050, 2005, 2040), (2041, 2041, 2041, 2041)]
    session = Session(tape(bars), config=SLIP)
    until(session, CandleClosed)
    made = session.submit(order("BUY"))
    assert made.status is OrderStatus.NEW
    told = until(session, CandleClosed)
    assert names(told) == [
        ("OrderUpdate", 1),
        ("FillBooked", 1),
        ("OrderUpdate", 1),
        ("MarkPrice", 2),
        ("CandleClosed", 2),
    ]
    assert fills(told) == [("BUY", D("2012.01"), D(1), False)]  # 2010 * 1.001
    fee = next(e.fill.fee for e in told if isinstance(e, FillBooked))
    assert fee == D("2012.01") * D("0.0005")
    account = session.venue.account()
    assert account.wallet == D(10_000) - fee
    assert account.unrealised == D(2040) - D("2012.01")


def test_a_missing_bar_only_means_a_later_open() -> None:
    bars = [(2000, 2000, 2000, 2000), (1, 1, 1, 1), (1, 1, 1, 1), (2100, 2100, 2100, 2100)]
    session = Session(tape(bars, skip=(1, 2)), config=FREE)
    until(session, CandleClosed)
    session.submit(order("BUY"))
    told = until(session, FillBooked)
    assert (told[-1].ts_event - T0) // HOUR == 3
    assert fills(told) == [("BUY", D(2100), D(1), False)]


def test_after_an_open_fill_orders_still_trade_at_this_open_and_stops_rest_in_this_bar() -> None:
    bars = [(2000, 2000, 2000, 2000), (2000, 2010, 1900, 1950)]
    session = Session(tape(bars), config=SLIP)
    until(session, CandleClosed)
    session.submit(order("BUY", quantity="2"))
    until(session, FillBooked)
    session.submit(order("SELL", quantity="0.5", reduce_only=True))
    assert fills(until(session, FillBooked)) == [("SELL", D("1998"), D("0.5"), False)]
    stop = session.submit(order("SELL", "STOP_MARKET", "1.5", stop_price="1960", reduce_only=True))
    told = until(session, CandleClosed)
    assert fills(told) == [("SELL", D("1958.04"), D("1.5"), False)]  # 1960 * 0.999
    assert last_state(told, stop).status is OrderStatus.FILLED
    assert session.venue.position("ETHUSDT").quantity == 0


def enter(bars: list, side: str = "BUY", config: VenueConfig = FREE, quantity: str = "1") -> Session:
    """A session whose market order has just filled at the open of the second bar."""
    session = Session(tape([flat(2000, 1)[0], *bars]), config=config)
    until(session, CandleClosed)
    session.submit(order(side, quantity=quantity))
    until(session, OrderUpdate, 2)
    return session


@pytest.mark.parametrize(
    ("side", "out", "stop", "target", "bar", "price"),
    [
        ("BUY", "SELL", "1950", "2050", (2000, 2100, 1900, 2000), "1950"),  # both touched: the stop comes first
        ("SELL", "BUY", "2050", "1950", (2000, 2100, 1900, 2000), "2050"),
        ("BUY", "SELL", "1950", "2050", (2000, 2050, 1951, 2000), "2050"),  # a touch triggers a target at market
        ("BUY", "SELL", "1950", "2050", (2000, 2049, 1950, 2000), "1950"),  # and a stop
    ],
)
def test_inside_one_bar_the_stop_is_taken_before_the_target(
    side: str, out: str, stop: str, target: str, bar: tuple, price: str
) -> None:
    session = enter([bar], side)
    protect = session.submit(order(out, "STOP_MARKET", stop_price=stop, reduce_only=True))
    take = session.submit(order(out, "TAKE_PROFIT_MARKET", stop_price=target, reduce_only=True))
    told = rest(session)
    assert fills(told) == [(out, D(price), D(1), False)]
    done, left = (protect, take) if D(price) == D(stop) else (take, protect)
    assert last_state(told, done).status is OrderStatus.FILLED
    assert last_state(told, left).status is OrderStatus.EXPIRED  # nothing left to reduce


def test_a_gap_fills_stops_and_limits_at_the_open() -> None:
    session = enter([(2000, 2000, 2000, 2000), (1900, 1900, 1900, 1900)])
    session.submit(order("SELL", "STOP_MARKET", stop_price="1950", reduce_only=True))
    session.submit(order("BUY", "LIMIT", "2", price="1920"))
    told = rest(session)
    assert fills(told) == [("SELL", D(1900), D(1), False), ("BUY", D(1900), D(2), True)]


@pytest.mark.parametrize(("through", "low", "filled"), [(1, 1950, False), (1, 1949.99, True), (0, 1950, True)])
def test_a_resting_limit_must_be_traded_through(through: int, low: float, filled: bool) -> None:
    config = VenueConfig(slippage=D("0.01"), limit_through=through, maker_fee=D("0.0002"), taker_fee=D("0.0005"))
    session = Session(tape([*flat(2000, 1), (2000, 2000, low, 2000)]), config=config)
    until(session, CandleClosed)
    session.submit(order("BUY", "LIMIT", price="1950"))
    told = rest(session)
    assert fills(told) == ([("BUY", D(1950), D(1), True)] if filled else [])
    if filled:
        assert session.venue.account().fees == D(1950) * D("0.0002")


def test_a_limit_that_crosses_on_arrival_takes_and_never_beyond_its_price() -> None:
    session = Session(tape([*flat(2000, 1), (1990, 2000, 1980, 2000)]), config=SLIP)
    until(session, CandleClosed)
    session.submit(order("BUY", "LIMIT", price="1991"))  # the close crosses it, the open 1990 too: 1991.99 is capped
    assert fills(rest(session)) == [("BUY", D(1991), D(1), False)]


@pytest.mark.parametrize(
    ("tif", "price", "opens", "outcome"),
    [
        ("GTX", "1995", 1990, "EXPIRED"),
        ("IOC", "1995", 1999, "EXPIRED"),
        ("FOK", "1995", 1990, "FILLED"),
        ("GTC", "1995", 1999, "NEW"),
    ],
)
def test_time_in_force_is_judged_at_the_first_tradable_price(tif: str, price: str, opens: float, outcome: str) -> None:
    session = Session(tape([*flat(2000, 1), (opens, 2000, opens, 2000)]), config=FREE)
    until(session, CandleClosed)
    made = session.submit(order("BUY", "LIMIT", price=price, time_in_force=tif))
    assert last_state(rest(session), made).status is OrderStatus(outcome)


def test_an_in_bar_entry_meets_its_adverse_extreme_afterwards() -> None:
    bars = [*flat(2000, 1), (2000, 2060, 1940, 2050)]
    session = Session(tape(bars), config=FREE)
    until(session, CandleClosed)
    session.submit(order("BUY", "STOP_MARKET", stop_price="2050"))
    session.submit(order("SELL", "STOP_MARKET", stop_price="1950", reduce_only=True))
    told = rest(session)
    assert fills(told) == [("BUY", D(2050), D(1), False), ("SELL", D(1950), D(1), False)]
    assert session.venue.account().realised == D(-100)


def test_funding_is_settled_on_what_is_held_at_the_instant() -> None:
    session = Session(tape(flat(2000, 11), funding={8: 0.0001, 0: 0.5}), config=FREE)
    told = until(session, CandleClosed, 8)
    assert not [e for e in told if isinstance(e, Funding)]
    session.submit(order("BUY"))  # fills at the open of 8:00, after the settlement
    told = until(session, FillBooked)
    assert names(told) == [("OrderUpdate", 8), ("Funding", 8), ("FillBooked", 8)]
    assert next(e.amount for e in told if isinstance(e, Funding)) is None

    session = Session(tape(flat(2000, 11), funding={8: 0.0001}), config=FREE)
    until(session, CandleClosed, 7)
    session.submit(order("SELL", quantity="3"))
    until(session, CandleClosed)
    session.submit(order("BUY", quantity="3", reduce_only=True))  # leaves at the open, after paying
    told = until(session, FillBooked)
    funding = next(e for e in told if isinstance(e, Funding))
    assert (funding.rate, funding.amount, funding.mark_price) == (D("0.0001"), D("0.6"), 2000.0)
    assert session.venue.account().funding == D("0.6")


def test_liquidation_costs_the_margin_at_most_and_cancels_the_rest() -> None:
    config = VenueConfig(slippage=D(0), taker_fee=D(0), leverage=10)
    session = enter([(2000, 2000, 1700, 1750)], config=config)
    session.submit(order("BUY", "LIMIT", "0.1", price="1900.5"))
    session.submit(order("BUY", "LIMIT", "0.1", price="1999", time_in_force="GTX"))
    margin = session.venue.position("ETHUSDT").margin
    assert margin == D(200)
    liquidation = session.venue.position("ETHUSDT").liquidation_price
    assert liquidation == D("1807.22")  # (200 - 2000) / (0.004 - 1), the first tick below
    told = rest(session)
    closing = [e.fill for e in told if isinstance(e, FillBooked) and e.fill.liquidation]
    assert [f.client_order_id.startswith("autoclose-") for f in closing] == [True]
    account = session.venue.account()
    assert account.positions == ()
    assert account.margin == account.reserved == 0
    assert session.venue.open_orders() == ()


def test_a_gap_beyond_bankruptcy_loses_exactly_the_margin() -> None:
    config = VenueConfig(slippage=D(0), taker_fee=D(0), leverage=10)
    session = enter([(2000, 2000, 2000, 2000), (1000, 1000, 1000, 1000)], config=config)
    session.submit(order("SELL", "STOP_MARKET", stop_price="1900", reduce_only=True))
    told = rest(session)
    assert [e.fill.price for e in told if isinstance(e, FillBooked)] == [D(1800)]
    account = session.venue.account()
    assert account.wallet == D(9_800)
    assert account.wallet == account.start + account.realised - account.fees + account.funding


def test_the_stop_before_liquidation_saves_the_rest_of_the_margin() -> None:
    session = enter([(2000, 2000, 1700, 1750)], config=VenueConfig(slippage=D(0), taker_fee=D(0), leverage=10))
    session.submit(order("SELL", "STOP_MARKET", stop_price="1850", reduce_only=True))
    told = rest(session)
    assert fills(told) == [("SELL", D(1850), D(1), False)]
    assert not [e for e in told if isinstance(e, FillBooked) and e.fill.liquidation]


def marked(bars: list, marks: list) -> Tape:
    """A tape whose mark price is not its price."""
    return Tape.from_frame(frame(bars), symbol="ETHUSDT", interval="1h", mark=frame(marks).drop(columns="volume"))


def test_liquidation_looks_at_the_mark_price_where_there_is_one() -> None:
    config = VenueConfig(slippage=D(0), taker_fee=D(0), leverage=10)  # a long at 2000 is liquidated at 1807.22
    calm, deep = (2000.0, 2000.0, 2000.0, 2000.0), (2000.0, 2000.0, 1700.0, 2000.0)
    for bar, mark, liquidated in ((calm, deep, True), (deep, calm, False), (deep, deep, True)):
        session = Session(marked([calm, bar], [calm, mark]), config=config)
        until(session, CandleClosed)
        session.submit(order("BUY"))
        told = rest(session)
        assert any(isinstance(e, FillBooked) and e.fill.liquidation for e in told) is liquidated
    session = Session(marked([calm, calm], [calm, (1990.0, 1999.0, 1980.0, 1985.0)]), config=config)
    until(session, CandleClosed)
    session.submit(order("BUY"))
    told = until(session, MarkPrice)
    assert isinstance(told[-1], MarkPrice)
    assert told[-1].price == 1985.0
    assert session.venue.account().unrealised == D(-15)


def test_funding_settles_also_while_bars_are_missing() -> None:
    bars = [(2000.0 + 10 * i,) * 4 for i in range(12)]
    session = Session(tape(bars, skip=(7, 8, 9), funding={8: 0.0001}), config=FREE)
    until(session, CandleClosed)
    session.submit(order("BUY"))
    funding = [e for e in rest(session) if isinstance(e, Funding)]
    assert [((e.ts_event - T0) // HOUR, e.mark_price, e.amount) for e in funding] == [(8, 2060.0, D("-0.206"))]


def test_wakes_come_after_the_bars_that_close_then_and_are_replaced_by_key() -> None:
    session = Session(tape(flat(100, 3)))
    until(session, VenueSnapshot)
    session.wake_at(T0 + HOUR, "b")
    session.wake_at(T0 + HOUR // 2, "a")
    session.wake_at(T0 + 2 * HOUR, "b")
    told = rest(session)
    assert [(e.key, e.ts_event - T0) for e in told if isinstance(e, Wake)] == [("a", HOUR // 2), ("b", 2 * HOUR)]
    at = next(i for i, e in enumerate(told) if isinstance(e, Wake) and e.key == "b")
    before, after = told[at - 1], told[at + 1]
    assert isinstance(before, CandleClosed) and before.candle.close_ns == 2 * HOUR + T0
    assert isinstance(after, MarkPrice) and after.ts_event == 3 * HOUR + T0


@pytest.mark.parametrize(("low", "price"), [(95, 96), (90, 85)], ids=["next open", "stopped before"])
def test_what_a_wake_decides_at_a_close_meets_the_next_open_and_dodges_no_stop(low: float, price: int) -> None:
    session = enter([(100, 100, low, 95), (96, 96, 96, 96)])
    session.submit(order("SELL", "STOP_MARKET", stop_price="90", reduce_only=True))
    session.wake_at(T0 + 2 * HOUR, "exit")  # the close of the bar in which the position was opened
    told = until(session, Wake)
    if not fills(told):
        session.submit(order("SELL", reduce_only=True))
    assert fills(told + rest(session)) == [("SELL", D(price if low > 90 else 90), D(1), False)]


def test_a_wake_in_the_past_comes_at_once() -> None:
    session = Session(tape(flat(100, 3)))
    until(session, CandleClosed)
    session.wake_at(T0, "late")
    event = session.next_event()
    assert isinstance(event, Wake)
    assert event.ts_event == session.now_ns == session.clock.now_ns() == T0 + HOUR


def test_symbols_come_by_time_then_kind_then_order() -> None:
    both = Tape.merge(tape(flat(2000, 2)), tape(flat(60_000, 2), symbol="BTCUSDT"))
    told = rest(Session(both))
    at = [
        (type(e).__name__, getattr(e, "symbol", None) or getattr(getattr(e, "candle", None), "symbol", ""))
        for e in told
    ]
    one = [("MarkPrice", "ETHUSDT"), ("MarkPrice", "BTCUSDT"), ("CandleClosed", "ETHUSDT"), ("CandleClosed", "BTCUSDT")]
    assert at == [("VenueSnapshot", ""), *one, *one]


def test_no_order_meets_a_range_from_before_it_was_sent() -> None:
    """The private event of one symbol's bar is answered with an order in another whose bar has ended too."""
    eth = tape([*flat(2000, 1), (2000, 2000, 1900, 2000), *flat(2000, 1)])
    btc = tape([*flat(60_000, 1), (60_000, 60_000, 50_000, 60_000), *flat(60_000, 1)], symbol="BTCUSDT")
    session = Session(Tape.merge(eth, btc), config=FREE)
    until(session, CandleClosed, 2)
    session.submit(order("BUY", "LIMIT", price="1950"))
    until(session, FillBooked)
    late = OrderRequest(symbol="BTCUSDT", side="BUY", order_type="LIMIT", quantity=D("0.01"), price=D(57_500))
    made = session.submit(late)
    assert last_state(rest(session), made).status is OrderStatus.NEW


def test_a_start_splits_history_from_the_session() -> None:
    bars = [(100.0 + i, 101.0 + i, 99.0 + i, 100.5 + i) for i in range(6)]
    session = Session(tape(bars, funding={2: 0.1, 3: 0.2, 4: 0.3}), start=T0 + 3 * HOUR)
    assert [c.open for c in session.history("ETHUSDT")] == [100, 101, 102]
    assert [c.open for c in session.history("ETHUSDT", 2)] == [101, 102]
    assert session.venue.last_price("ETHUSDT") == 102.5
    assert names(rest(session))[:4] == [("VenueSnapshot", 3), ("MarkPrice", 4), ("CandleClosed", 4), ("Funding", 4)]


def test_a_start_inside_a_bar_does_not_trade_that_bar() -> None:
    session = Session(tape([*flat(2000, 1), (2000, 2100, 1900, 2000), *flat(2000, 1)]), start=T0 + HOUR + HOUR // 2)
    session.submit(order("BUY", "LIMIT", price="1950"))
    assert fills(rest(session)) == []


def test_a_start_must_lie_on_the_tape() -> None:
    with pytest.raises(InvalidInput, match="after the tape's end"):
        Session(tape(flat(100, 2)), start=T0 + 2 * HOUR)
    with pytest.raises(Rejected) as refused:
        Session(tape(flat(100, 2))).submit(order("BUY"))
    assert refused.value.code == -4022  # nothing is known yet, and the first open is the future
