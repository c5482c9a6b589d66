"""Orders at the local venue by raw requests: what it announces, amendments, batches, and the real one's codes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("starlette")

from ares.simulation.server.limits import RequestLimits
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.tape import Tape
from tests.simulation.test_server import KEY, MINUTE, Client, S, advance, make

KINDS = ("LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
"""Every order type that the real venue knows."""


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape.synthetic(S, "1m", bars=300, seed=3)


@pytest.fixture
def venue(tape: Tape) -> LocalVenue:
    return make(tape)


@pytest.fixture
def frames(venue: LocalVenue) -> list[dict[str, Any]]:
    """What the account's private stream tells."""
    told: list[dict[str, Any]] = []
    venue.listen_key(venue.traders[KEY])
    venue.subscribers["test"] = lambda stream, frame: (
        told.append(json.loads(frame)) if stream.startswith("private") else None
    )
    return told


def price_of(venue: LocalVenue) -> int:
    return round(venue.market.symbols[S].last)


def limit(client: Client, away: int, quantity: str = "0.5", **more: Any) -> tuple[int, Any]:
    """A buy limit so far from the last price."""
    wish: dict[str, Any] = {"timeInForce": "GTC", "quantity": quantity, "price": price_of(client.venue) + away, **more}
    return client.ask("POST", "/fapi/v1/order", symbol=S, side="BUY", type="LIMIT", **wish)


@pytest.mark.parametrize("kind", KINDS)
def test_the_announced_order_types_are_those_that_are_taken(venue: LocalVenue, kind: str) -> None:
    client, last = Client(venue), price_of(venue)
    announced = client.ask("GET", "/fapi/v1/exchangeInfo", signed=False)[1]["symbols"][0]["orderTypes"]
    given: dict[str, Any] = {"symbol": S, "side": "BUY", "type": kind, "quantity": "0.5"}
    if kind == "LIMIT":
        given |= {"price": last - 50, "timeInForce": "GTC"}
    if kind in ("LIMIT", "MARKET"):
        status, answer = client.ask("POST", "/fapi/v1/order", **given)
    else:
        away = -50 if kind.startswith("TAKE_PROFIT") else 50
        given |= {"algoType": "CONDITIONAL", "triggerPrice": last + away, "price": last, "callbackRate": "1"}
        status, answer = client.ask("POST", "/fapi/v1/algoOrder", **given)
    assert (status == 200) is (kind in announced)
    assert status == 200 or answer["code"] == -1116


@pytest.mark.parametrize("kind", ["LIMIT", "MARKET"])
def test_the_algo_service_takes_conditional_orders_only(venue: LocalVenue, kind: str) -> None:
    last = price_of(venue)
    status, answer = Client(venue).ask(
        "POST", "/fapi/v1/algoOrder", algoType="CONDITIONAL", symbol=S, side="BUY", type=kind, quantity="0.5",
        price=last - 50, timeInForce="GTC", triggerPrice=last - 50,
    )  # fmt: skip
    assert (status, answer["code"]) == (400, -1116)


def test_the_announced_numbers_of_open_orders_are_kept(venue: LocalVenue) -> None:
    client, last = Client(venue), price_of(venue)
    venue.limits = RequestLimits(orders_per_10s=10_000, orders_per_minute=10_000)
    filters = client.ask("GET", "/fapi/v1/exchangeInfo", signed=False)[1]["symbols"][0]["filters"]
    most = {f["filterType"]: f["limit"] for f in filters if "limit" in f}
    stop: dict[str, Any] = {"algoType": "CONDITIONAL", "symbol": S, "side": "BUY", "type": "STOP_MARKET"}
    stop["quantity"] = "0.01"
    codes = [
        client.ask("POST", "/fapi/v1/algoOrder", triggerPrice=last + 60 + n, **stop)[1].get("code")
        for n in range(most["MAX_NUM_ALGO_ORDERS"] + 1)
    ]
    assert codes == [None] * most["MAX_NUM_ALGO_ORDERS"] + [-4045]
    codes = [limit(client, -60, "0.01")[1].get("code") for n in range(most["MAX_NUM_ORDERS"] + 1)]
    assert codes == [None] * most["MAX_NUM_ORDERS"] + [-2025]


# ------------------------------------------------------------ amendments


