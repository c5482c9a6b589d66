"""What waits for what: an order is given up long before a read is, and waits behind none; the clock is right."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from ares.clock import Clock, SystemClock
from ares.errors import AresError, DataError, OutcomeUnknown, Rejected, Retryable
from ares.exchange.config import BinanceConfig
from ares.exchange.http import HttpxWire, LeanWire
from ares.exchange.rest import RestClient
from ares.exchange.wire.account import ListenKey, Reply
from ares.exchange.wire.requests import Request, Security, cancel_all, cancel_order, depth, listen_key, read
from tests.virtual_time import LoopClock, at_once

STOP = Request(
    method="POST", path="/fapi/v1/algoOrder", params=(("symbol", "X"),), security=Security.SIGNED, weight=0, orders=1,
    protective=True, places=True,
)  # fmt: skip
READS = [depth("X", 5)] * 8 + [read("/fapi/v3/account", signed=True, protective=True)] * 20
Reply_ = Callable[[bytes], bytes | None]


@asynccontextmanager
async def serving(reply: Reply_) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server on this machine; `reply` makes the answer to a whole request, None keeps its caller waiting."""
    heard: list[bytes] = []
    open_ones: list[asyncio.StreamWriter] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(x[15:]) for x in head.split(b"\r\n") if x.startswith(b"Content-Length:")), 0)
                heard.append(head + await reader.readexactly(length))
                answer = reply(heard[-1])
                if answer is not None:
                    writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard
    finally:
        server.close()
        for writer in open_ones:
            writer.close()
        await asyncio.sleep(0.01)  # their readers end


def client(
    base: str,
    answer: Callable[[httpx.Request], httpx.Response] | None = None,
    clock: Clock | None = None,
    **settings: float,
) -> RestClient:
    config = BinanceConfig(api_key="k", api_secret="s", rest_url=base, max_retries=0, **settings)  # type: ignore[arg-type]
    wire = LeanWire(config.rest) if answer is None else HttpxWire(config.rest, httpx.MockTransport(answer))
    return RestClient(config, wire, clock or SystemClock())


async def connected(rest: RestClient, method: str) -> None:
    """Ask once, however long it takes, so that the connection stands before a short limit runs."""
    await rest._wire.send(method, "/first", rest._plain_headers, b"", 300.0)


def at_first(request: bytes) -> bytes | None:
    """Answers that question alone."""
    return body(b"{}") if b" /first " in request else None


