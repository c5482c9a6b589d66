"""Real money is not traded on a model that could not be verified."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import evolve

from ares.analyst.analyst import Analyst
from ares.analyst.rules import RuleAnalyst
from ares.assembly import Stages, build, stages
from ares.config import AresConfig
from ares.errors import InvalidInput
from ares.features.config import FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.models.registry import Registry
from ares.pipeline.live import LiveTradingPipeline
from ares.protocols import Capabilities, Exchange
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape
from ares.training.cuts import RetrainingConfig
from tests.training.markets import market, orchestrator, quick


class _Never:
    def due(self, close_ns: int, current: str) -> str | None:
        return None


def bot(analyst: Any) -> Stages:
    return evolve(stages(), analyst=analyst)


def test_live_needs_a_model_or_one_to_come() -> None:
    exchange = cast(Exchange, SimulatedExchange(Tape.synthetic("ETHUSDT", "1h", bars=50)))
    given: dict[str, Any] = {"exchange": exchange, "symbols": ["ETHUSDT"], "interval": "1h"}
    with pytest.raises(InvalidInput, match="no model"):
        build(mode="live", parts=bot(Analyst()), **given)
    build(mode="live", parts=bot(Analyst()), models=_Never(), **given)
    build(mode="paper", parts=bot(Analyst()), **given)


def test_retraining_refuses_stages_that_its_models_do_not_fit(tmp_path: Path) -> None:
    exchange = cast(Exchange, SimulatedExchange(Tape.synthetic("ETHUSDT", "1h", bars=50)))
    config = AresConfig(retraining=RetrainingConfig(models=tmp_path))
    given: dict[str, Any] = {"exchange": exchange, "symbols": ["ETHUSDT"], "interval": "1h"}
    fitting = stages(config)
    build(config, parts=fitting, **given)
    build(config, parts=evolve(fitting, analyst=Analyst(library=Registry(tmp_path))), **given)
    for analyst in (Analyst(), RuleAnalyst()):
        with pytest.raises(InvalidInput, match="takes none"):
            build(config, parts=evolve(fitting, analyst=analyst), **given)
        build(config, parts=evolve(fitting, analyst=analyst), models=_Never(), **given)
    own = FeatureOrchestrator(FeatureConfig(groups=("returns", "volatility")))
    with pytest.raises(InvalidInput, match="describe its features") as refused:
        build(config, parts=evolve(fitting, features=own), **given)
    assert own.schema("1h").fingerprint in str(refused.value)


class _Real(SimulatedExchange):
    """A venue that says that it trades money."""

    @property
    def capabilities(self) -> Capabilities:
        return evolve(super().capabilities, real_money=True)


@pytest.fixture(scope="module")
def unsaved() -> Any:
    """A trained model whose side model is an estimator without an adapter."""
    from sklearn.neighbors import KNeighborsClassifier

    return quick(market(4000).klines.iloc[:4000], side=KNeighborsClassifier(200), timing=None, meta=None)


def test_a_model_that_cannot_be_saved_is_refused_by_every_way_to_real_money(unsaved: Any) -> None:
    analyst = Analyst(model=unsaved)
    tape = Tape.synthetic("ETHUSDT", "1h", bars=50)
    with pytest.raises(InvalidInput, match="live trading is refused"):
        build(mode="live", parts=bot(analyst), exchange=SimulatedExchange(tape), symbols=["ETHUSDT"], interval="1h")

    parts = evolve(stages(), features=orchestrator(), analyst=analyst)

    async def by_hand(exchange: SimulatedExchange) -> None:
        pipeline = LiveTradingPipeline(
            exchange=exchange,
            features=parts.features,
            analyst=parts.analyst,
            tactician=parts.tactician,
            monitor=parts.monitor,
            symbols=["ETHUSDT"],
            interval="1h",
        )
        async with pipeline:
            await pipeline.run()

    with pytest.raises(InvalidInput, match="live trading is refused"):
        asyncio.run(by_hand(_Real(tape)))
    asyncio.run(by_hand(SimulatedExchange(tape)))  # on paper it may be tried
