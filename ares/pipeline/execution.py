"""Order lifecycle: every decision to trade is an intent, and an intent becomes at most one order.

The desk registers an intent before anything is sent; reports of the venue move it along the order-state table, forward
only. A report that is older than what is known changes nothing; a fill is counted once, whatever order it arrives in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from attrs import define, field

from ares.errors import InvalidInput
from ares.events import Intent, Purpose
from ares.orders import NEXT_STATUS, Fill, Order, OrderStatus
from ares.pipeline.backoff import Backoff

__all__ = ["IntentBook", "IntentState", "client_order_id", "intent_of"]

_CLIENT_ID = re.compile(r"ares(\d+)-(.+)")
_FILLS_REMEMBERED = 20_000
_PAST_REMEMBERED = 2_000  # intents of finished trades, whose fills may still come
_CANCEL_PAUSE_NS = 5_000_000_000  # a cancel that has not ended its order by then is asked for again


def client_order_id(intent_id: str, incarnation: int) -> str:
    """The id an intent carries at the venue. `incarnation` counts the starts of one journal: ids never repeat.

    Raises: InvalidInput beyond 36 characters, the venue's limit.
    """
    text = f"ares{incarnation}-{intent_id}"
    if len(text) > 36:
        raise InvalidInput(f"client order id {text!r} is longer than 36 characters", length=len(text))
    return text


def intent_of(client_id: str) -> str | None:
    """The intent behind a client order id; None when the order is not ours."""
    match = _CLIENT_ID.fullmatch(client_id)
    return match.group(2) if match else None


@define
class IntentState:
    """One intent and what is known of its order."""

    intent: Intent
    status: OrderStatus = OrderStatus.PENDING
    order: Order | None = None  # as last reported; None before the first report
    filled: Decimal = Decimal(0)  # base, from fills: they are the truth, reports may lag
    cancelling: bool = False  # a cancel is on its way
    cancels: Backoff = field(factory=lambda: Backoff(_CANCEL_PAUSE_NS))
    created_ns: int = 0
    concluded: bool = False  # what its end means for the trade has been acted upon
    written_off: bool = False  # fills that its end promised are not waited for any more

    @property
    def open(self) -> bool:
        """True while the order may still trade."""
        return not self.status.terminal

    @property
    def resting(self) -> bool:
        """True once the venue has acknowledged the order and while it is open."""
        return self.status in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)

    @property
    def remaining(self) -> Decimal:
        """Base quantity that may still trade; 0 once the order has ended."""
        return self.intent.request.quantity - self.filled if self.open else Decimal(0)

    @property
    def untold(self) -> Decimal:
        """Base quantity that an ended order has traded by the venue's report and of which no fill was told yet."""
        if self.open or self.order is None:
            return Decimal(0)
        return max(Decimal(0), self.order.filled - self.filled)

    @property
    def promised(self) -> Decimal:
        """What of `untold` is still waited for."""
        return Decimal(0) if self.written_off else self.untold


@define
class IntentBook:
    """All intents of one desk. Those of a finished trade are kept apart for a while: a late fill is still ours."""

    _states: dict[str, IntentState] = field(factory=dict)
    _past: dict[str, IntentState] = field(factory=dict)  # of finished trades, oldest first
    _seen: dict[tuple[str, str], None] = field(factory=dict)  # fills booked, oldest first

    def register(self, intent: Intent, now_ns: int) -> IntentState:
        """Note a new intent. Raises InvalidInput when its id was used before."""
        if intent.intent_id in self._states:
            raise InvalidInput(f"intent {intent.intent_id} exists already", intent_id=intent.intent_id)
        state = IntentState(intent, created_ns=now_ns)
        self._states[intent.intent_id] = state
        return state

    def get(self, intent_id: str) -> IntentState | None:
        """The intent's state; None when it is unknown or its trade is over."""
        return self._states.get(intent_id)

    def reported(self, order: Order) -> IntentState | None:
        """Take a report of the venue. None when the order is foreign or the report says nothing new."""
        state = self._of(order.client_order_id)
        if state is None or (state.order is not None and state.order.client_order_id != order.client_order_id):
            return None  # an order that an earlier start sent and could not write down may bear the same number
        known = state.order if state.status is not OrderStatus.UNKNOWN else None  # UNKNOWN is our word, at our time
        if known is not None and order.updated_ns < known.updated_ns and order.filled <= known.filled:
            return None
        if order.status is not state.status:
            if order.status not in NEXT_STATUS[state.status]:
                return None
            if not state.resting:
                state.cancelling = False  # a cancel sent while nobody knew the order reached nothing
            state.status = order.status
        state.order = order
        return state

    def filled(self, fill: Fill) -> tuple[IntentState | None, bool]:
        """Take a fill: its intent (None when foreign; perhaps of a finished trade) and whether it is new."""
        key = (fill.symbol, fill.trade_id)
        if key in self._seen:
            return None, False
        self._seen[key] = None
        if len(self._seen) > _FILLS_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        state = self._of(fill.client_order_id) or self._past.get(intent_of(fill.client_order_id) or "")
        if state is not None:
            state.filled += fill.quantity
            if state.filled >= state.intent.request.quantity and state.open:
                state.status = OrderStatus.FILLED
        return state, True

    def of_trade(self, trade_id: str, *purposes: Purpose) -> Iterator[IntentState]:
        """The intents of one trade, in order of creation; only of `purposes` when any are named."""
        for state in self._states.values():
            if state.intent.trade_id == trade_id and (not purposes or state.intent.purpose in purposes):
                yield state

    def open_of(self, trade_id: str, *purposes: Purpose) -> list[IntentState]:
        """Those of a trade's intents whose orders may still trade."""
        return [s for s in self.of_trade(trade_id, *purposes) if s.open]

    @property
    def past(self) -> Iterable[IntentState]:
        """Intents of finished trades, as far as they are remembered."""
        return self._past.values()

    def unresolved(self) -> list[IntentState]:
        """Intents that were to be sent and have no word from the venue yet."""
        return [s for s in self._states.values() if s.status in (OrderStatus.PENDING, OrderStatus.UNKNOWN)]

    def forget(self, trade_id: str) -> None:
        """Put away the intents of a finished trade."""
        for intent_id in [s.intent.intent_id for s in self.of_trade(trade_id)]:
            self._past[intent_id] = self._states.pop(intent_id)
        while len(self._past) > _PAST_REMEMBERED:
            del self._past[next(iter(self._past))]

    def describe(self) -> list[dict[str, Any]]:
        """Open intents for a status page."""
        return [
            {"intent": s.intent.intent_id, "purpose": s.intent.purpose.value, "status": s.status.value}
            for s in self._states.values()
            if s.open
        ]

    def _of(self, client_id: str) -> IntentState | None:
        intent_id = intent_of(client_id)
        return self._states.get(intent_id) if intent_id is not None else None
