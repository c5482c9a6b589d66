"""The simulated exchange: the flow a user writes, who moves time and who waits, and coming back from a journal."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator

import numpy as np
import pytest

from ares.errors import DataError, InvalidInput, Rejected, Retryable
from ares.events import (
    Cancel,
    CandleClosed,
    Command,
    Event,
    FillBooked,
    Intent,
    MarkPrice,
    OperatorOrder,
    OrderUpdate,
    Purpose,
    SetLeverage,
    Submit,
    VenueSnapshot,
    Wake,
    WakeAt,
    encode,
)
from ares.orders import Order, OrderRequest, OrderStatus
from ares.protocols import Exchange
from ares.simulation.session import Session
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape
from ares.simulation.venue import VenueConfig
from tests.simulation.market import HOUR, T0, D, flat, random_bars, tape
from tests.virtual_time import at_once

FREE = VenueConfig(slippage=D(0), maker_fee=D(0), taker_fee=D(0), leverage=5)


def exchange(count: int = 40, seed: int = 1, **more: object) -> SimulatedExchange:
    return SimulatedExchange(tape(random_bars(seed, count), funding={8: 0.0001, 16: -0.0002, 24: 0.0003}), **more)  # type: ignore[arg-type]


async def read(stream: AsyncIterator[Event], count: int) -> list[Event]:
    told = []
    async for event in stream:
        told.append(event)
        if len(told) == count:
            break
    return told


async def test_the_flow_a_user_writes() -> None:
    async with exchange() as sim:
        assert isinstance(sim, Exchange)
        klines = await sim.get_klines("ETHUSDT", "1h", 1000)
        assert len(klines) == 20  # half of a short tape is history
        ticker, book = await sim.get_ticker("ETHUSDT"), await sim.get_order_book("ETHUSDT", 10)
        assert ticker.bid < ticker.last == klines["close"].iloc[-1] < ticker.ask
        assert (book.bids[0, 0], book.asks[0, 0]) == (ticker.bid, ticker.ask)
        order = await sim.create_order(symbol="ETHUSDT", side="BUY", order_type="MARKET", quantity=1.23456)
        assert (order.status, order.quantity) == (OrderStatus.NEW, D("1.234"))
        position = await sim.wait_filled(order)
        assert position.quantity == D("1.234")
        assert (await sim.get_order("ETHUSDT", order.order_id)).status is OrderStatus.FILLED
        assert await sim.get_positions("ETHUSDT") == (position,)
    with pytest.raises(InvalidInput, match="closed"):
        await sim.get_account()


async def test_the_first_thousand_bars_are_history() -> None:
    sim = SimulatedExchange(tape(flat(100, 2200)))
    assert len(await sim.get_klines("ETHUSDT", "1h", 5000)) == 1000


async def test_klines_never_know_the_future() -> None:
    sim = exchange(start=T0 + 10 * HOUR)
    whole = sim.tape.frame("ETHUSDT")
    for _ in range(5):
        now = await sim.advance(seconds=5400)
        for interval, hours in (("1h", 1), ("4h", 4)):
            frame = await sim.get_klines("ETHUSDT", interval, 1000)
            closes = np.asarray(frame["close_time"], dtype="datetime64[ns]").astype(np.int64)
            assert (closes <= now).all()
            assert now - closes[-1] < hours * HOUR
    assert frame["high"].iloc[-1] == whole["high"].iloc[12:16].max()
    assert frame["volume"].iloc[-1] == whole["volume"].iloc[12:16].sum()
    forming = await sim.get_klines("ETHUSDT", "1h", 1, closed_only=False)
    row = forming.iloc[-1]
    assert row["open"] == row["high"] == row["low"] == row["close"] == whole["open"].iloc[17]
    assert row["volume"] == 0


async def test_klines_by_start_and_end() -> None:
    sim = exchange(start=T0 + 10 * HOUR)
    day = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    from_two = await sim.get_klines("ETHUSDT", "1h", 3, start=day.replace(hour=2))
    assert [t.hour for t in from_two.index] == [2, 3, 4]
    to_six = await sim.get_klines("ETHUSDT", "1h", 3, end=day.replace(hour=6))
    assert [t.hour for t in to_six.index] == [4, 5, 6]
    with pytest.raises(InvalidInput, match="did you mean"):
        await sim.get_klines("ETHUSDT", "1hour")
    with pytest.raises(InvalidInput, match="cannot be made"):
        await sim.get_klines("ETHUSDT", "90m")
    with pytest.raises(InvalidInput, match="did you mean 'ETHUSDT'"):
        await sim.get_klines("ETHUSD", "1h")


async def test_numbers_as_people_write_them() -> None:
    sim = SimulatedExchange(tape(flat(2000, 9)), config=FREE)
    text = await sim.create_order("ETHUSDT", "buy", "limit", "0.5", price="1950.25")
    real = await sim.create_order("ETHUSDT", "BUY", "LIMIT", 0.50099, price=1950.256)
    assert (text.price, real.price, real.quantity) == (D("1950.25"), D("1950.25"), D("0.5"))
    stop = await sim.create_order("ETHUSDT", "SELL", "STOP_MARKET", 1, stop_price=1900.009, reduce_only=True)
    assert stop.stop_price == D("1900.00")  # a sell stop goes down
    with pytest.raises(Rejected, match="tick size"):
        await sim.create_order("ETHUSDT", "BUY", "LIMIT", D("0.5"), price=D("1950.256"))
    with pytest.raises(Rejected, match="precision"):
        await sim.create_order("ETHUSDT", "BUY", "MARKET", D("0.50001"))
    for nothing in (0.00001, float("nan"), -1.0, D(0)):
        with pytest.raises(Rejected, match="-4004"):
            await sim.create_order("ETHUSDT", "BUY", "MARKET", nothing)
    for nonsense in ("many", D("NaN"), D("Infinity")):
        with pytest.raises(InvalidInput):
            await sim.create_order("ETHUSDT", "BUY", "MARKET", nonsense)
    with pytest.raises(InvalidInput, match="did you mean"):
        await sim.create_order("ETHUSDT", "BUYY", "MARKET", 1)
    with pytest.raises(InvalidInput, match="needs a price"):
        await sim.create_order("ETHUSDT", "BUY", "LIMIT", 1)


async def test_wait_filled_has_three_ends() -> None:
    sim = SimulatedExchange(tape(flat(2000, 9)), config=FREE)
    resting = await sim.create_order("ETHUSDT", "BUY", "LIMIT", 1, price=1950)
    before = sim.clock.now_ns()
    with pytest.raises(Retryable):
        await sim.wait_filled(resting, timeout=5400)
    assert sim.clock.now_ns() == before + 5400 * 10**9
    with pytest.raises(DataError, match="ended before"):
        await sim.wait_filled(resting)
    await sim.cancel_order("ETHUSDT", resting.order_id)
    with pytest.raises(Rejected, match="CANCELED"):
        await sim.wait_filled(resting)


async def test_futures_data_are_what_has_settled() -> None:
    sim = exchange(start=T0 + 10 * HOUR)
    first = await sim.get_futures_data("ETHUSDT")
    assert [(f.ts_ns, f.rate) for f in first.funding] == [(T0 + 8 * HOUR, D("0.0001"))]
    await sim.advance(to=T0 + 17 * HOUR)
    assert [f.rate for f in (await sim.get_futures_data("ETHUSDT")).funding] == [D("0.0001"), D("-0.0002")]
    assert [f.rate for f in (await sim.get_futures_data("ETHUSDT", 1)).funding] == [D("-0.0002")]
    assert await sim.get_agg_trades("ETHUSDT") == ()


async def test_margin_mode_and_leverage() -> None:
    sim = SimulatedExchange(tape(flat(2000, 9)))
    assert await sim.set_margin_mode("ETHUSDT", "ISOLATED") == "isolated"
    with pytest.raises(Rejected):
        await sim.set_margin_mode("ETHUSDT", "cross")
    with pytest.raises(InvalidInput, match="margin mode"):
        await sim.set_margin_mode("ETHUSDT", "shared")
    assert await sim.set_leverage("ETHUSDT", 7) == 7


def direct(session: Session) -> list[bytes]:
    return [encode(e) for e in iter(session.next_event, None)]


async def test_streams_tell_what_the_session_tells() -> None:
    """Read by two tasks, with replies to candles and to fills: the same as without an event loop."""
    bars = random_bars(3, 60)
    config = VenueConfig(leverage=5)

    def reply(event: Event) -> list[OrderRequest]:
        def make(side: str, kind: str, **more: object) -> OrderRequest:
            return OrderRequest(symbol="ETHUSDT", side=side, order_type=kind, quantity=D(1), **more)  # type: ignore[arg-type]

        if isinstance(event, CandleClosed) and event.candle.close_ns // HOUR % 5 == 0:
            return [make("BUY", "MARKET")]
        if isinstance(event, FillBooked) and event.fill.side.value == "BUY":
            stop = (event.fill.price * D("0.99")).quantize(D("0.01"))
            return [make("SELL", "STOP_MARKET", stop_price=stop, reduce_only=True)]
        return []

    session, expected = Session(tape(bars, funding={8: 0.001}), start=T0 + 5 * HOUR, config=config), []
    while (event := session.next_event()) is not None:
        expected.append(encode(event))
        for request in reply(event):
            session.submit(request)

    sim = SimulatedExchange(tape(bars, funding={8: 0.001}), T0 + 5 * HOUR, config=config)
    told: list[bytes] = []

    async def listen(stream: AsyncIterator[Event]) -> None:
        async for event in stream:
            told.append(encode(event))
            await asyncio.sleep(0)  # a slow reader holds time back
            for r in reply(event):
                await sim.create_order(
                    r.symbol,
                    r.side,
                    r.order_type,
                    r.quantity,
                    stop_price=r.stop_price,
                    reduce_only=r.reduce_only,
                )

    account = asyncio.create_task(listen(sim.stream_account()))
    await asyncio.sleep(0)
    await listen(sim.stream_market(["ETHUSDT"], "1h"))
    await account
    assert told == expected
    assert sum(b"FillBooked" in e for e in told) > 5


async def test_a_sleeper_wakes_at_its_own_time_between_events() -> None:
    sim = SimulatedExchange(tape(flat(2000, 12)), T0 + 2 * HOUR)
    seen: list[tuple[str, float]] = []

    async def look() -> None:
        for _ in range(3):
            await sim.clock.wait_until(sim.clock.now_ns() + HOUR // 2)
            seen.append(("look", (sim.clock.now_ns() - T0) / HOUR))

    task = asyncio.create_task(look())
    async for event in sim.stream_market(["ETHUSDT"], "1h"):
        seen.append((type(event).__name__, (event.ts_event - T0) / HOUR))
        if len(seen) == 7:
            break
    await task
    assert seen == [
        ("look", 2.5),
        ("look", 3.0),
        ("MarkPrice", 3.0),
        ("CandleClosed", 3.0),
        ("look", 3.5),
        ("MarkPrice", 4.0),
        ("CandleClosed", 4.0),
    ]


async def test_sleep_and_advance_move_time_exactly() -> None:
    sim = SimulatedExchange(tape(flat(2000, 12)), T0 + 2 * HOUR)
    await sim.clock.sleep(600)
    assert sim.clock.now_ns() == sim.session.now_ns == T0 + 2 * HOUR + 600 * 10**9
    assert await sim.advance(to=T0 + 4 * HOUR + 1) == T0 + 4 * HOUR + 1
    assert await sim.advance(bars=2) == T0 + 6 * HOUR
    assert await sim.advance(to=dt.datetime(2024, 1, 1, 7)) == T0 + 7 * HOUR
    assert await sim.advance(bars=100) == T0 + 12 * HOUR
    with pytest.raises(InvalidInput, match="exactly one"):
        await sim.advance()


@pytest.mark.parametrize(("after", "fills_at"), [(0, 2000), (10, 2000), (11, 2030), (1800, 2030)])
async def test_an_open_is_a_price_for_ten_seconds(after: int, fills_at: int) -> None:
    """Later in the bar nothing is known of the price but that it was the open once."""
    bars = [*flat(2000, 2), (2000.0, 2040.0, 1960.0, 2020.0), (2030.0, 2050.0, 2030.0, 2040.0), *flat(2040, 2)]
    sim = SimulatedExchange(tape(bars), T0 + 2 * HOUR, config=FREE)
    await sim.clock.sleep(after)
    entry = await sim.create_order("ETHUSDT", "BUY", "MARKET", 1)
    limit = await sim.create_order("ETHUSDT", "BUY", "LIMIT", 1, price=1970)
    assert (await sim.wait_filled(entry)).entry_price == D(fills_at)
    await sim.advance(bars=1)
    filled = (await sim.get_order("ETHUSDT", limit.order_id)).status is OrderStatus.FILLED
    assert filled == (after <= 10)  # the low may have been before a later limit


async def test_a_late_stop_is_assumed_to_be_hit() -> None:
    bars = [*flat(2000, 2), (2000.0, 2040.0, 1960.0, 2020.0), *flat(2020, 2)]
    sim = SimulatedExchange(tape(bars), T0 + 2 * HOUR, config=FREE)
    await sim.wait_filled(await sim.create_order("ETHUSDT", "BUY", "MARKET", 1))
    await sim.clock.sleep(1800)
    stop = await sim.create_order("ETHUSDT", "SELL", "STOP_MARKET", 1, stop_price=1970, reduce_only=True)
    target = await sim.create_order("ETHUSDT", "SELL", "TAKE_PROFIT_MARKET", 1, stop_price=2030, reduce_only=True)
    assert (await sim.wait_filled(stop)).realised == D(-30)
    assert (await sim.get_order("ETHUSDT", target.order_id)).status is OrderStatus.EXPIRED


async def test_wakes_come_in_the_account_stream() -> None:
    sim = SimulatedExchange(tape(flat(2000, 12)), T0 + 2 * HOUR)
    account = sim.stream_account()
    assert isinstance(await anext(account), VenueSnapshot)
    sim.wake_at(T0 + 3 * HOUR, "x")
    task = asyncio.create_task(read(account, 1))
    await read(sim.stream_market(["ETHUSDT"], "1h"), 3)  # into the next bar
    (wake,) = await task
    assert isinstance(wake, Wake)
    assert (wake.key, wake.ts_event) == ("x", T0 + 3 * HOUR)


async def test_who_keeps_everybody_waiting_is_told() -> None:
    sim = SimulatedExchange(tape(flat(2000, 12)), stuck_after=0.05)
    account = sim.stream_account()
    started = asyncio.Event()

    async def reader(stream: AsyncIterator[Event]) -> None:
        await anext(stream)
        started.set()
        await asyncio.sleep(60)  # never comes back

    with at_once():
        task = asyncio.create_task(reader(account))
        await started.wait()
        with pytest.raises(InvalidInput, match="stuck"):
            await anext(sim.stream_market(["ETHUSDT"], "1h"))
        task.cancel()
        del account
        assert isinstance(await sim.advance(bars=1), int)


async def test_one_exchange_may_see_several_event_loops() -> None:
    sim = SimulatedExchange(tape(flat(2000, 12)), T0 + 2 * HOUR)
    for hours in (1, 2):
        told = await asyncio.to_thread(lambda: asyncio.run(read(sim.stream_market(["ETHUSDT"], "1h"), 2)))
        assert told[0].ts_event == T0 + (2 + hours) * HOUR


async def test_streams_are_checked_and_end_with_the_tape() -> None:
    sim = SimulatedExchange(tape(flat(2000, 4)))
    with pytest.raises(InvalidInput, match="did you mean"):
        sim.stream_market(["ETHUSD"], "1h")
    with pytest.raises(InvalidInput, match="1h bars"):
        sim.stream_market(["ETHUSDT"], "1m")
    account = asyncio.create_task(read(sim.stream_account(), 1000))
    told = [e async for e in sim.stream_market(["ETHUSDT"], "1h")]
    assert [type(e).__name__ for e in told] == ["MarkPrice", "CandleClosed"] * 2
    assert [type(e).__name__ for e in await account] == ["VenueSnapshot"]
    assert sim.get_exchange_status()["ended"] is True


@pytest.mark.parametrize("seed", range(4))
def test_nothing_up_to_a_bar_depends_on_later_bars(seed: int) -> None:
    """Cut the tape, or change its future: what was told until then stays, bit for bit."""
    bars = random_bars(seed, 60)
    rng = np.random.default_rng(seed)
    plan = [
        (("BUY", "SELL")[int(rng.integers(2))], int(rng.integers(4)), float(rng.normal(0, 0.006))) for _ in range(60)
    ]

    def play(market: Tape, until_ns: int) -> list[bytes]:
        session, told, turn = Session(market, config=VenueConfig(leverage=5)), [], 0
        while (event := session.next_event()) is not None and event.ts_event <= until_ns:
            told.append(encode(event))
            if isinstance(event, CandleClosed):
                side, kind, shift = plan[turn]
                turn += 1
                level = D(repr(round(event.candle.close * (1 + shift), 2)))
                more = [{}, {"price": level}, {"stop_price": level}, {"stop_price": level, "reduce_only": True}][kind]
                name = ["MARKET", "LIMIT", "STOP_MARKET", "STOP_MARKET"][kind]
                request = OrderRequest(symbol="ETHUSDT", side=side, order_type=name, quantity=D("0.5"), **more)  # type: ignore[arg-type]
                try:
                    session.submit(request)
                except Rejected as refused:
                    told.append(str(refused).encode())
        return told

    whole = play(tape(bars, funding={8: 0.001, 40: 0.001}), T0 + 60 * HOUR)
    assert sum(b"FillBooked" in e for e in whole) > 5
    for cut in (10, 33, 47):
        until = T0 + cut * HOUR
        other = [*bars[:cut], *random_bars(seed + 100, 60 - cut, price=bars[cut - 1][3] * 1.5)]
        expected = play(tape(bars, funding={8: 0.001, 40: 0.001}), until - 1)
        assert play(tape(bars[:cut], funding={8: 0.001, 40: 0.001}), until - 1) == expected
        assert play(tape(other, funding={8: 0.001, 40: 0.001}), until - 1) == expected
        assert whole[: len(expected)] == expected


# ---------------------------------------------------------------- restore

Record = tuple[Event, list[Command]]


def client_id(intent: Intent) -> str:
    return f"ares1-{intent.intent_id}"


def journal(sim_tape: Tape, stop_after: int) -> tuple[list[Record], Session, list[Event]]:
    """A trader that enters, protects, moves and cancels, over a session; its journal, and what it had not heard yet."""
    session = Session(sim_tape, start=T0 + 5 * HOUR, config=VenueConfig(leverage=5))
    records: list[Record] = []
    local: list[Event] = []
    open_ids: list[str] = []
    while len(records) < stop_after:
        event = local.pop(0) if local else session.next_event()
        if event is None:
            break
        seq, commands = len(records), list[Command]()

        def submit(side: str, kind: str, purpose: Purpose, **more: object) -> Submit:
            request = OrderRequest(symbol="ETHUSDT", side=side, order_type=kind, quantity=D(1), **more)  # type: ignore[arg-type]
            made = f"ETHUSDT-{seq}-{len(commands)}"  # noqa: B023
            return Submit(intent=Intent(intent_id=made, trade_id=made, purpose=purpose, request=request))

        if isinstance(event, CandleClosed) and seq % 6 == 0:
            commands += [SetLeverage(symbol="ETHUSDT", leverage=1 + seq % 7), submit("BUY", "MARKET", Purpose.ENTRY)]
            commands.append(WakeAt(ts_ns=event.ts_event + 3 * HOUR // 2, key="look"))
        elif isinstance(event, FillBooked) and event.fill.side.value == "BUY":
            stop = (event.fill.price * D("0.98")).quantize(D("0.01"))
            commands.append(submit("SELL", "STOP_MARKET", Purpose.STOP, stop_price=stop, reduce_only=True))
            open_ids.append(commands[-1].intent.intent_id)
        elif isinstance(event, Wake) and open_ids:
            commands.append(Cancel(symbol="ETHUSDT", intent_id=open_ids.pop(0)))
            commands.append(submit("SELL", "MARKET", Purpose.EXIT, reduce_only=True))
        elif isinstance(event, MarkPrice) and seq == 30:
            local.append(OperatorOrder(ts_event=session.now_ns, ts_seen=session.now_ns, action="pause"))
        blocked = False
        for command in commands:
            blocked |= not carry(session, command, local, blocked)
        records.append((event, commands))
    return records, session, local


def carry(session: Session, command: Command, local: list[Event], blocked: bool) -> bool:
    """What the shell does with a command; a refusal comes back as an event. False: the leverage was refused."""
    now = session.now_ns
    try:
        if isinstance(command, Submit):
            if blocked and command.intent.purpose is Purpose.ENTRY:
                raise Rejected("the leverage could not be set")
            session.submit(command.intent.request, client_id(command.intent))
        elif isinstance(command, Cancel):
            session.cancel(command.symbol, client_order_id=f"ares1-{command.intent_id}")
        elif isinstance(command, SetLeverage):
            session.set_leverage(command.symbol, command.leverage)
        elif isinstance(command, WakeAt):
            session.wake_at(command.ts_ns, command.key)
    except Rejected as refused:
        if isinstance(command, Submit):
            lost = Order(
                order_id=f"none:{client_id(command.intent)}",
                client_order_id=client_id(command.intent),
                symbol="ETHUSDT",
                side=command.intent.request.side,
                order_type=command.intent.request.order_type,
                quantity=D(1),
                status=OrderStatus.REJECTED,
                reason=str(refused),
            )
            local.append(OrderUpdate(ts_event=now, ts_seen=now, order=lost))
        elif isinstance(command, Cancel):
            order = session.get_order(command.symbol, client_order_id=f"ares1-{command.intent_id}")
            local.append(OrderUpdate(ts_event=order.updated_ns, ts_seen=now, order=order))
        return not isinstance(command, SetLeverage)
    return True


@pytest.mark.parametrize("stop_after", [1, 2, 17, 60, 61, 62, 63, 90, 119])
async def test_a_venue_comes_back_from_the_journal(stop_after: int) -> None:
    market = tape(random_bars(5, 60, swing=0.03), funding={8: 0.001, 24: -0.001})
    records, session, local = journal(market, stop_after)
    unheard = [e for e in local if isinstance(e, OrderUpdate) and not e.order.order_id.startswith("none:")]
    sim = SimulatedExchange(market, T0 + 5 * HOUR, config=VenueConfig(leverage=5))
    assert await sim.restore(iter(records), client_id) == stop_after
    assert sim.session.venue.account() == session.venue.account()
    assert sim.session.venue.open_orders() == session.venue.open_orders()
    rest = [encode(event) for event in unheard] + direct(session)
    told: list[bytes] = []

    async def listen(stream: AsyncIterator[Event]) -> None:
        async for event in stream:
            told.append(encode(event))

    account = asyncio.create_task(listen(sim.stream_account()))
    await asyncio.sleep(0)
    await listen(sim.stream_market(["ETHUSDT"], "1h"))
    await account
    assert told == rest  # no second snapshot, nothing lost, nothing twice


@pytest.mark.parametrize("seed", [6])
async def test_a_journal_of_another_tape_is_refused(seed: int) -> None:
    records, _, _ = journal(tape(random_bars(5, 60)), 40)
    sim = SimulatedExchange(tape(random_bars(seed, 60)), T0 + 5 * HOUR, config=VenueConfig(leverage=5))
    with pytest.raises(DataError, match="another tape") as wrong:
        await sim.restore(iter(records), client_id)
    assert wrong.value.row == 1
    with pytest.raises(InvalidInput, match="nothing has happened"):
        await sim.restore(iter(records), client_id)
