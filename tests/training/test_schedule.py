"""Retraining on a schedule: what each model may know, when it begins, and that every mode changes models alike."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from ares.analyst.analyst import Analyst
from ares.analyst.dual_model import DualModel
from ares.backtesting.backtester import Backtester
from ares.errors import ModelError, TooShort
from ares.events import Event, ModelActivated
from ares.models.registry import Registry
from ares.monitor.position_monitor import PositionMonitor
from ares.pipeline.live import LiveTradingPipeline
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape
from ares.tactician.tactician import Tactician
from ares.training import schedule as scheduling
from ares.training.folds import Estimators
from ares.training.schedule import ModelSchedule, ScheduleConfig, schedule_models, train_cut
from ares.training.trials import TrialLedger
from tests.training.markets import QUICK, market, orchestrator, small_trees

PLAN = ScheduleConfig(first=1500, every=700, delay=12)
BARS = 5000


LEDGER = TrialLedger()


@pytest.fixture(scope="module")
def schedule() -> ModelSchedule:
    parts = Estimators(side=small_trees(), timing=small_trees(), meta=small_trees())
    klines = market().klines.iloc[:BARS]
    return schedule_models(
        klines, schedule=PLAN, config=QUICK, features=orchestrator(), estimators=parts, ledger=LEDGER
    )


def test_a_schedule_is_one_trial(schedule: ModelSchedule) -> None:
    table = LEDGER.trials("ETHUSDT 1h made up")
    assert len(table) == len(LEDGER) == 1 and table["kind"].tolist() == ["train"]
    assert table["parameters"].iloc[0]["model_ids"] == [model.model_id for model in schedule.models]
    assert LEDGER.returns()[1].sum() == pytest.approx(schedule.scores.trading.net.sum())


def test_each_model_has_learned_only_what_was_known_at_its_cut(schedule: ModelSchedule) -> None:
    step = schedule.data.interval.ns
    opened = market().klines.index.as_unit("ns").asi8
    assert [m.cut_ns for m in schedule.models] == [int(opened[c]) for c in (2900, 3600, 4300)]
    for model in schedule.models:
        record = model.loaded.manifest.record
        assert record.trained_to_ns is not None
        assert record.trained_to_ns <= model.cut_ns
        assert model.activate_ns == model.cut_ns + PLAN.delay * step
    found = schedule.out_of_sample
    for number in np.unique(found.fold[found.fold >= 0]).tolist():
        start = schedule.data.t0[found.fold == number].min()
        assert start == opened[1500 + 700 * number] + PLAN.delay * step


def test_the_scores_are_of_the_models_that_trade(schedule: ModelSchedule) -> None:
    data, found = schedule.data, schedule.out_of_sample
    for number, model in enumerate(schedule.models):
        rows = np.flatnonzero(found.fold == number + 2)
        judged = DualModel(bundle=model.loaded.model).judge(data.X[rows])
        assert np.array_equal(judged.confidence, found.confidence[rows])
        assert np.array_equal(judged.low, found.low[rows])


def test_later_data_change_no_earlier_model(schedule: ModelSchedule) -> None:
    parts = Estimators(side=small_trees(), timing=small_trees(), meta=small_trees())
    short = market().klines.iloc[:4000]
    again = schedule_models(short, schedule=PLAN, config=QUICK, features=orchestrator(), estimators=parts)
    assert [m.model_id for m in again.models] == [m.model_id for m in schedule.models[:2]]


def test_a_backtest_changes_models_at_their_bars(schedule: ModelSchedule) -> None:
    seen: list[tuple[int, str]] = []

    def watch(event: Event, commands: object) -> None:
        if isinstance(event, ModelActivated):
            seen.append((event.ts_seen, event.sha256))

    bot = Backtester(features=orchestrator(), analyst=Analyst(library=schedule))
    klines = market().klines.iloc[:BARS]
    result = bot.run(klines, start=schedule.models[0].activate_ns, models=schedule, observer=watch)
    assert [sha for _, sha in seen] == [m.model_id for m in schedule.models]
    assert [when for when, _ in seen[1:]] == [m.activate_ns for m in schedule.models[1:]]
    by_model = {d.analysis.model_id for d in result.records.decisions}
    assert by_model == {m.model_id for m in schedule.models}
    assert result.trades.shape[0] > 0


def test_the_live_shell_changes_models_as_the_backtest_does(schedule: ModelSchedule) -> None:
    klines = market().klines.iloc[:BARS]
    start = schedule.models[0].activate_ns
    bot = Backtester(features=orchestrator(), analyst=Analyst(library=schedule))
    here = bot.run(klines, start=start, models=schedule)

    async def there() -> LiveTradingPipeline:
        async with SimulatedExchange(Tape.from_frame(klines, symbol="ETHUSDT"), start) as exchange:
            pipeline = LiveTradingPipeline(
                exchange=exchange,
                features=orchestrator(),
                analyst=Analyst(library=schedule),
                tactician=Tactician(),
                monitor=PositionMonitor(),
                symbols=["ETHUSDT"],
                interval="1h",
                models=schedule,
            )
            async with pipeline:
                await pipeline.run()
            return pipeline

    live = asyncio.run(there())
    pairs = zip(here.records.decisions, live.desk.records.decisions, strict=True)
    assert all(a.analysis == b.analysis and a.plan == b.plan for a, b in pairs)


def test_a_schedule_is_a_library_and_goes_to_disk(schedule: ModelSchedule, tmp_path: Path) -> None:
    ids = schedule.save(Registry(tmp_path))
    assert ids == tuple(m.model_id for m in schedule.models)
    Analyst(library=Registry(tmp_path)).activate(ids[1])
    with pytest.raises(ModelError):
        schedule.load("0" * 64)
    with pytest.raises(ModelError):
        schedule.load(ids[0], fingerprint="foreign")
    assert schedule.due(schedule.models[0].activate_ns - 1, "none") is None
    assert schedule.due(schedule.models[1].activate_ns, ids[0]) == ids[1]
    assert schedule.due(schedule.models[1].activate_ns, ids[1]) is None


def test_a_model_made_at_its_cut_is_the_one_made_afterwards(schedule: ModelSchedule) -> None:
    """Whoever stands at the cut and knows no later bar makes the very same bytes."""
    parts = Estimators(side=small_trees(), timing=small_trees(), meta=small_trees())
    for number, model in enumerate(schedule.models, start=2):
        known = market().klines.iloc[: PLAN.bars_at(number)]
        made = train_cut(
            known, number, schedule=PLAN, config=QUICK, features=orchestrator(), estimators=parts, interval="1h"
        )
        assert made.model_id == model.model_id
        assert (made.cut_ns, made.activate_ns) == (model.cut_ns, model.activate_ns)
    with pytest.raises(TooShort):
        train_cut(market().klines.iloc[:2899], 2, schedule=PLAN, config=QUICK, features=orchestrator())


def test_what_lies_in_the_store_is_not_trained_again(
    schedule: ModelSchedule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[int] = []
    fit = scheduling._Pass._fit

    def counted(self: scheduling._Pass, rows: np.ndarray) -> dict[str, object]:
        fits.append(rows.size)
        return fit(self, rows)

    monkeypatch.setattr(scheduling._Pass, "_fit", counted)
    parts = Estimators(side=small_trees(), timing=small_trees(), meta=small_trees())
    store, klines = Registry(tmp_path), market().klines.iloc[:BARS]
    given = {"schedule": PLAN, "config": QUICK, "features": orchestrator(), "estimators": parts, "store": store}
    first = schedule_models(klines, **given)  # type: ignore[arg-type]
    assert len(fits) == 5 and first.activations == schedule.activations
    again = schedule_models(klines, **given)  # type: ignore[arg-type]
    assert len(fits) == 7, "only the two cuts without a model of their own"
    assert again.activations == first.activations
    assert np.array_equal(again.out_of_sample.confidence, first.out_of_sample.confidence, equal_nan=True)
    close = klines["close"].to_numpy(dtype=np.float64, copy=True)
    close[100] *= 1.0001
    changed = klines.assign(close=close)
    schedule_models(changed, **given)  # type: ignore[arg-type]
    assert len(fits) == 12, "other bars are another model"


def test_a_schedule_needs_three_cuts() -> None:
    with pytest.raises(TooShort):
        schedule_models(market().klines.iloc[:2500], schedule=PLAN, config=QUICK, features=orchestrator())
