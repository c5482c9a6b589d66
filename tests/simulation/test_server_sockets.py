"""WebSockets of the local venue over loopback: requests and answers, addresses that are retired, chosen events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from websockets.asyncio.client import connect

from ares.exchange.signing import signer_for
from ares.exchange.wire.numbers import MS
from ares.secret import Secret
from ares.simulation.faults import Fault, FaultPlan
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.serving import serve
from ares.simulation.server.socket_api import SocketApi
from ares.simulation.tape import Tape
from tests.simulation.test_server import KEY, SECRET, S, advance, make

PLACE = {"symbol": S, "side": "BUY", "type": "MARKET", "quantity": 0.50}


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape.synthetic(S, "1m", bars=300, seed=3)


@asynccontextmanager
async def served(venue: LocalVenue) -> AsyncIterator[str]:
    """Its address of streams."""
    until, where = asyncio.Event(), asyncio.Queue[str]()
    task = asyncio.ensure_future(serve(venue, ready=lambda rest, streams: where.put_nowait(streams), until=until))
    try:
        yield await where.get()
    finally:
        until.set()
        await task


def signed(params: dict[str, Any], stamp: int, secret: str = SECRET, key: str = KEY) -> dict[str, Any]:
    """Parameters with a signature, as the sheet's section 9 says: sorted, unencoded, numbers as written."""
    whole = {**params, "apiKey": key, "timestamp": stamp}
    text = "&".join(f"{k}={json.dumps(v).strip(chr(34))}" for k, v in sorted(whole.items()))
    return {**whole, "signature": signer_for(Secret(secret)).sign(text.encode())}


def ask(api: SocketApi, method: str, params: dict[str, Any], number: Any = 1) -> Any:
    answer = api.asked(json.dumps({"id": number, "method": method, "params": params}))
    assert answer
    return json.loads(answer)


def test_requests_are_signed_over_their_sorted_parameters(tape: Tape) -> None:
    venue = make(tape)
    api, stamp = SocketApi(venue, "here"), venue.now_ns() // MS
    done = ask(api, "order.place", signed({**PLACE, "newOrderRespType": "RESULT"}, stamp), "a-b")
    assert (done["id"], done["status"], done["result"]["status"]) == ("a-b", 200, "FILLED")
    assert {(r["rateLimitType"], r["count"] > 0) for r in done["rateLimits"]} == {
        ("REQUEST_WEIGHT", True), ("ORDERS", True),
    }  # fmt: skip
    wrong = ask(api, "order.place", {**signed(PLACE, stamp), "quantity": 0.7}, 7)
    assert (wrong["id"], wrong["status"], wrong["error"]["code"]) == (7, 400, -1022)
    held = ask(api, "v2/account.position", signed({"symbol": S, "returnRateLimits": False}, stamp))
    assert Decimal(held["result"][0]["positionAmt"]) == Decimal("0.5") and "rateLimits" not in held
    assert ask(api, "depth", {"symbol": S, "limit": 5})["result"]["bids"]
    assert ask(api, "no.such", {})["error"]["code"] == -1020
    assert ask(api, "order.place", signed({**PLACE, "type": "STOP_MARKET"}, stamp))["error"]["code"] == -4120
    late = ask(api, "account.balance", signed({}, stamp - 6000))
    assert late["error"]["code"] == -1021


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"method": 5}', '{"method": "depth", "params": [1]}', "[" * 9000])
def test_what_is_no_request_is_answered_as_such(tape: Tape, text: str) -> None:
    answer = SocketApi(make(tape), "here").asked(text)
    assert answer and json.loads(answer)["error"]["code"] < 0


def test_a_key_that_logged_on_need_not_sign_again(tape: Tape) -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    venue = make(tape)
    venue = LocalVenue(
        tape, accounts={"ed": (Secret(pem), Decimal(1000)), KEY: (Secret(SECRET), Decimal(500))}, clock=venue.clock
    )
    api, stamp = SocketApi(venue, "here"), venue.now_ns() // MS
    assert ask(api, "account.balance", {"timestamp": stamp})["error"]["code"] == -2014
    assert ask(api, "session.logon", signed({}, stamp, SECRET, "ed"))["error"]["code"] == -1022
    assert ask(api, "session.status", {})["result"]["apiKey"] is None
    assert ask(api, "session.logon", signed({}, stamp, pem, "ed"))["result"]["apiKey"] == "ed"
    assert Decimal(ask(api, "account.balance", {"timestamp": stamp})["result"][0]["balance"]) == 1000
    other = ask(api, "account.balance", {"timestamp": stamp, "apiKey": KEY})
    assert other["error"]["code"] == -1102, "another account's key has not logged on"
    ask(api, "session.logout", {})
    assert ask(api, "account.balance", {"timestamp": stamp})["error"]["code"] == -2014


