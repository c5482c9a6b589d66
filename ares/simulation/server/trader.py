"""One account at the local venue: a `Venue` behind the wire's numbers, ids and reports.

Conditional orders live at the algo service, in an id space of their own. When one triggers, an order of the engine
trades for it and both are reported, as the real venue does.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
from attrs import define, field

from ares.account import Position
from ares.events import FillBooked, OrderUpdate
from ares.exchange.signing import Signer, signer_for
from ares.exchange.wire.account import AccountV3, Income, PositionV3, SymbolConfig
from ares.exchange.wire.numbers import MS
from ares.exchange.wire.trade import AlgoReport, OrderReport, UserTrade
from ares.exchange.wire.user import (
    AccountBody,
    AccountUpdate,
    AlgoUpdate,
    Balance,
    MarginCall,
    OrderTradeUpdate,
    OrderUpdateBody,
    PositionUpdate,
    TradeLite,
    TriggerReject,
    TriggerRejectBody,
)
from ares.instruments import Instrument
from ares.orders import Fill, Order
from ares.secret import Secret
from ares.simulation.server import reports
from ares.simulation.server.algo import AlgoService, Conditional
from ares.simulation.server.terms import Wish
from ares.simulation.venue import Venue

__all__ = ["Trader"]

_KEPT = 50_000  # orders and trades an account remembers
_CALLED = Decimal("0.8")  # of a position's margin that maintenance takes when its owner is warned


@define(eq=False)
class Trader:
    """One account. `tell` gets every private frame, as bytes."""

    key: str
    venue: Venue
    signer: Signer
    tell: Callable[[bytes], None]
    shout: Callable[[dict[str, Any]], None] = lambda order: None  # told of every liquidation
    may_withdraw: bool = False  # what the venue says of the key
    margin_type: dict[str, str] = field(factory=dict)  # ISOLATED where it was never set
    hedge: bool = False  # a mode that is remembered and in which no order is taken
    multi_assets: bool = False
    trades: list[UserTrade] = field(factory=list)
    income: list[Income] = field(factory=list)
    amendments: list[dict[str, Any]] = field(factory=list)
    forced: list[dict[str, Any]] = field(factory=list)  # orders by which the venue closed a position
    listen_key: str = ""
    listen_until_ns: int = 0
    listen_keys: int = 0
    algo: AlgoService = field(init=False)
    _placed: list[tuple[str, str]] = field(factory=list)  # symbol and id of every order of the engine
    _good_till: dict[str, int] = field(factory=dict)  # by order id, ms
    _ending: dict[str, int] = field(factory=dict)  # those of them that may still be open
    _countdowns: dict[str, int] = field(factory=dict)  # when a symbol's orders are cancelled, ns of the clock
    _realised_by: dict[str, Decimal] = field(factory=dict)  # as reported so far, by symbol
    _held: dict[str, tuple[Decimal, Decimal, Decimal]] = field(factory=dict)  # positions as told last
    _lots: dict[str, int] = field(factory=dict)  # signed, before the trade that is told next
    _called: set[str] = field(factory=set)  # symbols whose owner was warned and is still in danger

    def __attrs_post_init__(self) -> None:
        self.algo = AlgoService(self.venue, self._tell_algo)

    @classmethod
    def open(cls, key: str, secret: Secret, venue: Venue, tell: Callable[[bytes], None]) -> Trader:
        """An account with this key."""
        return cls(key=key, venue=venue, signer=signer_for(secret), tell=tell)

    # ------------------------------------------------------------ orders

    def place(self, wish: Wish) -> Order:
        """Send an order to the engine. Raises Rejected."""
        order = self.venue.submit(wish.request, wish.own_id)
        self._remember(order, wish.good_till_ms)
        self.report()
        return order

    def find(self, symbol: str, order_id: str | None, client_id: str | None) -> Order:
        """An order of the engine. Raises Rejected -2013."""
        return self.venue.get_order(symbol, order_id, client_order_id=client_id)

    def cancel(self, order: Order) -> Order:
        """Cancel an order of the engine. Raises Rejected -2011."""
        done = self.venue.cancel(order.symbol, order.order_id)
        self.report()
        return done

    def busy(self, symbol: str | None = None) -> bool:
        """Whether any order of either kind is open."""
        return bool(self.venue.open_orders(symbol) or self.algo.waiting(symbol))

    def countdown(self, symbol: str, until_ns: int | None) -> None:
        """Cancel the symbol's normal orders at this time unless told again before; None: do not."""
        self._countdowns.pop(symbol, None)
        if until_ns is not None:
            self._countdowns[symbol] = until_ns

    def count_down(self, now_ns: int) -> None:
        """Cancel what nobody has kept alive."""
        for symbol in [s for s, until in self._countdowns.items() if now_ns >= until]:
            del self._countdowns[symbol]
            for order in self.venue.open_orders(symbol):
                self.cancel(order)

    def amend(self, order: Order, quantity: Decimal, price: Decimal, modify_id: int | None = None) -> Order:
        """Give an open limit order another size and price. modify_id: what the account calls it. Raises Rejected."""
        done = self.venue.amend(order.symbol, order.order_id, quantity=quantity, price=price)
        self.report()
        change = {
            "price": {"before": str(order.price), "after": str(price)},
            "origQty": {"before": str(order.quantity), "after": str(quantity)},
            "count": 1 + sum(a["clientOrderId"] == order.client_order_id for a in self.amendments),
            "modifyId": modify_id or 0,
        }
        self.amendments.append(
            {"amendmentId": len(self.amendments) + 1, "symbol": order.symbol, "pair": order.symbol,
             "orderId": int(order.order_id), "clientOrderId": order.client_order_id, "time": self._ms,
             "amendment": change}
        )  # fmt: skip
        return done

    def all_orders(self, symbol: str | None) -> list[Order]:
        """Every order of the engine, of the symbol or of all, open or not."""
        return [self.venue.get_order(s, number) for s, number in self._placed if symbol in (None, s)]

    def _remember(self, order: Order, good_till_ms: int) -> None:
        self._placed.append((order.symbol, order.order_id))
        del self._placed[:-_KEPT]
        if good_till_ms:
            self._good_till[order.order_id] = self._ending[order.order_id] = good_till_ms

    # ------------------------------------------------------------ what time and the market do

    def expire(self, now_ns: int) -> None:
        """End the orders whose good-till date has come."""
        self.algo.expire(now_ns // MS)
        for order_id, until in list(self._ending.items()):
            order = self.venue.orders[order_id]
            if order.status.open and until <= now_ns // MS:
                self.venue.expire(order.symbol, order_id, "its good-till date has come")
            if until <= now_ns // MS or order.status.terminal:
                del self._ending[order_id]
        self.report()

    def moved(self, symbol: str) -> None:
        """The market of the symbol has moved: tell what traded, trigger what it has met, warn of what is near."""
        self.report()
        for order in self.algo.met(symbol):
            if not order.open:
                continue  # it expired with the position that one before it closed
            placed = self.algo.trigger(order)
            if placed is not None:
                self._remember(placed, order.wish.good_till_ms)
                self.report()
        self._warn(symbol)

    def _warn(self, symbol: str) -> None:
        """Tell once when maintenance takes most of a position's margin."""
        if not self.venue.ledger.lots(symbol):
            self._called.discard(symbol)
            return
        p = self.venue.position(symbol)
        near = p.maintenance_margin >= _CALLED * (p.margin + p.unrealised)
        if near and symbol not in self._called:
            self._called.add(symbol)
            self._send(MarginCall(E=self._ms, p=[reports.margin_call(p)]))
        elif not near:
            self._called.discard(symbol)

    # ------------------------------------------------------------ private frames

    def report(self) -> None:
        """Tell what the venue has just done, as frames."""
        events, fills = self.venue.events, False
        while events:
            event = events.popleft()
            if isinstance(event, FillBooked):
                told = events.popleft()  # the venue tells the order of a fill right after it
                assert isinstance(told, OrderUpdate)
                self._tell_fill(event.fill, told.order)
                fills = True
            elif isinstance(event, OrderUpdate):
                self._tell_order(event.order)
        if fills:
            self._tell_account("ORDER")

    def funded(self, symbol: str, amount: Decimal) -> None:
        """Book a funding payment into the income and tell it."""
        self._note("FUNDING_FEE", symbol, amount, "")
        self._tell_account("FUNDING_FEE", amount, symbol)

    def tell_config(self, change: dict[str, Any]) -> None:
        """Tell a change of leverage (`ac`) or of the assets mode (`ai`)."""
        self._send({"e": "ACCOUNT_CONFIG_UPDATE", "E": self._ms, "T": self._ms, **change})

    def _tell_order(self, order: Order) -> None:
        kind = {"NEW": "NEW", "CANCELED": "CANCELED"}.get(order.status.value, "EXPIRED")
        if order.status.open and order.updated_ns > order.created_ns:
            kind = "AMENDMENT"
        self._send(OrderTradeUpdate(E=self._ms, T=self._ms, o=self._body(order, kind, None)))
        self.algo.moved(order)

    def _tell_algo(self, order: Conditional) -> None:
        if order.status == "REJECTED":
            why = TriggerRejectBody(s=order.symbol, i=order.algo_id, r=order.reason)
            self._send(TriggerReject(E=self._ms, T=self._ms, rejected=why))
        self._send(AlgoUpdate(E=self._ms, T=self._ms, o=reports.algo_body(order)))

    def _tell_fill(self, fill: Fill, order: Order) -> None:
        """First the short report, then the whole one. order: as the fill left it."""
        realised = self._newly_realised(fill.symbol)
        asset = self.venue.ledger.asset
        self.trades.append(
            UserTrade(
                id=int(fill.trade_id),
                order_id=int(fill.order_id),
                symbol=fill.symbol,
                side=fill.side.value,
                price=str(fill.price),
                qty=str(fill.quantity),
                quote_qty=str(fill.price * fill.quantity),
                commission=str(fill.fee),
                commission_asset=asset,
                realized_pnl=str(realised),
                time=self._ms,
                maker=fill.maker,
                buyer=fill.side.value == "BUY",
                pair=fill.symbol,
            )
        )
        del self.trades[:-_KEPT]
        if realised:
            self._note("REALIZED_PNL", fill.symbol, realised, fill.trade_id)
        self._note("COMMISSION", fill.symbol, -fill.fee, fill.trade_id)
        if not fill.liquidation:
            self._send(
                TradeLite(
                    E=self._ms, T=self._ms, s=fill.symbol, q=str(order.quantity), p=str(order.price or 0), m=fill.maker,
                    c=fill.client_order_id, S=fill.side.value, L=str(fill.price), l=str(fill.quantity),
                    t=int(fill.trade_id), i=int(fill.order_id),
                )
            )  # fmt: skip
        frame = self._body(order, "TRADE", fill)
        self._send(OrderTradeUpdate(E=self._ms, T=self._ms, o=msgspec.structs.replace(frame, rp=str(realised))))
        self.algo.moved(order)
        if fill.liquidation:
            forced: dict[str, Any] = msgspec.to_builtins(self.order_report(order, full=True))
            self.forced.append(forced)
            self.shout(forced)
        self._close_conditionals(fill)

    def _close_conditionals(self, fill: Fill) -> None:
        """What waits to reduce a position goes with it."""
        before, after = self._lots.get(fill.symbol, 0), self.venue.ledger.lots(fill.symbol)
        self._lots[fill.symbol] = after
        if fill.liquidation:
            self.algo.liquidated(fill.symbol)
        elif before and after * before <= 0:
            self.algo.closed(fill.symbol, after)

    def _newly_realised(self, symbol: str) -> Decimal:
        """Profit booked for the symbol since the last report."""
        total = self.venue.position(symbol).realised
        fresh = total - self._realised_by.get(symbol, Decimal(0))
        self._realised_by[symbol] = total
        return fresh

    def _tell_account(self, reason: str, change: Decimal = Decimal(0), symbol: str = "") -> None:
        """Money and the positions that are not as they were told. change: of the wallet, beyond profit and fees."""
        account = self.venue.account()
        positions = []
        for p in (self.venue.position(s) for s in self.venue.instruments):
            state = (p.quantity, p.entry_price, p.margin)
            if p.symbol != symbol and self._held.get(p.symbol, (Decimal(0),) * 3) == state:
                continue
            self._held[p.symbol] = state
            positions.append(
                PositionUpdate(
                    s=p.symbol,
                    pa=str(p.quantity),
                    ep=str(p.entry_price),
                    bep=str(p.entry_price),
                    cr=str(p.realised),
                    up=str(p.unrealised),
                    iw=str(p.margin),
                )
            )
        wallet = account.wallet
        balance = Balance(a=account.asset, wb=str(wallet), cw=str(wallet - account.margin), bc=str(change))
        body = AccountBody(m=reason, B=[balance], P=positions)
        self._send(AccountUpdate(E=self._ms, T=self._ms, a=body))

    def _note(self, kind: str, symbol: str, amount: Decimal, trade: str) -> None:
        row = Income(
            symbol=symbol,
            income_type=kind,
            income=str(amount),
            asset=self.venue.ledger.asset,
            time=self._ms,
            tran_id=len(self.income) + 1,
            trade_id=trade,
        )
        self.income.append(row)

    def _send(self, frame: Any) -> None:
        self.tell(msgspec.json.encode(frame))

    @property
    def _ms(self) -> int:
        return self.venue.now_ns // MS

    # ------------------------------------------------------------ payloads

    def order_report(self, order: Order, *, full: bool) -> OrderReport:
        """An order of the engine; full: as a query answers, else an acknowledgement."""
        behind, until = self.algo.behind(order.order_id), self._good_till.get(order.order_id, 0)
        return reports.order_report(order, behind, until, full=full)

    def algo_report(self, order: Conditional) -> AlgoReport:
        """A conditional order."""
        return reports.algo_report(order)

    def account(self) -> AccountV3:
        """Balances."""
        return reports.account_report(self.venue, self._ms)

    def positions(self, symbol: str | None, *, every: bool = False) -> list[PositionV3]:
        """Positions that are not flat or have an open order; or every symbol's."""
        busy = {o.symbol for o in self.venue.open_orders(symbol)} | {c.symbol for c in self.algo.waiting(symbol)}
        asked = [s for s in self.venue.instruments if symbol in (None, s)]
        found = [self.venue.position(s) for s in asked]
        return [self._position(p) for p in found if every or p.quantity or p.symbol in busy]

    def _position(self, p: Position) -> PositionV3:
        return reports.position_report(p, self.venue.ledger.asset, self._ms)

    def symbol_config(self, symbol: str) -> SymbolConfig:
        """Margin mode and leverage."""
        return SymbolConfig(
            symbol=symbol,
            margin_type=self.margin_type.get(symbol, "ISOLATED"),
            leverage=self.venue.ledger.leverage(symbol),
            max_notional_value=str(self._most(self.venue.instruments[symbol], self.venue.ledger.leverage(symbol))),
        )

    def _most(self, instrument: Instrument, leverage: int) -> Decimal:
        """The greatest notional at a leverage."""
        fitting = [t.cap for t in instrument.tiers if t.max_leverage >= leverage]
        return max(fitting, default=Decimal(0))

    def _body(self, order: Order, execution: str, fill: Fill | None) -> OrderUpdateBody:
        behind, until = self.algo.behind(order.order_id), self._good_till.get(order.order_id, 0)
        return reports.order_body(order, behind, until, execution, fill, self.venue.ledger.asset, self._ms)
