"""What a desk remembers for people: decisions, assessments and closed trades. No decision reads them back."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from attrs import define, field, frozen

from ares.instruments import Side
from ares.orders import Fill, Order
from ares.protocols import AnalysisResult, Assessment, Reason, TradePlan

__all__ = ["ClosedTrade", "Decision", "DeskRecords"]


@frozen(kw_only=True)
class Decision:
    """The answer to one closed candle: an opinion, and a plan or the reasons against one."""

    seq: int
    symbol: str
    now_ns: int
    analysis: AnalysisResult
    plan: TradePlan | None
    reasons: tuple[Reason, ...]


@frozen(kw_only=True)
class ClosedTrade:
    """A trade from its first fill to its last; money in the quote asset."""

    trade_id: str
    symbol: str
    side: Side
    quantity: Decimal  # base, entered
    entry_price: Decimal  # quote per base, average
    exit_price: Decimal  # quote per base, average
    opened_ns: int
    closed_ns: int
    gross: Decimal  # quote: price difference times quantity, before costs
    fees: Decimal  # quote, paid
    funding: Decimal  # quote, received; negative is a cost
    exit_reason: str  # code of what closed it
    leverage: int
    planned_risk: Decimal  # quote: quantity times the distance from entry to the first stop

    @property
    def net(self) -> Decimal:
        """Profit after fees and funding, quote."""
        return self.gross - self.fees + self.funding


@define
class DeskRecords:
    """Bounded memories; `limit` None keeps everything, as a backtest wants."""

    limit: int | None = 10_000
    decisions: deque[Decision] = field(init=False)
    assessments: deque[Assessment] = field(init=False)
    trades: deque[ClosedTrade] = field(init=False)
    orders: dict[str, Order] = field(init=False, factory=dict)
    fills: deque[Fill] = field(init=False)
    closed_trades: int = field(init=False, default=0)
    orders_sent: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.decisions = deque(maxlen=self.limit)
        self.assessments = deque(maxlen=self.limit)
        self.trades = deque(maxlen=self.limit)
        self.fills = deque(maxlen=self.limit)

    def order(self, order: Order) -> None:
        """Keep the newest report of an order; one that comes late, or after the order's end, changes nothing."""
        known = self.orders.get(order.order_id)
        late = known is not None and (order.updated_ns, order.filled) < (known.updated_ns, known.filled)
        if late or (known is not None and known.status.terminal):
            return
        self.orders[order.order_id] = order
        if self.limit is not None and len(self.orders) > self.limit:
            del self.orders[next(iter(self.orders))]

    def trade(self, trade: ClosedTrade) -> None:
        """Keep a closed trade and count it."""
        self.trades.append(trade)
        self.closed_trades += 1
