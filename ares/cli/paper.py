"""`ares paper`: the bot on a market as it unfolds, with orders that stay in the simulator."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from attrs import evolve, frozen

from ares.cli import options
from ares.cli.exits import INTERRUPTED, ends_with_exit_code

if TYPE_CHECKING:
    from ares.backtesting.result import BacktestResult
    from ares.cli.recorded import Recorded
    from ares.config import AresConfig
    from ares.events import Command, Event
    from ares.pipeline.journal import SqliteJournal
    from ares.pipeline.live import LiveTradingPipeline
    from ares.protocols import Exchange

__all__ = ["paper"]


@ends_with_exit_code
def paper(
    symbol: options.Symbol = None,
    exchange: options.ExchangeName = "SIM",
    tape: options.TapeFile = None,
    interval: options.IntervalName = None,
    funding: options.FundingFile = None,
    agg_trades: options.AggTradesFile = None,
    quotes: options.QuotesFile = None,
    futures: options.FuturesFile = None,
    bars: options.Bars = None,
    seed: options.Seed = 0,
    edge: options.Edge = None,
    balance: options.Balance = None,
    config: options.ConfigFile = None,
    model: options.ModelFolder = None,
    retrain: options.Retrain = None,
    models: options.ModelsFolder = None,
    journal: Annotated[
        Path | None, typer.Option(help="Where the run is written down. None: data/paper-SYMBOL-INTERVAL.sqlite.")
    ] = None,
    trials: options.TrialsFile = Path("data/trials.sqlite"),
    restart: Annotated[bool, typer.Option("--restart", help="Set an unfinished journal aside and begin anew.")] = False,
    realtime: Annotated[bool, typer.Option("--realtime", help="SIM: an hour takes an hour, not a blink.")] = False,
    speed: Annotated[float, typer.Option(min=1e-3, help="With --realtime: so many times faster.")] = 1.0,
    json: options.JsonOut = False,
    progress: options.Progress = None,
    log: options.LogLevel = None,
) -> None:
    """Trade on paper: features, signals, orders, stops, exits, written down so that a killed run goes on where it was.

    SIM plays a recorded or synthetic market on virtual time; BINANCE follows the venue's own market, without keys, and
    goes on until it is stopped or --bars have closed. Orders never leave the simulator.
    Ctrl-C ends it in order: no new entries, everything journaled, stops left at the venue, the summary, exit code 130.
    """
    from ares.cli.journals import default_path, facts_of, open_journal
    from ares.cli.market import known_exchange, symbol_of
    from ares.cli.outcome import describe, show
    from ares.cli.recorded import Recorded
    from ares.cli.screen import note
    from ares.cli.settings import settings
    from ares.errors import AresError

    venue = known_exchange(exchange, "SIM", "BINANCE")
    symbol = symbol_of(symbol, tape)
    recorded = Recorded(agg_trades=agg_trades, quotes=quotes, futures=futures)
    given = settings(config, balance=balance, model=model, retrain=retrain, models=models, log=log)
    chosen = recorded.read_by(given)
    if venue == "SIM":
        pace = speed if realtime else None
        place = _simulated(chosen, symbol, tape, interval, funding, recorded, (seed, edge), bars, pace)
    else:
        files = {f"--{name.replace('_', '-')}": file for name, file in recorded.given.items()}
        place = _binance(chosen, symbol, interval, bars, refused={"--tape": tape, "--funding": funding, **files})
    path = journal or default_path(symbol, place.interval)
    facts = facts_of(chosen, exchange=venue, symbol=symbol, interval=place.interval, bars=bars, **place.origin)
    book, what = open_journal(path, facts, restart=restart)
    note(f"journal {path}: {what}")
    try:
        session = _Session(chosen, place, book)
    except AresError:
        book.close()
        raise
    asyncio.run(session.trade(progress))
    told = {key: place.origin[key] for key in ("tape", "seed")}
    values = describe(session.result(trials), **told, journal=str(path), finished=session.finished)
    show(values, as_json=json)
    if session.stopped_by == signal.SIGINT:
        raise typer.Exit(INTERRUPTED)


@frozen(kw_only=True)
class _Place:
    """Where a session trades: the exchange, and what must be known to find the same market again."""

    exchange: Exchange
    symbol: str
    interval: str
    bars: int | None  # after which the session ends; None: when the market does, or never
    origin: dict[str, Any]  # what identifies the market: tape and its digest, seed
    begins_ns: int | None  # open time of the market's first bar; None: it goes back as far as one asks
    market: str  # what tells this market from others in the ledger of trials
    made_up: bool  # it was not recorded but invented
    carried: frozenset[str]  # kline columns that its bars have
    closed_by: Callable[[int], int] | None = None  # bars of the tape closed at a time (ns UTC); None: no tape


def _simulated(
    config: AresConfig,
    symbol: str,
    tape: Path | None,
    interval: str | None,
    funding: Path | None,
    recorded: Recorded,
    made: tuple[int, float | None],
    bars: int | None,
    speed: float | None,
) -> _Place:
    """A recorded or synthetic market on virtual time, or at `speed` times ours. made: seed and edge of the latter."""
    from ares.assembly import trading_starts
    from ares.cli.journals import klines_digest
    from ares.cli.market import open_tape
    from ares.cli.realtime import RealTimeExchange
    from ares.simulation.simulated_exchange import SimulatedExchange

    seed, edge = made
    market = open_tape(
        symbol, tape=tape, interval=interval, funding=funding, recorded=recorded, seed=seed, edge=edge, bars=bars
    )
    venue, start = config.backtest.venue, trading_starts(config, market)
    return _Place(
        exchange=SimulatedExchange(market, start=start, config=venue)
        if speed is None
        else RealTimeExchange(market, start=start, config=venue, speed=speed),
        symbol=symbol,
        interval=market.interval.name,
        bars=len(market),
        origin={
            "tape": str(tape) if tape is not None else "synthetic",
            "tape_sha256": market.tracks[0].sha256,
            "klines_sha256": klines_digest(market),
            "seed": seed,
        },
        begins_ns=market.start_ns,
        market=market.sha256,
        made_up=market.made_up,
        carried=frozenset(market.frame(symbol).columns),
        closed_by=market.tracks[0].closed_by,
    )


def _binance(
    config: AresConfig, symbol: str, interval: str | None, bars: int | None, refused: dict[str, object]
) -> _Place:
    """Binance's market, public side only, in front of our own venue."""
    from ares.backtesting.rehearsal import rehearse
    from ares.cli.market import DEFAULT_INTERVAL
    from ares.cli.reach import remembering
    from ares.cli.screen import note
    from ares.errors import InvalidInput
    from ares.exchange.binance import BinanceExchange
    from ares.instruments import Interval
    from ares.market import KLINE_COLUMNS
    from ares.simulation.paper import PaperExchange

    if given := [name for name, value in refused.items() if value is not None]:
        raise InvalidInput(f"{' and '.join(given)} goes with --exchange SIM: BINANCE brings its own market")
    length = Interval.parse(interval or DEFAULT_INTERVAL).name
    rehearse(beside=True)  # before anything streams: a market that is heard late is a market that is lost
    note(f"market data from {config.exchange.rest}")
    source = BinanceExchange(remembering(evolve(config.exchange, api_key=None, api_secret=None)))
    return _Place(
        exchange=PaperExchange(source, symbols=[symbol], interval=length, config=config.backtest.venue),
        symbol=symbol,
        interval=length,
        bars=bars,
        origin={"tape": config.exchange.rest, "tape_sha256": None, "seed": None},
        begins_ns=None,
        market=config.exchange.rest,
        made_up=False,
        carried=frozenset(KLINE_COLUMNS),
    )


