"""After a crash: fold the journal into a fresh desk, prove it answers as before, ask the venue about the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from ares.clock import Clock
from ares.errors import AresError, DataError, Rejected
from ares.events import Command, Event, OrderUpdate, encode
from ares.orders import Order, OrderStatus
from ares.pipeline.desk import Desk
from ares.pipeline.execution import client_order_id
from ares.pipeline.journal import Journal, Record
from ares.pipeline.outcome import failed
from ares.protocols import Trading

__all__ = ["ReplayReport", "incarnation_at", "reconcile", "recover", "replay", "resolved"]

_PROOF_NS = 20_000_000_000  # an order is called absent only this long after it was written
_FIRST_PAUSE_NS = 1_000_000_000  # after a read that failed; twice as long each time
_UNKNOWN_ORDER = (-2013, -2011)


@frozen(kw_only=True)
class ReplayReport:
    """What a replay found. `difference` is the seq of the first event answered otherwise; None: all alike."""

    events: int
    commands: int
    difference: int | None
    recorded: tuple[Command, ...] = ()
    replayed: tuple[Command, ...] = ()

    @property
    def identical(self) -> bool:
        """True when every event was answered with the recorded commands, byte for byte."""
        return self.difference is None


def replay(
    records: Iterator[Record], desk: Desk, *, each: Callable[[Event, list[Command]], None] | None = None
) -> ReplayReport:
    """Feed recorded events to a fresh desk and compare its commands with the recorded ones.

    each: called with every event and its commands, for progress bars and equity curves. Stops at the first difference.
    Raises: DataError when the journal is damaged.
    """
    try:
        return _replayed(records, desk, each)
    finally:
        desk.calls.replaying(None)


def _replayed(
    records: Iterator[Record], desk: Desk, each: Callable[[Event, list[Command]], None] | None
) -> ReplayReport:
    events = commands = 0
    for event, recorded in records:
        desk.calls.replaying(recorded)
        answered = desk.handle(event)
        events += 1
        commands += len(answered)
        if [encode(c) for c in answered] != [encode(c) for c in recorded]:
            return ReplayReport(
                events=events,
                commands=commands,
                difference=event.seq,
                recorded=tuple(recorded),
                replayed=tuple(answered),
            )
        if each is not None:
            each(event, recorded)
    return ReplayReport(events=events, commands=commands, difference=None)


def recover(journal: Journal, desk: Desk) -> ReplayReport:
    """Fold a journal into a fresh desk.

    Raises: DataError when the desk answers otherwise than it did then: other settings, another model, other code.
    """
    report = replay(journal.records(), desk)
    if not report.identical:
        raise DataError(
            f"this program answers event {report.difference} otherwise than the journal says; "
            "start it with the settings and version that wrote the journal, or begin a new one",
            row=report.difference,
        )
    return report


def incarnation_at(starts: Sequence[tuple[int, int]], seq: int) -> int:
    """The incarnation that wrote event `seq`, by a journal's `incarnations()`: the last that started at or before."""
    return max((number for number, first in starts if first <= seq), default=1)


async def reconcile(exchange: Trading, desk: Desk, journal: Journal, clock: Clock) -> list[OrderUpdate]:
    """Ask the venue about every intent without an answer; the reports to tell the desk, oldest intent first.

    An order is called absent only when the venue denies it twice, the second time well after it was written. Nothing
    is ever sent again.
    """
    starts = journal.incarnations()
    updates: list[OrderUpdate] = []
    for state in desk.intents.unresolved():
        intent = state.intent
        cause = int(intent.intent_id.split("-")[-2])
        client_id = client_order_id(intent.intent_id, incarnation_at(starts, cause))
        order = await _find(exchange, intent.request.symbol, client_id)
        if order is None:
            await clock.wait_until(state.created_ns + _PROOF_NS)
            order = await _find(exchange, intent.request.symbol, client_id)
        now = clock.now_ns()
        if order is None:
            absent = Rejected("the venue has no such order", client_order_id=client_id)
            updates.append(failed(intent, client_id, absent, now))
        elif order.status is not OrderStatus.UNKNOWN:
            updates.append(OrderUpdate(ts_event=order.updated_ns, ts_seen=now, order=order))
    return updates


async def resolved(exchange: Trading, symbol: str, client_id: str, clock: Clock) -> Order | None:
    """The order whose answer was lost, as soon as the venue tells of it; None once the venue has denied it twice.

    Only the venue's own word counts, and only well after the order was sent. A read that fails, for whatever reason, is
    no answer: it is asked again until there is one.
    """
    proof_ns, pause_ns, denials = clock.now_ns() + _PROOF_NS, _FIRST_PAUSE_NS, 0
    while True:
        asked_ns = clock.now_ns()
        try:
            order = await _find(exchange, symbol, client_id)
        except AresError:
            await clock.wait_until(asked_ns + pause_ns)
            pause_ns = min(2 * pause_ns, _PROOF_NS)
            continue
        if order is not None and order.status is not OrderStatus.UNKNOWN:
            return order
        denials += order is None
        if denials >= 2 and asked_ns >= proof_ns:
            return None
        await clock.wait_until(max(proof_ns, asked_ns + pause_ns))


async def _find(exchange: Trading, symbol: str, client_id: str) -> Order | None:
    try:
        return await exchange.get_order(symbol, client_order_id=client_id)
    except Rejected as error:
        if error.code in _UNKNOWN_ORDER or error.code is None:
            return None
        raise
