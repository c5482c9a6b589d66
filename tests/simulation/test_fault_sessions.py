"""The whole bot through every fault of the plan, on paper and trading itself: nothing is lost, and it replays.

The sessions run beside each other in one process, on a clock that waits for nobody; each test looks at one of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, evolve, field

pytest.importorskip("starlette")

from ares.assembly import stages
from ares.backtesting.rehearsal import rehearse
from ares.errors import Retryable
from ares.events import Command, Event, FillBooked, Submit
from ares.exchange.binance import BinanceExchange
from ares.exchange.config import BinanceConfig
from ares.instruments import Side
from ares.pipeline.desk import Desk
from ares.pipeline.journal import MemoryJournal
from ares.pipeline.live import LiveTradingPipeline, PipelineConfig
from ares.pipeline.recovery import replay
from ares.protocols import AnalysisInput, AnalysisResult
from ares.secret import Secret
from ares.simulation.faults import Fault, FaultKind, FaultPlan
from ares.simulation.paper import PaperExchange
from ares.simulation.server.in_process import VenueTransport, connector
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.market import Pace
from ares.simulation.tape import Tape
from ares.testing.tactics_checks import analysis_of
from tests.virtual_time import LoopClock, at_once

S, KEY, SECRET = "ETHUSDT", "fault-key", "fault-secret"
SECONDS = 25.0  # for a session, by that clock

ORDER, STOP = "POST /fapi/v1/order", "POST /fapi/v1/algoOrder"
OF_REQUESTS = [
    FaultKind.TIMEOUT_AFTER_ACCEPTANCE, FaultKind.UNKNOWN_503, FaultKind.UNAVAILABLE_503, FaultKind.BACKEND_TIMEOUT,
    FaultKind.THROTTLED, FaultKind.TOO_MANY, FaultKind.BANNED, FaultKind.DROPPED, FaultKind.TRUNCATED,
    FaultKind.CLOCK_DRIFT, FaultKind.MAINTENANCE,
]  # fmt: skip
OF_STREAMS = [
    FaultKind.DROPPED, FaultKind.TRUNCATED, FaultKind.STALLED, FaultKind.DUPLICATED, FaultKind.REORDERED,
    FaultKind.LATE, FaultKind.LISTEN_KEY_EXPIRED,
]  # fmt: skip
LONG = "default time limits"
# What goes wrong in each session, as lines of a plan.
PAPER = {
    **{f"{k.value} while starting": f"{k.value} at GET /fapi/v1/klines for 1" for k in OF_REQUESTS},
    **{
        f"{k.value} on the market stream": f"{k.value} at ethusdt@* nth 12 count 3 for 1"
        for k in OF_STREAMS
        if k is not FaultKind.LISTEN_KEY_EXPIRED
    },
}
LIVE = {
    **{f"{k.value} of an entry": f"{k.value} at {ORDER} for 1" for k in OF_REQUESTS},
    **{f"{k.value} of a stop": f"{k.value} at {STOP} for 1" for k in OF_REQUESTS},
    **{f"{k.value} of {what} with the {LONG}": f"{k.value} at {where} for 60"
       for k in (FaultKind.TIMEOUT_AFTER_ACCEPTANCE,) for what, where in (("an entry", ORDER), ("a stop", STOP))},
    **{f"{k.value} on the private stream": f"{k.value} at private nth 2 for 1" for k in OF_STREAMS},
}


class AlwaysLong:
    """An opinion on every bar, so that there is something to trade."""

    def analyze(self, given: AnalysisInput) -> AnalysisResult:
        opinion, now = analysis_of(Side.BUY, chance=0.8, width=0.004), given.now_ns
        return evolve(opinion, symbol=given.symbol, now_ns=now, valid_until_ns=now + 300 * 10**9)

    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        return self.analyze(given)


@define
class Outcome:
    """What became of one session. `error` is None when it ended in order."""

    venue: LocalVenue
    journal: MemoryJournal = field(factory=MemoryJournal)
    said: Counter[str] = field(factory=Counter)
    wallet: Decimal = Decimal(0)  # by the desk's ledger, at the end
    patience: dict[str, float] = field(factory=lambda: {"timeout": 0.5})  # none: the client's own
    bare_since: float | None = None  # when a position was first seen without its stop; s of the loop
    bare: float = 0.0  # the longest that one stood so, s
    protected: bool = False  # a position of the venue was seen with its stop, or closed again
    error: BaseException | None = None

    def heard(self, event: Event, commands: list[Command]) -> None:
        """An observer."""
        self.said[type(event).__name__] += 1
        self.said.update(c.intent.purpose.value for c in commands if isinstance(c, Submit))


def desk_parts() -> dict[str, Any]:
    parts = stages()
    return {
        "features": parts.features, "analyst": AlwaysLong(), "tactician": parts.tactician, "monitor": parts.monitor,
        "symbols": [S], "interval": "1m",
    }  # fmt: skip


@asynccontextmanager
async def client(venue: LocalVenue, patience: dict[str, float]) -> AsyncIterator[BinanceExchange]:
    """The Binance client on the venue without sockets, while the market plays."""

    async def pump() -> None:
        while True:
            venue.play()
            await asyncio.sleep(0.02)

    config = BinanceConfig(
        api_key=Secret(KEY), api_secret=Secret(SECRET), rest_url="http://localhost", stream_url="ws://localhost",
        streams=("candles", "mark_price", "book_top"), **patience,  # type: ignore[arg-type]
    )  # fmt: skip
    task = asyncio.ensure_future(pump())
    try:
        yield BinanceExchange(config, transport=VenueTransport(venue), connect=connector(venue), clock=venue.clock)
    finally:
        task.cancel()


async def session(
    tape: Tape, line: str, wrap: Callable[[BinanceExchange], Any], enough: Callable[[Outcome], bool], **how: Any
) -> Outcome:
    """One bot through one fault."""
    plan = FaultPlan([Fault.parse(line)])
    venue = LocalVenue(
        tape, accounts={KEY: (Secret(SECRET), Decimal(10_000))}, clock=LoopClock(), pace=Pace(speed=60.0),
        history=200, faults=plan,
    )  # fmt: skip
    outcome = Outcome(venue, **how)
    try:
        async with asyncio.timeout(SECONDS):
            try:
                await trade(outcome, wrap, enough)
            except Retryable as later:  # as `ares` ends with 75: it may be started again
                await asyncio.sleep(later.after or 0.0)
                await trade(outcome, wrap, enough)
    except BaseException as error:  # told by the test of this session
        outcome.error = error
    return outcome


async def trade(
    outcome: Outcome, wrap: Callable[[BinanceExchange], Any], enough: Callable[[Outcome], bool]
) -> None:
    """One run on the session's journal, until `enough`; then it is stopped and closes what it holds."""
    async with client(outcome.venue, outcome.patience) as exchange:
        pipeline = LiveTradingPipeline(
            PipelineConfig(history=5), exchange=wrap(exchange), journal=outcome.journal, **desk_parts()
        )
        pipeline.observers.append(outcome.heard)
        async with pipeline:
            task = asyncio.ensure_future(pipeline.run())
            while not enough(outcome):
                if task.done():
                    task.result()
                await asyncio.sleep(0.02)
            await pipeline.stop(flatten=True)
            await task
            outcome.wallet = pipeline.desk.account().wallet


