"""Training beside a running bot: the backtest's models, at their bars; what is late, failed or overtaken is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from attrs import evolve

from ares.analyst.analyst import Analyst
from ares.clock import SystemClock
from ares.errors import ModelError, Retryable
from ares.events import Alert, ModelActivated
from ares.features.config import FeatureConfig
from ares.market import Candle, candles_of
from ares.models.registry import Registry
from ares.monitor.position_monitor import PositionMonitor
from ares.pipeline.live import LiveTradingPipeline
from ares.pipeline.retraining import LiveModelSource
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape
from ares.tactician.tactician import Tactician
from ares.training import retrainer as retraining
from ares.training.cuts import ScheduleConfig
from ares.training.dataset import TrainConfig
from ares.training.job import TrainingJob, run_apart
from ares.training.labels import BarrierConfig
from ares.training.retrainer import Retrainer
from ares.training.schedule import ModelSchedule, schedule_models
from tests.training.markets import market
from tests.virtual_time import at_once

PLAN = ScheduleConfig(first=800, every=250, delay=12)
FEATURES = FeatureConfig(groups=("returns", "volatility"))
TRAINING = TrainConfig(barriers=BarrierConfig(horizon=12))
BARS = 1700
HOUR = 3_600_000_000_000


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape.from_frame(market().klines.iloc[:BARS], symbol="ETHUSDT")


@pytest.fixture(scope="module")
def schedule(tape: Tape) -> ModelSchedule:
    from ares.features.orchestrator import FeatureOrchestrator

    return schedule_models(tape, schedule=PLAN, config=TRAINING, features=FeatureOrchestrator(FEATURES), interval="1h")


def job(models: Path) -> TrainingJob:
    return TrainingJob(
        symbol="ETHUSDT", interval="1h", number=2, schedule=PLAN, models=models, features=FEATURES, training=TRAINING,
        nice=0,  # on a busy machine a training that steps back would never end
    )  # fmt: skip


def test_a_running_bot_makes_the_models_of_the_schedule_at_its_bars(
    tape: Tape, schedule: ModelSchedule, tmp_path: Path
) -> None:
    from ares.features.orchestrator import FeatureOrchestrator

    assert len(schedule.models) == 2
    seen: list[tuple[int, str]] = []

    def watch(event: Any, commands: Any) -> None:
        if isinstance(event, ModelActivated):
            seen.append((event.ts_seen, event.sha256))

    async def play() -> list[Alert]:
        with at_once():  # a wait with a limit would be over at once: nobody minds how long training takes
            return await session()

    async def session() -> list[Alert]:
        start = schedule.models[0].activate_ns - 30 * HOUR
        async with SimulatedExchange(tape, start) as exchange:
            trainer = Retrainer(
                market=exchange, clock=exchange.clock, job=job(tmp_path), since_ns=tape.start_ns
            )
            assert isinstance(trainer, LiveModelSource)
            pipeline = LiveTradingPipeline(
                exchange=exchange,
                features=FeatureOrchestrator(FEATURES),
                analyst=Analyst(library=Registry(tmp_path)),
                tactician=Tactician(),
                monitor=PositionMonitor(),
                symbols=["ETHUSDT"],
                interval="1h",
                models=trainer,
            )
            pipeline.observers.append(watch)
            async with pipeline:
                await pipeline.run()
            return pipeline.alerts

    alerts = asyncio.run(play())
    assert tuple(seen) == schedule.activations
    told = [a.code for a in alerts if a.code.startswith(("training", "model.began"))]
    assert told == ["training.postponed"], "the session begins before the first cut, and nothing goes wrong"
    for model in schedule.models:
        assert Registry(tmp_path).load(model.model_id).manifest == model.loaded.manifest


class _Works:
    """Stands in for the other process: each training ends when the test says so."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.killed: list[int] = []
        self.ends: dict[int, asyncio.Future[str]] = {}

    async def __call__(self, given: TrainingJob, klines: pd.DataFrame) -> str:
        assert len(klines) == PLAN.bars_at(given.number)
        self.asked.append(given.number)
        self.ends[given.number] = asyncio.get_running_loop().create_future()
        try:
            return await self.ends[given.number]
        except asyncio.CancelledError:
            self.killed.append(given.number)
            raise


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def in_real_time(
    tape: Tape,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scene: Callable[[Retrainer, _Works, Any], Awaitable[None]],
) -> None:
    """Plays a scene: `bar(n)` tells the trainer of the n-th bar and settles, and gives its alerts."""
    works = _Works()
    monkeypatch.setattr(retraining, "run_apart", works)
    candles = list(candles_of(tape.frame("ETHUSDT"), "ETHUSDT", tape.interval))

    async def play() -> None:
        async with SimulatedExchange(tape, tape.end_ns - HOUR) as market:
            trainer = Retrainer(market=market, clock=SystemClock(), job=job(tmp_path), since_ns=tape.start_ns)

            async def bar(number: int) -> list[Alert]:
                alerts = await trainer.follow(candles[number - 1])
                await _settle()
                return list(alerts)

            await scene(trainer, works, bar)
            await trainer.close()

    asyncio.run(play())


