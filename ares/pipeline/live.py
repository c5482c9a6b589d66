"""The shell around the desk: it hears the exchange, keeps the journal, and sends what the desk decided.

It is the same for a simulated, a paper and a real exchange: which one it is, the pair `(exchange, clock)` decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec
from attrs import field, frozen

from ares.clock import Clock, SystemClock
from ares.errors import AresError, DataError, InvalidInput, OutcomeUnknown, Rejected, Retryable, settings_or_default
from ares.events import (
    Alert,
    Cancel,
    CandleClosed,
    Command,
    Event,
    Intent,
    LinkChanged,
    OperatorOrder,
    OrderUpdate,
    Purpose,
    RunStage,
    SetLeverage,
    Submit,
    VenueSnapshot,
    WakeAt,
)
from ares.instruments import Interval
from ares.market import Candle, candles_of
from ares.pipeline.desk import Desk, DeskConfig
from ares.pipeline.execution import client_order_id
from ares.pipeline.journal import Journal, MemoryJournal
from ares.pipeline.merge import Merger
from ares.pipeline.outcome import failed
from ares.pipeline.outside import stage_answer
from ares.pipeline.recovery import incarnation_at, reconcile, recover, resolved
from ares.pipeline.retraining import LiveModelSource, ModelSource, activation, check_model
from ares.pipeline.seat import statistics_since
from ares.protocols import AnalysisStage, Exchange, FeatureStage, MonitoringStage, TacticsStage

__all__ = ["LiveTradingPipeline", "PipelineConfig"]

_PROTECTIVE_TRIES = 5  # an exit or stop that the venue could not take now is tried again this often
_MAX_BACKOFF = 1.0  # seconds


@frozen(kw_only=True)
class PipelineConfig:
    """Settings of the shell. history: bars fetched before the session, None: what the features need."""

    desk: DeskConfig = field(factory=DeskConfig)
    history: int | None = None


class LiveTradingPipeline:
    """The reference bot: exchange -> features -> analyst -> tactician -> orders -> monitor, on a journal.

    exchange: any `Exchange`. journal: None keeps it in memory. clock: None takes the exchange's, else the machine's.
    models: says which model decides when; None: the analyst keeps the one it has.
    Continues from a journal that holds records: the desk is rebuilt from it and the venue is asked about open intents.
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
        self._stopping = self._flatten = False
        self._starts: list[tuple[int, int]] = []
        self.alerts: list[Alert] = []
        self.observers: list[Any] = []  # called with (event, commands) after each event

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
        while not self._finished():
            event = self._held if self._held is not None else await self._merger.next()
            self._held = None
            if event is None:
                return
            if until is not None and event.ts_seen > until:
                self._held = event
                return
            await self.execute_trading(event)

    async def execute_trading(self, event: Event) -> list[Command]:
        """Take one event through the whole bot: decide, write down, send. The commands it caused.

        The event gets its number here. What the venue refuses comes back to the desk as an event of its own.
        """
        if isinstance(event, CandleClosed) and isinstance(self._models, LiveModelSource):
            for alert in await self._models.follow(event.candle):
                self._alert(alert)
        change = activation(self._models, self._stages["analyst"], event)
        if change is not None:
            await self.execute_trading(change)
        numbered = msgspec.structs.replace(event, seq=self.desk.seq + 1, ts_seen=max(event.ts_seen, self.desk.now_ns))
        commands = self.desk.handle(numbered)
        self.journal.append(numbered, commands)
        await self._send(commands)
        for observer in self.observers:
            observer(numbered, commands)
        return commands

    async def stop(self, flatten: bool = False) -> None:
        """Have `run` end in order: no new entries, everything journaled, stops left at the venue.

        flatten: close what is held first; `run` then ends once the account is flat.
        """
        now = self.clock.now_ns()
        self._stopping, self._flatten = True, flatten
        self._merger.put(OperatorOrder(ts_event=now, ts_seen=now, action="stop"))
        if flatten:
            self._merger.put(OperatorOrder(ts_event=now, ts_seen=now, action="flatten"))

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

    def _finished(self) -> bool:
        """True once a stop was asked for and what it asked for is done."""
        if not self._stopping or self._merger.has_ready:
            return False
        return not (self._flatten and self.desk.custody.trades)

    # ------------------------------------------------------------ start

    async def _start(self) -> None:
        """Recover or begin; afterwards the desk knows the venue and the features are warm."""
        if not self.exchange.capabilities.stop_orders:
            name = self.exchange.capabilities.name
            raise InvalidInput(f"{name} has no stop orders: a position could not be protected", exchange=name)
        if self.exchange.capabilities.real_money:
            check_model(self._stages["analyst"], self._models)
        resumed = len(self.journal) > 0
        restore = getattr(self.exchange, "restore", None)
        kinds = self._kinds_to_ask()
        if resumed:
            recover(self.journal, self.desk)
            self._starts = self.journal.incarnations()
            if restore is not None:
                await restore(self.journal.records(), self._client_id, kinds=kinds)
            elif (adopt := getattr(self.exchange, "adopt", None)) is not None:
                await adopt(self.journal.records())  # a paper account lives in the journal: give it back
        self._incarnation = self.journal.start()
        self._starts = self.journal.incarnations()
        stream, symbols, interval = self.exchange.stream_market, self.desk.symbols, self.interval.name
        market = stream(symbols, interval, kinds=kinds) if kinds else stream(symbols, interval)
        self._merger.listen(self.exchange.stream_account(), market)
        if resumed and restore is None and "agg_trades" in self.desk.kinds:
            for up in (False, True):  # trades were missed while we were away: their bars must not look complete
                now = self.clock.now_ns()
                await self.execute_trading(LinkChanged(ts_event=now, ts_seen=now, link="market", up=up))
        if resumed and restore is None:
            for update in await reconcile(self.exchange, self.desk, self.journal, self.clock):
                await self.execute_trading(update)
        if not (resumed and restore is not None):
            await self._first_snapshot()
            await self._history()
        if "stopped" in self.desk.guard.latches:
            now = self.clock.now_ns()
            await self.execute_trading(OperatorOrder(ts_event=now, ts_seen=now, action="start"))

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

    async def _history(self) -> None:
        """Closed bars before now that the desk has not seen; they warm the features and decide nothing."""
        for symbol in self.desk.symbols:
            wanted = self.config.history if self.config.history is not None else self.desk.history_needed(symbol)
            if wanted == 0:
                continue
            frame = await self.exchange.get_klines(symbol, self.interval.name, wanted)
            candles = candles_of(frame, symbol, self.interval)
            await self._statistics(symbol, candles)
            for candle in candles:
                if candle.open_ns > self.desk.last_open_ns(symbol):
                    event = CandleClosed(
                        ts_event=candle.close_ns, ts_seen=self.clock.now_ns(), candle=candle, history=True
                    )
                    await self.execute_trading(event)

    async def _statistics(self, symbol: str, candles: Sequence[Candle]) -> None:
        """Futures statistics of the bars to come, where features are made of them and the exchange keeps a history."""
        ask = getattr(self.exchange, "get_futures_statistics", None)
        fresh = [candle.open_ns for candle in candles if candle.open_ns > self.desk.last_open_ns(symbol)]
        if ask is None or not fresh or "futures" not in self.desk.kinds:
            return
        for event in await ask(symbol, statistics_since(fresh[0], self.interval)):
            now = self.clock.now_ns()
            await self.execute_trading(msgspec.structs.replace(event, ts_seen=now))

    # ------------------------------------------------------------ sending

    async def _send(self, commands: Sequence[Command]) -> None:
        """Carry out the commands in order. An entry whose leverage could not be set is not sent."""
        blocked: set[str] = set()
        for command in commands:
            if isinstance(command, Submit):
                await self._submit(command.intent, blocked)
            elif isinstance(command, Cancel):
                await self._cancel(command)
            elif isinstance(command, SetLeverage):
                try:
                    await self.exchange.set_leverage(command.symbol, command.leverage)
                except AresError as error:
                    blocked.add(command.symbol)
                    self._alert(Alert(code="leverage.refused", symbol=command.symbol, facts={"reason": str(error)}))
            elif isinstance(command, WakeAt):
                self._wake_at(command)
            elif isinstance(command, RunStage):
                await self._run_stage(command)
            else:
                self._alert(command)

    async def _submit(self, intent: Intent, blocked: set[str]) -> None:
        request, client_id = intent.request, self._client_id(intent)
        if intent.purpose is Purpose.ENTRY and request.symbol in blocked:
            error: AresError = Rejected("not sent: the leverage could not be set", symbol=request.symbol)
            self._merger.put(failed(intent, client_id, error, self.clock.now_ns()))
            return
        tries = 1 if intent.purpose is Purpose.ENTRY else _PROTECTIVE_TRIES
        for attempt in range(tries):
            try:
                await self.exchange.create_order(
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
                return
            except Retryable as retryable:
                error = retryable
                if attempt + 1 < tries:
                    await self.clock.sleep(min(_MAX_BACKOFF, retryable.after or 0.2 * 2**attempt))
            except AresError as refused:
                error = refused
                break
        self._merger.put(failed(intent, client_id, error, self.clock.now_ns()))
        if isinstance(error, OutcomeUnknown):
            self._merger.run_outside(self._resolve(intent, client_id))

    async def _resolve(self, intent: Intent, client_id: str) -> Event:
        """Find out what became of an order whose answer was lost; never sends it again."""
        order = await resolved(self.exchange, intent.request.symbol, client_id, self.clock)
        now = self.clock.now_ns()
        if order is not None:
            return OrderUpdate(ts_event=order.updated_ns, ts_seen=now, order=order)
        return failed(intent, client_id, Rejected("the venue denied the order twice", client_order_id=client_id), now)

    async def _cancel(self, command: Cancel) -> None:
        state = self.desk.intents.get(command.intent_id)
        if state is None:
            return
        client_id = self._client_id(state.intent)
        try:
            await self.exchange.cancel_order(command.symbol, client_order_id=client_id)
        except (Rejected, OutcomeUnknown):
            await self._read_order(command, client_id)

    async def _read_order(self, command: Cancel, client_id: str) -> None:
        """A cancel did not work: tell the desk where the order stands; an unknown one is being resolved."""
        try:
            order = await self.exchange.get_order(command.symbol, client_order_id=client_id)
        except AresError as error:
            facts: dict[str, str | float | int] = {"intent": command.intent_id, "reason": str(error)}
            self._alert(Alert(code="cancel.failed", symbol=command.symbol, facts=facts))
            return
        self._merger.put(OrderUpdate(ts_event=order.updated_ns, ts_seen=self.clock.now_ns(), order=order))

    def _wake_at(self, command: WakeAt) -> None:
        """An exchange that owns time gives the wake itself, in its proper place between other events."""
        owner = getattr(self.exchange, "wake_at", None)
        if owner is not None:
            owner(command.ts_ns, command.key)
        else:
            self._merger.set_alarm(command.ts_ns, command.key)

    async def _run_stage(self, command: RunStage) -> None:
        """Run an outside stage: beside everything else; on the spot for history, or where time stands still."""
        work = stage_answer(command, self._stages["analyst"], self._stages["tactician"], self.clock)
        if command.history or getattr(self.exchange, "wake_at", None) is not None:
            self._merger.put(await work)
        else:
            self._merger.run_outside(work)

    def _client_id(self, intent: Intent) -> str:
        cause = int(intent.intent_id.split("-")[-2])
        return client_order_id(intent.intent_id, incarnation_at(self._starts, cause))

    def _alert(self, alert: Alert) -> None:
        """Keep the last alerts and log each."""
        from ares.log import get_logger

        self.alerts.append(alert)
        del self.alerts[:-1000]
        get_logger("ares.pipeline").warning(alert.code, symbol=alert.symbol, **alert.facts)
