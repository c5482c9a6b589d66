"""Conditional orders of the local venue: each triggers where its definition says, and what it becomes is told."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette")

from ares.clock import VirtualClock
from ares.exchange.wire.numbers import MS
from ares.secret import Secret
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.walk import Tick
from ares.simulation.tape import Tape
from tests.simulation.market import HOUR, flat, frame, random_bars
from tests.simulation.market import tape as hours
from tests.simulation.test_server import KEY, MINUTE, SECRET, Client, S, advance
from tests.simulation.test_server_account import buy

START = 10  # bars of history


def served(tape: Tape) -> LocalVenue:
    accounts = {KEY: (Secret(SECRET), Decimal(10_000))}
    return LocalVenue(tape, accounts=accounts, clock=VirtualClock(tape.end_ns), history=START)


def private(venue: LocalVenue) -> list[dict[str, Any]]:
    """What the account is told from now on, whatever stream it listens to."""
    told: list[dict[str, Any]] = []
    venue.traders[KEY].tell = lambda frame: told.append(json.loads(frame))
    return told


def own_marks(seed: int, bars: int = 24) -> Tape:
    """A market whose mark price goes a way of its own."""
    last, mark = random_bars(seed, bars), random_bars(seed + 1000, bars)
    return Tape.from_frame(
        frame(last), symbol=S, interval="1h", mark=frame(mark)[["open", "high", "low", "close"]],
    )  # fmt: skip


def played(venue: LocalVenue, told: list[dict[str, Any]], *, by_mark: bool) -> tuple[int | None, list[Decimal]]:
    """Ten hours, or until something triggers: the step at which it did, and the prices of all steps."""
    seen: list[Decimal] = []
    steps: list[int] = []
    tick = venue.market.on_tick

    def hear(step: Tick, state: Any) -> None:
        known = len(told)
        seen.append(state.instrument.price(state.mark if by_mark else state.last))
        tick(step, state)
        if any(f["e"] == "ALGO_UPDATE" and f["o"]["X"] == "TRIGGERING" for f in told[known:]):
            steps.append(len(seen) - 1)

    venue.market.on_tick = hear
    for _ in range(600):
        advance(venue, MINUTE)
        if steps:
            return steps[0], seen
    return None, seen


def place(client: Client, kind: str, side: str = "SELL", quantity: str = "0.5", **more: Any) -> tuple[int, Any]:
    wish: dict[str, Any] = {"algoType": "CONDITIONAL", "symbol": S, "side": side, "type": kind}
    if more.get("closePosition") != "true":
        wish["quantity"] = quantity
    return client.ask("POST", "/fapi/v1/algoOrder", **wish, **more)


def now(venue: LocalVenue, *, mark: bool = False) -> Decimal:
    state = venue.market.symbols[S]
    return state.instrument.price(state.mark if mark else state.last)


# ------------------------------------------------------------ where they trigger


def step_of_stop(kind: str, sign: int, trigger: Decimal, path: list[Decimal]) -> int | None:
    """By the definition: a stop to buy triggers at or above its price, one to sell at or below; a target reversed."""
    way = sign if kind.startswith("STOP") else -sign
    return next((n for n, p in enumerate(path) if way * (p - trigger) >= 0), None)


def step_of_trailing(sign: int, placed: Decimal, activate: Decimal | None, rate: Decimal, path: list[Decimal]) -> Any:
    """By the definition: the best price so far has touched the activation, and the price has come back by the rate."""
    for n, price in enumerate(path):
        best = min(placed, *path[: n + 1]) if sign > 0 else max(placed, *path[: n + 1])
        begun = activate is None or (best <= activate if sign > 0 else best >= activate)
        back = price >= best * (1 + rate / 100) if sign > 0 else price <= best * (1 - rate / 100)
        if begun and back:
            return n
    return None


@pytest.mark.parametrize("working", ["CONTRACT_PRICE", "MARK_PRICE"])
@pytest.mark.parametrize("side", ["BUY", "SELL"])
@pytest.mark.parametrize("kind", ["STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"])
def test_stops_and_targets_trigger_by_the_price_they_look_at(kind: str, side: str, working: str) -> None:
    triggered = 0
    for seed in range(4):
        venue = served(own_marks(seed))
        client, told = Client(venue), private(venue)
        sign, by_mark = (1 if side == "BUY" else -1), working == "MARK_PRICE"
        way = sign if kind.startswith("STOP") else -sign
        trigger = now(venue, mark=by_mark) + way * Decimal(9)
        more = {} if kind.endswith("_MARKET") else {"price": trigger}
        status, made = place(client, kind, side, triggerPrice=trigger, workingType=working, **more)
        assert (status, made["algoStatus"], made["workingType"]) == (200, "NEW", working)
        step, path = played(venue, told, by_mark=by_mark)
        assert step == step_of_stop(kind, sign, trigger, path)
        triggered += step is not None
    assert triggered >= 2


@pytest.mark.parametrize("working", ["CONTRACT_PRICE", "MARK_PRICE"])
@pytest.mark.parametrize("side", ["BUY", "SELL"])
@pytest.mark.parametrize("away", [None, 6])
def test_a_trailing_stop_triggers_by_its_definition(side: str, away: int | None, working: str) -> None:
    triggered = 0
    for seed in range(4):
        venue = served(own_marks(seed))
        client, told = Client(venue), private(venue)
        sign, by_mark, rate = (1 if side == "BUY" else -1), working == "MARK_PRICE", Decimal("0.4")
        placed = now(venue, mark=by_mark)
        activate = None if away is None else placed - sign * away
        more = {} if activate is None else {"activatePrice": activate}
        status, made = place(client, "TRAILING_STOP_MARKET", side, callbackRate=rate, workingType=working, **more)
        assert (status, Decimal(made["callbackRate"])) == (200, rate)
        assert Decimal(made["activatePrice"]) == (placed if activate is None else activate)
        step, path = played(venue, told, by_mark=by_mark)
        assert step == step_of_trailing(sign, placed, activate, rate, path)
        triggered += step is not None
        if step is not None:
            bodies = [f["o"] for f in told if f["e"] == "ORDER_TRADE_UPDATE"]
            assert {(o["ot"], o["o"], Decimal(o["cr"])) for o in bodies} == {("TRAILING_STOP_MARKET", "MARKET", rate)}
    assert triggered >= 2


@pytest.mark.parametrize(("apart", "triggers"), [(80, True), (120, False)])
def test_a_protected_stop_waits_while_mark_and_last_price_lie_too_far_apart(apart: int, triggers: bool) -> None:
    """5 % of 2000 is 100: the mark price stands that far away while the last price touches the trigger."""
    bars = [*flat(2000.0, START), *[(2000.0, 2020.0, 2000.0, 2020.0)] * 6]
    marks = [*flat(2000.0, START), *flat(2010.0 + apart, 6)]
    tape = Tape.from_frame(frame(bars), symbol=S, interval="1h", mark=frame(marks).drop(columns="volume"))
    venue = served(tape)
    client = Client(venue)
    status, made = place(client, "STOP_MARKET", "BUY", "0.1", triggerPrice="2010", priceProtect="true")
    assert status == 200 and made["priceProtect"] is True
    for _ in range(120):
        advance(venue, MINUTE)
    state = client.ask("GET", "/fapi/v1/algoOrder", algoId=made["algoId"])[1]["algoStatus"]
    assert state == ("FINISHED" if triggers else "NEW")


# ------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("kind", "side", "more", "code"),
    [
        ("STOP", "BUY", {"triggerPrice": 2010}, -1102),
        ("STOP", "BUY", {"triggerPrice": 1990, "price": 2000}, -2021),
        ("STOP", "SELL", {"triggerPrice": 2010, "price": 2000}, -2021),
        ("TAKE_PROFIT", "BUY", {"triggerPrice": 2010, "price": 2000}, -2021),
        ("STOP", "BUY", {"triggerPrice": 2010, "price": 2300}, -4183),
        ("STOP", "SELL", {"triggerPrice": 1990, "price": 1700}, -4184),
        ("STOP", "BUY", {"triggerPrice": "2010.005", "price": 2011}, -4014),
        ("STOP", "BUY", {"triggerPrice": 2010, "price": 2011, "timeInForce": "RPI"}, -1115),
        ("STOP", "BUY", {"triggerPrice": 2010, "price": 2011, "closePosition": "true"}, -4136),
        ("STOP_MARKET", "BUY", {"triggerPrice": 2010, "workingType": "INDEX_PRICE"}, -1130),
        ("TRAILING_STOP_MARKET", "BUY", {}, -1102),
        ("TRAILING_STOP_MARKET", "BUY", {"callbackRate": "0.05"}, -2007),
        ("TRAILING_STOP_MARKET", "BUY", {"callbackRate": "10.1"}, -2007),
        ("TRAILING_STOP_MARKET", "BUY", {"callbackRate": "1", "activatePrice": 2010}, -2021),
        ("TRAILING_STOP_MARKET", "SELL", {"callbackRate": "1", "activatePrice": 1990}, -2021),
        ("TRAILING_STOP_MARKET", "SELL", {"callbackRate": "1", "activatePrice": "2010.001"}, -4014),
        ("TRAILING_STOP_MARKET", "SELL", {"callbackRate": "1", "closePosition": "true"}, -4136),
    ],
)
def test_refusals_bear_the_sheets_codes(kind: str, side: str, more: dict[str, Any], code: int) -> None:
    venue = served(hours(flat(2000.0, 14)))
    client = Client(venue)
    status, answer = place(client, kind, side, **more)
    assert (status, answer["code"]) == (400, code)
    assert client.ask("GET", "/fapi/v1/openAlgoOrders")[1] == []


def test_margin_is_asked_for_when_it_triggers_and_the_refusal_is_told() -> None:
    venue = served(hours([*flat(2000.0, 11), *[(2000.0, 2020.0, 2000.0, 2020.0)] * 3]))
    client, told = Client(venue), private(venue)
    status, made = place(client, "STOP_MARKET", "BUY", "1500", triggerPrice="2010")
    assert status == 200 and Decimal(client.ask("GET", "/fapi/v3/account")[1]["totalOpenOrderInitialMargin"]) == 0
    for _ in range(130):
        advance(venue, MINUTE)
    kinds = [f["e"] for f in told]
    assert "ORDER_TRADE_UPDATE" not in kinds
    (reject,) = [f["or"] for f in told if f["e"] == "CONDITIONAL_ORDER_TRIGGER_REJECT"]
    assert (reject["s"], reject["i"]) == (S, made["algoId"]) and "margin" in reject["r"]
    assert [f["o"]["X"] for f in told if f["e"] == "ALGO_UPDATE"] == ["NEW", "TRIGGERING", "REJECTED"]
    assert client.ask("GET", "/fapi/v1/algoOrder", algoId=made["algoId"])[1]["algoStatus"] == "REJECTED"
    assert client.ask("DELETE", "/fapi/v1/algoOrder", algoId=made["algoId"])[1]["code"] == -2011


# ------------------------------------------------------------ what they become


def test_a_stop_limit_becomes_a_limit_order_and_is_finished_with_it() -> None:
    """It triggers on the way up, rests below the market, and fills on the way down."""
    path = [*flat(2000.0, 11), (2000.0, 2020.0, 2000.0, 2020.0), (2020.0, 2020.0, 2000.0, 2000.0), *flat(2000.0, 2)]
    venue = served(hours(path))
    client, told = Client(venue), private(venue)
    status, made = place(client, "STOP", "BUY", triggerPrice="2010", price="2005", clientAlgoId="mine")
    assert status == 200 and made["algoId"] > 2**50 and made["actualOrderId"] == ""
    waiting = client.ask("GET", "/fapi/v1/openAlgoOrders", symbol=S)[1]
    assert [(o["orderType"], Decimal(o["price"])) for o in waiting] == [("STOP", Decimal(2005))]
    assert client.ask("GET", "/fapi/v1/openOrders", symbol=S)[1] == []
    resting: dict[str, Any] = {}
    for _ in range(120):
        advance(venue, MINUTE)
        found = client.ask("GET", "/fapi/v1/openOrders", symbol=S)[1]
        if found:
            (resting,) = found
            break
    assert (resting["type"], resting["origType"], resting["clientOrderId"]) == ("LIMIT", "STOP", "mine")
    assert (Decimal(resting["price"]), Decimal(resting["stopPrice"])) == (Decimal(2005), Decimal(2010))
    between = client.ask("GET", "/fapi/v1/algoOrder", clientAlgoId="mine")[1]
    assert (between["algoStatus"], between["actualOrderId"]) == ("TRIGGERED", str(resting["orderId"]))
    assert client.ask("GET", "/fapi/v1/openAlgoOrders", symbol=S)[1] == []
    for _ in range(120):
        advance(venue, MINUTE)
    done = client.ask("GET", "/fapi/v1/algoOrder", clientAlgoId="mine")[1]
    assert (done["algoStatus"], done["actualType"], Decimal(done["actualQty"])) == ("FINISHED", "LIMIT", Decimal("0.5"))
    assert Decimal(done["actualPrice"]) <= 2005
    told_of = [(f["e"], f["o"]["X"]) for f in told if f["e"] in ("ALGO_UPDATE", "ORDER_TRADE_UPDATE")]
    assert told_of == [
        ("ALGO_UPDATE", "NEW"), ("ALGO_UPDATE", "TRIGGERING"), ("ALGO_UPDATE", "TRIGGERED"),
        ("ORDER_TRADE_UPDATE", "NEW"), ("ORDER_TRADE_UPDATE", "FILLED"), ("ALGO_UPDATE", "FINISHED"),
    ]  # fmt: skip
    assert {f["o"]["ai"] for f in told if f["e"] == "ALGO_UPDATE"} == {"", str(resting["orderId"])}


def test_what_could_only_reduce_a_position_goes_with_it() -> None:
    venue = served(hours(flat(2000.0, 16)))
    client, told = Client(venue), private(venue)
    buy(client)
    ids = [
        place(client, kind, "SELL", reduceOnly="true", **more)[1]["algoId"]
        for kind, more in (
            ("STOP", {"triggerPrice": 1990, "price": 1989}),
            ("TRAILING_STOP_MARKET", {"callbackRate": "1"}),
            ("TAKE_PROFIT", {"triggerPrice": 2010, "price": 2010}),
        )
    ]
    other = place(client, "STOP_MARKET", "BUY", triggerPrice=2050)[1]["algoId"]
    client.ask("POST", "/fapi/v1/order", symbol=S, side="SELL", type="MARKET", quantity="0.5", reduceOnly="true")
    gone = [f["o"]["aid"] for f in told if f["e"] == "ALGO_UPDATE" and f["o"]["X"] == "EXPIRED"]
    assert sorted(gone) == ids
    assert [o["algoId"] for o in client.ask("GET", "/fapi/v1/openAlgoOrders")[1]] == [other]


# ------------------------------------------------------------ good till a date


def till(venue: LocalVenue, seconds: int) -> int:
    return (venue.now_ns() // MS // 1000 + seconds) * 1000


def resting_till(venue: LocalVenue, client: Client, until: int, **more: Any) -> tuple[int, Any]:
    wish: dict[str, Any] = {"symbol": S, "side": "BUY", "type": "LIMIT", "timeInForce": "GTD", "quantity": "0.5"}
    return client.ask("POST", "/fapi/v1/order", **{**wish, "price": 1950, "goodTillDate": until, **more})


@pytest.mark.parametrize("ms", [None, 599_000, 253_402_300_799_000])
def test_a_good_till_date_lies_ten_minutes_ahead_and_in_this_age(ms: int | None) -> None:
    venue = served(hours(flat(2000.0, 14)))
    client = Client(venue)
    if ms is None:
        wish: dict[str, Any] = {"symbol": S, "side": "BUY", "type": "LIMIT", "timeInForce": "GTD", "quantity": "0.5"}
        assert client.ask("POST", "/fapi/v1/order", price=1950, **wish)[1]["code"] == -1102
    else:
        until = ms if ms > 10**12 else venue.now_ns() // MS + ms
        assert resting_till(venue, client, until)[1]["code"] == -5040


def test_a_good_till_order_ends_at_its_second_and_not_before() -> None:
    venue = served(hours(flat(2000.0, 14)))
    client, told = Client(venue), private(venue)
    until = till(venue, 900)
    status, made = resting_till(venue, client, until + 700)  # what is less than a second is cut off
    assert (status, made["timeInForce"], made["goodTillDate"]) == (200, "GTD", until)
    trigger: dict[str, Any] = {"triggerPrice": 2100, "price": 2101, "timeInForce": "GTD", "goodTillDate": until}
    algo = place(client, "STOP", "BUY", **trigger)[1]
    assert (algo["timeInForce"], algo["goodTillDate"]) == ("GTD", until)
    advance(venue, until * MS - venue.now_ns() - 1)
    assert client.ask("GET", "/fapi/v1/openOrder", symbol=S, orderId=made["orderId"])[0] == 200
    advance(venue, 1)
    assert client.ask("GET", "/fapi/v1/openOrders")[1] == client.ask("GET", "/fapi/v1/openAlgoOrders")[1] == []
    done = client.ask("GET", "/fapi/v1/order", symbol=S, orderId=made["orderId"])[1]
    assert (done["status"], done["goodTillDate"], done["updateTime"]) == ("EXPIRED", until, until)
    ends = [(f["o"]["x"], f["o"]["X"], f["o"]["gtd"]) for f in told if f["e"] == "ORDER_TRADE_UPDATE"]
    assert ends == [("NEW", "NEW", until), ("EXPIRED", "EXPIRED", until)]
    assert [f["o"]["X"] for f in told if f["e"] == "ALGO_UPDATE"] == ["NEW", "EXPIRED"]
    assert Decimal(client.ask("GET", "/fapi/v3/account")[1]["totalOpenOrderInitialMargin"]) == 0


def test_a_good_till_order_meets_no_price_of_a_later_time() -> None:
    """The market is not looked at for hours; what happened after the date may not fill the order."""
    venue = served(hours([*flat(2000.0, 11), *[(2000.0, 2000.0, 1900.0, 1900.0)] * 3]))
    client = Client(venue)
    made = resting_till(venue, client, till(venue, 700))[1]
    advance(venue, 4 * HOUR)
    done = client.ask("GET", "/fapi/v1/order", symbol=S, orderId=made["orderId"])[1]
    assert (done["status"], Decimal(done["executedQty"])) == ("EXPIRED", 0)


# ------------------------------------------------------------ the short report of a fill, and the warning


def test_every_fill_is_told_short_and_then_whole() -> None:
    venue = served(hours(random_bars(5, 24)))
    client, told = Client(venue), private(venue)
    buy(client)
    place(client, "STOP_MARKET", "SELL", triggerPrice=now(venue) - 3, reduceOnly="true")
    for _ in range(300):
        advance(venue, MINUTE)
    short = [f for f in told if f["e"] == "TRADE_LITE"]
    whole = [f["o"] for f in told if f["e"] == "ORDER_TRADE_UPDATE" and f["o"]["x"] == "TRADE"]
    assert len(whole) == 2
    for lite, full in zip(short, whole, strict=True):
        assert all(lite[name] == full[name] for name in "spqmcSLlti")
        assert told.index(lite) < next(n for n, f in enumerate(told) if f.get("o") is full)


def test_a_position_in_danger_is_told_once_before_it_is_liquidated() -> None:
    fall = [*flat(2000.0, 11), *[(p, p, p - 10.0, p - 10.0) for p in np.arange(2000.0, 1880.0, -10.0).tolist()]]
    venue = served(hours(fall))
    client, told = Client(venue), private(venue)
    client.ask("POST", "/fapi/v1/leverage", symbol=S, leverage=20)
    buy(client)
    for _ in range(720):
        advance(venue, MINUTE)
    (call,) = [f for f in told if f["e"] == "MARGIN_CALL"]
    (row,) = call["p"]
    assert (row["s"], row["ps"], Decimal(row["pa"]), row["mt"]) == (S, "BOTH", Decimal("0.5"), "ISOLATED")
    margin = Decimal(row["iw"]) + Decimal(row["up"])
    assert Decimal("0.8") * margin <= Decimal(row["mm"]) < margin and "cw" not in call
    end = next(n for n, f in enumerate(told) if f["e"] == "ORDER_TRADE_UPDATE" and f["o"]["x"] == "CALCULATED")
    assert told.index(call) < end
