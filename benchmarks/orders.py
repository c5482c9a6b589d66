"""A signed order over loopback: build, sign, send, read. One stub server answers all clients alike.

Budget: no slower than ccxt and python-binance at the median. The stub does nothing but answer, in a process of its own.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

KEY, SECRET = "benchmark-key", "benchmark-secret"
SYMBOL = "ETHUSDT"
ACK = (
    b'{"orderId":22542179,"symbol":"ETHUSDT","status":"NEW","clientOrderId":"c","price":"2000.00","origQty":"0.100",'
    b'"executedQty":"0.000","cumQty":"0.000","timeInForce":"GTC","type":"LIMIT","reduceOnly":false,"closePosition":false,'
    b'"side":"BUY","positionSide":"BOTH","stopPrice":"0.00","workingType":"CONTRACT_PRICE","priceProtect":false,'
    b'"origType":"LIMIT","priceMatch":"NONE","selfTradePreventionMode":"NONE","goodTillDate":0,"updateTime":1566818724722}'
)


class _Stub(asyncio.Protocol):
    """Answers every POST with the same acknowledgement."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n")[0]) if at >= 0 else 0
            if len(self._data) < end + 4 + length:
                return
            self._data = self._data[end + 4 + length :]
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ACK) + ACK
            )


def _serve(port: Any) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(_Stub, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def _median_us(place: Callable[[], Awaitable[object]], rounds: int) -> float:
    for _ in range(min(50, rounds)):
        await place()
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        await place()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken) * 1e6


async def _ares(port: int, rounds: int) -> float:
    """The whole of `create_order`'s path but the look-ups that are cached: wish, filters, signature, wire, parse."""
    from ares.exchange.binance import BinanceExchange
    from ares.exchange.config import BinanceConfig
    from ares.exchange.wire.instruments import instrument_of
    from ares.exchange.wire.market import Filter, SymbolInfo
    from ares.secret import Secret

    config = BinanceConfig(
        api_key=Secret(KEY), api_secret=Secret(SECRET), rest_url=f"http://127.0.0.1:{port}", stream_url="ws://127.0.0.1:1"
    )
    exchange = BinanceExchange(config)
    lot = {"step_size": "0.001", "min_qty": "0.001", "max_qty": "10000"}
    filters = [
        Filter(filter_type="PRICE_FILTER", tick_size="0.01", min_price="0.01", max_price="100000"),
        Filter(filter_type="LOT_SIZE", **lot),
        Filter(filter_type="MARKET_LOT_SIZE", **lot),
        Filter(filter_type="MIN_NOTIONAL", notional="20"),
        Filter(filter_type="PERCENT_PRICE", multiplier_up="1.05", multiplier_down="0.95"),
    ]
    info = SymbolInfo(symbol=SYMBOL, status="TRADING", base_asset="ETH", quote_asset="USDT", filters=filters)
    exchange._contracts._made[SYMBOL] = instrument_of(info)
    exchange._account._marks[SYMBOL] = (2**62, Decimal(2000))
    exchange.modes.prepared.add(SYMBOL)
    exchange._rest.limits.orders.clear()  # a benchmark sends more than the venue would take

    async def place() -> object:
        return await exchange.create_order(SYMBOL, "BUY", "LIMIT", "0.1", price="2000.00")

    try:
        return await _median_us(place, rounds)
    finally:
        await exchange.close()


async def _raw(port: int, rounds: int) -> float:
    """The least: one write of a ready request and one read on a kept connection."""
    from ares.exchange.http import LeanWire

    wire = LeanWire(f"http://127.0.0.1:{port}")
    headers = {"X-MBX-APIKEY": KEY}
    try:
        return await _median_us(lambda: wire.send("POST", "/fapi/v1/order", headers, b"a=1", 5.0), rounds)
    finally:
        await wire.close()


