"""Other people's clients, unmodified, against the local venue over loopback: they trade, and the accounts agree."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from ares.account import Account
from ares.exchange.binance import BinanceExchange
from ares.exchange.config import BinanceConfig
from ares.orders import Order, OrderType
from ares.secret import Secret

KEY, SECRET = "third-party-key", "third-party-secret"
SYMBOL = "ETHUSDT"


@pytest.fixture(scope="module")
def local() -> Iterator[dict[str, str]]:
    """`ares simulate` in a process of its own, as its user starts it."""
    command = [
        sys.executable, "-m", "ares", "simulate", "--port", "0", "--api-key", KEY, "--api-secret", SECRET,
        "--balance", "10000", "--bars", "1500", "--seed", "3",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate(timeout=240)


async def our_view(local: dict[str, str]) -> tuple[Account, tuple[Order, ...]]:
    """The same account as our own client sees it."""
    config = BinanceConfig(
        api_key=Secret(KEY), api_secret=Secret(SECRET), rest_url=local["rest"], stream_url=local["streams"]
    )
    async with BinanceExchange(config) as exchange:
        return await exchange.get_account(), await exchange.get_open_orders(SYMBOL)


# ------------------------------------------------------------ ccxt


def ccxt_client(local: dict[str, str], module: Any) -> Any:
    client = module.binanceusdm(
        {"apiKey": KEY, "secret": SECRET, "enableRateLimit": False, "timeout": 120_000,
         "options": {"fetchCurrencies": False, "recvWindow": 60_000}}
    )  # fmt: skip
    for name, url in client.urls["api"].items():
        if name.startswith("fapi"):
            version = url.rsplit("/", 1)[-1]
            client.urls["api"][name] = f"{local['rest']}/fapi/{version}" if version.startswith("v") else local["rest"]
    return client


def test_ccxt(local: dict[str, str]) -> None:
    ccxt = pytest.importorskip("ccxt")
    client = ccxt_client(local, ccxt)
    name = "ETH/USDT:USDT"
    market = client.load_markets()[name]
    assert market["precision"]["price"] == 0.01 and market["limits"]["cost"]["min"] == 20
    candles = client.fetch_ohlcv(name, "1m", limit=50)
    assert len(candles) == 50 and candles[1][0] - candles[0][0] == 60_000
    book = client.fetch_order_book(name, 5)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert client.set_leverage(7, name)["leverage"] in (7, "7")

    bought = client.create_order(name, "market", "buy", 0.5)
    position = next(p for p in client.fetch_positions([name]) if p["contracts"])
    assert (position["contracts"], position["side"]) == (0.5, "long")
    filled = client.fetch_order(bought["id"], name)
    assert filled["status"] == "closed" and filled["filled"] == 0.5 and filled["average"] == position["entryPrice"]

    limit = client.create_order(name, "limit", "buy", 0.2, round(position["entryPrice"] * 0.97, 2))
    assert limit["id"] in [o["id"] for o in client.fetch_open_orders(name)]
    assert client.cancel_order(limit["id"], name)["status"] == "canceled"

    stop_price = round(position["entryPrice"] * 0.96, 2)
    stop = client.create_order(name, "market", "sell", 0.5, None, {"stopLossPrice": stop_price, "reduceOnly": True})
    asked = client.fetch_open_orders(name, params={"trigger": True})
    assert [o["id"] for o in asked] == [stop["id"]] and asked[0]["triggerPrice"] == stop_price
    account, orders = asyncio.run(our_view(local))
    ours = account.position(SYMBOL)
    assert ours is not None and float(ours.quantity) == position["contracts"]
    assert float(ours.entry_price) == position["entryPrice"]
    assert account.wallet == Decimal(client.fetch_balance()["info"]["totalWalletBalance"])
    assert [(o.order_type, o.stop_price, o.reduce_only) for o in orders] == [
        (OrderType.STOP_MARKET, Decimal(str(stop_price)), True)
    ]
    client.cancel_order(stop["id"], name, {"trigger": True})
    assert client.fetch_open_orders(name, params={"trigger": True}) == []

    entry = position["entryPrice"]
    above, below = round(entry * 1.03, 2), round(entry * 0.96, 2)
    more: list[tuple[str, str, float | None, dict[str, Any]]] = [
        ("limit", "buy", above, {"triggerPrice": above}),
        ("limit", "sell", below, {"stopLossPrice": below, "reduceOnly": True, "workingType": "MARK_PRICE"}),
        ("market", "sell", None, {"trailingPercent": 1.5, "trailingTriggerPrice": above, "reduceOnly": True}),
    ]
    placed = [client.create_order(name, kind, side, 0.5, price, params) for kind, side, price, params in more]
    found = {o["id"]: o["info"] for o in client.fetch_open_orders(name, params={"trigger": True})}
    assert [found[o["id"]]["orderType"] for o in placed] == ["STOP", "STOP", "TRAILING_STOP_MARKET"]
    assert found[placed[1]["id"]]["workingType"] == "MARK_PRICE"
    trailing = found[placed[2]["id"]]
    assert (float(trailing["callbackRate"]), float(trailing["activatePrice"])) == (1.5, above)
    seen = {o.client_order_id: o for o in asyncio.run(our_view(local))[1]}
    assert {o["clientOrderId"] for o in placed} == set(seen)
    assert [seen[o["clientOrderId"]].reason for o in placed] == ["STOP", "STOP", "TRAILING_STOP_MARKET"]
    client.cancel_all_orders(name, {"trigger": True})
    assert client.fetch_open_orders(name, params={"trigger": True}) == []
    till = (client.milliseconds() // 1000 + 1200) * 1000
    dated = client.create_order(name, "limit", "buy", 0.2, below, {"timeInForce": "GTD", "goodTillDate": till})
    info = client.fetch_order(dated["id"], name)["info"]
    assert (info["timeInForce"], int(info["goodTillDate"])) == ("GTD", till)
    client.cancel_order(dated["id"], name)

    large = client.create_order(name, "market", "buy", 15)  # more than the best price of the book shows
    parts = [t for t in client.fetch_my_trades(name) if t["order"] == large["id"]]
    whole = client.fetch_order(large["id"], name)
    assert len(parts) > 1 and sum(Decimal(t["info"]["qty"]) for t in parts) == 15
    cost = sum(Decimal(t["info"]["qty"]) * Decimal(t["info"]["price"]) for t in parts)
    assert whole["average"] == pytest.approx(float(cost / 15), rel=1e-9) and whole["status"] == "closed"
    client.create_order(name, "market", "sell", 15, None, {"reduceOnly": True})

    trades = client.fetch_my_trades(name)
    fee = sum(Decimal(str(t["fee"]["cost"])) for t in trades)
    client.create_order(name, "market", "sell", 0.5, None, {"reduceOnly": True})
    assert [p for p in client.fetch_positions([name]) if p["contracts"]] == []
    wallet = Decimal(str(client.fetch_balance()["info"]["totalWalletBalance"]))
    paid = sum(Decimal(t["info"]["commission"]) for t in client.fetch_my_trades(name))
    earned = sum(Decimal(t["info"]["realizedPnl"]) for t in client.fetch_my_trades(name))
    assert fee > 0 and wallet == 10_000 + earned - paid

    with pytest.raises(ccxt.ExchangeError, match="-2019"):
        client.create_order(name, "market", "buy", 1900)
    with pytest.raises(ccxt.OrderNotFound):
        client.fetch_order("123456789", name)
    client.secret = "wrong"
    with pytest.raises(ccxt.ExchangeError):
        client.fetch_balance()
    client.session.close()


async def test_ccxt_streams(local: dict[str, str]) -> None:
    pytest.importorskip("ccxt")
    import ccxt.pro

    client = ccxt_client(local, ccxt.pro)

    def swap(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {k: swap(v) for k, v in tree.items()}
        if isinstance(tree, str) and "fstream" in tree:
            return local["streams"] + tree.split("binance.com")[-1].split("binancefuture.com")[-1]
        return tree

    client.urls["api"]["ws"] = swap(client.urls["api"]["ws"])
    name = "ETH/USDT:USDT"
    try:
        await client.load_markets()
        async with asyncio.timeout(240):
            candles = await client.watch_ohlcv(name, "1m")
            ticker = await client.watch_bids_asks([name])
            hours, day = await client.watch_ohlcv(name, "1h"), await client.watch_ticker(name)
            trades, marks = await client.watch_trades(name), await client.watch_mark_prices()
            requests = client.urls["api"]["ws"]["ws-api"]
            requests.update(dict.fromkeys(requests, f"{local['streams']}/ws-fapi/v1"))
            by_socket = await client.create_order_ws(name, "limit", "buy", 0.1, round(candles[-1][4] * 0.97, 2))
            await client.cancel_order_ws(by_socket["id"], name)
            orders = asyncio.ensure_future(client.watch_orders(name))
            placed: list[str] = []
            while not orders.done():  # it does not say when it has begun to listen
                await asyncio.wait({orders}, timeout=1)
                placed.append((await client.create_order(name, "market", "buy", 0.1))["id"])
                await asyncio.wait({orders}, timeout=5)
        assert candles[-1][4] > 0 and ticker[name]["bid"] > 0
        assert orders.result()[-1]["id"] in placed
        assert hours[-1][0] % 3_600_000 == 0 and day["high"] >= day["last"] >= day["low"]
        assert trades[-1]["price"] > 0 and marks[name]["markPrice"] > 0
        assert (await client.fetch_order(by_socket["id"], name))["status"] == "canceled"
        await client.create_order(name, "market", "sell", 0.1 * len(placed), None, {"reduceOnly": True})
    finally:
        await client.close()


# ------------------------------------------------------------ python-binance


def binance_client(local: dict[str, str]) -> Any:
    binance = pytest.importorskip("binance")
    client = binance.Client(KEY, SECRET, {"timeout": 120}, ping=False)
    client.FUTURES_URL = f"{local['rest']}/fapi"
    return client


def test_python_binance(local: dict[str, str]) -> None:
    client = binance_client(local)
    from binance.exceptions import BinanceAPIException

    assert client.futures_exchange_info()["symbols"][0]["symbol"] == SYMBOL
    rows = client.futures_klines(symbol=SYMBOL, interval="1m", limit=20)
    assert len(rows) == 20 and rows[-1][0] > rows[0][0]
    assert client.futures_order_book(symbol=SYMBOL, limit=5)["bids"]
    assert client.futures_change_leverage(symbol=SYMBOL, leverage=4)["leverage"] == 4
    before = Decimal(client.futures_account_balance()[0]["balance"])

    bought = client.futures_create_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.3")
    held = client.futures_position_information(symbol=SYMBOL)[0]
    assert Decimal(held["positionAmt"]) == Decimal("0.3")
    done = client.futures_get_order(symbol=SYMBOL, orderId=bought["orderId"])
    assert (done["status"], Decimal(done["executedQty"])) == ("FILLED", Decimal("0.3"))
    entry = Decimal(held["entryPrice"])
    limit = client.futures_create_order(
        symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.2",
        price=str(round(entry * Decimal("0.97"), 2)),
    )  # fmt: skip
    assert [o["orderId"] for o in client.futures_get_open_orders(symbol=SYMBOL)] == [limit["orderId"]]
    assert client.futures_cancel_order(symbol=SYMBOL, orderId=limit["orderId"])["status"] == "CANCELED"
    stop = client.futures_create_order(
        symbol=SYMBOL, side="SELL", type="STOP_MARKET", quantity="0.3", reduceOnly=True,
        triggerPrice=str(round(entry * Decimal("0.95"), 2)),
    )  # fmt: skip
    assert stop["algoStatus"] == "NEW"
    account, orders = asyncio.run(our_view(local))
    ours = account.position(SYMBOL)
    assert ours is not None and (ours.quantity, ours.entry_price) == (Decimal(held["positionAmt"]), entry)
    assert account.wallet == Decimal(client.futures_account_balance()[0]["balance"])
    assert [(o.client_order_id, o.order_type) for o in orders] == [(stop["clientAlgoId"], OrderType.STOP_MARKET)]
    client.futures_cancel_algo_order(algoId=stop["algoId"])

    above = str(round(entry * Decimal("1.03"), 2))
    trailing = client.futures_create_order(
        symbol=SYMBOL, side="SELL", type="TRAILING_STOP_MARKET", quantity="0.3", reduceOnly=True, callbackRate="0.7",
        activatePrice=above, workingType="MARK_PRICE",
    )  # fmt: skip
    target = client.futures_create_order(
        symbol=SYMBOL, side="SELL", type="TAKE_PROFIT", quantity="0.3", reduceOnly=True, price=above, stopPrice=above
    )
    kinds = {o["algoId"]: o["orderType"] for o in client.futures_get_open_orders(symbol=SYMBOL, conditional=True)}
    assert kinds == {trailing["algoId"]: "TRAILING_STOP_MARKET", target["algoId"]: "TAKE_PROFIT"}
    seen = {o.client_order_id: o for o in asyncio.run(our_view(local))[1]}
    assert {o.reason for o in seen.values()} == {"TRAILING_STOP_MARKET", "TAKE_PROFIT"}
    assert seen[target["clientAlgoId"]].price == seen[target["clientAlgoId"]].stop_price == Decimal(above)
    client.futures_cancel_all_open_orders(symbol=SYMBOL, conditional=True)
    assert client.futures_get_open_orders(symbol=SYMBOL, conditional=True) == []
    with pytest.raises(BinanceAPIException) as refused:
        client.futures_create_order(
            symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTD", goodTillDate=1, quantity="0.3", price=above
        )
    assert refused.value.code == -5040
    with pytest.raises(BinanceAPIException) as caught:
        client.futures_get_order(symbol=SYMBOL, orderId=5_555_555)
    assert caught.value.code == -2013

    client.futures_create_order(symbol=SYMBOL, side="SELL", type="MARKET", quantity="0.3", reduceOnly=True)
    assert client.futures_position_information(symbol=SYMBOL) == []
    trades = [t for t in client.futures_account_trades(symbol=SYMBOL) if t["orderId"] >= bought["orderId"]]
    change = sum(Decimal(t["realizedPnl"]) - Decimal(t["commission"]) for t in trades)
    assert Decimal(client.futures_account_balance()[0]["balance"]) == before + change
    client.close_connection()
    client.loop.close()  # it makes one and leaves it open


async def test_python_binance_hears_the_market(local: dict[str, str]) -> None:
    binance = pytest.importorskip("binance")
    client = binance.AsyncClient(KEY, SECRET)
    manager = binance.BinanceSocketManager(client)
    manager.FSTREAM_URL = f"{local['streams']}/"
    names = [f"{SYMBOL.lower()}@{kind}" for kind in ("kline_5m", "aggTrade", "ticker")]
    try:
        async with asyncio.timeout(240):
            async with manager.kline_futures_socket(SYMBOL) as bars:
                assert (await bars.recv())["k"]["i"] == "1m"
            async with manager.all_mark_price_socket() as marks:
                assert [row["s"] for row in (await marks.recv())["data"]] == [SYMBOL]
            async with manager.futures_multiplex_socket(names) as several:
                waiting = set(names)
                while waiting:
                    waiting.discard((await several.recv())["stream"])
    finally:
        await client.close_connection()


async def test_python_binance_hears_its_account(local: dict[str, str]) -> None:
    binance = pytest.importorskip("binance")
    client = binance.AsyncClient(KEY, SECRET, {"timeout": 120})
    client.FUTURES_URL = f"{local['rest']}/fapi"
    manager = binance.BinanceSocketManager(client)
    manager.FSTREAM_URL = f"{local['streams']}/"
    try:
        async with asyncio.timeout(240), manager.futures_user_socket() as socket:
            told: dict[str, dict[str, Any]] = {}
            for side, reduce in (("BUY", {}), ("SELL", {"reduceOnly": True})):
                made = await client.futures_create_order(
                    symbol=SYMBOL, side=side, type="MARKET", quantity="0.1", **reduce
                )
                while told.get("ORDER_TRADE_UPDATE", {}).get("o", {}).get("i") != made["orderId"] or (
                    told["ORDER_TRADE_UPDATE"]["o"]["X"] != "FILLED"
                ):
                    frame = await socket.recv()
                    told[frame["e"]] = frame
            while Decimal(told.get("ACCOUNT_UPDATE", {"a": {"P": [{"pa": "1"}]}})["a"]["P"][0]["pa"]) != 0:
                frame = await socket.recv()
                told[frame["e"]] = frame
        account, _ = await our_view(local)
        assert Decimal(told["ACCOUNT_UPDATE"]["a"]["B"][0]["wb"]) == account.wallet and account.positions == ()
        assert told["TRADE_LITE"]["t"] == told["ORDER_TRADE_UPDATE"]["o"]["t"]
    finally:
        await client.close_connection()
