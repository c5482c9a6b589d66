"""The account's stream over a venue that answers by hand: every trade of the account is told once, whatever fails."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from ares.clock import SystemClock
from ares.errors import DataError, Rejected, Retryable
from ares.events import FillBooked, LinkChanged
from ares.exchange import account_stream
from ares.exchange.account_stream import AccountStream
from ares.exchange.conditionals import Conditionals
from ares.exchange.fees import Fees
from ares.exchange.limits import ServerClock
from ares.exchange.modes import ModeDifference
from ares.exchange.past import Past
from ares.exchange.sent import Sent
from ares.exchange.trades import Trades
from ares.exchange.wire.account import ListenKey
from ares.exchange.wire.trade import OrderReport, UserTrade, order_of
from ares.exchange.wire.user import OrderTradeUpdate, decode_user
from tests.virtual_time import at_once

S, T0, DAY = "ETHUSDT", 1_700_000_000_000, 86_400_000


def trade(number: int, *, at: int = 0, asset: str = "USDT") -> UserTrade:
    row = {
        "symbol": S, "id": number, "orderId": 7, "side": "BUY", "price": "100", "qty": "1", "commission": "0.01",
        "commissionAsset": asset, "time": at or T0 + number, "maker": False, "realizedPnl": "0",
    }  # fmt: skip
    return msgspec.convert(row, UserTrade)


def report(number: int, filled: int, *, asset: str = "USDT", fee: str = "0.01") -> bytes:
    body = {
        "s": S, "c": "mine", "S": "BUY", "o": "LIMIT", "f": "GTC", "q": "5000", "p": "100", "ap": "100", "sp": "0",
        "x": "TRADE", "X": "PARTIALLY_FILLED", "i": 7, "l": "1", "z": str(filled), "L": "100", "N": asset, "n": fee,
        "T": T0 + number, "t": number, "m": False, "R": False, "wt": "CONTRACT_PRICE", "ot": "LIMIT", "ps": "BOTH",
        "cp": False, "rp": "0", "b": "0", "a": "0",
    }  # fmt: skip
    return json.dumps({"e": "ORDER_TRADE_UPDATE", "E": T0 + number, "T": T0 + number, "o": body}).encode()


class Rest:
    """Answers as userTrades is documented: by id without times, by a window of at most a week, 1000 rows."""

    def __init__(self, trades: list[UserTrade]) -> None:
        self.time, self.trades, self.asked = ServerClock(), trades, list[dict[str, int]]()

    async def read(self, request: Any, kind: Any) -> Any:
        if kind is ListenKey:
            return ListenKey(listen_key="key")
        if request.path == "/fapi/v1/income":
            return []
        asked = {name: int(value) for name, value in request.params if name in ("fromId", "startTime", "endTime")}
        self.asked.append(asked)
        if "fromId" in asked:
            assert set(asked) == {"fromId"}
            return [t for t in self.trades if t.id >= asked["fromId"]][:1000]
        end = asked.get("endTime", asked["startTime"] + 7 * DAY)
        assert end - asked["startTime"] <= 7 * DAY
        return [t for t in self.trades if asked["startTime"] <= t.time <= end][:1000]


class Venue:
    """An account that is long one for each of its trades; the price of BNB can be withheld."""

    def __init__(self, rest: Rest) -> None:
        self.rest, self.price, self.unforeseen = rest, Decimal(600), 0

    async def venue_snapshot(self) -> Any:
        if self.unforeseen:
            self.unforeseen -= 1
            raise ZeroDivisionError
        held = Decimal(len(self.rest.trades))
        position = msgspec.defstruct("Position", [("symbol", str), ("quantity", Decimal)])(S, held)
        account = msgspec.defstruct("Held", [("positions", list)])([position])
        return msgspec.defstruct("Truth", [("account", Any), ("open_orders", tuple)])(account, ())

    async def get_order(self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Any:
        row = {
            "orderId": 7, "clientOrderId": "mine", "symbol": S, "side": "BUY", "type": "LIMIT", "price": "100",
            "status": "PARTIALLY_FILLED", "origQty": "5000", "executedQty": "1", "avgPrice": "100", "time": T0,
            "timeInForce": "GTC", "reduceOnly": False, "closePosition": False, "stopPrice": "0", "updateTime": T0,
        }  # fmt: skip
        return order_of(msgspec.convert(row, OrderReport))

    async def mode_differences(self) -> tuple[ModeDifference, ...]:
        return ()

    async def fee_in_quote(self, asset: str, amount: Decimal) -> Decimal:
        if asset == "USDT":
            return amount
        if not self.price:
            raise Retryable("the mark price cannot be read", after=1.0)
        return amount * self.price


class Opened:
    """A connection on which nothing is said but what a test says."""

    async def recv(self) -> bytes:
        await asyncio.sleep(3600)
        return b""

    async def close(self) -> None:
        return


async def nowhere(url: str) -> Any:
    return Opened()


def stream(trades: list[UserTrade], past: Past | None = None) -> tuple[AccountStream, Venue, Rest]:
    rest = Rest(trades)
    venue = Venue(rest)
    made = AccountStream(
        venue, rest, Conditionals(), {"mine"}, past or Past(told={(S, "10")}, symbols={S}),  # type: ignore[arg-type]
        Sent(SystemClock()), quote="USDT", base="ws://nowhere", connect=nowhere, clock=SystemClock(),
    )  # fmt: skip
    made.link.up = made._begun = True
    made._behind = False
    return made, venue, rest


def told(made: AccountStream) -> list[int]:
    return [int(e.fill.trade_id) for e in made._events if isinstance(e, FillBooked)]


async def test_a_fill_that_never_came_is_told_although_a_later_one_came() -> None:
    made, _, rest = stream([trade(11), trade(12)])
    await made._frame(report(12, 2))
    assert told(made) == [12]
    for _ in range(2):
        await made._truth()
    assert told(made) == [12, 11]
    assert rest.asked == [{"fromId": 11}]  # the second look found nothing to explain


async def test_what_is_told_of_the_venue_is_never_older_than_the_fills_told_before_it() -> None:
    """An order is sent and filled while the venue is read: what was read does not know of it."""
    made, venue, rest = stream([])
    first = venue.venue_snapshot

    async def looked() -> Any:
        found = await first()
        if not rest.trades:
            rest.trades.append(trade(11))
            made._sent.add(S, "mine")
        return found

    venue.venue_snapshot = looked  # type: ignore[method-assign]
    await made._truth()
    (snapshot,) = [e for e in made._events if hasattr(e, "account")]
    assert told(made) == [11]
    assert snapshot.account.positions[0].quantity == made._held[S] == 1


async def test_the_modes_are_looked_at_though_that_takes_long_and_reports_keep_coming() -> None:
    """Looks at the truth in between, which take no time, do not use up the patience with this one."""
    made, _, _ = stream([])
    loop, looked = asyncio.get_running_loop(), list[float]()

    async def slow() -> tuple[ModeDifference, ...]:
        await asyncio.sleep(3.0)
        looked.append(loop.time())
        return ()

    async def reports() -> None:
        while True:
            await asyncio.sleep(0.3)
            made._frames.put_nowait(None)

    made._modes._differences, made._modes._due_ns = slow, 0
    with at_once():
        began, busy = loop.time(), asyncio.ensure_future(reports())
        while not looked and loop.time() - began < 60.0:
            await made._next(loop)
        busy.cancel()
    assert looked and looked[0] - began <= 20.0


@pytest.mark.parametrize("count", [999, 1000, 1001, 2500])
async def test_however_many_trades_were_missed_all_are_told_in_order(count: int) -> None:
    made, _, _ = stream([trade(n) for n in range(11, 11 + count)])
    await made._truth()
    assert told(made) == list(range(11, 11 + count))
    assert made._held == {S: count}


async def test_without_a_known_trade_time_is_searched_week_by_week() -> None:
    clock = SystemClock()
    now = clock.now_ns() // 1_000_000
    for days in (0, 3, 8, 20, 60):
        rest = Rest([trade(n, at=now - days * DAY - 1000 + n) for n in range(1, 5)])
        found: list[int] = []

        async def take(row: UserTrade, found: list[int] = found) -> None:
            found.append(row.id)

        await Trades(rest, clock, {}).missed(S, now - 70 * DAY, take)  # type: ignore[arg-type]
        assert found == [1, 2, 3, 4]


async def test_a_trade_that_could_not_be_told_is_read_again() -> None:
    rest = Rest([trade(n) for n in range(11, 15)])
    trades = Trades(rest, SystemClock(), {S: 10})  # type: ignore[arg-type]
    found: list[int] = []

    async def take(row: UserTrade) -> None:
        if row.id == 13 and 13 not in failed:
            failed.append(13)
            raise Retryable("not now")
        found.append(row.id)

    failed: list[int] = []
    with pytest.raises(Retryable):
        await trades.missed(S, 0, take)
    await trades.missed(S, 0, take)
    assert found == [11, 12, 13, 14]
    rest.trades = [trade(3)]
    rest.read = lambda *_: asyncio.sleep(0, rest.trades)  # type: ignore[method-assign]
    with pytest.raises(DataError, match="were asked for"):
        await trades.missed(S, 0, take)


def test_a_restart_reads_the_last_week_again() -> None:
    past = Past(until_ns=100 * DAY * 10**6)
    for number, day in ((5, 80), (6, 95), (7, 99)):
        past.told.add((S, str(number)))
        past.times[S, str(number)] = day * DAY * 10**6
    past.told.add(("BTCUSDT", "3"))
    assert past.confirmed() == {S: 6, "BTCUSDT": 3}


async def test_a_fee_without_a_price_costs_no_fill_and_is_never_nothing() -> None:
    made, venue, _ = stream([])
    venue.price = Decimal(0)
    await made._frame(report(11, 1, asset="BNB"))  # no price was ever known: the ordinary rate of takers
    made._fees._rest_until.clear()
    venue.price = Decimal(500)
    await made._frame(report(12, 2, asset="BNB"))
    venue.price = Decimal(0)
    await made._frame(report(13, 3, asset="BNB"))  # the last price known
    fees = [e.fill.fee for e in made._events if isinstance(e, FillBooked)]
    assert fees == [Decimal(100) * Decimal("0.0005"), Decimal(5), Decimal(5)]
    assert made.status()["fees_assumed"] == 2


async def test_a_fee_above_the_notional_is_a_wrong_number() -> None:
    async def value(asset: str, amount: Decimal) -> Decimal:
        return amount * 600

    fees = Fees(value)
    absurd = Decimal("123456789012345678901234567890e99")
    assert await fees.of("BNB", absurd, Decimal(100), maker=True) == Decimal("0.02")
    assert await fees.of("BNB", -absurd, Decimal(100), maker=True) == Decimal("-0.02")
    assert await fees.of("BNB", Decimal("0.01"), Decimal(100), maker=True) == 6
    assert await fees.of("BNB", Decimal(0), Decimal(100), maker=True) == 0


async def test_one_parked_report_that_fails_takes_no_other_with_it() -> None:
    made, _, _ = stream([])
    now = asyncio.get_running_loop().time()
    frames: list[OrderTradeUpdate] = []
    for number in (11, 12, 13):
        frame = decode_user(report(number, number - 10)).frame
        assert isinstance(frame, OrderTradeUpdate)
        frames.append(frame)
    tell = made._tell_frame

    async def failing(frame: OrderTradeUpdate) -> None:
        if frame.o.t == 11 and made.bad["Retryable"] == 0:
            raise Retryable("not now")
        if frame.o.t == 12:
            raise DataError("never")
        await tell(frame)

    made._tell_frame = failing  # type: ignore[method-assign]
    made._parked = [(now, frame) for frame in frames]
    await made._unpark(now)
    assert told(made) == [13] and [f.o.t for _, f in made._parked] == [11]
    assert made._audit_at <= now + 1.0 or made._audit_at == 0.0
    await made._unpark(now + 60)
    assert told(made) == [13, 11] and made._parked == []


async def test_a_failure_that_nobody_foresaw_is_told_and_healed_by_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_stream, "_SOON", 0.02)
    made, venue, rest = stream([])
    made._begun = False
    try:
        async with asyncio.timeout(60):
            await anext(made)
            handle = made._frame

            async def broken(data: bytes) -> None:
                made._frame = handle  # type: ignore[method-assign]
                raise ZeroDivisionError

            made._frame = broken  # type: ignore[method-assign]
            venue.unforeseen = 2
            rest.trades = [trade(11)]
            made._frames.put_nowait(report(11, 1))
            heard: list[Any] = []
            while not (heard and isinstance(heard[-1], LinkChanged) and heard[-1].up):
                heard.append(await anext(made))
            made._frames.put_nowait(report(12, 2))
            while len([e for e in heard if isinstance(e, FillBooked)]) < 2:
                heard.append(await anext(made))
    finally:
        await made.aclose()
    assert [e.up for e in heard if isinstance(e, LinkChanged)] == [False, True]
    assert made.bad["ZeroDivisionError"] == 3


async def test_an_order_that_the_venue_has_forgotten_ends_no_look() -> None:
    """It ended unfilled and unheard while the link was down, and so long ago that a read does not find it any more."""
    made, venue, _ = stream([])
    made._open["mine"] = await venue.get_order(S)
    made._broken = True
    asked: list[str | None] = []

    async def forgotten(symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Any:
        asked.append(client_order_id)
        raise Rejected("Order does not exist.", code=-2013)

    venue.get_order = forgotten  # type: ignore[method-assign]
    for _ in range(2):
        await made._truth()
    assert asked == ["mine"] and made._open == {}
    assert [e.up for e in made._events if isinstance(e, LinkChanged)] == [True]


@pytest.mark.parametrize("path", ["/fapi/v1/userTrades", "/fapi/v1/income"])
@pytest.mark.parametrize("error", [Retryable("busy"), ZeroDivisionError()], ids=["foreseen", "unforeseen"])
async def test_a_read_that_fails_after_the_first_snapshot_is_made_again(
    monkeypatch: pytest.MonkeyPatch, path: str, error: Exception
) -> None:
    monkeypatch.setattr(account_stream, "_SOON", 0.02)
    past = Past(told={(S, "10")}, symbols={S}, until_ns=(T0 + 5) * 10**6)
    made, _, rest = stream([trade(11), trade(12)], past)
    made._begun, made._behind = False, True
    read, failed = rest.read, list[str]()

    async def flaky(request: Any, kind: Any) -> Any:
        if request.path == path and len(failed) < 2:
            failed.append(path)
            raise error
        return await read(request, kind)

    rest.read = flaky  # type: ignore[method-assign]
    heard: list[Any] = []
    try:
        async with asyncio.timeout(60):
            while made.bad.total() < 2 or made._failed or len(told_of(heard)) < 2:
                heard.append(await anext(made))
    finally:
        await made.aclose()
    assert told_of(heard) == [11, 12] and made._held == {S: 2}
    assert not isinstance(heard[0], FillBooked | LinkChanged), "the first word is the snapshot"


def told_of(heard: list[Any]) -> list[int]:
    return [int(e.fill.trade_id) for e in heard if isinstance(e, FillBooked)]


async def test_a_stream_that_cannot_read_its_first_snapshot_does_not_begin() -> None:
    made, venue, _ = stream([])
    made._begun, venue.unforeseen = False, 1
    try:
        with pytest.raises(DataError, match="cannot begin"):
            await anext(made)
    finally:
        await made.aclose()
