"""One trade on the desk's books, from its plan to its last fill."""

from __future__ import annotations

from decimal import Decimal

from attrs import define, field

from ares.instruments import Side
from ares.orders import Fill
from ares.pipeline.backoff import Backoff
from ares.pipeline.records import ClosedTrade
from ares.protocols import OpenTrade, Target, TradePlan

__all__ = ["Trade"]

_RETRY_NS = 1_000_000_000  # the first wait after a refused exit or stop


@define
class Trade:
    """The desk's mutable memory of a trade; stages see it as the frozen `OpenTrade`."""

    plan: TradePlan
    opened_ns: int | None = None  # first fill; None while the entry waits
    entered: Decimal = Decimal(0)  # base
    exited: Decimal = Decimal(0)  # base
    entry_value: Decimal = Decimal(0)  # quote: sum of price * quantity
    exit_value: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)
    stop_price: Decimal | None = None  # trigger of the acknowledged stop; None: unprotected
    wanted_stop: Decimal = field(init=False)  # where the stop should rest
    protect_by_ns: int | None = None  # unprotected beyond this moment: close; None: protected or flat
    stops: Backoff = field(factory=lambda: Backoff(_RETRY_NS))  # after stops that were refused or lost
    targets: tuple[Target, ...] = field(init=False)
    targets_taken: int = 0
    taking: int = 0  # targets that the working TARGET order takes
    best_price: float | None = None
    exit_reason: str = ""  # of the order that sold last
    closing: str = ""  # why all of it is being sold; "": it is held
    insisted: bool = False  # `closing` is the desk's or a person's word: no refusal and no later fill undoes it
    excess: Decimal = Decimal(0)  # base, held beyond the plan because an order traded more than it should: to be sold
    exits: Backoff = field(factory=lambda: Backoff(_RETRY_NS))  # after exits that came to nothing
    recalled: bool = False  # what has not filled of the entry is not wanted any more
    fills_by_ns: int | None = None  # promised fills are waited for until then; None: none are missing
    retry_ns: int | None = None  # the `retry` wake that was asked for; None: none

    def __attrs_post_init__(self) -> None:
        self.wanted_stop = self.plan.stop
        self.targets = self.plan.targets

    @property
    def trade_id(self) -> str:
        """Id of the first intent."""
        return self.plan.trade_id

    @property
    def symbol(self) -> str:
        """The instrument's symbol."""
        return self.plan.symbol

    @property
    def side(self) -> Side:
        """Long or short."""
        return self.plan.side

    @property
    def held(self) -> Decimal:
        """Base quantity still held. Below 0 only when others have sold more than we held."""
        return self.entered - self.exited

    @property
    def entry_price(self) -> Decimal:
        """Average entry, quote per base; 0 before the first fill."""
        return self.entry_value / self.entered if self.entered else Decimal(0)

    def book(self, fill: Fill) -> None:
        """Take one of the trade's fills."""
        self.fees += fill.fee
        if fill.side is self.side:
            self.opened_ns = fill.ts_ns if self.opened_ns is None else self.opened_ns
            self.entered += fill.quantity
            self.entry_value += fill.quantity * fill.price
        else:
            self.exited += fill.quantity
            self.exit_value += fill.quantity * fill.price

    def saw(self, mark: float) -> None:
        """Take a mark price: the best one seen feeds trailing stops."""
        if self.opened_ns is not None:
            better = self.best_price is None or (mark - self.best_price) * self.side.sign > 0
            self.best_price = mark if better else self.best_price

    def view(self) -> OpenTrade:
        """The trade as stages see it."""
        assert self.opened_ns is not None  # a trade is shown to stages only once it holds something
        return OpenTrade(
            trade_id=self.trade_id,
            symbol=self.symbol,
            side=self.side,
            quantity=self.held,
            initial_quantity=self.entered,
            entry_price=self.entry_price,
            opened_ns=self.opened_ns,
            stop=self.stop_price,
            initial_stop=self.plan.stop,
            targets=self.targets,
            targets_taken=self.targets_taken,
            exit_by_ns=self.plan.exit_by_ns,
            best_price=self.best_price,
        )

    def closed(self, now_ns: int) -> ClosedTrade:
        """The record of the finished trade."""
        sign = self.side.sign
        gross = self.exit_value - self.entry_value
        if self.exited != self.entered:  # others sold more than we held: the surplus is not this trade's
            gross = (self.exit_value / self.exited - self.entry_price) * self.entered
        return ClosedTrade(
            trade_id=self.trade_id,
            symbol=self.symbol,
            side=self.side,
            quantity=self.entered,
            entry_price=self.entry_price,
            exit_price=self.exit_value / self.exited,
            opened_ns=self.opened_ns if self.opened_ns is not None else now_ns,
            closed_ns=now_ns,
            gross=sign * gross,
            fees=self.fees,
            funding=self.funding,
            exit_reason=self.exit_reason,
            leverage=self.plan.leverage,
            planned_risk=abs(self.entry_price - self.plan.stop) * self.entered,
        )
