"""Features of trades, quotes and futures statistics: the same rows and commands in backtest, paper, live and replay."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from attrs import evolve

from ares.assembly import Stages, build, stages
from ares.backtesting.backtester import Backtester
from ares.config import AresConfig
from ares.errors import InvalidInput
from ares.events import AggTrades, BookTop, CandleClosed, Command, Event, FuturesStatistics, Submit, encode
from ares.features.config import FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.instruments import Side
from ares.pipeline.desk import Desk
from ares.pipeline.journal import MemoryJournal
from ares.pipeline.recovery import replay
from ares.protocols import AnalysisInput, AnalysisResult, Exchange
from ares.simulation.paper import PaperExchange
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape
from ares.testing.tactics_checks import analysis_of

SYMBOL, INTERVAL, HOUR = "APEUSDT", "5m", 3_600_000_000_000
SOURCES = ("agg_trades", "book_top", "futures")
FEATURES = FeatureConfig(groups=("flow", "futures", "momentum"), timeframes=(), sources=SOURCES)
Said = list[tuple[int, list[bytes]]]


class FollowsTheFlow:
    """Buys what takers bought and sells what they sold; remembers the rows it was shown."""

    rows: ClassVar[dict[int, np.ndarray]] = {}

    def analyze(self, given: AnalysisInput) -> AnalysisResult:
        assert given.row is not None
        self.rows[given.row.open_ns] = given.row.values
        delta = given.row.values[given.row.names.index("flow.delta_1")]
        opinion = analysis_of(Side.BUY if delta > 0 else Side.SELL, chance=0.8, width=0.01)
        if not abs(delta) > 0.5:
            opinion = evolve(opinion, side=None)
        return evolve(opinion, symbol=given.symbol, now_ns=given.now_ns, valid_until_ns=given.now_ns + HOUR)

    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        return self.analyze(given)


@pytest.fixture(scope="module")
def tape(real_data: Path) -> Tape:
    """A recorded day of APEUSDT: its trades, bars made of them, quotes beside each trade, and statistics."""
    trades = pd.read_parquet(real_data / "market" / "um_APEUSDT_aggTrades_2024-10-18.parquet")
    grouped = trades.groupby(pd.DatetimeIndex(trades.time).as_unit("ns").floor("5min"))
    bars = grouped.price.ohlc()
    bars["volume"] = grouped.quantity.sum()
    bars.index.name = "open_time"
    interest = pd.read_parquet(real_data / "market" / "um_BTCUSDT_open_interest_5m_2023.parquet").sum_open_interest
    at = pd.DatetimeIndex(bars.index[0] + np.arange(280) * pd.Timedelta("5min"))
    futures = pd.DataFrame({"open_interest": interest.iloc[:280].to_numpy()}, index=at)
    quotes = pd.DataFrame(
        {"time": trades.time, "bid_price": trades.price - 1e-4, "bid_qty": trades.quantity,
         "ask_price": trades.price + 1e-4, "ask_qty": trades.quantity.shift(1, fill_value=10.0)}
    ).iloc[::20]  # fmt: skip
    funding = pd.DataFrame({"funding_time": bars.index[[96, 192]], "funding_rate": [1e-4, -2e-4]})
    mark = bars[["open", "high", "low", "close"]] * 1.0001
    return Tape.from_frame(
        bars, symbol=SYMBOL, interval=INTERVAL, funding=funding, mark=mark, agg_trades=trades, quotes=quotes,
        futures=futures,
    )  # fmt: skip


def bot() -> Stages:
    parts = stages(AresConfig(features=FEATURES))
    FollowsTheFlow.rows = {}
    return evolve(parts, analyst=FollowsTheFlow())


def in_backtest(tape: Tape, start: int | None = None) -> tuple[Said, dict[str, int]]:
    said: Said = []
    told: dict[str, int] = {}

    def note(event: Event, commands: list[Command]) -> None:
        said.append((event.seq, [encode(c) for c in commands]))
        told[type(event).__name__] = told.get(type(event).__name__, 0) + 1

    parts = bot()
    backtester = Backtester(
        features=parts.features, analyst=parts.analyst, tactician=parts.tactician, monitor=parts.monitor
    )
    backtester.run(tape, start=start, observer=note)
    return said, told


def in_pipeline(exchange: Exchange, journal: MemoryJournal, until: int | None = None) -> Said:
    said: Said = []

    async def play() -> None:
        parts = bot()
        pipeline = build(
            AresConfig(features=FEATURES), exchange=exchange, symbols=[SYMBOL], interval=INTERVAL, journal=journal,
            parts=parts,
        )  # fmt: skip
        pipeline.observers.append(lambda event, commands: said.append((event.seq, [encode(c) for c in commands])))
        async with pipeline:
            await pipeline.run(until)

    asyncio.run(play())
    return said


def test_a_backtests_rows_are_the_batchs(tape: Tape) -> None:
    said, told = in_backtest(tape)
    whole = FeatureOrchestrator(FEATURES).compute(tape.frame(), **tape.recorded())
    rows = FollowsTheFlow.rows
    assert list(rows) == whole.index.as_unit("ns").asi8.tolist()
    np.testing.assert_array_equal(np.array(list(rows.values())), whole.to_numpy())
    known = set(whole.columns[whole.notna().any()])
    assert {"flow.delta_24", "flow.ofi_1", "futures.funding", "futures.oi_change_24", "futures.premium"} <= known
    assert told["AggTrades"] == told["CandleClosed"] and told["BookTop"] > 1_000 and told["FuturesStatistics"] > 250
    assert sum(b"Submit" in body for _, bodies in said for body in bodies) > 5


def test_backtest_paper_live_and_replay_are_one(tape: Tape) -> None:
    said, _ = in_backtest(tape)
    rows = dict(FollowsTheFlow.rows)
    assert in_pipeline(PaperExchange(SimulatedExchange(tape, start=tape.start_ns)), MemoryJournal()) == said
    assert {k: v.tobytes() for k, v in FollowsTheFlow.rows.items()} == {k: v.tobytes() for k, v in rows.items()}
    journal = MemoryJournal()
    assert in_pipeline(SimulatedExchange(tape, start=tape.start_ns), journal) == said
    parts = bot()
    desk = Desk(
        features=parts.features, analyst=parts.analyst, tactician=parts.tactician, monitor=parts.monitor,
        symbols=[SYMBOL], interval=INTERVAL,
    )  # fmt: skip
    report = replay(journal.records(), desk)
    assert report.identical and report.events == len(said)


def test_history_brings_statistics_and_no_trades(tape: Tape) -> None:
    """A session that starts in mid-tape knows the statistics of its history; trades fill their windows from then."""
    start = int(tape.tracks[0].open_ns[150])
    said, _ = in_backtest(tape, start)
    rows = dict(FollowsTheFlow.rows)
    journal = MemoryJournal()
    assert in_pipeline(SimulatedExchange(tape, start=start), journal) == said
    assert in_pipeline(PaperExchange(SimulatedExchange(tape, start=start)), MemoryJournal()) == said
    whole = FeatureOrchestrator(FEATURES).compute(tape.frame(), **tape.recorded())
    names = [name for name in whole.columns if name.startswith("futures.")]
    mine = pd.DataFrame(list(rows.values()), index=list(rows), columns=whole.columns)
    np.testing.assert_array_equal(mine[names].to_numpy(), whole[names].to_numpy())
    assert mine["flow.delta_1"].iloc[:150].isna().all()
    late = whole.index.as_unit("ns").asi8 >= start + 60 * 5 * 60_000_000_000
    np.testing.assert_allclose(mine.to_numpy()[late], whole.to_numpy()[late], rtol=1e-9)  # sums have not settled yet


def test_a_session_stopped_in_the_middle_goes_on_alike(tape: Tape) -> None:
    whole = MemoryJournal()
    in_pipeline(SimulatedExchange(tape, start=tape.start_ns), whole)
    events = [event for event, _ in whole.records()]
    trades = [e for e in events if isinstance(e, AggTrades)]
    for moment in (trades[100].ts_seen, trades[200].ts_seen + 1):
        journal = MemoryJournal()
        in_pipeline(SimulatedExchange(tape, start=tape.start_ns), journal, until=moment)
        in_pipeline(SimulatedExchange(tape, start=tape.start_ns), journal)
        candles = [encode(e) for e, _ in journal.records() if isinstance(e, CandleClosed | BookTop | FuturesStatistics)]
        assert len(candles) == len([e for e in events if isinstance(e, CandleClosed | BookTop | FuturesStatistics)])
        sent = [c.intent.request for _, commands in journal.records() for c in commands if isinstance(c, Submit)]
        assert sent == [c.intent.request for _, commands in whole.records() for c in commands if isinstance(c, Submit)]


def test_who_asks_for_nothing_is_told_nothing(tape: Tape) -> None:
    kinds: set[type] = set()
    Backtester().run(tape, observer=lambda event, commands: kinds.add(type(event)))
    assert not kinds & {AggTrades, BookTop, FuturesStatistics}


def test_what_the_market_does_not_hold_is_refused(tape: Tape) -> None:
    bare = Tape.from_frame(tape.frame(), symbol=SYMBOL)
    backtester = Backtester(features=FeatureOrchestrator(FEATURES))
    with pytest.raises(InvalidInput, match="agg_trades"):
        backtester.run(bare)
    with pytest.raises(InvalidInput, match="cannot stream agg_trades"):
        in_pipeline(SimulatedExchange(bare, start=bare.start_ns), MemoryJournal())
    with pytest.raises(InvalidInput, match="cannot stream agg_trades"):
        in_pipeline(PaperExchange(SimulatedExchange(bare, start=bare.start_ns)), MemoryJournal())
