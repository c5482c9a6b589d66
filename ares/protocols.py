"""What the parts of a bot promise each other: exchanges, and the four stages.

A stage is one async verb with typed values in and one typed value out. The reference stages add a plain twin of the
verb, which the desk calls directly; a stage with only the async verb is run by the shell around the desk.
The values that pass between stages live in `ares.values` and are offered here too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from attrs import field, frozen
from attrs.validators import deep_iterable, in_

from ares.account import Account, Position
from ares.events import Event
from ares.instruments import Instrument, Side
from ares.market import AggTrade, Candle, FuturesData, OrderBook, Ticker
from ares.orders import Order, OrderType, TimeInForce
from ares.values import (
    Action,
    AnalysisInput,
    AnalysisResult,
    Assessment,
    AssessmentInput,
    FeatureRow,
    HealthView,
    Leg,
    Limits,
    LiquidationView,
    OpenTrade,
    Reason,
    RegimeView,
    TacticsInput,
    TacticsResult,
    Target,
    TechnicalView,
    TradePlan,
)

if TYPE_CHECKING:
    import datetime as dt

    import pandas as pd

__all__ = [
    "Action",
    "AnalysisInput",
    "AnalysisResult",
    "AnalysisStage",
    "Assessment",
    "AssessmentInput",
    "Capabilities",
    "Exchange",
    "FeatureRow",
    "FeatureStage",
    "FeatureStream",
    "HealthView",
    "Leg",
    "Limits",
    "LiquidationView",
    "MarketData",
    "MarketObserver",
    "MonitoringStage",
    "OpenTrade",
    "Reason",
    "RegimeView",
    "Streams",
    "TacticsInput",
    "TacticsResult",
    "TacticsStage",
    "Target",
    "TechnicalView",
    "TradePlan",
    "Trading",
]


# ---------------------------------------------------------------- the four stages


class FeatureStream(Protocol):
    """Features bar by bar; the same numbers as the batch, bit for bit."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns of its rows, in order."""
        ...

    @property
    def warmup(self) -> int:
        """Leading bars whose rows are not ready."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes with whatever changes a number: names, order, parameters, kernels. A model is tied to it."""
        ...

    def update(self, candle: Candle) -> FeatureRow:
        """Take one closed bar and give its row. Raises DataError when the bar is not newer than the last."""
        ...


@runtime_checkable
class MarketObserver(Protocol):
    """What a feature stream offers besides when its rows are made of more than candles."""

    @property
    def kinds(self) -> frozenset[str]:
        """What it needs to be told: of agg_trades, book_top, futures."""
        ...

    def observe(self, event: Event) -> None:
        """Take a market event of its symbol, or the market's `LinkChanged`.

        What comes after a bar's `CandleClosed` never changes that bar's row.
        """
        ...


class FeatureStage(Protocol):
    """Turns market data into features that know nothing later than their own row."""

    async def generate_all_features(
        self,
        klines_df: pd.DataFrame,
        agg_trades_df: pd.DataFrame | None = None,
        futures_df: pd.DataFrame | None = None,
        sr_levels: Sequence[float] | None = None,
    ) -> pd.DataFrame:
        """One row a kline, indexed by open time, known at the close time; NaN until warm."""
        ...

    def stream(self, symbol: str, interval: str) -> FeatureStream:
        """A fresh stream for one symbol."""
        ...


class AnalysisStage(Protocol):
    """Turns a feature row into an opinion.

    With the plain twin `analyze` it hears of every bar, of history too. With only this verb it hears of history when
    it has an attribute `needs_history` that is true: a stage that learns from what it sees must say so.
    """

    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        """The opinion at `given.now_ns`; `side=None` abstains, and the last reason says why."""
        ...


class TacticsStage(Protocol):
    """Turns an opinion into a plan, or refuses with reasons."""

    async def execute_tactics(self, given: TacticsInput) -> TacticsResult:
        """A plan whose orders pass the instrument's filters and the account can bear, or None, and the reasons."""
        ...


class MonitoringStage(Protocol):
    """Judges an open position; pure."""

    def assess_position(self, given: AssessmentInput) -> Assessment:
        """What to do with the position; the same input gives the same verdict, whatever was asked before."""
        ...


# ---------------------------------------------------------------- exchanges

_STREAMS = frozenset({"candles", "mark_price", "book_top", "agg_trades", "funding", "futures", "account"})
_VERBS = frozenset({"amend_order", "cancel_all_orders", "cancel_all_after"})


@frozen(kw_only=True)
class Capabilities:
    """What a venue can do. What it cannot stream is polled; without `stop_orders` live trading is refused."""

    name: str
    trading: bool = True
    stop_orders: bool = True
    streams: frozenset[str] = field(default=frozenset({"candles"}), validator=deep_iterable(in_(_STREAMS)))
    on_request: frozenset[str] = field(default=frozenset(), validator=deep_iterable(in_(_STREAMS)))  # told when asked
    real_money: bool = False
    verbs: frozenset[str] = field(default=frozenset(), validator=deep_iterable(in_(_VERBS)))  # beyond the protocol


