"""Playing a session again from a journal: the same commands at the same places must produce the same events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from ares.errors import AresError, DataError, Rejected
from ares.events import (
    Cancel,
    CandleClosed,
    Command,
    Event,
    FuturesStatistics,
    Intent,
    LinkChanged,
    ModelActivated,
    OperatorOrder,
    OrderUpdate,
    Purpose,
    SetLeverage,
    StageDone,
    Submit,
    VenueSnapshot,
    WakeAt,
    encode,
)
from ares.orders import Order
from ares.simulation.session import Session

__all__ = ["restore_session"]


def restore_session(
    session: Session,
    opening: Event,
    records: Iterable[tuple[Event, Sequence[Command]]],
    client_id: Callable[[Intent], str],
) -> int:
    """Bring a fresh session to where the records end; the number of records.

    opening: the session's first event, already taken from it. Events that the session did not make (history, operator,
    stages, what a refusal became) are passed over, but their commands are carried out. A cancel of the last record that
    came too late is answered by what became of its order, for nobody has heard that yet.
    Raises: DataError with the record's number when the session makes another event than was recorded.
    """
    sent: dict[str, str] = {}
    count = 0
    late: list[Order] = []
    for event, commands in records:
        if count == 0:
            _must_match(opening, event, 0)
        elif not _made_elsewhere(session, event):
            _must_match(session.next_event(), event, count)
        late = _carry_out(session, commands, client_id, sent)
        count += 1
    for order in reversed(late):
        news = OrderUpdate(ts_event=order.updated_ns, ts_seen=session.venue.now_ns, order=order)
        session.venue.events.appendleft(news)
    return count


def _same(made: Event, recorded: Event) -> bool:
    """Equal but for the number, and the time at which the desk saw it."""
    return encode(msgspec.structs.replace(made, seq=-1, ts_seen=0)) == encode(
        msgspec.structs.replace(recorded, seq=-1, ts_seen=0)
    )


def _must_match(made: Event | None, recorded: Event, row: int) -> None:
    if made is None or not _same(made, recorded):
        raise DataError(
            f"record {row} is {type(recorded).__name__} at {recorded.ts_event}, but this tape and venue give "
            f"{'nothing more' if made is None else f'{type(made).__name__} at {made.ts_event}'}: "
            "the journal belongs to another tape, start, or setting",
            row=row,
        )


def _made_elsewhere(session: Session, event: Event) -> bool:
    """True for an event that came from the desk's shell and not from the session."""
    if isinstance(event, OperatorOrder | StageDone | ModelActivated | LinkChanged):
        return True
    if isinstance(event, CandleClosed):
        return event.history
    if isinstance(event, FuturesStatistics):
        return event.ts_event <= session.start_ns  # history, which the shell asked for
    if isinstance(event, VenueSnapshot):
        return _same(session.venue.snapshot(), event)
    if not isinstance(event, OrderUpdate):
        return False
    waiting = session.venue.events
    if waiting and _same(waiting[0], event):
        return False
    order = event.order
    if order.order_id.startswith("none:"):
        return True
    try:  # what the venue said about an order that could not be cancelled any more
        return session.get_order(order.symbol, order.order_id) == order
    except Rejected:
        return False


def _carry_out(
    session: Session, commands: Sequence[Command], client_id: Callable[[Intent], str], sent: dict[str, str]
) -> list[Order]:
    """Send the commands as the shell did; what it was refused is refused again. Orders whose cancel came too late."""
    blocked: set[str] = set()
    late: list[Order] = []
    for command in commands:
        try:
            if isinstance(command, Submit):
                request = command.intent.request
                if command.intent.purpose is Purpose.ENTRY and request.symbol in blocked:
                    continue
                sent[command.intent.intent_id] = client_id(command.intent)
                session.submit(request, sent[command.intent.intent_id])
            elif isinstance(command, Cancel):
                known = sent.get(command.intent_id)
                if known is not None:
                    session.cancel(command.symbol, client_order_id=known)
            elif isinstance(command, WakeAt):
                session.wake_at(command.ts_ns, command.key)
            elif isinstance(command, SetLeverage):
                session.set_leverage(command.symbol, command.leverage)
        except AresError:
            if isinstance(command, SetLeverage):
                blocked.add(command.symbol)
            elif isinstance(command, Cancel):
                late += _ended(session, command.symbol, sent[command.intent_id])
    return late


def _ended(session: Session, symbol: str, client_order_id: str) -> list[Order]:
    """What became of an order that could not be cancelled; nothing when it never reached the venue."""
    try:
        return [session.get_order(symbol, client_order_id=client_order_id)]
    except Rejected:
        return []
