"""The local venue's streams: every name of the wire, with its fields, and sums that agree with REST."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("starlette")

from ares.exchange.wire.numbers import MS
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.subscription import Subscription
from ares.simulation.tape import Tape
from tests.simulation.test_server import MINUTE, Client, S, advance, make

LOW = S.lower()
TICKER = "e E s p P w c Q o h l v q O C F L n ps st"
MARK = "e E s p ap i P r T st"
DEPTH = "e E T s ps U u pu b a st"
QUOTE = "e u E T s ps b B a A st"
FIELDS = {  # stream -> path, fields of its payload
    f"{LOW}@aggTrade": ("market", "e E s a p q nq f l T m st"),
    f"{LOW}@trade": ("public", "e E T s t p q X m"),
    f"{LOW}@kline_1m": ("market", "e E s k"),
    f"{LOW}@kline_1h": ("market", "e E s k"),
    f"{LOW}_perpetual@continuousKline_5m": ("market", "e E ps ct k"),
    f"{LOW}@markPrice": ("market", MARK),
    f"{LOW}@markPrice@1s": ("market", MARK),
    "!markPrice@arr": ("market", MARK),
    "!markPrice@arr@1s": ("market", MARK),
    f"{LOW}@ticker": ("market", TICKER),
    "!ticker@arr": ("market", TICKER),
    f"{LOW}@miniTicker": ("market", "e E s c o h l v q"),
    "!miniTicker@arr": ("market", "e E s c o h l v q"),
    f"{LOW}@bookTicker": ("public", QUOTE),
    "!bookTicker": ("public", QUOTE),
    f"{LOW}@depth": ("public", DEPTH),
    f"{LOW}@depth@500ms": ("public", DEPTH),
    f"{LOW}@depth10@100ms": ("public", DEPTH),
    f"{LOW}@rpiDepth@500ms": ("public", DEPTH),
}


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape.synthetic(S, "1m", bars=300, seed=3)


def listener(venue: LocalVenue, category: str, names: Iterable[str], *, wrapped: bool = False) -> Subscription:
    subscription = Subscription(venue, category, wrapped=wrapped)
    subscription.add(names)
    venue.subscribe(subscription)
    return subscription


async def heard(subscription: Subscription) -> list[Any]:
    """What has been sent so far."""
    frames: list[Any] = []
    while True:
        try:
            async with asyncio.timeout(0.01):
                data = await subscription.next()
        except TimeoutError:
            return frames
        assert data is not None
        frames.append(json.loads(data))


@pytest.mark.parametrize("name", FIELDS)
async def test_every_stream_speaks_on_its_path_only_and_has_its_fields(tape: Tape, name: str) -> None:
    venue = make(tape)
    category, fields = FIELDS[name]
    right = listener(venue, category, [name])
    wrong = listener(venue, "market" if category == "public" else "public", [name])
    for _ in range(12):
        advance(venue, 10**9)
    frames = await heard(right)
    assert frames and await heard(wrong) == []
    for frame in frames:
        rows = frame if name.endswith("arr") or "@arr@" in name else [frame]
        assert rows and all(set(fields.split()) <= set(row) for row in rows)
        assert all(row.get("s", row.get("ps")) == S for row in rows)


async def test_the_day_is_that_of_the_klines(tape: Tape) -> None:
    venue = make(tape)
    ticker = listener(venue, "market", [f"{LOW}@ticker"])
    advance(venue, 5 * MINUTE)
    told = (await heard(ticker))[-1]
    client = Client(venue)
    rows = client.ask("GET", "/fapi/v1/klines", signed=False, symbol=S, interval="1m", limit=1500)[1]
    asked = client.ask("GET", "/fapi/v1/ticker/24hr", signed=False, symbol=S)[1]
    assert (told["o"], told["O"]) == (rows[0][1], rows[0][0]) == (asked["openPrice"], asked["openTime"])
    assert Decimal(told["h"]) == max(Decimal(r[2]) for r in rows) == Decimal(asked["highPrice"])
    assert Decimal(told["l"]) == min(Decimal(r[3]) for r in rows) == Decimal(asked["lowPrice"])
    assert float(told["v"]) == pytest.approx(sum(float(r[5]) for r in rows))
    assert float(told["q"]) == pytest.approx(sum(float(r[7]) for r in rows))
    assert told["n"] == pytest.approx(sum(r[8] for r in rows), abs=1)
    assert Decimal(told["p"]) == Decimal(told["c"]) - Decimal(told["o"])


async def test_a_longer_bar_is_told_while_it_forms_and_once_complete(tape: Tape) -> None:
    venue = make(tape)
    bars = listener(venue, "market", [f"{LOW}@kline_5m"])
    for _ in range(11 * 6):
        advance(venue, 10 * 10**9)
    told = [frame["k"] for frame in await heard(bars)]
    rows = Client(venue).ask("GET", "/fapi/v1/klines", signed=False, symbol=S, interval="5m", limit=4)[1]
    by_open = {row[0]: row for row in rows}
    closed = [k for k in told if k["x"]]
    assert len(closed) == len({k["t"] for k in closed}) == 2 and len(told) > 50
    for bar in [*closed, told[-1]]:
        row = by_open[bar["t"]]
        assert [bar[name] for name in "ohlcvTq"] == [row[n] for n in (1, 2, 3, 4, 5, 6, 7)]


async def test_a_forming_hour_is_the_sum_of_its_minutes(tape: Tape) -> None:
    venue = make(tape)
    advance(venue, 33 * MINUTE + 20 * 10**9)
    hour = venue.market.klines(S, 60 * MINUTE, 1, None, None, forming=True)[-1]
    minutes = [r for r in venue.market.klines(S, MINUTE, 99, None, None, forming=True) if r[0] >= hour[0]]
    assert len(minutes) > 2
    for column in (5, 7, 9, 10):
        assert float(hour[column]) == pytest.approx(sum(float(r[column]) for r in minutes))
    assert hour[8] == pytest.approx(sum(r[8] for r in minutes), abs=1)


async def test_the_newest_bars_are_the_end_of_all_bars(tape: Tape) -> None:
    venue = make(tape)
    advance(venue, 17 * MINUTE + 30 * 10**9)
    for name, minutes in (("1m", 1), ("5m", 5), ("1h", 60)):
        for forming in (True, False):
            span = minutes * MINUTE
            everything = venue.market.klines(S, span, 1500, 0, None, forming=forming)
            for count in (1, 2, 7):
                newest = venue.market.klines(S, span, count, None, None, forming=forming)
                assert newest == everything[-count:], (name, forming, count)


async def test_marks_bear_the_rate_and_the_time_of_the_premium_index(tape: Tape) -> None:
    venue = make(tape)
    marks = listener(venue, "market", [f"{LOW}@markPrice@1s"])
    advance(venue, 10**9)
    told = (await heard(marks))[-1]
    index = Client(venue).ask("GET", "/fapi/v1/premiumIndex", signed=False, symbol=S)[1]
    assert (told["r"], told["T"]) == (index["lastFundingRate"], index["nextFundingTime"])
    assert index["nextFundingTime"] > venue.now_ns() // MS


async def test_names_come_and_go_by_message_and_are_listed(tape: Tape) -> None:
    venue = make(tape)
    one = listener(venue, "market", [], wrapped=True)
    for number, method, params in ((1, "SUBSCRIBE", [f"{LOW}@ticker", f"{LOW}@kline_1m"]), ("x", "UNSUBSCRIBE",
                                   [f"{LOW}@kline_1m"]), (3, "LIST_SUBSCRIPTIONS", None)):  # fmt: skip
        one.asked(json.dumps({"id": number, "method": method, "params": params}))
    assert await heard(one) == [
        {"id": 1, "result": None}, {"id": "x", "result": None}, {"id": 3, "result": [f"{LOW}@ticker"]},
    ]  # fmt: skip
    advance(venue, 10**9)
    assert {frame["stream"] for frame in await heard(one)} == {f"{LOW}@ticker"}


async def test_only_what_is_wanted_is_made(tape: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    venue = make(tape)
    listener(venue, "market", [f"{LOW}@aggTrade"])
    monkeypatch.setattr(venue.market, "ladder", lambda *given: pytest.fail("nobody asked for a book"))
    monkeypatch.setattr(venue.market, "klines", lambda *given, **more: pytest.fail("nobody asked for bars"))
    advance(venue, 3 * MINUTE)
