"""The analyst against its model in batch, against the future, and against everything that should make it abstain."""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from ares.analyst.active import ActiveModel
from ares.analyst.analyst import Analyst
from ares.analyst.config import AnalystConfig
from ares.analyst.dual_model import DualModel
from ares.errors import DataError, InvalidInput, ModelError
from ares.features.orchestrator import FeatureOrchestrator
from ares.market import Candle, MarketView, candles_of
from ares.models.bundle import Bundle
from ares.models.regime_columns import OBSERVED, regime_columns, regime_names
from ares.models.registry import Loaded
from ares.values import AnalysisInput, AnalysisResult, FeatureRow
from tests.training.markets import market, orchestrator, trained

HOUR = 3_600_000_000_000
ALARMS = {"calibration.broken", "drift.severe"}
REFUSALS = {"row.stale", "edge.below_break_even", "timing.wait", "timing.lapsed", *ALARMS}


def bars(first: int, last: int) -> Iterator[tuple[FeatureRow, Candle]]:
    """Rows and candles of the market, each row as the stream gives it."""
    step = market().interval
    features: FeatureOrchestrator = orchestrator()
    stream = features.stream("ETHUSDT", step)
    for number, candle in enumerate(candles_of(market().klines.iloc[:last], "ETHUSDT", step)):
        row = stream.update(candle)
        if number >= first:
            yield row, candle


def question(row: FeatureRow, candle: Candle, **more: Any) -> AnalysisInput:
    view = MarketView(symbol=row.symbol, now_ns=row.known_ns, candle=candle, mark_price=candle.close)
    return AnalysisInput(**{"symbol": row.symbol, "now_ns": row.known_ns, "row": row, "market": view, **more})


@pytest.fixture(scope="module")
def recorded() -> list[tuple[FeatureRow, Candle]]:
    return list(bars(3980, 4400))


def codes(result: AnalysisResult) -> set[str]:
    return {reason.code for reason in result.reasons}


def test_a_row_alone_is_judged_as_in_a_batch_bit_for_bit(recorded: list[tuple[FeatureRow, Candle]]) -> None:
    model = DualModel(bundle=trained().bundle)
    own = trained().bundle["regime_features"]
    names = recorded[0][0].names + regime_names(own)
    told = [names.index(name) for name in OBSERVED]
    values = np.stack([row.values for row, _ in recorded])
    regimes = regime_columns(own, [row.open_ns for row, _ in recorded], values[:, told], HOUR)
    X = np.hstack([values, regimes])[:, [names.index(name) for name in model.columns]]
    batch = model.judge(X)
    analyst = Analyst(model=trained())
    for i, (row, candle) in enumerate(recorded):
        result = analyst.analyze(question(row, candle))
        if result.p_up is None:
            continue
        assert (result.p_up, result.p_down, result.p_timeout) == (batch.p_up[i], batch.p_down[i], batch.p_timeout[i])
        if result.side is not None:
            assert result.side.sign == batch.side[i]
            assert (result.confidence, result.confidence_low) == (batch.confidence[i], batch.low[i])


def test_probabilities_are_probabilities_and_a_side_is_taken_only_above_break_even(
    recorded: list[tuple[FeatureRow, Candle]],
) -> None:
    analyst = Analyst(model=trained())
    results = [analyst.analyze(question(row, candle)) for row, candle in recorded]
    judged = [r for r in results if r.p_up is not None]
    assert len(judged) > 0.8 * len(results)
    assert any(r.side is not None for r in judged)
    for r in judged:
        assert r.p_up is not None
        assert r.p_down is not None
        assert r.p_timeout is not None
        assert r.p_up + r.p_down + r.p_timeout == pytest.approx(1.0, abs=1e-12)
        numbers = next(reason.numbers for reason in r.reasons if reason.code == "model.judged")
        if r.side is None:
            assert codes(r) & REFUSALS
            assert r.confidence == 0.0
        else:
            assert not codes(r) & REFUSALS
            assert r.confidence_low is not None
            assert numbers["needed"] < r.confidence_low <= r.confidence