FIRST = PLAN.bars_at(2)


def close_of(tape: Tape, bars: int) -> int:
    return int(tape.track("ETHUSDT").close_ns[bars - 1])


def test_in_real_time_nothing_waits_and_a_late_model_begins_at_the_next_bar(
    tape: Tape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(trainer: Retrainer, works: _Works, bar: Any) -> None:
        assert await bar(FIRST - 1) == [] and works.asked == []
        assert await bar(FIRST) == [] and works.asked == [2]
        assert await bar(FIRST + PLAN.delay) == []
        assert trainer.due(close_of(tape, FIRST + PLAN.delay), "old") is None, "the old model goes on"
        works.ends[2].set_result("a" * 64)
        await _settle()
        (alert,) = await bar(FIRST + PLAN.delay + 3)
        assert (alert.code, alert.facts) == ("model.began_late", {"cut": 2, "model": "a" * 64, "bars": 3})
        assert trainer.due(close_of(tape, FIRST + PLAN.delay + 3), "old") == "a" * 64
        assert trainer.due(close_of(tape, FIRST + PLAN.delay + 3), "a" * 64) is None
        assert await bar(FIRST + PLAN.delay + 4) == [], "said once"

    in_real_time(tape, tmp_path, monkeypatch, scene)


def test_a_model_that_is_ready_early_waits_for_its_bar(
    tape: Tape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(trainer: Retrainer, works: _Works, bar: Any) -> None:
        await bar(FIRST)
        works.ends[2].set_result("a" * 64)
        for n in range(FIRST + 1, FIRST + PLAN.delay):
            assert await bar(n) == []
            assert trainer.due(close_of(tape, n), "old") is None
        assert await bar(FIRST + PLAN.delay) == []
        assert trainer.due(close_of(tape, FIRST + PLAN.delay), "old") == "a" * 64

    in_real_time(tape, tmp_path, monkeypatch, scene)


def test_a_failure_is_told_and_the_next_cut_tries_again(
    tape: Tape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(trainer: Retrainer, works: _Works, bar: Any) -> None:
        await bar(FIRST)
        works.ends[2].set_exception(ModelError("training of cut 2 failed: TooShort: few", cut=2, error="TooShort"))
        await _settle()
        (alert,) = await bar(FIRST + 1)
        assert alert.code == "training.failed" and alert.facts["cut"] == 2 and "TooShort" in str(alert.facts["message"])
        assert await bar(FIRST + PLAN.delay) == [] and works.asked == [2]
        assert trainer.due(close_of(tape, FIRST + PLAN.delay), "old") is None
        await bar(FIRST + PLAN.every)
        assert works.asked == [2, 3]

    in_real_time(tape, tmp_path, monkeypatch, scene)


def test_a_training_that_the_next_cut_overtakes_is_killed(
    tape: Tape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(trainer: Retrainer, works: _Works, bar: Any) -> None:
        await bar(FIRST)
        (alert,) = await bar(FIRST + PLAN.every)
        assert (alert.code, alert.facts["error"]) == ("training.failed", "Overtaken")
        assert works.asked == [2, 3] and works.killed == [2]
        await trainer.close()
        assert works.killed == [2, 3]

    in_real_time(tape, tmp_path, monkeypatch, scene)


def test_a_market_that_cannot_be_read_is_told_and_asked_again(
    tape: Tape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(trainer: Retrainer, works: _Works, bar: Any) -> None:
        read = trainer.market.get_klines

        async def silent(*_: object, **__: object) -> pd.DataFrame:
            raise Retryable("the venue is busy")

        monkeypatch.setattr(trainer.market, "get_klines", silent)
        assert await bar(FIRST) == [] and works.asked == []
        (alert,) = await bar(FIRST + 1)
        assert (alert.code, alert.facts["cut"], alert.facts["error"]) == ("training.failed", -1, "Retryable")
        monkeypatch.setattr(trainer.market, "get_klines", read)
        assert len(await bar(FIRST + 2)) == 1 and works.asked == [2]
        assert await bar(FIRST + 3) == []

    in_real_time(tape, tmp_path, monkeypatch, scene)


def test_a_market_that_is_busy_at_a_cut_costs_a_bar_and_not_the_model(
    tape: Tape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(trainer: Retrainer, works: _Works, bar: Any) -> None:
        await bar(FIRST - 1)
        read = trainer.market.get_klines

        async def busy(*_: object, **__: object) -> pd.DataFrame:
            raise Retryable("the venue is busy")

        monkeypatch.setattr(trainer.market, "get_klines", busy)
        told = [alert for n in range(FIRST, FIRST + 4) for alert in await bar(n)]
        assert [(a.code, a.facts["cut"], a.facts["error"]) for a in told] == [("training.failed", 2, "Retryable")]
        assert works.asked == []
        monkeypatch.setattr(trainer.market, "get_klines", read)
        assert await bar(FIRST + 4) == [] and works.asked == [2]

    in_real_time(tape, tmp_path, monkeypatch, scene)


@pytest.mark.parametrize("error", [ValueError("arrow: cannot convert"), KeyError("volume"), MemoryError("of pages")])
def test_whatever_goes_wrong_in_a_training_or_a_reading_is_told_and_ends_no_session(
    error: Exception, tape: Tape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(trainer: Retrainer, works: _Works, bar: Any) -> None:
        read = trainer.market.get_klines

        async def broken(*_: object, **__: object) -> pd.DataFrame:
            raise error

        monkeypatch.setattr(trainer.market, "get_klines", broken)
        assert await bar(FIRST - 2) == []
        monkeypatch.setattr(trainer.market, "get_klines", read)
        (alert,) = await bar(FIRST - 1)
        assert (alert.code, alert.facts["cut"], alert.facts["error"]) == ("training.failed", -1, type(error).__name__)
        await bar(FIRST)
        works.ends[2].set_exception(error)
        await _settle()
        (alert,) = await bar(FIRST + 1)
        assert (alert.code, alert.facts["cut"], alert.facts["error"]) == ("training.failed", 2, type(error).__name__)

    in_real_time(tape, tmp_path, monkeypatch, scene)


def test_in_real_time_a_bar_does_not_wait_for_the_history(
    tape: Tape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(trainer: Retrainer, works: _Works, bar: Any) -> None:
        read, arrives, asked = trainer.market.get_klines, asyncio.Event(), []

        async def slow(*given: Any, **more: Any) -> pd.DataFrame:
            asked.append(given)
            await arrives.wait()
            return await read(*given, **more)

        monkeypatch.setattr(trainer.market, "get_klines", slow)
        for n in (FIRST, FIRST + 1):
            assert await asyncio.wait_for(bar(n), 120) == []
            assert trainer.due(close_of(tape, n), "old") is None
        assert len(asked) == 1 and works.asked == [], "one reading is under way"
        arrives.set()
        await _settle()
        assert works.asked == [2], "the training begins with the history, not a bar later"

    in_real_time(tape, tmp_path, monkeypatch, scene)


def test_a_model_that_decides_already_is_not_told_late_after_a_restart(
    tape: Tape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(trainer: Retrainer, works: _Works, bar: Any) -> None:
        for n in range(FIRST + 100, FIRST + 104):
            assert await bar(n) == []
            assert trainer.due(close_of(tape, n), "a" * 64) is None
            if n == FIRST + 101:
                works.ends[2].set_result("a" * 64)
                await _settle()

    in_real_time(tape, tmp_path, monkeypatch, scene)


def _gap(bars: int, after: int, missing: int) -> Tape:
    """So many bars, and after one of them some that the venue never had."""
    klines = market().klines
    whole = pd.concat([klines.iloc[:after], klines.iloc[after + missing : bars + missing]])
    return Tape.from_frame(whole, symbol="ETHUSDT")


SHORT = ScheduleConfig(first=300, every=100, delay=24)


@pytest.mark.parametrize(
    "ends",
    [
        _gap(620, 605, 20),  # cut 3 at 600: its delay passes within the gap
        _gap(624, 624, 0),  # the model of cut 3 begins with the very last bar
        _gap(623, 623, 0),  # and here one bar later
    ],
    ids=["gap", "last bar", "a bar before"],
)
def test_a_backtest_and_a_session_have_the_same_models_where_a_tape_ends(
    ends: Tape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ares.features.orchestrator import FeatureOrchestrator

    settings: dict[str, Any] = {"config": TRAINING, "features": FeatureOrchestrator(FEATURES), "interval": "1h"}
    made = schedule_models(ends, schedule=SHORT, **settings)

    async def at_once(given: TrainingJob, klines: pd.DataFrame) -> str:
        return str(given.number)

    monkeypatch.setattr(retraining, "run_apart", at_once)

    async def session() -> list[tuple[int, str]]:
        begun, current = [], "none"
        given = evolve(job(tmp_path), schedule=SHORT)
        async with SimulatedExchange(ends, ends.end_ns - HOUR) as exchange:
            trainer = Retrainer(market=exchange, clock=exchange.clock, job=given, since_ns=ends.start_ns)
            for candle in candles_of(ends.frame("ETHUSDT"), "ETHUSDT", ends.interval):
                await trainer.follow(candle)
                chosen = trainer.due(candle.close_ns, current)
                if chosen is not None:
                    begun.append((candle.close_ns, chosen))
                    current = chosen
            await trainer.close()
        return begun

    begun = asyncio.run(session())
    closes = ends.track("ETHUSDT").close_ns
    firsts = [int(closes[closes >= model.activate_ns][0]) for model in made.models]
    assert begun == [(close, str(number)) for number, close in enumerate(firsts, start=2)]


def test_after_a_restart_the_model_is_found_and_not_made_again(
    tape: Tape, schedule: ModelSchedule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule.save(Registry(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    async def restarted() -> str | None:
        async with SimulatedExchange(tape, tape.end_ns - HOUR) as market:
            trainer = Retrainer(market=market, clock=market.clock, job=job(tmp_path), since_ns=tape.start_ns)
            last = list(candles_of(tape.frame("ETHUSDT"), "ETHUSDT", tape.interval))[FIRST + PLAN.delay]
            assert await trainer.follow(last) == ()
            return trainer.due(last.close_ns, "none")

    assert asyncio.run(restarted()) == schedule.models[0].model_id
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_another_processs_refusal_comes_back_typed(tape: Tape, tmp_path: Path) -> None:
    given = evolve(job(tmp_path), number=5)
    with pytest.raises(ModelError, match="cut 5 failed: TooShort"):
        asyncio.run(run_apart(given, tape.frame("ETHUSDT").iloc[:900]))
    (tmp_path / ("e" * 64)).mkdir()  # somebody's damaged model
    with pytest.raises(ModelError, match="is not a model"):
        asyncio.run(run_apart(job(tmp_path), tape.frame("ETHUSDT").iloc[:FIRST]))


def test_without_a_beginning_it_learns_so_that_the_first_model_comes_at_once(
    tape: Tape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the market's own time, whatever the machine's clock says; and after a restart from the same bar."""
    works = _Works()
    monkeypatch.setattr(retraining, "run_apart", works)
    candles = list(candles_of(tape.frame("ETHUSDT"), "ETHUSDT", tape.interval))
    noted: list[int] = []

    async def play() -> None:
        async with SimulatedExchange(tape, tape.end_ns - HOUR) as market:
            trainer = Retrainer(market=market, clock=SystemClock(), job=job(tmp_path), remember=noted.append)
            last = candles[-2]  # the bar that closed when the session began
            assert await trainer.follow(last) == ()
            await _settle()
            assert works.asked == [2], "the first model's training starts with the session"
            works.ends[2].set_result("a" * 64)
            await _settle()
            assert await trainer.follow(last) == ()
            assert trainer.due(last.close_ns, "none") == "a" * 64
            await trainer.close()

    asyncio.run(play())
    (since,) = noted
    assert since == candles[-2].close_ns - PLAN.needed * HOUR


def test_a_market_too_young_for_a_model_is_told_once(tape: Tape, tmp_path: Path) -> None:
    candles = list(candles_of(tape.frame("ETHUSDT"), "ETHUSDT", tape.interval))

    async def told() -> list[Alert]:
        async with SimulatedExchange(tape, candles[899].close_ns) as market:
            trainer = Retrainer(market=market, clock=SystemClock(), job=job(tmp_path))
            alerts: list[Alert] = []
            for candle in candles[890:900]:
                alerts += await trainer.follow(candle)
                await _settle()
            return alerts

    (alert,) = asyncio.run(told())
    assert (alert.code, alert.facts) == ("training.postponed", {"bars": 900, "needed": FIRST})


def test_other_symbols_and_older_bars_are_not_its_business(tape: Tape, tmp_path: Path) -> None:
    async def told() -> None:
        async with SimulatedExchange(tape, tape.end_ns - HOUR) as market:
            trainer = Retrainer(market=market, clock=market.clock, job=job(tmp_path), since_ns=tape.start_ns)
            first = next(iter(candles_of(tape.frame("ETHUSDT"), "ETHUSDT", tape.interval)))
            assert await trainer.follow(evolve(first, symbol="BTCUSDT")) == ()
            older: Candle = evolve(first, open_ns=first.open_ns - HOUR, close_ns=first.open_ns)
            assert await trainer.follow(older) == ()
            assert trainer.due(first.close_ns, "none") is None

    asyncio.run(told())
