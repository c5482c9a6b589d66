"""After a crash: fold the journal into a fresh desk, prove it answers as before, see what it left unfinished."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import define, field, frozen

from ares.clock import Clock
from ares.errors import AresError, DataError, Rejected
from ares.events import (
    Cancel,
    CandleClosed,
    Command,
    Event,
    FuturesStatistics,
    ModelActivated,
    RunStage,
    StageDone,
    Submit,
    VenueSnapshot,
    Wake,
    WakeAt,
    encode,
)
from ares.orders import Order, OrderStatus
from ares.pipeline.desk import Desk
from ares.pipeline.journal import Journal, Record
from ares.pipeline.outcome import answered
from ares.protocols import Trading

__all__ = ["ReplayReport", "Unfinished", "incarnation_at", "look_up", "recover", "replay", "resolved"]

_PROOF_NS = 20_000_000_000  # an order is called absent only this long after it was written
_FIRST_PAUSE_NS = 1_000_000_000  # after a read that failed; twice as long each time
_GENERAL = range(-1999, 0)  # codes by which Binance says that a request itself failed, whatever it was about


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


@define
class Unfinished:
    """What the records of a journal asked for and did not come to see done."""

    alarms: dict[str, int] = field(factory=dict)  # moments (ns) of wakes that were not told, by key
    cancels: dict[str, Cancel] = field(factory=dict)  # by intent; whether it has ended, the desk knows
    questions: dict[str, RunStage] = field(factory=dict)  # to outside stages, by request
    intents: set[str] = field(factory=set)  # all that were ever to be sent
    traded: bool = False  # more was told than venue truth and history

    def read(self, event: Event, commands: Sequence[Command]) -> None:
        """Take one record."""
        if isinstance(event, Wake) and self.alarms.get(event.key, event.ts_event + 1) <= event.ts_event:
            del self.alarms[event.key]
        elif isinstance(event, StageDone):
            self.questions.pop(event.request, None)
        self.traded = self.traded or not (
            isinstance(event, VenueSnapshot | FuturesStatistics | StageDone | ModelActivated)
            or (isinstance(event, CandleClosed) and event.history)
        )
        for command in commands:
            if isinstance(command, WakeAt):
                self.alarms[command.key] = command.ts_ns
            elif isinstance(command, Cancel):
                self.cancels[command.intent_id] = command
            elif isinstance(command, RunStage):
                self.questions[command.request] = command
            elif isinstance(command, Submit):
                self.intents.add(command.intent.intent_id)


def recover(
    journal: Journal, desk: Desk, *, each: Callable[[Event, list[Command]], None] | None = None
) -> ReplayReport:
    """Fold a journal into a fresh desk. each: called with every event and its commands.

    Raises: DataError when the desk answers otherwise than it did then: other settings, another model, other code.
    """
    report = replay(journal.records(), desk, each=each)
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


async def look_up(exchange: Trading, symbol: str, client_id: str, clock: Clock) -> Order | None:
    """What the venue says of an order now; None: it knows no such order. A read that fails is asked again."""
    pause_ns = _FIRST_PAUSE_NS
    while True:
        asked_ns = clock.now_ns()
        try:
            return await _find(exchange, symbol, client_id)
        except AresError:
            await clock.wait_until(asked_ns + pause_ns)
            pause_ns = min(2 * pause_ns, _PROOF_NS)


async def resolved(
    exchange: Trading, symbol: str, client_id: str, clock: Clock, sent_ns: int | None = None
) -> Order | None:
    """The order whose answer was lost, as soon as the venue tells of it; None once the venue has denied it twice.

    Only the venue's own word counts, and only well after the order was sent, at `sent_ns` (None: just now). A read that
    fails, for whatever reason, is no answer: it is asked again until there is one.
    """
    proof_ns = (sent_ns if sent_ns is not None else clock.now_ns()) + _PROOF_NS
    pause_ns, denials = _FIRST_PAUSE_NS, 0
    while True:
        asked_ns = clock.now_ns()
        proof_ns = min(proof_ns, asked_ns + _PROOF_NS)  # a clock that was ahead when it was sent has been set right
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
        return await answered(exchange.get_order(symbol, client_order_id=client_id))
    except Rejected as error:
        if error.code in _GENERAL:
            raise
        return None  # each venue has a code of its own for an order that it does not know