def test_every_part_is_there_and_each_switch_takes_its_part_away(recorded: list[tuple[FeatureRow, Candle]]) -> None:
    switches = {
        "regime": "enable_regime_classification",
        "health": "enable_market_health_analysis",
        "liquidation": "enable_liquidation_risk_analysis",
        "technical": "enable_technical_analysis",
        "p_up": "enable_ml_predictions",
    }
    row, candle = recorded[0]
    usual = Analyst(model=trained()).analyze(question(row, candle))
    for part, switch in switches.items():
        assert getattr(usual, part) is not None
        config = AnalystConfig(**{switch: False})  # type: ignore[arg-type]
        assert getattr(Analyst(config, model=trained()).analyze(question(row, candle)), part) is None


def test_the_verb_and_its_twin_agree(recorded: list[tuple[FeatureRow, Candle]]) -> None:
    row, candle = recorded[0]
    given = question(row, candle)
    assert asyncio.run(Analyst(model=trained()).execute_analysis(given)) == Analyst(model=trained()).analyze(given)


def test_the_same_bar_twice_is_one_bar(recorded: list[tuple[FeatureRow, Candle]]) -> None:
    analyst = Analyst(model=trained())
    for row, candle in recorded[:30]:
        first = analyst.analyze(question(row, candle))
        state = analyst.save_state()
        assert analyst.analyze(question(row, candle)) == first
        assert repr(analyst.save_state()) == repr(state)


def test_it_goes_on_from_saved_state_as_if_it_had_never_stopped(recorded: list[tuple[FeatureRow, Candle]]) -> None:
    whole, first = Analyst(model=trained()), Analyst(model=trained())
    for row, candle in recorded[:200]:
        whole.analyze(question(row, candle))
        first.analyze(question(row, candle))
    second = Analyst(model=trained())
    second.load_state(first.save_state())
    for row, candle in recorded[200:]:
        assert second.analyze(question(row, candle)) == whole.analyze(question(row, candle))


def test_a_missing_value_is_no_forecast(recorded: list[tuple[FeatureRow, Candle]]) -> None:
    row, candle = recorded[0]
    values = row.values.copy()
    values[row.names.index("trend.adx_14")] = np.nan
    result = Analyst(model=trained()).analyze(question(evolve(row, values=values), candle))
    assert result.side is None
    assert result.p_up is None
    assert "row.has_nan" in codes(result)


def test_a_row_unlike_training_is_not_bet_on(recorded: list[tuple[FeatureRow, Candle]]) -> None:
    row, candle = recorded[0]
    values = row.values.copy()
    values[::3] = 1e6
    values[row.names.index("volatility.ewma_128")] = row["volatility.ewma_128"]
    result = Analyst(model=trained()).analyze(question(evolve(row, values=values), candle))
    assert result.side is None
    assert "row.outside_training" in codes(result)


def test_an_old_row_is_stale_and_a_future_row_is_refused(recorded: list[tuple[FeatureRow, Candle]]) -> None:
    row, candle = recorded[0]
    given = question(row, candle)
    late = evolve(given, now_ns=row.known_ns + 2 * HOUR)
    assert "row.stale" in codes(Analyst(model=trained()).analyze(late))
    with pytest.raises(DataError):
        Analyst(model=trained()).analyze(evolve(given, now_ns=row.known_ns - 1))


def test_features_of_another_kind_are_refused(recorded: list[tuple[FeatureRow, Candle]]) -> None:
    row, candle = recorded[0]
    with pytest.raises(ModelError, match="train it again"):
        Analyst(model=trained()).analyze(question(evolve(row, schema_id="foreign"), candle))
    with pytest.raises(ModelError):
        Analyst(model=trained(), fingerprint="foreign")


def expiring(at_ns: int) -> Loaded:
    bundle = Bundle(parts=trained().bundle.parts, settings={**trained().bundle.settings, "expires_ns": at_ns})
    return Loaded(model=bundle, manifest=evolve(trained().loaded.manifest, model_id="e" * 64))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("horizon", -5),
        ("horizon", 0),
        ("cost", -1.0),
        ("cost", math.inf),
        ("target", 0.0),
        ("stop", -1.0),
        ("time_to_live", 0),
        ("interval", "9z"),
        ("side_timeframe", "9z"),
        ("expires_ns", -1),
        ("expires_ns", "soon"),
    ],
)
def test_a_signed_model_that_describes_no_bet_is_refused(name: str, value: object) -> None:
    whole = trained().loaded
    bundle = evolve(trained().bundle, settings={**trained().bundle.settings, name: value})
    with pytest.raises(ModelError, match=name):
        ActiveModel.of(evolve(whole, model=bundle))


