"""The local venue's account by raw requests: shapes of the wire, modes, amendments, liquidations, private events."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("starlette")

from ares.clock import VirtualClock
from ares.exchange.wire.numbers import MS
from ares.secret import Secret
from ares.simulation.server.limits import RequestLimits
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.tape import Tape
from tests.simulation.market import T0, random_bars
from tests.simulation.market import tape as hours
from tests.simulation.test_server import KEY, MINUTE, SECRET, Client, S, advance, make

HOUR = 60 * MINUTE


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape.synthetic(S, "1m", bars=300, seed=3)


def private(venue: LocalVenue) -> list[dict[str, Any]]:
    """What the account's private stream tells from now on."""
    told: list[dict[str, Any]] = []
    venue.listen_key(venue.traders[KEY])
    venue.subscribers["test"] = lambda stream, frame: (
        told.append(json.loads(frame)) if stream.startswith("private") else None
    )
    return told


def buy(client: Client, quantity: str = "0.5") -> tuple[int, Any]:
    return client.ask("POST", "/fapi/v1/order", symbol=S, side="BUY", type="MARKET", quantity=quantity)


def limit(client: Client, quantity: str = "0.5", **more: Any) -> tuple[int, Any]:
    price = round(client.venue.market.symbols[S].last) - 50
    wish: dict[str, Any] = {"symbol": S, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": price}
    return client.ask("POST", "/fapi/v1/order", **wish, quantity=quantity, **more)


# ------------------------------------------------------------ what a request must carry


@pytest.mark.parametrize(("key", "code"), [("", -2014), ("nobody", -2015)])
def test_a_missing_key_and_an_unknown_one_are_told_apart(tape: Tape, key: str, code: int) -> None:
    status, body = Client(make(tape), key=key).ask("GET", "/fapi/v3/account")
    assert (status, body["code"]) == (401, code)


def test_a_parameter_given_twice_is_refused(tape: Tape) -> None:
    venue = make(tape)
    query = f"symbol={S}&symbol=BTCUSDT&timestamp={venue.now_ns() // MS}"
    client = Client(venue)
    query += f"&signature={client._signer.sign(query.encode())}"
    answer = client.front.handle("GET", "/fapi/v1/openOrders", query.encode(), b"", {"x-mbx-apikey": KEY})
    assert (answer.status, json.loads(answer.body)["code"]) == (400, -1101)


@pytest.mark.parametrize("path", ["/fapi/v1/allOrders", "/fapi/v1/userTrades", "/fapi/v1/income", "/fapi/v1/trades"])
@pytest.mark.parametrize("count", ["0", "-5", "x"])
def test_a_count_of_rows_that_cannot_be_is_refused(tape: Tape, path: str, count: str) -> None:
    status, body = Client(make(tape)).ask("GET", path, symbol=S, limit=count)
    assert status == 400 and body["code"] in (-1100, -1130)


@pytest.mark.parametrize(
    ("path", "wish", "code"),
    [
        ("order", {"type": "MARKET"}, -1102),
        ("order", {"type": "MARKET", "quantity": "0"}, -4003),
        ("order", {"type": "MARKET", "quantity": "0.1", "newClientOrderId": "a b$"}, -1100),
        ("order", {"type": "MARKET", "quantity": "0.1", "newClientOrderId": "x" * 37}, -4015),
        ("algoOrder", {"algoType": "CONDITIONAL", "type": "TRAILING_STOP_MARKET", "callbackRate": "1"}, -1102),
        ("algoOrder", {"algoType": "CONDITIONAL", "type": "STOP_MARKET", "quantity": "0.1"}, -1102),
    ],
)
def test_what_is_wrong_with_an_order_is_said(tape: Tape, path: str, wish: dict[str, Any], code: int) -> None:
    answer = Client(make(tape)).ask("POST", f"/fapi/v1/{path}", symbol=S, side="BUY", **wish)
    assert (answer[0], answer[1]["code"]) == (400, code)


@pytest.mark.parametrize(("interval", "fits"), [("1m", True), ("12h", True), ("7m", False), ("30s", False)])
def test_the_venues_intervals_are_taken_and_no_others(tape: Tape, interval: str, fits: bool) -> None:
    status, answer = Client(make(tape)).ask("GET", "/fapi/v1/klines", signed=False, symbol=S, interval=interval)
    assert status == 200 if fits else answer["code"] == -1120


# ------------------------------------------------------------ shapes


def test_the_second_account_names_every_symbol_and_the_third_what_is_in_use() -> None:
    many = Tape.merge(*[Tape.synthetic(s, "1m", bars=300, seed=3) for s in (S, "BTCUSDT", "SOLUSDT")])
    venue = make(many)
    client = Client(venue)
    buy(client)
    client.ask("POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC",
               quantity="0.01", price=round(venue.market.symbols["BTCUSDT"].last * 0.97))  # fmt: skip
    for path, names in (("account", (S, "BTCUSDT", "SOLUSDT")), ("positionRisk", (S, "BTCUSDT", "SOLUSDT"))):
        second = client.ask("GET", f"/fapi/v2/{path}")[1]
        third = client.ask("GET", f"/fapi/v3/{path}")[1]
        rows, fewer = (second["positions"], third["positions"]) if path == "account" else (second, third)
        assert {r["symbol"] for r in rows} == set(names) and {r["symbol"] for r in fewer} == {S, "BTCUSDT"}
        assert all(Decimal(r["leverage"]) > 0 for r in rows) and not any("leverage" in r for r in fewer)
        if path == "account":
            assert second["assets"][0]["marginAvailable"] and isinstance(second["multiAssetsMargin"], bool)
            assert all(isinstance(r["isolated"], bool) and Decimal(r["maxNotional"]) > 0 for r in rows)


def test_brackets_are_numbers(tape: Tape) -> None:
    (answer,) = Client(make(tape)).ask("GET", "/fapi/v1/leverageBracket", symbol=S)[1]
    for bracket in answer["brackets"]:
        assert all(isinstance(bracket[n], int) for n in ("bracket", "initialLeverage", "notionalCap", "notionalFloor"))
        assert all(isinstance(bracket[name], float) for name in ("maintMarginRatio", "cum"))


def test_a_trial_order_is_checked_and_not_placed(tape: Tape) -> None:
    client = Client(make(tape))
    wish: dict[str, Any] = {"symbol": S, "side": "BUY", "type": "MARKET"}
    status, answer = client.ask("POST", "/fapi/v1/order/test", **wish, quantity="0.5")
    assert status == 200 and (answer["symbol"], answer["status"], answer["origQty"]) == (S, "NEW", "0.5")
    assert client.ask("POST", "/fapi/v1/order/test", **wish, quantity="0.0001")[1]["code"] == -1111
    assert client.ask("GET", "/fapi/v1/allOrders", symbol=S)[1] == []


def test_orders_are_found_by_id_and_by_time(tape: Tape) -> None:
    venue = make(tape)
    client = Client(venue)
    ids, times = [], []
    for _ in range(4):
        ids.append(limit(client)[1]["orderId"])
        times.append(venue.now_ns() // MS)
        advance(venue, MINUTE)

    def found(**asked: Any) -> list[int]:
        return [o["orderId"] for o in client.ask("GET", "/fapi/v1/allOrders", **asked)[1]]

    assert found(symbol=S) == found() == ids
    assert found(symbol=S, orderId=ids[1]) == ids[1:] and found(symbol=S, orderId=ids[1], limit=2) == ids[1:3]
    assert found(symbol=S, startTime=times[1], endTime=times[2]) == ids[1:3] and found(symbol=S, limit=1) == ids[-1:]


def test_what_the_accounts_hold_is_the_open_interest(tape: Tape) -> None:
    venue = make(tape)
    one, two = Client(venue), Client(venue, "account-two", "secret-of-two")
    assert Decimal(one.ask("GET", "/fapi/v1/openInterest", signed=False, symbol=S)[1]["openInterest"]) == 0
    buy(one, "0.5")
    two.ask("POST", "/fapi/v1/order", symbol=S, side="SELL", type="MARKET", quantity="0.2")
    assert Decimal(one.ask("GET", "/fapi/v1/openInterest", signed=False, symbol=S)[1]["openInterest"]) == Decimal("0.7")


def test_statistics_are_those_of_the_tape(tape: Tape) -> None:
    klines = tape.tracks[0]
    times = pd.to_datetime(klines.open_ns[:: 5].copy(), utc=True)
    recorded = pd.DataFrame(
        {"open_interest": 1000.0 + np.arange(times.size), "long_short_ratio": 2.0}, index=times.rename("time")
    )
    frame = pd.DataFrame(
        {name: getattr(klines, name) for name in ("open", "high", "low", "close", "volume")},
        index=pd.DatetimeIndex(klines.open_ns, tz="UTC", name="open_time"),
    )
    venue = make(Tape.from_frame(frame, symbol=S, interval="1m", futures=recorded))
    client = Client(venue)
    asked: dict[str, Any] = {"symbol": S, "period": "5m", "limit": 500}
    rows = client.ask("GET", "/futures/data/openInterestHist", signed=False, **asked)[1]
    begun = int((klines.open_ns[::5] + venue.market.shift_ns <= venue.now_ns()).sum())
    assert [float(r["sumOpenInterest"]) for r in rows] == recorded["open_interest"][:begun].tolist()
    assert all(r["timestamp"] <= venue.now_ns() // MS for r in rows)
    last = client.ask("GET", "/futures/data/globalLongShortAccountRatio", signed=False, **asked)[1][-1]
    assert float(last["longAccount"]) / float(last["shortAccount"]) == pytest.approx(2.0, rel=1e-3)
    now = client.ask("GET", "/fapi/v1/openInterest", signed=False, symbol=S)[1]["openInterest"]
    assert float(now) == float(rows[-1]["sumOpenInterest"])
    hourly = client.ask("GET", "/futures/data/openInterestHist", signed=False, **{**asked, "period": "1h"})[1]
    assert {r["timestamp"] for r in hourly} <= {r["timestamp"] for r in rows} and len(hourly) < len(rows)
    missing = client.ask("GET", "/futures/data/takerlongshortRatio", signed=False, **asked)
    assert missing[0] == 404


def test_bars_of_the_mark_have_the_tapes_marks_and_the_premium_is_nothing(tape: Tape) -> None:
    venue = make(tape)
    client, track = Client(venue), tape.tracks[0]
    assert track.has_mark
    asked: dict[str, Any] = {"interval": "1m", "limit": 20}
    marks = client.ask("GET", "/fapi/v1/markPriceKlines", signed=False, symbol=S, **asked)[1]
    for row in marks[:-1]:
        at = int(np.searchsorted(track.open_ns, row[0] * MS - venue.market.shift_ns))
        wanted = [track.mark_open[at], track.mark_high[at], track.mark_low[at], track.mark_close[at]]
        assert [float(v) for v in row[1:5]] == pytest.approx(wanted, abs=0.0051) and row[5] == "0" and len(row) == 12
    assert client.ask("GET", "/fapi/v1/indexPriceKlines", signed=False, pair=S, **asked)[1] == marks
    premium = client.ask("GET", "/fapi/v1/premiumIndexKlines", signed=False, symbol=S, **asked)[1]
    assert [r[0] for r in premium] == [r[0] for r in marks] and {float(v) for r in premium for v in r[1:5]} == {0.0}
    rows = client.ask("GET", "/fapi/v1/klines", signed=False, symbol=S, **asked)[1]
    asked |= {"pair": S, "contractType": "PERPETUAL"}
    assert client.ask("GET", "/fapi/v1/continuousKlines", signed=False, **asked)[1] == rows
    asked |= {"contractType": "NEXT_QUARTER"}
    assert client.ask("GET", "/fapi/v1/continuousKlines", signed=False, **asked)[1]["code"] == -4104


# ------------------------------------------------------------ modes


def test_modes_are_remembered_told_and_trade_nothing_that_is_not_reckoned(tape: Tape) -> None:
    venue = make(tape)
    client = Client(venue)

    def change(path: str, **wish: Any) -> int:
        return int(client.ask("POST", f"/fapi/v1/{path}", **wish)[1]["code"])

    assert change("positionSide/dual", dualSidePosition="false") == -4059
    assert change("positionSide/dual", dualSidePosition="True") == 200
    assert client.ask("GET", "/fapi/v1/positionSide/dual")[1] == {"dualSidePosition": True}
    assert client.ask("GET", "/fapi/v1/accountConfig")[1]["dualSidePosition"] is True
    assert buy(client)[1]["code"] == -4061
    assert change("positionSide/dual", dualSidePosition="false") == 200
    assert change("multiAssetsMargin", multiAssetsMargin="true") == -4168
    assert change("marginType", symbol=S, marginType="ISOLATED") == -4046
    assert change("marginType", symbol=S, marginType="CROSSED") == 200
    assert client.ask("GET", "/fapi/v1/symbolConfig", symbol=S)[1][0]["marginType"] == "CROSSED"
    assert client.ask("GET", "/fapi/v2/positionRisk", symbol=S)[1][0]["marginType"] == "cross"
    assert buy(client)[1]["code"] == -2010
    assert change("multiAssetsMargin", multiAssetsMargin="true") == 200
    assert client.ask("GET", "/fapi/v1/multiAssetsMargin")[1] == {"multiAssetsMargin": True}
    assert change("marginType", symbol=S, marginType="ISOLATED") == -4167
    assert change("multiAssetsMargin", multiAssetsMargin="false") == 200
    assert change("marginType", symbol=S, marginType="ISOLATED") == 200
    order = limit(client)[1]["orderId"]
    assert change("positionSide/dual", dualSidePosition="true") == -4067
    assert change("marginType", symbol=S, marginType="CROSSED") == -4047
    client.ask("DELETE", "/fapi/v1/order", symbol=S, orderId=order)
    assert buy(client)[0] == 200
    assert change("positionSide/dual", dualSidePosition="true") == -4068
    assert change("marginType", symbol=S, marginType="CROSSED") == -4048


def test_changes_of_leverage_and_assets_mode_are_told(tape: Tape) -> None:
    venue = make(tape)
    client, told = Client(venue), private(venue)
    client.ask("POST", "/fapi/v1/leverage", symbol=S, leverage=7)
    client.ask("POST", "/fapi/v1/marginType", symbol=S, marginType="CROSSED")
    client.ask("POST", "/fapi/v1/multiAssetsMargin", multiAssetsMargin="true")
    changes = [{k: f[k] for k in ("ac", "ai") if k in f} for f in told if f["e"] == "ACCOUNT_CONFIG_UPDATE"]
    assert changes == [{"ac": {"s": S, "l": 7}}, {"ai": {"j": True}}]


# ------------------------------------------------------------ orders


def test_an_order_that_closes_all_needs_no_quantity_and_takes_what_is_held_then(tape: Tape) -> None:
    venue = make(tape)
    client = Client(venue)
    last = venue.market.symbols[S].last
    wish: dict[str, Any] = {"algoType": "CONDITIONAL", "symbol": S, "side": "SELL", "type": "TAKE_PROFIT_MARKET",
            "closePosition": "true", "triggerPrice": round(last + 1)}  # fmt: skip
    assert client.ask("POST", "/fapi/v1/algoOrder", **wish, quantity="0.1")[1]["code"] == -4137
    status, order = client.ask("POST", "/fapi/v1/algoOrder", **wish)
    assert status == 200 and order["closePosition"] is True and Decimal(order["quantity"]) == 0
    for size in ("0.5", "0.3"):
        buy(client, size)
    for _ in range(120):
        advance(venue, MINUTE)
        if not client.ask("GET", "/fapi/v3/positionRisk", symbol=S)[1]:
            break
    done = client.ask("GET", "/fapi/v1/algoOrder", algoId=order["algoId"])[1]
    assert (done["algoStatus"], Decimal(done["actualQty"])) == ("FINISHED", Decimal("0.8"))
    assert client.ask("GET", "/fapi/v3/positionRisk", symbol=S)[1] == []


def test_changes_of_an_order_are_remembered_newest_first(tape: Tape) -> None:
    client = Client(make(tape))
    order = limit(client)[1]
    price = Decimal(order["price"])
    for step in (1, 2):
        wish: dict[str, Any] = {"symbol": S, "side": "BUY", "orderId": order["orderId"], "price": price - step}
        answer = client.ask("PUT", "/fapi/v1/order", **wish, quantity="0.5", modifyId=40 + step)[1]
        assert (answer["modifyId"], answer["pair"]) == (40 + step, S)
    rows = client.ask("GET", "/fapi/v1/orderAmendment", symbol=S, orderId=order["orderId"])[1]
    assert [r["amendment"]["count"] for r in rows] == [2, 1] and [r["amendment"]["modifyId"] for r in rows] == [42, 41]
    steps = [r["amendment"]["price"] for r in rows]
    assert [Decimal(s["before"]) - Decimal(s["after"]) for s in steps] == [1, 1]
    assert client.ask("GET", "/fapi/v1/orderAmendment", symbol=S, orderId=12345)[1] == []


# ------------------------------------------------------------ private and public reports


def test_an_account_update_names_only_what_changed() -> None:
    both = Tape.merge(*[Tape.synthetic(s, "1m", bars=300, seed=3) for s in (S, "BTCUSDT")])
    venue = make(both)
    client, told = Client(venue), private(venue)
    buy(client)
    client.ask("POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
    named = [[p["s"] for p in f["a"]["P"]] for f in told if f["e"] == "ACCOUNT_UPDATE"]
    assert named == [[S], ["BTCUSDT"]]


def test_a_listen_key_lasts_an_hour_from_its_last_extension(tape: Tape) -> None:
    venue = make(tape)
    client, told = Client(venue), private(venue)

    def ask(method: str) -> tuple[int, Any]:
        return client.ask(method, "/fapi/v1/listenKey", signed=False)

    key = ask("POST")[1]["listenKey"]
    advance(venue, 50 * MINUTE)
    assert ask("POST")[1]["listenKey"] == key, "an active key is extended"
    advance(venue, 50 * MINUTE)
    assert ask("PUT")[0] == 200
    advance(venue, 59 * MINUTE)
    assert told == []
    advance(venue, 2 * MINUTE)
    (end,) = told
    assert (end["e"], end["listenKey"], end["E"]) == ("listenKeyExpired", key, venue.now_ns() // MS)
    assert ask("PUT")[1]["code"] == -1125 and venue.owner_of(key) is None
    buy(client)
    assert told == [end], "the old key tells no more"
    assert ask("POST")[1]["listenKey"] != key
    buy(client)
    assert told[1]["e"] == "ORDER_TRADE_UPDATE" and ask("DELETE")[0] == 200
    count = len(told)
    buy(client)
    assert len(told) == count


def test_a_refusal_for_weight_says_how_much_was_used(tape: Tape) -> None:
    venue = make(tape, limits=RequestLimits(weight_per_minute=100))
    client = Client(venue)
    used = []
    while client.ask("GET", "/fapi/v1/aggTrades", signed=False, symbol=S)[0] == 200:
        used.append(int(client.headers["x-mbx-used-weight-1m"]))
    assert used == [20, 40, 60, 80, 100] and client.headers["x-mbx-used-weight-1m"] == "120"
    assert int(client.headers["retry-after"]) <= 60


def test_funding_is_the_change_of_the_wallet() -> None:
    bars = hours(random_bars(1, 30), funding=dict.fromkeys(range(0, 30, 8), 0.001))
    venue = LocalVenue(
        bars, accounts={KEY: (Secret(SECRET), Decimal(10_000))}, clock=VirtualClock(T0 + 20 * HOUR), history=10
    )
    client, told = Client(venue), private(venue)
    buy(client)
    for _ in range(12):
        advance(venue, HOUR)
        venue.listen_key(venue.traders[KEY])
    paid = [f["a"] for f in told if f["e"] == "ACCOUNT_UPDATE" and f["a"]["m"] == "FUNDING_FEE"]
    rows = client.ask("GET", "/fapi/v1/income", incomeType="FUNDING_FEE")[1]
    assert paid and [Decimal(a["B"][0]["bc"]) for a in paid] == [Decimal(r["income"]) for r in rows]
    assert all([p["s"] for p in a["P"]] == [S] for a in paid)


def test_a_liquidation_is_told_to_all_and_remembered() -> None:
    fall = [(2000.0, 2001.0, 1999.0, 2000.0)] * 12 + [(2000.0, 2000.0, 1500.0, 1510.0)] * 3
    venue = LocalVenue(
        hours(fall), accounts={KEY: (Secret(SECRET), Decimal(10_000))}, clock=VirtualClock(T0 + 20 * HOUR), history=10
    )
    client = Client(venue)
    client.ask("POST", "/fapi/v1/leverage", symbol=S, leverage=20)
    buy(client)
    seen: dict[str, dict[str, Any]] = {}
    venue.subscribers["test"] = lambda stream, frame: seen.update({stream: json.loads(frame)})
    for _ in range(180):
        advance(venue, MINUTE)
    (row,) = client.ask("GET", "/fapi/v1/forceOrders", symbol=S)[1]
    told = seen[f"{S.lower()}@forceOrder"]["o"]
    assert seen["!forceOrder@arr"]["o"] == told
    assert (told["s"], told["S"], Decimal(told["z"])) == (S, "SELL", Decimal("0.5"))
    assert (row["side"], row["executedQty"], row["avgPrice"]) == ("SELL", told["q"], told["ap"])
    assert row["clientOrderId"].startswith("autoclose-")
    assert client.ask("GET", "/fapi/v1/forceOrders", symbol=S, autoCloseType="ADL")[1] == []
