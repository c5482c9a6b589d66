"""The whole bot on the Binance client over real sockets: seven steps, through faults, and a journal that replays."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from attrs import evolve

pytest.importorskip("uvicorn")

from ares.assembly import stages
from ares.errors import DataError
from ares.events import Submit
from ares.exchange import link
from ares.exchange.binance import BinanceExchange
from ares.exchange.config import BinanceConfig
from ares.instruments import Side
from ares.pipeline.desk import Desk
from ares.pipeline.journal import MemoryJournal
from ares.pipeline.live import LiveTradingPipeline, PipelineConfig
from ares.pipeline.recovery import replay
from ares.protocols import AnalysisInput, AnalysisResult
from ares.secret import Secret
from ares.simulation.faults import Fault, FaultPlan
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.market import Pace
from ares.simulation.server.serving import serve
from ares.simulation.tape import Tape
from ares.testing.tactics_checks import analysis_of

S, KEY, SECRET = "ETHUSDT", "pipeline-key", "pipeline-secret"
PATIENCE = 150.0  # seconds for what takes a dozen on a quiet machine


class AlwaysLong:
    """An opinion on every bar, so that there is something to trade."""

    def analyze(self, given: AnalysisInput) -> AnalysisResult:
        opinion = analysis_of(Side.BUY, chance=0.8, width=0.004)
        now = given.now_ns
        return evolve(opinion, symbol=given.symbol, now_ns=now, valid_until_ns=now + 300 * 10**9)

    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        return self.analyze(given)


@asynccontextmanager
async def local(venue: LocalVenue) -> AsyncIterator[BinanceConfig]:
    ready: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
    until = asyncio.Event()
    task = asyncio.ensure_future(serve(venue, ready=lambda *where: ready.set_result(where), until=until))
    rest, streams = await ready
    try:
        yield BinanceConfig(
            api_key=Secret(KEY), api_secret=Secret(SECRET), rest_url=rest, stream_url=streams, timeout=30.0,
            order_timeout=30.0,
        )  # fmt: skip
    finally:
        until.set()
        await task


async def until(found: Callable[[], object], task: asyncio.Future[None], said: Mapping[str, int]) -> None:
    """Return once `found` gives something true; fail with what was said when it never does, or the session ends."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not found():
                if task.done():
                    task.result()
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"the session does not get on: {dict(said)}") from None


def pipeline_on(config: BinanceConfig, journal: MemoryJournal, said: Counter[str]) -> LiveTradingPipeline:
    parts = evolve(stages(), analyst=AlwaysLong())
    pipeline = LiveTradingPipeline(
        PipelineConfig(history=5),
        exchange=BinanceExchange(config),
        features=parts.features,
        analyst=parts.analyst,
        tactician=parts.tactician,
        monitor=parts.monitor,
        symbols=[S],
        interval="1m",
        journal=journal,
    )
    pipeline.observers.append(
        lambda event, commands: said.update(
            [type(event).__name__, *(c.intent.purpose.value for c in commands if isinstance(c, Submit))]
        )
    )
    return pipeline


FAULTS = {
    "none": (),
    "lost answer to an entry": ("unknown_503 at POST /fapi/v1/order",),
    "lost answer to a stop": ("dropped at POST /fapi/v1/algoOrder",),
    "refused stop": ("unavailable_503 at POST /fapi/v1/algoOrder",),
    "broken private stream": ("dropped at private nth 2",),
    "broken market stream": ("dropped at ethusdt@kline_1m nth 12",),
}


@pytest.mark.parametrize("fault", list(FAULTS))
async def test_the_seven_steps_over_sockets(fault: str) -> None:
    tape = Tape.synthetic(S, "1m", bars=600, seed=3)
    plan = FaultPlan([Fault.parse(line) for line in FAULTS[fault]])
    venue = LocalVenue(
        tape, accounts={KEY: (Secret(SECRET), Decimal(10_000))}, pace=Pace(speed=60.0), history=200, faults=plan
    )
    theirs = venue.traders[KEY].venue
    journal, said = MemoryJournal(), Counter[str]()
    parts = evolve(stages(), analyst=AlwaysLong())
    async with local(venue) as config:
        pipeline = pipeline_on(config, journal, said)
        async with pipeline:
            task = asyncio.ensure_future(pipeline.run())
            wanted = ("ENTRY", "STOP", "FillBooked")
            await until(lambda: all(said[w] for w in wanted) and said["CandleClosed"] > 9, task, said)
            await pipeline.stop(flatten=True)
            await asyncio.wait_for(task, PATIENCE)
            assert theirs.position(S).quantity == 0
            ledger = pipeline.desk.ledger
            assert ledger is not None and ledger.account().wallet == theirs.account().wallet
    if plan.faults:
        assert plan.happened
    fresh = Desk(
        features=parts.features, analyst=parts.analyst, tactician=parts.tactician, monitor=parts.monitor,
        symbols=[S], interval="1m",
    )  # fmt: skip
    assert replay(journal.records(), fresh).identical


async def test_w10_nothing_is_traded_on_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars come, the mark price does not: the session does not begin, and no order is sent."""
    monkeypatch.setattr(link, "_SPEAK", 2.0)
    tape = Tape.synthetic(S, "1m", bars=600, seed=3)
    plan = FaultPlan([Fault.parse("late at ethusdt@markPrice@1s count 99999 for 600")])
    venue = LocalVenue(
        tape, accounts={KEY: (Secret(SECRET), Decimal(10_000))}, pace=Pace(speed=60.0), history=200, faults=plan
    )
    said = Counter[str]()
    async with local(venue) as config, pipeline_on(config, MemoryJournal(), said) as pipeline:
        with pytest.raises(DataError, match="mark price of ETHUSDT"):
            await pipeline.run()
    assert said["VenueSnapshot"] and not said["ENTRY"] and venue.orders_taken == 0


async def test_what_was_filled_while_we_were_away_is_booked_after_a_restart() -> None:
    """O11: the process dies holding a position; its stop triggers before it is back."""
    tape = Tape.synthetic(S, "1m", bars=600, seed=3)
    venue = LocalVenue(tape, accounts={KEY: (Secret(SECRET), Decimal(10_000))}, pace=Pace(speed=60.0), history=200)
    trader = venue.traders[KEY]
    journal = MemoryJournal()
    async with local(venue) as config:
        said = Counter[str]()
        first = pipeline_on(config, journal, said)
        await first.exchange.__aenter__()
        task = asyncio.ensure_future(first.run())
        await until(lambda: said["FillBooked"] and trader.algo.waiting(S), task, said)
        task.cancel()  # dead, without a word
        await asyncio.gather(task, return_exceptions=True)
        await first._merger.close()
        await first.exchange.close()
        trader.venue.trade(S, venue.market.symbols[S].last * 0.9)
        trader.moved(S)
        assert trader.venue.position(S).quantity == 0
        again = Counter[str]()
        second = pipeline_on(config, journal, again)
        async with second:
            task = asyncio.ensure_future(second.run())
            await until(lambda: again["FillBooked"], task, again)
            await second.stop(flatten=True)
            await asyncio.wait_for(task, PATIENCE)
            ledger = second.desk.ledger
            assert ledger is not None and ledger.account().wallet == trader.venue.account().wallet
            assert ledger.position(S).quantity == trader.venue.position(S).quantity == 0
