"""The answer to one event, while it is being written: commands in order, and the ids they need."""

from __future__ import annotations

from decimal import Decimal

from attrs import define, field

from ares.events import Alert, Cancel, Command, Intent, Purpose, SetLeverage, Submit, WakeAt
from ares.instruments import Side
from ares.orders import OrderRequest, OrderType
from ares.pipeline.execution import IntentBook, IntentState
from ares.pipeline.guard import Guard, Mode

__all__ = ["Outbox"]


@define
class Outbox:
    """Collects the commands for one event. In `HALT` nothing that reaches the venue is written."""

    seq: int  # of the causing event
    now_ns: int
    intents: IntentBook
    guard: Guard
    commands: list[Command] = field(factory=list)
    _ordinal: int = 0

    def next_id(self, symbol: str) -> str:
        """An intent id that never repeats: symbol, causing seq, ordinal."""
        made = f"{symbol}-{self.seq}-{self._ordinal}"
        self._ordinal += 1
        return made

    def submit(
        self,
        symbol: str,
        side: Side,
        quantity: Decimal,
        purpose: Purpose,
        trade_id: str,
        *,
        order_type: OrderType = OrderType.MARKET,
        price: Decimal | None = None,
        stop_price: Decimal | None = None,
        intent_id: str | None = None,
    ) -> IntentState | None:
        """Write a `Submit` and register its intent; None when the mode forbids it.

        All purposes but `ENTRY` are reduce-only: they can never enlarge or flip a position.
        """
        protective = purpose is not Purpose.ENTRY
        if self.guard.mode is Mode.HALT or (self.guard.mode is Mode.REDUCE and not protective):
            self.alert("order.withheld", symbol, purpose=purpose.value, mode=self.guard.mode.name)
            return None
        request = OrderRequest(
            symbol=symbol,
            side=side,
            order_type=order_type,
            quantity=quantity,
            price=price,
            stop_price=stop_price,
            reduce_only=protective,
        )
        made = intent_id if intent_id is not None else self.next_id(symbol)
        intent = Intent(intent_id=made, trade_id=trade_id, purpose=purpose, request=request)
        self.commands.append(Submit(intent=intent))
        return self.intents.register(intent, self.now_ns)

    def cancel(self, state: IntentState) -> None:
        """Write a `Cancel`, unless one is on its way or the order has ended."""
        if state.open and not state.cancelling and self.guard.mode is not Mode.HALT:
            symbol, intent_id = state.intent.request.symbol, state.intent.intent_id
            state.cancelling = True
            state.cancels.tried(self.now_ns)
            self.commands.append(Cancel(symbol=symbol, intent_id=intent_id))
            if state.cancels.tries > 1:
                self.alert("cancel.repeated", symbol, intent=intent_id, tries=state.cancels.tries)

    def leverage(self, symbol: str, leverage: int) -> None:
        """Write a `SetLeverage`."""
        self.commands.append(SetLeverage(symbol=symbol, leverage=leverage))

    def wake_at(self, ts_ns: int, key: str) -> None:
        """Ask for a `Wake`; a later request with the same key replaces an earlier one."""
        self.commands.append(WakeAt(ts_ns=max(ts_ns, self.now_ns), key=key))

    def alert(self, code: str, symbol: str = "", **facts: str | float | int) -> None:
        """Tell a person."""
        self.commands.append(Alert(code=code, symbol=symbol, facts=facts))
