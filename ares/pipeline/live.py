"""The shell around the desk: it hears the exchange, keeps the journal, and sends what the desk decided.

It is the same for a simulated, a paper and a real exchange: which one it is, the pair `(exchange, clock)` decides.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from attrs import field, frozen

from ares.clock import Clock, SystemClock
from ares.errors import AresError, DataError, InvalidInput, OutcomeUnknown, Retryable, settings_or_default
from ares.events import (
    Alert,
    Cancel,
    CandleClosed,
    Command,
    Event,
    Intent,
    LinkChanged,
    ModelActivated,
    OperatorOrder,
    Purpose,
    RunStage,
    SetLeverage,
    StageDone,
    Submit,
    VenueSnapshot,
    WakeAt,
)
from ares.instruments import Interval
from ares.market import Candle, candles_of
from ares.pipeline.desk import Desk, DeskConfig
from ares.pipeline.dispatch import Dispatch
from ares.pipeline.ending import Ending
from ares.pipeline.journal import Journal, MemoryJournal
from ares.pipeline.merge import Merger
from ares.pipeline.outcome import answered
from ares.pipeline.outside import answer_within, stage_answer
from ares.pipeline.recovery import Unfinished, recover
from ares.pipeline.resumption import Resumption, truth_first
from ares.pipeline.retraining import LiveModelSource, ModelSource, activation, check_model
from ares.pipeline.seat import statistics_since
from ares.protocols import AnalysisStage, Exchange, FeatureStage, MonitoringStage, TacticsStage

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LiveTradingPipeline", "PipelineConfig"]

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between two tries to read the bars that were missed
_LONGEST_ANSWER_NS = 120_000_000_000  # an outside stage is not waited for longer, late as its answer would be anyway
_STATISTICS_TRIES = 3  # features say themselves when what they are made of is missing


@frozen(kw_only=True)
class PipelineConfig:
    """Settings of the shell. history: bars fetched before the session, None: what the features need."""

    desk: DeskConfig = field(factory=DeskConfig)
    history: int | None = None


class LiveTradingPipeline:
    """The reference bot: exchange -> features -> analyst -> tactician -> orders -> monitor, on a journal.

    exchange: any `Exchange`. journal: None keeps it in memory. clock: None takes the exchange's, else the machine's.
    models: says which model decides when; None: the analyst keeps the one it has.
    Continues from a journal that holds records: the desk is rebuilt from it, and hears events at once; entries wait
    until the venue has told of every intent whose fate was open.
    """

    def __init__(
        self,
        config: PipelineConfig | None = None,
        *,
        exchange: Exchange,
        features: FeatureStage,
        analyst: AnalysisStage,
        tactician: TacticsStage,
        monitor: MonitoringStage,
        symbols: Sequence[str],
        interval: str,
        journal: Journal | None = None,
        clock: Clock | None = None,
        models: ModelSource | None = None,
    ) -> None:
        self.config = settings_or_default(config, PipelineConfig)
        self.exchange = exchange
        self.clock: Clock = clock or getattr(exchange, "clock", None) or SystemClock()
        self.journal: Journal = journal if journal is not None else MemoryJournal()
        self.desk = Desk(
            features=features,
            analyst=analyst,
            tactician=tactician,
            monitor=monitor,
            symbols=symbols,
            interval=interval,
            config=self.config.desk,
        )
        self.interval = Interval.parse(interval)
        self._stages: Mapping[str, Any] = {
            "features": features,
            "analyst": analyst,
            "tactician": tactician,
            "monitor": monitor,
        }
        self._models = models
        self._merger = Merger(self.clock)
        self._incarnation = 0  # counts starts; 0: not started
        self._held: Event | None = None  # pulled, but beyond `until`
        self._ending: Ending | None = None  # once it was told to stop
        self._resumption: Resumption | None = None  # until all is known again after a restart
        self.alerts: list[Alert] = []
        self.observers: list[Any] = []  # called with (event, commands) after each event
        self.dispatch = Dispatch(
            exchange=exchange, desk=self.desk, clock=self.clock, merger=self._merger, alert=self._alert
        )

    # ------------------------------------------------------------ the public verbs

    async def __aenter__(self) -> LiveTradingPipeline:
        await self.exchange.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        async with AsyncExitStack() as closing:  # last in, first out; each, whatever the others raise
            closing.push_async_callback(self.exchange.__aexit__, *exc)
            closing.callback(self.journal.close)
            if isinstance(self._models, LiveModelSource):
                closing.push_async_callback(self._models.close)
            closing.push_async_callback(self._merger.close)

    async def run(self, until: int | None = None) -> None:
        """Trade until the market stream ends, `stop` is called, or the time passes `until` (ns UTC).

        Raises: DataError when the journal does not belong to this program; NotAuthorized or Rejected when the venue
        does not let us start.
        """
        if self._incarnation == 0:
            await self._start()
        while self._ending is None or not self._ending.over():
            event = self._held if self._held is not None else await self._merger.next()
            self._held = None
            if event is None:
                return
            if until is not None and event.ts_seen > until:
                self._held = event
                return
            if self._resumption is None or self._resumption.hear(event):
                await self.execute_trading(event)

    async def execute_trading(self, event: Event) -> list[Command]:
        """Take one event through the whole bot: decide, write down, send. The commands it caused.

        The event gets its number here. What the venue refuses comes back to the desk as an event of its own.
        """
        change = await self._model_change(event)
        if change is not None:
            await self.execute_trading(change)
        numbered = msgspec.structs.replace(event, seq=self.desk.seq + 1, ts_seen=max(event.ts_seen, self.desk.now_ns))
        commands = self.desk.handle(numbered)
        try:
            self.journal.append(numbered, commands)
        except DataError:
            await self._send_protection(commands)
            raise
        await self._send(commands)
        self._take_note(numbered)
        for observer in self.observers:
            observer(numbered, commands)
        return commands

    async def stop(self, flatten: bool = False) -> None:
        """Have `run` end in order: no new entries, everything journaled, stops left at the venue.

        Entries that work are taken back, and `run` ends once each position has its stop, or after 10 s with the alert
        `session.ended_unprotected`. flatten: close what is held first, however long that takes; in a halt, which sends
        nothing, `run` ends once no entry can fill any more, with the alert `flatten.withheld`.
        """
        if self._ending is None:
            self._ending = Ending(
                desk=self.desk,
                clock=self.clock,
                merger=self._merger,
                alert=self._alert,
                stands_still=getattr(self.exchange, "wake_at", None) is not None,
            )
            self._ending.begin()
        if flatten:
            self._ending.close_all()

    def get_trading_status(self) -> dict[str, Any]:
        """Every component's own status, by name; a component without one is not listed."""
        status: dict[str, Any] = {"desk": self.desk.status(), "exchange": dict(self.exchange.get_exchange_status())}
        for name, verb in (
            ("features", "get_feature_status"),
            ("analyst", "get_analysis_status"),
            ("tactician", "get_status"),
        ):
            ask = getattr(self._stages[name], verb, None)
            if ask is not None:
                status[name] = ask()
        status["journal"] = {"events": len(self.journal), "incarnation": self._incarnation}
        status["alerts"] = [{"code": a.code, "symbol": a.symbol, **a.facts} for a in self.alerts[-20:]]
        return status

    # ------------------------------------------------------------ start

    async def _start(self) -> None:
        """Recover or begin."""
        if not self.exchange.capabilities.stop_orders:
            name = self.exchange.capabilities.name
            raise InvalidInput(f"{name} has no stop orders: a position could not be protected", exchange=name)
        if self.exchange.capabilities.real_money:
            check_model(self._stages["analyst"], self._models)
        restore = getattr(self.exchange, "restore", None)
        if len(self.journal) == 0:
            self._listen()
            await self._first_snapshot()
            await self._tell_history()
        elif restore is None:
            await self._resume()
        else:
            await self._continue(restore)

    def _listen(self, before: AsyncGenerator[Event, None] | None = None) -> None:
        """Note the start, and connect the streams. before: what is told before the market is heard."""
        self._incarnation = self.journal.start()
        self.dispatch.starts[:] = self.journal.incarnations()
        kinds = self._kinds_to_ask()
        stream, symbols, interval = self.exchange.stream_market, self.desk.symbols, self.interval.name
        market = stream(symbols, interval, kinds=kinds) if kinds else stream(symbols, interval)
        account = self.exchange.stream_account()
        self._merger.listen(account if before is None else truth_first(account), market, before=before)

    async def _continue(self, restore: Callable[..., Awaitable[Any]]) -> None:
        """Go on with a simulation that plays itself again up to the journal's end."""
        unfinished = Unfinished()
        recover(self.journal, self.desk, each=unfinished.read)
        self.dispatch.starts[:] = self.journal.incarnations()

        def client_id(intent: Intent) -> str:
            return self.dispatch.client_id(intent.intent_id)

        await restore(self.journal.records(), client_id, kinds=self._kinds_to_ask())
        self._listen()
        await self._tell_untold(unfinished)
        if not unfinished.traded:  # it ended among the history
            await self._tell_history()
        if "stopped" in self.desk.guard.latches:
            now = self.clock.now_ns()
            await self.execute_trading(OperatorOrder(ts_event=now, ts_seen=now, action="start"))

    async def _tell_untold(self, unfinished: Unfinished) -> None:
        """What a simulation does not make again: stages' answers, and that an order was refused."""
        for command in unfinished.questions.values():
            self._merger.put(await self._answer(command))
        for state in self.desk.intents.unresolved():
            await self.dispatch.tell_refused(state.intent)

    async def _resume(self) -> None:
        """Go on in a market that did not wait: the account is heard at once, the market after the bars we missed."""
        unfinished = Unfinished()
        recover(self.journal, self.desk, each=unfinished.read)
        adopt = getattr(self.exchange, "adopt", None)
        if adopt is not None:
            await adopt(self.journal.records())  # a paper account lives in the journal: give it back
        self._let_go_of_links()
        self._listen(before=self._missed())
        self._resumption = Resumption(
            desk=self.desk,
            clock=self.clock,
            merger=self._merger,
            dispatch=self.dispatch,
            unfinished=unfinished,
            wake_at=self._wake_at,
            ask_stage=self._answer_in_time,
        )
        self._resumption.begin()
        if "agg_trades" in self.desk.kinds:
            for up in (False, True):  # trades were missed while we were away: their bars must not look complete
                now = self.clock.now_ns()
                self._merger.put(LinkChanged(ts_event=now, ts_seen=now, link="market", up=up))

    def _let_go_of_links(self) -> None:
        """New streams begin as up and say only when they are down: what was lost when the bot died is not lost now."""
        now = self.clock.now_ns()
        for cause in sorted(self.desk.guard.latches):
            kind, _, link = cause.partition(":")
            if kind == "link":
                self._merger.put(LinkChanged(ts_event=now, ts_seen=now, link=link, up=True))

    async def _missed(self) -> AsyncGenerator[Event, None]:
        """What was not heard while we were away: stages' answers, then the bars."""
        assert self._resumption is not None
        async for answer in self._resumption.answers():
            yield answer
        async for event in self._history(patient=True):
            yield event
        self._resumption.warm()
        self._go_on()

    def _take_note(self, event: Event) -> None:
        """What the shell itself has to do about an event that the desk was told."""
        if self._resumption is not None:
            self._resumption.take_note(event)
            self._go_on()
        elif isinstance(event, VenueSnapshot):
            self.dispatch.compare(event.open_orders, event.ts_seen)

    def _go_on(self) -> None:
        """After a restart: entries again, once all is known; but not when we were told to stop meanwhile."""
        if self._resumption is not None and self._resumption.over():
            if self._ending is None:
                self._resumption.let_go()
            self._resumption = None

    def _kinds_to_ask(self) -> frozenset[str]:
        """What features need and the exchange can be asked for. Raises InvalidInput for what it never tells."""
        able = self.exchange.capabilities
        kinds = self.desk.kinds
        if lacking := kinds - able.streams - able.on_request:
            raise InvalidInput(
                f"{able.name} cannot stream {', '.join(sorted(lacking))}, of which the features are made: take them "
                "out of the features' sources, or use an exchange that tells them",
                exchange=able.name,
                kinds=sorted(lacking),
            )
        return kinds & able.on_request

    async def _first_snapshot(self) -> None:
        """The account stream of every exchange begins with venue truth."""
        event = await self._merger.account_event()
        if not isinstance(event, VenueSnapshot):
            raise DataError(f"the account stream must begin with a VenueSnapshot, not {type(event).__name__}")
        await self.execute_trading(event)

    async def _tell_history(self) -> None:
        async for event in self._history():
            await self.execute_trading(event)

    async def _history(self, *, patient: bool = False) -> AsyncGenerator[Event, None]:
        """Closed bars before now that the desk has not seen; they warm the features and decide nothing.

        patient: bars are asked for until they come; statistics a few times, then it goes on without them.
        """
        for symbol in self.desk.symbols:
            wanted = self.config.history if self.config.history is not None else self.desk.history_needed(symbol)
            if wanted == 0:
                continue
            frame = await self._klines(symbol, wanted, patient)
            candles = candles_of(frame, symbol, self.interval)
            for event in await self._statistics(symbol, candles, patient):
                yield event
            for candle in candles:
                if candle.open_ns > self.desk.last_open_ns(symbol):
                    yield CandleClosed(
                        ts_event=candle.close_ns, ts_seen=self.clock.now_ns(), candle=candle, history=True
                    )

    async def _klines(self, symbol: str, wanted: int, patient: bool) -> pd.DataFrame:
        def ask() -> Awaitable[pd.DataFrame]:
            return self.exchange.get_klines(symbol, self.interval.name, wanted)

        return await self._patiently(ask, symbol, tries=None if patient else 1)

    async def _statistics(self, symbol: str, candles: Sequence[Candle], patient: bool) -> list[Event]:
        """Futures statistics of the bars to come, where features are made of them and the exchange keeps a history."""
        read = getattr(self.exchange, "get_futures_statistics", None)
        fresh = [candle.open_ns for candle in candles if candle.open_ns > self.desk.last_open_ns(symbol)]
        if read is None or not fresh or "futures" not in self.desk.kinds:
            return []

        def ask() -> Awaitable[Sequence[Event]]:
            told: Awaitable[Sequence[Event]] = read(symbol, statistics_since(fresh[0], self.interval))
            return told

        try:
            found = await self._patiently(ask, symbol, tries=_STATISTICS_TRIES if patient else 1)
        except AresError as error:
            if not patient:
                raise
            self._alert(Alert(code="statistics.missing", symbol=symbol, facts={"reason": str(error)}))
            return []
        return [msgspec.structs.replace(event, ts_seen=self.clock.now_ns()) for event in found]

    async def _patiently(self, ask: Callable[[], Awaitable[T]], symbol: str, *, tries: int | None) -> T:
        """What the exchange answers; a read that fails is asked again, ever later. tries: None for as long as it takes.

        Raises: the last failure once all tries have failed; at once what asking again does not mend.
        """
        pause = _FIRST_PAUSE
        tried = 0
        while True:
            tried += 1
            try:
                return await answered(ask())
            except (Retryable, OutcomeUnknown) as error:
                if tried == tries:
                    raise
                self._alert(Alert(code="history.postponed", symbol=symbol, facts={"reason": str(error)}))
                after = error.after if isinstance(error, Retryable) else None
                await self.clock.sleep(max(pause, after or 0.0))
                pause = min(_LONGEST_PAUSE, 2 * pause)

    # ------------------------------------------------------------ sending

    async def _send_protection(self, commands: Sequence[Command]) -> None:
        """Nothing can be written down any more: stops and exits go out all the same, working entries are taken back."""
        for command in commands:
            if isinstance(command, Submit) and command.intent.purpose is not Purpose.ENTRY:
                await self.dispatch.submit(command.intent)
            elif isinstance(command, Cancel):
                await self.dispatch.cancel(command)
        for trade in self.desk.custody.trades.values():
            for state in self.desk.intents.open_of(trade.trade_id, Purpose.ENTRY):
                await self.dispatch.cancel(Cancel(symbol=trade.symbol, intent_id=state.intent.intent_id))

    async def _send(self, commands: Sequence[Command]) -> None:
        """Carry out the commands in order. An entry whose leverage could not be set is not sent."""
        blocked: set[str] = set()
        for command in commands:
            if isinstance(command, Submit):
                await self.dispatch.submit(command.intent, blocked=command.intent.request.symbol in blocked)
            elif isinstance(command, Cancel):
                await self.dispatch.cancel(command)
            elif isinstance(command, SetLeverage):
                if not await self.dispatch.set_leverage(command):
                    blocked.add(command.symbol)
            elif isinstance(command, WakeAt):
                self._wake_at(command)
            elif isinstance(command, RunStage):
                await self._run_stage(command)
            else:
                self._alert(command)

    def _wake_at(self, command: WakeAt) -> None:
        """An exchange that owns time gives the wake itself, in its proper place between other events.

        The desk's time never goes back. When the machine's clock was set back it is behind the desk's, for as long as
        it takes; what the desk wants to hear in three seconds comes in three seconds all the same.
        """
        owner = getattr(self.exchange, "wake_at", None)
        if owner is not None:
            owner(command.ts_ns, command.key)
        else:
            ahead = max(0, self.desk.now_ns - self.clock.now_ns())
            self._merger.set_alarm(command.ts_ns, command.key, ahead_ns=ahead)

    async def _run_stage(self, command: RunStage) -> None:
        """Run an outside stage: beside everything else; on the spot for history, or where time stands still.

        After a restart history waits no longer for it than anything else would: a position may be held.
        """
        if command.history and self._resumption is not None:
            self._merger.put(await self._resumption.in_time(command))
        elif command.history or getattr(self.exchange, "wake_at", None) is not None:
            self._merger.put(await self._answer(command))
        else:
            self._merger.run_outside(self._answer_in_time(command))

    async def _answer_in_time(self, command: RunStage) -> StageDone:
        """The same where time goes by: a stage that never answers is not waited for without end, and that is said."""
        limit_ns = max(_LONGEST_ANSWER_NS, self.desk.config.stage_timeout_ns)
        return await answer_within(limit_ns, self._answer(command), command, self.clock)

    async def _answer(self, command: RunStage) -> StageDone:
        return await stage_answer(command, self._stages["analyst"], self._stages["tactician"], self.clock)

    async def _model_change(self, event: Event) -> ModelActivated | None:
        """A model that begins with this bar. A source of models that fails leaves the old one in place."""
        try:
            if isinstance(event, CandleClosed) and isinstance(self._models, LiveModelSource):
                for alert in await self._models.follow(event.candle):
                    self._alert(alert)
            return activation(self._models, self._stages["analyst"], event)
        except Exception as error:  # a source is anybody's code
            self._alert(Alert(code="model.source_failed", facts={"error": f"{type(error).__name__}: {error}"}))
            return None

    def _alert(self, alert: Alert) -> None:
        """Keep the last alerts and log each."""
        from ares.log import get_logger

        self.alerts.append(alert)
        del self.alerts[:-1000]
        get_logger("ares.pipeline").warning(alert.code, symbol=alert.symbol, **alert.facts)