def test_an_amended_order_keeps_its_name_and_takes_its_new_size_and_price(
    venue: LocalVenue, frames: list[dict[str, Any]]
) -> None:
    client, last = Client(venue), price_of(venue)
    made = limit(client, -50, newClientOrderId="mine")[1]
    reserved = Decimal(client.ask("GET", "/fapi/v3/account")[1]["totalOpenOrderInitialMargin"])
    advance(venue, 10**9)
    status, changed = client.ask(
        "PUT", "/fapi/v1/order", symbol=S, side="BUY", origClientOrderId="mine", quantity="1.0", price=last - 60
    )
    assert status == 200 and client.headers["x-mbx-order-count-10s"] == "2"
    assert (changed["orderId"], changed["clientOrderId"]) == (made["orderId"], "mine")
    assert (Decimal(changed["origQty"]), Decimal(changed["price"])) == (Decimal(1), Decimal(last - 60))
    now = client.ask("GET", "/fapi/v1/openOrders", symbol=S)[1]
    seen = [(o["orderId"], Decimal(o["price"]), o["status"]) for o in now]
    assert seen == [(made["orderId"], Decimal(last - 60), "NEW")]
    grown = Decimal(client.ask("GET", "/fapi/v3/account")[1]["totalOpenOrderInitialMargin"])
    assert grown / reserved == pytest.approx(Decimal(2 * (last - 60)) / (last - 50))
    told = [f["o"]["x"] for f in frames if f["e"] == "ORDER_TRADE_UPDATE"]
    assert told == ["NEW", "AMENDMENT"]
    client.ask("DELETE", "/fapi/v1/order", symbol=S, orderId=made["orderId"])
    assert Decimal(client.ask("GET", "/fapi/v3/account")[1]["totalOpenOrderInitialMargin"]) == 0


def test_an_amendment_that_crosses_takes(venue: LocalVenue) -> None:
    client = Client(venue)
    made = limit(client, -50)[1]
    body: dict[str, Any] = {"symbol": S, "side": "BUY", "orderId": made["orderId"], "quantity": "0.5"}
    client.ask("PUT", "/fapi/v1/order", price=price_of(venue) + 40, **body)
    assert client.ask("GET", "/fapi/v1/order", symbol=S, orderId=made["orderId"])[1]["status"] == "FILLED"
    assert Decimal(client.ask("GET", "/fapi/v3/positionRisk")[1][0]["positionAmt"]) == Decimal("0.5")


def test_an_amended_post_only_order_that_would_take_is_cancelled(venue: LocalVenue) -> None:
    client = Client(venue)
    made = limit(client, -50, timeInForce="GTX")[1]
    status, answer = client.ask(
        "PUT", "/fapi/v1/order", symbol=S, side="BUY", orderId=made["orderId"], quantity="0.5",
        price=price_of(venue) + 40,
    )  # fmt: skip
    assert (status, answer["status"]) == (200, "CANCELED")
    assert client.ask("GET", "/fapi/v3/positionRisk")[1] == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, -5027),
        ({"price": "2000.001"}, -4014),
        ({"quantity": "0.00001"}, -1111),
        ({"quantity": "1900"}, -2019),
        ({"quantity": ""}, -1102),
        ({"price": ""}, -1102),
        ({"reduceOnly": "true"}, -5047),
        ({"side": "SELL"}, -1117),
        ({"orderId": 999_999}, -2013),
    ],
)
def test_a_refused_amendment_leaves_the_order_as_it_was(venue: LocalVenue, change: dict[str, Any], code: int) -> None:
    client, last = Client(venue), price_of(venue)
    made = limit(client, -50)[1]
    before = client.ask("GET", "/fapi/v1/openOrders", symbol=S)[1]
    money = client.ask("GET", "/fapi/v3/account")[1]["availableBalance"]
    given = {"symbol": S, "side": "BUY", "orderId": made["orderId"], "quantity": "0.5", "price": last - 50, **change}
    status, error = client.ask("PUT", "/fapi/v1/order", **given)
    assert (status, error["code"]) == (400, code)
    assert client.ask("GET", "/fapi/v1/openOrders", symbol=S)[1] == before
    assert client.ask("GET", "/fapi/v3/account")[1]["availableBalance"] == money


def test_an_amended_order_stands_behind_the_others(venue: LocalVenue) -> None:
    client = Client(venue)
    first, second = (limit(client, -50)[1]["orderId"] for _ in range(2))
    body: dict[str, Any] = {"symbol": S, "side": "BUY", "orderId": first, "price": price_of(venue) - 50}
    client.ask("PUT", "/fapi/v1/order", quantity="0.6", **body)
    theirs = venue.traders[KEY]
    theirs.venue.trade(S, float(price_of(venue) - 80))
    theirs.report()
    assert [t.order_id for t in theirs.trades] == [second, first]


