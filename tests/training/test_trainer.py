"""Training: what it may know when, what it gives back, and that what was scored is what is saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from ares.analyst.analyst import Analyst
from ares.analyst.dual_model import DualModel, needed_confidence, pool
from ares.data.store import load_klines, save_klines
from ares.errors import InvalidInput, ModelError, TooShort
from ares.models.regime_columns import regime_names
from ares.simulation.tape import Tape
from ares.training.dataset import make_dataset
from ares.training.folds import CALIBRATED_FROM, Estimators, known, walk_forward
from ares.training.noting import family_for
from ares.training.trainer import train
from ares.training.trials import TrialLedger, family_of, session_ledger
from tests.training.markets import QUICK, market, orchestrator, quick, small_trees, trained


def test_every_opinion_comes_from_outcomes_known_before_it() -> None:
    data, found = trained().data, trained().out_of_sample
    assert found.side_fold.strictly_before
    for block in range(1, int(found.fold.max()) + 1):
        rows = known(data, found.fold, 0, block)
        assert data.t1[rows].max() < data.t0[found.fold == block].min()
    assert (found.fold[found.tested] >= CALIBRATED_FROM).all()
    assert np.isfinite(found.confidence[found.fold >= CALIBRATED_FROM]).all()


def test_the_future_changes_no_opinion_of_the_past() -> None:
    """Walk-forward on half the rows gives the same opinions as on all of them, with equal test blocks."""
    data = trained().data
    estimators = Estimators(side=small_trees(10), timing=small_trees(10), meta=small_trees(10))
    first = int((data.event < data.head).sum())
    block = -(-(len(data) - first) // 4)
    cut = first + 3 * block
    whole = walk_forward(data, estimators, QUICK)
    part = walk_forward(data.take(np.arange(cut)), estimators, evolve(QUICK, folds=3))
    tested = part.tested
    assert tested.sum() > 100
    for name in ("sides", "timing", "meta", "score", "confidence", "low"):
        assert np.array_equal(getattr(whole, name)[:cut][tested], getattr(part, name)[tested]), name


def test_a_model_is_trained_again_to_the_same_bits() -> None:
    assert quick(market().klines.iloc[:4000]).model_id == trained().model_id


def test_a_training_is_one_trial_of_its_market() -> None:
    klines = market().klines.iloc[:3000]
    config = evolve(QUICK, timing=False, meta=False)
    before = session_ledger().summary("ETHUSDT 1h made up").count
    with TrialLedger() as named:
        model = quick(klines, config, ledger=named, symbol="BTCUSDT")
        row = named.trials("BTCUSDT 1h made up").iloc[0]
        assert len(named) == 1 and row.kind == "train" and row.parameters["model_id"] == model.model_id
        assert named.returns()[1].sum() == pytest.approx(model.scores.trading.net.sum())
        assert session_ledger().summary("ETHUSDT 1h made up").count == before, "a named ledger is the only one"
    assert quick(klines, config).model_id == model.model_id
    assert session_ledger().summary("ETHUSDT 1h made up").count == before + 1


def test_what_was_tried_on_a_made_up_market_is_no_trial_of_the_real_one(tmp_path: Path) -> None:
    klines = market().klines
    tape = Tape.from_frame(klines.iloc[:900], symbol="SOLUSDT")
    save_klines(klines, tmp_path / "made.parquet")
    for invented in (
        tape,
        tape.slice(None, int(tape.tracks[0].open_ns[500])),
        Tape.merge(Tape.synthetic("SOLUSDT", bars=50)),
        tape.frame("SOLUSDT"),
        Tape.from_file(tmp_path / "made.parquet", symbol="SOLUSDT"),
        load_klines(tmp_path / "made.parquet")[0],
    ):
        assert family_for(invented, "SOLUSDT", "1h") == "SOLUSDT 1h made up"
    recorded = klines.copy()
    recorded.attrs.clear()
    for real in (recorded, Tape.from_frame(recorded, symbol="SOLUSDT")):
        assert family_for(real, "SOLUSDT", "1h") == "SOLUSDT 1h" == family_of(["SOLUSDT"], "1h")
    assert family_for(recorded, None, "1h") == "ETHUSDT 1h"
    assert family_for(Tape.from_frame(recorded, symbol="SOLUSDT"), None, "1h") == "SOLUSDT 1h"


def test_the_bets_of_a_dataset_are_the_labels_of_both_sides() -> None:
    data = trained().data
    long, short = data.bets(np.ones(len(data), np.int64)), data.bets(-np.ones(len(data), np.int64))
    symmetric = data.target_width == data.stop_width
    assert symmetric.all()
    assert not ((long.hit == 1) & (short.hit == 1)).any(), "one price cannot rise to one's target and fall to the other"
    assert ((long.net < 0) | (short.net < 0)).all(), "costs keep at least one side from paying"
    none = data.bets(np.zeros(len(data), np.int64))
    assert np.isnan(none.net).all()
    assert not none.hit.any()


def test_any_classifier_will_do_and_parts_may_be_left_out() -> None:
    klines = market().klines.iloc[:3000]
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    features = orchestrator()
    model = train(klines, features=features, config=evolve(QUICK, timing=False, meta=False), side=linear)
    dual = DualModel(bundle=model.bundle)
    assert dual.timing is None
    assert dual.meta is None
    judged = dual.judge(model.data.X[:5])
    assert np.isnan(judged.timing).all()
    assert ((judged.confidence > 0) & (judged.confidence < 1)).all()
    assert model.scores.timing is None


@pytest.mark.parametrize("part", ["side", "timing", "meta"])
@pytest.mark.parametrize("wrong", ["lgbm", SVC(), GaussianNB])
def test_what_gives_no_probabilities_is_refused_before_anything_is_computed(part: str, wrong: object) -> None:
    def stages(stage: str, done: int, total: int) -> None:
        raise AssertionError(f"{stage} has begun")

    with pytest.raises(InvalidInput, match=f"{part}: .*no unfitted classifier"):
        train(market().klines.iloc[:3000], features=orchestrator(), progress=stages, **{part: wrong})


def test_a_training_takes_funding_as_a_frame_or_a_series() -> None:
    klines, table = market().klines.iloc[:3000], market().funding
    config = evolve(QUICK, timing=False, meta=False)
    framed, series = (quick(klines, config, funding=rates) for rates in (table, table["funding_rate"]))
    assert framed.model_id == series.model_id
    assert np.array_equal(framed.data.long.net, series.data.long.net)


def test_an_estimator_without_adapter_can_be_tried_and_not_saved(tmp_path: Path) -> None:
    config = evolve(QUICK, timing=False, meta=False)
    model = train(market().klines.iloc[:2500], features=orchestrator(), config=config, side=GaussianNB())
    assert DualModel(bundle=model.bundle).judge(model.data.X[:3]).side.size == 3
    assert model.loaded.manifest.kind == "backtest_only"
    assert Analyst(model=model).live_refusal() is not None
    assert Analyst(model=trained()).live_refusal() is None
    with pytest.raises(ModelError, match="cannot be saved as data"):
        model.save(tmp_path / "model")


def test_too_little_history_is_refused() -> None:
    with pytest.raises(TooShort):
        quick(market().klines.iloc[:500])
    with pytest.raises(InvalidInput):
        train([1, 2, 3])  # not klines


def test_features_are_those_of_the_dataset() -> None:
    data = make_dataset(market().klines.iloc[:2000], QUICK, orchestrator())
    assert data.regimes is not None
    frame = orchestrator().compute(market().klines.iloc[:2000])
    read = [name for name in data.columns if name in frame]
    assert set(data.columns) - set(read) == set(regime_names(data.regimes)), "the model makes these itself"
    assert np.array_equal(data.X[:, : len(read)], frame.iloc[data.event][read].to_numpy())
    assert not any("@" in name for name in data.timing_columns)
    assert np.isfinite(data.X[:, [data.columns.index(n) for n in data.required]]).all()


def test_which_columns_there_are_and_which_are_required_is_known_before_the_first_test_block() -> None:
    """A column that dies in the test blocks stays required, and one that is born there is not read."""
    klines = market().klines.iloc[:3000]
    features = orchestrator()
    table = features.compute(klines)
    usual = make_dataset(klines, QUICK, features, table=table)
    changed = table.copy()
    later = np.arange(len(table)) >= usual.head
    changed.loc[later & (np.arange(len(table)) % 2 == 0), "momentum.rsi_14"] = np.nan
    changed["returns.born_late"] = np.where(later, np.arange(len(table)), np.nan)
    data = make_dataset(klines, QUICK, features, table=changed)
    assert data.columns == usual.columns
    assert data.required == usual.required
    assert "momentum.rsi_14" in data.required
    assert usual.head == features.warmup + int((3000 - features.warmup) * QUICK.first_share)
    first = trained().out_of_sample
    assert trained().data.event[first.fold == 0][0] >= trained().data.head


# ---------------------------------------------------------------- aggregators


def test_log_odds_pooling_is_the_geometric_mean_of_odds() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, (200, 3))
    base, weight = np.array([0.5, 0.5, 0.4]), np.array([2.0, 1.0, 1.0])
    odds = p / (1 - p) / (base / (1 - base))
    expected = 0.3 / 0.7 * np.prod(odds**weight, axis=1) ** (1 / weight.sum())
    assert pool(p, base, weight, 0.3) == pytest.approx(expected / (1 + expected), rel=1e-12)


def test_parts_that_know_nothing_pool_to_the_prior_and_absent_parts_say_nothing() -> None:
    base = np.array([0.5, 0.5, 0.4])
    assert pool(base[None, :], base, np.ones(3), 0.37)[0] == pytest.approx(0.37, abs=1e-12)
    alone = np.array([0.5, np.nan, np.nan])
    p = np.array([[0.7, np.nan, np.nan]])
    assert pool(p, alone, np.ones(3), 0.5)[0] == pytest.approx(0.7, abs=1e-12)


def test_the_product_rule_is_a_times_t_squared() -> None:
    p = np.array([[0.6, 0.7, np.nan]])
    base = np.array([0.5, 0.5, np.nan])
    assert pool(p, base, np.ones(3), 0.5, "product")[0] == pytest.approx(0.6 * 0.7**2, abs=1e-15)
    with pytest.raises(InvalidInput, match="product"):
        pool(p, base, np.ones(3), 0.5, "produkt")


def test_the_threshold_is_the_chance_at_which_a_bet_pays_nothing() -> None:
    side, width, timeout = np.array([1, -1]), np.array([0.02, 0.03]), np.array([0.0, 0.25])
    needed = needed_confidence(side, width, width, timeout, 0.0015)
    gain = np.array([np.exp(0.02) - 1, 1 - np.exp(-0.03)])
    loss = np.array([1 - np.exp(-0.02), np.exp(0.03) - 1])
    expected = needed * gain - (1 - needed - timeout) * loss - 0.0015
    assert expected == pytest.approx(0.0, abs=1e-15)
