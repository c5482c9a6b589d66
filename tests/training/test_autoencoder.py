"""A model's own autoencoder: fitted before any test block, blind to the future, the same bits in every session."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from attrs import evolve

from ares.analyst.analyst import Analyst
from ares.analyst.dual_model import DualModel
from ares.backtesting.backtester import Backtester
from ares.errors import ModelError, TooShort
from ares.events import Event, ModelActivated
from ares.features.config import AutoencoderConfig, FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.models import registry
from ares.models.succession import Succession
from ares.training.card import model_card
from ares.training.dataset import Dataset, make_dataset
from ares.training.schedule import ScheduleConfig, schedule_models
from ares.training.trainer import TrainedModel, train
from tests.training.markets import QUICK, market, small_trees

GROUPS = ("returns", "volatility", "momentum", "autoencoder")
SETTINGS = FeatureConfig(groups=GROUPS, autoencoder=AutoencoderConfig(codes=3, hidden=8, max_iterations=20))
CODES = ("autoencoder.code_1", "autoencoder.code_2", "autoencoder.code_3", "autoencoder.error", "autoencoder.novelty")
BARS = 3000


def features() -> FeatureOrchestrator:
    return FeatureOrchestrator(SETTINGS)


@cache
def model() -> TrainedModel:
    parts = {name: small_trees() for name in ("side", "timing", "meta")}
    return train(market().klines.iloc[:BARS], features=features(), config=QUICK, **parts)


def codes(data: Dataset) -> pd.DataFrame:
    at = [data.columns.index(name) for name in CODES]
    return pd.DataFrame(data.X[:, at], index=data.event, columns=list(CODES))


def disturbed(klines: pd.DataFrame, first: int) -> pd.DataFrame:
    """The same market up to `first`; from there on another one."""
    out = klines.copy()
    wild = np.exp(np.random.default_rng(3).normal(0.0, 0.05, len(out) - first))
    for name in ("open", "high", "low", "close"):
        out.loc[out.index[first:], name] *= wild
    out.loc[out.index[first:], "volume"] *= wild
    return out


def test_nothing_after_the_first_training_window_changes_the_codes_before() -> None:
    klines = market().klines.iloc[:BARS]
    usual = model().data
    other = make_dataset(disturbed(klines, usual.head), QUICK, features())
    assert usual.autoencoder is not None
    assert other.autoencoder is not None
    assert other.autoencoder.key == usual.autoencoder.key
    before, after = codes(usual), codes(other)
    same = before.index[before.index < usual.head].intersection(after.index)
    assert same.size > 500
    assert np.array_equal(before.loc[same], after.loc[same], equal_nan=True)
    later = before.index[before.index >= usual.head].intersection(after.index)
    assert not np.array_equal(before.loc[later], after.loc[later])
    earlier = make_dataset(disturbed(klines, usual.head - 200), QUICK, features(), head=usual.head).autoencoder
    assert earlier is not None
    assert earlier.key != usual.autoencoder.key, "what lies in the window is learned from"


def test_it_is_fitted_before_the_first_test_block_and_the_models_read_it() -> None:
    data, found = model().data, model().out_of_sample
    assert data.autoencoder is not None
    assert data.autoencoder.rows < (data.event < data.head).sum()
    assert data.event[found.fold == 0].min() >= data.head
    assert set(CODES) <= set(DualModel(bundle=model().bundle).columns)
    assert not set(CODES) & set(features().compute(market().klines.iloc[:700]).columns)


def test_codes_in_training_are_those_of_a_fitted_orchestrator() -> None:
    """Two roads: the model's own autoencoder, and the same one as a part of the features."""
    data = model().data
    klines = market().klines.iloc[:BARS]
    table = FeatureOrchestrator(SETTINGS, autoencoder=data.autoencoder).compute(klines)
    assert np.array_equal(codes(data).to_numpy(), table.iloc[data.event][list(CODES)].to_numpy(), equal_nan=True)