class MarketData(Protocol):
    """Read-only market data; enough for paper trading.

    Each method raises InvalidInput for a symbol, interval or limit that does not exist, and Retryable when the venue
    cannot be reached now.
    """

    async def get_klines(
        self,
        symbol: str,
        interval: str,
        limit: int = 500,
        *,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        closed_only: bool = True,
    ) -> pd.DataFrame:
        """The last `limit` klines (the first ones from `start` on), oldest first, as a klines frame.

        start, end: of open times, both included. The forming candle only if asked for.
        """
        ...

    async def get_ticker(self, symbol: str) -> Ticker:
        """The best quotes and the last price now."""
        ...

    async def get_order_book(self, symbol: str, limit: int = 20) -> OrderBook:
        """At most `limit` levels a side, best first."""
        ...

    async def get_agg_trades(
        self, symbol: str, limit: int = 500, *, start: dt.datetime | None = None, end: dt.datetime | None = None
    ) -> tuple[AggTrade, ...]:
        """The last `limit` aggregated trades (the first ones from `start` on), oldest first; empty: it keeps none."""
        ...

    async def get_futures_data(self, symbol: str, limit: int = 100) -> FuturesData:
        """The last `limit` settled funding rates, and mark price, index price and open interest now."""
        ...

    async def get_instrument(self, symbol: str) -> Instrument:
        """The contract: filters, margin tiers, fees."""
        ...


class Trading(Protocol):
    """Orders and account.

    Each method raises Rejected, with the venue's code, when the venue proved that it did not act; OutcomeUnknown when
    an answer was lost, so that nobody can say (never send it again, ask); Retryable when nothing left or the venue asks
    to wait; NotAuthorized when the key lacks the right.
    """

    async def create_order(
        self,
        symbol: str,
        side: Side | str,
        order_type: OrderType | str,
        quantity: Decimal | float | str,
        *,
        price: Decimal | float | str | None = None,
        stop_price: Decimal | float | str | None = None,
        reduce_only: bool = False,
        time_in_force: TimeInForce | str | None = None,
        client_order_id: str | None = None,
    ) -> Order:
        """Send one order, once; the venue's acknowledgement, which may still be unfilled.

        quantity: base. price: of a limit order, stop_price: trigger of a conditional one, both quote per base.
        reduce_only: never opens or turns a position. client_order_id: yours, unique among open orders; None: made here.
        Raises: InvalidInput before anything is sent, for what no venue would understand; otherwise as the class says.
        """
        ...

    async def cancel_order(
        self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None
    ) -> Order:
        """Cancel an open order, named by one of its ids; its last state. Raises Rejected when it is not open."""
        ...

    async def get_order(self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Order:
        """An order's present state, named by one of its ids. Raises Rejected when the venue knows none."""
        ...

    async def wait_filled(self, order: Order, timeout: float | None = None) -> Position:
        """Wait until the order has filled and give the position.

        timeout: seconds; None waits as long as it takes.
        Raises: Rejected when it ends unfilled, Retryable when the time is over.
        """
        ...

    async def get_open_orders(self, symbol: str | None = None) -> tuple[Order, ...]:
        """Normal and conditional orders; None: of all symbols."""
        ...

    async def get_account(self) -> Account:
        """Money and positions, in the account's one quote asset."""
        ...

    async def get_positions(self, symbol: str | None = None) -> tuple[Position, ...]:
        """Those that are not flat; None: of all symbols."""
        ...

    async def set_leverage(self, symbol: str, leverage: int) -> int:
        """The leverage that the venue confirms."""
        ...

    async def set_margin_mode(self, symbol: str, mode: str) -> str:
        """mode: "isolated" or "cross". The one that the venue confirms; having it already is no error."""
        ...


class Streams(Protocol):
    """Live events, as async iterators."""

    def stream_market(self, symbols: Sequence[str], interval: str, kinds: Collection[str] = ()) -> AsyncIterator[Event]:
        """Candles and what else `capabilities.streams` names.

        kinds: what features need besides, of agg_trades, book_top, futures; see `capabilities.on_request`. Raises
        InvalidInput for one that cannot be told. Only passed when a feature asks for it.
        """
        ...

    def stream_account(self) -> AsyncIterator[Event]:
        """A `VenueSnapshot`, then every `OrderUpdate` and every `FillBooked`, each fill once, also after a break."""
        ...


@runtime_checkable
class Exchange(MarketData, Trading, Streams, Protocol):
    """A venue: market data, trading and streams; an async context manager."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; asked before it is entered."""
        ...

    def get_exchange_status(self) -> Mapping[str, object]:
        """How it is now, given without waiting."""
        ...

    async def close(self) -> None:
        """Let go of connections; a second call does nothing. Orders and positions stay as they are."""
        ...

    async def __aenter__(self) -> Exchange: ...
    async def __aexit__(self, *exc: object) -> None: ...
