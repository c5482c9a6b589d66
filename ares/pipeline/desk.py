"""The bot without input and output: `desk.handle(event) -> list[Command]`.

One desk an account, all symbols inside. Time is a field of events, so the same events give the same commands in
backtest, paper and live, bit for bit. The desk never waits, never sends and never asks the machine anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from types import NoneType
from typing import Any

from ares.account import Account, Ledger
from ares.errors import DataError, InvalidInput
from ares.events import (
    AggTrades,
    Alert,
    BookTop,
    CandleClosed,
    Command,
    Event,
    FillBooked,
    Funding,
    FuturesStatistics,
    LinkChanged,
    MarkPrice,
    ModelActivated,
    OperatorOrder,
    OrderUpdate,
    Purpose,
    StageDone,
    Submit,
    VenueSnapshot,
    Wake,
)
from ares.instruments import Instrument, Interval
from ares.orders import Fill, OrderStatus
from ares.pipeline.balance import BalanceWatch, PositionGaps
from ares.pipeline.calls import Calls, check_verbs
from ares.pipeline.config import DeskConfig
from ares.pipeline.custody import Custody
from ares.pipeline.decide import Decider
from ares.pipeline.execution import IntentBook, intent_of
from ares.pipeline.guard import Guard, Mode
from ares.pipeline.looks import Looks
from ares.pipeline.outbox import Outbox
from ares.pipeline.records import ClosedTrade, DeskRecords
from ares.pipeline.seat import Seat
from ares.protocols import (
    AnalysisResult,
    AnalysisStage,
    FeatureRow,
    FeatureStage,
    MonitoringStage,
    Reason,
    TacticsStage,
)

__all__ = ["Desk", "DeskConfig"]


class Desk:
    """The whole bot as a function of its events. Raises InvalidInput on events that come out of order."""

    def __init__(
        self,
        *,
        features: FeatureStage,
        analyst: AnalysisStage,
        tactician: TacticsStage,
        monitor: MonitoringStage,
        symbols: Sequence[str],
        interval: str,
        config: DeskConfig | None = None,
        records_limit: int | None = 10_000,
    ) -> None:
        self.config = config or DeskConfig()
        self.symbols = tuple(symbols)
        self.interval = Interval.parse(interval)
        if not self.symbols or len(set(self.symbols)) != len(self.symbols):
            raise InvalidInput("a desk needs at least one symbol, each named once", symbols=self.symbols)
        check_verbs(features=features, analyst=analyst, tactician=tactician, monitor=monitor)
        self.records = DeskRecords(records_limit)
        self.intents = IntentBook()
        self.guard = Guard(self.config.guard)
        self.custody = Custody(self.intents, self.config.protect_within_ns, self._trade_closed)
        self.ledger: Ledger | None = None  # None until the first snapshot of the venue
        self._balance = BalanceWatch()
        self._gaps = PositionGaps()
        self._seats = {s: Seat(s, features.stream(s, self.interval.name)) for s in self.symbols}
        self.calls = Calls(self.guard)
        self._looks = Looks(monitor, self.calls, self.custody, self.records, self.config.look_every_ns)
        self._decider = Decider(analyst, tactician, self.calls, self.config.stage_timeout_ns)
        self._seq = -1
        self._now_ns = 0
        self._handlers: dict[type, Callable[[Outbox, Any], None]] = {
            CandleClosed: self._on_candle,
            MarkPrice: self._on_mark,
            BookTop: self._on_book_top,
            AggTrades: self._on_observed,
            FuturesStatistics: self._on_observed,
            Funding: self._on_funding,
            OrderUpdate: self._on_order,
            FillBooked: self._on_fill,
            VenueSnapshot: self._on_snapshot,
            StageDone: self._on_stage_done,
            Wake: self._on_wake,
            ModelActivated: self._on_model,
            LinkChanged: self._on_link,
            OperatorOrder: self._on_operator,
        }

    # ------------------------------------------------------------ the one verb

    def handle(self, event: Event) -> list[Command]:
        """Take one numbered event; give the commands it causes, in order.

        Raises: InvalidInput when `seq` does not follow or time goes back.
        """
        if event.seq != self._seq + 1:
            raise InvalidInput(f"event {event.seq} does not follow {self._seq}", seq=event.seq, last=self._seq)
        if event.ts_seen < self._now_ns:
            raise InvalidInput(f"event {event.seq} is older than its predecessor", ts=event.ts_seen, now=self._now_ns)
        self._seq, self._now_ns = event.seq, event.ts_seen
        out = Outbox(event.seq, event.ts_seen, self.intents, self.guard)
        self._handlers[type(event)](out, event)
        self.records.orders_sent += sum(type(c) is Submit for c in out.commands)
        return out.commands

    # ------------------------------------------------------------ what people ask

    @property
    def seq(self) -> int:
        """Number of the last event handled; -1 before the first."""
        return self._seq

    @property
    def now_ns(self) -> int:
        """The desk's time: that of the last event."""
        return self._now_ns

    def account(self) -> Account:
        """The account by the desk's own ledger. Raises InvalidInput before the first snapshot."""
        return self._ledger().account(self._now_ns)

    def instrument(self, symbol: str) -> Instrument | None:
        """The instrument as the venue described it; None before the first snapshot."""
        return self._seats[symbol].instrument

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of market events that the features need besides candles: of agg_trades, book_top, futures."""
        return frozenset[str]().union(*(seat.kinds for seat in self._seats.values()))

    def history_needed(self, symbol: str) -> int:
        """Closed bars that make features warm, and them and the opinions independent of where history began."""
        stream = self._seat(symbol).stream
        settle = int(getattr(stream, "settle", 0)) + int(getattr(self._decider.analyst, "settle", 0))
        return stream.warmup + settle

    def last_open_ns(self, symbol: str) -> int:
        """Open time of the last candle seen; -1 before the first."""
        candle = self._seat(symbol).candle
        return candle.open_ns if candle is not None else -1

    def status(self) -> dict[str, Any]:
        """A plain summary for status pages."""
        return {
            "seq": self._seq,
            "now_ns": self._now_ns,
            "mode": self.guard.mode.name,
            "latches": {cause: mode.name for cause, mode in self.guard.latches.items()},
            "positions": {s: str(t.held) for s, t in self.custody.trades.items()},
            "open_intents": self.intents.describe(),
            "closed_trades": self.records.closed_trades,
            "orders_sent": self.records.orders_sent,
        }

    # ------------------------------------------------------------ market

    def _on_candle(self, out: Outbox, event: CandleClosed) -> None:
        seat = self._seat(event.candle.symbol)
        seat.candle = event.candle
        seat.row = self.calls.answer(out, "features", seat.symbol, FeatureRow, seat.stream.update, event.candle)
        seat.dirty = True
        if event.history:
            seat.was_away()
        analysis = None
        if seat.row is not None:
            given = self._decider.analysis_input(seat.row, seat.market(out.now_ns), self._position(seat))
            analysis = self._decider.analyze(out, given, history=event.history)
        if analysis is not None:
            seat.analysis = analysis
        if event.history:
            return
        self._watch_equity(out)
        if analysis is not None:
            self._watch_model(out, analysis)
        if seat.symbol in self.custody.trades:
            self._looks.look(out, seat, self._ledger())
        elif analysis is not None:
            self._decide(out, seat, analysis)

    def _on_mark(self, out: Outbox, event: MarkPrice) -> None:
        seat = self._seat(event.symbol)
        self._observe(out, seat, event)
        if event.price == seat.mark:
            return
        seat.mark = event.price
        seat.dirty = True
        self._ledger().mark(event.symbol, event.price)
        trade = self.custody.trades.get(event.symbol)
        if trade is not None:
            trade.saw(event.price)
            self._looks.look(out, seat, self._ledger())

    def _on_book_top(self, out: Outbox, event: BookTop) -> None:
        seat = self._seat(event.symbol)
        self._observe(out, seat, event)
        seat.quoted(event)

    def _on_observed(self, out: Outbox, event: AggTrades | FuturesStatistics) -> None:
        seat = self._seat(event.symbol)
        self._observe(out, seat, event)
        if isinstance(event, AggTrades):
            seat.saw_trades(event)

    def _on_funding(self, out: Outbox, event: Funding) -> None:
        seat = self._seats.get(event.symbol)
        if seat is None:  # of a position that is not ours: it shows in the venue's wallet
            return
        if event.rate.is_finite():
            self._observe(out, seat, event)
            seat.funded(event)
        if event.amount is not None:
            self._ledger().book_funding(seat.known_instrument(), amount=event.amount)
            trade = self.custody.trades.get(event.symbol)
            if trade is not None:
                trade.funding += event.amount

    # ------------------------------------------------------------ our orders

    def _on_order(self, out: Outbox, event: OrderUpdate) -> None:
        state = self.intents.reported(event.order)
        if intent_of(event.order.client_order_id) is not None:  # also of a trade that its last fill has ended
            self.records.order(event.order)
        if state is not None:
            if state.intent.purpose is Purpose.ENTRY and state.status is OrderStatus.REJECTED:
                self._seat(event.order.symbol).leverage = None  # perhaps it could not be set: set it again next time
            self.custody.on_order(out, state)

    def _on_fill(self, out: Outbox, event: FillBooked) -> None:
        fill = event.fill
        state, new = self.intents.filled(fill)
        if not new:
            return
        seat = self._seats.get(fill.symbol)
        if seat is None:
            self._foreign(out, fill)
            return
        self._ledger().book_fill(seat.known_instrument(), fill)
        self._balance.saw(fill)
        self._gaps.saw(fill)
        self.records.fills.append(fill)
        position = self._ledger().position(fill.symbol).quantity
        trade = self.custody.on_fill(out, state, fill, position)
        if not self._gaps.open(fill.symbol) and not self.custody.lacks_fills(fill.symbol):
            self.guard.release(f"difference:{fill.symbol}")  # all that the ledger lacked has come
        if trade is None and position:
            out.alert("position.unowned", fill.symbol, quantity=str(position))
        if state is None and not fill.liquidation:
            self._foreign(out, fill)
        elif fill.liquidation:
            self.guard.hold(f"liquidation:{fill.symbol}", Mode.REDUCE)
            out.alert("position.liquidated", fill.symbol, trade_id=trade.trade_id if trade is not None else "")
        seat.dirty = True

    def _foreign(self, out: Outbox, fill: Fill) -> None:
        """Somebody else trades on this account: no new risk until the operator says that it is known."""
        self.guard.hold(f"foreign:{fill.symbol}", Mode.REDUCE)
        out.alert("position.foreign_fill", fill.symbol, trade_id=fill.trade_id)

    def _on_snapshot(self, out: Outbox, event: VenueSnapshot) -> None:
        """The first snapshot opens the ledger; later ones are compared with it."""
        for instrument in event.instruments:
            if instrument.symbol in self._seats:
                self._seats[instrument.symbol].instrument = instrument
        if self.ledger is None:
            missing = [s for s, seat in self._seats.items() if seat.instrument is None]
            if missing:
                raise DataError(f"the venue's snapshot lacks instruments for {missing}", symbols=missing)
            if event.account.positions or event.open_orders:
                held = [p.symbol for p in event.account.positions]
                raise DataError(
                    "the account is not flat: close its positions and orders before a first start",
                    positions=held,
                    open_orders=len(event.open_orders),
                )
            self.ledger = Ledger(event.account.asset, event.account.wallet)
            for seat in self._seats.values():
                self.ledger.add(seat.known_instrument())
            return
        self._compare(out, event)
        self.custody.review(out)

    def _compare(self, out: Outbox, event: VenueSnapshot) -> None:
        """Venue truth against our ledger: a difference in quantity holds the symbol's latch until it is gone.

        Gone it is when a snapshot says so, or when the fills that were missing have come.
        """
        gap = self._balance.compare(self.account().wallet, event.account.wallet)
        if gap is not None:
            out.alert("account.differs", "", venue=str(event.account.wallet), difference=str(gap))
        for symbol in self.symbols:
            theirs = event.account.position(symbol)
            quantity = theirs.quantity if theirs is not None else Decimal(0)
            ours = self._ledger().position(symbol).quantity
            if self._gaps.compare(symbol, ours, quantity, event.ts_event):
                self.custody.agreed(symbol)
                self.guard.release(f"difference:{symbol}")
            else:
                self.guard.hold(f"difference:{symbol}", Mode.REDUCE)
                out.alert("position.differs", symbol, venue=str(quantity), ledger=str(ours))

    # ------------------------------------------------------------ time and people

    def _on_wake(self, out: Outbox, event: Wake) -> None:
        kind, _, symbol = event.key.partition(":")
        trade = self.custody.trades.get(symbol)
        if trade is None:
            return
        if kind == "protect":
            self.custody.overdue(out, trade)
        elif kind == "retry":
            self.custody.retry(out, trade)
        elif kind == "entry" and out.now_ns >= trade.plan.valid_until_ns:
            self.custody.recall(out, trade)
        elif kind in ("look", "stale", "exit"):
            seat = self._seats[symbol]
            seat.dirty = seat.dirty or kind != "look"  # for the other two, time itself is the news
            self._looks.look(out, seat, self._ledger())

    def _on_stage_done(self, out: Outbox, event: StageDone) -> None:
        seat = self._seat(event.symbol)
        analysis, result, history = self._decider.done(out, event)
        if analysis is not None:
            seat.analysis = analysis
            if history:
                return
            self._watch_model(out, analysis)
            if seat.symbol not in self.custody.trades:
                self._decide(out, seat, analysis)
        if result is not None and seat.analysis is not None and seat.symbol not in self.custody.trades:
            self._enter(out, seat, seat.analysis, result.plan, result.reasons)

    def _on_model(self, out: Outbox, event: ModelActivated) -> None:
        if not self._decider.activate(out, event.sha256):
            return  # the old one goes on until it expires
        for symbol in self.guard.begin_model():
            out.alert("model.replaced", symbol, model=event.sha256)

    def _on_link(self, out: Outbox, event: LinkChanged) -> None:
        for seat in self._seats.values():
            self._observe(out, seat, event)
        if event.up:
            self.guard.release(f"link:{event.link}")
        else:
            self.guard.hold(f"link:{event.link}", Mode.REDUCE)
            out.alert("link.lost", link=event.link)

    def _on_operator(self, out: Outbox, event: OperatorOrder) -> None:
        if event.action == "pause":
            self.guard.hold("operator", Mode.REDUCE)
        elif event.action == "resume":
            self.guard.resume()
        elif event.action == "stop":
            self.guard.hold("stopped", Mode.REDUCE)
        elif event.action == "end":
            self.custody.recall_all(out)  # nobody would hear of what fills of them
            self.guard.hold("stopped", Mode.REDUCE)
        elif event.action == "start":
            self.guard.release("stopped")
            for seat in self._seats.values():
                seat.leverage = None  # somebody may have changed it while we were away
        elif event.action == "halt":
            self.custody.recall_all(out)  # nothing could protect what fills of them in a halt
            self.guard.hold("operator", Mode.HALT)
        elif event.action == "flatten":
            self.guard.hold("operator", Mode.REDUCE)
            for trade in list(self.custody.trades.values()):
                if event.symbol in (None, trade.symbol):
                    self.custody.close(out, trade, "operator.flatten")
        else:
            out.alert("operator.unknown_order", action=event.action)
        if self.guard.mode is not Mode.HALT:
            self.custody.review(out)  # what a halt held back is due now

    # ------------------------------------------------------------ decisions

    def _decide(self, out: Outbox, seat: Seat, analysis: AnalysisResult) -> None:
        """Ask the tactician for a plan, unless the opinion is to abstain or the guard says no."""
        if analysis.side is None:
            self._decider.record(self.records, out, analysis, None, analysis.reasons)
            return
        account = self.account()
        committed = sum((p.notional for p in account.positions), Decimal(0)) + self._in_flight()
        limits = self.guard.limits(account, committed, len(self.custody.trades))
        result = self._decider.plan(out, analysis, seat.known_instrument(), account, seat.market(out.now_ns), limits)
        if result is not None:
            self._enter(out, seat, analysis, result.plan, result.reasons)

    def _enter(self, out: Outbox, seat: Seat, analysis: AnalysisResult, plan: Any, reasons: Any) -> None:
        held = self._ledger().lots(seat.symbol)
        if plan is not None and held:  # a stop of ours would guard the wrong quantity
            plan, reasons = None, (*reasons, Reason(code="position.unowned", numbers={"lots": float(held)}))
        self._decider.record(self.records, out, analysis, plan, reasons)
        if plan is None or self.guard.mode is not Mode.RUN:
            return
        self.custody.enter(out, plan, seat.leverage)
        if seat.leverage != plan.leverage:
            self._ledger().set_leverage(seat.known_instrument(), plan.leverage)
            seat.leverage = plan.leverage

    def _watch_equity(self, out: Outbox) -> None:
        reason = self.guard.watch(self._ledger().equity_units / 1e8, out.now_ns)
        if reason is not None:
            out.commands.append(Alert(code=reason.code, facts=dict(reason.numbers)))

    def _watch_model(self, out: Outbox, analysis: AnalysisResult) -> None:
        """A model that its own analyst no longer believes takes no new risk; working entries are called back."""
        alarm = analysis.alarm
        if alarm is None or not self.guard.doubt(analysis.symbol, alarm):
            return
        out.alert("model.doubted", analysis.symbol, alarm=alarm.code, model=analysis.model_id, **alarm.numbers)
        trade = self.custody.trades.get(analysis.symbol)
        if trade is not None:
            self.custody.recall(out, trade)

    # ------------------------------------------------------------ small things

    def _observe(self, out: Outbox, seat: Seat, event: Event) -> None:
        """Tell the features of a market event, if they listen to any."""
        hear = seat.hears
        if hear is not None:
            self.calls.answer(out, "sources", seat.symbol, NoneType, hear, event)

    def _trade_closed(self, trade: ClosedTrade) -> None:
        self.records.trade(trade)
        seat = self._seats[trade.symbol]
        seat.dirty, seat.looked_ns = False, None
        if not self.custody.trades:
            self.calls.well("monitor")  # nobody asks it while the account is flat

    def _in_flight(self) -> Decimal:
        """Notional of entries that are ordered and not filled, at the mark."""
        total = Decimal(0)
        for symbol, trade in self.custody.trades.items():
            waiting = sum((s.remaining for s in self.intents.open_of(trade.trade_id, Purpose.ENTRY)), Decimal(0))
            mark = self._seats[symbol].mark
            if waiting and mark is not None:
                total += waiting * Decimal(repr(mark))
        return total

    def _position(self, seat: Seat) -> Any:
        return self._ledger().position(seat.symbol) if seat.symbol in self.custody.trades else None

    def _seat(self, symbol: str) -> Seat:
        try:
            return self._seats[symbol]
        except KeyError:
            raise InvalidInput(f"no seat for {symbol}; this desk trades {self.symbols}", symbol=symbol) from None

    def _ledger(self) -> Ledger:
        if self.ledger is None:
            raise InvalidInput("the first event of a session must be a VenueSnapshot")
        return self.ledger