# ------------------------------------------------------------ on paper


def traded_on_paper(outcome: Outcome) -> bool:
    """An entry was filled and its stop told of, and bars went on closing after the fault."""
    said = outcome.said
    return bool(outcome.venue.faults.happened and said["FillBooked"] and said["STOP"] and said["CandleClosed"] >= 12)


def guarded(outcome: Outcome) -> bool:
    """An entry has filled at the venue, it rests behind a stop of its size or is closed again, and bars go on."""
    trader = outcome.venue.traders[KEY]
    theirs = trader.venue
    held = theirs.position(S).quantity
    stops = [c for c in trader.algo.waiting(S) if c.wish.request.quantity == held]
    if held == 0 or stops:
        outcome.bare_since = None
    else:
        now = asyncio.get_running_loop().time()
        outcome.bare_since = outcome.bare_since or now
        outcome.bare = max(outcome.bare, now - outcome.bare_since)
    outcome.protected = theirs.fills_made > 0 and (held == 0 or len(stops) == 1)
    return bool(outcome.venue.faults.happened) and outcome.protected and outcome.said["CandleClosed"] >= 10


async def all_sessions(tape: Tape) -> dict[str, Outcome]:
    """Every session, all at the same time."""
    work = {
        **{f"paper: {n}": session(tape, line, on_paper, traded_on_paper) for n, line in PAPER.items()},
        **{
            f"live: {n}": session(tape, line, lambda e: e, guarded, **({"patience": {}} if LONG in n else {}))
            for n, line in LIVE.items()
        },
    }
    with at_once():
        return dict(zip(work, await asyncio.gather(*work.values()), strict=True))


def on_paper(exchange: BinanceExchange) -> PaperExchange:
    return PaperExchange(exchange, symbols=[S], interval="1m")


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    rehearse()
    tape = Tape.synthetic(S, "1m", bars=600, seed=3)
    return asyncio.run(all_sessions(tape))


def replays(outcome: Outcome) -> bool:
    return replay(outcome.journal.records(), Desk(**desk_parts())).identical


def intents_once(outcome: Outcome) -> bool:
    ids = [c.intent.intent_id for _, commands in outcome.journal.records() for c in commands if isinstance(c, Submit)]
    return len(ids) == len(set(ids)) > 0


@pytest.mark.parametrize("name", [f"paper: {n}" for n in PAPER])
def test_paper_survives(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    if outcome.error is not None:
        raise outcome.error
    assert outcome.venue.faults.happened and outcome.venue.orders_taken == 0
    assert intents_once(outcome) and replays(outcome)


@pytest.mark.parametrize("name", [f"live: {n}" for n in LIVE])
def test_trading_survives_protected_or_flat(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    if outcome.error is not None:
        raise outcome.error
    theirs = outcome.venue.traders[KEY].venue
    assert outcome.venue.faults.happened and outcome.protected
    assert LONG not in name or outcome.bare < 6.0
    assert theirs.position(S).quantity == 0 and outcome.wallet == theirs.account().wallet
    fills = [e.fill.trade_id for e, _ in outcome.journal.records() if isinstance(e, FillBooked)]
    assert len(fills) == len(set(fills)) == theirs.fills_made
    assert intents_once(outcome) and replays(outcome)
