"""Order flow and statistics in a live session on the Binance client: rows are the batch's on what was told."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from attrs import evolve

pytest.importorskip("uvicorn")

from ares.assembly import stages
from ares.config import AresConfig
from ares.events import AggTrades, BookTop, CandleClosed, Event, FuturesStatistics, LinkChanged
from ares.exchange.binance import BinanceExchange
from ares.features.config import FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.market import AggTrade
from ares.pipeline.desk import Desk
from ares.pipeline.journal import MemoryJournal
from ares.pipeline.live import LiveTradingPipeline, PipelineConfig
from ares.pipeline.recovery import replay
from ares.protocols import AnalysisInput, AnalysisResult, Exchange
from ares.secret import Secret
from ares.simulation.paper import PaperExchange
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.market import Pace
from ares.simulation.tape import Tape
from ares.testing.tactics_checks import analysis_of
from tests.pipeline.test_live_binance import KEY, PATIENCE, SECRET, S, local, until

FEATURES = FeatureConfig(groups=("flow", "futures"), timeframes=(), sources=("agg_trades", "book_top", "futures"))


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile the kernels before a clock runs."""
    tape = Tape.synthetic(S, "1m", bars=30, seed=1)
    at = tape.start_ns + 10**9
    stream = FeatureOrchestrator(FEATURES).stream(S, "1m")
    one = AggTrade(symbol=S, agg_id=1, ts_ns=at, price=1.0, quantity=1.0, buyer_is_maker=False)
    stream.observe(AggTrades(ts_event=at, ts_seen=at, symbol=S, trades=(one,)))
    stream.observe(BookTop(ts_event=at, ts_seen=at, symbol=S, bid=1.0, bid_quantity=1.0, ask=2.0, ask_quantity=1.0))
    stream.update(tape.candle(S, 0))


class Watcher:
    """Keeps every row and trades on none."""

    def __init__(self) -> None:
        self.rows: dict[int, np.ndarray] = {}

    def analyze(self, given: AnalysisInput) -> AnalysisResult:
        assert given.row is not None
        self.rows[given.row.open_ns] = given.row.values
        return evolve(analysis_of(None), symbol=given.symbol, now_ns=given.now_ns, valid_until_ns=given.now_ns + 10**12)

    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        return self.analyze(given)


def desk_parts(watcher: Watcher) -> dict[str, object]:
    parts = stages(AresConfig(features=FEATURES))
    return {"features": parts.features, "analyst": watcher, "tactician": parts.tactician, "monitor": parts.monitor}


def pipeline_on(exchange: Exchange, journal: MemoryJournal, watcher: Watcher) -> LiveTradingPipeline:
    return LiveTradingPipeline(
        PipelineConfig(history=30), exchange=exchange, symbols=[S], interval="1m", journal=journal,
        **desk_parts(watcher),  # type: ignore[arg-type]
    )  # fmt: skip


def whole_bars(watcher: Watcher, since_ns: int) -> int:
    """Bars since then of which every trade was heard: a slow machine has to read the first ones of a session."""
    column = FeatureOrchestrator(FEATURES).stream(S, "1m").feature_names.index("flow.delta_1")
    return sum(at > since_ns and bool(np.isfinite(row[column])) for at, row in watcher.rows.items())


async def play(
    exchange: Exchange, journal: MemoryJournal, watcher: Watcher, bars: int, since_ns: int = 0
) -> None:
    """A session until it has heard so many whole bars."""
    said = Counter[str]()
    pipeline = pipeline_on(exchange, journal, watcher)
    pipeline.observers.append(lambda event, commands: said.update([type(event).__name__]))
    async with pipeline:
        task = asyncio.ensure_future(pipeline.run())
        await until(lambda: whole_bars(watcher, since_ns) >= bars, task, said)
        await pipeline.stop()
        await asyncio.wait_for(task, PATIENCE)


