"""`ares paper`: the bot on a market as it unfolds, with orders that stay in the simulator."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ares.cli import options
from ares.cli.exits import INTERRUPTED, ends_with_exit_code

if TYPE_CHECKING:
    from ares.backtesting.result import BacktestResult
    from ares.config import AresConfig
    from ares.events import Command, Event
    from ares.pipeline.journal import SqliteJournal
    from ares.pipeline.live import LiveTradingPipeline
    from ares.simulation.tape import Tape

__all__ = ["paper"]


@ends_with_exit_code
def paper(
    symbol: options.Symbol = "ETHUSDT",
    exchange: options.ExchangeName = "SIM",
    tape: options.TapeFile = None,
    interval: options.IntervalName = None,
    funding: options.FundingFile = None,
    bars: options.Bars = None,
    seed: options.Seed = 0,
    balance: options.Balance = None,
    config: options.ConfigFile = None,
    journal: Annotated[
        Path | None, typer.Option(help="Where the run is written down. None: data/paper-SYMBOL-INTERVAL.sqlite.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Set an unfinished journal aside and begin anew.")] = False,
    realtime: Annotated[bool, typer.Option("--realtime", help="An hour takes an hour, not a blink.")] = False,
    speed: Annotated[float, typer.Option(min=1e-3, help="With --realtime: so many times faster.")] = 1.0,
    json: options.JsonOut = False,
    progress: options.Progress = None,
    log: options.LogLevel = None,
) -> None:
    """Trade on paper: features, signals, orders, stops, exits, written down so that a killed run goes on where it was.

    Ctrl-C ends it in order: no new entries, everything journaled, stops left at the venue, the summary, exit code 130.
    """
    from ares.cli.journals import default_path, facts_of, open_journal
    from ares.cli.market import check_exchange_name, open_tape
    from ares.cli.outcome import describe, show
    from ares.cli.screen import note
    from ares.cli.settings import settings

    check_exchange_name(exchange)
    chosen = settings(config, balance=balance, log=log)
    market = open_tape(symbol, tape=tape, interval=interval, funding=funding, seed=seed, bars=bars)
    source = str(tape) if tape is not None else "synthetic"
    path = journal or default_path(symbol, market.interval.name)
    facts = facts_of(chosen, market, exchange=exchange.upper(), source=source, seed=seed, bars=bars)
    book, what = open_journal(path, facts, restart=restart)
    note(f"journal {path}: {what}")
    session = _Session(chosen, market, book, speed if realtime else None)
    asyncio.run(session.trade(progress))
    values = describe(session.result(), seed=seed, tape=source, journal=str(path), finished=session.finished)
    show(values, as_json=json)
    if session.stopped_by == signal.SIGINT:
        raise typer.Exit(INTERRUPTED)


class _Session:
    """One run of the pipeline on a simulated exchange, from start or recovery to its end or a signal."""

    def __init__(self, config: AresConfig, market: Tape, journal: SqliteJournal, speed: float | None) -> None:
        from ares.assembly import build
        from ares.backtesting.recorder import Recorder
        from ares.cli.realtime import RealTimeExchange
        from ares.simulation.simulated_exchange import SimulatedExchange

        venue = config.backtest.venue
        exchange = (
            SimulatedExchange(market, start=market.start_ns, config=venue)
            if speed is None
            else RealTimeExchange(market, start=market.start_ns, config=venue, speed=speed)
        )
        self.market, self.journal, self.config = market, journal, config
        self.resumed = len(journal) > 0
        self.finished = False
        self.stopped_by: signal.Signals | None = None
        self.pipeline: LiveTradingPipeline = build(
            config,
            "paper",
            exchange=exchange,
            symbols=market.symbols,
            interval=market.interval.name,
            journal=journal,
        )
        self.recorder = Recorder(self.pipeline.desk)

    async def trade(self, progress: bool | None) -> None:
        """Run to the tape's end or to a signal, and note in the journal which it was."""
        from ares.cli.journals import FINISHED
        from ares.cli.screen import progress_bar

        track = self.market.tracks[0]
        with progress_bar(f"{track.symbol} {track.interval}", len(track), progress) as advance:
            self.pipeline.observers += [self.recorder, _bars_to(advance, self.market)]
            async with self.pipeline:
                with _signals_to(self._stop):
                    await self.pipeline.run()
                if self.stopped_by is None:
                    self.finished = True
                    self.journal.note(FINISHED, True)

    async def _stop(self, by: signal.Signals) -> None:
        from ares.cli.screen import note

        self.stopped_by = by
        note("stopping: no new entries; once more to stop at once")
        await self.pipeline.stop()

    def result(self) -> BacktestResult:
        """What came of the whole session. The part before a restart was heard by another recorder: it is replayed."""
        from ares.backtesting.result import result_of
        from ares.cli.replay import replayed
        from ares.pipeline.journal import SqliteJournal

        recorder = self.recorder
        if self.resumed:
            book = SqliteJournal(self.journal.path, read_only=True)
            recorder, _ = replayed(book, self.config)
            book.close()
        return result_of("paper", recorder, slippage=self.config.backtest.venue.slippage)


def _bars_to(advance: Callable[[int], None], market: Tape) -> Callable[[Event, list[Command]], None]:
    """An observer that tells how many bars of the tape have closed."""
    from ares.events import CandleClosed

    track = market.tracks[0]

    def observer(event: Event, commands: list[Command]) -> None:
        if isinstance(event, CandleClosed) and event.candle.symbol == track.symbol:
            advance(track.closed_by(event.candle.close_ns))

    return observer


@contextmanager
def _signals_to(stop: Callable[[signal.Signals], Any]) -> Iterator[None]:
    """The first SIGINT or SIGTERM calls `stop` inside the running loop; a second one interrupts at once."""
    loop = asyncio.get_running_loop()
    caught = (signal.SIGINT, signal.SIGTERM)
    tasks: set[asyncio.Task[Any]] = set()

    def once(by: signal.Signals) -> None:
        for number in caught:
            loop.remove_signal_handler(number)
        tasks.add(asyncio.ensure_future(stop(by)))

    try:
        for number in caught:
            loop.add_signal_handler(number, once, number)
    except NotImplementedError:  # Windows: Ctrl-C interrupts at once, and the journal goes on from there
        yield
        return
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
