"""Somebody's stage that fails: said, survived, and no ground for new risk."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ares.analyst.rules import RuleAnalyst
from ares.assembly import build, stages
from ares.errors import DataError, InvalidInput
from ares.monitor.position_monitor import PositionMonitor
from ares.pipeline.calls import Calls, expected
from ares.pipeline.execution import IntentBook
from ares.pipeline.guard import Guard, GuardConfig, Mode
from ares.pipeline.journal import MemoryJournal
from ares.pipeline.live import LiveTradingPipeline
from ares.pipeline.outbox import Outbox
from ares.protocols import TacticsResult
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape


def fails(_: object) -> int:
    raise KeyError("no such column")


def test_three_failures_in_a_row_hold_new_risk_until_the_stage_answers_again() -> None:
    guard = Guard(GuardConfig())
    calls = Calls(guard)
    out = Outbox(0, 0, IntentBook(), guard)
    seen = []
    for verb in (fails, fails, len, fails, fails, fails, fails, len):
        seen.append((calls.answer(out, "analyst", "ETHUSDT", int, verb, "four"), guard.mode is Mode.REDUCE))
    assert seen == [
        (None, False), (None, False), (4, False),  # an answer in between: counted from the beginning
        (None, False), (None, False), (None, True), (None, True), (4, False),
    ]  # fmt: skip
    assert [alert.facts["in_a_row"] for alert in out.commands] == [1, 2, 1, 2, 3, 4]  # type: ignore[union-attr]
    assert isinstance(calls.error, KeyError)


def test_another_stages_answer_releases_nothing() -> None:
    guard = Guard(GuardConfig())
    calls = Calls(guard)
    out = Outbox(0, 0, IntentBook(), guard)
    for _ in range(3):
        calls.answer(out, "analyst", "ETHUSDT", int, fails, None)
    assert calls.answer(out, "features", "ETHUSDT", int, len, "x") == 1
    assert guard.mode is Mode.REDUCE


def test_an_answer_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="answered dict, not int"):
        expected(int, {})


class Broken:
    """A stage that is well for `good` calls of its verb, then raises for ever."""

    def __init__(self, inner: Any, verb: str, good: int) -> None:
        self._inner, self._verb, self._good, self.calls = inner, verb, good, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name != self._verb:
            return found

        def call(*given: Any) -> Any:
            self.calls += 1
            if self.calls > self._good:
                raise RuntimeError(f"{name} is broken")
            return found(*given)

        return call


def lively() -> RuleAnalyst:
    from attrs import evolve

    from ares.analyst.config import AnalystConfig

    config = AnalystConfig(round_trip_cost=0.0, horizon=6)
    rules = evolve(config.rules, min_matured=0, prior_win=0.9)
    return RuleAnalyst(lambda row: -1.0 if row["returns.log_1"] > 0 else 1.0, config=evolve(config, rules=rules))


@pytest.mark.parametrize(
    ("stage", "verb"), [("analyst", "analyze"), ("tactician", "decide"), ("monitor", "assess_position")]
)
def test_a_session_outlives_a_broken_stage_and_leaves_nothing_unprotected(stage: str, verb: str) -> None:
    from attrs import evolve

    tape = Tape.synthetic("ETHUSDT", "1h", bars=900, seed=5)
    parts = evolve(stages(), analyst=lively(), monitor=PositionMonitor())
    broken: Any = Broken(getattr(parts, stage), verb, good=20)
    parts = evolve(parts, **{stage: broken})

    async def run() -> LiveTradingPipeline:
        exchange = SimulatedExchange(tape, start=int(tape.track("ETHUSDT").close_ns[700]))
        async with build(exchange=exchange, symbols=["ETHUSDT"], interval="1h", parts=parts) as pipeline:
            await pipeline.run()
            for trade in pipeline.desk.custody.trades.values():
                orders = await exchange.get_open_orders("ETHUSDT")
                assert trade.held == 0 or any(order.reduce_only for order in orders)
            return pipeline

    pipeline = asyncio.run(run())
    assert broken.calls > 21, "the session ended with the first failure"
    told = [alert.facts for alert in pipeline.alerts if alert.code == "stage.failed"]
    assert told and all(facts["stage"] == stage and f"{verb} is broken" in str(facts["error"]) for facts in told)
    assert pipeline.desk.last_open_ns("ETHUSDT") == int(tape.track("ETHUSDT").open_ns[-1])


class Flaky:
    """An analyst that fails once, at its call number `at`, with a message that is another one each time."""

    def __init__(self, at: int) -> None:
        self.inner, self.at, self.calls = lively(), at, 0

    def analyze(self, given: Any) -> Any:
        self.calls += 1
        if self.calls == self.at:
            raise TimeoutError(f"slow today: {object()}")
        return self.inner.analyze(given)


def test_a_failure_that_was_survived_is_repeated_when_the_journal_is_folded() -> None:
    from attrs import evolve

    tape = Tape.synthetic("ETHUSDT", "1h", bars=900, seed=5)
    start, journal = int(tape.track("ETHUSDT").close_ns[700]), MemoryJournal()

    async def run(analyst: object, hours: int) -> LiveTradingPipeline:
        parts = evolve(stages(), analyst=analyst)
        exchange = SimulatedExchange(tape, start=start)
        async with build(
            exchange=exchange, symbols=["ETHUSDT"], interval="1h", parts=parts, journal=journal
        ) as pipeline:
            await pipeline.run(until=start + hours * 3_600_000_000_000)
        return pipeline

    first = asyncio.run(run(Flaky(at=750), 100))
    assert [a.code for a in first.alerts].count("stage.failed") == 1
    again = asyncio.run(run(Flaky(at=-1), 190))  # does not fail any more
    assert again.desk.now_ns > first.desk.now_ns
    assert again.desk.calls.error is None


def test_other_ways_into_somebodys_code_do_not_end_the_session_either() -> None:
    from attrs import evolve

    class Stream:
        def __init__(self, inner: Any) -> None:
            self.inner = inner
            self.warmup = inner.warmup

        def update(self, candle: Any) -> Any:
            return self.inner.update(candle)

        def observe(self, event: object) -> None:
            raise DataError("a crossed quote")

    class Features:
        def stream(self, symbol: str, interval: str) -> Stream:
            return Stream(stages().features.stream(symbol, interval))

    class Monitor(PositionMonitor):
        def next_look(self, given: Any) -> Any:
            raise KeyError("stale")

    class Plans:
        def decide(self, given: Any) -> TacticsResult:
            return TacticsResult(plan="buy!")  # type: ignore[arg-type]

    class Due:
        def due(self, close_ns: int, current: str) -> str | None:
            return "f" * 64

    tape = Tape.synthetic("ETHUSDT", "1h", bars=760, seed=5)
    told: set[str] = set()
    for parts, models in (
        (evolve(stages(), analyst=lively(), features=Features(), monitor=Monitor()), None),
        (evolve(stages(), analyst=lively(), tactician=Plans()), None),
        (evolve(stages(), analyst=lively()), Due()),
    ):

        async def run(parts: Any = parts, models: Any = models) -> LiveTradingPipeline:
            exchange = SimulatedExchange(tape, start=int(tape.track("ETHUSDT").close_ns[700]))
            async with build(
                exchange=exchange, symbols=["ETHUSDT"], interval="1h", parts=parts, models=models
            ) as pipeline:
                await pipeline.run()
            return pipeline

        pipeline = asyncio.run(run())
        assert pipeline.desk.last_open_ns("ETHUSDT") == int(tape.track("ETHUSDT").open_ns[-1])
        told |= {str(a.facts["stage"]) for a in pipeline.alerts if a.code == "stage.failed"}
    assert told >= {"sources", "tactician", "model"}


def test_a_monitor_that_failed_holds_nothing_once_the_account_is_flat() -> None:
    guard = Guard(GuardConfig())
    calls = Calls(guard)
    out = Outbox(0, 0, IntentBook(), guard)
    for _ in range(3):
        calls.answer(out, "monitor", "ETHUSDT", int, fails, None)
    guard.latches.clear()  # the operator resumes
    calls.answer(out, "monitor", "ETHUSDT", int, fails, None)
    assert guard.mode is Mode.REDUCE  # it fails still
    calls.well("monitor")
    assert guard.mode is Mode.RUN
