"""What the desk knows of one symbol."""

from __future__ import annotations

from attrs import define

from ares.errors import InvalidInput
from ares.instruments import Instrument
from ares.market import Candle, FundingRate, MarketView, Ticker
from ares.protocols import AnalysisResult, FeatureRow, FeatureStream

__all__ = ["Seat"]


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
    funding: FundingRate | None = None
    row: FeatureRow | None = None
    analysis: AnalysisResult | None = None
    dirty: bool = False  # something the monitor looks at has changed since its last look
    looked_ns: int | None = None

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
