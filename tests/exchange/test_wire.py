"""The wire codec over recorded payloads, over the official requests, and over broken ones: typed errors only."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ares.errors import AresError, DataError, NotAuthorized, OutcomeUnknown, Rejected, Retryable
from ares.exchange.wire import account, depth, instruments, market, requests, streams, trade, user
from ares.exchange.wire.decode import UnknownFields, decode
from ares.exchange.wire.numbers import plain
from ares.exchange.wire.refusals import refusal
from ares.instruments import Interval, Side
from ares.orders import OrderRequest, OrderStatus


@pytest.fixture(scope="module")
def fixtures(real_data: Path) -> Path:
    folder = real_data / "binance-fixtures"
    if not folder.is_dir():
        pytest.skip(f"no recorded payloads in {folder}")
    return folder


KINDS: dict[str, Any] = {
    "account_information_v3": account.AccountV3,
    "cancel_order": trade.OrderReport,
    "compressed_aggregate_trades_list": list[market.AggTradeRow],
    "exchange_information": market.ExchangeInfo,
    "get_funding_rate_history": list[market.FundingRow],
    "new_algo_order": trade.AlgoReport,
    "new_order": trade.OrderReport,
    "order_book": market.Depth,
    "position_information_v3": list[account.PositionV3],
    "query_order": trade.OrderReport,
    "start_user_data_stream": account.ListenKey,
}


def payload(fixtures: Path, name: str, folder: str = "rest") -> bytes:
    text = (fixtures / "responses" / folder / f"connector__{name}.json").read_text()
    return json.dumps(json.loads(text)["payload"]).encode()


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_recorded_answer_is_read(fixtures: Path, name: str) -> None:
    assert decode(payload(fixtures, name), KINDS[name], name) is not None


def test_recorded_orders_become_orders(fixtures: Path) -> None:
    asked = trade.order_of(decode(payload(fixtures, "query_order"), trade.OrderReport, "order"))
    assert (asked.order_id, asked.quantity, asked.status) == ("1573346959", Decimal("0.40"), OrderStatus.NEW)
    assert asked.reason == "TRAILING_STOP_MARKET"  # a type that ares does not place: the nearest one stands in
    cancelled = trade.order_of(decode(payload(fixtures, "cancel_order"), trade.OrderReport, "order"))
    assert cancelled.status is OrderStatus.CANCELED
    algo = decode(payload(fixtures, "new_algo_order"), trade.AlgoReport, "algo")
    order = trade.order_of_algo(algo)
    assert (order.order_id, order.stop_price) == ("algo-2146760", Decimal("750.000"))
    assert trade.algo_id_of(order.order_id) == 2146760


def test_the_recorded_account_and_position(fixtures: Path) -> None:
    money = decode(payload(fixtures, "account_information_v3"), account.AccountV3, "account")
    rows = decode(payload(fixtures, "position_information_v3"), list[account.PositionV3], "positions")
    held = account.account_of(money, rows, {"ADAUSDT": 20}, "USDT", 7)
    assert held.wallet == Decimal("23.72469206") and held.updated_ns == 7
    assert held.positions[0].quantity == 30 and held.positions[0].leverage == 20


def test_the_recorded_contract_becomes_an_instrument(fixtures: Path) -> None:
    """The recording has one merged filter; the venue sends its parts apart."""
    body = json.loads(payload(fixtures, "exchange_information"))
    merged = body["symbols"][0]["filters"][0]
    kinds = ("PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "MIN_NOTIONAL", "PERCENT_PRICE")
    body["symbols"][0]["filters"] = [{**merged, "filterType": kind} for kind in kinds]
    info = decode(json.dumps(body).encode(), market.ExchangeInfo, "info")
    found = instruments.instrument_of(info.symbols[0])
    assert (found.symbol, found.tick_size, found.lot_step) == ("BLZUSDT", Decimal("0.0001"), Decimal(1))
    assert (found.min_notional, found.band_up, found.trading) == (Decimal("5.0"), Decimal("1.1500"), True)
    merged_info = decode(payload(fixtures, "exchange_information"), market.ExchangeInfo, "info")
    with pytest.raises(DataError, match="LOT_SIZE"):
        instruments.instrument_of(merged_info.symbols[0])


def test_recorded_stream_frames(fixtures: Path) -> None:
    data = b'{"stream":"x","data":' + payload(fixtures, "diff_book_depth_streams", "ws_stream") + b"}"
    change = depth.decode_depth(data)
    assert change.b.size and change.a.size
    for name in ("aggregate_trade", "kline_candlestick"):
        data = b'{"stream":"x","data":' + payload(fixtures, f"{name}_streams", "ws_stream") + b"}"
        streams.event_of(streams.decode_frame(data).data, 1)
    for name in ("mark_price_stream",):
        data = b'{"stream":"x","data":' + payload(fixtures, name, "ws_stream") + b"}"
        streams.event_of(streams.decode_frame(data).data, 1)
    with pytest.raises(DataError):  # documentation prints a row of one number
        market.decode_klines(payload(fixtures, "kline_candlestick_data"), "klines")


NUMBERS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, places=12).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.tuples(st.text("0123456789", min_size=1, max_size=25), st.text("0123456789", max_size=25)).map(".".join),
)


@given(NUMBERS, NUMBERS)
def test_a_market_frames_numbers_are_the_floats_nearest_to_their_text_or_refused(price: str, size: str) -> None:
    body = {"e": "aggTrade", "E": 1, "s": "X", "a": 1, "p": price, "q": size, "T": 1, "m": True}
    try:
        frame = streams.decode_frame(json.dumps({"stream": "x", "data": body}).encode()).data
    except msgspec.MsgspecError:
        return
    assert isinstance(frame, streams.AggTradeFrame) and (frame.p, frame.q) == (float(price), float(size))


def test_our_requests_are_those_of_the_official_clients(fixtures: Path) -> None:
    recorded = _recorded_requests(fixtures)
    stop = OrderRequest(
        symbol="BTCUSDT", side="SELL", order_type="STOP_MARKET", quantity=Decimal("0.01"),
        stop_price=Decimal("50000"), reduce_only=True,
    )
    limit = OrderRequest(
        symbol="BTCUSDT", side="BUY", order_type="LIMIT", quantity=Decimal("0.01"), price=Decimal("59000"),
    )
    at_market = OrderRequest(symbol="BTCUSDT", side="BUY", order_type="MARKET", quantity=Decimal("0.01"))
    small, large = (
        OrderRequest(
            symbol="LTCUSDT", side="BUY", order_type="LIMIT", quantity=Decimal(quantity), price=Decimal(price),
        )
        for quantity, price in (("0.1", "60"), ("0.11", "61"))
    )  # fmt: skip
    ours = {
        "python-binance futures_mark_price": requests.read("/fapi/v1/premiumIndex", symbol="BTCUSDT"),
        "python-binance futures_create_order LIMIT GTC": requests.new_order(limit, "mine"),
        "connector kline_candlestick_data": requests.klines("BTCUSDT", "1m", 3),
        "connector order_book": requests.depth("BTCUSDT", 5),
        "connector new_order MARKET": requests.new_order(at_market, "mine"),
        "connector new_algo_order STOP_MARKET reduceOnly": requests.algo_order(stop, "mine"),
        "connector query_order": requests.query_order("BTCUSDT", 22542179, None),
        "connector cancel_order": requests.cancel_order("BTCUSDT", 22542179, None),
        "connector position_information_v3": requests.read("/fapi/v3/positionRisk", signed=True, symbol="BTCUSDT"),
        "connector change_initial_leverage": requests.set_leverage("BTCUSDT", 5),
        "connector start_user_data_stream": requests.listen_key("POST"),
        "connector start_user_data_stream /fapi/v1/exchangeInfo": requests.read("/fapi/v1/exchangeInfo"),
        "connector futures_account_balance_v3": requests.read("/fapi/v3/balance", signed=True),
        "python-binance futures_countdown_cancel_all": requests.countdown("BTCUSDT", 120_000),
        "ccxt-static: cancelOrderWithClientOrderId swap": requests.cancel_order("LTCUSDT", None, "myid123"),
        "ccxt-static: createOrder limit buy 0.1 @55": requests.new_order(evolve(small, price=Decimal(55)), "mine"),
        "ccxt-static: createOrders batch of 2": requests.new_order(small, "mine"),  # one by one: we send no batches
        "ccxt-static: createOrders batch of 2, the second": requests.new_order(large, "mine"),
    }
    assert ours.keys() == recorded.keys()
    for name, request in ours.items():
        theirs = recorded[name]
        assert (request.method, request.path) == (theirs["method"], theirs["host_path"]), name
        assert (request.security is requests.Security.SIGNED) == theirs["auth"], name
        sent, wanted = dict(request.params), dict(theirs["params"])
        for own_id in ("newClientOrderId", "clientAlgoId"):  # we always send one of our own
            if own_id in sent:
                assert sent.pop(own_id) == "mine"
                wanted.pop(own_id, None)
        wanted.pop("newOrderRespType", None)  # the venue's default serves
        decimals = ("quantity", "price", "triggerPrice")
        assert {k: Decimal(v) if k in decimals else v for k, v in sent.items()} == {
            k: Decimal(v) if k in decimals else v for k, v in wanted.items()
        }, name


def _recorded_requests(fixtures: Path) -> dict[str, dict[str, Any]]:
    """All captured requests by name, orders of a batch one by one."""
    found: dict[str, dict[str, Any]] = {}
    for each in json.loads((fixtures / "requests.json").read_text()):
        batch = each["params"].get("batchOrders")
        if batch is None:
            found[each["name"] if each["name"] not in found else f"{each['name']} {each['host_path']}"] = each
        else:
            single = each | {"host_path": "/fapi/v1/order"}
            found[each["name"]] = single | {"params": batch[0]}
            found[f"{each['name']}, the second"] = single | {"params": batch[1]}
    return found


# ------------------------------------------------------------ definitions


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12))
def test_a_number_goes_out_plain_and_comes_back_equal(value: Decimal) -> None:
    text = plain(value)
    assert Decimal(text) == value and "e" not in text.lower()


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-inf", "1,5", "", " 1", "1\n", "0x10", "١", "1__0", "1e999"])
def test_what_is_no_number_is_refused(text: str) -> None:
    body = json.dumps({"symbol": "X", "price": text}).encode()
    with pytest.raises(DataError):
        decode(body, market.PriceTicker, "price")


@pytest.mark.parametrize(
    "body", [b"", b"<html>busy</html>", b'{"symbol":"X","price":', b"[" * 100_000, b"\xff\xfe", b"null", b"{}"]
)
def test_a_broken_body_is_a_data_error(body: bytes) -> None:
    with pytest.raises(DataError):
        decode(body, market.PriceTicker, "price")


def test_too_long_and_too_deep_bodies_are_not_read() -> None:
    with pytest.raises(DataError, match="bytes"):
        decode(b" " * (9 << 20), market.PriceTicker, "price")
    with pytest.raises(DataError, match="deeper"):
        decode(b'{"symbol":"X","price":"1","more":' + b"[" * 40 + b"]" * 40 + b"}", market.PriceTicker, "price")


def test_new_fields_are_ignored_and_counted() -> None:
    body = b'[{"symbol":"X","price":"1","pair":"X","st":1}]'
    assert decode(body, list[market.PriceTicker], "price")[0].price == "1"
    seen = UnknownFields()
    seen.look(body, list[market.PriceTicker], "price")
    assert seen.counts == {"price.pair": 1, "price.st": 1}


def test_the_wires_last_millisecond_is_undone_and_the_forming_bar_left_out() -> None:
    hour = 3_600_000
    row = ["1", "2", "0.5", "1.5", "10", 0, "15", 3, "5", "7", "0"]
    body = json.dumps([[i * hour, *row[:5], (i + 1) * hour - 1, *row[6:]] for i in range(3)]).encode()
    rows = market.decode_klines(body, "klines")
    frame = market.klines_frame(rows, Interval.parse("1h"), known_ns=2 * hour * 1_000_000)
    assert [t.value for t in frame["close_time"]] == [hour * 10**6, 2 * hour * 10**6]
    assert len(market.klines_frame(rows, Interval.parse("1h"), None)) == 3
    assert frame["taker_buy_quote_volume"].iloc[0] == 7.0
    with pytest.raises(DataError, match="kline 1"):
        market.klines_frame([rows[0], rows[0]], Interval.parse("1h"), None)


def test_a_crossed_or_unordered_book_is_refused() -> None:
    good = market.Depth(last_update_id=1, bids=[("2", "1"), ("1", "1")], asks=[("3", "1")])
    assert market.order_book_of("X", good, 1).bids.tolist() == [[2.0, 1.0]]
    for bids, asks in ([("3", "1")], [("3", "1")]), ([("1", "1"), ("2", "1")], [("3", "1")]), ([("1", "0")], []):
        with pytest.raises(DataError):
            market.order_book_of("X", market.Depth(last_update_id=1, bids=bids, asks=asks), None)


# ------------------------------------------------------------ refusals

ORDER = requests.new_order(OrderRequest(symbol="X", side="BUY", order_type="MARKET", quantity=Decimal(1)), "id")
READ = requests.read("/fapi/v1/time")


@pytest.mark.parametrize(
    ("status", "body", "placing", "reading"),
    [
        (400, '{"code":-2019,"msg":"Margin is insufficient."}', Rejected, Rejected),
        (400, '{"code":-4120,"msg":"use algo"}', Rejected, Rejected),
        (400, '{"code":-1021,"msg":"Timestamp"}', Retryable, Retryable),
        (400, '{"code":-2013,"msg":"Order does not exist."}', Rejected, Rejected),
        (401, '{"code":-2015,"msg":"Invalid API-key"}', NotAuthorized, NotAuthorized),
        (403, "<html>", NotAuthorized, NotAuthorized),
        (408, '{"code":-1007,"msg":"Timeout"}', OutcomeUnknown, Retryable),
        (429, '{"code":-1003,"msg":"Too many requests"}', Retryable, Retryable),
        (418, '{"code":-1003,"msg":"banned until 1700000060000"}', Retryable, Retryable),
        (500, "", OutcomeUnknown, Retryable),
        (502, "<html>bad gateway</html>", OutcomeUnknown, Retryable),
        (503, '{"code":-1000,"msg":"Unknown error, please check your request or try again later."}', OutcomeUnknown,
         Retryable),
        (503, '{"code":0,"msg":"Service Unavailable."}', Retryable, Retryable),
        (503, '{"code":-1001,"msg":"Internal error; unable to process your request. Please try again."}', Retryable,
         Retryable),
        (503, '{"code":-1008,"msg":"Request throttled by system-level protection"}', Retryable, Retryable),
        (503, "something new", OutcomeUnknown, Retryable),
        (200, "not json at all", OutcomeUnknown, Retryable),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_do_next(
    status: int, body: str, placing: type[AresError], reading: type[AresError]
) -> None:
    assert type(refusal(ORDER, status, body.encode())) is placing
    assert type(refusal(READ, status, body.encode())) is reading


def test_a_ban_lasts_until_the_time_in_its_text() -> None:
    error = refusal(READ, 418, b'{"code":-1003,"msg":"banned until 1700000060000"}', now_ms=1_700_000_000_000)
    assert isinstance(error, Retryable) and error.after == 60.0 and error.facts["banned"] is True
    assert refusal(READ, 429, b"", retry_after=7.0).after == 7.0  # type: ignore[attr-defined]


def test_venue_text_is_cut_and_its_control_characters_escaped() -> None:
    shown = str(refusal(READ, 400, json.dumps({"code": -1, "msg": "\x1b[2J" + "a" * 5000}).encode()))
    assert "\x1b" not in shown and len(shown) < 400


# ------------------------------------------------------------ mutated payloads

FILL = {
    "e": "ORDER_TRADE_UPDATE", "E": 2, "T": 1_700_000_000_000,
    "o": {"s": "ETHUSDT", "c": "a-1", "S": "BUY", "o": "MARKET", "f": "GTC", "q": "0.010", "p": "0", "ap": "2000.5",
          "sp": "0", "x": "TRADE", "X": "FILLED", "i": 77, "l": "0.010", "z": "0.010", "L": "2000.50", "N": "USDT",
          "n": "0.01", "T": 1_700_000_000_000, "t": 991, "b": "0", "a": "0", "m": False, "R": False,
          "wt": "CONTRACT_PRICE", "ot": "MARKET", "ps": "BOTH", "cp": False, "rp": "0", "pP": False, "er": "0"},
}  # fmt: skip
ESSENTIAL = set("scSixlLTtNnm")
JUNK: list[Any] = [None, True, -1, 2**70, 1e308, "", "NaN", "x" * 500, "\x00", [], {}, [[]], "1e5", "-0.0", 3.5]


def spoil(value: Any, rng: random.Random) -> Any:
    """The payload with one place replaced, removed or added."""
    copy = json.loads(json.dumps(value))
    spots: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, item in list(items):
            spots.append((node, key))
            walk(item)

    walk(copy)
    if spots:
        node, key = spots[rng.randrange(len(spots))]
        action = rng.randrange(4)
        if action == 0:
            del node[key]
        elif action == 1 and isinstance(node, dict):
            node[f"new{rng.randrange(9)}"] = rng.choice(JUNK)
        else:
            node[key] = rng.choice(JUNK)
    return copy


def spoil_bytes(data: bytes, rng: random.Random) -> bytes:
    """The text cut, doubled, or with bytes changed."""
    action = rng.randrange(4)
    at = rng.randrange(len(data))
    if action == 0:
        return data[:at]
    if action == 1:
        return data[:at] + data[at // 2 :]
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def read_user(data: bytes) -> Any:
    found = user.decode_user(data)
    if isinstance(found.frame, user.OrderTradeUpdate):
        fill = user.fill_of(found.frame.o, user.commission_of(found.frame.o)[1])
        user.order_of_update(found.frame)
        return fill
    if isinstance(found.frame, user.AlgoUpdate):
        return found.frame.order()
    return user.fill_of(found.fill_only, Decimal(0)) if found.fill_only else None


def whole(kind: Any, then: Any) -> Any:
    return lambda data: then(decode(data, kind, "mutated"))


def read_market(data: bytes) -> Any:
    """As the market stream reads a frame, with the errors that it expects."""
    try:
        return streams.event_of(streams.decode_frame(data).data, 1)
    except (msgspec.MsgspecError, ValueError) as error:
        raise DataError(str(error)) from error


MARKET_FRAMES: list[dict[str, Any]] = [
    {"e": "aggTrade", "E": 9, "s": "X", "a": 5, "p": "2", "q": "1", "f": 1, "l": 2, "T": 8, "m": True},
    {"e": "bookTicker", "E": 9, "s": "X", "u": 5, "b": "2", "B": "1", "a": "3", "A": "1", "T": 8},
    {"e": "markPriceUpdate", "E": 9, "s": "X", "p": "2", "i": "2", "P": "2", "r": "0.0001", "T": 28800000},
    {"e": "kline", "E": 3600000, "s": "X",
     "k": {"t": 0, "T": 3599999, "s": "X", "i": "1h", "o": "1", "h": "2", "l": "0.5", "c": "1.5", "v": "10",
           "n": 3, "x": True, "q": "15", "V": "5", "Q": "7"}},
]  # fmt: skip
EXCHANGE_INFO: dict[str, Any] = {"symbols": [{
    "symbol": "X", "status": "TRADING", "contractType": "PERPETUAL", "baseAsset": "B", "quoteAsset": "USDT",
    "marginAsset": "USDT", "liquidationFee": "0.01", "filters": [
        {"filterType": "PRICE_FILTER", "tickSize": "0.01", "minPrice": "0.01", "maxPrice": "1000"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "100"},
        {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "50"},
        {"filterType": "MIN_NOTIONAL", "notional": "5"},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.05", "multiplierDown": "0.95"}]}]}  # fmt: skip


def test_what_is_mutated_is_understood_before() -> None:
    """A sample that is refused as it stands would prove nothing when it is spoilt."""
    for sample, read in SAMPLES:
        understood = read(json.dumps(sample).encode())
        assert understood is not None and (not hasattr(understood, "__len__") or len(understood))


SAMPLES: list[tuple[Any, Any]] = [
    (FILL, read_user),
    ({"orderId": 5, "clientOrderId": "c", "symbol": "X", "side": "BUY", "type": "LIMIT", "status": "NEW",
      "origQty": "1", "executedQty": "0", "price": "2", "updateTime": 9}, whole(trade.OrderReport, trade.order_of)),
    ({"algoId": 5, "clientAlgoId": "c", "symbol": "X", "side": "SELL", "orderType": "STOP_MARKET", "quantity": "1",
      "algoStatus": "FINISHED", "triggerPrice": "2", "actualQty": "1"},
     whole(trade.AlgoReport, trade.order_of_algo)),
    ({"e": "ALGO_UPDATE", "T": 1, "E": 1, "o": {"caid": "x", "aid": 1, "s": "X", "S": "SELL", "o": "STOP_MARKET",
      "X": "NEW", "q": "1", "tp": "9"}}, read_user),
    ({"lastUpdateId": 1, "T": 1, "bids": [["2", "1"]], "asks": [["3", "1"]]},
     whole(market.Depth, lambda d: market.order_book_of("X", d))),
    ([[3600000, "1", "2", "0.5", "1.5", "10", 7199999, "15", 3, "5", "7", "0"]],
     lambda data: market.klines_frame(market.decode_klines(data, "k"), Interval.parse("1h"), None)),
    ([{"symbol": "X", "positionAmt": "-1", "entryPrice": "2", "markPrice": "2", "unRealizedProfit": "0"}],
     whole(list[account.PositionV3], lambda rows: [account.position_of(r, 1) for r in rows])),
    *(({"stream": f"x@{data['e']}", "data": data}, read_market) for data in MARKET_FRAMES),
    (EXCHANGE_INFO, whole(market.ExchangeInfo, lambda told: [instruments.instrument_of(s) for s in told.symbols])),
    ([{"symbol": "X", "fundingTime": 8, "fundingRate": "0.0001", "markPrice": "2"}],
     whole(list[market.FundingRow], list)),
    ({"symbol": "X", "markPrice": "2", "indexPrice": "2", "lastFundingRate": "0.0001", "nextFundingTime": 9},
     whole(market.PremiumIndex, lambda told: told)),
    ({"totalWalletBalance": "5", "totalUnrealizedProfit": "0",
      "assets": [{"asset": "USDT", "walletBalance": "5", "unrealizedProfit": "0", "openOrderInitialMargin": "1"}]},
     whole(account.AccountV3, lambda found: account.account_of(found, [], {}, "USDT", 1))),
]  # fmt: skip


def test_mutated_payloads_give_typed_errors_only_and_no_fill_is_lost() -> None:
    rng = random.Random(5)
    refused = lost = 0
    for _ in range(20_000):
        sample, read = SAMPLES[rng.randrange(len(SAMPLES))]
        broken = spoil(sample, rng) if rng.random() < 0.6 else None
        data = json.dumps(broken).encode() if broken is not None else spoil_bytes(json.dumps(sample).encode(), rng)
        try:
            read(data)
        except DataError:
            refused += 1
        if broken is not None and read is read_user and sample is FILL and isinstance(broken.get("o"), dict):
            same = all(broken["o"].get(k) == FILL["o"][k] for k in ESSENTIAL) and broken.get("e") == FILL["e"]  # type: ignore[index]
            if same:
                found = user.decode_user(data)
                body = found.frame.o if isinstance(found.frame, user.OrderTradeUpdate) else found.fill_only
                fill = user.fill_of(body, Decimal("0.01")) if body is not None else None
                lost += fill is None or fill.trade_id != "991" or fill.quantity != Decimal("0.010")
    assert refused > 5_000 and lost == 0


def test_a_fill_survives_a_report_that_cannot_be_understood() -> None:
    strange = json.loads(json.dumps(FILL))
    strange["o"]["X"] = "HALF_FILLED"
    frame = user.decode_user(json.dumps(strange).encode()).frame
    assert isinstance(frame, user.OrderTradeUpdate)
    fill = user.fill_of(frame.o, Decimal("0.01"))
    assert fill is not None and (fill.trade_id, fill.side) == ("991", Side.BUY)
    with pytest.raises(DataError, match="HALF_FILLED"):
        user.order_of_update(frame)
