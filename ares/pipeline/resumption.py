"""Going on after a death: protection first and at once, entries once everything is known again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine

from attrs import define, field

from ares.clock import Clock
from ares.errors import DataError
from ares.events import Event, OperatorOrder, RunStage, StageDone, VenueSnapshot, WakeAt
from ares.pipeline.desk import Desk
from ares.pipeline.dispatch import Dispatch
from ares.pipeline.merge import Merger
from ares.pipeline.outside import answer_within
from ares.pipeline.recovery import Unfinished

__all__ = ["Resumption", "truth_first"]

_TRUTH_NS = 1_000_000_000  # wakes that fell due while we were away wait so long for the venue's first word
_EXPLAINED_NS = 5_000_000_000  # so long a snapshot waits for the fills that explain it


async def truth_first(stream: AsyncIterator[Event]) -> AsyncGenerator[Event, None]:
    """An account stream that begins with venue truth. Raises: DataError for another one."""
    try:
        async for event in stream:
            if not isinstance(event, VenueSnapshot):
                raise DataError(f"the account stream must begin with a VenueSnapshot, not {type(event).__name__}")
            yield event
            break
        async for event in stream:
            yield event
    finally:
        closing = getattr(stream, "aclose", None)
        if closing is not None:
            await closing()


@define
class Resumption:
    """Takes up what a journal left unfinished.

    The venue is compared with the desk as soon as it speaks; then wakes are armed again, and what fell due while we
    were away is told. Entries wait until the missed bars were told and every intent whose fate was open is known.
    """

    desk: Desk
    clock: Clock
    merger: Merger
    dispatch: Dispatch
    unfinished: Unfinished
    wake_at: Callable[[WakeAt], None]
    ask_stage: Callable[[RunStage], Coroutine[None, None, StageDone]]
    _in_doubt: set[str] = field(init=False)
    _truth: bool = False  # the venue has spoken
    _told: bool = False  # the desk was told what it said
    _warm: bool = False  # the missed bars were told
    _armed: asyncio.Event = field(factory=asyncio.Event)
    _ahead: VenueSnapshot | None = None  # venue truth that waits for the fills which explain it

    def __attrs_post_init__(self) -> None:
        self._in_doubt = {state.intent.intent_id for state in self.desk.intents.unresolved()}
        self.dispatch.called_back.update(self.unfinished.cancels)
        self.dispatch.ours.update(self.unfinished.intents)

    def begin(self) -> None:
        """See to it that a silent venue delays no wake for long."""
        self.merger.run_outside(self._arm_soon())

    def hear(self, event: Event) -> bool:
        """Whether the desk may be told of this now: the venue's first word waits for what explains it."""
        if self._truth or not isinstance(event, VenueSnapshot):
            return True
        self._truth = True
        self.dispatch.compare(event.open_orders, event.ts_seen, after_restart=True)
        if self._explained(event):
            self._explain(event)
        else:
            self._ahead = event
            self.merger.run_outside(self._unexplained())
        return False

    def take_note(self, event: Event) -> None:
        """The desk was told of this."""
        if isinstance(event, VenueSnapshot):
            self._told = True
        elif self._ahead is not None and self._explained(self._ahead):
            self._explain(self._ahead)

    async def answers(self) -> AsyncGenerator[Event, None]:
        """Answers of outside stages that were asked and not heard: asked again, those for history one after the other.

        Nothing comes before entries are held. Other answers are told whenever they come.
        """
        await self._armed.wait()
        for command in self.unfinished.questions.values():
            if command.history:
                yield await self.in_time(command)
            else:
                self.merger.run_outside(self.ask_stage(command))

    async def in_time(self, command: RunStage) -> StageDone:
        """A stage's answer, or that it timed out: while it is waited for, nobody hears the market."""
        timeout_ns = self.desk.config.stage_timeout_ns
        return await answer_within(timeout_ns, self.ask_stage(command), command, self.clock)

    def warm(self) -> None:
        """All bars that closed unheard were told."""
        self._warm = True

    def over(self) -> bool:
        """Whether all is known again."""
        waiting = {state.intent.intent_id for state in self.desk.intents.unresolved()} & self._in_doubt
        return self._told and self._warm and not waiting

    def let_go(self) -> None:
        """Entries may be again."""
        self.merger.put(self._order("start"))

    def _explain(self, snapshot: VenueSnapshot) -> None:
        """Tell venue truth that the desk agrees with, after what the comparison of orders has found."""
        self._arm()
        self.merger.put(snapshot)
        self._ahead = None

    async def _unexplained(self) -> Event | None:
        """The snapshot that no fill has explained in time: the desk must know."""
        await self.clock.wait_until(self.clock.now_ns() + _EXPLAINED_NS)
        ahead, self._ahead = self._ahead, None
        return ahead

    def _explained(self, snapshot: VenueSnapshot) -> bool:
        """Whether the desk holds what the venue says."""
        ours = {p.symbol: p.quantity for p in self.desk.account().positions}
        theirs = {p.symbol: p.quantity for p in snapshot.account.positions if p.symbol in self.desk.symbols}
        return ours == theirs

    def _order(self, action: str) -> OperatorOrder:
        now = self.clock.now_ns()
        return OperatorOrder(ts_event=now, ts_seen=now, action=action)

    async def _arm_soon(self) -> None:
        await self.clock.wait_until(self.clock.now_ns() + _TRUTH_NS)
        self._arm()

    def _arm(self) -> None:
        """Hold entries, and ask for every wake that was not told: one that is due comes at once."""
        if self._armed.is_set():
            return
        self._armed.set()
        if "stopped" not in self.desk.guard.latches:
            self.merger.put(self._order("stop"))
        for key, ts_ns in sorted(self.unfinished.alarms.items(), key=lambda item: (item[1], item[0])):
            self.wake_at(WakeAt(ts_ns=ts_ns, key=key))