def body(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_an_order_is_given_up_in_its_own_time_and_a_read_in_another(method: str) -> None:
    async with serving(at_first) as (base, _):
        rest = client(base, timeout=120.0, order_timeout=1.0)
        order = Request(method=method, path="/fapi/v1/order", security=Security.SIGNED, places=True)
        await connected(rest, method)
        reading = asyncio.ensure_future(rest.send(depth("X", 5)))
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            await rest.send(order)
        assert time.monotonic() - began > 0.99 and not reading.done()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await rest.close()


async def test_a_read_is_given_up_too() -> None:
    async with serving(lambda request: None) as (base, _):
        rest = client(base, timeout=1.0)
        began = time.monotonic()
        with pytest.raises(Retryable):
            await rest.send(depth("X", 5))
        assert time.monotonic() - began > 0.99
        await rest.close()


def test_an_order_has_never_more_patience_than_a_read() -> None:
    assert BinanceConfig().order_patience == 2.5 < BinanceConfig().timeout
    assert BinanceConfig(timeout=0.5).order_patience == 0.5
    with pytest.raises(ValueError):
        BinanceConfig(order_timeout=0.0)


async def test_a_stop_and_a_cancel_pass_reads_that_hang_and_carry_a_fresh_stamp() -> None:
    stamps: list[int] = []

    def reply(request: bytes) -> bytes | None:
        if request.startswith(b"GET"):
            return None
        stamps.append(int(request.split(b"timestamp=")[1][:13]))
        return body(b"{}")

    async with serving(reply) as (base, heard):
        clock = LoopClock()
        rest = client(base, clock=clock, timeout=200.0, order_timeout=100.0)
        reads = [asyncio.ensure_future(rest.send(request)) for request in READS]
        while len(heard) < 16:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(heard) == 16  # of 28 reads
        before = clock.now_ns() // 1_000_000
        await rest.send(STOP)
        await rest.send(cancel_order("X", 1, None))
        assert before <= min(stamps) and max(stamps) <= clock.now_ns() // 1_000_000
        assert not any(task.done() for task in reads)
        for task in reads:
            task.cancel()
        await asyncio.gather(*reads, return_exceptions=True)
        assert rest.gate.status() == {"places": 8, "under_way": 0, "waiting": 0}
        await rest.close()


async def test_orders_that_hang_keep_a_further_one_no_longer_than_its_patience() -> None:
    async with serving(at_first) as (base, heard):
        rest = client(base, order_timeout=1.0)
        await connected(rest, "POST")
        for _ in range(16):
            await rest.gate.enter(STOP, 0.0)
        with pytest.raises(Retryable, match="nothing was sent") as caught:
            await rest.send(STOP)
        assert caught.value.facts["sent"] is False and len(heard) == 1
        rest.gate.leave(STOP)
        with pytest.raises(OutcomeUnknown):
            await rest.send(STOP)
        assert len(heard) == 2
        await rest.close()


@pytest.mark.parametrize("size", [b"-6", b"+3", b"0x3", b"1_0", b"", b"123456789", b" 3", b"\xb2"])
async def test_a_foreign_chunk_size_is_an_unreadable_answer(size: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nabc\r\n0\r\n\r\n"
    async with serving(lambda request: answer) as (base, _):
        wire = LeanWire(base)
        with pytest.raises(OutcomeUnknown, match="chunk size"):
            await wire.send("GET", "/", {}, b"", 60.0)


async def test_chunks_may_carry_extensions() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\nA \r\n0123456789\r\n0\r\n\r\n"
    async with serving(lambda request: answer) as (base, _):
        wire = LeanWire(base)
        assert (await wire.send("GET", "/", {}, b"", 60.0)).body == b"abc0123456789"
        await wire.close()


async def test_the_clock_is_measured_beside_a_narrow_gate() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/time"):
            return httpx.Response(200, json={"serverTime": clock.now_ns() // 1_000_000})
        await asyncio.sleep(0.4)
        return httpx.Response(200, json={})

    clock, loop = LoopClock(), asyncio.get_running_loop()
    rest = client("http://localhost", answer, clock)  # type: ignore[arg-type]
    with at_once():
        for _ in range(3):
            rest.gate.concurrency.overloaded(clock.now_ns(), clock.now_ns())
        busy = [asyncio.ensure_future(rest.send(depth("X", 5))) for _ in range(4)]
        await asyncio.sleep(0.01)
        began = loop.time()
        await rest.sync_time()
        assert loop.time() - began < 0.3 and abs(rest.time.offset_ns) < 1e6
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


async def test_a_stop_refused_for_its_stamp_is_signed_anew_through_a_pause() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        if request.url.path.endswith("/time"):
            return httpx.Response(200, json={"serverTime": time.time_ns() // 1_000_000})
        if seen.count(STOP.path) == 1:
            return httpx.Response(400, json={"code": -1021, "msg": "outside of the window"})
        return httpx.Response(200, json={})

    rest = client("http://localhost", answer)
    rest.limits.told_to_wait(60, time.time_ns(), banned=False)
    with pytest.raises(Retryable, match="pause"):
        await rest.sync_time()
    assert await rest.send(STOP) == b"{}" and seen.count(STOP.path) == 2


@pytest.mark.parametrize("text", ['{"code":-2011,"msg":"x"}', '{"code": -2011}', ' \n{"msg":"x","code":-2011}'])
async def test_a_success_that_holds_a_refusal_is_one(text: str) -> None:
    rest = client("http://localhost", lambda request: httpx.Response(200, text=text))
    with pytest.raises(Rejected) as caught:
        await rest.call(cancel_all("X", conditional=False), Reply)
    assert caught.value.code == -2011
    fine = client("http://localhost", lambda request: httpx.Response(200, json={"code": 200, "msg": "done"}))
    assert (await fine.call(cancel_all("X", conditional=False), Reply)).code == 200


async def test_errors_do_not_repeat_what_an_account_was_told() -> None:
    cut = json.dumps({"listenKey": "pqia91ma19a5s61cv6a8"})[:-1]
    rest = client("http://localhost", lambda request: httpx.Response(200, text=cut))
    for request in (listen_key("POST"), read("/fapi/v3/account", signed=True)):
        with pytest.raises(DataError) as caught:
            await rest.call(request, ListenKey)
        assert "pqia91" not in str(caught.value) and request.path in str(caught.value)
    with pytest.raises(AresError, match="it began"):
        await rest.call(read("/fapi/v1/time"), ListenKey)
