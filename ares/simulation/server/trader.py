"""One account at the local venue: a `Venue` behind the wire's numbers, ids and reports.

Conditional orders live in an id space of their own. When one triggers, a second order of the engine trades for it and
both are reported, as the real venue does since conditional orders moved to the algo service.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
from attrs import define, evolve, field

from ares.account import Position
from ares.errors import Rejected
from ares.events import FillBooked, OrderUpdate
from ares.exchange.signing import Signer, signer_for
from ares.exchange.wire.account import AccountV3, AssetBalance, Income, PositionV3, SymbolConfig
from ares.exchange.wire.numbers import MS
from ares.exchange.wire.trade import AlgoReport, OrderReport, UserTrade
from ares.exchange.wire.user import (
    AccountBody,
    AccountUpdate,
    AlgoBody,
    AlgoUpdate,
    Balance,
    OrderTradeUpdate,
    OrderUpdateBody,
    PositionUpdate,
)
from ares.instruments import Instrument
from ares.orders import Fill, Order, OrderRequest, OrderStatus
from ares.secret import Secret
from ares.simulation.venue import Venue

__all__ = ["Trader"]

_ENGINE_IDS = 8_000_000_000  # where the ids of engine orders made by triggers begin
_KEPT = 50_000  # orders and trades an account remembers


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
    _algo: dict[str, str] = field(factory=dict)  # order id of the venue -> engine order id, "" before the trigger
    _placed: list[tuple[str, str]] = field(factory=list)  # symbol and id of every order
    _by_engine: dict[str, str] = field(factory=dict)
    _engine_count: int = 0
    _closing: set[str] = field(factory=set)  # orders that close all, whatever they were sized to
    _countdowns: dict[str, int] = field(factory=dict)  # when a symbol's orders are cancelled, ns of the clock
    _realised_by: dict[str, Decimal] = field(factory=dict)  # as reported so far, by symbol
    _held: dict[str, tuple[Decimal, Decimal, Decimal]] = field(factory=dict)  # positions as told last

    @classmethod
    def open(cls, key: str, secret: Secret, venue: Venue, tell: Callable[[bytes], None]) -> Trader:
        """An account with this key."""
        return cls(key=key, venue=venue, signer=signer_for(secret), tell=tell)

    # ------------------------------------------------------------ orders

    def place(self, request: OrderRequest, client_id: str | None, *, closing: bool = False) -> Order:
        """Send an order to the venue; closing: it was placed without a quantity, to close all. Raises Rejected."""
        order = self.venue.submit(request, client_id)
        if closing:
            self._closing.add(order.order_id)
        self._placed.append((order.symbol, order.order_id))
        del self._placed[:-_KEPT]
        self.report()
        return order

    def find(self, symbol: str, order_id: str | None, client_id: str | None, *, algo: bool) -> Order:
        """An order of one of the two kinds. Raises Rejected -2013."""
        number = order_id
        if order_id is not None and not algo:
            number = self._by_engine.get(order_id, order_id)
        order = self.venue.get_order(symbol, number, client_order_id=client_id)
        triggered = bool(self._algo.get(order.order_id))
        if order.order_type.conditional is not algo and not (triggered and not algo):
            raise Rejected("Order does not exist.", code=-2013)
        return order

    def find_algo(self, algo_id: str | None, client_id: str | None) -> Order:
        """A conditional order of any symbol. Raises Rejected -2013."""
        for symbol in self.venue.instruments:
            try:
                return self.find(symbol, algo_id, client_id, algo=True)
            except Rejected:
                continue
        raise Rejected("Order does not exist.", code=-2013)

    def cancel(self, order: Order) -> Order:
        """Cancel an order of either kind. Raises Rejected -2011."""
        done = self.venue.cancel(order.symbol, order.order_id)
        self.report()
        return done

    def countdown(self, symbol: str, until_ns: int | None) -> None:
        """Cancel the symbol's normal orders at this time unless told again before; None: do not."""
        self._countdowns.pop(symbol, None)
        if until_ns is not None:
            self._countdowns[symbol] = until_ns

    def count_down(self, now_ns: int) -> None:
        """Cancel what nobody has kept alive."""
        for symbol in [s for s, until in self._countdowns.items() if now_ns >= until]:
            del self._countdowns[symbol]
            for order in self.open_orders(symbol, algo=False):
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
             "orderId": self.engine_id(order), "clientOrderId": order.client_order_id, "time": self._ms,
             "amendment": change}
        )  # fmt: skip
        return done

    def open_orders(self, symbol: str | None, *, algo: bool) -> list[Order]:
        """Open orders of one kind."""
        return [o for o in self.venue.open_orders(symbol) if o.order_type.conditional is algo]

    def all_orders(self, symbol: str | None, *, algo: bool) -> list[Order]:
        """Every order of the symbol or of all, open or not."""
        found = [self.venue.get_order(s, number) for s, number in self._placed if symbol in (None, s)]
        return [o for o in found if o.order_type.conditional is algo or (not algo and bool(self._algo.get(o.order_id)))]

    # ------------------------------------------------------------ private frames

    def report(self) -> None:
        """Tell what the venue has just done, as frames."""
        events, fills = self.venue.events, False
        while events:
            event = events.popleft()
            if isinstance(event, FillBooked):
                self._tell_fill(event.fill)
                fills = True
            elif isinstance(event, OrderUpdate) and event.order.status is not OrderStatus.FILLED:
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
        if order.order_type.conditional:
            self._send(AlgoUpdate(E=self._ms, T=self._ms, o=self._algo_body(order)))
            return
        kind = {"NEW": "NEW", "CANCELED": "CANCELED"}.get(order.status.value, "EXPIRED")
        if kind == "NEW" and order.updated_ns > order.created_ns:
            kind = "AMENDMENT"
        self._send(OrderTradeUpdate(E=self._ms, T=self._ms, o=self._body(order, kind, None)))

    def _tell_fill(self, fill: Fill) -> None:
        order = self.venue.get_order(fill.symbol, fill.order_id)
        realised = self._newly_realised(fill.symbol)
        engine = fill.order_id
        if order.order_type.conditional:
            self._engine_count += 1
            engine = str(_ENGINE_IDS + self._engine_count)
            self._algo[order.order_id] = engine
            self._by_engine[engine] = order.order_id
            body = self._algo_body(order)
            self._send(AlgoUpdate(E=self._ms, T=self._ms, o=msgspec.structs.replace(body, X="TRIGGERED")))
            placed = evolve(order, status=OrderStatus.NEW, filled=Decimal(0), average_price=None)
            self._send(OrderTradeUpdate(E=self._ms, T=self._ms, o=self._body(placed, "NEW", None)))
        asset = self.venue.ledger.asset
        self.trades.append(
            UserTrade(
                id=int(fill.trade_id),
                order_id=int(engine),
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
        done = evolve(
            order, status=OrderStatus.FILLED, filled=fill.quantity, quantity=fill.quantity, average_price=fill.price
        )
        frame = self._body(done, "TRADE", fill)
        self._send(OrderTradeUpdate(E=self._ms, T=self._ms, o=msgspec.structs.replace(frame, rp=str(realised))))
        if order.order_type.conditional:
            self._send(AlgoUpdate(E=self._ms, T=self._ms, o=self._algo_body(done)))
        if fill.liquidation:
            forced: dict[str, Any] = msgspec.to_builtins(self.order_report(done, full=True))
            self.forced.append(forced)
            self.shout(forced)

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

    def engine_id(self, order: Order) -> int:
        """The order's id in the matching engine."""
        return int(self._algo.get(order.order_id) or order.order_id)

    def order_report(self, order: Order, *, full: bool) -> OrderReport:
        """An order of the engine; full: as a query answers, else an acknowledgement, which names no price or value."""
        filled = order.filled
        average = order.average_price or Decimal(0)
        stop = order.stop_price or Decimal(0)
        triggered = order.order_type.conditional
        return OrderReport(
            order_id=self.engine_id(order),
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side.value,
            type="MARKET" if triggered else order.order_type.value,
            orig_type=order.order_type.value,
            status=order.status.value,
            orig_qty=str(order.quantity),
            executed_qty=str(filled),
            price=str(order.price or 0),
            avg_price=str(average) if full else msgspec.UNSET,
            cum_quote=str(filled * average) if full else msgspec.UNSET,
            cum_qty=msgspec.UNSET if full else str(filled),
            time_in_force=order.time_in_force.value,
            reduce_only=order.reduce_only,
            close_position=order.order_id in self._closing,
            stop_price=str(stop),
            time=order.created_ns // MS if full else msgspec.UNSET,
            update_time=order.updated_ns // MS,
        )

    def algo_report(self, order: Order) -> AlgoReport:
        """A conditional order."""
        engine = self._algo.get(order.order_id, "")
        return AlgoReport(
            algo_id=int(order.order_id),
            client_algo_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side.value,
            order_type=order.order_type.value,
            quantity=self._size(order),
            close_position=order.order_id in self._closing,
            algo_status=_algo_status(order),
            trigger_price=str(order.stop_price or 0),
            price=str(order.price or 0),
            actual_order_id=engine,
            actual_price=str(order.average_price) if order.average_price is not None else "",
            actual_qty=str(order.filled) if order.filled else "",
            actual_type="MARKET" if engine else "",
            reduce_only=order.reduce_only,
            create_time=order.created_ns // MS,
            update_time=order.updated_ns // MS,
            trigger_time=order.updated_ns // MS if engine else 0,
        )

    def account(self) -> AccountV3:
        """Balances."""
        a = self.venue.account()
        free = str(a.available)
        balance = AssetBalance(
            asset=a.asset,
            wallet_balance=str(a.wallet),
            unrealized_profit=str(a.unrealised),
            margin_balance=str(a.equity),
            maint_margin=str(sum((p.maintenance_margin for p in a.positions), Decimal(0))),
            initial_margin=str(a.margin + a.reserved),
            position_initial_margin=str(a.margin),
            open_order_initial_margin=str(a.reserved),
            cross_wallet_balance=str(a.wallet - a.margin),
            available_balance=free,
            max_withdraw_amount=free,
            update_time=self._ms,
        )
        return AccountV3(
            total_wallet_balance=balance.wallet_balance,
            total_unrealized_profit=balance.unrealized_profit,
            total_margin_balance=balance.margin_balance,
            total_initial_margin=balance.initial_margin,
            total_maint_margin=balance.maint_margin,
            total_position_initial_margin=balance.position_initial_margin,
            total_open_order_initial_margin=balance.open_order_initial_margin,
            total_cross_wallet_balance=balance.cross_wallet_balance,
            available_balance=free,
            max_withdraw_amount=free,
            assets=[balance],
        )

    def positions(self, symbol: str | None, *, every: bool = False) -> list[PositionV3]:
        """Positions that are not flat or have an open order; or every symbol's."""
        busy = {o.symbol for o in self.venue.open_orders(symbol)}
        asked = [s for s in self.venue.instruments if symbol in (None, s)]
        found = [self.venue.position(s) for s in asked]
        return [self._position(p) for p in found if every or p.quantity or p.symbol in busy]

    def _position(self, p: Position) -> PositionV3:
        notional = str(p.quantity * p.mark_price)
        return PositionV3(
            symbol=p.symbol,
            position_amt=str(p.quantity),
            entry_price=str(p.entry_price),
            break_even_price=str(p.entry_price),
            mark_price=str(p.mark_price),
            un_realized_profit=str(p.unrealised),
            liquidation_price=str(p.liquidation_price or 0),
            isolated_margin=str(p.margin + p.unrealised),
            isolated_wallet=str(p.margin),
            notional=notional,
            margin_asset=self.venue.ledger.asset,
            initial_margin=str(p.margin),
            maint_margin=str(p.maintenance_margin),
            position_initial_margin=str(p.margin),
            update_time=self._ms,
        )

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
        triggered = order.order_type.conditional
        return OrderUpdateBody(
            s=order.symbol,
            c=order.client_order_id,
            S=order.side.value,
            o="MARKET" if triggered else order.order_type.value,
            ot=order.order_type.value,
            f=order.time_in_force.value,
            q=str(order.quantity),
            cp=order.order_id in self._closing,
            p=str(order.price or 0),
            ap=str(order.average_price or 0),
            sp=str(order.stop_price or 0),
            x="CALCULATED" if fill is not None and fill.liquidation else execution,
            X=order.status.value,
            i=self.engine_id(order),
            l=str(fill.quantity) if fill is not None else "0",
            z=str(order.filled),
            L=str(fill.price) if fill is not None else "0",
            N=self.venue.ledger.asset if fill is not None else None,
            n=str(fill.fee) if fill is not None else None,
            T=self._ms,
            t=int(fill.trade_id) if fill is not None else 0,
            m=fill.maker if fill is not None else False,
            R=order.reduce_only,
        )

    def _size(self, order: Order) -> str:
        """A conditional order's quantity: none while it waits to close all."""
        return "0" if order.status.open and order.order_id in self._closing else str(order.quantity)

    def _algo_body(self, order: Order) -> AlgoBody:
        return AlgoBody(
            caid=order.client_order_id,
            aid=int(order.order_id),
            s=order.symbol,
            S=order.side.value,
            o=order.order_type.value,
            X=_algo_status(order),
            q=self._size(order),
            cp=order.order_id in self._closing,
            tp=str(order.stop_price or 0),
            ai=self._algo.get(order.order_id, ""),
            ap=str(order.average_price) if order.average_price is not None else "",
            aq=str(order.filled) if order.filled else "",
            act="MARKET" if order.filled else "",
            R=order.reduce_only,
            rm=order.reason if order.status is OrderStatus.REJECTED else "",
        )


def _algo_status(order: Order) -> str:
    return "FINISHED" if order.status is OrderStatus.FILLED else order.status.value
