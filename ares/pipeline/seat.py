"""What the desk knows of one symbol."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from ares.errors import InvalidInput
from ares.events import AggTrades, BookTop, Event, Funding
from ares.instruments import Instrument, Interval
from ares.market import Candle, FundingRate, MarketView, Ticker
from ares.protocols import AnalysisResult, FeatureRow, FeatureStream

__all__ = ["Seat", "statistics_since"]

_DAY_NS = 86_400_000_000_000


def statistics_since(open_ns: int, interval: Interval) -> int:
    """From when on statistics are asked for, so that the bar that opens at `open_ns` knows what is still fresh."""
    return open_ns - max(_DAY_NS, interval.ns)


@define
class Seat:
    """One symbol's features, market and latest opinion. A part that nobody told yet is None."""

    symbol: str
    stream: FeatureStream
    instrument: Instrument | None = None
    leverage: int | None = None
    candle: Candle | None = None
    mark: float | None = None
    ticker: Ticker | None = None
    traded: float | None = None  # price of the newest trade told of
    funding: FundingRate | None = None
    row: FeatureRow | None = None
    analysis: AnalysisResult | None = None
    dirty: bool = False  # something the monitor looks at has changed since its last look
    looked_ns: int | None = None

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of market events that the features are made of besides candles: agg_trades, book_top, futures."""
        return frozenset(getattr(self.stream, "kinds", ()))

    @property
    def hears(self) -> Callable[[Event], None] | None:
        """How to tell the features of a market event; None when they listen to none."""
        return getattr(self.stream, "observe", None)

    def saw_trades(self, event: AggTrades) -> None:
        """Others have traded."""
        if event.trades:
            self.traded = event.trades[-1].price

    def quoted(self, event: BookTop) -> None:
        """The best quotes changed. Where nobody tells of trades, the last price is taken to lie between them."""
        self.ticker = Ticker(
            symbol=event.symbol,
            ts_ns=event.ts_event,
            bid=event.bid,
            ask=event.ask,
            bid_quantity=event.bid_quantity,
            ask_quantity=event.ask_quantity,
            last=self.traded if self.traded is not None else (event.bid + event.ask) / 2,
        )

    def was_away(self) -> None:
        """Bars have closed unheard: prices told before them are not the market's any more."""
        self.mark = self.ticker = self.traded = None

    def funded(self, event: Funding) -> None:
        """Funding settled; news of an earlier settlement is no news."""
        if self.funding is not None and event.ts_event < self.funding.ts_ns:
            return
        self.funding = FundingRate(
            symbol=event.symbol, ts_ns=event.ts_event, rate=event.rate, mark_price=event.mark_price
        )

    def known_instrument(self) -> Instrument:
        """The instrument. Raises InvalidInput before the venue's first snapshot."""
        if self.instrument is None:
            raise InvalidInput("the first event of a session must be a VenueSnapshot", symbol=self.symbol)
        return self.instrument

    def market(self, now_ns: int) -> MarketView:
        """The market as stages see it."""
        return MarketView(
            symbol=self.symbol,
            now_ns=now_ns,
            candle=self.candle,
            mark_price=self.mark,
            ticker=self.ticker,
            funding=self.funding,
        )
