"""A venue that may do everything a venue may do, at any time and in any order, and a desk that must live with it.

`World` keeps what is true at the venue (orders, position) apart from what the desk has been told. After every event it
checks what must always hold, and `World.calm` what must hold once the venue is kind again and all wakes have come.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import msgspec

from ares.account import Account, Position
from ares.events import (
    Alert,
    Cancel,
    CandleClosed,
    Command,
    Event,
    FillBooked,
    OperatorOrder,
    OrderUpdate,
    Purpose,
    Submit,
    VenueSnapshot,
    Wake,
    WakeAt,
    encode,
)
from ares.instruments import Side
from ares.market import Candle
from ares.orders import Fill, Order, OrderStatus, OrderType, TimeInForce
from ares.pipeline.config import DeskConfig
from ares.pipeline.execution import client_order_id, intent_of
from ares.pipeline.guard import Mode
from ares.pipeline.trade import Trade
from ares.protocols import Action
from tests.pipeline.desk_bench import HOUR, SECOND, SYMBOL, Bench, Scripted

ZERO = Decimal(0)
LOT = Decimal("0.001")
SELLING = (Purpose.EXIT, Purpose.TARGET)
WAITS = (0.1, 1.0, 3.0, 5.0, 10.0, 30.0, 60.0, 600.0, 3600.0)
BY_HAND = "by-hand"
PROTECT_NS = DeskConfig().protect_within_ns
VERDICTS: tuple[dict[str, Any], ...] = (
    {"action": Action.HOLD, "risk": 0.0},
    {"action": Action.CLOSE, "risk": 1.0},
    {"action": Action.MOVE_STOP, "new_stop": Decimal(1950), "risk": 0.1},
    {"action": Action.MOVE_STOP, "new_stop": Decimal(1850), "risk": 0.1},
    {"action": Action.TAKE_PROFIT, "quantity": Decimal("0.5"), "targets_hit": 1, "risk": 0.0},
    {"action": Action.SCALE_DOWN, "quantity": Decimal("0.3"), "risk": 0.5},
    {"action": Action.SCALE_DOWN, "quantity": Decimal("5"), "risk": 0.5},
)
ORDERS_OF_PEOPLE = ("resume", "pause", "flatten", "halt", "stop", "start", "end")
PLANS: tuple[tuple[Side, tuple[str, ...], str | None], ...] = (
    (Side.BUY, ("1",), None),
    (Side.SELL, ("1",), None),
    (Side.BUY, ("0.3", "0.7"), None),
    (Side.BUY, ("0.4", "0.6"), "1990"),
    (Side.BUY, ("1",), "1990"),
)


@attrs.define(eq=False)
class Sent:
    """An order of the desk: where it is, and what the venue knows of it."""

    submit: Submit
    place: str = "under way"  # or "at the venue", "absent" (it never arrived and nobody knows), "ended"
    status: OrderStatus = OrderStatus.PENDING
    filled: Decimal = ZERO
    quantity: Decimal = ZERO
    changed_ns: int = 0
    repeated: bool = False  # the venue got it twice

    @property
    def intent_id(self) -> str:
        return self.submit.intent.intent_id

    @property
    def purpose(self) -> Purpose:
        return self.submit.intent.purpose

    @property
    def sign(self) -> int:
        return self.submit.intent.request.side.sign

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.filled


class World:
    """The venue's truth, what is on its way to the desk, the wakes it asked for, and the desk."""

    def __init__(self, plan: int = 0) -> None:
        side, quantities, limit = PLANS[plan % len(PLANS)]
        self.plan = plan
        self.bench = Bench(Scripted(side, quantities, limit))
        self.desk = self.bench.desk
        self.orders: dict[str, Sent] = {}
        self.cancels: list[str] = []  # on their way to the venue
        self.mail: list[Event] = []  # on its way to the desk
        self.wakes: dict[str, int] = {}
        self.position = ZERO
        self.trades = 0
        self.price = 2000.0
        self.history: list[tuple[dict[str, Any], Event, list[Command]]] = []
        self.alerted = True  # somebody was told since the position was last protected
        self.codes: list[str] = []
        self.submits = 0
        self.ends: dict[str, Decimal] = {}  # what orders had filled in all, by the ends that the desk was told
        self.told: dict[str, Decimal] = {}  # and by the fills that it was told
        self.heard: set[str] = set()  # fills that the desk was told
        self.written_off: set[str] = set()  # orders whose fills the desk does not wait for any more
        self.by_hand = False  # somebody else has traded
        self.flat_again: Trade | None = None  # the trade that held something, and then nothing
        self.unprotected_ns: int | None = None  # since when no acknowledged stop and no exit covers the position

    # ------------------------------------------------------------ telling the desk

    @property
    def now(self) -> int:
        return self.bench.now

    def tell(self, event: Event) -> list[Command]:
        before = self.desk.guard.mode
        self._hear(event)
        event = msgspec.structs.replace(event, ts_seen=self.now)
        verdict = self.bench.script.verdict
        commands = self.bench.tell(event)
        self.history.append((verdict, event, commands))
        for command in commands:
            self._obey(command)
        sent = [c for c in commands if isinstance(c, Submit | Cancel)]
        assert not sent or Mode.HALT not in (before, self.desk.guard.mode) or isinstance(event, OperatorOrder)
        halting = isinstance(event, OperatorOrder) and event.action == "halt" and before is not Mode.HALT
        ending = isinstance(event, OperatorOrder) and event.action == "end" and before is not Mode.HALT
        assert not sent or halting or self.desk.guard.mode is not Mode.HALT, "in a halt nothing is sent"
        assert not (halting or ending) or not self.entries_left(), "an entry is left that nothing could protect"
        assert len(sent) <= 8 + 2 * sum(o.place != "ended" for o in self.orders.values()), "a flood of orders"
        self.check()
        return commands

    def entries_left(self) -> list[str]:
        """Entries that work and were not called back."""
        working = [s for trade in self.desk.custody.trades.values() for s in self.desk.intents.open_of(trade.trade_id)]
        return [s.intent.intent_id for s in working if s.intent.purpose is Purpose.ENTRY and not s.cancelling]

    def _hear(self, event: Event) -> None:
        if isinstance(event, OrderUpdate) and event.order.status.terminal:
            self.ends[intent_of(event.order.client_order_id) or ""] = event.order.filled
        elif isinstance(event, FillBooked) and event.fill.trade_id not in self.heard:
            self.heard.add(event.fill.trade_id)
            intent_id = intent_of(event.fill.client_order_id) or ""
            self.told[intent_id] = self.told.get(intent_id, ZERO) + event.fill.quantity

    def _obey(self, command: Command) -> None:
        if isinstance(command, Submit):
            request = command.intent.request
            assert command.intent.intent_id not in self.orders
            assert request.reduce_only == (command.intent.purpose is not Purpose.ENTRY)
            if command.intent.purpose is Purpose.ENTRY:
                assert self.known == 0, "an entry on top of what is held already"
            if command.intent.purpose in SELLING:
                trade = self.trade
                assert trade is not None and request.quantity <= self.unsold(trade), "an exit sells what is held"
                others = self.desk.intents.open_of(trade.trade_id, *SELLING)
                assert [s.intent.intent_id for s in others] == [command.intent.intent_id], "one exit at a time"
            self.submits += 1
            self.orders[command.intent.intent_id] = Sent(command, quantity=request.quantity, changed_ns=self.now)
        elif isinstance(command, Cancel):
            self.cancels.append(command.intent_id)
        elif isinstance(command, WakeAt):
            self.wakes[command.key] = command.ts_ns
        elif isinstance(command, Alert):
            self.alerted = True
            self.codes.append(command.code)
            if command.code == "fills.missing":
                self.written_off.add(str(command.facts["intent"]))

    def report(self, order: Sent, status: OrderStatus, *, filled: Decimal | None = None) -> OrderUpdate:
        """What is told of an order's state now."""
        r = order.submit.intent.request
        told = Order(
            order_id=order.intent_id,
            client_order_id=client_order_id(order.intent_id, 1),
            symbol=r.symbol,
            side=r.side,
            order_type=r.order_type,
            quantity=order.quantity,
            price=r.price,
            stop_price=r.stop_price,
            reduce_only=r.reduce_only,
            time_in_force=TimeInForce.GTC,
            status=status,
            filled=order.filled if filled is None else filled,
            updated_ns=self.now if status is OrderStatus.UNKNOWN else order.changed_ns,
            reason="so it is",
        )
        return OrderUpdate(ts_event=told.updated_ns, ts_seen=self.now, order=told)

    def move(self, order: Sent, status: OrderStatus) -> None:
        """An order changes at the venue, and the news of it sets out."""
        order.status, order.changed_ns = status, self.now
        order.place = "ended" if status.terminal else "at the venue"
        self.mail.append(self.report(order, status))

    def fill(self, side: Side, quantity: Decimal, client_id: str, *, liquidation: bool = False) -> None:
        """Something of ours trades, or of the venue's, or of a person's."""
        self.trades += 1
        self.by_hand = self.by_hand or client_id == BY_HAND
        self.position += side.sign * quantity
        fill = Fill(
            symbol=SYMBOL,
            trade_id=str(self.trades),
            order_id=client_id,
            client_order_id=client_id,
            side=side,
            price=Decimal(2000),
            quantity=quantity,
            fee=ZERO,
            maker=False,
            ts_ns=self.now,
            liquidation=liquidation,
        )
        self.mail.append(FillBooked(ts_event=self.now, ts_seen=self.now, fill=fill))

    # ------------------------------------------------------------ what the venue does

    def at(self, *places: str) -> list[Sent]:
        return [o for o in self.orders.values() if o.place in places]

    def accept(self, order: Sent) -> None:
        reduces = order.submit.intent.request.reduce_only and order.submit.intent.request.stop_price is None
        if reduces and self.position * order.sign >= 0:
            self.move(order, OrderStatus.REJECTED)
        else:
            self.move(order, OrderStatus.NEW)

    def trade_order(self, order: Sent, part: int) -> None:
        """An order trades, all of it or some; a reduce-only one never more than is held."""
        quantity = order.remaining
        if order.submit.intent.request.reduce_only:
            if self.position * order.sign >= 0:
                self.move(order, OrderStatus.EXPIRED)
                return
            if quantity > abs(self.position):
                quantity = abs(self.position)
                order.quantity = order.filled + quantity if part % 2 else order.quantity
        if part % 3 == 1:
            quantity = max(LOT, (quantity / 2).quantize(LOT))
        order.filled += quantity
        request = order.submit.intent.request
        self.fill(request.side, quantity, client_order_id(order.intent_id, 1))
        self.move(order, OrderStatus.FILLED if order.remaining == 0 else OrderStatus.PARTIALLY_FILLED)

    def do_cancel(self, intent_id: str) -> None:
        """A cancel arrives. One that finds nothing is answered by what the order's state is, when it has one."""
        order = self.orders[intent_id]
        if order.place == "at the venue":
            self.move(order, OrderStatus.CANCELED)
        elif order.place == "ended":
            self.mail.append(self.report(order, order.status))

    def deliver(self, number: int, *, twice: bool = False) -> None:
        if self.mail:
            number %= len(self.mail)
            self.tell(self.mail[number] if twice else self.mail.pop(number))

    def deliver_all(self) -> None:
        while self.mail:
            self.deliver(0)

    def advance(self, seconds: float) -> None:
        """Time passes, and every wake comes when it is due."""
        until = self.now + round(seconds * SECOND)
        while self.wakes and min(self.wakes.values()) <= until:
            key, moment = min(self.wakes.items(), key=lambda item: (item[1], item[0]))
            del self.wakes[key]
            self.bench.now = max(self.now, moment)
            self.tell(Wake(ts_event=moment, ts_seen=self.now, key=key))
        self.bench.now = until

    def candle(self) -> list[Command]:
        bar = Candle(
            symbol=SYMBOL,
            interval="1h",
            open_ns=self.now - HOUR,
            close_ns=self.now,
            open=self.price,
            high=self.price,
            low=self.price,
            close=self.price,
            volume=1.0,
        )
        return self.tell(CandleClosed(ts_event=self.now, ts_seen=self.now, candle=bar))

    def person(self, action: str) -> list[Command]:
        return self.tell(OperatorOrder(ts_event=self.now, ts_seen=self.now, action=action))

    def snapshot(self) -> None:
        """Venue truth; everything before it has been told, as the exchange clients promise."""
        self.deliver_all()
        account = self.desk.account()
        held = Position(
            symbol=SYMBOL,
            quantity=self.position,
            entry_price=Decimal(2000),
            mark_price=Decimal(2000),
            leverage=3,
            margin=ZERO,
            maintenance_margin=ZERO,
            unrealised=ZERO,
            realised=ZERO,
            liquidation_price=None,
        )
        account = Account(**{**attrs.asdict(account, recurse=False), "positions": (held,) if self.position else ()})
        self.tell(VenueSnapshot(ts_event=self.now, ts_seen=self.now, account=account, open_orders=()))

    # ------------------------------------------------------------ what must hold

    @property
    def trade(self) -> Trade | None:
        return self.desk.custody.trades.get(SYMBOL)

    @property
    def known(self) -> Decimal:
        """The position by the desk's own ledger."""
        held = self.desk.account().position(SYMBOL)
        return held.quantity if held is not None else ZERO

    def check(self) -> None:
        """After every event: nothing is booked twice or lost, and no position is silently without protection."""
        coming = (e.fill for e in self.mail if isinstance(e, FillBooked))
        outstanding = sum((f.side.sign * f.quantity for f in coming if f.trade_id not in self.heard), ZERO)
        known = self.known
        assert known == self.position - outstanding
        trade = self.trade
        past = [state for state in self.desk.intents.past if state.promised]
        assert not past, "a trade is forgotten while its fills are on their way"
        if trade is None:
            self.unprotected_ns = None
            return
        assert trade.held * trade.side.sign == known
        working = self.desk.intents.open_of(trade.trade_id)
        entries = [s for s in working if s.intent.purpose is Purpose.ENTRY]
        if self.now > trade.plan.valid_until_ns and self.desk.guard.mode is not Mode.HALT:
            assert all(s.cancelling for s in entries), "an entry outlives its plan"
        exits = [s for s in working if s.intent.purpose in SELLING]
        stops = [s for s in working if s.intent.purpose is Purpose.STOP and not s.cancelling]
        assert all(s.intent.request.side is trade.side.opposite for s in (*stops, *exits))
        assert len(exits) <= 1
        if trade.held <= 0:
            self.flat_again = trade if trade.entered else None
        unsold = self.unsold(trade)
        ordered = sum((s.remaining for s in (*stops, *exits)), ZERO)
        resting = sum((s.remaining for s in (*(s for s in stops if s.resting), *exits)), ZERO)
        self._protected(trade, ordered >= unsold, resting >= unsold)

    def _protected(self, trade: Trade, ordered: bool, acknowledged: bool) -> None:
        """ordered: stops and exits cover what is held; acknowledged: by stops that rest, or by an exit."""
        halted = self.desk.guard.mode is Mode.HALT
        if acknowledged or halted:
            self.unprotected_ns = None
        elif self.unprotected_ns is None:
            self.unprotected_ns = self.now
        late = self.unprotected_ns is not None and self.now - self.unprotected_ns > PROTECT_NS
        assert not late or trade.insisted, "a stop is not acknowledged, and the position is kept"
        if ordered:
            self.alerted = False
            return
        assert self.alerted, "a position without protection, and nobody was told"
        if not halted:
            due = [at for key, at in self.wakes.items() if key.partition(":")[0] in ("retry", "protect")]
            assert due and min(due) <= self.now + 60 * SECOND, "a position without protection, and nothing will be done"

    def unsold(self, trade: Trade) -> Decimal:
        """What is held, less what the venue says our stops and exits have sold though their fills are on the way."""
        sold = ZERO
        for intent_id, filled in self.ends.items():
            order = self.orders[intent_id]
            if order.purpose is not Purpose.ENTRY and order.submit.intent.trade_id == trade.trade_id:
                sold += (
                    max(ZERO, filled - self.told.get(intent_id, ZERO)) if intent_id not in self.written_off else ZERO
                )
        return max(ZERO, trade.held - sold)

    def kind(self, seconds: float = 900.0) -> None:
        """The venue takes and answers everything, and time passes until nothing more happens."""
        until = self.now + round(seconds * SECOND)
        for _ in range(2000):
            if self.mail:
                self.deliver(0)
            elif self.cancels:
                self.do_cancel(self.cancels.pop(0))
            elif waiting := self.at("under way"):
                self.accept(waiting[0])
            elif absent := self.at("absent"):
                self.move(absent[0], OrderStatus.REJECTED)
            elif market := [o for o in self.at("at the venue") if at_market(o)]:
                self.trade_order(market[0], 0)
            else:
                soon = [at for key, at in self.wakes.items() if at <= until and not key.startswith(("entry", "exit"))]
                if not soon:
                    return
                self.advance((min(soon) - self.now) / SECOND)
        raise AssertionError("the exchange of orders and answers never ends")

    def calm(self) -> None:
        """Once the venue is kind: one stop exactly, or nothing at all; then the symbol can be flattened and traded."""
        self.bench.script.verdict = VERDICTS[0]
        if self.desk.guard.mode is Mode.HALT:
            sent = self.submits
            self.kind()
            assert self.submits == sent and not self.cancels
        self.person("start")
        self.person("resume")
        self.kind()
        self.snapshot()
        self.kind()
        self._settled()
        self.person("flatten")
        self.kind()
        assert self.trade is None and not self.at("at the venue"), "something is left after flattening"
        if self.position != 0:
            assert self.by_hand and "position.unowned" in self.codes
            self.fill(Side.SELL if self.position > 0 else Side.BUY, abs(self.position), BY_HAND)  # its owner closes it
            self.deliver_all()
        self.person("resume")
        assert any(isinstance(c, Submit) for c in self.candle()), "the symbol cannot trade again"
        self._replay()

    def _settled(self) -> None:
        assert self.known == self.position
        resting = self.at("at the venue")
        trade = self.trade
        if trade is None:
            assert not resting, "orders outlive their trade"
            assert self.position == 0 or (self.by_hand and "position.unowned" in self.codes)
            return
        entries = [o for o in resting if o.purpose is Purpose.ENTRY]
        others = [o for o in resting if o.purpose is not Purpose.ENTRY]
        assert not entries or (self.now < trade.plan.valid_until_ns and not trade.recalled)
        if trade.held <= 0:
            assert entries and not others, "a trade that waits for nothing"
            return
        (stop,) = others
        assert stop.purpose is Purpose.STOP and stop.remaining == trade.held == abs(self.position)
        assert stop.submit.intent.request.stop_price == trade.wanted_stop == trade.stop_price
        assert not trade.closing and trade.excess == 0 and trade is not self.flat_again
        assert self.by_hand or trade.held <= trade.plan.quantity, "more is held than was planned"

    def _replay(self) -> None:
        """The same events give the same commands, byte for byte."""
        side, quantities, limit = PLANS[self.plan % len(PLANS)]
        again = Bench(Scripted(side, quantities, limit))
        for verdict, event, commands in self.history:
            again.script.verdict = verdict
            assert [encode(c) for c in again.tell(event)] == [encode(c) for c in commands]


def at_market(order: Sent) -> bool:
    """True for an order that trades as soon as it arrives."""
    return order.submit.intent.request.order_type is OrderType.MARKET
