"""A model's own regime columns: fitted before any test block, blind to the future, the same bits in every session."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from attrs import evolve

from ares.analyst.active import ActiveModel
from ares.analyst.analyst import Analyst
from ares.analyst.config import AnalystConfig
from ares.analyst.dual_model import DualModel
from ares.assembly import Stages, build, stages
from ares.backtesting.backtester import Backtester
from ares.errors import InvalidInput, ModelError, TooShort
from ares.events import Command, Event, ModelActivated, encode
from ares.models import registry
from ares.models.bundle import Bundle
from ares.models.regime import RegimeModel
from ares.models.regime_columns import OBSERVED, PERIOD, RegimeColumns, regime_columns, regime_names
from ares.models.succession import Succession
from ares.pipeline.desk import Desk
from ares.pipeline.journal import MemoryJournal
from ares.pipeline.recovery import replay
from ares.simulation.paper import PaperExchange
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape
from ares.training.card import model_card
from ares.training.dataset import Dataset, make_dataset
from ares.training.regime import RegimeConfig, fit_regimes
from tests.training.markets import QUICK, market, orchestrator, quick, trained

NAMES = ("regime.p_calm", "regime.p_normal", "regime.p_stressed")
HOUR = 3600 * 10**9
TRAINED, PLAYED = 4000, 6000


def own(model: Any) -> RegimeModel:
    found: RegimeModel = model.bundle["regime_features"]
    return found


def columns(data: Dataset) -> pd.DataFrame:
    at = [data.columns.index(name) for name in NAMES]
    return pd.DataFrame(data.X[:, at], index=data.event, columns=list(NAMES))


def disturbed(klines: pd.DataFrame, first: int) -> pd.DataFrame:
    """The same market up to `first`; from there on another one."""
    out = klines.copy()
    wild = np.exp(np.random.default_rng(3).normal(0.0, 0.05, len(out) - first))
    for name in ("open", "high", "low", "close"):
        out.loc[out.index[first:], name] *= wild
    return out


def arrays(model: RegimeModel) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in model.stored().arrays.items()}


def test_nothing_after_the_first_training_window_changes_the_columns_before() -> None:
    klines, usual = market().klines.iloc[:TRAINED], trained().data
    other = make_dataset(disturbed(klines, usual.head), QUICK, orchestrator())
    assert usual.regimes is not None
    assert other.regimes is not None
    assert arrays(other.regimes) == arrays(usual.regimes)
    before, after = columns(usual), columns(other)
    same = before.index[before.index < usual.head].intersection(after.index)
    assert same.size > 500
    assert np.array_equal(before.loc[same], after.loc[same])
    later = before.index[before.index >= usual.head].intersection(after.index)
    assert not np.array_equal(before.loc[later], after.loc[later])
    earlier = make_dataset(disturbed(klines, usual.head - 200), QUICK, orchestrator(), head=usual.head).regimes
    assert earlier is not None
    assert arrays(earlier) != arrays(usual.regimes), "what lies in the window is learned from"


def test_they_are_fitted_before_the_first_test_block_and_filtered_never_smoothed() -> None:
    data, found = trained().data, trained().out_of_sample
    assert data.regimes is not None
    assert data.event[found.fold == 0].min() >= data.head
    assert set(NAMES) <= set(DualModel(bundle=trained().bundle).columns)
    table = orchestrator().compute(market().klines.iloc[:TRAINED])
    warm = np.arange(len(table)) >= orchestrator().warmup
    X = table.loc[warm, list(OBSERVED)].to_numpy()
    opened = pd.DatetimeIndex(table.index[warm]).as_unit("ns").asi8
    chosen = RegimeConfig(restarts=2, iterations=40, seed=QUICK.seed)
    window = X[: data.head - orchestrator().warmup]
    assert arrays(fit_regimes(window, columns=OBSERVED, config=chosen, timeframe="1h").model) == arrays(data.regimes)
    at = data.event - orchestrator().warmup
    # two roads: a filter that begins anew every 1,024 bars has forgotten its start just as well as one of every 256
    slow = data.regimes.filter(opened, X, HOUR)[0][at]
    np.testing.assert_allclose(columns(data), slow, atol=1e-6)
    np.testing.assert_allclose(columns(data).sum(axis=1), 1.0, atol=1e-12)


def observed(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bars with holes, some of them at the turn of a period, and observations with missing values."""
    rng = np.random.default_rng(seed)
    numbers = 1_700_000 + np.arange(n)
    numbers = numbers[(rng.random(n) > 0.02) & (numbers // PERIOD * PERIOD + 3 * (numbers % 5) != numbers)]
    low, high = own(trained()).low, own(trained()).high
    X = low + (high - low) * rng.random((numbers.size, len(OBSERVED)))
    X[rng.random(numbers.size) < 0.03, 1] = np.nan
    return numbers * HOUR, X


@pytest.mark.parametrize("begins", [1, 200, 700, 1500])
def test_a_model_that_begins_in_the_middle_agrees_with_one_that_was_there(begins: int) -> None:
    open_ns, X = observed(2400)
    batch = regime_columns(own(trained()), open_ns, X, HOUR)
    there, later = RegimeColumns(), RegimeColumns()
    there.use(own(trained()))
    for t, (ns, x) in enumerate(zip(open_ns.tolist(), X, strict=True)):
        if t == begins:
            later.use(own(trained()))
            assert np.array_equal(later.at(int(open_ns[t - 1])), batch[t - 1])
        there.update(ns, HOUR, x)
        later.update(ns, HOUR, x)
        assert np.array_equal(there.at(ns), batch[t])
        assert t < begins or np.array_equal(later.at(ns), batch[t])
    assert np.isnan(there.at(int(open_ns[-2]))).all(), "of an earlier bar nothing is known any more"
    again = RegimeColumns()
    again.use(own(trained()))
    again.load_state(there.save_state())
    assert np.array_equal(again.at(int(open_ns[-1])), batch[-1])
    assert len(again.save_state()["rows"]) < 3 * PERIOD, "what no longer matters is not kept"
    with pytest.raises(ModelError, match="do not fit"):
        again.load_state({**there.save_state(), "rows": np.zeros((3, 2))})


def test_where_history_began_is_forgotten_after_two_periods() -> None:
    numbers = 1_700_000 + np.arange(2000)
    X = np.random.default_rng(5).normal(size=(2000, len(OBSERVED))) * own(trained()).scale + own(trained()).shift
    whole = regime_columns(own(trained()), numbers * HOUR, X, HOUR)
    for first in (300, 511, 777):
        part = regime_columns(own(trained()), numbers[first:] * HOUR, X[first:], HOUR)
        assert np.array_equal(part[2 * PERIOD :], whole[first + 2 * PERIOD :])
        assert not np.array_equal(part[:1], whole[first : first + 1])


def judged(run: Any, klines: pd.DataFrame, model: Any, since: int = 0, until: int = 1 << 62) -> int:
    """How many opinions of a session were compared with a batch of the whole history; each is the same bits."""
    data = make_dataset(klines, QUICK, orchestrator(), head=model.data.head)
    batch = DualModel(bundle=model.bundle).judge(data.X)
    place = {int(ns) + data.interval.ns: i for i, ns in enumerate(data.open_ns)}
    said = run.decisions.dropna(subset="p_up")
    pairs = zip((time.value for time in said["time"]), said["p_up"], strict=True)
    found = [(place[at], p) for at, p in pairs if at in place and since <= at < until]
    assert all(p == batch.p_up[i] for i, p in found)
    return len(found)


@pytest.mark.parametrize("view", [True, False])
def test_a_session_computes_the_bits_that_the_model_was_trained_on(tmp_path: Path, view: bool) -> None:
    """The saved model in a session that knows just as much history as it asks for; the view's switch is not theirs."""
    trained().save(tmp_path / "model")
    klines = market().klines.iloc[:PLAYED]
    analyst = Analyst(AnalystConfig(enable_regime_classification=view), model=tmp_path / "model")
    assert analyst.settle == 2 * PERIOD
    assert Analyst().settle == 0
    start = 5200
    needed = orchestrator().warmup + orchestrator().settle + analyst.settle
    assert needed < start, "the session does not see where training began"
    run = Backtester(features=orchestrator(), analyst=analyst).run(klines, start=int(klines.index[start].value))
    assert judged(run, klines, trained()) > 100
    data, model = trained().data, DualModel(bundle=trained().bundle)
    at, other = [data.columns.index(name) for name in NAMES], data.X.copy()
    other[:, at] = data.X[:, at[::-1]]
    assert not np.array_equal(model.judge(other).p_up, model.judge(data.X).p_up), "the columns matter"


def test_models_with_different_regimes_follow_each_other_on_one_stream(tmp_path: Path) -> None:
    later = quick(market().klines.iloc[: TRAINED + 200])
    store = registry.Registry(tmp_path)
    ids = [store.add(each.bundle, each.loaded.manifest.record) for each in (trained(), later)]
    assert arrays(own(trained())) != arrays(own(later))
    klines = market().klines.iloc[: TRAINED + 500]
    source = Succession(registry=store, delay_ns=24 * HOUR)
    begun: list[tuple[int, str]] = []

    def watch(event: Event, commands: object) -> None:
        if isinstance(event, ModelActivated):
            begun.append((event.ts_seen, event.sha256))

    bot = Backtester(features=orchestrator(), analyst=Analyst(library=store))
    run = bot.run(klines, start=int(klines.index[TRAINED + 50].value), models=source, observer=watch)
    assert [model_id for _, model_id in begun] == ids
    assert judged(run, klines, trained(), begun[0][0], begun[1][0]) > 50
    assert judged(run, klines, later, begun[1][0]) > 50


Commands = list[tuple[int, list[bytes]]]


def test_backtest_paper_and_replay_say_the_same() -> None:
    tape = Tape.from_frame(market().klines.iloc[:PLAYED], symbol="ETHUSDT")
    start = int(market().klines.index[5200].value)
    said: dict[str, Commands] = {"backtest": [], "paper": []}

    def listener(mode: str) -> Any:
        def listen(event: Event, commands: list[Command]) -> None:
            said[mode].append((event.seq, [encode(c) for c in commands]))

        return listen

    def bot() -> Stages:
        return evolve(stages(), features=orchestrator(), analyst=Analyst(model=trained()))

    def parts() -> dict[str, Any]:
        return {name: getattr(bot(), name) for name in ("features", "analyst", "tactician", "monitor")}

    Backtester(**parts()).run(tape, start=start, observer=listener("backtest"))
    journal = MemoryJournal()

    async def play() -> None:
        exchange = PaperExchange(SimulatedExchange(tape, start=start))
        pipeline = build(
            mode="paper", exchange=exchange, symbols=["ETHUSDT"], interval="1h", journal=journal, parts=bot()
        )
        pipeline.observers.append(listener("paper"))
        async with pipeline:
            await pipeline.run()

    asyncio.run(play())
    assert said["paper"] == said["backtest"]
    assert any(bodies for _, bodies in said["paper"])
    desk = Desk(**parts(), symbols=["ETHUSDT"], interval="1h")
    assert replay(journal.records(), desk).identical


def test_switched_off_there_are_none_and_the_card_says_which_there_are() -> None:
    klines = market().klines.iloc[:1500]
    off = make_dataset(klines, evolve(QUICK, regime_features=False), orchestrator())
    assert off.regimes is None
    assert not set(NAMES) & set(off.columns)
    text = model_card(trained(), symbol="ETHUSDT").markdown()
    assert "probabilities of calm, normal, stressed" in text
    assert f"first {trained().data.head:,} bars" in text
    with pytest.raises(TooShort, match="regime_features"):
        make_dataset(klines, QUICK, orchestrator(), head=orchestrator().warmup + 100)
    named = orchestrator().compute(klines).assign(**{NAMES[0]: 0.5})
    with pytest.raises(InvalidInput, match="rename"):
        make_dataset(klines, QUICK, orchestrator(), table=named)


def test_a_missing_part_and_one_of_other_states_are_refused() -> None:
    bundle, manifest = trained().bundle, trained().loaded.manifest
    rows = np.random.default_rng(0).normal(size=(500, len(OBSERVED)))
    two = fit_regimes(rows, columns=OBSERVED, config=RegimeConfig(states=2)).model
    strange = fit_regimes(rows, columns=("a", "b", "c"), config=RegimeConfig(states=3)).model
    assert regime_names(two) == ("regime.p_calm", "regime.p_stressed")
    without = {name: part for name, part in bundle.parts.items() if name != "regime_features"}
    cases = (
        (without, r"has \[\]"),
        ({**without, "regime_features": two}, r"has \['calm', 'stressed'\]"),
        ({**without, "regime_features": strange}, "told by a, b, c"),
    )
    for parts, found in cases:
        damaged = registry.Loaded(model=Bundle(parts=parts, settings=bundle.settings), manifest=manifest)
        with pytest.raises(ModelError, match=found):
            Analyst(model=damaged)
    assert ActiveModel.of(trained().loaded).regimes is not None