def batch_of(events: list[Event]) -> pd.DataFrame:
    """The features of what was told, by the batch."""
    candles = [e.candle for e in events if isinstance(e, CandleClosed)]
    index = pd.DatetimeIndex([c.open_ns for c in candles], tz="UTC", name="open_time")
    names = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
    bars = pd.DataFrame({n: [getattr(c, n) for c in candles] for n in (*names, "trades")}, index=index)
    trades = [t for e in events if isinstance(e, AggTrades) for t in e.trades]
    frame = pd.DataFrame(
        {"time": pd.DatetimeIndex([t.ts_ns for t in trades], tz="UTC"), "agg_id": [t.agg_id for t in trades],
         "quantity": [t.quantity for t in trades], "is_buyer_maker": [t.buyer_is_maker for t in trades]}
    )  # fmt: skip
    return FeatureOrchestrator(FEATURES).compute(bars, frame)


def venue_of(speed: float = 60.0) -> LocalVenue:
    tape = Tape.synthetic(S, "1m", bars=600, seed=3)
    return LocalVenue(tape, accounts={KEY: (Secret(SECRET), Decimal(10_000))}, pace=Pace(speed=speed), history=500)


@pytest.mark.parametrize("mode", ["live", "paper"])
async def test_a_session_over_sockets_has_the_batchs_flow(mode: str) -> None:
    journal, watcher = MemoryJournal(), Watcher()
    async with local(venue_of()) as config:
        if mode == "live":
            exchange: Exchange = BinanceExchange(config)
        else:
            source = BinanceExchange(evolve(config, api_key=None, api_secret=None))
            exchange = PaperExchange(source, symbols=[S], interval="1m")
        await play(exchange, journal, watcher, bars=4)
    events = [event for event, _ in journal.records()]
    whole = batch_of(events)
    shown = [n for n in whole.columns if n.startswith(("flow.delta", "flow.large", "flow.sign", "flow.arrival"))]
    rows = pd.DataFrame(
        list(watcher.rows.values()), index=pd.DatetimeIndex(list(watcher.rows), tz="UTC"), columns=whole.columns
    )
    np.testing.assert_array_equal(rows[shown].to_numpy(), whole[shown].to_numpy())
    assert len(shown) >= 6
    assert {"AggTrades", "BookTop", "FuturesStatistics"} <= {type(e).__name__ for e in events}
    assert rows["futures.funding"].notna().sum() >= 20  # settled before the session: its history was asked for
    assert any(isinstance(e, FuturesStatistics) for e in events)
    fresh = Desk(symbols=[S], interval="1m", **desk_parts(Watcher()))  # type: ignore[arg-type]
    assert replay(journal.records(), fresh).identical


async def test_trades_missed_while_away_leave_no_wrong_bar() -> None:
    """The process dies in the middle of a bar; after the restart the bars it missed are NaN, not half counted."""
    journal, watcher = MemoryJournal(), Watcher()
    async with local(venue_of()) as config:
        first = pipeline_on(BinanceExchange(config), journal, watcher)
        await first.exchange.__aenter__()
        task = asyncio.ensure_future(first.run())
        said = Counter[str]()
        first.observers.append(lambda event, commands: said.update([type(event).__name__]))
        await until(lambda: said["AggTrades"] >= 12, task, said)
        task.cancel()  # dead, without a word
        await asyncio.gather(task, return_exceptions=True)
        await first._merger.close()
        await first.exchange.close()
        await asyncio.sleep(2.0)
        died = max(t.ts_ns for e, _ in journal.records() if isinstance(e, AggTrades) for t in e.trades)
        again = Watcher()
        await play(BinanceExchange(config), journal, again, bars=2, since_ns=died)
    events = [event for event, _ in journal.records()]
    assert any(isinstance(e, LinkChanged) and not e.up for e in events)
    resumed = next(t.ts_ns for e in events if isinstance(e, AggTrades) for t in e.trades if t.ts_ns > died)
    names = FeatureOrchestrator(FEATURES).stream(S, "1m").feature_names
    column = names.index("flow.delta_1")
    missed = {at: row[column] for at, row in again.rows.items() if died - 60 * 10**9 < at <= resumed}
    later = [row[column] for at, row in again.rows.items() if at > resumed]
    assert len(missed) >= 2 and np.isnan(list(missed.values())).all()
    assert len(later) >= 2 and np.isfinite(later).all()
