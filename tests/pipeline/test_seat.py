"""What the desk knows of one symbol: the last price keeps up with whatever is told."""

from __future__ import annotations

from ares.events import AggTrades, BookTop
from ares.features.orchestrator import FeatureOrchestrator
from ares.market import AggTrade
from ares.pipeline.seat import Seat

S = "ETHUSDT"


def quote(bid: float, ask: float) -> BookTop:
    return BookTop(ts_event=1, ts_seen=1, symbol=S, bid=bid, ask=ask, bid_quantity=1.0, ask_quantity=1.0)


def trades(*prices: float) -> AggTrades:
    made = [
        AggTrade(symbol=S, agg_id=n, ts_ns=1, price=price, quantity=1.0, buyer_is_maker=False)
        for n, price in enumerate(prices)
    ]
    return AggTrades(ts_event=1, ts_seen=1, symbol=S, trades=tuple(made))


def test_the_last_price_moves_with_the_quotes_and_with_trades_once_they_are_told() -> None:
    seat = Seat(S, FeatureOrchestrator().stream(S, "1h"))
    for bid in (2000.0, 2100.0, 2200.0):
        seat.quoted(quote(bid, bid + 2.0))
        assert seat.ticker is not None and seat.ticker.last == bid + 1.0
    seat.saw_trades(trades(2210.0, 2211.0))
    seat.saw_trades(trades())
    seat.quoted(quote(2212.0, 2214.0))
    assert seat.ticker is not None and seat.ticker.last == 2211.0


def test_prices_from_before_a_gap_are_forgotten() -> None:
    """After a restart bars are read that closed meanwhile: what was told before them is no price to trade at."""
    seat = Seat(S, FeatureOrchestrator().stream(S, "1h"))
    seat.mark = 2000.0
    seat.saw_trades(trades(2000.0))
    seat.quoted(quote(1999.0, 2001.0))
    seat.was_away()
    view = seat.market(1)
    assert view.mark_price is None and view.ticker is None
    seat.quoted(quote(2500.0, 2502.0))
    assert seat.ticker is not None and seat.ticker.last == 2501.0