def test_faults_meet_requests_on_sockets_too(tape: Tape) -> None:
    plan = FaultPlan([Fault.parse(f"{kind} at POST /fapi/v1/order nth {n}") for n, kind in
                      enumerate(("unknown_503", "dropped", "timeout_after_acceptance"), 1)])  # fmt: skip
    venue = make(tape, faults=plan)
    api, stamp = SocketApi(venue, "here"), venue.now_ns() // MS
    unknown = ask(api, "order.place", signed(PLACE, stamp))
    assert (unknown["status"], unknown["error"]["code"]) == (503, -1000)
    message = json.dumps({"id": 1, "method": "order.place", "params": signed(PLACE, stamp)})
    assert api.asked(message) is None and api.asked(message) == b""
    assert venue.traders[KEY].venue.position(S).quantity == Decimal("1.5"), "each was executed"


async def test_over_loopback_requests_answer_and_retired_addresses_are_silent(tape: Tape) -> None:
    venue = make(tape)
    async with served(venue) as streams:
        async with connect(f"{streams}/ws-fapi/v1?returnRateLimits=false", proxy=None) as socket:
            await socket.send(json.dumps({"id": 1, "method": "ticker.price", "params": {"symbol": S}}))
            answer = json.loads(await socket.recv())
            assert answer["result"]["symbol"] == S and "rateLimits" not in answer
        name = f"{S.lower()}@markPrice"
        async with (
            connect(f"{streams}/ws/{name}", proxy=None) as retired,
            connect(f"{streams}/market/ws/{name}", proxy=None) as current,
        ):
            advance(venue, 10**9)
            assert json.loads(await asyncio.wait_for(current.recv(), 120))["e"] == "markPriceUpdate"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(retired.recv(), 0.2)


async def test_a_private_stream_tells_the_events_that_were_chosen(tape: Tape) -> None:
    venue = make(tape)
    listen = venue.listen_key(venue.traders[KEY])
    async with served(venue) as streams:
        base = f"{streams}/private/ws?listenKey={listen}"
        async with (
            connect(base, proxy=None) as everything,
            connect(f"{base}&events=ACCOUNT_UPDATE/ALGO_UPDATE", proxy=None) as chosen,
            connect(f"{streams}/private/stream", proxy=None) as wrapped,
        ):
            await wrapped.send(json.dumps({"id": "x", "method": "SUBSCRIBE", "params": [listen]}))
            assert json.loads(await wrapped.recv()) == {"id": "x", "result": None}
            api, stamp = SocketApi(venue, "here"), venue.now_ns() // MS
            assert ask(api, "order.place", signed(PLACE, stamp))["status"] == 200
            heard = [json.loads(await asyncio.wait_for(everything.recv(), 120))["e"] for _ in range(4)]
            assert heard == ["ORDER_TRADE_UPDATE", "TRADE_LITE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"]
            assert json.loads(await asyncio.wait_for(chosen.recv(), 120))["e"] == "ACCOUNT_UPDATE"
            frame = json.loads(await asyncio.wait_for(wrapped.recv(), 120))
            assert frame["stream"] == listen and frame["data"]["e"] == "ORDER_TRADE_UPDATE"


async def test_a_planned_fault_is_no_error_of_the_server(tape: Tape, caplog: pytest.LogCaptureFixture) -> None:
    import httpx

    venue = make(tape, faults=FaultPlan([Fault.parse("dropped at GET /fapi/v1/time")]))
    async with served(venue) as streams, httpx.AsyncClient(trust_env=False) as client:
        url = streams.replace("ws://", "http://") + "/fapi/v1/time"
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(url)
        assert (await client.get(url)).status_code == 200
    assert [record for record in caplog.records if record.exc_info] == []