def test_the_age_of_the_features_is_told_whatever_the_opinion(recorded: list[tuple[FeatureRow, Candle]]) -> None:
    row, candle = recorded[0]
    for analyst in (Analyst(model=trained()), Analyst(AnalystConfig(enable_ml_predictions=False), model=trained())):
        for late in (0, 7, 30 * HOUR):
            now = row.known_ns + late
            given = question(row, candle, now_ns=now)
            assert analyst.analyze(given).feature_age_ns == late


def test_an_expired_model_abstains(recorded: list[tuple[FeatureRow, Candle]]) -> None:
    row, candle = recorded[0]
    fresh, gone = (Analyst(model=expiring(row.known_ns + shift)) for shift in (0, -1))
    assert fresh.analyze(question(row, candle)).p_up is not None
    result = gone.analyze(question(row, candle))
    assert result.side is None
    assert "model.expired" in codes(result)


def test_a_model_takes_over_when_it_is_activated(recorded: list[tuple[FeatureRow, Candle]]) -> None:
    class Shelf:
        def load(self, model_id: str, *, fingerprint: str | None = None) -> Loaded:
            return trained().loaded

    row, candle = recorded[0]
    analyst = Analyst(library=Shelf())
    assert "model.none" in codes(analyst.analyze(question(row, candle)))
    with pytest.raises(ModelError):
        analyst.activate("f" * 64)
    analyst.activate(trained().model_id)
    assert analyst.analyze(question(*recorded[1])).model_id == trained().model_id
    with pytest.raises(ModelError):
        Analyst().activate(trained().model_id)


def test_a_model_read_from_disk_judges_the_same(
    recorded: list[tuple[FeatureRow, Candle]], tmp_path: Path
) -> None:
    assert trained().save(tmp_path / "model") == trained().model_id
    here, there = Analyst(model=trained()), Analyst(model=tmp_path / "model")
    for row, candle in recorded[:50]:
        assert here.analyze(question(row, candle)) == there.analyze(question(row, candle))


def test_a_copy_shares_the_model_and_not_the_memory(recorded: list[tuple[FeatureRow, Candle]]) -> None:
    analyst = Analyst(model=trained())
    analyst.analyze(question(*recorded[0]))
    twin = copy.deepcopy(analyst)
    twin.analyze(question(*recorded[1]))
    assert len(analyst.get_analysis_results()["ETHUSDT"]) == 1
    assert len(twin.get_analysis_results()["ETHUSDT"]) == 2
    assert twin.get_analysis_status()["model_id"] == analyst.get_analysis_status()["model_id"]


def test_an_explanation_is_what_the_features_change(recorded: list[tuple[FeatureRow, Candle]]) -> None:
    analyst = Analyst(model=trained())
    result = next(r for r in (analyst.analyze(question(row, c)) for row, c in recorded) if r.side is not None)
    found = analyst.explain(result)
    assert found.confidence == result.confidence
    assert found.side == result.side.sign if result.side is not None else 0
    sizes = [abs(x) for x in found.features.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0.0
    model = DualModel(bundle=trained().bundle)
    assert set(found.features) == set(model.columns)
    unread = [n for n in model.columns if n not in _split_on(model)]
    assert all(found.features[name] == 0.0 for name in unread), "a column that no tree reads contributes nothing"
    usual = model.bundle["reference"].edges
    there = model.judge(usual[:, (usual.shape[1] - 1) // 2][np.newaxis, :])
    same = there.confidence if there.side[0] == found.side else 1.0 - there.p_timeout - there.confidence
    assert found.base == float(same[0])
    for parts in (found.features, found.groups):
        assert found.base + sum(parts.values()) == pytest.approx(found.confidence, abs=1e-12)
    with pytest.raises(InvalidInput):
        Analyst(model=trained()).explain(result)


def _split_on(model: DualModel) -> set[str]:
    found: set[str] = set()
    for part in (model.side, model.timing, model.meta):
        columns = part.spec.columns
        used = np.unique(part.nodes["feature"][np.isfinite(part.nodes["threshold"])]) % len(columns)
        found |= {columns[i] for i in used}
    return found


