"""The event driver: one desk on one simulated session, without an event loop.

It is the live shell with waiting taken out: the same desk, the same venue, the same rule for what a refusal becomes.
`tests/test_modes.py` holds the two against each other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from attrs import define, field

from ares.errors import AresError, InvalidInput, Rejected
from ares.events import (
    Alert,
    Cancel,
    CandleClosed,
    Command,
    Event,
    Intent,
    OrderUpdate,
    Purpose,
    RunStage,
    SetLeverage,
    Submit,
    VenueSnapshot,
    WakeAt,
)
from ares.pipeline.desk import Desk
from ares.pipeline.execution import client_order_id
from ares.pipeline.outcome import failed
from ares.pipeline.outside import stage_answer
from ares.pipeline.retraining import ModelSource, activation
from ares.pipeline.seat import statistics_since
from ares.protocols import AnalysisStage, TacticsStage
from ares.simulation.session import Session

__all__ = ["Driver", "Observer"]

Observer = Callable[[Event, list[Command]], None]
_INCARNATION = 1  # a backtest is never resumed


@define(kw_only=True)
class Driver:
    """Feeds a session's events to a desk and its commands back, until the tape ends."""

    session: Session
    desk: Desk
    analyst: AnalysisStage
    tactician: TacticsStage
    observer: Observer
    history: int | None = None  # bars before the start, per symbol; None: what the features need
    models: ModelSource | None = None  # says which model decides when; None: the analyst keeps its own
    stop_on_failure: bool = True
    _local: deque[Event] = field(factory=deque, init=False)
    _loop: _OwnLoop = field(factory=lambda: _OwnLoop(), init=False)

    def run(self) -> None:
        """Play the whole session."""
        try:
            while (event := self._local.popleft() if self._local else self.session.next_event()) is not None:
                self._handle(event)
                if isinstance(event, VenueSnapshot) and self.desk.seq == 0:
                    self._warm_up()
        finally:
            self._loop.close()

    def _warm_up(self) -> None:
        """Tell the desk of the bars that closed before the session began."""
        for symbol in self.desk.symbols:
            wanted = self.history if self.history is not None else self.desk.history_needed(symbol)
            candles = self.session.history(symbol, wanted)
            if candles and "futures" in self.desk.kinds:
                since = statistics_since(candles[0].open_ns, self.desk.interval)
                for event in self.session.statistics(symbol, since):
                    self._handle(event)
            for candle in candles:
                now = self.session.now_ns
                self._handle(CandleClosed(ts_event=candle.close_ns, ts_seen=now, candle=candle, history=True))

    def _handle(self, event: Event) -> None:
        change = activation(self.models, self.analyst, event)
        if change is not None:
            self._handle(change)
        desk = self.desk
        numbered = msgspec.structs.replace(event, seq=desk.seq + 1, ts_seen=max(event.ts_seen, desk.now_ns))
        commands = desk.handle(numbered)
        if commands:
            self._send(commands)
        self.observer(numbered, commands)
        if self.stop_on_failure:
            self._stop_at_failure(commands)

    def _stop_at_failure(self, commands: list[Command]) -> None:
        """A stage that fails in a backtest is somebody's bug: show it, with its traceback, instead of no trades."""
        for command in commands:
            if isinstance(command, Alert) and command.code == "stage.failed":
                cause = self.desk.calls.error
                if isinstance(cause, AresError):
                    raise cause
                facts = dict(command.facts)
                raise InvalidInput(
                    f"{command.symbol}: the {facts['stage']} failed: {facts['error']} (`stop_on_failure: false` goes"
                    " on without its answer, as a live session would)",
                    **facts,
                ) from cause

    def _send(self, commands: list[Command]) -> None:
        """Carry out the commands in order. An entry whose leverage could not be set is not sent."""
        blocked: set[str] = set()
        for command in commands:
            if isinstance(command, Submit):
                self._submit(command.intent, blocked)
            elif isinstance(command, Cancel):
                self._cancel(command)
            elif isinstance(command, SetLeverage):
                try:
                    self.session.set_leverage(command.symbol, command.leverage)
                except AresError:
                    blocked.add(command.symbol)
            elif isinstance(command, WakeAt):
                self.session.wake_at(command.ts_ns, command.key)
            elif isinstance(command, RunStage):
                self._local.append(self._run_stage(command))

    def _submit(self, intent: Intent, blocked: set[str]) -> None:
        client_id = client_order_id(intent.intent_id, _INCARNATION)
        request = intent.request
        try:
            if intent.purpose is Purpose.ENTRY and request.symbol in blocked:
                raise Rejected("not sent: the leverage could not be set", symbol=request.symbol)
            self.session.submit(request, client_id)
        except AresError as error:
            self._local.append(failed(intent, client_id, error, self.session.now_ns))

    def _cancel(self, command: Cancel) -> None:
        client_id = client_order_id(command.intent_id, _INCARNATION)
        try:
            self.session.cancel(command.symbol, client_order_id=client_id)
        except Rejected:
            order = self.session.get_order(command.symbol, client_order_id=client_id)
            now = self.session.now_ns
            self._local.append(OrderUpdate(ts_event=order.updated_ns, ts_seen=now, order=order))

    def _run_stage(self, command: RunStage) -> Event:
        """Run a stage that has only the async verb; simulated time stands still meanwhile."""
        return self._loop.run(stage_answer(command, self.analyst, self.tactician, self.session.clock))


class _OwnLoop:
    """An event loop on a thread of its own, so that a backtest also runs inside a notebook's running loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ares-stage")
        self._runner: asyncio.Runner | None = None

    def run(self, work: Coroutine[Any, Any, Event]) -> Event:
        """Run a coroutine to its end; all of them on the same loop."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._pool.submit(self._runner.run, work).result()

    def close(self) -> None:
        """End loop and thread."""
        if self._runner is not None:
            self._pool.submit(self._runner.close).result()
        self._pool.shutdown()