def test_a_session_computes_the_bits_that_the_model_was_trained_on(tmp_path: Path) -> None:
    """The saved model, streamed features without an autoencoder, against the dataset of the same bars."""
    model().save(tmp_path / "model")
    loaded = registry.load(tmp_path / "model")
    assert loaded.manifest.record.fingerprint == model().data.fingerprint
    assert loaded.model["autoencoder"].key == model().data.autoencoder.key  # type: ignore[union-attr]
    klines = market().klines.iloc[: BARS + 400]
    data = make_dataset(klines, QUICK, features(), head=model().data.head)
    batch = DualModel(bundle=loaded.model).judge(data.X)
    place = {int(ns): i for i, ns in enumerate(data.open_ns)}
    analyst = Analyst(model=tmp_path / "model")
    assert "autoencoder" in analyst.get_analysis_status()["parts"]  # type: ignore[operator]
    run = Backtester(features=features(), analyst=analyst).run(klines, start=int(klines.index[BARS].value))
    judged = run.decisions.dropna(subset="p_up")
    compared = 0
    for time, p_up in zip(judged["time"], judged["p_up"], strict=True):
        row = place.get(int(time.value) - data.interval.ns)
        if row is not None:
            compared += 1
            assert p_up == batch.p_up[row]
    assert compared > 100


def test_models_with_different_autoencoders_follow_each_other_on_one_stream(tmp_path: Path) -> None:
    parts = {name: small_trees() for name in ("side", "timing", "meta")}
    later = train(market().klines.iloc[: BARS + 200], features=features(), config=QUICK, **parts)
    store = registry.Registry(tmp_path)
    ids = [store.add(each.bundle, each.loaded.manifest.record) for each in (model(), later)]
    assert model().bundle["autoencoder"].key != later.bundle["autoencoder"].key
    klines = market().klines.iloc[: BARS + 400]
    source = Succession(registry=store, delay_ns=24 * 3600 * 10**9)
    begun: list[tuple[int, str]] = []

    def watch(event: Event, commands: object) -> None:
        if isinstance(event, ModelActivated):
            begun.append((event.ts_seen, event.sha256))

    bot = Backtester(features=features(), analyst=Analyst(library=store))
    run = bot.run(klines, start=int(klines.index[BARS + 50].value), models=source, observer=watch)
    assert [model_id for _, model_id in begun] == ids
    judged = run.decisions.dropna(subset="p_up")
    for number, each in enumerate((model(), later)):
        data = make_dataset(klines, QUICK, features(), head=each.data.head)
        batch = DualModel(bundle=each.bundle).judge(data.X)
        place = {int(ns) + data.interval.ns: i for i, ns in enumerate(data.open_ns)}
        ends = begun[1][0] if number == 0 else 1 << 62
        own = judged[[begun[number][0] <= time.value < ends for time in judged["time"]]]
        said = zip((time.value for time in own["time"]), own["p_up"], strict=True)
        found = [(place[closed], p) for closed, p in said if closed in place]
        assert len(found) > 50
        assert all(p == batch.p_up[i] for i, p in found)


def test_a_schedule_fits_it_before_the_first_cut_and_every_model_carries_it() -> None:
    plan = ScheduleConfig(first=1400, every=500, delay=24)
    made = schedule_models(
        market().klines.iloc[:BARS],
        schedule=plan,
        config=evolve(QUICK, timing=False),
        features=features(),
    )
    assert made.data.head == plan.first
    keys = {m.loaded.model["autoencoder"].key for m in made.models}
    assert made.data.autoencoder is not None
    assert keys == {made.data.autoencoder.key}
    assert len(made.models) >= 2


def test_switched_off_there_is_none_and_the_card_says_which_it_is() -> None:
    off = FeatureOrchestrator(evolve(SETTINGS, enable_autoencoder_features=False))
    data = make_dataset(market().klines.iloc[:1500], QUICK, off)
    assert data.autoencoder is None
    assert not set(CODES) & set(data.columns)
    text = model_card(model(), symbol="ETHUSDT").markdown()
    assert "3 codes" in text
    assert f"first {model().data.head:,} bars" in text


def test_features_that_bring_a_fitted_one_keep_it() -> None:
    klines = market().klines.iloc[:1500]
    own = features().fit(klines.iloc[:700])
    data = make_dataset(klines, QUICK, own)
    assert data.autoencoder is None
    assert set(CODES) <= set(data.columns)
    assert data.fingerprint == own.fingerprint != features().fingerprint


def test_too_short_a_window_and_damaged_arrays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TooShort, match="autoencoder"):
        make_dataset(market().klines.iloc[:900], QUICK, features(), head=250)
    encoder = model().data.autoencoder
    assert encoder is not None
    evolve(encoder, scale=encoder.scale * 0.0).save(tmp_path / "flat")
    with pytest.raises(ModelError, match="do not fit together"):
        registry.load(tmp_path / "flat")
