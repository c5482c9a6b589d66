"""A model of the user's own class from training to paper: one decision in every mode, and the reasons against money."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from ares.analyst.analyst import Analyst
from ares.assembly import Stages, build, stages
from ares.backtesting.backtester import Backtester
from ares.errors import InvalidInput, ModelError
from ares.events import Command, Event, encode
from ares.models.registry import Registry
from ares.pipeline.desk import Desk
from ares.pipeline.journal import MemoryJournal
from ares.pipeline.recovery import replay
from ares.simulation.paper import PaperExchange
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape
from ares.training.folds import Estimators
from ares.training.schedule import ScheduleConfig, schedule_models
from ares.training.trainer import TrainedModel
from tests.models.own_models import ByBatch, Logistic, Unsavable
from tests.training.markets import QUICK, market, orchestrator, quick

HOUR = 3600 * 10**9
SYMBOL, INTERVAL, TRAINED = "ETHUSDT", "1h", 3000
CLASSES: dict[str, type] = {"Logistic": Logistic}
Commands = list[tuple[int, list[bytes]]]


def with_own(kind: type[Logistic], **more: Any) -> TrainedModel:
    given = {"side": kind(), "timing": None, "meta": None, **more}
    return quick(market(4000, 0.5).klines.iloc[:TRAINED], **given)


@pytest.fixture(scope="module")
def own() -> TrainedModel:
    return with_own(Logistic, meta=Logistic())


@pytest.fixture(scope="module")
def folder(own: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "own"
    assert own.save(path) == own.model_id
    return path


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape.from_frame(market(4000, 0.5).klines.iloc[TRAINED - 600 :], symbol=SYMBOL, interval=INTERVAL)


def bot(model: Any, **more: Any) -> Stages:
    return evolve(stages(), features=orchestrator(), analyst=Analyst(model=model, **more))


def in_backtest(parts: Stages, tape: Tape) -> Commands:
    said: Commands = []

    def note(event: Event, commands: list[Command]) -> None:
        said.append((event.seq, [encode(c) for c in commands]))

    Backtester(features=parts.features, analyst=parts.analyst, tactician=parts.tactician, monitor=parts.monitor).run(
        tape, observer=note
    )
    return said


def on_paper(parts: Stages, tape: Tape, journal: MemoryJournal) -> Commands:
    said: Commands = []

    async def play() -> None:
        exchange = PaperExchange(SimulatedExchange(tape, start=tape.start_ns))
        pipeline = build(
            mode="paper", parts=parts, exchange=exchange, symbols=[SYMBOL], interval=INTERVAL, journal=journal
        )
        pipeline.observers.append(lambda event, commands: said.append((event.seq, [encode(c) for c in commands])))
        async with pipeline:
            await pipeline.run()

    asyncio.run(play())
    return said


def test_trained_backtested_saved_loaded_and_on_paper_it_decides_alike_and_replays(
    own: TrainedModel, folder: Path, tape: Tape
) -> None:
    backtest, journal = in_backtest(bot(own), tape), MemoryJournal()
    assert sum(b"Submit" in body for _, bodies in backtest for body in bodies) > 5
    assert on_paper(bot(folder, classes=CLASSES), tape, journal) == backtest
    again = bot(folder, classes=CLASSES)
    desk = Desk(
        features=again.features,
        analyst=again.analyst,
        tactician=again.tactician,
        monitor=again.monitor,
        symbols=[SYMBOL],
        interval=INTERVAL,
    )
    assert replay(journal.records(), desk).identical


def test_saved_and_verified_it_may_go_live(own: TrainedModel, folder: Path) -> None:
    assert Analyst(model=folder, classes=CLASSES).live_refusal() is None
    assert Analyst(model=own).live_refusal() is None
    with pytest.raises(ModelError, match="classes="):
        Analyst(model=folder)


@pytest.mark.parametrize(("kind", "told"), [(ByBatch, "alone gets another answer"), (Unsavable, "is a pickle")])
def test_what_is_uneven_or_unsaved_is_refused_live_with_the_reason(kind: type[Logistic], told: str, tape: Tape) -> None:
    analyst = Analyst(model=with_own(kind))
    assert told in str(analyst.live_refusal())
    parts = evolve(stages(), features=orchestrator(), analyst=analyst)
    with pytest.raises(InvalidInput, match=told):
        build(mode="live", parts=parts, exchange=SimulatedExchange(tape), symbols=[SYMBOL], interval=INTERVAL)


def test_a_schedule_trains_it_again_and_a_library_that_knows_the_class_finds_each(tmp_path: Path) -> None:
    klines = market(4000, 0.5).klines
    store = Registry(tmp_path, classes=CLASSES)
    given: dict[str, Any] = {
        "schedule": ScheduleConfig(first=2000, every=500),
        "config": QUICK,
        "features": orchestrator(),
        "estimators": Estimators(side=Logistic()),
        "store": store,
    }
    first = schedule_models(klines, **given)
    assert len(first.models) >= 2
    assert schedule_models(klines, **given).activations == first.activations, "the second time out of the store"
    analyst = Analyst(library=Registry(tmp_path, classes=CLASSES))
    analyst.activate(first.models[-1].model_id)
    assert analyst.live_refusal() is None
    with pytest.raises(ModelError, match="classes="):
        Analyst(library=Registry(tmp_path)).activate(first.models[-1].model_id)


def fitted_by_hand() -> Logistic:
    """A side model of the user's own, fitted on what the next 24 hours brought."""
    klines = market(4000, 0.5).klines.iloc[:TRAINED]
    X = orchestrator().compute(klines_df=klines)
    move = np.sign(np.log(klines["close"]).diff(24).shift(-24)).to_numpy()
    known = np.isfinite(X.to_numpy()).all(axis=1) & np.isfinite(move) & (move != 0)
    return Logistic().fit(X[known], move[known].astype(int))


