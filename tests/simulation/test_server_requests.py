"""Whatever is asked of the local venue, by REST or over a WebSocket, it answers as the real one does: never a crash."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

pytest.importorskip("starlette")

from ares.exchange.wire.numbers import MS
from ares.simulation.server.endpoints import ROUTES
from ares.simulation.server.limits import RequestLimits
from ares.simulation.server.socket_api import SocketApi
from ares.simulation.server.subscription import Subscription
from ares.simulation.tape import Tape
from tests.simulation.test_server import KEY, Client, S, advance, make

USUAL: dict[str, list[str]] = {
    "symbol": [S], "pair": [S], "side": ["BUY", "SELL"], "type": ["LIMIT", "MARKET", "STOP_MARKET", "STOP"],
    "quantity": ["0.5", "0.001"], "price": ["2000", "2400.5"], "timeInForce": ["GTC", "IOC", "GTX", "GTD"],
    "algoType": ["CONDITIONAL"], "triggerPrice": ["2000", "2600"], "interval": ["1m", "1h", "1w"], "period": ["5m"],
    "contractType": ["PERPETUAL"], "leverage": ["5"], "marginType": ["CROSSED", "ISOLATED"], "limit": ["5", "1500"],
    "dualSidePosition": ["true", "false"], "multiAssetsMargin": ["true", "false"], "countdownTime": ["0", "1000"],
    "orderId": ["1", "8000000001"], "algoId": ["1", "3"], "origClientOrderId": ["a"], "newClientOrderId": ["a", "b"],
    "clientAlgoId": ["a"], "reduceOnly": ["true"], "closePosition": ["true"], "positionSide": ["BOTH", "LONG"],
    "newOrderRespType": ["RESULT"], "recvWindow": ["5000"], "startTime": ["0"], "endTime": ["1"], "fromId": ["1"],
    "orderIdList": ["[1,2]", "[1.5]"], "amount": ["1"], "modifyId": ["7"], "autoCloseType": ["ADL"],
    "batchOrders": ['[{"symbol":"ETHUSDT","side":"BUY","type":"MARKET","quantity":0.5}]', "[5]", '[{"symbol":[1]}]'],
}  # fmt: skip
JUNK = [
    "", "-1", "0", "1e5", "NaN", "Infinity", "x" * 400, "\x00", "١٢", "²", "9" * 18, "9" * 20, "9" * 5000, "-0.0", "1.",
    "+5", " 5", "%", "&", "=", "币安", "null", "[]", "{}", "true", "[1", "0x10", "1_000", "-", "--5", "Ã\xad",
]  # fmt: skip
METHODS = ["order.place", "order.status", "algoOrder.place", "account.balance", "session.logon", "depth", "none", ""]


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape.synthetic(S, "1m", bars=300, seed=3)


def spoilt(rng: random.Random) -> dict[str, Any]:
    """Parameters that may be a request, some of them spoilt."""
    names = rng.sample(list(USUAL), rng.randrange(0, 9)) + [n for n in list(USUAL)[:10] if rng.random() < 0.7]
    return {n: rng.choice(USUAL[n]) if rng.random() < 0.8 else rng.choice(JUNK) for n in names}


@pytest.mark.parametrize("seed", range(3))
def test_spoilt_requests_are_answered(tape: Tape, seed: int) -> None:
    rng = random.Random(seed)
    venue = make(tape, limits=RequestLimits(10**9, 10**9, 10**9))
    client, seen = Client(venue), set()
    for number in range(1000):
        method, path = rng.choice(list(ROUTES))
        status, answer = client.ask(method, path, **spoilt(rng))
        assert status in (200, 400, 401, 404), (method, path, answer)
        assert status == 200 or (answer["code"] < 0 and answer["msg"])
        seen.add(status)
        if number % 50 == 0:
            advance(venue, rng.randrange(1, 40) * 10**9)
    assert {200, 400} <= seen


@pytest.mark.parametrize("seed", range(2))
def test_spoilt_messages_are_answered(tape: Tape, seed: int) -> None:
    rng = random.Random(seed)
    venue = make(tape, limits=RequestLimits(10**9, 10**9, 10**9))
    api, streams = SocketApi(venue, "here"), Subscription(venue, "market", wrapped=True)
    for _ in range(1000):
        given: Any = {**spoilt(rng), "timestamp": venue.now_ns() // MS, "apiKey": KEY, "signature": rng.choice(JUNK)}
        message: dict[str, Any] = {"id": rng.choice([1, "a", None, {}, [1], 2**80]), "method": rng.choice(METHODS)}
        text = json.dumps({**message, "params": rng.choice([given, given, [], None, 5, [[1]]])})
        text = text[: rng.randrange(len(text))] if rng.random() < 0.2 else text
        answer = api.asked(text)
        assert answer and json.loads(answer)["status"] in (200, 400, 401, 404)
        streams.asked(text.replace("order.place", "SUBSCRIBE").replace("depth", "LIST_SUBSCRIPTIONS"))