# ------------------------------------------------------------ batches


def test_a_batch_answers_in_its_order_and_a_refusal_is_one_of_its_answers(venue: LocalVenue) -> None:
    client, last = Client(venue), price_of(venue)
    wish = {"symbol": S, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1"}
    batch = [{**wish, "price": str(last - 50)}, {**wish, "price": "2000.001"}, {**wish, "price": str(last - 60)}]
    status, made = client.ask("POST", "/fapi/v1/batchOrders", batchOrders=json.dumps(batch))
    assert status == 200 and client.headers["x-mbx-order-count-10s"] == "5"
    assert [a.get("code") for a in made] == [None, -4014, None]
    ids = [made[0]["orderId"], made[2]["orderId"]]
    changes = [{"symbol": S, "side": "BUY", "orderId": n, "quantity": "0.2", "price": str(last - 70)} for n in ids]
    changed = client.ask("PUT", "/fapi/v1/batchOrders", batchOrders=json.dumps(changes))[1]
    assert [(a["orderId"], Decimal(a["price"])) for a in changed] == [(n, Decimal(last - 70)) for n in ids]
    gone = client.ask("DELETE", "/fapi/v1/batchOrders", symbol=S, orderidlist=f"[{ids[0]},77,{ids[1]}]")[1]
    assert [a.get("status", a.get("code")) for a in gone] == ["CANCELED", -2011, "CANCELED"]
    too_many = client.ask("DELETE", "/fapi/v1/batchOrders", symbol=S, orderIdList=json.dumps(list(range(11))))
    assert (too_many[0], too_many[1]["code"]) == (400, -4032)
    assert client.ask("POST", "/fapi/v1/batchOrders", batchOrders=json.dumps(batch * 2))[1]["code"] == -4082


# ------------------------------------------------------------ codes of the sheet


@pytest.mark.parametrize(
    ("away", "more", "code"),
    [
        (0, {"price": "-1"}, -1100),
        (0, {"quantity": "0"}, -4003),
        (0, {"quantity": "99999999"}, -4005),
        (2000, {}, -4016),
        (-50, {"timeInForce": "NOPE"}, -1115),
        (-50, {"side": "HOLD"}, -1117),
        (-50, {"newClientOrderId": "x" * 37}, -4015),
        (40, {"timeInForce": "GTX"}, -5022),
        (-50, {"quantity": "1900"}, -2019),
        (-50, {"reduceOnly": "true"}, -2022),
    ],
)
def test_refusals_bear_the_sheets_codes(venue: LocalVenue, away: int, more: dict[str, Any], code: int) -> None:
    client = Client(venue)
    price = price_of(venue) + away
    wish: dict[str, Any] = {"timeInForce": "GTC", "quantity": "0.5", "price": price, "side": "BUY", **more}
    status, error = client.ask("POST", "/fapi/v1/order", symbol=S, type="LIMIT", **wish)
    assert (status, error["code"]) == (400, code) and error["msg"]


@pytest.mark.parametrize(("ahead_ms", "fits"), [(-5000, True), (-5001, False), (999, True), (1000, False)])
def test_the_receive_window_is_the_sheets(venue: LocalVenue, ahead_ms: int, fits: bool) -> None:
    """Taken while timestamp < now + 1000 and now - timestamp <= recvWindow, which is 5000 unless it is told."""
    stamp = venue.now_ns() // 10**6 + ahead_ms
    status, answer = Client(venue).ask("GET", "/fapi/v3/account", timestamp=stamp)
    assert (status == 200) is fits and (fits or answer["code"] == -1021)


def test_a_ban_says_until_when_and_other_addresses_go_on(tape: Tape) -> None:
    venue = make(tape, limits=RequestLimits(weight_per_minute=40))
    client = Client(venue)
    for _ in range(14):
        status, error = client.ask("GET", "/fapi/v1/aggTrades", signed=False, symbol=S)
    assert status == 418 and error["code"] == -1003 and int(client.headers["retry-after"]) > 60
    until = int(error["msg"].rstrip(".").split()[-1])
    assert until == venue.now_ns() // 10**6 + 120_000
    other = client.front.handle("GET", "/fapi/v1/time", b"", b"", {}, "10.0.0.9")
    assert other.status == 200 and other.headers["x-mbx-used-weight-1m"] == "1"
    advance(venue, 3 * MINUTE)
    assert client.ask("GET", "/fapi/v1/time", signed=False)[0] == 200
