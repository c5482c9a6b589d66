"""Sending what the desk decided, each order once, and finding out what became of it.

Whatever an exchange raises, it ends no session: what did not work is told to the desk as an event, and what nobody can
say is asked for, beside everything else, until the venue has an answer.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from ares.clock import Clock
from ares.errors import AresError, OutcomeUnknown, Rejected, Retryable
from ares.events import Alert, Cancel, Event, Intent, OrderUpdate, Purpose, SetLeverage
from ares.orders import Order, OrderStatus, OrderType
from ares.pipeline.desk import Desk
from ares.pipeline.execution import IntentState, client_order_id, intent_of
from ares.pipeline.guard import Mode
from ares.pipeline.merge import Merger
from ares.pipeline.outcome import absent, answered, failed
from ares.pipeline.recovery import incarnation_at, look_up, resolved
from ares.protocols import Trading

__all__ = ["Dispatch"]

_PROTECTIVE_TRIES = 5  # an exit or stop that the venue could not take now is tried again this often
_MAX_BACKOFF = 1.0  # seconds between two tries of an exit or stop
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0  # seconds between two tries of a cancel; twice as long each time
_ON_ITS_WAY_NS = 2_000_000_000  # an order so young may be missing from what the venue tells
_DUPLICATE = -4116  # an open order has this client id already


@define
class Dispatch:
    """Orders, cancels and leverage on their way to the venue, and those whose fate is open.

    An order is sent once; asked about until the venue has told of it. A cancel is repeated until its order has ended.
    """

    exchange: Trading
    desk: Desk
    clock: Clock
    merger: Merger
    alert: Callable[[Alert], None]
    starts: list[tuple[int, int]] = field(factory=list)  # of the journal: (incarnation, first seq)
    ours: set[str] = field(factory=set)  # intents that were ever to be sent
    called_back: dict[str, Cancel] = field(factory=dict)  # cancels that the desk asked for, by intent
    _asking: set[str] = field(factory=set)  # intents that are being asked about
    _repeating: set[str] = field(factory=set)  # intents whose cancel is being repeated

    def client_id(self, intent_id: str) -> str:
        """The id of an intent's order at the venue."""
        return client_order_id(intent_id, incarnation_at(self.starts, int(intent_id.split("-")[-2])))

    # ------------------------------------------------------------ sending

    async def submit(self, intent: Intent, *, blocked: bool = False) -> None:
        """Send an order. What is refused, or has no answer, comes to the desk as an event."""
        client_id = self.client_id(intent.intent_id)
        self.ours.add(intent.intent_id)
        error: AresError | None
        if blocked and intent.purpose is Purpose.ENTRY:
            error = Rejected("not sent: the leverage could not be set", symbol=intent.request.symbol)
        else:
            error = await self._place(intent, client_id)
        if error is None:
            return
        self.merger.put(failed(intent, client_id, error, self.clock.now_ns()))
        if isinstance(error, OutcomeUnknown):
            self.ask(intent)

    async def _place(self, intent: Intent, client_id: str) -> AresError | None:
        """Why the order did not get through; None: it did."""
        request = intent.request
        tries = 1 if intent.purpose is Purpose.ENTRY else _PROTECTIVE_TRIES
        error: AresError | None = None
        for attempt in range(tries):
            try:
                await answered(
                    self.exchange.create_order(
                        request.symbol,
                        request.side,
                        request.order_type,
                        request.quantity,
                        price=request.price,
                        stop_price=request.stop_price,
                        reduce_only=request.reduce_only,
                        time_in_force=request.time_in_force,
                        client_order_id=client_id,
                    )
                )
                return None
            except Retryable as retryable:
                error = retryable
                if attempt + 1 < tries:
                    await self.clock.sleep(min(_MAX_BACKOFF, retryable.after or 0.2 * 2**attempt))
            except Rejected as refused:
                if refused.code == _DUPLICATE:  # an earlier try has got through after all
                    return OutcomeUnknown(refused.message, client_order_id=client_id)
                return refused
            except AresError as refused:
                return refused
        return error

    async def set_leverage(self, command: SetLeverage) -> bool:
        """Whether the venue has confirmed the leverage."""
        try:
            await answered(self.exchange.set_leverage(command.symbol, command.leverage))
        except AresError as error:
            self.alert(Alert(code="leverage.refused", symbol=command.symbol, facts={"reason": str(error)}))
            return False
        return True

    async def cancel(self, command: Cancel) -> None:
        """Cancel an order; when that does not work it is tried again, beside everything else, until it has ended."""
        if self.desk.intents.get(command.intent_id) is None:
            return
        self.called_back[command.intent_id] = command
        rest = await self._cancel_once(command, at_once=True)
        if rest is not None:
            self.repeat(command, rest)

    # ------------------------------------------------------------ cancels that did not work

    def repeat(self, command: Cancel, rest: float = 0.0) -> None:
        """Cancel again and again, first in `rest` seconds, until the order has ended."""
        if command.intent_id not in self._repeating:
            self._repeating.add(command.intent_id)
            self.merger.run_outside(self._repeated(command, rest))

    async def _repeated(self, command: Cancel, rest: float | None) -> None:
        pause = 0.0
        try:
            while rest is not None and (state := self.desk.intents.get(command.intent_id)) is not None and state.open:
                await self.clock.wait_until(self.clock.now_ns() + round(max(pause, rest) * 1e9))
                pause = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, 2 * pause))
                rest = await self._cancel_once(command)
        finally:
            self._repeating.discard(command.intent_id)

    async def _cancel_once(self, command: Cancel, *, at_once: bool = False) -> float | None:
        """Try to cancel: None when there is nothing more to do, else the seconds that the venue wants to rest.

        An order that cannot be cancelled is read and told to the desk: it may have ended. One that the venue does not
        know is either asked about already, or not there at all. at_once: everything waits for this, so that a venue
        which does not answer is asked no more now.
        """
        client_id = self.client_id(command.intent_id)
        try:
            await answered(self.exchange.cancel_order(command.symbol, client_order_id=client_id))
            return None
        except Retryable as error:
            return error.after or 0.0
        except Rejected:
            pass
        except AresError:
            if at_once:
                return 0.0
        try:
            order = await answered(self.exchange.get_order(command.symbol, client_order_id=client_id))
        except Rejected:
            if (state := self.desk.intents.get(command.intent_id)) is not None and state.open:
                self.ask(state.intent)
            return 0.0
        except AresError as error:
            facts: dict[str, str | float | int] = {"intent": command.intent_id, "reason": str(error)}
            self.alert(Alert(code="cancel.failed", symbol=command.symbol, facts=facts))
            return 0.0
        self.merger.put(self._update(order))
        return None if order.status.terminal else 0.0

    # ------------------------------------------------------------ orders whose fate is open

    def ask(self, intent: Intent, since_ns: int | None = None, *, lost: bool = False) -> None:
        """Find out what became of an order, beside everything else.

        since_ns: when it was sent at the latest; None: just now. lost: the process that was to send it has died, so
        that an exit or stop which the venue does not know is sent now.
        """
        if intent.intent_id not in self._asking:
            self._asking.add(intent.intent_id)
            self.merger.run_outside(self._fate(intent, since_ns, lost))

    async def _fate(self, intent: Intent, since_ns: int | None, lost: bool) -> Event | None:
        client_id, symbol = self.client_id(intent.intent_id), intent.request.symbol
        try:
            if lost and self._protects(intent):
                order = await look_up(self.exchange, symbol, client_id, self.clock)
                if order is None and self._protects(intent):
                    error = await self._place(intent, client_id)
                    if not isinstance(error, OutcomeUnknown):
                        return None if error is None else failed(intent, client_id, error, self.clock.now_ns())
                    since_ns = None
            order = await resolved(self.exchange, symbol, client_id, self.clock, since_ns)
            state = self.desk.intents.get(intent.intent_id)
            if order is None:
                return None if state is None else absent(state.intent, client_id, state.order, self.clock.now_ns())
            if state is not None and order.status is state.status:
                return None
            return self._update(order)
        finally:
            self._asking.discard(intent.intent_id)

    async def tell_refused(self, intent: Intent) -> None:
        """Tell that an order was refused, where nothing can be on its way and the venue does not know it."""
        client_id = self.client_id(intent.intent_id)
        try:
            await self.exchange.get_order(intent.request.symbol, client_order_id=client_id)
        except Rejected as error:
            self.merger.put(failed(intent, client_id, error, self.clock.now_ns()))

    def _protects(self, intent: Intent) -> bool:
        """Whether the desk still wants this very order for the whole of what it holds: then it is harmless twice.

        In a halt it wants nothing.
        """
        if self.desk.guard.mode is Mode.HALT:
            return False
        state = self.desk.intents.get(intent.intent_id)
        trade = self.desk.custody.trades.get(intent.request.symbol)
        if state is None or trade is None or state.status not in (OrderStatus.PENDING, OrderStatus.UNKNOWN):
            return False
        if intent.trade_id != trade.trade_id or intent.intent_id in self.called_back:
            return False
        if intent.purpose is Purpose.STOP:
            wanted = not trade.closing and intent.request.stop_price == trade.wanted_stop
        else:
            wanted = bool(trade.closing) and intent.request.order_type is OrderType.MARKET
        return wanted and intent.request.reduce_only and intent.request.quantity == trade.held

    def _update(self, order: Order) -> OrderUpdate:
        return OrderUpdate(ts_event=order.updated_ns, ts_seen=self.clock.now_ns(), order=order)

    # ------------------------------------------------------------ venue truth against what the desk believes

    def compare(self, open_orders: tuple[Order, ...], asked_ns: int, *, after_restart: bool = False) -> None:
        """Bring the desk's open orders in line with the venue's, as it told them at `asked_ns`.

        What stands there otherwise than the desk believes is told; what does not stand there is asked about; what
        should not stand there is cancelled.
        """
        standing = {o.client_order_id: o for o in open_orders}
        believed = {self.client_id(state.intent.intent_id): state for state in self._open()}
        for client_id, state in believed.items():
            command = self.called_back.get(state.intent.intent_id)
            if client_id in standing:
                self._compare_standing(state, standing[client_id])
            elif after_restart or state.created_ns < asked_ns - _ON_ITS_WAY_NS:
                self.ask(state.intent, state.created_ns if after_restart else None, lost=after_restart)
            if command is not None and (client_id in standing or after_restart):
                self.repeat(command)
        for client_id in standing.keys() - believed.keys():
            self._forgotten(standing[client_id], after_restart=after_restart)
        ended = [i for i in self.called_back if (s := self.desk.intents.get(i)) is None or not s.open]
        for intent_id in ended:
            del self.called_back[intent_id]

    def _compare_standing(self, state: IntentState, order: Order) -> None:
        if order.status is not state.status:
            self.merger.put(self._update(order))

    def _forgotten(self, order: Order, *, after_restart: bool) -> None:
        """An order of ours stands that no trade of the desk knows: it came after we had given it up, or was sent while
        nothing could be written down. A stop may stay until the position, as far as it is known, has another.
        """
        intent_id, symbol = intent_of(order.client_order_id) or "", order.symbol
        state, trade = self.desk.intents.get(intent_id), self.desk.custody.trades.get(symbol)
        written = intent_id in self.ours and self.client_id(intent_id) == order.client_order_id
        if written and state is not None and state.status in (OrderStatus.CANCELED, OrderStatus.FILLED):
            return  # it has ended since the venue was asked
        unwritten = bool(intent_id) and order.reduce_only and symbol in self.desk.symbols
        needed = order.reduce_only and trade is not None and (after_restart or not self.desk.custody.covered(trade))
        if (written or unwritten) and not needed:
            self.merger.run_outside(self._take_back(order))

    async def _take_back(self, order: Order) -> None:
        facts: dict[str, str | float | int] = {"order": order.client_order_id}
        try:
            await answered(self.exchange.cancel_order(order.symbol, client_order_id=order.client_order_id))
        except AresError as error:  # it has ended meanwhile, or the next snapshot shows it again
            facts["reason"] = str(error)
        self.alert(Alert(code="order.forgotten", symbol=order.symbol, facts=facts))

    def _open(self) -> list[IntentState]:
        trades = list(self.desk.custody.trades.values())
        return [state for trade in trades for state in self.desk.intents.open_of(trade.trade_id)]
