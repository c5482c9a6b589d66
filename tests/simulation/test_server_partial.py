"""Limit orders that fill in parts, by the trades on the tape: against a plain count of what went through them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("starlette")

from ares.clock import VirtualClock
from ares.secret import Secret
from ares.simulation.config import VenueConfig
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.tape import Tape
from tests.simulation.market import HOUR, T0, flat, frame
from tests.simulation.test_server import KEY, SECRET, Client, S, advance
from tests.simulation.test_server_conditionals import private

START = 4  # bars of history
SECOND = 10**9
Trade = tuple[int, int, bool]  # cents from 2000, thousandths of the base, the buyer makes


def traded(trades: Sequence[Trade], *, bars: int = 2) -> Tape:
    """A flat market, then bars that are told by trades a second apart, from the second second of the first bar on."""
    prices = [2000.0 + cents / 100 for cents, _, _ in trades]
    first = (2000.0, max([2000.0, *prices]), min([2000.0, *prices]), prices[-1])
    klines = frame([*flat(2000.0, START), first, *flat(first[3], bars)])
    times = [T0 + START * HOUR + (n + 2) * SECOND for n in range(len(trades))]
    recorded = pd.DataFrame(
        {
            "time": pd.to_datetime(times, utc=True),
            "agg_id": range(1, len(trades) + 1),
            "price": prices,
            "quantity": [size / 1000 for _, size, _ in trades],
            "is_buyer_maker": [makes for _, _, makes in trades],
        }
    )
    return Tape.from_frame(klines, symbol=S, interval="1h", agg_trades=recorded)


def served(tape: Tape, **config: Any) -> LocalVenue:
    return LocalVenue(
        tape, accounts={KEY: (Secret(SECRET), Decimal(100_000))}, clock=VirtualClock(T0 + START * HOUR), history=START,
        config=VenueConfig(**config),
    )  # fmt: skip


def rest(client: Client, side: str, cents: int, thousandths: int, **more: Any) -> dict[str, Any]:
    price, size = Decimal(2000) + Decimal(cents) / 100, Decimal(thousandths) / 1000
    wish: dict[str, Any] = {"symbol": S, "side": side, "type": "LIMIT", "timeInForce": "GTX", "price": price}
    status, made = client.ask("POST", "/fapi/v1/order", **{**wish, "quantity": size, **more})
    assert status == 200, made
    answer: dict[str, Any] = made
    return answer


def shares(orders: list[tuple[int, int, int]], trades: Sequence[Trade], through: int) -> list[list[int]]:
    """By the rule in words: each trade is shared by those it went through, the best price first, then the oldest."""
    left = [size for _, _, size in orders]
    got: list[list[int]] = [[] for _ in orders]
    for cents, size, buyer_makes in trades:
        for sign in (1, -1):  # a trade goes through buyers above it, or through sellers below it, never both
            met = [n for n, (s, at, _) in enumerate(orders) if s == sign and sign * (at - cents) >= through]
            for n in sorted(met, key=lambda n: (-sign * orders[n][1], n)):
                if orders[n][1] == cents and buyer_makes is not (sign > 0):
                    continue
                part = min(left[n], size)
                if part:
                    left[n], size = left[n] - part, size - part
                    got[n].append(part)
    return got


TRADES = st.lists(st.tuples(st.integers(-60, 60), st.integers(1, 900), st.booleans()), min_size=1, max_size=25)
BIDS = st.tuples(st.just(1), st.integers(-50, -5), st.integers(20, 1500))
ASKS = st.tuples(st.just(-1), st.integers(5, 50), st.integers(20, 1500))


@settings(max_examples=60, deadline=None)
@given(trades=TRADES, orders=st.lists(BIDS | ASKS, min_size=1, max_size=4), through=st.sampled_from([0, 1, 3]))
def test_resting_orders_fill_by_what_goes_through_them(
    trades: list[Trade], orders: list[tuple[int, int, int]], through: int
) -> None:
    venue = served(traded(trades), limit_through=through)
    client, told = Client(venue), private(venue)
    made = [rest(client, "BUY" if sign > 0 else "SELL", cents, size) for sign, cents, size in orders]
    advance(venue, (len(trades) + 3) * SECOND)
    for (_, cents, size), order, parts in zip(orders, made, shares(orders, trades, through), strict=True):
        price = Decimal(2000) + Decimal(cents) / 100
        frames = [f["o"] for f in told if f["e"] == "ORDER_TRADE_UPDATE" and f["o"]["i"] == order["orderId"]]
        fills = [o for o in frames if o["x"] == "TRADE"]
        assert [Decimal(o["l"]) * 1000 for o in fills] == parts
        assert [Decimal(o["z"]) * 1000 for o in fills] == [sum(parts[: n + 1]) for n in range(len(parts))]
        assert {Decimal(o["L"]) for o in fills} | {Decimal(o["ap"]) for o in fills} <= {price}
        fees = [(Decimal(o["l"]) * price * Decimal("0.0002")).quantize(Decimal("1e-8"), ROUND_HALF_EVEN) for o in fills]
        assert all(o["m"] for o in fills) and [Decimal(o["n"]) for o in fills] == fees
        state = "NEW" if not parts else "FILLED" if sum(parts) == size else "PARTIALLY_FILLED"
        steps = [("NEW", "NEW")] + [("TRADE", "PARTIALLY_FILLED")] * len(parts)
        if state == "FILLED":
            steps[-1] = ("TRADE", "FILLED")
        assert [(o["x"], o["X"]) for o in frames] == steps
        now = client.ask("GET", "/fapi/v1/order", symbol=S, orderId=order["orderId"])[1]
        assert (now["status"], Decimal(now["executedQty"]) * 1000) == (state, sum(parts))
        assert Decimal(now["cumQuote"]) == price * sum(parts) / 1000
        rows = client.ask("GET", "/fapi/v1/userTrades", symbol=S, orderId=order["orderId"])[1]
        assert [r["id"] for r in rows] == [o["t"] for o in fills]
    check_account(client)


def check_account(client: Client) -> None:
    """The wallet is explained by the trades, the position by their sum, and the reserve by what still rests."""
    rows = client.ask("GET", "/fapi/v1/userTrades", symbol=S)[1]
    change = sum((Decimal(r["realizedPnl"]) - Decimal(r["commission"]) for r in rows), Decimal(0))
    account = client.ask("GET", "/fapi/v3/account")[1]
    assert Decimal(account["totalWalletBalance"]) == 100_000 + change
    held = sum((Decimal(r["qty"]) * (1 if r["buyer"] else -1) for r in rows), Decimal(0))
    shown = client.ask("GET", "/fapi/v3/positionRisk", symbol=S)[1]
    assert sum((Decimal(p["positionAmt"]) for p in shown), Decimal(0)) == held
    for order in client.ask("GET", "/fapi/v1/openOrders", symbol=S)[1]:
        assert client.ask("DELETE", "/fapi/v1/order", symbol=S, orderId=order["orderId"])[0] == 200
    assert Decimal(client.ask("GET", "/fapi/v3/account")[1]["totalOpenOrderInitialMargin"]) == 0


def test_an_order_amended_between_two_fills_is_paid_at_both_prices() -> None:
    venue = served(traded([(-30, 200, True), (0, 10, True), (-60, 900, True)]))
    client = Client(venue)
    order = rest(client, "BUY", -20, 500)
    advance(venue, 2 * SECOND)
    half = client.ask("GET", "/fapi/v1/order", symbol=S, orderId=order["orderId"])[1]
    assert (half["status"], Decimal(half["executedQty"])) == ("PARTIALLY_FILLED", Decimal("0.2"))
    wish: dict[str, Any] = {"symbol": S, "side": "BUY", "orderId": order["orderId"]}
    status, changed = client.ask("PUT", "/fapi/v1/order", quantity="0.4", price="1999.55", **wish)
    assert (status, changed["status"], Decimal(changed["executedQty"])) == (200, "PARTIALLY_FILLED", Decimal("0.2"))
    advance(venue, 4 * SECOND)
    done = client.ask("GET", "/fapi/v1/order", symbol=S, orderId=order["orderId"])[1]
    assert (done["status"], Decimal(done["executedQty"])) == ("FILLED", Decimal("0.4"))
    assert Decimal(done["avgPrice"]) == (Decimal("1999.80") + Decimal("1999.55")) / 2
    check_account(client)


def test_an_amendment_to_no_more_than_has_traded_cancels_the_order() -> None:
    venue = served(traded([(-30, 200, True)]))
    client, told = Client(venue), private(venue)
    order = rest(client, "BUY", -20, 500)
    advance(venue, 3 * SECOND)
    wish: dict[str, Any] = {"symbol": S, "side": "BUY", "orderId": order["orderId"]}
    status, changed = client.ask("PUT", "/fapi/v1/order", quantity="0.2", price="1999.80", **wish)
    assert (status, changed["status"], Decimal(changed["executedQty"])) == (200, "CANCELED", Decimal("0.2"))
    last = [f["o"] for f in told if f["e"] == "ORDER_TRADE_UPDATE"][-1]
    assert (last["x"], last["X"], Decimal(last["z"])) == ("CANCELED", "CANCELED", Decimal("0.2"))
    check_account(client)


def test_an_order_that_only_reduces_takes_no_more_than_is_held_and_goes_with_the_position() -> None:
    venue = served(traded([(30, 300, False), (40, 100, False), (50, 900, False), (60, 900, False)]))
    client, told = Client(venue), private(venue)
    client.ask("POST", "/fapi/v1/order", symbol=S, side="BUY", type="MARKET", quantity="0.5")
    first = rest(client, "SELL", 10, 400, reduceOnly="true")
    second = rest(client, "SELL", 20, 400, reduceOnly="true")
    advance(venue, 8 * SECOND)
    fills = [
        (f["o"]["i"], Decimal(f["o"]["l"]), f["o"]["X"])
        for f in told
        if f["e"] == "ORDER_TRADE_UPDATE" and f["o"]["x"] == "TRADE" and f["o"]["S"] == "SELL"
    ]
    assert fills == [
        (first["orderId"], Decimal("0.3"), "PARTIALLY_FILLED"), (first["orderId"], Decimal("0.1"), "FILLED"),
        (second["orderId"], Decimal("0.1"), "FILLED"),
    ]  # fmt: skip
    assert client.ask("GET", "/fapi/v3/positionRisk", symbol=S)[1] == []
    check_account(client)


def test_a_bar_without_trades_fills_by_its_path_and_whole() -> None:
    """The tape has trades of the first bar only: what lies in the second one is told by its path."""
    klines = frame([*flat(2000.0, START + 1), (2000.0, 2000.0, 1990.0, 1990.0), *flat(1990.0, 1)])
    recorded = pd.DataFrame(
        {"time": pd.to_datetime([T0 + START * HOUR + 5 * SECOND], utc=True), "agg_id": [1], "price": [1999.0],
         "quantity": [0.1], "is_buyer_maker": [True]}
    )  # fmt: skip
    venue = served(Tape.from_frame(klines, symbol=S, interval="1h", agg_trades=recorded))
    client, told = Client(venue), private(venue)
    rest(client, "BUY", -50, 800)
    advance(venue, 2 * HOUR)
    fills = [f["o"] for f in told if f["e"] == "ORDER_TRADE_UPDATE" and f["o"]["x"] == "TRADE"]
    assert [(Decimal(o["l"]), o["X"]) for o in fills] == [
        (Decimal("0.1"), "PARTIALLY_FILLED"), (Decimal("0.7"), "FILLED")
    ]  # fmt: skip


def test_the_market_is_told_by_its_trades() -> None:
    trades: list[Trade] = [(-10, 120, True), (15, 30, False), (15, 400, False)]
    venue = served(traded(trades))
    advance(venue, 10 * SECOND)
    rows = Client(venue).ask("GET", "/fapi/v1/aggTrades", signed=False, symbol=S, limit=3)[1]
    seen = [(round((Decimal(r["p"]) - 2000) * 100), round(Decimal(r["q"]) * 1000), r["m"]) for r in rows]
    assert seen == trades
    assert [r["T"] for r in rows] == [T0 // 10**6 + START * 3_600_000 + (n + 2) * 1000 for n in range(3)]
    last = Client(venue).ask("GET", "/fapi/v1/ticker/price", signed=False, symbol=S)[1]
    assert Decimal(last["price"]) == Decimal("2000.15")


# ------------------------------------------------------------ takers


@settings(max_examples=40, deadline=None)
@given(
    side=st.sampled_from(["BUY", "SELL"]),
    force=st.sampled_from(["MARKET", "GTC", "IOC", "FOK"]),
    thousandths=st.integers(20, 180_000),
    beyond=st.integers(-1, 6),
)
def test_a_taker_eats_the_book_that_is_shown(side: str, force: str, thousandths: int, beyond: int) -> None:
    """The fills are those of a walk through the ladder of `GET /depth`, and what is left fares as its force says."""
    venue = LocalVenue(
        traded([(0, 1, True)]), accounts={KEY: (Secret(SECRET), Decimal(100_000))},
        clock=VirtualClock(T0 + START * HOUR), history=START,
    )  # fmt: skip
    client, told, size = Client(venue), private(venue), Decimal(thousandths) / 1000
    book = client.ask("GET", "/fapi/v1/depth", signed=False, symbol=S, limit=20)[1]
    levels = [(Decimal(p), Decimal(q)) for p, q in book["asks" if side == "BUY" else "bids"]]
    sign = 1 if side == "BUY" else -1
    limit = levels[0][0] + sign * Decimal(beyond) / 100
    # one tick short of the best price a limit still crosses the last price, and takes at itself
    levels = [(p, q) for p, q in levels if force == "MARKET" or sign * (p - limit) <= 0] or [(limit, levels[0][1])]
    expected: list[tuple[Decimal, Decimal]] = []
    left = size
    if force != "FOK" or sum(q for _, q in levels) >= size:
        for price, shown in levels:
            if left:
                expected.append((price, min(left, shown)))
                left -= min(left, shown)
    wish: dict[str, Any] = {"symbol": S, "side": side, "quantity": size, "type": "MARKET"}
    if force != "MARKET":
        wish |= {"type": "LIMIT", "timeInForce": force, "price": limit}
    status, made = client.ask("POST", "/fapi/v1/order", **wish)
    assert status == 200
    fills = [f["o"] for f in told if f["e"] == "ORDER_TRADE_UPDATE" and f["o"]["x"] == "TRADE"]
    assert [(Decimal(o["L"]), Decimal(o["l"])) for o in fills] == expected
    assert not any(o["m"] for o in fills)
    done = client.ask("GET", "/fapi/v1/order", symbol=S, orderId=made["orderId"])[1]
    ends = {"GTC": "PARTIALLY_FILLED"}.get(force, "EXPIRED")
    assert done["status"] == ("FILLED" if not left else ends)
    assert Decimal(done["executedQty"]) == size - left
    value = sum((p * q for p, q in expected), Decimal(0))
    assert abs(Decimal(done["cumQuote"]) - value) < Decimal("1e-7")
    check_account(client)
