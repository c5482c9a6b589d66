"""Public market data of the local venue."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ares.errors import InvalidInput, Rejected
from ares.exchange.wire.market import (
    AggTradeRow,
    BookTicker,
    ExchangeInfo,
    Filter,
    FundingRow,
    OpenInterest,
    PremiumIndex,
    PriceTicker,
    RateLimit,
    ServerTime,
    SymbolInfo,
)
from ares.exchange.wire.numbers import MS
from ares.instruments import Instrument, Interval
from ares.simulation.server.algo import TRIGGER_PROTECT
from ares.simulation.server.asked import chosen, limit_of, ms_of, state_of, symbol_of
from ares.simulation.server.calls import Call
from ares.simulation.server.frames import LADDER, intervals_of
from ares.simulation.server.limits import MOST_CONDITIONAL, MOST_ORDERS
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.reading import IN_FORCE, KINDS
from ares.simulation.server.statistics import recorded
from ares.simulation.server.tickers import day_of


def ping(venue: LocalVenue, call: Call) -> Any:
    return {}


def time(venue: LocalVenue, call: Call) -> ServerTime:
    return ServerTime(server_time=call.now_ns // MS)


def exchange_info(venue: LocalVenue, call: Call) -> ExchangeInfo:
    limits = venue.limits
    return ExchangeInfo(
        server_time=call.now_ns // MS,
        rate_limits=[
            RateLimit(
                rate_limit_type="REQUEST_WEIGHT", interval="MINUTE", interval_num=1, limit=limits.weight_per_minute
            ),
            RateLimit(rate_limit_type="ORDERS", interval="MINUTE", interval_num=1, limit=limits.orders_per_minute),
            RateLimit(rate_limit_type="ORDERS", interval="SECOND", interval_num=10, limit=limits.orders_per_10s),
        ],
        assets=[{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        symbols=[_info(i) for i in venue.instruments.values()],
    )


def _info(i: Instrument) -> SymbolInfo:
    least, step = str(i.min_quantity), str(i.lot_step)
    return SymbolInfo(
        symbol=i.symbol,
        pair=i.symbol,
        status="TRADING" if i.trading else "SETTLING",
        base_asset=i.base_asset,
        quote_asset=i.quote_asset,
        margin_asset=i.quote_asset,
        liquidation_fee=str(i.liquidation_fee),
        price_precision=_places(i.tick_size),
        quantity_precision=_places(i.lot_step),
        order_types=list(KINDS),
        time_in_force=list(IN_FORCE),
        trigger_protect=str(TRIGGER_PROTECT),
        filters=[
            Filter(
                filter_type="PRICE_FILTER",
                tick_size=str(i.tick_size),
                min_price=str(i.min_price or i.tick_size),
                max_price=str(i.max_price if i.max_price is not None else 10_000_000),
            ),
            Filter(filter_type="LOT_SIZE", max_qty=str(i.max_quantity), min_qty=least, step_size=step),
            Filter(
                filter_type="MARKET_LOT_SIZE", max_qty=str(i.max_market_quantity), min_qty=least, step_size=step
            ),
            Filter(filter_type="MAX_NUM_ORDERS", limit=MOST_ORDERS),
            Filter(filter_type="MAX_NUM_ALGO_ORDERS", limit=MOST_CONDITIONAL),
            Filter(filter_type="MIN_NOTIONAL", notional=str(i.min_notional)),
            Filter(
                filter_type="PERCENT_PRICE",
                multiplier_up=str(i.band_up),
                multiplier_down=str(i.band_down),
                multiplier_decimal="4",
            ),
        ],
    )


def _places(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def klines(venue: LocalVenue, call: Call) -> Any:
    return _bars(venue, call, symbol_of(venue, call), venue.market.klines)


def continuous_klines(venue: LocalVenue, call: Call) -> Any:
    """Perpetual contracts are all there is."""
    if call.need("contractType").upper() != "PERPETUAL":
        raise Rejected("Invalid contract type.", code=-4104)
    return _bars(venue, call, _pair_of(venue, call), venue.market.klines)


def mark_klines(venue: LocalVenue, call: Call) -> Any:
    return _bars(venue, call, symbol_of(venue, call), venue.market.mark_klines)


def index_klines(venue: LocalVenue, call: Call) -> Any:
    """The index is the mark price here."""
    return _bars(venue, call, _pair_of(venue, call), venue.market.mark_klines)


def premium_klines(venue: LocalVenue, call: Call) -> Any:
    """Mark and index are one, so the premium is nothing."""
    rows = _bars(venue, call, symbol_of(venue, call), venue.market.mark_klines)
    return [[row[0], *["0.00000000"] * 4, *row[5:]] for row in rows]


def _pair_of(venue: LocalVenue, call: Call) -> str:
    pair = call.need("pair")
    if pair not in venue.instruments:
        raise Rejected("Invalid pair.", code=-4144)
    return pair


def _bars(venue: LocalVenue, call: Call, symbol: str, made: Callable[..., list[list[Any]]]) -> list[list[Any]]:
    try:
        interval = Interval.parse(call.need("interval"))
    except InvalidInput:
        raise Rejected("Invalid interval.", code=-1120) from None
    if interval.ns not in {known.ns for known in intervals_of(venue.market)}:
        raise Rejected("Invalid interval.", code=-1120)
    limit = call.number("limit", 500) or 500
    if not 1 <= limit <= 1500:
        raise Rejected("Parameter 'limit' is out of range.", code=-1130)
    start, end = call.number("startTime"), call.number("endTime")
    if start is not None and end is not None and start > end:
        raise Rejected("Start time is greater than end time.", code=-1023)
    forming = venue.market.pace.speed <= 1  # a faster market lies in the past: its forming bar would look complete
    return made(symbol, interval.ns, limit, start, end, forming=forming)


def depth(venue: LocalVenue, call: Call) -> Any:
    state = state_of(venue, call)
    limit = call.number("limit", 500) or 500
    if limit not in (5, 10, 20, 50, 100, 500, 1000):
        raise Rejected(f"{limit} is not valid depth limit", code=-4021)
    bids, asks = venue.market.ladder(call.params["symbol"], venue.config.slippage, min(limit, LADDER))
    ms = call.now_ns // MS
    return {"lastUpdateId": state.update_id, "E": ms, "T": ms, "bids": bids, "asks": asks}


def agg_trades(venue: LocalVenue, call: Call) -> Any:
    state = state_of(venue, call)
    limit = limit_of(call, 500)
    start, end, first = call.number("startTime"), call.number("endTime"), call.number("fromId")
    rows = [
        t
        for t in state.trades
        if (start is None or t[3] >= start) and (end is None or t[3] <= end) and (first is None or t[0] >= first)
    ]
    rows = rows[:limit] if first is not None or start is not None else rows[-limit:]
    i = state.instrument
    return [
        AggTradeRow(
            agg_id=number,
            price=str(i.price(price)),
            quantity=(amount := str(i.quantity(size, market=False) or i.lot_step)),
            normal_quantity=amount,
            first_id=number,
            last_id=number,
            time_ms=ms,
            buyer_is_maker=maker,
        )
        for number, price, size, ms, maker in rows
    ]


def trades(venue: LocalVenue, call: Call) -> Any:
    return [
        {"id": t.agg_id, "price": t.price, "qty": t.quantity, "quoteQty": str(Decimal(t.price) * Decimal(t.quantity)),
         "time": t.time_ms, "isBuyerMaker": t.buyer_is_maker, "isRPITrade": False}
        for t in agg_trades(venue, call)
    ]  # fmt: skip


def premium_index(venue: LocalVenue, call: Call) -> Any:
    symbols, one = chosen(venue, call)
    ms = call.now_ns // MS
    rows = []
    for symbol in symbols:
        state = venue.market.symbols[symbol]
        price = str(state.instrument.price(state.mark))
        rate, due_ns = venue.market.funding(state, call.now_ns)
        rows.append(
            PremiumIndex(
                symbol=symbol,
                mark_price=price,
                index_price=price,
                estimated_settle_price=price,
                last_funding_rate=format(rate, "f"),
                interest_rate="0.00010000",
                next_funding_time=due_ns // MS,
                time=ms,
            )
        )
    return rows[0] if one else rows


def funding_rate(venue: LocalVenue, call: Call) -> Any:
    state = state_of(venue, call)
    limit = limit_of(call, 100)
    start, end = call.number("startTime"), call.number("endTime")
    rows = [
        FundingRow(
            symbol=call.params["symbol"],
            funding_rate=format(rate, "f"),
            funding_time=at // MS,
            mark_price=str(state.instrument.price(mark)) if mark > 0 else "",
        )
        for at, rate, mark in venue.market.settled(state)
        if (start is None or at // MS >= start) and (end is None or at // MS <= end)
    ]
    return rows[:limit] if start is not None else rows[-limit:]


def funding_info(venue: LocalVenue, call: Call) -> Any:
    return []


def open_interest(venue: LocalVenue, call: Call) -> OpenInterest:
    """What the tape recorded last, else what the accounts of this venue hold."""
    symbol = symbol_of(venue, call)
    rows = recorded(venue, symbol, "open_interest")
    held = sum((abs(t.venue.position(symbol).quantity) for t in venue.traders.values()), Decimal(0))
    known = Decimal(repr(rows[-1][1])) if rows else held
    return OpenInterest(symbol=symbol, open_interest=format(known, "f"), time=ms_of(call))


def book_ticker(venue: LocalVenue, call: Call) -> Any:
    symbols, one = chosen(venue, call)
    rows = []
    for symbol in symbols:
        bids, asks = venue.market.ladder(symbol, venue.config.slippage, 1)
        rows.append(
            BookTicker(
                symbol=symbol,
                bid_price=bids[0][0],
                bid_qty=bids[0][1],
                ask_price=asks[0][0],
                ask_qty=asks[0][1],
                time=ms_of(call),
            )
        )
    return rows[0] if one else rows


def price_ticker(venue: LocalVenue, call: Call) -> Any:
    symbols, one = chosen(venue, call)
    rows = [
        PriceTicker(symbol=s, price=str(state.instrument.price(state.last)), time=ms_of(call))
        for s, state in ((s, venue.market.symbols[s]) for s in symbols)
    ]
    return rows[0] if one else rows


def day_ticker(venue: LocalVenue, call: Call) -> Any:
    symbols, one = chosen(venue, call)
    rows = [day_of(venue.market, symbol, ms_of(call)) for symbol in symbols]
    return rows[0] if one else rows


def no_rows(venue: LocalVenue, call: Call) -> Any:
    """There are no composite indices and no assets that stand for another."""
    return []


def constituents(venue: LocalVenue, call: Call) -> Any:
    return {"symbol": symbol_of(venue, call), "time": ms_of(call), "constituents": []}


def adl_risk(venue: LocalVenue, call: Call) -> Any:
    """Nobody is deleveraged here."""
    symbols, one = chosen(venue, call)
    rows = [{"symbol": s, "adlRisk": "low", "updateTime": ms_of(call)} for s in symbols]
    return rows[0] if one else rows
