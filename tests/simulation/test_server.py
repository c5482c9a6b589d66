"""The local venue itself: signatures over raw bytes, limits, filters, several accounts, and a market that adds up."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("starlette")

from ares.clock import VirtualClock
from ares.errors import InvalidInput
from ares.exchange.signing import signer_for
from ares.exchange.wire.numbers import MS
from ares.secret import Secret
from ares.simulation.faults import Fault, FaultKind, FaultPlan
from ares.simulation.server.front import Front
from ares.simulation.server.limits import RequestLimits
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.market import Pace
from ares.simulation.tape import Tape

KEY, SECRET = "account-one", "secret-of-one"
S = "ETHUSDT"
MINUTE = 60 * 10**9


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape.synthetic(S, "1m", bars=300, seed=3)


class Client:
    """Asks a venue as raw bytes, the way a stranger would."""

    def __init__(self, venue: LocalVenue, key: str = KEY, secret: str = SECRET) -> None:
        self.venue, self.front = venue, Front(venue)
        self.key, self._signer = key, signer_for(Secret(secret))
        self.headers: dict[str, str] = {}

    def ask(self, method: str, path: str, *, signed: bool = True, in_body: str = "", **params: Any) -> tuple[int, Any]:
        query = "&".join(f"{k}={quote(str(v))}" for k, v in params.items())
        if signed:
            stamp = params.get("timestamp", self.venue.now_ns() // MS)
            if "timestamp" not in params:
                query += f"{'&' if query else ''}timestamp={stamp}"
            query += f"&signature={self._signer.sign((query + in_body).encode())}"
        answer = self.front.handle(method, path, query.encode(), in_body.encode(), {"x-mbx-apikey": self.key})
        self.headers = answer.headers
        return answer.status, json.loads(answer.body)


def make(tape: Tape, *, history: int = 200, speed: float = 1.0, **settings: Any) -> LocalVenue:
    accounts = {KEY: (Secret(SECRET), Decimal(10_000)), "account-two": (Secret("secret-of-two"), Decimal(500))}
    return LocalVenue(
        tape, accounts=accounts, clock=VirtualClock(tape.end_ns), pace=Pace(speed=speed), history=history, **settings
    )


def advance(venue: LocalVenue, ns: int) -> None:
    assert isinstance(venue.clock, VirtualClock)
    venue.clock.set_to(venue.clock.now_ns() + ns)
    venue.play()


# ------------------------------------------------------------ signatures


def test_query_and_body_are_signed_as_one_text_without_an_ampersand(tape: Tape) -> None:
    venue = make(tape)
    client = Client(venue)
    status, order = client.ask(
        "POST", "/fapi/v1/order", in_body="quantity=0.5&type=MARKET", symbol=S, side="BUY"
    )
    assert status == 200 and order["executedQty"] == "0.5" and "avgPrice" not in order


@pytest.mark.parametrize(
    ("change", "code"),
    [({"timestamp": 1}, -1021), ({"recvWindow": 70_000}, -1131), ({"timestamp": "soon"}, -1102)],
)
def test_stamps_outside_the_window_are_refused(tape: Tape, change: dict[str, Any], code: int) -> None:
    status, error = Client(make(tape)).ask("GET", "/fapi/v3/account", **change)
    assert (status, error["code"]) == (400, code)


def test_foreign_signatures_and_keys_are_refused(tape: Tape) -> None:
    venue = make(tape)
    assert Client(venue, secret="another one").ask("GET", "/fapi/v3/account")[1]["code"] == -1022
    assert Client(venue, key="nobody").ask("GET", "/fapi/v3/account")[1]["code"] == -2015
    assert Client(venue).ask("GET", "/fapi/v3/account", signed=False)[1]["code"] == -1102
    assert Client(venue).ask("GET", "/fapi/v9/nothing", signed=False)[0] == 404


def test_private_keys_sign_too(tape: Tape) -> None:
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    venue = LocalVenue(
        tape, accounts={"ed": (Secret(pem), Decimal(1))}, clock=VirtualClock(tape.end_ns), history=200
    )
    query = f"timestamp={venue.now_ns() // MS}"
    signature = quote(base64.b64encode(key.sign(query.encode())).decode(), safe="")
    answer = Front(venue).handle(
        "GET", "/fapi/v3/account", f"{query}&signature={signature}".encode(), b"", {"x-mbx-apikey": "ed"}
    )
    assert answer.status == 200 and json.loads(answer.body)["totalWalletBalance"] == "1.00000000"


# ------------------------------------------------------------ limits, filters, kinds of orders


def test_weight_and_order_counts_are_told_and_limited(tape: Tape) -> None:
    venue = make(tape, limits=RequestLimits(weight_per_minute=50, orders_per_10s=2))
    client = Client(venue)
    for number in (1, 2):
        assert client.ask("POST", "/fapi/v1/order", symbol=S, side="BUY", type="MARKET", quantity="0.1")[0] == 200
        assert client.headers["x-mbx-order-count-10s"] == str(number)
    status, error = client.ask("POST", "/fapi/v1/order", symbol=S, side="BUY", type="MARKET", quantity="0.1")
    assert (status, error["code"]) == (429, -1015) and "retry-after" in client.headers
    advance(venue, 10 * 10**9)
    assert client.ask("POST", "/fapi/v1/order", symbol=S, side="BUY", type="MARKET", quantity="0.1")[0] == 200
    statuses = [client.ask("GET", "/fapi/v1/aggTrades", signed=False, symbol=S)[0] for _ in range(16)]
    assert statuses[0] == 200 and 429 in statuses and statuses[-1] == 418
    advance(venue, 3 * MINUTE)
    assert client.ask("GET", "/fapi/v1/time", signed=False)[0] == 200


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"type": "STOP_MARKET", "stopPrice": "1"}, -4120),
        ({"type": "MARKET", "quantity": "0.0001"}, -1111),
        ({"type": "MARKET", "quantity": "0.001"}, -4164),
        ({"type": "LIMIT", "quantity": "1", "price": "2000.001", "timeInForce": "GTC"}, -4014),
        ({"type": "LIMIT", "quantity": "1", "timeInForce": "GTC"}, -1102),
        ({"type": "LIMIT", "quantity": "1", "price": "2000"}, -1102),
        ({"type": "MARKET", "quantity": "1", "reduceOnly": "true"}, -2022),
        ({"type": "MARKET", "quantity": "1", "positionSide": "LONG"}, -4061),
        ({"type": "SHRUG", "quantity": "1"}, -1116),
        ({"type": "MARKET", "quantity": "NaN"}, -1100),
        ({"type": "MARKET", "quantity": "1", "symbol": "NOSUCH"}, -1121),
    ],
)
def test_orders_are_refused_with_the_real_code(tape: Tape, params: dict[str, str], code: int) -> None:
    client = Client(make(tape))
    status, error = client.ask("POST", "/fapi/v1/order", **{"symbol": S, "side": "BUY", **params})
    assert (status, error["code"]) == (400, code)


def test_cancelling_all_orders_spares_conditional_ones(tape: Tape) -> None:
    venue = make(tape)
    client = Client(venue)
    price = round(venue.market.symbols[S].last)
    client.ask("POST", "/fapi/v1/order", symbol=S, side="BUY", type="MARKET", quantity="0.5")
    client.ask(
        "POST", "/fapi/v1/order", symbol=S, side="BUY", type="LIMIT", quantity="0.5", price=price - 50,
        timeInForce="GTC",
    )  # fmt: skip
    status, algo = client.ask(
        "POST", "/fapi/v1/algoOrder", algoType="CONDITIONAL", symbol=S, side="SELL", type="STOP_MARKET",
        quantity="0.5", triggerPrice=price - 60, reduceOnly="True", clientAlgoId="mine",
    )  # fmt: skip
    assert status == 200 and algo["algoStatus"] == "NEW"
    client.ask("DELETE", "/fapi/v1/allOpenOrders", symbol=S)
    assert client.ask("GET", "/fapi/v1/openOrders", symbol=S)[1] == []
    assert [o["clientAlgoId"] for o in client.ask("GET", "/fapi/v1/openAlgoOrders", symbol=S)[1]] == ["mine"]
    assert client.ask("GET", "/fapi/v1/order", symbol=S, origClientOrderId="mine")[1]["code"] == -2013
    client.ask("DELETE", "/fapi/v1/algoOpenOrders", symbol=S)
    assert client.ask("GET", "/fapi/v1/openAlgoOrders", symbol=S)[1] == []


def test_accounts_do_not_see_each_other(tape: Tape) -> None:
    venue = make(tape)
    one, two = Client(venue), Client(venue, "account-two", "secret-of-two")
    one.ask("POST", "/fapi/v1/order", symbol=S, side="BUY", type="MARKET", quantity="0.5")
    assert two.ask("GET", "/fapi/v3/positionRisk")[1] == []
    assert two.ask("GET", "/fapi/v1/userTrades", symbol=S)[1] == []
    assert Decimal(two.ask("GET", "/fapi/v3/account")[1]["totalWalletBalance"]) == 500
    assert two.ask("POST", "/fapi/v1/order", symbol=S, side="BUY", type="MARKET", quantity="9")[1]["code"] == -2019


def test_income_explains_the_wallet(tape: Tape) -> None:
    venue = make(tape)
    client = Client(venue)
    for side in ("BUY", "SELL"):
        client.ask("POST", "/fapi/v1/order", symbol=S, side=side, type="MARKET", quantity="0.5")
        advance(venue, 5 * MINUTE)
    rows = client.ask("GET", "/fapi/v1/income", limit=1000)[1]
    wallet = Decimal(client.ask("GET", "/fapi/v3/account")[1]["totalWalletBalance"])
    assert wallet == 10_000 + sum(Decimal(r["income"]) for r in rows)
    assert {r["incomeType"] for r in rows} >= {"COMMISSION"}


# ------------------------------------------------------------ the market


def test_each_bar_is_walked_to_both_its_extremes(tape: Tape) -> None:
    """What streams show tick by tick adds up to the recorded bars."""
    venue = make(tape, history=200)
    seen: list[tuple[str, dict[str, Any]]] = []
    venue.subscribers["test"] = lambda stream, frame: seen.append((stream, json.loads(frame)))
    advance(venue, 30 * MINUTE)
    bars = [f["k"] for s, f in seen if s == "ethusdt@kline_1m" and f["k"]["x"]]
    assert len(bars) >= 29
    track = tape.tracks[0]
    for bar in bars[1:]:
        row = int(track.open_ns.searchsorted(bar["t"] * MS - venue.market.shift_ns))
        prices = [float(f["p"]) for s, f in seen if s == "ethusdt@aggTrade" and bar["t"] <= f["T"] <= bar["T"]]
        assert (max(prices), min(prices)) == (float(bar["h"]), float(bar["l"]))
        assert float(bar["c"]) == round(float(track.close[row]), 2)
    rows = Client(venue).ask("GET", "/fapi/v1/klines", signed=False, symbol=S, interval="1m", limit=500)[1]
    by_open = {r[0]: r for r in rows}
    assert all(by_open[b["t"]][4] == b["c"] and by_open[b["t"]][5] == b["v"] for b in bars)


def test_diffs_rebuild_the_ladder(tape: Tape) -> None:
    from ares.exchange.book import LocalBook
    from ares.exchange.wire.depth import decode_depth
    from ares.exchange.wire.market import Depth

    venue = make(tape)
    book = LocalBook(S)
    frames: list[bytes] = []
    venue.subscribers["test"] = lambda stream, frame: frames.append(frame) if stream == "ethusdt@depth" else None
    advance(venue, MINUTE)
    snapshot = Client(venue).ask("GET", "/fapi/v1/depth", signed=False, symbol=S, limit=20)[1]
    for frame in frames:
        book.update(decode_depth(b'{"stream":"x","data":%s}' % frame))
    frames.clear()
    levels = {side: snapshot[side] for side in ("bids", "asks")}
    book.load(Depth(last_update_id=snapshot["lastUpdateId"], time_ms=snapshot["T"], **levels))
    advance(venue, 10 * MINUTE)
    for frame in frames:
        assert book.update(decode_depth(b'{"stream":"x","data":%s}' % frame))
    now = Client(venue).ask("GET", "/fapi/v1/depth", signed=False, symbol=S, limit=20)[1]
    top = book.top(20)
    assert top.bids.tolist() == [[float(p), float(q)] for p, q in now["bids"]]
    assert top.asks.tolist() == [[float(p), float(q)] for p, q in now["asks"]]


def test_marks_come_every_second_even_when_bars_are_long() -> None:
    hours = Tape.synthetic(S, "1h", bars=60, seed=1)
    venue = make(hours, history=20)
    marks: list[bytes] = []
    venue.subscribers["test"] = lambda stream, frame: marks.append(frame) if stream.endswith("@markPrice@1s") else None
    for _ in range(20):
        advance(venue, 10**9)
    assert len(marks) >= 20


@pytest.mark.parametrize("speed", [1.0, 60.0])
def test_no_stamp_is_of_the_future(tape: Tape, speed: float) -> None:
    venue = make(tape, speed=speed)
    client = Client(venue)
    for _ in range(5):
        advance(venue, 20 * 10**9)
        now = client.ask("GET", "/fapi/v1/time", signed=False)[1]["serverTime"]
        rows = client.ask("GET", "/fapi/v1/klines", signed=False, symbol=S, interval="1m", limit=5)[1]
        assert rows[-1][0] <= now and all(r[0] % 60_000 == 0 for r in rows)
        if speed > 1:
            assert rows[-1][6] < now  # a forming bar would look complete


def test_a_tape_too_short_to_begin_is_refused(tape: Tape) -> None:
    with pytest.raises(InvalidInput, match="history"):
        make(tape, history=300)


# ------------------------------------------------------------ faults


def test_faults_are_read_from_lines_and_files(tmp_path: Any) -> None:
    fault = Fault.parse("late at ethusdt@kline_1m nth 3 count 2 for 1.5")
    assert (fault.kind, fault.at, fault.nth, fault.count, fault.seconds) == (
        FaultKind.LATE, "ethusdt@kline_1m", 3, 2, 1.5,
    )  # fmt: skip
    assert Fault.parse("unknown_503 at POST /fapi/v1/order id *-7").client_id == "*-7"
    plan = tmp_path / "plan.yaml"
    plan.write_text("faults:\n  - dropped at POST /fapi/v1/order\n  - banned for 60\n")
    assert [f.kind.value for f in FaultPlan.from_file(plan).faults] == ["dropped", "banned"]
    for bad in ("", "nonsense", "late at", "late nth x", "late banana 3"):
        with pytest.raises(InvalidInput):
            Fault.parse(bad)
    plan.write_text("mistakes: []\n")
    with pytest.raises(InvalidInput, match="faults"):
        FaultPlan.from_file(plan)


def test_a_fault_is_found_by_its_meaning() -> None:
    plan = FaultPlan([Fault.parse("dropped at POST /fapi/v1/order id stop-* nth 2")])
    asked = ["entry-1", "stop-1", "entry-2", "stop-2", "stop-3"]
    hit = [name for name in asked if plan.for_request("POST /fapi/v1/order", name) is not None]
    assert hit == ["stop-2"] and plan.happened == {"dropped": 1}
