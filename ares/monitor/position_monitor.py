"""The position monitor: a pure judge for the pipeline, and with an exchange of its own a guardian of positions."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import evolve

from ares.account import Position
from ares.clock import Clock, SystemClock
from ares.errors import AresError, InvalidInput, Rejected, settings_or_default, unknown_name
from ares.log import get_logger
from ares.market import MarketView
from ares.monitor.adoption import BARS_WANTED, adopt
from ares.monitor.assessment import judge, next_deadline
from ares.monitor.config import MonitorConfig
from ares.monitor.watch import PREFIX, Watch
from ares.protocols import AnalysisResult, Assessment, AssessmentInput, Exchange, OpenTrade, TradePlan

__all__ = ["Opinions", "PositionMonitor"]

log = get_logger("monitor")
_CLOSED_KEPT = 100  # closed positions whose story can still be asked for


class Opinions(Protocol):
    """Where the latest analyses come from; every analyst offers it."""

    def get_analysis_results(self) -> Mapping[str, Sequence[AnalysisResult]]: ...


class PositionMonitor:
    """Judges open positions, and looks after those it was given together with an exchange.

    exchange: None leaves it a judge (the pipeline sends orders itself). With one, each look reads the position at the
    venue, sees that one stop rests there, and sends reduce-only exits.
    analyst: whose latest opinion of the symbol counts; None: none does.
    clock: the exchange's own when it has one (`exchange.clock`), else the machine's.
    """

    def __init__(
        self,
        config: MonitorConfig | None = None,
        *,
        exchange: Exchange | None = None,
        analyst: Opinions | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.config = settings_or_default(config, MonitorConfig)
        self._exchange = exchange
        self._analyst = analyst
        self._clock: Clock = clock or getattr(exchange, "clock", None) or SystemClock()
        self._watched: dict[str, Watch] = {}
        self._closed: dict[str, Watch] = {}
        self._recent: deque[Assessment] = deque(maxlen=self.config.max_assessment_history)
        self._loop: asyncio.Task[None] | None = None
        self._first_looks: set[asyncio.Task[None]] = set()
        self._started_ns = self._clock.now_ns()
        self._ids = 0

    # ------------------------------------------------------------ judging

    def assess_position(self, given: AssessmentInput) -> Assessment:
        """What to do with a position, by its input and the settings alone.

        Raises: InvalidInput when the market view holds no price.
        """
        verdict = judge(given, self.config)
        self._recent.append(verdict)
        return verdict

    def assess(self, given: AssessmentInput) -> Assessment:
        """The same under the name that the other stages' twins follow."""
        return self.assess_position(given)

    def next_look(self, given: AssessmentInput) -> int | None:
        """When (ns UTC) an input that does not change could next get another verdict; None: never."""
        return next_deadline(given)

    # ------------------------------------------------------------ watching

    def add_position(
        self,
        position_id: str,
        position: Position,
        *,
        plan: TradePlan | None = None,
        trade: OpenTrade | None = None,
    ) -> None:
        """Watch a position from now on.

        plan: the plan it was entered by; trade: its story so far. Without either the stop and the time barrier come
        from recent volatility. A symbol has one position, so a new one takes the place of an older one.
        Raises: InvalidInput for a flat position or an id in use.
        """
        if position.side is None:
            raise InvalidInput(f"{position.symbol}: a flat position cannot be watched", position_id=position_id)
        if position_id in self._watched:
            raise InvalidInput(f"position {position_id!r} is watched already", position_id=position_id)
        watch = Watch(position_id, position, self._new_client_id, plan=plan, trade=trade)
        watch.history = deque(maxlen=self.config.max_assessment_history)
        if trade is not None:
            watch.wanted_stop = trade.stop if trade.stop is not None else trade.initial_stop
        for older in [w for w in self._watched.values() if w.symbol == position.symbol]:
            self._retire(older)
        self._watched[position_id] = watch
        if self._loop is not None and not self._loop.done():
            task = asyncio.get_running_loop().create_task(self._look_at(watch))
            self._first_looks.add(task)
            task.add_done_callback(self._first_looks.discard)

    def remove_position(self, position_id: str) -> None:
        """Watch a position no longer. Its stop stays at the venue. Raises InvalidInput for an unknown id."""
        self._retire(self._watch(position_id, self._watched))

    def get_position_status(self, position_id: str) -> Mapping[str, object]:
        """A position's figures and its assessments, newest last; also of the last positions that were closed.

        Raises: InvalidInput for an unknown id, naming the nearest.
        """
        watch = self._watch(position_id, {**self._closed, **self._watched})
        trade, verdict = watch.trade, watch.history[-1] if watch.history else None
        return {
            "position_id": position_id,
            "symbol": watch.symbol,
            "state": "closed" if watch.closed else "watched" if position_id in self._watched else "removed",
            "quantity": watch.position.quantity,
            "entry_price": watch.position.entry_price,
            "mark_price": watch.position.mark_price,
            "unrealised": watch.position.unrealised,
            "stop": watch.stop.stop_price if watch.stop is not None else None,
            "targets": trade.targets if trade is not None else (),
            "exit_by_ns": trade.exit_by_ns if trade is not None else None,
            "risk": verdict.risk if verdict is not None else None,
            "action": verdict.action.value if verdict is not None else None,
            "assessments": tuple(watch.history),
            "error": watch.error,
        }

    async def start_monitoring(self) -> None:
        """Look at every position once, then go on looking in a task of its own.

        On return each position has its stop at the venue, unless its status says why not.
        Raises: InvalidInput without an exchange or when it is running already.
        """
        if self._exchange is None:
            raise InvalidInput("this monitor only judges: give it an exchange to watch positions at")
        if self._loop is not None and not self._loop.done():
            raise InvalidInput("monitoring is running already")
        await self._look_at_all()
        self._loop = asyncio.get_running_loop().create_task(self._look_for_ever())
        await asyncio.sleep(0)  # let it begin to wait, so that a virtual clock knows of it

    async def stop_monitoring(self) -> None:
        """End the task; positions and their stops stay as they are. Raises what the task died of, if it did."""
        task, self._loop = self._loop, None
        for first in list(self._first_looks):
            await first
        if task is None:
            return
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            if not task.cancelled():
                raise

    async def _look_for_ever(self) -> None:
        step = round(self.config.position_monitoring_interval * 1e9)
        due = self._clock.now_ns() + step
        while True:
            await self._clock.wait_until(due)
            await self._look_at_all()
            now = self._clock.now_ns()
            due = min(max(due + step, now), now + step)  # also when somebody has set the clock

    async def _look_at_all(self) -> None:
        for watch in list(self._watched.values()):
            await self._look_at(watch)

    async def _look_at(self, watch: Watch) -> None:
        """One look. A refusal means that the position has changed: it is read again, once."""
        async with watch.lock:
            try:
                try:
                    await self._look(watch)
                except Rejected as error:
                    log.info("order.rejected", position_id=watch.position_id, reason=error.message)
                    await self._look(watch)
                watch.error = ""
            except AresError as error:  # whatever it was, the next look begins afresh and the stop rests at the venue
                watch.error = f"{type(error).__name__}: {error.message}"
                log.warning("look.failed", position_id=watch.position_id, error=watch.error)
            except Exception as error:  # an exchange, and an analyst, is anybody's code: no look may be the last one
                watch.error = f"{type(error).__name__}: {error}"
                log.error("look.failed", position_id=watch.position_id, error=watch.error)

    async def _look(self, watch: Watch) -> None:
        exchange = self._exchange
        if exchange is None or not await self._still_held(watch, exchange):
            return
        await self._adopt(watch, exchange)
        watch.saw(float(watch.position.mark_price))
        await watch.resolve(exchange)
        if watch.unknown is None:
            await self._protect(watch, exchange)
        given = await self._question(watch, exchange)
        verdict = self.assess_position(given)
        watch.history.append(verdict)
        await watch.act(exchange, verdict)
        if verdict.quantity is not None and watch.leaving is None and await self._still_held(watch, exchange):
            await self._protect(watch, exchange)  # less is held now: the stop shrinks with it

    async def _still_held(self, watch: Watch, exchange: Exchange) -> bool:
        """Read the position; when it is gone, or on the other side, tidy up and watch it no longer."""
        if watch.position_id not in self._watched:
            return False
        held = next((p for p in await exchange.get_positions(watch.symbol) if p.symbol == watch.symbol), None)
        if held is not None and held.side is watch.position.side:
            watch.position = held
            return True
        watch.position = _flat(watch.position)
        await watch.resolve(exchange)
        await watch.tidy(exchange)
        self._retire(watch)
        return False

    async def _protect(self, watch: Watch, exchange: Exchange) -> None:
        """A stop that the venue refuses while none rests would trigger at once: then the position is closed."""
        try:
            await watch.protect(exchange)
        except Rejected as error:
            if watch.stop is None:
                await watch.leave(exchange, error.message)
            else:
                watch.wanted_stop = watch.stop.stop_price

    async def _adopt(self, watch: Watch, exchange: Exchange) -> None:
        if watch.instrument is None:
            watch.instrument = await exchange.get_instrument(watch.symbol)
        if watch.trade is None:
            klines = None
            if watch.plan is None:
                try:
                    klines = await exchange.get_klines(watch.symbol, self.config.default_interval, BARS_WANTED)
                except AresError as error:  # protection does not wait for history
                    log.warning("klines.missing", symbol=watch.symbol, reason=error.message)
            watch.trade = adopt(
                watch.position_id,
                watch.position,
                watch.instrument,
                self._clock.now_ns(),
                self.config,
                plan=watch.plan,
                klines=klines,
            )
        if watch.wanted_stop is None:
            watch.wanted_stop = watch.trade.initial_stop

    async def _question(self, watch: Watch, exchange: Exchange) -> AssessmentInput:
        assert watch.instrument is not None
        now = self._clock.now_ns()
        ticker = await exchange.get_ticker(watch.symbol)
        opinions = self._analyst.get_analysis_results().get(watch.symbol, ()) if self._analyst is not None else ()
        return AssessmentInput(
            now_ns=now,
            trade=watch.view(),
            position=watch.position,
            instrument=watch.instrument,
            market=MarketView(
                symbol=watch.symbol, now_ns=now, mark_price=float(watch.position.mark_price), ticker=ticker
            ),
            analysis=opinions[-1] if opinions else None,
        )

    # ------------------------------------------------------------ small things

    def _retire(self, watch: Watch) -> None:
        self._watched.pop(watch.position_id, None)
        self._closed[watch.position_id] = watch
        while len(self._closed) > _CLOSED_KEPT:
            del self._closed[next(iter(self._closed))]

    def _watch(self, position_id: str, known: Mapping[str, Watch]) -> Watch:
        try:
            return known[position_id]
        except KeyError:
            raise unknown_name("position", position_id, known) from None

    def _new_client_id(self) -> str:
        """Unique among all ids this account has open, also after a restart: it carries when the monitor began."""
        self._ids += 1
        return f"{PREFIX}{self._started_ns // 1_000_000:x}-{self._ids}"


def _flat(position: Position) -> Position:
    return evolve(position, quantity=position.quantity * 0, margin=position.margin * 0, liquidation_price=None)