class _Session:
    """One run of the pipeline, from start or recovery to its end or a signal."""

    def __init__(self, config: AresConfig, place: _Place, journal: SqliteJournal) -> None:
        from ares.assembly import build
        from ares.backtesting.recorder import Recorder

        self.config, self.place, self.journal = config, place, journal
        self.resumed = len(journal) > 0
        self.finished = False
        self.stopped_by: signal.Signals | None = None
        self.pipeline: LiveTradingPipeline = build(
            config,
            "paper",
            exchange=place.exchange,
            symbols=[place.symbol],
            interval=place.interval,
            journal=journal,
            learn_from=place.begins_ns,
            carried=place.carried,
        )
        self.recorder = Recorder(self.pipeline.desk)

    async def trade(self, progress: bool | None) -> None:
        """Run to the market's end, to `bars` or to a signal, and note in the journal which it was."""
        from ares.cli.screen import progress_bar

        place = self.place
        with progress_bar(f"{place.symbol} {place.interval}", place.bars, progress) as advance:
            self.pipeline.observers += [self.recorder, _Bars(place, advance, self.pipeline.stop)]
            async with self.pipeline:
                with _signals_to(self._stop):
                    await self.pipeline.run()
                if self.stopped_by is None:
                    self.finished = True
                    self.journal.finish()

    async def _stop(self, by: signal.Signals) -> None:
        from ares.cli.screen import note

        self.stopped_by = by
        note("stopping: no new entries; once more to stop at once")
        await self.pipeline.stop()

    def result(self, trials: Path) -> BacktestResult:
        """What came of the whole session; one that is finished is a trial like a backtest.

        The part before a restart was heard by another recorder: it is replayed.
        """
        from ares.assembly import build_backtester
        from ares.backtesting.result import result_of
        from ares.cli.replay import replayed
        from ares.pipeline.journal import SqliteJournal
        from ares.training.trials import TrialLedger

        recorder = self.recorder
        if self.resumed:
            book = SqliteJournal(self.journal.path, read_only=True)
            recorder, _ = replayed(book, self.config)
            book.close()
        result = result_of("paper", recorder, slippage=self.config.backtest.venue.slippage)
        if not self.finished:
            return result
        with TrialLedger(trials) as ledger:
            backtester = build_backtester(self.config, trials=ledger)
            return backtester.judged(result, self.place.market, "paper", made_up=self.place.made_up)


class _Bars:
    """An observer that tells how many bars have closed, and stops a session that would not end by itself."""

    def __init__(self, place: _Place, advance: Callable[[int], None], stop: Callable[[], Coroutine[Any, Any, None]]):
        self._place, self._advance, self._stop = place, advance, stop
        self._count = 0
        self._stopping: asyncio.Task[None] | None = None
        self._heard = False

    def __call__(self, event: Event, commands: list[Command]) -> None:
        from ares.events import CandleClosed

        if not self._heard:
            self._heard = True
            self._advance(0)
        if not isinstance(event, CandleClosed) or event.history:
            return
        self._count += 1
        place = self._place
        self._advance(self._count if place.closed_by is None else place.closed_by(event.candle.close_ns))
        if place.closed_by is None and self._count == place.bars:
            self._stopping = asyncio.ensure_future(self._stop())


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