async def _ccxt(port: int, rounds: int) -> float:
    import ccxt.async_support as ccxt

    client = ccxt.binanceusdm({"apiKey": KEY, "secret": SECRET, "enableRateLimit": False})
    for name in list(client.urls["api"]):
        if name.startswith("fapi"):
            client.urls["api"][name] = f"http://127.0.0.1:{port}/fapi/v1"
    name = "ETH/USDT:USDT"
    client.markets_by_id, client.markets = {}, {}
    client.set_markets([
        client.safe_market_structure({
            "id": SYMBOL, "symbol": name, "base": "ETH", "quote": "USDT", "settle": "USDT", "type": "swap",
            "swap": True, "contract": True, "linear": True, "inverse": False, "active": True, "contractSize": 1.0,
            "spot": False, "future": False, "option": False, "margin": False,
            "precision": {"amount": 0.001, "price": 0.01},
            "info": {"orderTypes": ["LIMIT", "MARKET"], "timeInForce": ["GTC"]},
        })
    ])  # fmt: skip
    try:
        return await _median_us(lambda: client.create_order(name, "limit", "buy", 0.1, 2000.0), rounds)
    finally:
        await client.close()


async def _python_binance(port: int, rounds: int) -> float:
    from binance import AsyncClient

    client = AsyncClient(KEY, SECRET)
    client.FUTURES_URL = f"http://127.0.0.1:{port}/fapi"

    def place() -> Any:
        return client.futures_create_order(
            symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.1", price="2000"
        )

    try:
        return await _median_us(place, rounds)
    finally:
        await client.close_connection()


def _venue_rate(seconds: float) -> float:
    """Orders a second that the local venue takes on one core, requests as raw bytes."""
    from ares.clock import SystemClock
    from ares.exchange.signing import signer_for
    from ares.secret import Secret
    from ares.simulation.server.front import Front
    from ares.simulation.server.limits import RequestLimits
    from ares.simulation.server.local_venue import LocalVenue
    from ares.simulation.tape import Tape

    venue = LocalVenue(
        Tape.synthetic(SYMBOL, "1m", bars=500, seed=1),
        accounts={KEY: (Secret(SECRET), Decimal(10_000_000))},
        clock=SystemClock(),
        limits=RequestLimits(weight_per_minute=10**9, orders_per_10s=10**9, orders_per_minute=10**9),
    )
    front, signer = Front(venue), signer_for(Secret(SECRET))
    taken, begin = 0, time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds or taken < 200:
        side = "BUY" if taken % 2 == 0 else "SELL"
        query = f"symbol={SYMBOL}&side={side}&type=MARKET&quantity=0.1&timestamp={venue.now_ns() // 1_000_000}".encode()
        signed = query + b"&signature=" + signer.sign(query).encode()
        answer = front.handle("POST", "/fapi/v1/order", b"", signed, {"x-mbx-apikey": KEY})
        if answer.status != 200:
            raise RuntimeError(answer.body.decode())
        taken += 1
        if taken == 100:  # compiled by now
            begin, taken = time.perf_counter(), 101
            passed = 0.0
    return (taken - 101) / passed


def run(quick: bool) -> list[dict[str, Any]]:
    """Median microseconds of one signed limit order, ours against each client; and how fast the local venue is."""
    rounds = 300 if quick else 3000
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    server.start()
    try:
        port = here.recv()
        raw = asyncio.run(_raw(port, rounds))
        ours = asyncio.run(_ares(port, rounds))
        lines = [
            {"workload": "signed order, loopback", "ours": ours, "peer": raw, "ratio": raw / ours, "unit": "us, median",
             "note": "peer: one bare write and read on the same connection, the limit"},
        ]  # fmt: skip
        for name, package, measure in (("ccxt", "ccxt", _ccxt), ("python-binance", "python-binance", _python_binance)):
            line: dict[str, Any] = {"workload": f"signed order, loopback, {name}", "ours": ours, "unit": "us, median"}
            try:
                version = importlib.metadata.version(package)
                peer = asyncio.run(measure(port, rounds))
                line |= {"peer": peer, "ratio": peer / ours, "note": f"{name} {version}, async; at least 1.9 wanted"}
            except (ImportError, importlib.metadata.PackageNotFoundError):
                line |= {"peer": None, "ratio": None, "note": f"{name} is not installed"}
            lines.append(line)
    finally:
        server.terminate()
        server.join()
    rate = _venue_rate(1.0 if quick else 5.0)
    lines.append(
        {"workload": "local venue, market orders", "ours": rate, "peer": 1000.0, "ratio": rate / 1000.0,
         "unit": "orders/s, one core", "note": "without sockets; peer: the budget"}
    )  # fmt: skip
    return lines
