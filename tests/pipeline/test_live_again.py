"""A simulation that was cut after any record goes on as if it had not been."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from ares.assembly import Stages, build, stages
from ares.config import AresConfig
from ares.events import OrderUpdate, RunStage, StageDone, Submit, encode
from ares.features.config import FeatureConfig
from ares.instruments import Side
from ares.orders import OrderStatus
from ares.pipeline.live import LiveTradingPipeline
from ares.protocols import AnalysisInput, AnalysisResult, Leg, TacticsInput, TacticsResult, TradePlan
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape
from ares.testing.tactics_checks import analysis_of
from tests.pipeline.crash_bench import Book, Killed
from tests.pipeline.desk_bench import HOUR

Records = list[tuple[bytes, list[bytes]]]


class AlwaysLong:
    """An opinion on every bar, so that there is something to trade."""

    def analyze(self, given: AnalysisInput) -> AnalysisResult:
        opinion, now = analysis_of(Side.BUY, chance=0.8, width=0.004), given.now_ns
        return evolve(opinion, symbol=given.symbol, now_ns=now, valid_until_ns=now + 3 * HOUR)

    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        return self.analyze(given)


def bot() -> Stages:
    """Stages that are warm soon and trade often."""
    features = FeatureConfig(groups=("momentum",), timeframes=())
    return evolve(stages(AresConfig(features=features)), analyst=AlwaysLong())


class Remote:
    """An analyst with the async verb only, that hears of history."""

    needs_history = True

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        return await self.inner.execute_analysis(given)  # type: ignore[no-any-return]


def remote() -> Stages:
    parts = bot()
    return evolve(parts, analyst=Remote(parts.analyst))


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape.synthetic("ETHUSDT", "1h", bars=420, seed=2)


def play(tape: Tape, journal: Book, parts: Callable[[], Stages]) -> LiveTradingPipeline:
    """A session from the journal's end to the tape's, or to its death. Its first 300 bars are history."""

    async def run() -> LiveTradingPipeline:
        exchange = SimulatedExchange(tape, start=int(tape.track("ETHUSDT").close_ns[299]))
        async with build(
            exchange=exchange, symbols=["ETHUSDT"], interval="1h", parts=parts(), journal=journal
        ) as pipeline:
            try:
                await pipeline.run()
            except Killed:
                assert journal.kill_at is None
            return pipeline

    return asyncio.run(run())


def levelled(journal: Book) -> Records:
    """Everything told and said, but for the incarnation in client order ids."""
    told = ((encode(event), [encode(c) for c in commands]) for event, commands in journal.records())
    return [(re.sub(rb"ares\d-", b"ares1-", event), commands) for event, commands in told]


@pytest.mark.parametrize("parts", [bot, remote], ids=["inside", "outside"])
def test_a_session_cut_after_any_record_goes_on_alike(tape: Tape, parts: Callable[[], Stages]) -> None:
    journal = Book()
    play(tape, journal, parts)
    whole = levelled(journal)
    assert sum(isinstance(c, Submit) for _, said in journal.records() for c in said) > 10
    assert parts is bot or any(isinstance(e, StageDone) for e, _ in journal.records())
    asked = [e.seq for e, said in journal.records() if any(isinstance(c, RunStage) for c in said)]
    cuts = [0, 150, *range(300, len(whole), len(whole) // 3), *asked[::250], len(whole) - 1]
    for cut in cuts:
        again = Book()
        again.kill_at = cut
        play(tape, again, parts)
        assert len(again) == cut + 1
        play(tape, again, parts)
        assert levelled(again) == whole, cut


class Tiny:
    """Orders less than the venue takes."""

    def decide(self, given: TacticsInput) -> TacticsResult:
        legs = (Leg(quantity=Decimal("0.00001")),)
        plan = TradePlan(
            trade_id="", symbol=given.analysis.symbol, side=Side.BUY, legs=legs, stop=Decimal(1), targets=(),
            leverage=1,
            valid_until_ns=given.market.now_ns + 10**9,
        )  # fmt: skip
        return TacticsResult(plan=plan, reasons=())


def test_a_refusal_that_was_not_written_down_is_told(tape: Tape) -> None:
    def parts() -> Stages:
        return evolve(bot(), tactician=Tiny())

    journal = Book()
    play(tape, journal, parts)
    submits = [e.seq for e, said in journal.records() if any(isinstance(c, Submit) for c in said)]
    again = Book()
    again.kill_at = submits[3]
    play(tape, again, parts)
    pipeline = play(tape, again, parts)
    assert len(again) == len(journal) and pipeline.desk.intents.unresolved() == []
    told = [event for event, _ in again.records()][submits[3] + 1]
    assert isinstance(told, OrderUpdate) and told.order.status is OrderStatus.REJECTED