def test_given_directly_it_trades_on_its_own_word_and_says_so(tape: Tape, tmp_path: Path) -> None:
    mine = fitted_by_hand()
    analyst = Analyst(model=mine)
    parts = evolve(stages(), features=orchestrator(), analyst=analyst)
    commands = in_backtest(parts, tape)
    assert any(b"Submit" in body for _, bodies in commands for body in bodies)
    assert "calibrated" in str(analyst.live_refusal())

    seen = Backtester(features=orchestrator(), analyst=Analyst(model=mine)).run(tape).decisions
    sided = seen[seen["side"].notna()]
    assert len(sided) and sided["confidence_low"].isna().all()
    chance = np.where(sided["side"].astype(str).str.contains("BUY"), sided["p_up"], sided["p_down"])
    np.testing.assert_allclose(sided["confidence"].astype(float), chance.astype(float), rtol=1e-9)

    model_id = Registry(tmp_path).add(mine)
    saved = bot(tmp_path / model_id, classes=CLASSES)
    assert in_backtest(saved, tape) == commands


class Silent(Logistic):
    """Cannot judge any row."""

    def predict_proba(self, X: Any) -> Any:
        return np.full_like(super().predict_proba(X), np.nan)


def test_a_row_that_it_cannot_judge_is_no_trade(tape: Tape) -> None:
    mine = Silent()
    mine.__dict__.update(fitted_by_hand().__dict__)
    result = Backtester(features=orchestrator(), analyst=Analyst(model=mine)).run(
        tape.slice(None, tape.start_ns + 650 * HOUR)
    )
    opinions = [decision.analysis for decision in result.records.decisions]
    assert all(opinion.side is None and opinion.p_up is None for opinion in opinions)
    assert any(reason.code == "row.not_judged" for opinion in opinions for reason in opinion.reasons)


def test_a_side_model_must_tell_up_from_down() -> None:
    klines = market(4000, 0.5).klines.iloc[:TRAINED]
    X = orchestrator().compute(klines_df=klines).dropna()
    with pytest.raises(ModelError, match="-1"):
        Analyst(model=Logistic(steps=1).fit(X, np.arange(len(X)) % 2))
